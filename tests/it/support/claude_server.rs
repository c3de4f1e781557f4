//! A Messages API on the loopback that says exactly what a test tells it to, byte by byte, and writes down
//! what it was asked. It fails the test when it is asked once too often.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::eventually::eventually;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use url::Url;

/// What the server does to one request, step by step. A connection is closed after its last step.
pub(crate) type Reply = Vec<Step>;

/// One thing that the server does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Writes these bytes and sends them off.
    Write(Vec<u8>),
    /// Is silent for so long.
    Wait(Duration),
    /// Writes these bytes again and again until nobody takes them.
    WriteForEver(Vec<u8>),
    /// Is silent until the client goes away, and reports that.
    WaitUntilGone,
    /// Is silent until the gate has a permit, which it takes.
    Hold(Arc<Semaphore>),
    /// Breaks the connection off with a reset.
    Reset,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Such as `POST /v1/messages`.
    pub(crate) line: String,
    /// Names in lower case, in the order in which they came.
    pub(crate) headers: Vec<(String, String)>,
    /// The bytes after the headers.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Every value of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|it| it.0 == name).map(|it| it.1.as_str()).collect()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The server, listening until it is dropped.
#[derive(Debug)]
pub(crate) struct ClaudeServer {
    url: Url,
    seen: Arc<Mutex<Seen>>,
    gone: mpsc::UnboundedReceiver<()>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<Request>,
    replies: VecDeque<Reply>,
    too_often: usize,
}

impl ClaudeServer {
    /// Answers the first request with the first reply, and so on.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let seen = Arc::new(Mutex::new(Seen { replies: replies.into_iter().collect(), ..Seen::default() }));
        let (report, gone) = mpsc::unbounded_channel();
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&shared), report.clone()));
            }
        });
        Self { url, seen, gone, task }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// What it was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// Waits until a client has gone away from a [`Step::WaitUntilGone`] or a [`Step::WriteForEver`].
    pub(crate) async fn client_gone(&mut self) {
        self.gone.recv().await.unwrap();
    }

    /// Waits until a request has come.
    pub(crate) async fn asked(&self) {
        self.asked_times(1).await;
    }

    /// Waits until so many requests have come.
    pub(crate) async fn asked_times(&self, n: usize) {
        eventually("a request has come", async || (n <= self.requests().len()).then_some(())).await;
    }
}

impl Drop for ClaudeServer {
    fn drop(&mut self) {
        self.task.abort();
        if !std::thread::panicking() {
            let seen = self.seen.lock().unwrap();
            assert_eq!(seen.too_often, 0, "asked more often than there were replies");
            assert_eq!(seen.replies.len(), 0, "asked less often than there were replies");
        }
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Seen>>, report: mpsc::UnboundedSender<()>) {
    stream.set_nodelay(true).unwrap();
    // A client that gives up half-way is no failure of the server.
    let Some(request) = read_request(&mut stream).await else { return };
    let reply = {
        let mut seen = seen.lock().unwrap();
        seen.requests.push(request);
        let reply = seen.replies.pop_front();
        seen.too_often += usize::from(reply.is_none());
        reply.unwrap_or_else(|| error(400, &[], "asked_too_often"))
    };
    for step in reply {
        match step {
            Step::Write(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::WriteForEver(bytes) => {
                while stream.write_all(&bytes).await.is_ok() {}
                let _nobody_asks = report.send(());
            }
            Step::WaitUntilGone => {
                // Nothing more is sent by the client, so anything that comes is its end.
                let _reset_or_end = stream.read(&mut [0; 1]).await;
                let _nobody_asks = report.send(());
            }
            Step::Hold(gate) => gate.acquire().await.unwrap().forget(),
            Step::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
        }
    }
    let _already_gone = stream.shutdown().await;
}

async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let body = bytes.split_off(end + 4);
    let head = String::from_utf8(bytes).unwrap();
    let mut lines = head.trim_end().lines();
    let line = lines.next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .map(|it| it.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut request = Request { line, headers, body };
    let length: usize = request.header("content-length").first().map_or(0, |it| it.parse().unwrap());
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(request)
}

/// A whole answer that is no stream.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut head =
        format!("HTTP/1.1 {status} Any\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    vec![Step::Write(format!("{head}\r\n{body}").into_bytes())]
}

/// A refusal as the API words it.
pub(crate) fn error(status: u16, headers: &[(&str, &str)], kind: &str) -> Reply {
    let body =
        json!({"type": "error", "error": {"type": kind, "message": "for people"}, "request_id": "req_1"});
    answer(status, headers, &body.to_string())
}

/// The head of a stream.
pub(crate) fn stream_head() -> Step {
    Step::Write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec())
}

/// A stream of these events, closed in order.
pub(crate) fn stream(events: &[Value]) -> Reply {
    vec![stream_head(), Step::Write(written(events))]
}

/// Events as they are written.
pub(crate) fn written(events: &[Value]) -> Vec<u8> {
    let event = |it: &Value| format!("event: {}\ndata: {it}\n\n", it["type"].as_str().unwrap());
    events.iter().map(event).collect::<String>().into_bytes()
}

/// The text of the answer to a look, around an analysis.
pub(crate) fn analysis(analysis: &str) -> String {
    format!(r#"{{"reply":null,"analysis":{analysis}}}"#)
}

/// The events of an answer of one text block, cut into pieces of a few characters.
pub(crate) fn events(text: &str) -> Vec<Value> {
    let characters: Vec<char> = text.chars().collect();
    let deltas = characters.chunks(40).map(|it| text_delta(&it.iter().collect::<String>()));
    let mut events = vec![
        message_start(1000),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    ];
    events.extend(deltas);
    events.push(json!({"type": "content_block_stop", "index": 0}));
    events.push(message_delta("end_turn", 200));
    events.push(json!({"type": "message_stop"}));
    events
}

/// The first event, with what was read.
pub(crate) fn message_start(input_tokens: u64) -> Value {
    json!({"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5", "content": [],
        "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": input_tokens, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 4, "output_tokens": 1,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 19}},
    }})
}

/// A piece of text.
pub(crate) fn text_delta(text: &str) -> Value {
    json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
}

/// Why the message ended, with what was written in all.
pub(crate) fn message_delta(stop_reason: &str, output_tokens: u64) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": null},
        "usage": {"output_tokens": output_tokens}})
}
