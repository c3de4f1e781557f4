//! One request and its answer: headers, the token, the bound on requests in flight, the size of a body.

use super::answer::{self, Answer, Cells, Progress};
use super::error::{refusal, transport};
use super::{SqlApiLimits, SqlApiSettings};
use crate::metadata::snowflake::key_pair::Authorizer;
use crate::upstream::{self, Service, UpstreamError, UpstreamErrorKind};
use bytes::Bytes;
use chrono::Utc;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long an idle connection is kept. Shorter than what is usual on the other side, so that a request
/// rarely meets a connection that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(20);
/// The most of a refusal's body that is read; more is a page of a gateway.
const MAX_REFUSAL_BYTES: u64 = 64 * 1024;

/// Sends requests and reads answers.
#[derive(Debug)]
pub(super) struct Exchange {
    http: Client,
    statements: String,
    authorizer: Authorizer,
    in_flight: Semaphore,
    max_body_bytes: u64,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Exchange {
    pub(super) fn new(settings: &SqlApiSettings) -> Result<Self, UpstreamError> {
        let SqlApiLimits { connect_timeout, attempt_timeout, max_in_flight, max_result_bytes, .. } =
            settings.limits;
        let authorizer = Authorizer::new(&settings.credentials)?;
        let token_type = HeaderName::from_static("x-snowflake-authorization-token-type");
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/json")),
            (token_type, HeaderValue::from_static(authorizer.token_type())),
        ]);
        let http = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("swimcoach/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect_timeout)
            .timeout(attempt_timeout)
            .pool_idle_timeout(POOL_IDLE)
            // The token must not follow a redirect.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| transport("building an HTTP client", error))?;
        let base = settings.base_url.as_str().trim_end_matches('/');
        Ok(Self {
            http,
            statements: format!("{base}/api/v2/statements"),
            authorizer,
            in_flight: Semaphore::new(max_in_flight),
            max_body_bytes: max_result_bytes,
        })
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.statements))
    }

    pub(super) fn post(&self, path: &str, json: Option<Bytes>) -> RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.statements));
        request.header(CONTENT_TYPE, "application/json").body(json.unwrap_or_default())
    }

    /// Sends a request when fewer than the most are in flight, and reads the answer.
    pub(super) async fn send(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<Reply, UpstreamError> {
        // The semaphore is never closed; were it, requests would go on without its bound.
        let _place = self.in_flight.acquire().await;
        self.send_at_once(operation, request).await
    }

    /// Sends a request and reads the answer, however many are in flight. Where the token is refused, it is sent
    /// once more with a new one: a request that was not let in has done nothing.
    pub(super) async fn send_at_once(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<Reply, UpstreamError> {
        let request = request.build().map_err(|error| transport(operation, error))?;
        let token = self.authorizer.header(Utc::now()).await?;
        let again = request.try_clone();
        let response = self.send_as(operation, request, token.clone()).await?;
        let reply = self.read(operation, response).await?;
        let Some(again) = again.filter(|_| reply.status == StatusCode::UNAUTHORIZED) else {
            return Ok(reply);
        };
        tracing::warn!(operation, cause = %reply.refusal(operation).source, "the token was refused, trying a new one");
        self.authorizer.renew(&token).await;
        let token = self.authorizer.header(Utc::now()).await?;
        let response = self.send_as(operation, again, token).await?;
        self.read(operation, response).await
    }

    async fn send_as(
        &self,
        operation: &'static str,
        mut request: reqwest::Request,
        token: HeaderValue,
    ) -> Result<Response, UpstreamError> {
        request.headers_mut().insert(AUTHORIZATION, token);
        self.http.execute(request).await.map_err(|error| transport(operation, error))
    }

    async fn read(&self, operation: &'static str, mut response: Response) -> Result<Reply, UpstreamError> {
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let limit = if status == StatusCode::OK { self.max_body_bytes } else { MAX_REFUSAL_BYTES };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| transport(operation, error))? {
            if limit < (body.len() + chunk.len()) as u64 {
                if status != StatusCode::OK {
                    break; // a page, of which nothing is used
                }
                let why = format!("the answer has more than {limit} bytes");
                return Err(UpstreamError::new(
                    Service::Records,
                    operation,
                    UpstreamErrorKind::TooLarge,
                    why,
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, retry_after, body })
    }
}

impl Reply {
    /// How far the statement has come, or why it failed.
    pub(super) fn progress(&self, operation: &'static str) -> Result<Progress, UpstreamError> {
        match self.status {
            StatusCode::OK => match Answer::parse(operation, &self.body)? {
                Some(answer) => Ok(Progress::Done(answer, self.body.len() as u64)),
                None => Err(self.refusal(operation)),
            },
            StatusCode::ACCEPTED => answer::running(operation, &self.body).map(Progress::Running),
            _ => Err(self.refusal(operation)),
        }
    }

    /// The rows of a partition and their size in bytes.
    pub(super) fn partition(&self, operation: &'static str) -> Result<(Vec<Cells>, u64), UpstreamError> {
        match self.status {
            StatusCode::OK => Ok((answer::partition(operation, &self.body)?, self.body.len() as u64)),
            _ => Err(self.refusal(operation)),
        }
    }

    /// What a status that is no success means.
    pub(super) fn refusal(&self, operation: &'static str) -> UpstreamError {
        refusal(operation, self.status, self.retry_after, &self.body)
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    upstream::seconds(headers.get(RETRY_AFTER)?.to_str().ok()?)
}
