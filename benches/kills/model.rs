//! The model: a stand-in in this process, or one that is named.

use crate::claude_server::{self, written};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

const LOOK: &str = include_str!("../../tests/it/fixtures/analysis.example.json");
const NOTES: &str = r#"{"text": "The right hand presses down first.", "frames": [1]}"#;
/// Between two pieces of an answer.
const PAUSE: Duration = Duration::from_millis(20);

/// What looks at frames, and how often it was asked.
pub(crate) enum Model {
    /// A stand-in in this process.
    Here { url: String, calls: Arc<AtomicUsize> },
    /// One that tells what it was asked, and how often that was before.
    Named { url: String, before: usize },
}

impl Model {
    /// The one at the URL, or a stand-in.
    pub(crate) async fn start(url: Option<String>) -> Self {
        if let Some(url) = url {
            let before = logged(&url).await;
            return Self::Named { url, before };
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::new(AtomicUsize::new(0));
        let app = Router::new().route("/v1/messages", post(answer)).with_state(Arc::clone(&calls));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self::Here { url, calls }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Here { url, .. } | Self::Named { url, .. } => url,
        }
    }

    /// How often it was asked.
    pub(crate) async fn calls(&self) -> usize {
        match self {
            Self::Here { calls, .. } => calls.load(Ordering::Relaxed),
            Self::Named { url, before } => logged(url).await - before,
        }
    }
}

/// How many messages a stand-in was sent, by its own log.
async fn logged(url: &str) -> usize {
    let log: Value = reqwest::get(format!("{url}/__log")).await.unwrap().json().await.unwrap();
    log["requests"].as_array().unwrap().iter().filter(|it| it["path"] == "/v1/messages").count()
}

/// Answers in pieces, so that there is time to be killed between them.
async fn answer(State(calls): State<Arc<AtomicUsize>>, request: Bytes) -> Response {
    calls.fetch_add(1, Ordering::Relaxed);
    let request: Value = serde_json::from_slice(&request).unwrap();
    let has_pictures = request["messages"].to_string().contains("\"image\"");
    let events =
        claude_server::events(&if has_pictures { claude_server::analysis(LOOK) } else { NOTES.to_owned() });
    let pieces = stream::iter(events).then(async |event| {
        tokio::time::sleep(PAUSE).await;
        Ok::<_, Infallible>(written(&[event]))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response()
}
