//! What is counted and measured, and the page where Prometheus reads it.
//!
//! There is no global: whoever counts is handed its counters. Labels hold no id.

mod analyses;
mod durations;
mod storage;

pub use analyses::{AnalysisMetrics, JobMetrics, OneMore};
pub use storage::{OperationClass, StorageMetrics};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The content type of what [`Metrics::text`] writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted and measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    journal: JournalMetrics,
    analyses: AnalysisMetrics,
    storage: StorageMetrics,
}

/// What the journal of records counts. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct JournalMetrics {
    /// Writes that went to the journal since the start.
    pub written: Counter,
    /// Writes in the journal.
    pub waiting: Gauge<u64, AtomicU64>,
    /// Those among them that the store refused for good.
    pub set_aside: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("swimcoach");
        let journal = JournalMetrics::default();
        registry.register(
            "journal_writes",
            "Writes that went to the journal because the store of records was down",
            journal.written.clone(),
        );
        registry.register(
            "journal_waiting",
            "Writes in the journal, which the store of records does not have yet",
            journal.waiting.clone(),
        );
        registry.register(
            "journal_set_aside",
            "Writes in the journal that the store of records refused for good",
            journal.set_aside.clone(),
        );
        let (analyses, storage) = (AnalysisMetrics::default(), StorageMetrics::default());
        analyses.register(&mut registry);
        storage.register(&mut registry);
        Self { registry, journal, analyses, storage }
    }
}

impl Metrics {
    /// What the journal counts with.
    pub fn journal(&self) -> JournalMetrics {
        self.journal.clone()
    }

    /// What analyses and answers count with.
    pub fn analyses(&self) -> AnalysisMetrics {
        self.analyses.clone()
    }

    /// What storage counts with.
    pub fn storage(&self) -> StorageMetrics {
        self.storage.clone()
    }

    /// All of it in the text format of `OpenMetrics`. Should a metric not be writable, the text ends there,
    /// without its last line, and whoever reads it refuses it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "the metrics cannot be written");
        }
        text
    }
}

/// Serves `GET /metrics` until `stop` is cancelled. It has a listener of its own, so that what operators see
/// is not on the public port.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Result<(), io::Error> {
    let page = Router::new().route("/metrics", get(show)).with_state(metrics);
    axum::serve(listener, page).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn show(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text())
}
