//! Snowflake's SQL REST API: one statement with its values in, rows out.
//!
//! Every request is a session and a transaction of its own. A statement has an id that stays the same at
//! every try, so that Snowflake runs it once even where its answer was lost. One that takes longer is
//! polled for, and cancelled when its time is over. Sources: docs.snowflake.com, Snowflake SQL API, and
//! the API's OpenAPI description.
//!
//! ```no_run
//! use swimcoach::metadata::snowflake::account::AccountIdentifier;
//! use swimcoach::metadata::snowflake::key_pair::{Credentials, Secret};
//! use swimcoach::metadata::snowflake::sql_api::{SqlApi, SqlApiLimits, SqlApiSettings, Statement};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let account: AccountIdentifier = "myorg-myaccount".parse()?;
//! let snowflake = SqlApi::connect(&SqlApiSettings {
//!     base_url: account.base_url().clone(),
//!     credentials: Credentials::KeyPair {
//!         account: account.name().to_owned(),
//!         user: "SVC_USER".to_owned(),
//!         private_key: Secret::File("rsa_key.p8".into()),
//!         passphrase: None,
//!     },
//!     warehouse: "COACH_WH".to_owned(),
//!     database: "SWIMCOACH".to_owned(),
//!     schema: "PUBLIC".to_owned(),
//!     role: None,
//!     query_tag: "example".to_owned(),
//!     limits: SqlApiLimits::default(),
//! })?;
//!
//! let swimmers = Statement::new("SELECT name, lanes FROM swimmers WHERE club = ?").bind("SC Nord");
//! for row in snowflake.execute("SELECT swimmers", &swimmers).await?.rows() {
//!     let (name, lanes) = (row.text("name")?, row.fixed::<u32>("lanes")?);
//!     println!("{name} swims on {lanes} lanes");
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod cells;
mod error;
mod exchange;
mod request;

pub use self::answer::{Column, DmlStats, ResultSet, Row};
pub use self::error::SqlApiError;
pub use self::request::{Bind, Statement};

use self::answer::{Answer, Cells, Handle, Progress};
use self::exchange::{Exchange, Reply};
use super::key_pair::Credentials;
use crate::upstream::{RetryPolicy, Service, UpstreamError, UpstreamErrorKind, retry};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::StatusCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::Url;
use uuid::Uuid;

/// Snowflake keeps 1 MB of a statement and its values, and cannot run a longer one again by its id.
const MAX_STATEMENT_BYTES: usize = 1_000_000;
/// The wait before the first poll; it doubles from there.
const FIRST_POLL: Duration = Duration::from_millis(200);
/// The longest wait between polls.
const LAST_POLL: Duration = Duration::from_secs(2);
/// How long a statement whose time is over is asked to stop.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// Partitions of one result that are fetched at one time.
const PARTITIONS_AT_ONCE: usize = 4;

/// Where Snowflake is, who we are, and where our tables are.
#[derive(Debug, Clone)]
pub struct SqlApiSettings {
    /// `https://<organization>-<account>.snowflakecomputing.com`; it may have a path.
    pub base_url: Url,
    /// Who we are.
    pub credentials: Credentials,
    /// What runs statements. Case counts here and below: a name that was created without quotes is in
    /// upper case.
    pub warehouse: String,
    /// The database.
    pub database: String,
    /// The schema in it.
    pub schema: String,
    /// The role; the user's own when absent.
    pub role: Option<String>,
    /// What Snowflake's history of queries shows beside ours.
    pub query_tag: String,
    /// How patiently and busily it is asked.
    pub limits: SqlApiLimits,
}

/// How patiently and how busily Snowflake is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlApiLimits {
    /// For a connection to come about.
    pub connect_timeout: Duration,
    /// For one request and its answer; Snowflake may answer with a promise, and does after 45 s.
    pub attempt_timeout: Duration,
    /// For one statement, its tries, polls and rows included.
    pub statement_timeout: Duration,
    /// Requests in flight at one time.
    pub max_in_flight: usize,
    /// Bytes of one result, as JSON and unpacked.
    pub max_result_bytes: u64,
    /// How often a request is tried.
    pub retry: RetryPolicy,
}

impl Default for SqlApiLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(30),
            // A suspended warehouse wakes within seconds, seldom within more than ten; somebody waits for the
            // answer, and what is written has a journal to go to.
            statement_timeout: Duration::from_secs(30),
            max_in_flight: 32,
            max_result_bytes: 64 << 20,
            retry: RetryPolicy {
                attempts: 5,
                base_delay: Duration::from_millis(250),
                max_delay: Duration::from_secs(8),
                deadline: Duration::from_secs(30),
            },
        }
    }
}

/// Asks Snowflake.
#[derive(Debug)]
pub struct SqlApi {
    exchange: Exchange,
    settings: SqlApiSettings,
}

impl SqlApi {
    /// A client. The key or token is read; nothing is asked yet.
    pub fn connect(settings: &SqlApiSettings) -> Result<Self, UpstreamError> {
        Ok(Self { exchange: Exchange::new(settings)?, settings: settings.clone() })
    }

    /// How patiently and busily it asks.
    pub fn limits(&self) -> &SqlApiLimits {
        &self.settings.limits
    }

    /// Runs one statement to its end. `operation` is what logs and errors call it.
    ///
    /// Failures that pass are tried again by [`SqlApiLimits::retry`]. After a failure the statement may have
    /// run all the same, and so it may where the returned future is dropped. It ends within [`SqlApiLimits::statement_timeout`] and the few seconds that it
    /// takes to cancel what still runs then.
    pub async fn execute(
        &self,
        operation: &'static str,
        statement: &Statement,
    ) -> Result<ResultSet, UpstreamError> {
        let limit = statement.timeout().unwrap_or(self.settings.limits.statement_timeout);
        let refused = |kind, why: String| Err(UpstreamError::new(Service::Records, operation, kind, why));
        let body = match statement.body(&self.settings, limit) {
            Ok(body) => Bytes::from(body),
            Err(error) => return refused(UpstreamErrorKind::Rejected, error.to_string()),
        };
        if MAX_STATEMENT_BYTES < body.len() {
            let why = format!("the statement has {} bytes, and Snowflake takes 1 MB", body.len());
            return refused(UpstreamErrorKind::TooLarge, why);
        }
        let start = Instant::now();
        let needs_warehouse = statement.needs_warehouse();
        let request_id = Uuid::new_v4();
        let run = Run { api: self, operation, body, needs_warehouse, request_id, running: Mutex::new(None) };
        match timeout_at(start + limit, run.to_end()).await {
            Ok(result) => {
                if let Ok(set) = &result {
                    tracing::debug!(
                        operation, query_id = set.query_id(), rows = set.len(), stats = ?set.stats(),
                        elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
                        "statement done",
                    );
                }
                result
            }
            Err(_elapsed) => {
                run.cancel().await;
                refused(UpstreamErrorKind::Timeout, format!("no result within {limit:?}"))
            }
        }
    }
}

/// One statement on its way.
struct Run<'a> {
    api: &'a SqlApi,
    operation: &'static str,
    body: Bytes,
    needs_warehouse: bool,
    request_id: Uuid,
    /// Known once Snowflake has said that it runs.
    running: Mutex<Option<Handle>>,
}

impl Run<'_> {
    async fn to_end(&self) -> Result<ResultSet, UpstreamError> {
        let mut tried = false;
        let (answer, bytes) = retry(&self.api.settings.limits.retry, || {
            let again = std::mem::replace(&mut tried, true);
            async move {
                match self.submit(again).await? {
                    Progress::Done(answer, bytes) => Ok((answer, bytes)),
                    Progress::Running(handle) => self.wait_for(handle).await,
                }
            }
        })
        .await?;
        self.all_rows(answer, bytes).await
    }

    /// Sends the statement. Only a later try says that it is one, since Snowflake then searches its history
    /// for the id. The id stays even where the try before is known to have failed: a try before that one,
    /// whose answer was lost, may still be running, and a new id would run the statement beside it.
    async fn submit(&self, again: bool) -> Result<Progress, UpstreamError> {
        let mut query = vec![("requestId", self.request_id.to_string())];
        if again {
            query.push(("retry", "true".to_owned()));
        }
        let request = self.exchange().post("", Some(self.body.clone())).query(&query);
        // What needs no warehouse is asked at once: it says whether Snowflake is there, not how busy we are.
        let reply = if self.needs_warehouse {
            self.exchange().send(self.operation, request).await?
        } else {
            self.exchange().send_at_once(self.operation, request).await?
        };
        reply.progress(self.operation)
    }

    /// Polls until the statement has ended. The caller's time limit ends this.
    async fn wait_for(&self, handle: Handle) -> Result<(Answer, u64), UpstreamError> {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle.clone());
        let mut delay = FIRST_POLL;
        let mut asked = Duration::ZERO;
        loop {
            sleep(delay.mul_f64(rand::random_range(0.75..=1.0)).max(asked)).await;
            delay = (delay * 2).min(LAST_POLL);
            let reply = self.get(&handle.path(), &[]).await?;
            // While it runs, a poll that comes too soon is answered with 429.
            if reply.status == StatusCode::TOO_MANY_REQUESTS {
                asked = reply.retry_after.unwrap_or_default();
                continue;
            }
            asked = Duration::ZERO;
            if let Progress::Done(answer, bytes) = reply.progress(self.operation)? {
                return Ok((answer, bytes));
            }
        }
    }

    /// The rows of the answer, and those of its further partitions.
    async fn all_rows(&self, answer: Answer, bytes: u64) -> Result<ResultSet, UpstreamError> {
        let Answer { handle, columns, mut rows, n_rows, partition_bytes, stats } = answer;
        let max_bytes = self.api.settings.limits.max_result_bytes;
        let too_large = || {
            let why = format!("the result has more than {max_bytes} bytes");
            UpstreamError::new(Service::Records, self.operation, UpstreamErrorKind::TooLarge, why)
        };
        if max_bytes < partition_bytes.iter().fold(0, |sum, it| sum.saturating_add(*it)) {
            return Err(too_large());
        }
        let numbers = 1..partition_bytes.len();
        let partitions = numbers.map(|number| self.partition(&handle, number));
        let mut partitions = stream::iter(partitions).buffered(PARTITIONS_AT_ONCE);
        let mut total_bytes = bytes;
        while let Some((mut more, bytes)) = partitions.try_next().await? {
            rows.append(&mut more);
            total_bytes += bytes;
            if max_bytes < total_bytes {
                return Err(too_large());
            }
        }
        if n_rows != rows.len() as u64 {
            let why = format!("{} rows of {n_rows} came", rows.len());
            return Err(error::invalid(self.operation, why));
        }
        ResultSet::new(self.operation, columns, rows, stats, handle.to_string())
    }

    async fn partition(&self, handle: &Handle, number: usize) -> Result<(Vec<Cells>, u64), UpstreamError> {
        let reply = self.get(&handle.path(), &[("partition", number.to_string())]).await?;
        reply.partition(self.operation)
    }

    /// Asks for what can be asked for any number of times. A 429 to a poll is no failure.
    async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Reply, UpstreamError> {
        retry(&self.api.settings.limits.retry, || async move {
            let reply = self.exchange().send(self.operation, self.exchange().get(path).query(query)).await?;
            match reply.status {
                it if it.is_server_error() => Err(reply.refusal(self.operation)),
                StatusCode::TOO_MANY_REQUESTS if !query.is_empty() => Err(reply.refusal(self.operation)),
                _ => Ok(reply),
            }
        })
        .await
    }

    /// Stops a statement that nobody waits for any more. One whose handle is not known ends by the limit in
    /// its own request.
    async fn cancel(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(handle) = running else { return };
        let request = self.exchange().post(&format!("{}/cancel", handle.path()), None);
        let sent = timeout(CANCEL_TIMEOUT, self.exchange().send(self.operation, request)).await;
        let operation = self.operation;
        match sent {
            Ok(Ok(reply)) if reply.status.is_success() => {
                tracing::warn!(operation, query_id = %handle, "statement cancelled: its time was over");
            }
            Ok(Ok(reply)) => {
                let status = reply.status.as_u16();
                tracing::warn!(operation, query_id = %handle, status, "statement cannot be cancelled");
            }
            Ok(Err(error)) => {
                let cause = &error.source;
                tracing::warn!(operation, query_id = %handle, %cause, "statement cannot be cancelled");
            }
            Err(_elapsed) => {
                tracing::warn!(operation, query_id = %handle, "statement cannot be cancelled: no answer");
            }
        }
    }

    fn exchange(&self) -> &Exchange {
        &self.api.exchange
    }
}
