//! The service as a process that can be killed, and what outlives it.

use crate::event_stream::{EventStream, SentEvent};
use crate::s3_server::S3Server;
use axum::body::Body;
use axum::http;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long anything may take at most. What takes longer is stuck.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two tries of what is not there yet.
const POLL: Duration = Duration::from_millis(50);
const FRAMES: [&[u8]; 4] = [
    include_bytes!("../../examples/frames/0001.jpg"),
    include_bytes!("../../examples/frames/0002.jpg"),
    include_bytes!("../../examples/frames/0003.jpg"),
    include_bytes!("../../examples/frames/0004.jpg"),
];

/// A bucket and a file of records.
pub(crate) struct Stores {
    _bucket: S3Server,
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Stores {
    /// Empty ones, for services that ask this model.
    pub(crate) async fn start(model: &str) -> Self {
        let (bucket, folder) = (S3Server::start().await, tempfile::tempdir().unwrap());
        let r2 = bucket.settings();
        let settings = vec![
            ("R2_ENDPOINT", r2.endpoint.to_string()),
            ("R2_ACCESS_KEY_ID", r2.access_key_id),
            ("R2_SECRET_ACCESS_KEY", r2.secret_access_key.expose_secret().to_owned()),
            ("R2_BUCKET_NAME", r2.bucket),
            ("DATABASE_URL", format!("sqlite://{}", folder.path().join("records.db").display())),
            ("ANTHROPIC_API_KEY", "sk-ant-test".to_owned()),
            ("ANTHROPIC_BASE_URL", model.to_owned()),
            ("MAX_RUNNING_ANALYSES", "1".to_owned()),
            // Three seconds, so that what a killed process left is taken up soon.
            ("STALE_JOB_THRESHOLD_MINUTES", "0.05".to_owned()),
            // The pictures are drawn, so nobody has to agree.
            ("CONSENT_WHEN_UNSAID", "adult".to_owned()),
            ("PORT", "0".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        Self { _bucket: bucket, folder, settings }
    }
}

/// A service that runs until it is killed.
pub(crate) struct Service {
    process: Child,
    url: String,
    client: Client,
}

impl Service {
    /// Starts one and waits until it says where it listens.
    pub(crate) async fn start(stores: &Stores) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swimcoach"));
        // In a folder without a .env, with no variable but these.
        command.arg("serve").current_dir(stores.folder.path()).env_clear();
        command.envs(stores.settings.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = loop {
            let line: Value = serde_json::from_str(&log.next_line().await.unwrap().unwrap()).unwrap();
            if let Some(address) = line["address"].as_str() {
                break address.to_owned();
            }
        };
        // A pipe that nobody reads would stop the service once it is full.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { process, url: format!("http://{address}"), client }
    }

    /// Kills it as the system does when memory is short.
    pub(crate) async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    /// Uploads a session and asks for its analysis; the session.
    pub(crate) async fn asked_for(&self, notes: Option<&str>) -> String {
        let mut form = Form::new();
        if let Some(notes) = notes {
            form = form.text("user_notes", notes.to_owned());
        }
        for frame in FRAMES {
            form = form.part("frames", Part::bytes(frame).file_name("frame.jpg"));
        }
        let upload = self.client.post(format!("{}/api/v1/analysis/upload", self.url)).multipart(form);
        let uploaded: Value = upload.send().await.unwrap().json().await.unwrap();
        let session = uploaded["session_id"].as_str().unwrap().to_owned();
        let analyze = self.client.post(format!("{}/api/v1/analysis/{session}/analyze", self.url));
        assert_eq!(analyze.send().await.unwrap().status(), StatusCode::ACCEPTED);
        session
    }

    /// All events of a session's analysis, once it has ended, which must be with a whole result.
    pub(crate) async fn events_of_the_whole(&self, session: &str) -> Vec<SentEvent> {
        let url = format!("{}/api/v1/sessions/{session}", self.url);
        let ended = async {
            loop {
                let detail: Value = self.client.get(&url).send().await.unwrap().json().await.unwrap();
                if detail["status"] != "processing" {
                    return detail;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let detail = tokio::time::timeout(PATIENCE, ended).await;
        let detail = detail.unwrap_or_else(|_elapsed| panic!("{session} is stuck"));
        assert_eq!(detail["status"], "complete", "{}", detail["error"]);
        let reply = self.client.get(format!("{url}/events")).send().await.map(http::Response::from).unwrap();
        let mut stream = EventStream::new(reply.map(Body::new));
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            events.push(event);
        }
        let done = events.iter().filter(|it| it.name == "done").count();
        assert!(done == 1 && events.last().unwrap().name == "done", "{events:#?}");
        events
    }
}
