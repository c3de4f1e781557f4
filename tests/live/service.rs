//! The service on a real socket, and a client of its HTTP face. Hides URLs, never what was answered.

use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use swimcoach::coach::Coach;
use swimcoach::config::Settings;
use swimcoach::doctor;
use swimcoach::run::{self, Parts, RunError};
use swimcoach::session::SessionId;
use swimcoach::storage::StorageClient;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long an analysis may take, with thinking and with retries of an overloaded model.
const PATIENCE: Duration = Duration::from_mins(15);
/// The wait between two looks whether it is done.
const POLL: Duration = Duration::from_millis(500);

/// A running service.
pub(crate) struct Service {
    /// The bucket, past the service.
    pub(crate) storage: Arc<dyn StorageClient>,
    /// The verbs that have no route.
    pub(crate) coach: Coach,
    url: String,
    http: Client,
    stop: CancellationToken,
    served: JoinHandle<Result<(), RunError>>,
}

impl Service {
    /// Prints what the service is made of, and runs it once the doctor finds nothing wrong.
    pub(crate) async fn start(settings: &Arc<Settings>) -> Self {
        let listener = run::listen(settings).await.unwrap();
        let address = listener.local_addr().unwrap();
        let parts = Parts::build(settings, address).await.unwrap();
        assert!(doctor::examine(settings, &parts, &mut io::stdout()).await.unwrap());
        let storage = Arc::clone(&parts.storage);
        let coach = parts.coach(settings);
        let stop = CancellationToken::new();
        let served = tokio::spawn({
            let (settings, stop) = (Arc::clone(settings), stop.clone());
            async move { run::serve(listener, parts, &settings, stop).await }
        });
        let http = Client::builder().no_proxy().build().unwrap();
        Self { storage, coach, url: format!("http://{address}"), http, stop, served }
    }

    /// Uploads the frames as a clip of 25 frames a second, and returns the session.
    pub(crate) async fn upload(&self, frames: &[Bytes]) -> SessionId {
        let entry = |number: usize| json!({ "number": number, "timestamp_ms": (number - 1) * 40 });
        let manifest: Value = (1..=frames.len()).map(entry).collect();
        let mut form = Form::new().text("stroke_type", "freestyle").text("view", "side");
        form = form.text("title", "live").text("manifest", manifest.to_string());
        for frame in frames {
            form = form.part("frames", Part::stream(frame.clone()).file_name("frame.jpg"));
        }
        let request = self.http.post(format!("{}/api/v1/analysis/upload", self.url)).multipart(form);
        let reply = json_of(request.send().await.unwrap(), StatusCode::CREATED).await;
        assert_eq!(reply["frames_received"], frames.len());
        reply["session_id"].as_str().unwrap().parse().unwrap()
    }

    /// What an analysis is said to take at the most.
    pub(crate) async fn estimate(&self, id: SessionId) -> Value {
        let request = self.http.post(format!("{}/api/v1/sessions/{id}/estimate", self.url));
        json_of(request.send().await.unwrap(), StatusCode::OK).await
    }

    /// Asks for an analysis and returns the session as it is at the end.
    pub(crate) async fn analyze(&self, id: SessionId) -> Value {
        let request = self.http.post(format!("{}/api/v1/analysis/{id}/analyze", self.url));
        json_of(request.send().await.unwrap(), StatusCode::ACCEPTED).await;
        let start = Instant::now();
        loop {
            let session = self.session(id).await;
            if session["status"] != "processing" {
                return session;
            }
            assert!(start.elapsed() < PATIENCE, "the analysis does not end: {session}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// The session.
    pub(crate) async fn session(&self, id: SessionId) -> Value {
        json_of(self.get(id).await, StatusCode::OK).await
    }

    /// What is answered to a wish for the session.
    pub(crate) async fn get(&self, id: SessionId) -> Response {
        self.http.get(format!("{}/api/v1/sessions/{id}", self.url)).send().await.unwrap()
    }

    /// Whether the session is among the newest that are listed.
    pub(crate) async fn lists(&self, id: SessionId) -> bool {
        let request = self.http.get(format!("{}/api/v1/sessions?limit=100", self.url));
        let sessions = json_of(request.send().await.unwrap(), StatusCode::OK).await;
        sessions.as_array().unwrap().iter().any(|it| it["session_id"] == id.to_string())
    }

    /// Deletes the session and says what was removed.
    pub(crate) async fn delete(&self, id: SessionId) -> Value {
        let request = self.http.delete(format!("{}/api/v1/sessions/{id}", self.url));
        json_of(request.send().await.unwrap(), StatusCode::OK).await
    }

    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
    }
}

async fn json_of(answer: Response, expected: StatusCode) -> Value {
    let status = answer.status();
    let body = answer.text().await.unwrap();
    assert_eq!(status, expected, "{body}");
    serde_json::from_str(&body).unwrap()
}
