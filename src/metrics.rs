//! What is counted and measured, and the page where Prometheus reads it.
//!
//! There is no global: whoever counts is handed its counters. Labels hold no id.

use crate::analysis::Dropped;
use crate::session::Analysis;
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
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

/// A counter for each value of one label.
pub type ByLabel = Family<[(&'static str, String); 1], Counter>;

/// What analyses count. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct AnalysisMetrics {
    /// Analyses that ended, by `outcome`: `complete`, or the code of the failure.
    pub ended: ByLabel,
    /// Tokens, by `kind`.
    pub tokens: ByLabel,
    /// What the model was paid, in micro-USD.
    pub cost: Counter,
    /// What was left out of the model's answers, by `reason`.
    pub dropped: ByLabel,
}

impl AnalysisMetrics {
    /// Counts an analysis that ended.
    pub fn count(&self, analysis: &Analysis) {
        let outcome = analysis.failure.as_ref().map_or("complete", |it| it.code.as_str());
        add(&self.ended, "outcome", outcome, 1);
        let usage = &analysis.usage;
        let written_for = usage.cache_creation_5m_input_tokens + usage.cache_creation_1h_input_tokens;
        for (kind, tokens) in [
            ("input", usage.input_tokens),
            ("cache_write_5m", usage.cache_creation_5m_input_tokens),
            ("cache_write_1h", usage.cache_creation_1h_input_tokens),
            ("cache_write_other", usage.cache_creation_input_tokens.saturating_sub(written_for)),
            ("cache_read", usage.cache_read_input_tokens),
            ("output", usage.output_tokens),
        ] {
            add(&self.tokens, "kind", kind, tokens);
        }
        self.cost.inc_by(usage.cost.unwrap_or_default().0);
        if let Some(result) = &analysis.result {
            self.count_dropped(&result.dropped);
        }
    }

    fn count_dropped(&self, dropped: &Dropped) {
        for (reason, n) in [
            ("no_evidence", dropped.no_evidence),
            ("unknown_frame", dropped.unknown_frame),
            ("outside_view", dropped.outside_view),
            ("repeated", dropped.repeated),
            ("unknown_code", dropped.unknown_code),
            ("unfit_drill", dropped.unfit_drill),
            ("priority_lowered", dropped.priority_lowered),
            ("unused_event", dropped.unused_event),
        ] {
            add(&self.dropped, "reason", reason, n.into());
        }
    }
}

fn add(counters: &ByLabel, label: &'static str, value: &str, n: u64) {
    counters.get_or_create(&[(label, value.to_owned())]).inc_by(n);
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
        let analyses = AnalysisMetrics::default();
        registry.register(
            "analyses",
            "Analyses that ended, complete or with which failure",
            analyses.ended.clone(),
        );
        registry.register(
            "model_tokens",
            "Tokens that the model read and wrote, of failed analyses too",
            analyses.tokens.clone(),
        );
        registry.register(
            "model_cost_micro_usd",
            "What the model was paid by the prices of then, in millionths of a USD",
            analyses.cost.clone(),
        );
        registry.register(
            "dropped_claims",
            "What was left out of or corrected in the model's answers",
            analyses.dropped.clone(),
        );
        Self { registry, journal, analyses }
    }
}

impl Metrics {
    /// What the journal counts with.
    pub fn journal(&self) -> JournalMetrics {
        self.journal.clone()
    }

    /// What analyses count with.
    pub fn analyses(&self) -> AnalysisMetrics {
        self.analyses.clone()
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
