//! Connections that keep the service waiting, over real sockets. Time is paused, so that it passes at once.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::form::Form;
use crate::support::records;
use chrono::Utc;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use swimcoach::config::Settings;
use swimcoach::run::{self, Parts};
use swimcoach::session::{Analysis, Owner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A service on a real socket, and what stops it.
async fn start() -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    start_with(|_| {}).await
}

/// The same with settings that are changed first.
async fn start_with(change: impl FnOnce(&mut Settings)) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let mut settings = Settings::demo().unwrap();
    settings.server.port = 0;
    change(&mut settings);
    let listener = run::listen(&settings).await.unwrap();
    let address = listener.local_addr().unwrap();
    let parts = Parts::build(&settings, address).await.unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let service = tokio::spawn(async move {
        run::serve(listener, parts, &settings, stopped).await.unwrap();
    });
    (address, stop, service)
}

/// Sends this and reads until the service closes the connection; what came, and after how long.
async fn until_closed(address: SocketAddr, sent: &[u8]) -> (String, Duration) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    let mut answer = Vec::new();
    // A reset is a close as well, also one that comes before everything was sent.
    let _closed = stream.write_all(sent).await;
    let _reset = stream.read_to_end(&mut answer).await;
    (String::from_utf8_lossy(&answer).into_owned(), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_brings_no_request_is_closed() {
    let (address, ..) = start().await;
    for sent in [
        &b""[..],
        b"G",
        b"PRI * HT",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /health HTTP/1.1\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    ] {
        let (_, after) = until_closed(address, sent).await;

        let expected = Duration::from_secs(50)..Duration::from_secs(90);
        assert!(expected.contains(&after), "{:?} after {after:?}", String::from_utf8_lossy(sent));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_idle_after_its_answer_is_closed() {
    let (address, ..) = start().await;

    let (answer, after) = until_closed(address, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;

    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!((Duration::from_secs(70)..Duration::from_secs(90)).contains(&after), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_long_is_refused() {
    let (address, ..) = start().await;
    let head = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(200_000));

    let (answer, after) = until_closed(address, head.as_bytes()).await;

    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(after < Duration::from_secs(5), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn no_request_is_smuggled_behind_another_whose_end_can_be_read_in_two_ways() {
    let (address, ..) = start().await;
    let smuggled = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let chunked = "0\r\n\r\n";
    for (head, body) in [
        ("Content-Length: 6\r\nTransfer-Encoding: chunked", chunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: 6", chunked),
        ("Content-Length: 0\r\nContent-Length: 45", ""),
        ("Content-Length: 0, 45", ""),
        ("Content-Length: +0", ""),
        ("Content-Length: -1", ""),
        ("Content-Length: 99999999999999999999", ""),
        ("Transfer-Encoding: xchunked", chunked),
        ("Transfer-Encoding: chunked, identity", chunked),
        ("Transfer-Encoding : chunked", chunked),
        (" Transfer-Encoding: chunked", chunked),
        ("X: y\r\n Transfer-Encoding: chunked", chunked),
        ("Transfer-Encoding: chunked", "ffffffffffffffffff\r\n"),
        ("Transfer-Encoding: chunked", "-1\r\n"),
        ("Transfer-Encoding: chunked", "0\n\n"),
    ] {
        let sent = format!(
            "POST /api/v1/analysis/x/analyze HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n{body}{smuggled}"
        );

        let (answer, after) = until_closed(address, sent.as_bytes()).await;

        // What is read as one message may be followed by the next; what can be read in two ways may not.
        let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(is_refused && !answer.contains("\"status\":\"ok\""), "{head}: {answer}");
        assert!(after < Duration::from_mins(3), "{head}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn thousands_of_headers_are_refused() {
    let (address, ..) = start().await;
    let head = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(5_000));

    let (answer, after) = until_closed(address, head.as_bytes()).await;

    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(after < Duration::from_secs(5), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answers_is_cut_off() {
    let (address, ..) = start().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();

    // Far more than what the system keeps for the two sides.
    let request = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.repeat(100).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(70)).await;

    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    // Had it still been open, all answers would have come. How long reading takes is not told by a clock that jumps to
    // what the service waits for beside it.
    assert!(answer.len() < 50 << 20, "{} bytes", answer.len());
}

#[tokio::test(start_paused = true)]
async fn a_connection_beyond_their_number_is_served_once_another_is_gone() {
    let (address, ..) = start_with(|it| it.server.max_connections = 2).await;
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        assert_ne!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        open.push(stream);
    }
    let mut beyond = TcpStream::connect(address).await.unwrap();
    beyond.write_all(request).await.unwrap();
    let early = tokio::time::timeout(Duration::from_secs(50), beyond.read(&mut [0; 1])).await;
    assert!(early.is_err(), "{early:?}");

    drop(open.pop());

    assert_ne!(beyond.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_closes_idle_connections_at_once() {
    let (address, stop, service) = start().await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    idle.readable().await.unwrap();
    let silent = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();

    stop.cancel();
    service.await.unwrap();

    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(silent);
}

/// A session whose analysis runs in another process and says nothing, and the request that follows it.
async fn followed(parts: &Parts) -> String {
    let session = records::session(&Owner::local(), 1);
    parts.sessions.create_session(&session).await.unwrap();
    let now = Utc::now();
    let analysis = Analysis { requested_at: now, updated_at: now, ..records::analysis(&session) };
    parts.sessions.start_analysis(&analysis, now).await.unwrap();
    format!("GET /api/v1/sessions/{}/events HTTP/1.1\r\nHost: localhost\r\n\r\n", session.id)
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_of_events_outlives_every_patience_and_a_stop_ends_it_at_once() {
    let mut settings = Settings::demo().unwrap();
    settings.server.port = 0;
    let listener = run::listen(&settings).await.unwrap();
    let address = listener.local_addr().unwrap();
    let parts = Parts::build(&settings, address).await.unwrap();
    let request = followed(&parts).await;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let service = tokio::spawn(async move { run::serve(listener, parts, &settings, stopped).await });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let start = Instant::now();

    while start.elapsed() < Duration::from_mins(20) {
        assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
    }
    let before_the_stop = Instant::now();
    stop.cancel();
    stream.read_to_end(&mut heard).await.unwrap();
    service.await.unwrap().unwrap();

    let heard = String::from_utf8(heard).unwrap();
    assert!(heard.contains("retry: 3000"), "{heard}");
    assert!((70..90).contains(&heard.matches("\r\n:\n\n").count()), "{heard}");
    // The last chunk, as of an answer that is whole.
    assert!(heard.ends_with("0\r\n\r\n"), "{heard}");
    assert!(before_the_stop.elapsed() < Duration::from_secs(5), "{:?}", before_the_stop.elapsed());
}

#[tokio::test]
async fn requests_over_http_2_are_answered() {
    let (address, ..) = start().await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // GET, http, the path and the authority, as HPACK writes them.
    let fields = [&[0x82, 0x86, 0x44, 7][..], b"/health", &[0x41, 9], b"localhost"].concat();
    let length = u8::try_from(fields.len()).unwrap();
    let headers = [&[0, 0, length, 1, 5, 0, 0, 0, 1], &fields[..]].concat();
    let mut stream = TcpStream::connect(address).await.unwrap();

    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&[&settings[..], &headers].concat()).await.unwrap();

    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("\"status\":\"ok\"") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
    }
}

#[tokio::test]
async fn an_upload_that_is_refused_at_the_door_hears_why_although_it_is_still_sending() {
    let (address, ..) = start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let upload = client.post(format!("http://{address}/api/v1/analysis/upload"));
    let upload = upload.header("content-type", "multipart/form-data; boundary=x");

    let reply = upload.body(vec![0; 70 << 20]).send().await.unwrap();

    assert_eq!(reply.status(), 413);
    assert_eq!(reply.json::<serde_json::Value>().await.unwrap()["code"], "request_too_large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_a_stop_cuts_leaves_nothing_behind() {
    let mut settings = Settings::demo().unwrap();
    settings.server.port = 0;
    settings.server.shutdown_timeout = Duration::from_millis(50);
    let listener = run::listen(&settings).await.unwrap();
    let address = listener.local_addr().unwrap();
    let parts = Parts::build(&settings, address).await.unwrap();
    let storage = Arc::clone(parts.mock_storage.as_ref().unwrap());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let service = tokio::spawn(async move { run::serve(listener, parts, &settings, stopped).await });
    let body = Form::frames(2).body();
    let head = format!(
        "POST /api/v1/analysis/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        Form::content_type(),
        body.len(),
    );
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&[head.as_bytes(), &body[..body.len() - 100]].concat()).await.unwrap();
    let stored = async {
        while storage.keys().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), stored).await.unwrap();

    stop.cancel();
    service.await.unwrap().unwrap();

    assert_eq!(storage.keys(), [""; 0]);
}
