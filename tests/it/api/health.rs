//! Whether the service tells the truth about itself.

use crate::support::app::TestApp;
use crate::support::faults::Fault;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;
use swimcoach::upstream::UpstreamErrorKind as Kind;

fn check<'a>(body: &'a Value, name: &str) -> &'a Value {
    let checks = body["checks"].as_array().unwrap();
    checks.iter().find(|it| it["name"] == name).unwrap()
}

#[tokio::test]
async fn a_service_lives_whatever_its_dependencies_do() {
    let app = TestApp::new();
    app.storage.faults.fail_always("check", Fault::Hang);
    app.records.faults.fail_always("check", Fault::Before(Kind::Unavailable));

    let reply = app.get("/health").await;

    assert_eq!(reply.status, StatusCode::OK);
    let expected = json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "details": { "model": "scripted-model-1", "mock_storage": true },
    });
    assert_eq!(reply.json(), expected);
}

#[tokio::test]
async fn a_service_whose_dependencies_are_well_is_ready() {
    let app = TestApp::new();

    let reply = app.get("/health/ready").await;

    assert_eq!(reply.status, StatusCode::OK);
    let well = |name| json!({ "name": name, "status": "ok", "error": null });
    let expected = json!({
        "status": "ready",
        "version": env!("CARGO_PKG_VERSION"),
        "checks": [well("storage"), well("records"), well("model")],
    });
    assert_eq!(reply.json(), expected);
}

#[tokio::test]
async fn a_service_without_storage_or_records_is_not_ready_and_says_which_is_down() {
    for name in ["storage", "records"] {
        let app = TestApp::new();
        let faults = if name == "storage" { &app.storage.faults } else { &app.records.faults };
        faults.fail_always("check", Fault::Before(Kind::Unauthorized));

        let reply = app.get("/health/ready").await;

        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        let body = reply.json();
        assert_eq!(body["status"], "unavailable");
        assert_eq!(check(&body, name)["status"], "failed");
        assert_eq!(check(&body, name)["error"], "unauthorized");
        assert!(!body.to_string().contains("secret-cause"), "{body:#}");
        let well = body["checks"].as_array().unwrap().iter().filter(|it| it["status"] == "ok");
        assert_eq!(well.count(), 2);
    }
}

#[tokio::test]
async fn a_service_without_its_model_is_degraded_but_ready() {
    let app = TestApp::new();
    app.vision.set_down(Some(Kind::Unavailable));

    let reply = app.get("/health/ready").await;

    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.json()["status"], "degraded");
    assert_eq!(check(&reply.json(), "model")["error"], "unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_does_not_answer_is_down_and_the_answer_comes_in_time() {
    let app = TestApp::new();
    app.storage.faults.fail_always("check", Fault::Hang);
    let start = tokio::time::Instant::now();

    let reply = app.get("/health/ready").await;

    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(check(&reply.json(), "storage")["error"], "timeout");
    assert!(start.elapsed() < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_dependencies_is_believed_for_a_few_seconds_and_no_longer() {
    let app = TestApp::new();
    for _ in 0..10 {
        assert_eq!(app.get("/health/ready").await.status, StatusCode::OK);
    }
    assert_eq!(app.storage.faults.count("check"), 1);
    app.storage.faults.fail_always("check", Fault::Before(Kind::Unavailable));

    tokio::time::sleep(Duration::from_secs(5)).await;

    assert_eq!(app.get("/health/ready").await.status, StatusCode::SERVICE_UNAVAILABLE);
    app.storage.faults.heal();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(app.get("/health/ready").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_service_that_stops_is_alive_but_not_ready() {
    let app = TestApp::new();
    assert_eq!(app.get("/health/ready").await.status, StatusCode::OK);

    app.readiness.stop();

    let reply = app.get("/health/ready").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.json()["status"], "stopping");
    assert_eq!(app.get("/health").await.status, StatusCode::OK);
}
