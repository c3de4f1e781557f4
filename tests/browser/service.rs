//! The service itself, the binary, with nobody between it and the test. Hides addresses, never what was answered.

use super::claude_server::{ClaudeServer, analysis, events, stream};
use super::eventually::eventually;
use super::listening::address_of;
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How long one answer may take at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the model says of the frames, as JSON.
pub(crate) const LOOK: &str = include_str!("../it/fixtures/analysis.example.json");
/// What the model says when it is asked on.
pub(crate) const ANSWER: &str = "In frames 8 and 9 the palm faces the floor, so the hand presses down.";

/// A model that looks at the frames once, and then answers one message.
pub(crate) async fn model_asked_on() -> ClaudeServer {
    let reply = json!({"reply": {"text": ANSWER, "frames": [8, 9]}, "analysis": null});
    let answers = [analysis(LOOK), reply.to_string()];
    ClaudeServer::start(answers.map(|it| stream(&events(&it)))).await
}

/// A model that looks at the frames once.
pub(crate) async fn model() -> ClaudeServer {
    ClaudeServer::start([stream(&events(&analysis(LOOK)))]).await
}

/// A service that runs.
#[derive(Debug)]
pub(crate) struct Service {
    address: String,
    client: reqwest::Client,
    _process: Child,
}

impl Service {
    /// Frames and records in memory, nobody signs in, and an upload must say who agreed.
    pub(crate) async fn asking(model: &ClaudeServer) -> Self {
        let settings = [
            ("SNOWFLAKE_MOCK_MODE", "true"),
            ("ANTHROPIC_API_KEY", "sk-ant-test"),
            ("ANTHROPIC_BASE_URL", model.url().as_str()),
        ];
        Self::start(&settings).await
    }

    /// The same without a model.
    pub(crate) async fn without_a_model() -> Self {
        Self::start(&[("SNOWFLAKE_MOCK_MODE", "true"), ("ANTHROPIC_MOCK_MODE", "true")]).await
    }

    /// Starts one and waits until it says where it listens.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let mut process = swimcoach(&["serve"], settings).stderr(Stdio::piped()).spawn().unwrap();
        let address = address_of(&mut process, PATIENCE).await;
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { address, client, _process: process }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn response(&self, path: &str) -> reqwest::Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.response(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// The only session that there is, or none.
    pub(crate) async fn only_session(&self) -> Option<String> {
        let sessions = self.get("/api/v1/sessions").await;
        let sessions = sessions.as_array().unwrap();
        assert!(sessions.len() < 2, "{sessions:?}");
        sessions.first().map(|it| it["session_id"].as_str().unwrap().to_owned())
    }

    /// Uploads the drawn frames; the session.
    pub(crate) async fn uploaded_session(&self) -> String {
        let consent =
            json!({"subject": "adult", "basis": "swimmer", "purposes": ["analysis", "third_party_ai"]});
        let mut form = Form::new().text("consent", consent.to_string());
        for frame in 1..=12 {
            let path = format!("{}/examples/frames/{frame:04}.jpg", env!("CARGO_MANIFEST_DIR"));
            form = form.part("frames", Part::bytes(std::fs::read(path).unwrap()).file_name("frame.jpg"));
        }
        let upload = self.client.post(self.url("/api/v1/analysis/upload")).multipart(form);
        let uploaded: Value = upload.send().await.unwrap().json().await.unwrap();
        uploaded["session_id"].as_str().unwrap().to_owned()
    }

    /// Uploads the drawn frames and has them analysed; the session.
    pub(crate) async fn analyzed_session(&self) -> String {
        let session = self.uploaded_session().await;
        let asked = self.client.post(self.url(&format!("/api/v1/analysis/{session}/analyze"))).send().await;
        assert_eq!(asked.unwrap().status(), StatusCode::ACCEPTED);
        let path = format!("/api/v1/sessions/{session}");
        eventually("the analysis is there", async || {
            (self.get(&path).await["status"] == "complete").then_some(())
        })
        .await;
        session
    }

    /// The frames that are stored of a session.
    pub(crate) async fn frames(&self, session: &str) -> Vec<Value> {
        let mut listed = self.get(&format!("/api/v1/sessions/{session}/frames")).await;
        serde_json::from_value(listed["frames"].take()).unwrap()
    }
}

/// The program with these settings and no others, in a folder without a `.env`.
pub(crate) fn swimcoach(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swimcoach"));
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR")).env_clear();
    command.env("R2_MOCK_MODE", "true").env("PORT", "0").env("LOG_FORMAT", "json");
    command.envs(settings.iter().copied()).kill_on_drop(true);
    command
}
