//! A service of the operator's looks at every frame before it is stored.

use crate::support::app::TestApp;
use crate::support::form::Form;
use crate::support::misbehaving::{Misbehaving, Received, Reply};
use crate::support::pictures;
use axum::http::StatusCode;
use std::time::Duration;
use swimcoach::config::Settings;
use swimcoach::moderation::{ModerationLimits, ModerationSettings};
use swimcoach::upstream::RetryPolicy;
use url::Url;

/// Settings of a service at this URL that is asked once.
fn at(url: Url) -> impl FnOnce(&mut Settings) {
    let retry = RetryPolicy { attempts: 1, ..ModerationLimits::default().retry };
    let attempt_timeout = Duration::from_millis(500);
    let limits = ModerationLimits { retry, attempt_timeout, ..ModerationLimits::default() };
    move |settings| settings.moderation = Some(ModerationSettings { url, token: None, limits })
}

/// Lets every frame in but the one of this number.
async fn refusing(number: &'static str) -> Misbehaving {
    Misbehaving::start(move |_, request: &Received| {
        if request.headers["x-frame-number"] == number {
            return Reply::answer(200, r#"{"allow":false,"reason":"not a swimmer"}"#);
        }
        Reply::answer(200, r#"{"allow":true}"#)
    })
    .await
}

#[tokio::test]
async fn an_upload_with_a_frame_that_is_refused_says_which_and_why_and_leaves_nothing() {
    let server = refusing("2").await;
    let app = TestApp::with(at(server.url()));

    let reply = app.upload(Form::frames(3)).await;

    let problem = reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "frame_refused");
    assert_eq!(problem["errors"][0]["pointer"], "/frames/2");
    assert!(problem["detail"].as_str().unwrap().contains("not a swimmer"), "{problem}");
    app.assert_empty().await;
}

#[tokio::test]
async fn what_is_looked_at_is_what_is_stored_and_under_the_id_of_its_session() {
    let server = refusing("none").await;
    let app = TestApp::with(at(server.url()));
    let private = pictures::with_gps_everywhere(&pictures::jpeg(320, 240, 1), 6);

    let id = app.uploaded(Form::new().frame(&private)).await;

    let [request] = &server.received()[..] else { panic!("one frame") };
    assert_eq!(request.headers["x-session-id"], id);
    let url = app.storage.keys();
    assert_eq!(url, [format!("frames/{id}/0001.jpg")]);
    assert!(pictures::SECRETS.iter().all(|it| !String::from_utf8_lossy(&request.body).contains(it)));
    let stored = app.show(&id).await.json()["frames"][0]["size_bytes"].as_u64().unwrap();
    assert_eq!(request.body.len() as u64, stored);
}

#[tokio::test]
async fn nobody_is_asked_about_what_does_not_pass_the_door() {
    let server = refusing("none").await;
    let app = TestApp::with(at(server.url()));

    app.upload(Form::new().frame(&pictures::png()))
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY, "frame_not_jpeg");

    assert_eq!(server.received().len(), 0);
}

#[tokio::test]
async fn while_there_is_no_verdict_nothing_is_let_in() {
    for reply in [Reply::Silence, Reply::answer(500, ""), Reply::answer(200, "{}"), Reply::answer(302, "")] {
        let server = Misbehaving::start(move |_, _| reply.clone()).await;
        let app = TestApp::with(at(server.url()));

        let reply = app.upload(Form::frames(2)).await;

        assert!([StatusCode::SERVICE_UNAVAILABLE, StatusCode::BAD_GATEWAY].contains(&reply.status));
        reply.problem(reply.status, "moderation_unavailable");
        assert_eq!(app.storage.faults.count("upload_frame"), 0);
        app.assert_empty().await;
    }
}
