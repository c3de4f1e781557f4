//! Snowflake's SQL REST API over an embedded database in memory: as much of it as the records need.
//!
//! A statement is translated where the two dialects differ and is then run for real, so that what a test
//! sees is what the statement does. What is neither translated nor understood is refused as Snowflake
//! refuses what it cannot compile. Two handles: [`SnowflakeStub::log`] and [`SnowflakeStub::fail_next`],
//! with [`SnowflakeStub::go_down`] for all that follow.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use chrono::DateTime;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use rusqlite::{Connection, params_from_iter};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use swimcoach::ledger::Month;
use swimcoach::metadata::snowflake::SnowflakeSessionStore;
use swimcoach::metadata::snowflake::key_pair::{Credentials, Secret};
use swimcoach::metadata::snowflake::sql_api::{SqlApiLimits, SqlApiSettings};
use swimcoach::upstream::RetryPolicy;
use tokio::net::TcpListener;
use url::Url;

/// The only token that is accepted.
const TOKEN: &str = "a-token-of-the-stub";

/// What happens to a request instead of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// A gateway answers with this status, and the statement is not run.
    Before(StatusCode),
    /// The statement is run, and a gateway answers with this status.
    LostAnswer(StatusCode),
    /// The statement is refused with this code and SQL state.
    Refused {
        /// Snowflake's code, such as `000625`.
        code: &'static str,
        /// The SQL state, such as `57014`.
        sql_state: &'static str,
    },
}

/// A statement that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    /// Its text.
    pub(crate) text: String,
    /// Rows inserted, updated or deleted.
    pub(crate) n_changed: usize,
    /// Whether a warehouse was to run it.
    pub(crate) with_warehouse: bool,
}

/// A server on a port of its own, stopped with the runtime of the test.
#[derive(Debug, Clone)]
pub(crate) struct SnowflakeStub {
    address: SocketAddr,
    account: Arc<Mutex<Account>>,
}

#[derive(Debug)]
struct Account {
    db: Connection,
    log: Vec<Ran>,
    faults: VecDeque<(&'static str, Fault)>,
    is_down: bool,
    /// It is down once a statement that contains this has run.
    last_words: Option<&'static str>,
    /// What others run as soon as a statement that contains the first text has run, in order.
    others: VecDeque<(&'static str, &'static str)>,
    answers: HashMap<String, (StatusCode, Value)>,
}

#[derive(Debug, Deserialize)]
struct Submission {
    #[serde(rename = "requestId")]
    request_id: String,
    #[serde(default)]
    retry: bool,
}

#[derive(Debug, Deserialize)]
struct Request {
    statement: String,
    warehouse: Option<String>,
    #[serde(default)]
    bindings: BTreeMap<usize, Binding>,
}

#[derive(Debug, Deserialize)]
struct Binding {
    r#type: String,
    value: Option<String>,
}

/// Why a statement was refused: code, SQL state, message.
type Refusal = (String, String, String);

impl SnowflakeStub {
    /// An account without any table.
    pub(crate) async fn start() -> Self {
        let db = Connection::open_in_memory().unwrap();
        add_functions(&db).unwrap();
        let account = Account {
            db,
            log: Vec::new(),
            faults: VecDeque::new(),
            is_down: false,
            last_words: None,
            others: VecDeque::new(),
            answers: HashMap::new(),
        };
        let account = Arc::new(Mutex::new(account));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/api/v2/statements", post(submit)).with_state(Arc::clone(&account));
        tokio::spawn(axum::serve(listener, app).into_future());
        Self { address, account }
    }

    /// The real store over it, without any table, and with little patience.
    pub(crate) fn store(&self) -> SnowflakeSessionStore {
        let retry = RetryPolicy {
            attempts: 3,
            base_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(5),
            deadline: Duration::from_secs(10),
        };
        let settings = SqlApiSettings {
            base_url: Url::parse(&format!("http://{}", self.address)).unwrap(),
            credentials: Credentials::AccessToken(Secret::Text(SecretString::from(TOKEN))),
            warehouse: "TEST_WH".to_owned(),
            database: "APPDB".to_owned(),
            schema: "PUBLIC".to_owned(),
            role: None,
            query_tag: "swimcoach".to_owned(),
            limits: SqlApiLimits { retry, ..SqlApiLimits::default() },
        };
        SnowflakeSessionStore::connect(&settings).unwrap()
    }

    /// The settings of a service that keeps its records here.
    pub(crate) fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("SNOWFLAKE_BASE_URL", format!("http://{}", self.address)),
            ("SNOWFLAKE_TOKEN", TOKEN.to_owned()),
            ("SNOWFLAKE_WAREHOUSE", "TEST_WH".to_owned()),
            ("SNOWFLAKE_DATABASE", "APPDB".to_owned()),
        ]
    }

    /// Every statement that was run so far, in order.
    pub(crate) fn log(&self) -> Vec<Ran> {
        self.account.lock().unwrap().log.clone()
    }

    /// The rows that a statement in the embedded database's own words gives, past the API.
    pub(crate) fn rows(&self, text: &str) -> Vec<Vec<Option<String>>> {
        let account = self.account.lock().unwrap();
        let mut statement = account.db.prepare(text).unwrap();
        let n_columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            (0..n_columns).map(|n| row.get_ref(n).map(cell)).collect::<Result<Vec<_>, _>>()
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// The next statement that contains `text` meets this fault; may be called more than once.
    pub(crate) fn fail_next(&self, text: &'static str, fault: Fault) {
        self.account.lock().unwrap().faults.push_back((text, fault));
    }

    /// As soon as a statement that contains `text` has run, another process runs this, in the embedded database's own
    /// words; may be called more than once.
    pub(crate) fn meanwhile(&self, text: &'static str, other: &'static str) {
        self.account.lock().unwrap().others.push_back((text, other));
    }

    /// From now on a gateway answers 503, and nothing is run.
    pub(crate) fn go_down(&self) {
        self.account.lock().unwrap().is_down = true;
    }

    /// The same once a statement that contains `text` has run.
    pub(crate) fn go_down_after(&self, text: &'static str) {
        self.account.lock().unwrap().last_words = Some(text);
    }

    /// From now on everything works again.
    pub(crate) fn mend(&self) {
        let mut account = self.account.lock().unwrap();
        (account.is_down, account.last_words) = (false, None);
    }
}

async fn submit(
    State(account): State<Arc<Mutex<Account>>>,
    Query(submission): Query<Submission>,
    headers: HeaderMap,
    Json(request): Json<Request>,
) -> Response {
    if headers.get("authorization").is_none_or(|it| it != &format!("Bearer {TOKEN}")) {
        let refusal = json!({ "code": "394400", "message": "Programmatic access token is invalid." });
        return (StatusCode::UNAUTHORIZED, Json(refusal)).into_response();
    }
    let mut account = account.lock().unwrap();
    if account.is_down {
        return gateway(StatusCode::SERVICE_UNAVAILABLE);
    }
    if submission.retry
        && let Some((status, answer)) = account.answers.get(&submission.request_id)
    {
        return (*status, Json(answer.clone())).into_response();
    }
    let met = account.faults.iter().position(|(text, _)| request.statement.contains(text));
    let fault = met.and_then(|place| account.faults.remove(place)).map(|(_, fault)| fault);
    match fault {
        Some(Fault::Before(status)) => gateway(status),
        Some(Fault::Refused { code, sql_state }) => refused(&(code.into(), sql_state.into(), "fault".into())),
        Some(Fault::LostAnswer(status)) => {
            account.answer(&submission.request_id, &request);
            gateway(status)
        }
        None => account.answer(&submission.request_id, &request),
    }
}

fn gateway(status: StatusCode) -> Response {
    (status, Html("<html>the gateway is not well</html>")).into_response()
}

fn refused((code, sql_state, message): &Refusal) -> Response {
    let body = json!({
        "code": code, "sqlState": sql_state, "message": message, "statementHandle": "01b0-stub",
    });
    (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
}

impl Account {
    fn answer(&mut self, request_id: &str, request: &Request) -> Response {
        match self.run(request) {
            Ok((answer, n_changed)) => {
                self.is_down = self.last_words.is_some_and(|it| request.statement.contains(it));
                if let Some((_, other)) = self.others.pop_front_if(|(it, _)| request.statement.contains(*it))
                {
                    self.db.execute_batch(other).unwrap();
                }
                self.log.push(Ran {
                    text: request.statement.clone(),
                    n_changed,
                    with_warehouse: request.warehouse.is_some(),
                });
                self.answers.insert(request_id.to_owned(), (StatusCode::OK, answer.clone()));
                Json(answer).into_response()
            }
            Err(refusal) => refused(&refusal),
        }
    }

    fn run(&self, request: &Request) -> Result<(Value, usize), Refusal> {
        let verb = first_word(&request.statement);
        let constant = verb == "SELECT" && !request.statement.contains("FROM");
        if request.warehouse.is_none() && !matches!(verb.as_str(), "CREATE" | "ALTER") && !constant {
            return Err(("000606".into(), "57P03".into(), "No active warehouse selected.".into()));
        }
        let text = translate(&request.statement)?;
        let binds: Vec<Sql> = request.bindings.values().map(bound).collect::<Result<_, _>>()?;
        let changed = |n_changed: usize, column: &str| {
            let cells = vec![vec![Some(n_changed.to_string())]];
            result_set(&[(column.to_owned(), "fixed")], &cells)
        };
        match verb.as_str() {
            "ALTER" => {
                // The embedded database knows no IF NOT EXISTS here.
                match self.db.execute_batch(&text.replace(" IF NOT EXISTS", "")) {
                    Err(error) if !error.to_string().contains("duplicate column name") => {
                        return Err(not_compiled(&error));
                    }
                    _ => {}
                }
                let cells = vec![vec![Some("Statement executed successfully.".to_owned())]];
                Ok((result_set(&[("status".to_owned(), "text")], &cells), 0))
            }
            "CREATE" => {
                self.db.execute_batch(&text).map_err(|error| not_compiled(&error))?;
                let cells = vec![vec![Some("successfully created.".to_owned())]];
                Ok((result_set(&[("status".to_owned(), "text")], &cells), 0))
            }
            "INSERT" | "UPDATE" | "DELETE" => {
                let n =
                    self.db.execute(&text, params_from_iter(binds)).map_err(|error| not_compiled(&error))?;
                let (noun, field) = match verb.as_str() {
                    "INSERT" => ("inserted", "numRowsInserted"),
                    "UPDATE" => ("updated", "numRowsUpdated"),
                    _ => ("deleted", "numRowsDeleted"),
                };
                let mut answer = changed(n, &format!("number of rows {noun}"));
                answer["stats"] = json!({
                    "numRowsInserted": 0, "numRowsUpdated": 0, "numRowsDeleted": 0, "numDuplicateRowsUpdated": 0,
                });
                answer["stats"][field] = json!(n);
                Ok((answer, n))
            }
            "SELECT" | "WITH" => {
                self.select(&text, binds).map(|answer| (answer, 0)).map_err(|error| not_compiled(&error))
            }
            _ => Err(("001003".into(), "42000".into(), format!("the stub knows no {verb}"))),
        }
    }

    fn select(&self, text: &str, binds: Vec<Sql>) -> rusqlite::Result<Value> {
        let mut statement = self.db.prepare(text)?;
        let columns: Vec<(String, &str)> = statement
            .columns()
            .iter()
            .map(|it| (it.name().to_uppercase(), type_of(it.decl_type().unwrap_or_default())))
            .collect();
        let mut rows = statement.query(params_from_iter(binds))?;
        let mut cells = Vec::new();
        while let Some(row) = rows.next()? {
            cells.push((0..columns.len()).map(|n| row.get_ref(n).map(cell)).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(result_set(&columns, &cells))
    }
}

fn result_set(columns: &[(String, &str)], cells: &[Vec<Option<String>>]) -> Value {
    let columns: Vec<_> = columns
        .iter()
        .map(|(name, kind)| json!({ "name": name, "type": kind, "nullable": true, "scale": 0, "precision": 38 }))
        .collect();
    json!({
        "resultSetMetaData": {
            "numRows": cells.len(), "format": "jsonv2", "rowType": columns,
            "partitionInfo": [{ "rowCount": cells.len(), "uncompressedSize": 1 }],
        },
        "data": cells,
        "code": "090001", "sqlState": "00000", "message": "Statement executed successfully.",
        "statementHandle": "01b0-stub", "statementStatusUrl": "/api/v2/statements/01b0-stub",
        "createdOn": 1_790_000_000_000_u64,
    })
}

fn first_word(statement: &str) -> String {
    let lines = statement.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with("--"));
    lines.flat_map(str::split_whitespace).next().unwrap_or_default().to_uppercase()
}

fn not_compiled(error: &rusqlite::Error) -> Refusal {
    let message = error.to_string();
    let (code, sql_state) = if message.contains("no such table") {
        ("002003", "42S02")
    } else if message.contains("malformed JSON") {
        ("100069", "22P02")
    } else if message.contains("NOT NULL constraint failed") {
        ("100072", "22000")
    } else {
        ("001003", "42000")
    };
    (code.into(), sql_state.into(), message)
}

/// A bound value. Times become the text of their cell, whose order is the order of the times.
fn bound(binding: &Binding) -> Result<Sql, Refusal> {
    let refusal = |value: &str| {
        let message = format!("{} value '{value}' is not recognized", binding.r#type);
        ("100037".to_owned(), "22018".to_owned(), message)
    };
    let Some(value) = &binding.value else { return Ok(Sql::Null) };
    match binding.r#type.as_str() {
        "TEXT" => Ok(Sql::Text(value.clone())),
        "FIXED" => value.parse().map(Sql::Integer).map_err(|_no_number| refusal(value)),
        "TIMESTAMP_NTZ" => {
            let nanoseconds: u64 = value.parse().map_err(|_no_number| refusal(value))?;
            Ok(Sql::Text(format!("{:010}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)))
        }
        _ => Err(refusal(value)),
    }
}

fn cell(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
    }
}

/// What a declared type is called in the description of a result.
fn type_of(declared: &str) -> &'static str {
    match declared.split(['(', ' ']).next().unwrap_or_default() {
        "TIMESTAMP_TEXT" => "timestamp_ntz",
        "NUMBER" => "fixed",
        "VARIANT_TEXT" => "variant",
        _ => "text",
    }
}

/// The statement in the words of the embedded database. Every rewriting is written out here; the rest of a
/// statement must mean the same in both.
fn translate(statement: &str) -> Result<String, Refusal> {
    let mut text = without_comments(statement)
        .replace("CREATE TRANSIENT TABLE", "CREATE TABLE")
        .replace("DATA_RETENTION_TIME_IN_DAYS = 0", "")
        // The last word gives a column the affinity of text, so that nothing in it is taken for a number.
        .replace(" TIMESTAMP_NTZ(3)", " TIMESTAMP_TEXT")
        .replace(" VARIANT", " VARIANT_TEXT");
    if let Some((_, view)) = text.split_once("CREATE OR REPLACE VIEW ") {
        let name = view.split_whitespace().next().unwrap_or_default();
        text = format!("DROP VIEW IF EXISTS {name}; CREATE VIEW {view}");
    }
    while let Some((before, rest)) = text.split_once("TABLE(FLATTEN(INPUT => ") {
        let end = closing(rest).filter(|it| rest.get(it + 1..).is_some_and(|it| it.starts_with(')')));
        let end = end.ok_or(("001003".into(), "42000".into(), "FLATTEN is not closed".into()))?;
        let (input, after) = rest.split_at(end);
        text = format!("{before}json_each({input}){}", after.trim_start_matches("))"));
    }
    Ok(text)
}

/// Where the parenthesis that was opened before `text` is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (place, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth == 0 => return Some(place),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Without `COMMENT '…'` and `COMMENT = '…'`, which nothing but people reads.
fn without_comments(statement: &str) -> String {
    let mut kept = String::new();
    let mut rest = statement;
    while let Some((before, after)) = rest.split_once("COMMENT") {
        kept.push_str(before);
        let literal = after.trim_start_matches(" =").trim_start().strip_prefix('\'').unwrap();
        rest = literal.split_once('\'').unwrap().1;
    }
    kept + rest
}

fn add_functions(db: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    // VARIANT keeps neither the order of keys nor spacing, and neither does this.
    db.create_scalar_function("PARSE_JSON", 1, flags, |context| {
        let text: Option<String> = context.get(0)?;
        let Some(text) = text.filter(|it| !it.is_empty()) else { return Ok(None) };
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| rusqlite::Error::UserFunctionError(format!("malformed JSON: {error}").into()))?;
        Ok(Some(value.to_string()))
    })?;
    db.create_scalar_function("TO_JSON", 1, flags, |context| context.get::<Option<String>>(0))?;
    db.create_scalar_function("GET_PATH", 2, flags, |context| {
        let text: Option<String> = context.get(0)?;
        let value: Value = text.and_then(|it| serde_json::from_str(&it).ok()).unwrap_or_default();
        let path = context.get::<String>(1)?;
        let found = path.split('.').try_fold(&value, |value, key| value.get(key));
        Ok(ToSqlOutput::Owned(match found {
            None | Some(Value::Null) => Sql::Null,
            Some(Value::String(text)) => Sql::Text(text.clone()),
            Some(number) if number.is_i64() => Sql::Integer(number.as_i64().unwrap()),
            Some(other) => Sql::Text(other.to_string()),
        }))
    })?;
    db.create_scalar_function("DATE_TRUNC", 2, flags, |context| {
        if context.get::<String>(0)? != "MONTH" {
            return Err(rusqlite::Error::UserFunctionError("the stub truncates to months only".into()));
        }
        let seconds: Option<String> = context.get(1)?;
        let time = seconds.and_then(|it| DateTime::from_timestamp(it.split('.').next()?.parse().ok()?, 0));
        Ok(time.map(|it| format!("{:010}.000000000", Month::of(it).start().timestamp())))
    })?;
    // Days since 1970, as a cell has them.
    db.create_scalar_function("TO_DATE", 1, flags, |context| {
        let seconds: Option<String> = context.get(0)?;
        Ok(seconds.and_then(|it| it.split('.').next()?.parse::<i64>().ok()).map(|it| it / 86_400))
    })
}
