//! What an analysis may cost, what it cost, and what of that is counted.

use crate::support::app::{Reply, TestApp, session_path};
use crate::support::form::Form;
use crate::support::records;
use crate::support::scripted_vision::{LOOK_USAGE, NOTES_USAGE};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use swimcoach::analysis::Usage;
use swimcoach::metadata::SessionStore;
use swimcoach::session::{Owner, Session, SessionId};
use swimcoach::vision::VisionErrorKind;

async fn estimate(app: &TestApp, session: &str, body: &Value) -> Reply {
    let request = Request::post(format!("{}/estimate", session_path(session)))
        .header(header::CONTENT_TYPE, "application/json");
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    app.send(request.body(body).unwrap()).await
}

#[tokio::test]
async fn an_estimate_says_what_an_analysis_takes_at_the_most_and_asks_nobody() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(15)).await;

    let reply = estimate(&app, &id, &Value::Null).await;

    assert_eq!(reply.status, StatusCode::OK);
    let estimate = reply.json();
    let expected = json!({
        "session_id": id, "model": "scripted-model-1", "frames": 15, "samples": 1, "requests": 1,
        "input_tokens": 15_000, "output_tokens": 0, "cost_usd_max": 0.015, "prices_as_of": "2026-11-23",
        "message": estimate["message"],
    });
    assert_eq!(estimate, expected);
    let message = estimate["message"].as_str().unwrap();
    assert!(message.contains("0.015000 USD") && message.contains("2026-11-23"), "{message}");
    assert!(app.vision.seen().is_empty());
    assert_eq!(app.show(&id).await.json()["status"], "pending");
}

#[tokio::test]
async fn as_many_looks_are_estimated_and_made_as_are_asked_for_and_no_more_than_five() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(1)).await;

    for samples in [1, 5] {
        let reply = estimate(&app, &id, &json!({"samples": samples})).await;
        assert_eq!((reply.status, &reply.json()["samples"]), (StatusCode::OK, &json!(samples)));
    }
    for samples in [json!(0), json!(6), json!(256), json!(u64::MAX)] {
        for reply in [
            estimate(&app, &id, &json!({"samples": samples})).await,
            app.analyze(&id, json!({"samples": samples})).await,
        ] {
            let problem = reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
            assert_eq!(problem["errors"][0]["pointer"], "/samples");
        }
    }
    for samples in [json!(-1), json!(1.5), json!("2"), json!([1])] {
        let reply = app.analyze(&id, json!({"samples": samples})).await;
        reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
    }
    assert_eq!(app.show(&id).await.json()["status"], "pending");
}

#[tokio::test]
async fn the_notes_that_would_be_answered_are_estimated() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(1).text("user_notes", "Why?")).await;

    let of_the_upload = estimate(&app, &id, &Value::Null).await.json();
    let of_the_request = estimate(&app, &id, &json!({"user_notes": "Why so?"})).await.json();

    assert_eq!((&of_the_upload["requests"], &of_the_upload["input_tokens"]), (&json!(2), &json!(1004)));
    assert_eq!(of_the_request["input_tokens"], 1007);
}

#[tokio::test]
async fn an_estimate_is_for_whoever_has_the_session_and_for_frames_that_are_there() {
    let app = TestApp::new();
    let anothers = records::session(&Owner::new("another"), 1);
    app.records.create_session(&anothers).await.unwrap();
    let empty = Session { frames: Vec::new(), ..records::session(&Owner::local(), 1) };
    app.records.create_session(&empty).await.unwrap();

    for id in [anothers.id, SessionId::new()] {
        let reply = estimate(&app, &id.to_string(), &Value::Null).await;
        reply.problem(StatusCode::NOT_FOUND, "session_not_found");
    }
    estimate(&app, &empty.id.to_string(), &Value::Null).await.problem(StatusCode::CONFLICT, "no_frames");
    let id = app.uploaded(Form::frames(1)).await;
    let unknown = estimate(&app, &id, &json!({"frames": 3})).await;
    unknown.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
}

#[tokio::test]
async fn each_analysis_shows_its_cost_and_the_session_that_of_all_failed_ones_included() {
    let app = TestApp::new();
    app.vision.finds();
    app.vision.fails(VisionErrorKind::CutOff, LOOK_USAGE);
    let id = app.uploaded(Form::frames(15)).await;

    app.analyzed(&id).await;
    let detail = app.analyzed(&id).await;

    assert_eq!(detail["status"], "failed");
    assert_eq!(detail["analysis"]["usage"]["cost_usd"], 0.076_251);
    assert_eq!(detail["analysis"]["usage"]["cache_creation_1h_input_tokens"], 2400);
    assert_eq!(detail["usage"]["cost_usd"], 0.152_502);
    assert_eq!(detail["usage"]["output_tokens"], 5000);
}

#[tokio::test]
async fn a_record_from_before_there_were_prices_is_read_and_has_no_cost() {
    let old = json!({
        "requests": 1, "input_tokens": 10, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 0,
        "output_tokens": 7,
    });

    let mut usage: Usage = serde_json::from_value(old).unwrap();

    assert_eq!((usage.input_tokens, usage.cache_creation_1h_input_tokens, usage.cost), (10, 0, None));
    usage += LOOK_USAGE;
    assert_eq!((usage.output_tokens, usage.cost), (2507, None));
}

#[tokio::test]
async fn tokens_cost_outcomes_and_what_was_left_out_are_counted() {
    let app = TestApp::new();
    app.vision.finds();
    app.vision.answers_notes("Because.");
    app.vision.fails(VisionErrorKind::CutOff, LOOK_USAGE);
    let id = app.uploaded(Form::frames(15).text("user_notes", "Why?")).await;

    app.analyzed(&id).await;
    app.analyzed(&id).await;

    let text = app.metrics.text();
    let cost = 2 * LOOK_USAGE.cost.unwrap().0 + NOTES_USAGE.cost.unwrap().0;
    for line in [
        "swimcoach_analyses_total{outcome=\"complete\"} 1".to_owned(),
        "swimcoach_analyses_total{outcome=\"model_cut_off\"} 1".to_owned(),
        "swimcoach_model_tokens_total{kind=\"input\",for=\"analysis\"} 44000".to_owned(),
        "swimcoach_model_tokens_total{kind=\"cache_write_5m\",for=\"analysis\"} 1000".to_owned(),
        "swimcoach_model_tokens_total{kind=\"cache_write_1h\",for=\"analysis\"} 4800".to_owned(),
        "swimcoach_model_tokens_total{kind=\"cache_write_other\",for=\"analysis\"} 200".to_owned(),
        "swimcoach_model_tokens_total{kind=\"cache_read\",for=\"analysis\"} 1000".to_owned(),
        "swimcoach_model_tokens_total{kind=\"output\",for=\"analysis\"} 5300".to_owned(),
        format!("swimcoach_model_cost_micro_usd_total{{for=\"analysis\"}} {cost}"),
        "swimcoach_dropped_claims_total{reason=\"no_evidence\"} 0".to_owned(),
        "swimcoach_analysis_duration_seconds_count 2".to_owned(),
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn who_follows_an_analysis_is_counted_until_the_connection_is_gone() {
    let app = TestApp::new();
    app.vision.hold();
    app.vision.finds();
    let id = app.uploaded(Form::frames(1)).await;
    app.analyze(&id, Value::Null).await;
    let path = format!("{}/events", session_path(&id));
    let counted =
        |n: u32| app.metrics.text().lines().any(|it| it == format!("swimcoach_event_listeners {n}"));

    let listen = || app.open(Request::get(&path).body(Body::empty()).unwrap());
    let (one, other) = (listen().await, listen().await);

    assert!(counted(2));
    drop(one);
    assert!(counted(1));
    drop(other);
    assert!(counted(0));
    app.vision.release();
}
