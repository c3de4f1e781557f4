//! API keys: who is let in, and to what.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::problems::capture;
use crate::support::app::{TestApp, session_path, upload_request};
use crate::support::eventually::eventually;
use crate::support::faults::Fault;
use crate::support::form::Form;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::sync::Arc;
use swimcoach::access::{ApiKey, Scope};
use swimcoach::identity::KeyRing;
use swimcoach::upstream::UpstreamErrorKind;

/// A service that asks every caller for a key.
pub(super) fn with_keys() -> TestApp {
    TestApp::with(|it| it.access.api_keys = true)
}

pub(super) fn ring(app: &TestApp) -> KeyRing {
    KeyRing::new(Arc::<crate::support::faulty_records::FaultyRecords>::clone(&app.records))
}

/// A key for this owner.
pub(super) async fn key(app: &TestApp, owner: &str, scopes: &[Scope]) -> (ApiKey, String) {
    let scopes = scopes.iter().copied().collect();
    let (key, shown) = ring(app).create(owner, "a test", scopes, None).await.unwrap();
    (key, shown.expose_secret().to_owned())
}

/// The service as the holder of a key reaches it who may do everything in their own name.
pub(super) async fn member(app: &TestApp, owner: &str) -> TestApp {
    let scopes: Vec<_> = Scope::of_users().into_iter().collect();
    app.with_token(&key(app, owner, &scopes).await.1)
}

fn list() -> axum::http::request::Builder {
    Request::get("/api/v1/sessions")
}

#[tokio::test]
async fn whoever_brings_no_key_or_a_wrong_one_is_told_to_say_who_they_are() {
    let app = with_keys();
    let (_, shown) = key(&app, "club", &Scope::ALL).await;
    let (id, secret) = shown.trim_start_matches("swc_").split_once('_').unwrap();
    let other: String = secret.chars().rev().collect();
    // The last of 43 characters stands for four bits only, so not every text is a secret.
    let wrong = shown.replace(secret, &format!("{}A", other.replace(['-', '_'], "x").split_at(42).0));
    let unknown = shown.replace(id, "0123456789abcdef");
    let bearer = |it: &str| list().header("authorization", format!("Bearer {it}"));

    for request in [
        list(),
        bearer(""),
        bearer("club"),
        bearer(&wrong),
        bearer(&unknown),
        bearer(&format!("{shown} {shown}")),
        list().header("authorization", &shown),
        list().header("authorization", format!("Basic {shown}")),
        list().header("x-api-key", &wrong),
        list().header("x-api-key", b"\xff".as_slice()),
        bearer(&shown).header("x-api-key", &wrong),
        list().header("x-user-id", "club"),
    ] {
        let reply = app.send(request.body(Body::empty()).unwrap()).await;

        let problem = reply.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        assert!(!problem.to_string().contains(secret));
    }
    for path in ["/health", "/health/ready"] {
        assert_eq!(app.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_key_counts_in_either_header_and_its_owner_finds_their_sessions_with_another_one() {
    let app = with_keys();
    let (_, first) = key(&app, "club", &Scope::ALL).await;
    let session = app.with_token(&first).uploaded(Form::frames(2)).await;
    let (_, second) = key(&app, "club", &Scope::ALL).await;

    for request in [
        list().header("authorization", format!("Bearer {second}")),
        list().header("authorization", format!("bearer  {second}")),
        list().header("x-api-key", &second),
        list().header("x-api-key", &second).header("authorization", format!("Bearer {second}")),
    ] {
        let reply = app.send(request.body(Body::empty()).unwrap()).await;

        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        assert_eq!(reply.json()[0]["session_id"], json!(session));
    }
}

#[tokio::test]
async fn a_key_may_do_what_its_scopes_say_and_nothing_else() {
    let app = with_keys();
    let session = member(&app, "club").await.uploaded(Form::frames(2)).await;
    let tries = [
        (Scope::Read, Request::get(session_path(&session)).body(Body::empty()).unwrap()),
        (Scope::Upload, upload_request(Body::from(Form::frames(1).body()))),
        (
            Scope::Ask,
            Request::post(format!("/api/v1/analysis/{session}/analyze")).body(Body::empty()).unwrap(),
        ),
        (Scope::Delete, Request::delete(session_path(&session)).body(Body::empty()).unwrap()),
    ];

    for (scope, request) in tries {
        let others: Vec<_> = Scope::ALL.into_iter().filter(|it| *it != scope).collect();
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let request = || Request::from_parts(parts.clone(), Body::from(body.clone()));

        let refused = app.with_token(&key(&app, "club", &others).await.1).send(request()).await;
        let done = app.with_token(&key(&app, "club", &[scope]).await.1).send(request()).await;

        let problem = refused.problem(StatusCode::FORBIDDEN, "scope_missing");
        assert!(problem["detail"].as_str().unwrap().contains(scope.as_str()));
        assert!(done.status.is_success(), "{scope:?}: {done:?}");
    }
}

#[tokio::test]
async fn a_key_acts_for_a_user_only_with_the_scope_for_it_and_for_no_other_keys_user() {
    let app = with_keys();
    let (_, page) = key(&app, "page", &Scope::ALL).await;
    let (_, other) = key(&app, "other-page", &Scope::ALL).await;
    let scopes: Vec<_> = Scope::of_users().into_iter().collect();
    let (_, plain) = key(&app, "page", &scopes).await;
    let of_user = |key: &str, user: &str| {
        list().header("x-api-key", key).header("x-user-id", user).body(Body::empty()).unwrap()
    };
    let mut upload = upload_request(Body::from(Form::frames(1).body()));
    upload.headers_mut().insert("x-api-key", page.parse().unwrap());
    upload.headers_mut().insert("x-user-id", "user_2abc".parse().unwrap());
    assert_eq!(app.send(upload).await.status, StatusCode::CREATED);

    let own = app.send(of_user(&page, "user_2abc")).await.json();

    assert_eq!(own.as_array().unwrap().len(), 1);
    for request in [
        of_user(&page, "user_2abd"),
        of_user(&page, "user_2abc/"),
        of_user(&other, "user_2abc"),
        list().header("x-api-key", &page).body(Body::empty()).unwrap(),
    ] {
        assert_eq!(app.send(request).await.json(), json!([]));
    }
    app.send(of_user(&plain, "user_2abc")).await.problem(StatusCode::FORBIDDEN, "scope_missing");
    for user in ["", "two words", &"u".repeat(129)] {
        app.send(of_user(&page, user)).await.problem(StatusCode::BAD_REQUEST, "invalid_user");
    }
}

#[tokio::test]
async fn a_key_that_has_expired_or_was_revoked_or_rotated_away_counts_no_more() {
    let app = with_keys();
    let ring = ring(&app);
    let make = async |days| {
        let lifetime = Some(TimeDelta::days(days));
        let (key, shown) = ring.create("club", "", Scope::of_users(), lifetime).await.unwrap();
        (key, shown.expose_secret().to_owned())
    };
    let (_, expired) = make(0).await;
    let (revoked, revoked_shown) = make(9).await;
    let (rotated, rotated_shown) = make(9).await;
    ring.revoke(&revoked.id).await.unwrap();
    let (new, new_shown) = ring.rotate(&rotated.id, TimeDelta::zero()).await.unwrap();

    for shown in [&expired, &revoked_shown, &rotated_shown] {
        let reply = app.with_token(shown).get("/api/v1/sessions").await;
        reply.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    }
    let reply = app.with_token(new_shown.expose_secret()).get("/api/v1/sessions").await;

    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!((&new.owner, &new.scopes), (&rotated.owner, &rotated.scopes));
    assert_eq!(ring.all().await.unwrap().len(), 4);
    assert!(ring.rotate(&revoked.id, TimeDelta::zero()).await.is_err());
    assert!(ring.revoke(&"0123456789abcdef".parse().unwrap()).await.is_err());
}

#[tokio::test]
async fn a_key_is_looked_up_once_and_nobody_is_let_in_while_records_are_down() {
    let app = with_keys();
    let (_, shown) = key(&app, "club", &Scope::ALL).await;
    app.records.faults.fail_next("entry", Fault::Before(UpstreamErrorKind::Unavailable));
    let member = app.with_token(&shown);

    let refused = member.get("/api/v1/sessions").await;
    let before = app.records.faults.count("entry");
    for _ in 0..5 {
        assert_eq!(member.get("/api/v1/sessions").await.status, StatusCode::OK);
    }

    refused.problem(StatusCode::SERVICE_UNAVAILABLE, "records_unavailable");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(app.records.faults.count("entry"), before + 1);
}

#[tokio::test]
async fn where_nobody_signs_in_credentials_mean_nothing() {
    let app = TestApp::new();
    let session = app.uploaded(Form::frames(1)).await;

    let request = list().header("x-api-key", "anything").header("x-user-id", "anybody");
    let reply = app.send(request.body(Body::empty()).unwrap()).await;

    assert_eq!(reply.json()[0]["session_id"], json!(session));
}

#[tokio::test]
async fn an_upload_that_is_refused_for_its_key_is_read_to_its_end_and_leaves_nothing() {
    let app = with_keys();

    let reply = app.upload(Form::frames(3)).await;

    reply.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    assert_eq!(app.storage.keys(), [""; 0]);
    assert_eq!(reply.header(header::LOCATION.as_str()), None);
}

/// The lines of the audit.
fn audit(log: &str) -> Vec<Value> {
    let lines = log.lines().map(|it| serde_json::from_str::<Value>(it).unwrap());
    lines.filter(|it| it["target"] == "swimcoach::audit").collect()
}

#[tokio::test]
async fn the_audit_says_who_did_what_to_which_session_under_which_id_and_nothing_of_its_content() {
    let app = with_keys();
    let (club, other) = (member(&app, "club").await, member(&app, "other").await);
    let (log, _guard) = capture();

    let session = club.uploaded(Form::frames(1).text("user_notes", "My shoulder hurts.")).await;
    let refused = other.show(&session).await;
    let deleted = club.delete(&session).await;
    app.show(&session).await.problem(StatusCode::UNAUTHORIZED, "unauthenticated");

    let lines = audit(&log.text());
    let told: Vec<_> =
        lines.iter().map(|it| (&it["owner"], &it["action"], &it["status"], &it["session"])).collect();
    let route = |method: &str| json!(format!("{method} /api/v1/sessions/{{id}}"));
    assert_eq!(
        told,
        [
            (&json!("key:club"), &json!("POST /api/v1/analysis/upload"), &json!(201), &Value::Null),
            (&json!("key:other"), &route("GET"), &json!(404), &json!(session)),
            (&json!("key:club"), &route("DELETE"), &json!(200), &json!(session)),
        ]
    );
    let ids = [refused, deleted].map(|it| it.header("x-request-id").unwrap().to_owned());
    assert_eq!([&lines[1]["request_id"], &lines[2]["request_id"]], [&json!(ids[0]), &json!(ids[1])]);
    assert!(!lines.iter().any(|it| it.to_string().contains("shoulder")), "{lines:?}");
}

#[tokio::test]
async fn what_was_begun_for_a_client_that_went_away_is_in_the_audit_too() {
    let app = with_keys();
    let club = member(&app, "club").await;
    let session = club.uploaded(Form::frames(1)).await;
    let (log, _guard) = capture();
    app.storage.faults.fail_next("delete_frames", Fault::Hang);

    tokio::select! {
        reply = club.delete(&session) => panic!("it was answered: {reply:?}"),
        () = eventually("frames are being deleted", async || {
            (app.storage.faults.count("delete_frames") == 1).then_some(())
        }) => {}
    }

    let lines = audit(&log.text());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["action"], "DELETE /api/v1/sessions/{id}");
    assert_eq!((&lines[0]["session"], &lines[0]["status"]), (&json!(session), &Value::Null));
}

#[tokio::test]
async fn no_key_and_no_token_is_in_the_log_or_in_any_answer() {
    let app = TestApp::with(|it| {
        it.access.api_keys = true;
        it.access.anonymous = true;
    });
    let (_, shown) = key(&app, "club", &Scope::ALL).await;
    let (log, _guard) = capture();

    let made = app.upload(Form::frames(1)).await;
    let token = made.header("x-session-token").unwrap();
    let mut answers = Vec::new();
    for credential in [&shown, token, &format!("{shown}A"), &shown.replace("swc_", "swc_f")] {
        let in_query = list().uri(format!("/api/v1/sessions?limit={credential}"));
        for request in [list(), in_query] {
            let request = request.header("authorization", format!("Bearer {credential}"));
            answers.push(app.send(request.body(Body::empty()).unwrap()).await);
        }
        answers.push(app.send(list().header("x-api-key", credential).body(Body::empty()).unwrap()).await);
    }

    // A secret may have such a stroke in it, and what comes after the last one is in many a text.
    let secrets = [shown.splitn(3, '_').nth(2).unwrap(), token.split_once('_').unwrap().1];
    for secret in secrets {
        assert_eq!(secret.len(), 43);
        assert!(!log.text().contains(secret), "the log has a secret");
        for answer in &answers {
            assert!(!format!("{answer:?}").contains(secret), "{answer:?}");
        }
    }
}
