//! The capture check, before anything is paid.

use crate::support::app::TestApp;
use crate::support::form::Form;
use crate::support::pictures;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn the_check_warns_of_what_an_analysis_would_and_costs_nothing() {
    let app = TestApp::new();
    app.vision.finds();
    let form = Form::default().frame(&pictures::dark(640, 360, 1)).frame(&pictures::blurred(640, 360));
    let id = app.uploaded(form).await;

    let check = app.post(&id, "check", &Value::Null).await.json();

    assert_eq!(app.vision.seen(), []);
    assert_eq!(app.show(&id).await.json()["status"], "pending");
    assert_eq!((&check["frames"], &check["frames_per_second"]), (&json!(2), &Value::Null));
    let warned: Vec<&Value> = check["warnings"].as_array().unwrap().iter().collect();
    for code in ["dark", "blurred", "timestamps_missing", "few_frames"] {
        assert!(warned.iter().any(|it| it["code"] == code), "{code}: {check:#}");
    }
    assert!(!check["advice"].as_array().unwrap().is_empty());
    let analysis = app.analyzed(&id).await["analysis"].clone();
    for warning in warned {
        assert!(analysis["warnings"].as_array().unwrap().contains(warning), "{warning}");
    }
}

#[tokio::test]
async fn the_check_says_how_dense_the_frames_are() {
    let app = TestApp::new();
    let frames = (0..15).fold(Form::default(), |it, n| it.frame(&pictures::jpeg(640, 360, n)));
    let times = (0..15).map(|n| json!({"number": n + 1, "timestamp_ms": n * 80}));
    let id = app.uploaded(frames.text("manifest", &json!(times.collect::<Vec<_>>()).to_string())).await;

    let check = app.post(&id, "check", &Value::Null).await.json();

    assert_eq!(check["frames_per_second"], 12.5);
}

#[tokio::test]
async fn what_cannot_be_checked_is_refused_in_words() {
    let app = TestApp::new();
    let empty = app.send(Request::post("/api/v1/sessions").body(Body::empty()).unwrap()).await.json();
    let empty = empty["session_id"].as_str().unwrap();
    let damaged = app.uploaded(Form::default().frame(&pictures::damaged_inside(640, 360))).await;
    let lost = app.uploaded(Form::frames(2)).await;
    app.storage.replace(&lost, 2, None).await;

    app.post(empty, "check", &Value::Null).await.problem(StatusCode::CONFLICT, "no_frames");
    let refused = app.post(&damaged, "check", &Value::Null).await;
    refused.problem(StatusCode::CONFLICT, "frame_undecodable");
    app.post(&lost, "check", &Value::Null).await.problem(StatusCode::CONFLICT, "frame_missing");
}
