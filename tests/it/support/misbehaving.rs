//! An HTTP/1.1 server of bare TCP that answers whatever it is told, in whatever bad manner.
//!
//! It knows nothing about who calls it: a test says what becomes of the n-th request, and reads afterwards
//! what came.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// When its last byte had come.
    pub(crate) at: Instant,
    pub(crate) method: String,
    /// Path and query as they were sent.
    pub(crate) target: String,
    /// By name in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A whole answer. `content-length` is added; the connection stays open.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// The connection is reset.
    Reset,
    /// Nothing is ever sent.
    Silence,
    /// This reply, once there is a permit for it.
    Held(Arc<Semaphore>, Box<Reply>),
    /// A 200 with the entity tag `tag` and this body that promises a byte more, after which the connection is
    /// closed.
    CutShort(Vec<u8>),
    /// A 200 with the entity tag `tag` that promises a million bytes, of which one comes each time this long has
    /// passed, without end.
    Drip(Duration),
}

impl Reply {
    /// An answer without headers of its own.
    pub(crate) fn answer(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.into() }
    }

    /// The same answer with one more header; other replies have none.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }
}

type Decide = dyn Fn(usize, &Received) -> Reply + Send + Sync;

/// The server; it stops when it is dropped.
pub(crate) struct Misbehaving {
    url: Url,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

struct Shared {
    decide: Box<Decide>,
    received: Mutex<Vec<Received>>,
    resets: AtomicUsize,
    /// Requests that came and whose reply has not begun: how many now, and how many at most.
    unanswered: AtomicUsize,
    most_unanswered: AtomicUsize,
}

impl Misbehaving {
    /// Starts a server on a free port. `decide` is given the number of the request, from 0, and the request.
    pub(crate) async fn start(decide: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let shared = Arc::new(Shared {
            decide: Box::new(decide),
            received: Mutex::default(),
            resets: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            most_unanswered: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let counted =
                    serving.resets.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1));
                if counted.is_ok() {
                    reset(stream);
                    continue;
                }
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { url, shared, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Starts a server that gives these replies, one for each request. A request more panics in the server,
    /// and its connection is closed without an answer.
    pub(crate) async fn replying(replies: impl Into<Vec<Reply>>) -> Self {
        let replies = replies.into();
        Self::start(move |number, _| replies[number].clone()).await
    }

    /// Resets so many of the next connections before anything is read from them.
    pub(crate) fn reset_next_connections(&self, count: usize) {
        self.shared.resets.store(count, Ordering::SeqCst);
    }

    /// Connections that are still to be reset.
    pub(crate) fn resets_left(&self) -> usize {
        self.shared.resets.load(Ordering::SeqCst)
    }

    /// The most requests that waited for their reply at one time.
    pub(crate) fn most_unanswered(&self) -> usize {
        self.shared.most_unanswered.load(Ordering::SeqCst)
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> Url {
        self.url.clone()
    }

    /// What came so far, whole requests only.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Some(request) = read_request(&mut stream).await {
        let number = {
            let mut received = shared.received.lock().unwrap();
            received.push(request.clone());
            received.len() - 1
        };
        let unanswered = 1 + shared.unanswered.fetch_add(1, Ordering::SeqCst);
        shared.most_unanswered.fetch_max(unanswered, Ordering::SeqCst);
        let mut reply = (shared.decide)(number, &request);
        while let Reply::Held(may_reply, held) = reply {
            may_reply.acquire().await.unwrap().forget();
            reply = *held;
        }
        if matches!(reply, Reply::Silence) {
            return std::future::pending().await;
        }
        shared.unanswered.fetch_sub(1, Ordering::SeqCst);
        match reply {
            Reply::Answer { status, headers, body } => {
                let fields: Vec<String> =
                    headers.into_iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let head = format!("HTTP/1.1 {status} As told\r\ncontent-length: {}\r\n", body.len());
                let body = if request.method == "HEAD" { Vec::new() } else { body };
                let answer = [head.as_bytes(), fields.concat().as_bytes(), b"\r\n", &body].concat();
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
            Reply::Reset => return reset(stream),
            Reply::Silence | Reply::Held(..) => unreachable!("they were dealt with above"),
            Reply::CutShort(body) => {
                let length = body.len() + 1;
                let head =
                    format!("HTTP/1.1 200 As told\r\netag: \"tag\"\r\ncontent-length: {length}\r\n\r\n");
                // Whether the client still listens is not the server's affair.
                drop(stream.write_all(&[head.as_bytes(), &body].concat()).await);
                return;
            }
            Reply::Drip(pause) => {
                let head = b"HTTP/1.1 200 As told\r\netag: \"tag\"\r\ncontent-length: 1000000\r\n\r\n";
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() {
                    tokio::time::sleep(pause).await;
                    sent = stream.write_all(b"x").await;
                }
                return;
            }
        }
    }
}

/// The next request, `None` when the client closed the connection.
async fn read_request(stream: &mut TcpStream) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut start = lines.next().unwrap().split(' ').map(str::to_owned);
    let (method, target) = (start.next().unwrap(), start.next().unwrap());
    let fields = lines.filter_map(|it| it.split_once(": "));
    let headers: HashMap<String, String> =
        fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let length = headers.get("content-length").map_or(0, |it| it.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received { at: Instant::now(), method, target, headers, body })
}

/// Closes so that the other side sees a reset and not an orderly end.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}
