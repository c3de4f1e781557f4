//! A server that answers as the SQL API does, by a script: each request gets the next answer, and can be
//! inspected afterwards.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use swimcoach::metadata::snowflake::key_pair::{Credentials, Secret};
use swimcoach::metadata::snowflake::sql_api::{SqlApi, SqlApiLimits, SqlApiSettings};
use swimcoach::upstream::RetryPolicy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;
use uuid::Uuid;

/// The statement's handle in every answer made here.
pub(crate) const HANDLE: &str = "01b66701-0000-001c-0000-0030000b91521";
/// The path of all statements.
pub(crate) const STATEMENTS: &str = "/api/v2/statements";

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Answers, after a while.
    Answer { status: u16, headers: Vec<(String, String)>, body: Vec<u8>, delay: Duration },
    /// Resets the connection once it has read the request.
    Reset,
    /// Breaks off in the middle of the body.
    BreakOff,
    /// Says nothing.
    Silence,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::bytes(status, body.to_string().into_bytes()).header("content-type", "application/json")
    }

    pub(crate) fn html(status: u16) -> Self {
        let page = format!("<html><body><h1>{status}</h1></body></html>");
        Self::bytes(status, page.into_bytes()).header("content-type", "text/html")
    }

    pub(crate) fn bytes(status: u16, body: Vec<u8>) -> Self {
        Self::Answer { status, headers: Vec::new(), body, delay: Duration::ZERO }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub(crate) fn after(mut self, wait: Duration) -> Self {
        if let Self::Answer { delay, .. } = &mut self {
            *delay = wait;
        }
        self
    }

    /// A result of these columns, each `name type`, in one partition.
    pub(crate) fn rows(columns: &[&str], rows: &Value) -> Self {
        Self::json(200, &result(columns, rows, &[rows.as_array().unwrap().len()]))
    }

    /// The result of a statement that changes nothing and returns a word.
    pub(crate) fn done() -> Self {
        Self::rows(&["status text"], &json!([["done"]]))
    }

    /// The statement goes on.
    pub(crate) fn running() -> Self {
        let body = json!({
            "code": "333334", "message": "in progress", "statementHandle": HANDLE,
            "statementStatusUrl": format!("{STATEMENTS}/{HANDLE}?requestId={}", Uuid::new_v4()),
        });
        Self::json(202, &body)
    }

    /// The statement failed with this code and SQLSTATE.
    pub(crate) fn failed(code: &str, sql_state: &str, message: &str) -> Self {
        let body =
            json!({"code": code, "sqlState": sql_state, "message": message, "statementHandle": HANDLE});
        Self::json(422, &body)
    }

    pub(crate) fn unauthorized(code: &str, message: &str) -> Self {
        Self::json(401, &json!({"code": code, "message": message}))
    }
}

/// The body of an answer whose first partition has these rows and whose partitions have so many each.
pub(crate) fn result(columns: &[&str], rows: &Value, partitions: &[usize]) -> Value {
    let columns = columns.iter().map(|it| {
        let (name, kind) = it.split_once(' ').unwrap();
        json!({"name": name, "type": kind, "nullable": true})
    });
    let partition_info = partitions.iter().map(|it| json!({"rowCount": it, "uncompressedSize": it * 10}));
    json!({
        "resultSetMetaData": {
            "numRows": partitions.iter().sum::<usize>(), "format": "jsonv2",
            "rowType": columns.collect::<Vec<_>>(), "partitionInfo": partition_info.collect::<Vec<_>>(),
        },
        "data": rows, "code": "090001", "sqlState": "00000", "statementHandle": HANDLE,
        "statementStatusUrl": format!("{STATEMENTS}/{HANDLE}"), "message": "ok", "createdOn": 1_790_000_000_123_u64,
    })
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) url: Url,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|it| it.0 == name).map(|it| it.1.as_str())
    }

    pub(crate) fn query(&self, name: &str) -> Option<String> {
        self.url.query_pairs().find(|it| it.0 == name).map(|it| it.1.into_owned())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type Script = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

/// A server on a port of its own.
pub(crate) struct SnowflakeServer {
    pub(crate) url: Url,
    received: Arc<Mutex<Vec<Received>>>,
}

impl SnowflakeServer {
    /// Gives these answers in this order, and then 418, which no client takes for anything.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies = Mutex::new(replies.into_iter().collect::<VecDeque<_>>());
        let next = move |_: &Received| replies.lock().unwrap().pop_front();
        Self::answering(move |received| next(received).unwrap_or_else(|| Reply::html(418))).await
    }

    /// Answers each request by itself.
    pub(crate) async fn answering(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (base, log, script): (_, _, Script) = (url.clone(), Arc::clone(&received), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, base.clone(), Arc::clone(&log), Arc::clone(&script)));
            }
        });
        Self { url, received }
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Settings that find this server, with a token, impatient.
    pub(crate) fn settings(&self) -> SqlApiSettings {
        let retry = RetryPolicy {
            attempts: 3,
            base_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(10),
            deadline: Duration::from_secs(5),
        };
        SqlApiSettings {
            base_url: self.url.clone(),
            credentials: Credentials::AccessToken(Secret::Text("a-token".into())),
            warehouse: "WH".to_owned(),
            database: "DB".to_owned(),
            schema: "COACH".to_owned(),
            role: Some("COACH_ROLE".to_owned()),
            query_tag: "swimcoach-test".to_owned(),
            limits: SqlApiLimits { retry, ..SqlApiLimits::default() },
        }
    }

    /// A client with [`Self::settings`].
    pub(crate) fn client(&self) -> SqlApi {
        SqlApi::connect(&self.settings()).unwrap()
    }
}

async fn serve(mut stream: TcpStream, base: Url, log: Arc<Mutex<Vec<Received>>>, script: Script) {
    // A connection that ends between two requests is no failure.
    while let Some(received) = read(&mut stream, &base).await {
        log.lock().unwrap().push(received.clone());
        match script(&received) {
            Reply::Answer { status, headers, body, delay } => {
                tokio::time::sleep(delay).await;
                let length = body.len();
                let mut head = format!("HTTP/1.1 {status} Test\r\ncontent-length: {length}\r\n");
                for (name, value) in headers {
                    head = format!("{head}{name}: {value}\r\n");
                }
                head.push_str("\r\n");
                let sent = stream.write_all(&[head.into_bytes(), body].concat()).await;
                if sent.is_err() {
                    return; // the client went away
                }
            }
            Reply::Reset => {
                // Unread bytes or not, the client sees a reset.
                stream.set_zero_linger().unwrap();
                return;
            }
            Reply::BreakOff => {
                stream.write_all(b"HTTP/1.1 200 Test\r\ncontent-length: 999\r\n\r\n{\"dat").await.unwrap();
                return;
            }
            Reply::Silence => std::future::pending().await,
        }
    }
}

async fn read(stream: &mut TcpStream, base: &Url) -> Option<Received> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            break at;
        }
        more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut request_line = lines.next()?.split(' ');
    let (method, target) = (request_line.next()?.to_owned(), request_line.next()?);
    let headers: Vec<_> = lines
        .filter_map(|it| it.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|it| it.0 == "content-length").map_or(0, |it| it.1.parse().unwrap());
    while bytes.len() < head_end + 4 + length {
        more(stream, &mut bytes).await?;
    }
    let body = String::from_utf8(bytes[head_end + 4..].to_vec()).unwrap();
    Some(Received { method, url: base.join(target).unwrap(), headers, body })
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let n_read = stream.read_buf(bytes).await.ok()?;
    (0 < n_read).then_some(())
}
