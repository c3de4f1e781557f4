//! Whose pictures they are, who agreed to what, and what follows from it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::app::{Reply, TestApp, session_path};
use crate::support::eventually::eventually;
use crate::support::form::Form;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;
use swimcoach::metadata::SessionStore;
use swimcoach::session::Owner;

/// A service that assumes nothing about consent.
fn strict() -> TestApp {
    TestApp::with(|it| it.privacy.unsaid = None)
}

fn consent(subject: &str, basis: &str, purposes: &[&str]) -> String {
    json!({"subject": subject, "basis": basis, "purposes": purposes}).to_string()
}

/// Three frames of an adult who agreed to everything.
fn agreed() -> Form {
    Form::frames(3).text("consent", &consent("adult", "swimmer", &["analysis", "third_party_ai"]))
}

/// Three frames of a child whose guardian did not agree to a model of another company.
fn without_ai() -> Form {
    Form::frames(3).text("consent", &consent("under_13", "guardian", &["analysis"]))
}

async fn amend(app: &TestApp, session: &str, body: &Value) -> Reply {
    let request = Request::patch(session_path(session)).header(header::CONTENT_TYPE, "application/json");
    app.send(request.body(Body::from(body.to_string())).unwrap()).await
}

fn pointer(problem: &Value) -> &str {
    problem["errors"][0]["pointer"].as_str().unwrap()
}

#[tokio::test]
async fn an_upload_that_says_nothing_is_refused_and_told_what_to_send_unless_the_operator_says_what_it_counts_as()
 {
    let (strict, lenient) = (strict(), TestApp::new());

    let refused = strict.upload(Form::frames(2)).await;
    let taken = lenient.upload(Form::frames(2)).await;

    let problem = refused.problem(StatusCode::UNPROCESSABLE_ENTITY, "consent_missing");
    assert_eq!(pointer(&problem), "/consent");
    let told = problem["detail"].as_str().unwrap();
    let (_, example) = told.split_once('{').unwrap();
    let again = Form::frames(2).text("consent", &format!("{{{example}"));
    assert_eq!(strict.upload(again).await.status, StatusCode::CREATED);
    assert_eq!(taken.json()["consent"]["basis"], "operator");
    assert_eq!(strict.storage.keys().len(), 2, "what was refused left something");
}

#[tokio::test]
async fn terms_that_make_no_sense_are_refused_by_part_and_nothing_is_kept() {
    let app = strict();
    for (consent, days, pointed_at) in [
        (consent("minor_13_17", "swimmer", &["analysis"]), "1", "/consent"),
        (consent("under_13", "swimmer", &["analysis"]), "1", "/consent"),
        (consent("adult", "swimmer", &["third_party_ai"]), "1", "/consent"),
        (consent("adult", "swimmer", &[]), "1", "/consent"),
        (consent("baby", "guardian", &["analysis"]), "1", "/consent"),
        (consent("adult", "nobody", &["analysis"]), "1", "/consent"),
        (consent("adult", "swimmer", &["analysis", "training"]), "1", "/consent"),
        ("{}".to_owned(), "1", "/consent"),
        (consent("adult", "swimmer", &["analysis"]), "0", "/retention_days"),
        (consent("adult", "swimmer", &["analysis"]), "91", "/retention_days"),
        (consent("under_13", "guardian", &["analysis"]), "15", "/retention_days"),
        (consent("adult", "swimmer", &["analysis"]), "soon", "/retention_days"),
        (consent("adult", "swimmer", &["analysis"]), "-1", "/retention_days"),
    ] {
        let form = Form::frames(2).text("consent", &consent).text("retention_days", days);

        let problem = app.upload(form).await.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");

        assert_eq!(pointer(&problem), pointed_at, "{consent} {days}");
    }
    app.assert_empty().await;
}

#[tokio::test]
async fn without_consent_no_frame_is_shown_to_the_model_on_any_way() {
    let app = strict();
    app.vision.finds();
    let id = app.uploaded(without_ai()).await;

    let analyzed = app.analyze(&id, Value::Null).await;
    let estimated = app.post(&id, "estimate", &Value::Null).await;

    analyzed.problem(StatusCode::FORBIDDEN, "consent_missing");
    assert_eq!(estimated.status, StatusCode::OK, "nobody is asked");
    // As another version of the service may have left it: asked for, and left behind.
    let session: swimcoach::session::SessionId = id.parse().unwrap();
    let record = app.records.inner.session(&Owner::local(), session).await.unwrap().unwrap();
    let left = crate::support::records::analysis(&record.session);
    let left = swimcoach::session::Analysis { requested_at: chrono::Utc::now(), ..left };
    app.records.inner.start_analysis(&left, crate::support::records::at(0)).await.unwrap();
    app.coach.take_up_left_behind().await.unwrap();
    let ended = app.settled(&id).await;
    assert_eq!(ended["error_code"], "consent_missing");
    assert_eq!(ended["can_resume"], false);
    let message = json!({"message": "Why do my legs sink?"});
    assert!(app.post(&id, "chat", &message).await.status.is_client_error());
    assert_eq!(app.vision.seen().len(), 0);
    assert_eq!(app.vision.talks().len(), 0);
}

#[tokio::test]
async fn consent_that_is_taken_back_stops_what_runs_and_what_would_come() {
    let app = strict();
    app.vision.finds();
    let (running, talked) = (app.uploaded(agreed()).await, app.uploaded(agreed()).await);
    app.analyzed(&talked).await;
    app.vision.hold();
    app.analyze(&running, Value::Null).await;
    eventually("the model is asked", async || (app.vision.seen().len() == 2).then_some(())).await;

    for id in [&running, &talked] {
        let amended = amend(&app, id, &json!({"purposes": ["analysis"]})).await;
        assert_eq!(amended.status, StatusCode::OK, "{amended:?}");
        assert_eq!(amended.json()["consent"]["purposes"], json!(["analysis"]));
    }
    let ended = app.settled(&running).await;
    app.vision.release();

    assert_eq!(ended["error_code"], "cancelled");
    let chat = app.post(&talked, "chat", &json!({"message": "Why?"})).await;
    chat.problem(StatusCode::FORBIDDEN, "consent_missing");
    for id in [&running, &talked] {
        app.analyze(id, Value::Null).await.problem(StatusCode::FORBIDDEN, "consent_missing");
    }
    assert_eq!((app.vision.seen().len(), app.vision.talks().len()), (2, 0));
}

#[tokio::test]
async fn terms_are_only_ever_narrowed() {
    let app = strict();
    let id = app.uploaded(without_ai()).await;
    let before = app.show(&id).await.json();

    for (body, pointed_at) in [
        (json!({"purposes": ["analysis", "third_party_ai"]}), "/purposes"),
        (json!({"purposes": []}), "/consent"),
        (json!({"retention_days": 15}), "/retention_days"),
        (json!({"retention_days": 0}), "/retention_days"),
    ] {
        let problem = amend(&app, &id, &body).await.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
        assert_eq!(pointer(&problem), pointed_at, "{body}");
    }
    amend(&app, &id, &json!({"subject": "adult"}))
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
    assert_eq!(app.show(&id).await.json(), before);
    let shorter = amend(&app, &id, &json!({"retention_days": 3})).await.json();

    let day =
        |it: &Value, field: &str| chrono::DateTime::parse_from_rfc3339(it[field].as_str().unwrap()).unwrap();
    assert_eq!((day(&before, "expires_at") - day(&before, "created_at")).num_days(), 14);
    assert_eq!((day(&shorter, "expires_at") - day(&shorter, "created_at")).num_days(), 3);
    amend(&app, &id, &json!({"retention_days": 4}))
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
    let nobodys = swimcoach::session::SessionId::new().to_string();
    amend(&app, &nobodys, &json!({})).await.problem(StatusCode::NOT_FOUND, "session_not_found");
}

#[tokio::test]
async fn where_no_model_of_another_company_looks_its_consent_is_not_needed() {
    let app = strict();
    let coach = swimcoach::coach::Coach::new(
        Arc::<crate::support::faulty_storage::FaultyStorage>::clone(&app.storage),
        Arc::<crate::support::faulty_records::FaultyRecords>::clone(&app.records),
        Arc::new(swimcoach::vision::mock::MockVision::new()),
        Arc::new(swimcoach::catalog::Catalog::embedded().unwrap()),
        &app.settings.limits(),
        app.metrics.analyses(),
    );
    let id = app.uploaded(without_ai()).await;

    let owner = Owner::local();
    let asked = coach.analyze(&owner, id.parse().unwrap(), swimcoach::coach::AnalysisRequest::default());

    assert!(asked.await.is_ok());
    let ended = app.settled(&id).await;
    assert_eq!(ended["status"], "complete");
}
