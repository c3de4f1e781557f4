//! Sessions that are made without signing in, and how they become somebody's.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::access::{member, with_keys};
use crate::support::app::{Reply, TestApp, session_path};
use crate::support::form::Form;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;

fn with_anonymous() -> TestApp {
    TestApp::with(|it| {
        it.access.api_keys = true;
        it.access.anonymous = true;
    })
}

async fn claim(app: &TestApp, session: &str, token: Option<&str>) -> Reply {
    let mut request = Request::post(format!("{}/claim", session_path(session)));
    if let Some(token) = token {
        request = request.header("x-session-token", token);
    }
    app.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_session_that_is_made_without_signing_in_belongs_to_the_token_that_comes_with_it() {
    let app = with_anonymous();

    let made = app.upload(Form::frames(2)).await;
    let other = app.upload(Form::frames(1)).await;

    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let session = made.json()["session_id"].as_str().unwrap().to_owned();
    let token = made.header("x-session-token").unwrap();
    assert_eq!(made.json()["session_token"], json!(token));
    assert_ne!(token, other.header("x-session-token").unwrap());
    let holder = app.with_token(token);
    assert_eq!(holder.show(&session).await.status, StatusCode::OK);
    assert_eq!(holder.get("/api/v1/sessions").await.json()[0]["session_id"], json!(session));
    let again = holder.upload(Form::frames(1)).await;
    assert_eq!((again.header("x-session-token"), again.json().get("session_token")), (None, None));
    let second = again.json()["session_id"].clone();
    assert_eq!(holder.get("/api/v1/sessions").await.json()[0]["session_id"], second);
    let stranger = app.with_token(other.header("x-session-token").unwrap());
    stranger.show(&session).await.problem(StatusCode::NOT_FOUND, "session_not_found");
    app.show(&session).await.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    assert_eq!(holder.delete(&session).await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_token_is_given_out_for_an_upload_that_failed() {
    let app = with_anonymous();

    let refused = app.upload(Form::new()).await;

    refused.problem(StatusCode::UNPROCESSABLE_ENTITY, "no_frames");
    assert_eq!(refused.header("x-session-token"), None);
}

#[tokio::test]
async fn an_anonymous_session_is_claimed_once_with_its_token_by_somebody_who_signs_in() {
    let app = with_anonymous();
    let (club, other) = (member(&app, "club").await, member(&app, "other").await);
    let made = app.upload(Form::frames(2)).await;
    let session = made.json()["session_id"].as_str().unwrap().to_owned();
    let token = made.header("x-session-token").unwrap();
    let holder = app.with_token(token);

    claim(&club, &session, None).await.problem(StatusCode::NOT_FOUND, "session_not_found");
    let guessed = token.to_uppercase().replace("SWA_", "swa_");
    claim(&club, &session, Some(&guessed)).await.problem(StatusCode::NOT_FOUND, "session_not_found");
    claim(&holder, &session, Some(token)).await.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    let claimed = claim(&club, &session, Some(token)).await;

    assert_eq!(claimed.status, StatusCode::OK, "{claimed:?}");
    assert_eq!(claimed.json()["user_id"], "club");
    assert_eq!(club.show(&session).await.status, StatusCode::OK);
    holder.show(&session).await.problem(StatusCode::NOT_FOUND, "session_not_found");
    claim(&other, &session, Some(token)).await.problem(StatusCode::NOT_FOUND, "session_not_found");
    assert_eq!(claim(&club, &session, Some(token)).await.status, StatusCode::OK);
    assert_eq!(claim(&club, &session, None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_analysis_that_runs_while_its_session_is_claimed_comes_to_its_end_for_whoever_claimed_it() {
    let app = with_anonymous();
    let club = member(&app, "club").await;
    let made = app.upload(Form::frames(8)).await;
    let session = made.json()["session_id"].as_str().unwrap().to_owned();
    let token = made.header("x-session-token").unwrap();
    app.vision.hold();
    app.vision.finds();
    assert_eq!(app.with_token(token).analyze(&session, json!({})).await.status, StatusCode::ACCEPTED);

    assert_eq!(claim(&club, &session, Some(token)).await.status, StatusCode::OK);
    app.vision.release();

    assert_eq!(club.settled(&session).await["status"], "complete");
    let reply = app.with_token(token).show(&session).await;
    reply.problem(StatusCode::NOT_FOUND, "session_not_found");
}

#[tokio::test]
async fn nobody_makes_sessions_without_signing_in_where_that_is_not_allowed() {
    let app = with_keys();
    let token = with_anonymous().upload(Form::frames(1)).await.header("x-session-token").unwrap().to_owned();

    app.upload(Form::frames(1)).await.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    let holder = app.with_token(&token);

    holder.get("/api/v1/sessions").await.problem(StatusCode::UNAUTHORIZED, "unauthenticated");
}
