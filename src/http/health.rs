//! Whether the service lives, and whether it should be sent requests.

use super::AppState;
use crate::coach::{Checks, Coach};
use crate::metadata::StoreHealth;
use crate::upstream::UpstreamError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;

/// The version of this build.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long an answer of the dependencies is believed, so that probes cost next to nothing.
const FRESH: Duration = Duration::from_secs(5);
/// How long the dependencies may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status of a check that found nothing wrong.
const OK: &str = "ok";
/// The status of a check of what cannot do its part.
const FAILED: &str = "failed";

/// Whether the service should be sent requests: what its dependencies last said, and whether it is stopping.
#[derive(Debug, Default)]
pub struct Readiness {
    stopping: AtomicBool,
    last: Mutex<Option<(Instant, Vec<Check>)>>,
}

impl Readiness {
    /// From now on the service says that it is not ready, so that load balancers look elsewhere.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    async fn checks(&self, coach: &Coach) -> Vec<Check> {
        // Probes that come together wait for the same answer.
        let mut last = self.last.lock().await;
        if let Some((at, checks)) = &*last
            && at.elapsed() < FRESH
        {
            return checks.clone();
        }
        let checks = ask(coach).await;
        *last = Some((Instant::now(), checks.clone()));
        checks
    }
}

/// The service lives.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`.
    status: &'static str,
    version: &'static str,
    /// What the service is made of.
    details: HealthDetails,
}

/// What the service is made of.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthDetails {
    /// The model's id; `mock` when no model looks.
    model: String,
    /// Whether frames are kept in memory only.
    mock_storage: bool,
}

/// Whether the service should be sent requests.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReadinessReply {
    /// `ready`; `degraded` when analyses cannot be made, or what is recorded waits on this machine;
    /// `unavailable`; `stopping`.
    status: &'static str,
    version: &'static str,
    checks: Vec<Check>,
}

/// What one dependency said.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Check {
    /// `storage`, `records` or `model`.
    name: &'static str,
    /// `ok`, `degraded` or `failed`.
    status: &'static str,
    /// In which way it is not `ok`.
    error: Option<String>,
}

/// Answers as long as the process does.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health)))]
pub(super) async fn live(State(app): State<AppState>) -> Json<Health> {
    let details =
        HealthDetails { model: app.coach.model().to_owned(), mock_storage: app.mock_storage.is_some() };
    Json(Health { status: "ok", version: VERSION, details })
}

/// Asks every dependency. Without storage or records nothing works, so the answer is 503; without the
/// model uploads still do, and what waits for the store of records is safe.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "health",
    responses((status = 200, body = ReadinessReply), (status = 503, body = ReadinessReply)),
)]
pub(super) async fn ready(State(app): State<AppState>) -> (StatusCode, Json<ReadinessReply>) {
    let checks = app.readiness.checks(&app.coach).await;
    let failed = |name: &str| checks.iter().any(|it| it.name == name && it.status == FAILED);
    let (code, status) = match () {
        () if app.readiness.stopping.load(Ordering::Relaxed) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        () if failed("storage") || failed("records") => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        () if checks.iter().any(|it| it.status != OK) => (StatusCode::OK, "degraded"),
        () => (StatusCode::OK, "ready"),
    };
    (code, Json(ReadinessReply { status, version: VERSION, checks }))
}

async fn ask(coach: &Coach) -> Vec<Check> {
    let Checks { storage, records, model } = coach.check(PATIENCE).await;
    let records = match records {
        Ok(StoreHealth::Degraded(backlog)) => {
            tracing::warn!(waiting = backlog.waiting, set_aside = backlog.set_aside, "{backlog}");
            Check { name: "records", status: "degraded", error: Some(backlog.to_string()) }
        }
        Ok(StoreHealth::Well) => check("records", Ok(())),
        Err(error) => check("records", Err(error)),
    };
    vec![check("storage", storage), records, check("model", model)]
}

fn check(name: &'static str, answer: Result<(), UpstreamError>) -> Check {
    match answer {
        Ok(()) => Check { name, status: OK, error: None },
        Err(error) => {
            tracing::warn!(%error, cause = %error.source, "{name} is not ready");
            Check { name, status: FAILED, error: Some(error.kind.to_string()) }
        }
    }
}
