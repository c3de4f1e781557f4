//! What every refusal has in common, and what the log says about each request.

use crate::support::app::{TestApp, session_path};
use crate::support::faults::Fault;
use crate::support::form::Form;
use crate::support::pictures;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use base64::Engine;
use futures_util::FutureExt;
use serde_json::Value;
use std::io;
use std::sync::{Arc, Mutex};
use swimcoach::session::SessionId;
use swimcoach::upstream::UpstreamErrorKind as Kind;
use tracing_subscriber::fmt::MakeWriter;

fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn paths_that_are_not_in_the_table_are_not_found() {
    let app = TestApp::new();
    for path in [
        "/nothing",
        "/api/v1",
        "/api/v2/sessions",
        "/api/v1/sessions/a/b",
        "/%",
        "//",
        "/api/v1/video/upload",
    ] {
        let reply = app.get(path).await;

        let problem = reply.problem(StatusCode::NOT_FOUND, "not_found");
        assert_eq!(problem["instance"], path);
    }
}

#[tokio::test]
async fn methods_that_a_path_does_not_know_are_refused_with_those_that_it_knows() {
    let app = TestApp::new();
    for (method, path, allow) in [
        (Method::GET, "/api/v1/analysis/upload", "POST"),
        (Method::PUT, "/api/v1/sessions", "GET,HEAD,POST"),
        (Method::POST, "/health", "GET,HEAD"),
        (Method::PUT, &*session_path(&SessionId::new().to_string()), "GET,HEAD,PATCH,DELETE"),
    ] {
        let reply = app.send(request(method, path)).await;

        reply.problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some(allow), "{path}");
    }
}

#[tokio::test]
async fn a_panic_is_a_problem_that_tells_nothing_and_the_next_request_works() {
    let app = TestApp::new();
    app.records.faults.fail_next("list_sessions", Fault::Panic);

    let reply = app.get("/api/v1/sessions").await;

    let problem = reply.problem(StatusCode::INTERNAL_SERVER_ERROR, "internal");
    assert!(!problem.to_string().contains("told to panic"));
    assert_eq!(app.get("/api/v1/sessions").await.status, StatusCode::OK);
}

#[tokio::test]
async fn each_way_in_which_records_fail_has_its_answer_and_none_tells_the_cause() {
    let app = TestApp::new();
    let wait = |seconds| Kind::RateLimited { retry_after: Some(std::time::Duration::from_secs(seconds)) };
    for (kind, status, retry_after) in [
        (Kind::Unavailable, StatusCode::SERVICE_UNAVAILABLE, Some("5")),
        (Kind::Timeout, StatusCode::SERVICE_UNAVAILABLE, Some("5")),
        (wait(17), StatusCode::SERVICE_UNAVAILABLE, Some("17")),
        (Kind::Unauthorized, StatusCode::SERVICE_UNAVAILABLE, None),
        (Kind::NotFound, StatusCode::SERVICE_UNAVAILABLE, None),
        (Kind::Exhausted, StatusCode::SERVICE_UNAVAILABLE, None),
        (Kind::TooLarge, StatusCode::BAD_GATEWAY, None),
        (Kind::Rejected, StatusCode::BAD_GATEWAY, None),
        (Kind::InvalidResponse, StatusCode::BAD_GATEWAY, None),
    ] {
        app.records.faults.fail_next("session", Fault::Before(kind));

        let reply = app.show(&SessionId::new().to_string()).await;

        let problem = reply.problem(status, "records_unavailable");
        assert!(!problem.to_string().contains("secret-cause"), "{problem:#}");
        assert_eq!(reply.header("retry-after"), retry_after, "{kind}");
    }
}

#[tokio::test]
async fn an_outage_of_records_never_looks_like_a_deleted_session() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(1)).await;
    app.records.faults.fail_always("session", Fault::Before(Kind::Unavailable));

    for reply in [app.show(&id).await, app.delete(&id).await, app.analyze(&id, Value::Null).await] {
        reply.problem(StatusCode::SERVICE_UNAVAILABLE, "records_unavailable");
    }
    assert_eq!(app.storage.keys().len(), 1);
}

#[tokio::test]
async fn every_answer_carries_the_id_that_the_request_came_with() {
    let app = TestApp::new();
    let id = "trace-7.of_Proxy";
    for (path, status) in [("/health", StatusCode::OK), ("/nothing", StatusCode::NOT_FOUND)] {
        let request = Request::get(path).header("x-request-id", id).body(Body::empty()).unwrap();

        let reply = app.send(request).await;

        assert_eq!(reply.status, status);
        assert_eq!(reply.header("x-request-id"), Some(id));
    }
}

#[tokio::test]
async fn an_id_that_is_not_fit_for_a_log_line_is_replaced_by_a_new_one() {
    let app = TestApp::new();
    let too_long = "x".repeat(65);
    for given in ["", "a b", "a\"b", "a,b", "<script>", "é", &too_long] {
        let request = Request::get("/health").header("x-request-id", given.as_bytes());

        let reply = app.send(request.body(Body::empty()).unwrap()).await;

        let id = reply.header("x-request-id").unwrap();
        assert!(uuid::Uuid::try_parse(id).is_ok(), "{given:?} became {id:?}");
    }
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(1)).await;
    for path in ["/health", "/api/v1/sessions", &session_path(&id), "/nothing", &session_path("x")] {
        let get = app.get(path).await;

        let head = app.send(request(Method::HEAD, path)).await;

        assert_eq!(head.status, get.status, "{path}");
        assert!(head.body.is_empty(), "{path}");
        for name in ["content-type", "content-length", "etag"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
}

/// What was logged, as lines of JSON.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines about requests.
    fn requests(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(|it| serde_json::from_str::<Value>(it).unwrap());
        lines.filter(|it| it["route"].is_string()).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Logs everything that this thread does, down to the last detail.
pub(super) fn capture() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let lines = tracing_subscriber::fmt().json().flatten_event(true);
    let subscriber = lines.with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn each_request_is_one_line_with_its_id_route_status_and_duration() {
    let app = TestApp::new();
    let (log, _guard) = capture();
    let id = SessionId::new().to_string();
    app.records.faults.fail_next("list_sessions", Fault::Before(Kind::Unavailable));

    let replies = [app.get("/health").await, app.show(&id).await, app.get("/api/v1/sessions").await];

    let lines = log.requests();
    assert_eq!(lines.len(), 3);
    for (line, reply) in lines.iter().zip(&replies) {
        assert_eq!(line["request_id"].as_str(), reply.header("x-request-id"));
        assert_eq!(line["status"], reply.status.as_u16());
        assert!(line["duration_ms"].is_u64());
    }
    assert_eq!(lines[1]["route"], "/api/v1/sessions/{id}");
    assert_eq!(lines[1]["path"], session_path(&id));
    assert_eq!(lines[2]["level"], "ERROR");
    assert!(lines[2]["cause"].as_str().unwrap().contains("secret-cause"));
}

#[tokio::test]
async fn a_request_that_its_client_left_is_one_line_too() {
    let app = TestApp::new();
    let (log, _guard) = capture();
    app.records.faults.fail_next("list_sessions", Fault::Hang);
    let mut request = Box::pin(app.get("/api/v1/sessions"));
    assert!((&mut request).now_or_never().is_none());

    drop(request);

    let lines = log.requests();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0]["message"].as_str().unwrap().contains("left by its client"));
}

#[tokio::test]
async fn no_log_line_holds_a_credential_a_note_a_title_or_a_picture() {
    let app = TestApp::new();
    let (log, _guard) = capture();
    app.vision.finds();
    app.vision.answers_notes("secret-answer");
    let jpeg = pictures::jpeg(320, 240, 1);
    let form = Form::new().frame(&jpeg).text("user_notes", "secret-notes").text("title", "secret-title");
    let body = Body::from(form.body());
    let upload = Request::post("/api/v1/analysis/upload?key=secret-query")
        .header("content-type", Form::content_type())
        .header("authorization", "Bearer secret-token")
        .header("x-api-key", "secret-key")
        .header("cookie", "secret-cookie");

    let uploaded = app.send(upload.body(body).unwrap()).await.json();
    let id = uploaded["session_id"].as_str().unwrap();
    app.analyzed(id).await;
    app.get("/_mock/storage/frames/x?expires=1&signature=secret-signature").await;
    app.delete(id).await;

    let text = log.text();
    assert!(text.contains(id));
    assert!(!text.contains("secret-"), "{text}");
    let picture = base64::engine::general_purpose::STANDARD.encode(&jpeg[300..330]);
    assert!(!text.contains(&picture));
}
