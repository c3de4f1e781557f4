//! The binary itself: real sockets, real signals, exit codes.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod durable;
mod events;
mod keys;
mod outages;

use crate::support::breakable_records::BreakableRecords;
use crate::support::dead_port::DeadPort;
use crate::support::event_stream::{EventStream, SentEvent};
use crate::support::eventually::eventually;
use crate::support::form::Form;
use crate::support::listening::address_of;
use crate::support::records::{new_owner, session};
use crate::support::s3_server::S3Server;
use axum::body::Body;
use axum::http;
use reqwest::StatusCode;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use swimcoach::metadata::SessionStore;
use swimcoach::metadata::journal::{Journal, JournaledSessionStore};
use swimcoach::metrics::{JournalMetrics, StorageMetrics};
use swimcoach::session::{FrameNumber, SessionId};
use swimcoach::storage::r2::R2StorageClient;
use swimcoach::storage::{FramePath, StorageClient};
use swimcoach::upstream::UpstreamErrorKind;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// How long anything here may take at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything in memory, on a port that the system chooses.
const IN_MEMORY: [(&str, &str); 5] = [
    ("R2_MOCK_MODE", "true"),
    ("SNOWFLAKE_MOCK_MODE", "true"),
    ("ANTHROPIC_MOCK_MODE", "true"),
    ("PORT", "0"),
    ("LOG_FORMAT", "json"),
];

fn swimcoach(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swimcoach"));
    // In a folder without a .env, with no variable but these.
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR")).env_clear();
    command.env("CONSENT_WHEN_UNSAID", "adult").envs(settings.iter().copied()).kill_on_drop(true);
    command
}

async fn output(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let run = swimcoach(arguments, settings).output();
    tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A service that runs.
struct Service {
    process: Child,
    address: String,
    client: reqwest::Client,
}

impl Service {
    /// Starts one and waits until it says where it listens.
    async fn start(settings: &[(&str, &str)]) -> Self {
        let mut process = swimcoach(&["serve"], settings).stderr(Stdio::piped()).spawn().unwrap();
        let address = address_of(&mut process, PATIENCE).await;
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { process, address, client }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let reply = self.client.get(self.url(path)).send().await.unwrap();
        (reply.status(), reply.json().await.unwrap())
    }

    async fn upload(&self, form: Form) -> String {
        let request = self.client.post(self.url("/api/v1/analysis/upload"));
        let request = request.header("content-type", Form::content_type()).body(form.body());
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::CREATED);
        reply.json::<Value>().await.unwrap()["session_id"].as_str().unwrap().to_owned()
    }

    /// Asks for an analysis; its id.
    async fn analyze(&self, session: &str) -> String {
        let request = self.client.post(self.url(&format!("/api/v1/analysis/{session}/analyze")));
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::ACCEPTED);
        reply.json::<Value>().await.unwrap()["analysis_id"].as_str().unwrap().to_owned()
    }

    /// The session once it is so.
    async fn session_until(&self, session: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/api/v1/sessions/{session}");
        self.until(&path, |_, body| is_so(body)).await
    }

    /// What the path answers once it is so.
    async fn until(&self, path: &str, is_so: impl Fn(StatusCode, &Value) -> bool) -> Value {
        let look = async || {
            let (status, body) = self.get(path).await;
            is_so(status, &body).then_some(body)
        };
        eventually(path, look).await
    }

    /// Listens to the events of a session's analysis, all of them or those after a known one. What is dropped before
    /// its end is a connection that breaks.
    async fn events(&self, session: &str, known: Option<&SentEvent>) -> EventStream {
        let mut request = self.client.get(self.url(&format!("/api/v1/sessions/{session}/events")));
        if let Some(event) = known {
            request = request.header("Last-Event-ID", &event.id);
        }
        EventStream::new(http::Response::from(request.send().await.unwrap()).map(Body::new))
    }

    /// All events of a session's analysis, until it ends.
    async fn told(&self, session: &str) -> Vec<SentEvent> {
        let mut stream = self.events(session, None).await;
        let mut told = Vec::new();
        while let Some(event) = stream.next().await {
            told.push(event);
        }
        told
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(sent.unwrap().success());
    }

    async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.process.wait()).await.unwrap().unwrap()
    }
}

/// A model that takes connections and never answers.
async fn silent_model() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    url
}

fn database(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("records.db").display())
}

#[tokio::test]
async fn the_demo_says_loudly_what_it_is_and_does_everything_in_memory() {
    let mut demo = swimcoach(&["demo", "--port", "0"], &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    for _ in 0..2 {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        said.push(line.unwrap());
    }
    let address = said[1].split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let mut service = Service { process: demo, address, client };

    let id = service.upload(Form::frames(15)).await;
    service.analyze(&id).await;
    let detail = service.session_until(&id, |it| it["status"] != "processing").await;
    let request = service.client.delete(service.url(&format!("/api/v1/sessions/{id}")));
    let deleted: Value = request.send().await.unwrap().json().await.unwrap();

    assert!(said[0].starts_with("DEMO: ") && said[0].contains("no coaching is done"), "{said:?}");
    assert_eq!(detail["status"], "complete");
    assert!(detail["summary"].as_str().unwrap().contains("No coaching was done"));
    assert_eq!(deleted["frames_deleted"], 15);
    assert_eq!(service.get("/api/v1/sessions").await.1, json!([]));
    service.signal("INT");
    assert!(service.ended().await.success());
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_before_the_demo_says_that_it_runs() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();

    let output = output(&["demo", "--port", &port], &[]).await;

    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("PORT free"), "{output:?}");
}

#[tokio::test]
async fn missing_and_wrong_settings_are_told_all_at_once_and_no_secret_is() {
    let settings = [
        ("R2_SECRET_ACCESS_KEY", "secret-r2"),
        ("ANTHROPIC_API_KEY", "secret-anthropic"),
        ("ANTHROPIC_BASE_URL", "http://model.example/?key=secret-query"),
        ("PORT", "secret-port"),
        ("CORS_ORIGINS", "https://*.pages.dev"),
    ];

    let output = output(&["serve"], &settings).await;

    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    for name in
        ["R2_ACCESS_KEY_ID", "R2_BUCKET_NAME", "DATABASE_URL", "ANTHROPIC_BASE_URL", "PORT", "CORS_ORIGINS"]
    {
        assert!(told.contains(name), "{name} is not in {told}");
    }
    assert!(!told.contains("secret-"), "{told}");
}

#[tokio::test]
async fn doctor_says_that_a_service_in_memory_is_well() {
    let output = output(&["doctor"], &IN_MEMORY).await;

    assert_eq!(output.status.code(), Some(0));
    let told = text(&output.stdout);
    for part in ["storage: in memory", "records: in memory", "model: none"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(told.matches("  ok: ").count(), 3);
}

#[tokio::test]
async fn what_waits_in_the_journal_is_listed_and_given_up_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = path.to_str().unwrap();
    let settings = [
        ("R2_MOCK_MODE", "true"),
        ("ANTHROPIC_MOCK_MODE", "true"),
        ("SNOWFLAKE_BASE_URL", "http://127.0.0.1:9"),
        ("SNOWFLAKE_TOKEN", "token"),
        ("SNOWFLAKE_WAREHOUSE", "WH"),
        ("SNOWFLAKE_DATABASE", "DB"),
        ("SNOWFLAKE_JOURNAL", journal),
    ];
    let session = session_that_waits(&path).await.to_string();

    let listed = output(&["journal", "list"], &settings).await;
    let dropped = output(&["journal", "drop", &session], &settings).await;
    let again = output(&["journal", "drop", &session], &settings).await;

    assert!(text(&listed.stdout).contains(&session), "{}", text(&listed.stdout));
    assert_eq!(dropped.status.code(), Some(0), "{}", text(&dropped.stderr));
    let told = text(&dropped.stdout);
    assert!(told.starts_with(&format!("lost: {session}")) && told.contains("1 creation"), "{told}");
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(text(&again.stdout), format!("nothing waits of {session}\n"));
}

/// Creates a session while its store is down, so that it waits in the journal at `path`.
async fn session_that_waits(path: &Path) -> SessionId {
    let records = BreakableRecords::new();
    records.fail_all(UpstreamErrorKind::Unavailable);
    let journal = Journal::open(path, 10, JournalMetrics::default()).await.unwrap();
    let store = JournaledSessionStore::new(records, journal);
    let session = session(&new_owner(), 1);
    store.create_session(&session).await.unwrap();
    assert!(store.shut_down(PATIENCE).await);
    session.id
}

#[tokio::test]
async fn doctor_names_the_setting_behind_a_storage_that_cannot_be_reached() {
    let dead = DeadPort::take();
    let endpoint = format!("http://{}", dead.address());
    let settings = [
        ("R2_ENDPOINT", &*endpoint),
        ("R2_ACCESS_KEY_ID", "key"),
        ("R2_SECRET_ACCESS_KEY", "secret-r2"),
        ("R2_BUCKET_NAME", "frames"),
        ("SNOWFLAKE_MOCK_MODE", "true"),
        ("ANTHROPIC_MOCK_MODE", "true"),
    ];

    let output = output(&["doctor"], &settings).await;

    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    assert!(told.contains("FAILED") && told.contains("R2_ENDPOINT"), "{told}");
    assert_eq!(told.matches("  ok: ").count(), 2);
    assert!(!told.contains("secret-r2") && !text(&output.stderr).contains("secret-r2"));
}

#[tokio::test]
async fn doctor_tells_by_which_code_storage_refuses_a_wrong_secret() {
    let server = S3Server::start().await;
    let right = server.settings();
    let settings = [
        ("R2_ENDPOINT", right.endpoint.as_str()),
        ("R2_ACCESS_KEY_ID", &*right.access_key_id),
        ("R2_SECRET_ACCESS_KEY", "another-secret"),
        ("R2_BUCKET_NAME", &*right.bucket),
        ("SNOWFLAKE_MOCK_MODE", "true"),
        ("ANTHROPIC_MOCK_MODE", "true"),
    ];

    let output = output(&["doctor"], &settings).await;

    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    assert!(told.contains("SignatureDoesNotMatch") && told.contains("R2_SECRET_ACCESS_KEY"), "{told}");
}

#[tokio::test]
async fn a_machine_without_root_certificates_is_told_so() {
    let none = tempfile::NamedTempFile::new().unwrap();
    let settings = [
        ("SSL_CERT_FILE", none.path().to_str().unwrap()),
        ("R2_ENDPOINT", "https://127.0.0.1:9"),
        ("R2_ACCESS_KEY_ID", "key"),
        ("R2_SECRET_ACCESS_KEY", "secret-r2"),
        ("R2_BUCKET_NAME", "frames"),
        ("SNOWFLAKE_MOCK_MODE", "true"),
        ("ANTHROPIC_MOCK_MODE", "true"),
    ];

    let output = output(&["doctor"], &settings).await;

    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("SSL_CERT_FILE"), "{output:?}");
}

#[tokio::test]
async fn health_tells_by_its_exit_code_whether_the_service_is_ready() {
    let settings = [&IN_MEMORY[..], &[("SHUTDOWN_DRAIN_SECONDS", "300")]].concat();
    let service = Service::start(&settings).await;
    let port = service.address.split(':').nth(1).unwrap().to_owned();
    let dead = DeadPort::take();

    let ready = output(&["health"], &[("PORT", &port)]).await;
    service.signal("TERM");
    service.until("/health/ready", |_, it| it["status"] == "stopping").await;
    let stopping = output(&["health"], &[("PORT", &port)]).await;
    let nobody = output(&["health"], &[("PORT", &dead.address().port().to_string())]).await;

    assert_eq!(ready.status.code(), Some(0));
    assert_eq!(stopping.status.code(), Some(1));
    assert_eq!(nobody.status.code(), Some(1));
}

#[tokio::test]
async fn health_finds_the_service_by_the_file_of_settings() {
    let service = Service::start(&IN_MEMORY).await;
    let folder = tempfile::tempdir().unwrap();
    let port = service.address.split(':').nth(1).unwrap();
    std::fs::write(folder.path().join(".env"), format!("PORT={port}\n")).unwrap();

    let asked = swimcoach(&["health"], &[]).current_dir(folder.path()).output();
    let output = tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap();

    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[tokio::test]
async fn log_lines_that_go_to_no_terminal_have_no_colors() {
    let settings = [&IN_MEMORY[..4], &[("LOG_FORMAT", "text")]].concat();
    let mut process = swimcoach(&["serve"], &settings).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();

    let line = tokio::time::timeout(PATIENCE, log.next_line()).await.unwrap().unwrap().unwrap();

    assert!(line.contains("listening on http://"), "{line}");
    assert!(!line.contains('\x1b'), "{line:?}");
}

#[tokio::test]
async fn on_sigterm_readiness_fails_first_and_a_slow_upload_is_finished() {
    let settings = [&IN_MEMORY[..], &[("SHUTDOWN_DRAIN_SECONDS", "2")]].concat();
    let mut service = Service::start(&settings).await;
    let body = Form::frames(8).body();
    let (first, rest) = body.split_at(body.len() / 2);
    let mut slow = TcpStream::connect(&service.address).await.unwrap();
    let head = format!(
        "POST /api/v1/analysis/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        Form::content_type(),
        body.len(),
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(first).await.unwrap();
    assert_eq!(service.get("/health/ready").await.0, StatusCode::OK);

    service.signal("TERM");

    let not_ready = service.until("/health/ready", |it, _| it == StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(not_ready["status"], "stopping");
    let refused = async || {
        let error = TcpStream::connect(&service.address).await.err()?;
        // One that was made, and not accepted, in the moment in which the port closed; the next one is refused.
        if error.kind() == ErrorKind::ConnectionReset {
            return None;
        }
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        Some(())
    };
    eventually("new connections are refused", refused).await;
    slow.write_all(rest).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(service.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_upload_that_does_not_finish_is_cut_at_the_limit_and_the_exit_is_clean() {
    let settings = [&IN_MEMORY[..], &[("SHUTDOWN_TIMEOUT_SECONDS", "1")]].concat();
    let mut service = Service::start(&settings).await;
    let mut endless = TcpStream::connect(&service.address).await.unwrap();
    let head = format!(
        "POST /api/v1/analysis/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nContent-Length: 9000\r\n\r\n",
        Form::content_type(),
    );
    endless.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(service.get("/health/ready").await.0, StatusCode::OK);

    let start = Instant::now();
    service.signal("TERM");

    let mut answer = Vec::new();
    // A reset is an end as well.
    let _reset = tokio::time::timeout(PATIENCE, endless.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert_eq!(service.ended().await.code(), Some(0));
    assert!(Duration::from_secs(1) <= start.elapsed(), "cut after {:?}", start.elapsed());
}

#[tokio::test]
async fn a_second_signal_ends_the_service_at_once() {
    let model = silent_model().await;
    let settings = [
        ("R2_MOCK_MODE", "true"),
        ("SNOWFLAKE_MOCK_MODE", "true"),
        ("ANTHROPIC_API_KEY", "secret-anthropic"),
        ("ANTHROPIC_BASE_URL", &*model),
        ("PORT", "0"),
        ("LOG_FORMAT", "json"),
        ("SHUTDOWN_DRAIN_SECONDS", "300"),
    ];
    let mut service = Service::start(&settings).await;

    service.signal("INT");
    service.until("/health/ready", |_, it| it["status"] == "stopping").await;
    service.signal("INT");

    assert_eq!(service.ended().await.code(), Some(1));
}

#[tokio::test]
async fn sweep_refuses_to_compare_storage_with_records_in_memory() {
    let output = output(&["sweep"], &IN_MEMORY).await;

    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("DATABASE_URL"));
}

/// A bucket and an empty file of records, and what a process needs to use both.
struct Stores {
    bucket: S3Server,
    _folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Stores {
    async fn start() -> Self {
        let (bucket, folder) = (S3Server::start().await, tempfile::tempdir().unwrap());
        let r2 = bucket.settings();
        let settings = vec![
            ("R2_ENDPOINT", r2.endpoint.to_string()),
            ("R2_ACCESS_KEY_ID", r2.access_key_id),
            ("R2_SECRET_ACCESS_KEY", r2.secret_access_key.expose_secret().to_owned()),
            ("R2_BUCKET_NAME", r2.bucket),
            ("DATABASE_URL", database(folder.path())),
            ("ANTHROPIC_MOCK_MODE", "true".to_owned()),
            ("PORT", "0".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        Self { bucket, _folder: folder, settings }
    }

    fn settings(&self) -> Vec<(&'static str, &str)> {
        self.settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// Leaves a frame of an upload of 2024 in the bucket; its session's id.
    fn leave_an_orphan(&self) -> SessionId {
        let session: SessionId = "01900000-0000-7000-8000-000000000001".parse().unwrap();
        let path = FramePath::new(session, FrameNumber::FIRST);
        self.bucket.put_at_once([path.to_string()], b"jpeg");
        session
    }

    async fn sessions(&self) -> Vec<SessionId> {
        R2StorageClient::connect(&self.bucket.settings(), StorageMetrics::default())
            .list_sessions(None)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn sweep_removes_what_no_record_knows_and_says_so() {
    let stores = Stores::start().await;
    let kept: SessionId =
        Service::start(&stores.settings()).await.upload(Form::frames(2)).await.parse().unwrap();
    let orphan = stores.leave_an_orphan();

    let dry = output(&["sweep", "--dry-run"], &stores.settings()).await;
    let after_dry = stores.sessions().await;
    let young = output(&["sweep", "--older-than-minutes", "4294967295"], &stores.settings()).await;
    let after_young = stores.sessions().await;
    let real = output(&["sweep"], &stores.settings()).await;
    let after_real = stores.sessions().await;

    assert!([&dry, &young, &real].iter().all(|it| it.status.success()), "{dry:?} {young:?} {real:?}");
    let all = |verb, n| {
        format!(
            "{verb} 0 expired sessions, the frames of {n} failed uploads, what was never completed of 0 sessions, and 0 \
             requests whose keys count no more\n"
        )
    };
    let one = |verb| format!("{verb} the frames of the failed upload {orphan}\n{}", all(verb, 1));
    assert_eq!(text(&dry.stdout), one("would remove"));
    assert_eq!(after_dry, [orphan, kept]);
    assert_eq!(text(&young.stdout), all("removed", 0));
    assert_eq!(after_young, [orphan, kept]);
    assert_eq!(text(&real.stdout), one("removed"));
    assert_eq!(after_real, [kept]);
}

#[tokio::test]
async fn sweep_removes_nothing_where_the_records_know_no_session_unless_it_is_told_that_they_are_empty() {
    let stores = Stores::start().await;
    let orphan = stores.leave_an_orphan();

    let refused = output(&["sweep"], &stores.settings()).await;
    let after_refusal = stores.sessions().await;
    let told = output(&["sweep", "--records-are-empty"], &stores.settings()).await;

    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(text(&refused.stdout), "");
    let why = text(&refused.stderr);
    assert!(why.contains("the records know none of the 1 sessions"), "{why}");
    assert_eq!(after_refusal, [orphan]);
    assert!(told.status.success(), "{told:?}");
    assert_eq!(stores.sessions().await, []);
}
