//! What a caller used in a month, beside what is free and what may be spent.

use crate::support::app::TestApp;
use crate::support::faults::Fault;
use crate::support::form::Form;
use crate::support::records;
use crate::support::scripted_vision::LOOK_USAGE;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde_json::json;
use swimcoach::analysis::{MicroUsd, Usage};
use swimcoach::config::Settings;
use swimcoach::ledger::{Budgets, Charge, ChargeId, ChargeKind, Month, StorageUse};
use swimcoach::metadata::SessionStore;
use swimcoach::session::Owner;
use swimcoach::upstream::UpstreamErrorKind;

/// A charge of the caller that is over, in the middle of a month.
fn charge(kind: ChargeKind, month: &str, cost: u64) -> Charge {
    let usage = Usage { requests: 1, output_tokens: 10, cost: Some(MicroUsd(cost)), ..Usage::default() };
    Charge {
        id: ChargeId::new(),
        owner: Owner::local(),
        kind,
        model: Some("scripted-model-1".to_owned()),
        at: format!("{month}-15T12:00:00Z").parse::<DateTime<Utc>>().unwrap(),
        is_settled: true,
        amount: MicroUsd(cost),
        usage,
        storage: StorageUse { class_b: 15, ..StorageUse::default() },
    }
}

fn limited(settings: &mut Settings, caller: u64) {
    settings.budgets = Budgets {
        caller: Some(MicroUsd(caller)),
        service: Some(MicroUsd(10 * caller)),
        analyses_per_day: None,
    };
}

#[tokio::test]
async fn a_month_counts_what_was_uploaded_looked_at_and_answered() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;
    app.analyzed(&id).await;
    let frames = app.show(&id).await.json()["frames"].clone();
    let bytes: u64 = frames.as_array().unwrap().iter().map(|it| it["size_bytes"].as_u64().unwrap()).sum();
    let now = Month::of(Utc::now());
    app.records.settle(&charge(ChargeKind::Answer, &now.to_string(), 5)).await.unwrap();

    let reply = app.get("/api/v1/usage").await;

    assert_eq!(reply.status, StatusCode::OK);
    let cost = MicroUsd(LOOK_USAGE.cost.unwrap().0 + 5).usd();
    let expected = json!({
        "month": now.to_string(),
        "used": {
            "frames": 15, "bytes": bytes, "stored_bytes": bytes, "class_a_operations": 15, "class_b_operations": 30,
            "analyses": 1, "answers": 1,
            "model": {
                "requests": 2, "input_tokens": 20_000, "cache_creation_input_tokens": 3_000,
                "cache_creation_5m_input_tokens": 500, "cache_creation_1h_input_tokens": 2_400,
                "cache_read_input_tokens": 0, "output_tokens": 2_510, "cost_usd": cost,
            },
        },
        "reserved_usd": 0.0,
        "free_tier": {
            "class_a_operations": 1_000_000, "class_b_operations": 10_000_000, "storage_gb_month": 10,
            "beyond_usd": 0.0, "prices_as_of": "2026-11-23",
        },
        "budget": { "caller_usd": null, "caller_remaining_usd": null, "service_is_limited": false },
        "resets_at": now.end(),
    });
    assert_eq!(reply.json(), expected);
}

#[tokio::test]
async fn each_month_is_its_own_and_so_is_each_caller() {
    let app = TestApp::new();
    app.records.settle(&charge(ChargeKind::Analysis, "2026-02", 7)).await.unwrap();
    app.records.settle(&charge(ChargeKind::Answer, "2026-02", 11)).await.unwrap();
    app.records.settle(&charge(ChargeKind::Analysis, "2026-03", 13)).await.unwrap();
    let anothers = Charge { owner: Owner::new("another"), ..charge(ChargeKind::Analysis, "2026-02", 17) };
    app.records.settle(&anothers).await.unwrap();

    let month = async |month: &str| app.get(&format!("/api/v1/usage?month={month}")).await.json();

    let february = month("2026-02").await;
    assert_eq!((&february["used"]["analyses"], &february["used"]["answers"]), (&json!(1), &json!(1)));
    assert_eq!(february["used"]["model"]["cost_usd"], 0.000_018);
    assert_eq!(
        (&february["month"], &february["resets_at"]),
        (&json!("2026-02"), &json!("2026-03-01T00:00:00Z"))
    );
    assert_eq!(month("2026-03").await["used"]["model"]["cost_usd"], 0.000_013);
    assert_eq!(month("2026-12").await["resets_at"], "2027-01-01T00:00:00Z");
    assert_eq!(month("2025-02").await["used"]["model"]["requests"], 0);
}

#[tokio::test]
async fn what_is_left_of_the_callers_budget_is_told_without_what_is_held_and_nothing_of_the_services() {
    let app = TestApp::with(|it| limited(it, 1_000_000));
    let earlier = charge(ChargeKind::Analysis, "2026-02", 300_000);
    let settled = Charge { id: ChargeId::new(), at: Utc::now(), ..earlier.clone() };
    let held = Charge { is_settled: false, at: Utc::now(), ..charge(ChargeKind::Answer, "2026-02", 250_000) };
    for charge in [&earlier, &settled] {
        app.records.settle(charge).await.unwrap();
    }
    app.records.reserve(&held, &Budgets::default()).await.unwrap();

    let reply = app.get("/api/v1/usage").await.json();
    let earlier = app.get("/api/v1/usage?month=2026-02").await.json();

    let expected = json!({"caller_usd": 1.0, "caller_remaining_usd": 0.45, "service_is_limited": true});
    assert_eq!(reply["budget"], expected);
    assert_eq!(reply["reserved_usd"], 0.25);
    assert_eq!(
        (&earlier["reserved_usd"], &earlier["budget"]["caller_remaining_usd"]),
        (&json!(0.0), &json!(0.7))
    );
}

#[tokio::test]
async fn a_budget_that_is_overdrawn_has_nothing_left_and_no_debt() {
    let app = TestApp::with(|it| limited(it, 10));
    app.records.settle(&charge(ChargeKind::Analysis, "2026-02", 11)).await.unwrap();

    let reply = app.get("/api/v1/usage?month=2026-02").await.json();

    assert_eq!(reply["budget"]["caller_remaining_usd"], 0.0);
}

#[tokio::test]
async fn what_lies_beyond_what_is_free_has_a_price() {
    let app = TestApp::new();
    let large = records::session(&Owner::local(), 3);
    app.records.create_session(&large).await.unwrap();

    let reply = app.get("/api/v1/usage").await.json();

    // Three frames of five gigabytes and a few bytes; each gigabyte that was begun is paid for.
    assert_eq!(reply["used"]["stored_bytes"], 15_000_000_006_u64);
    assert_eq!(reply["free_tier"]["beyond_usd"], 0.09);
}

#[tokio::test]
async fn a_month_that_is_none_is_refused() {
    let app = TestApp::new();
    for wrong in
        ["", "now", "2026", "2026-13", "2026-00", "2026-1", "2026-11-25", "26-11", "%2B2026-11", "2026-11%20"]
    {
        let reply = app.get(&format!("/api/v1/usage?month={wrong}")).await;

        let problem = reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "/query/month", "{wrong}");
        assert!(problem["detail"].as_str().unwrap().contains("2026-11"), "{problem}");
    }
    app.records.faults.fail_next("month_usage", Fault::Before(UpstreamErrorKind::Unavailable));
    let outage = app.get("/api/v1/usage").await;
    outage.problem(StatusCode::SERVICE_UNAVAILABLE, "records_unavailable");
}
