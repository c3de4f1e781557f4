//! What operators see of the journal: readiness and metrics.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{Bench, DOWN, path_in};
use crate::support::records::{new_owner, session};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use swimcoach::catalog::Catalog;
use swimcoach::coach::Coach;
use swimcoach::config::Settings;
use swimcoach::http::{AppState, RateLimits, Readiness, UploadGate, router};
use swimcoach::identity::Identity;
use swimcoach::metadata::SessionStore;
use swimcoach::metadata::journal::{Journal, JournaledSessionStore};
use swimcoach::metrics::{self, Metrics};
use swimcoach::storage::mock::MockStorageClient;
use swimcoach::vision::mock::MockVision;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Asks the service over this store whether it is ready; returns the status, the word, and the records' check.
async fn readiness(store: &Arc<JournaledSessionStore>) -> (StatusCode, Value, Value) {
    let settings = Settings::demo().unwrap();
    let storage = MockStorageClient::new("http://127.0.0.1:1".parse().unwrap(), 1 << 20);
    let coach = Coach::new(
        Arc::new(storage),
        Arc::<JournaledSessionStore>::clone(store),
        Arc::new(MockVision::new()),
        Arc::new(Catalog::embedded().unwrap()),
        &settings.limits(),
        Metrics::default().analyses(),
    );
    let state = AppState {
        coach,
        limits: RateLimits::new(&settings.server.rates),
        identity: Identity::new(&settings.access, Arc::<JournaledSessionStore>::clone(store)).unwrap(),
        uploads: UploadGate::new(&settings.uploads),
        readiness: Arc::new(Readiness::default()),
        storage_prices: settings.storage_prices,
        draining: CancellationToken::new(),
        mock_storage: None,
    };
    let request = Request::get("/health/ready").body(Body::empty()).unwrap();
    let answer = router(state, &settings).oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    (status, body["status"].clone(), body["checks"][1].clone())
}

#[tokio::test(start_paused = true)]
async fn readiness_is_degraded_while_writes_wait_and_fails_when_no_more_can() {
    let Bench { records, store, folder: _folder, .. } = Bench::with_room_for(1).await;
    let store = Arc::new(store);
    let well = readiness(&store).await;

    records.fail_all(DOWN);
    let down = readiness(&store).await;
    store.create_session(&session(&new_owner(), 1)).await.unwrap();
    let full = readiness(&store).await;

    let check = |status: &str, error: Value| json!({ "name": "records", "status": status, "error": error });
    let waits = "0 acknowledged writes wait for the store of records";
    assert_eq!(well, (StatusCode::OK, json!("ready"), check("ok", Value::Null)));
    assert_eq!(down, (StatusCode::OK, json!("degraded"), check("degraded", json!(waits))));
    assert_eq!(
        full,
        (StatusCode::SERVICE_UNAVAILABLE, json!("unavailable"), check("failed", json!("unavailable")))
    );
}

#[tokio::test(start_paused = true)]
async fn readiness_is_degraded_and_not_failed_while_the_store_is_silent() {
    let Bench { records, store, folder: _folder, .. } = Bench::new().await;

    records.fall_silent();
    let (status, word, _) = readiness(&Arc::new(store)).await;

    assert_eq!((status, word), (StatusCode::OK, json!("degraded")));
}

#[tokio::test]
async fn metrics_are_served_on_a_listener_of_their_own() {
    let Bench { records, store, folder, .. } = Bench::new().await;
    assert!(store.shut_down(std::time::Duration::from_secs(10)).await);
    drop(store);
    let metrics = Arc::new(Metrics::default());
    let journal = Journal::open(&path_in(&folder), 10, metrics.journal()).await.unwrap();
    let store = JournaledSessionStore::new(Arc::<_>::clone(&records) as _, journal);
    records.fail_all(DOWN);
    store.create_session(&session(&new_owner(), 1)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let serving = tokio::spawn(metrics::serve(listener, Arc::clone(&metrics), stop.clone()));

    let answer = reqwest::get(url).await.unwrap();

    assert_eq!(
        answer.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = answer.text().await.unwrap();
    for line in [
        "swimcoach_journal_writes_total 1",
        "swimcoach_journal_waiting 1",
        "swimcoach_journal_set_aside 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|it| it == line), "no {line:?} in:\n{text}");
    }
    stop.cancel();
    serving.await.unwrap().unwrap();
}
