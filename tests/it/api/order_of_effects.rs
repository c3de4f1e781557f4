//! What is left when a step breaks: nothing that was not acknowledged, and everything that was.

use crate::support::app::{Reply, TestApp, upload_request};
use crate::support::eventually::eventually;
use crate::support::faults::Fault;
use crate::support::form::Form;
use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;
use swimcoach::session::SessionId;
use swimcoach::upstream::UpstreamErrorKind as Kind;

const DOWN: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// Lets an upload go on until it has come this far.
async fn driven_until(
    upload: &mut (impl Future<Output = Reply> + Unpin),
    what: &str,
    has_come: impl Fn() -> bool,
) {
    let drive = async || {
        assert!(upload.now_or_never().is_none(), "it was answered");
        has_come().then_some(())
    };
    eventually(what, drive).await;
}

/// The first half of a body, after which nothing comes any more.
fn half_of(form: &Form) -> Body {
    let mut half = form.body();
    half.truncate(half.len() / 2);
    Body::from_stream(stream::iter([Ok::<_, Infallible>(Bytes::from(half))]).chain(stream::pending()))
}

async fn frames_are_gone(app: &TestApp) {
    eventually("the frames are gone", async || app.storage.keys().is_empty().then_some(())).await;
}

/// Removes at once what uploads left behind, whatever its age.
async fn sweep(app: &TestApp) -> Vec<SessionId> {
    let horizon = Utc::now() + TimeDelta::minutes(1);
    let orphans = app.coach.find_orphans(horizon).await.unwrap().sessions;
    for orphan in &orphans {
        app.coach.remove_orphan(*orphan).await.unwrap();
    }
    orphans
}

#[tokio::test]
async fn storage_that_fails_at_any_frame_leaves_nothing_and_the_same_upload_works_afterwards() {
    let app = TestApp::new();
    for index in 0..15 {
        for fault in [Fault::Before(Kind::Unavailable), Fault::After(Kind::Timeout)] {
            app.storage.faults.fail_after("upload_frame", index, fault);

            let reply = app.upload(Form::frames(15)).await;

            reply.problem(DOWN, "storage_unavailable");
            assert!(reply.header("retry-after").is_some());
            app.assert_empty().await;
            app.storage.faults.heal();
        }
    }
    app.uploaded(Form::frames(15)).await;
}

#[tokio::test]
async fn the_record_is_written_after_the_last_frame() {
    let app = TestApp::new();
    app.storage.faults.fail_after("upload_frame", 14, Fault::Before(Kind::Unavailable));

    app.upload(Form::frames(15)).await.problem(DOWN, "storage_unavailable");

    assert_eq!(app.records.faults.count("create_session"), 0);
}

#[tokio::test]
async fn records_that_fail_leave_nothing_whether_or_not_they_wrote() {
    let app = TestApp::new();
    for fault in [Fault::Before(Kind::Unavailable), Fault::After(Kind::Timeout)] {
        app.records.faults.fail_next("create_session", fault);

        let reply = app.upload(Form::frames(15)).await;

        reply.problem(DOWN, "records_unavailable");
        assert!(reply.header("retry-after").is_some());
        app.assert_empty().await;
    }
    app.uploaded(Form::frames(15)).await;
}

#[tokio::test]
async fn a_panic_while_the_record_is_written_leaves_nothing() {
    let app = TestApp::new();
    app.records.faults.fail_next("create_session", Fault::Panic);

    app.upload(Form::frames(3)).await.problem(StatusCode::INTERNAL_SERVER_ERROR, "internal");

    frames_are_gone(&app).await;
    app.assert_empty().await;
}

#[tokio::test]
async fn what_cannot_be_undone_is_removed_by_the_sweep_and_nothing_else_is() {
    let app = TestApp::new();
    let kept = app.uploaded(Form::frames(2)).await;
    app.storage.faults.fail_after("upload_frame", 4, Fault::Before(Kind::Unavailable));
    app.storage.faults.fail_always("delete_frames", Fault::Before(Kind::Unavailable));
    app.upload(Form::frames(15)).await.problem(DOWN, "storage_unavailable");
    assert!(2 < app.storage.keys().len());
    app.storage.faults.heal();

    let swept = sweep(&app).await;

    assert_eq!(swept.len(), 1);
    assert_eq!(app.storage.keys(), [1, 2].map(|it| format!("frames/{kept}/000{it}.jpg")));
}

#[tokio::test]
async fn a_record_that_may_exist_keeps_its_frames_until_it_is_known_to_be_gone() {
    let app = TestApp::new();
    app.uploaded(Form::frames(1)).await;
    app.records.faults.fail_next("create_session", Fault::After(Kind::Timeout));
    app.records.faults.fail_next("delete_session", Fault::Before(Kind::Unavailable));

    app.upload(Form::frames(3)).await.problem(DOWN, "records_unavailable");

    let listed = app.get("/api/v1/sessions").await.json();
    let id = listed[0]["session_id"].as_str().unwrap();
    assert_eq!(listed[0]["frame_count"], 3);
    assert_eq!(sweep(&app).await, []);
    let deleted = app.delete(id).await.json();
    assert_eq!(deleted["frames_deleted"], 3);
}

#[tokio::test]
async fn the_sweep_leaves_young_uploads_alone_and_says_how_many_sessions_the_records_know() {
    let app = TestApp::new();
    app.uploaded(Form::frames(1)).await;
    app.storage.faults.fail_after("upload_frame", 2, Fault::Before(Kind::Unavailable));
    app.storage.faults.fail_always("delete_frames", Fault::Before(Kind::Unavailable));
    app.upload(Form::frames(3)).await.problem(DOWN, "storage_unavailable");
    app.storage.faults.heal();
    let before = app.storage.keys();
    let now = Utc::now();

    let of_an_hour = app.coach.find_orphans(now - TimeDelta::hours(1)).await.unwrap();
    let of_any_age = app.coach.find_orphans(now + TimeDelta::minutes(1)).await.unwrap();

    assert_eq!(of_an_hour.sessions, []);
    assert_eq!(of_any_age.sessions.len(), 1);
    assert_eq!(of_any_age.known, 1);
    assert_eq!(app.storage.keys(), before, "finding removes nothing");
}

#[tokio::test]
async fn a_client_that_hangs_up_half_way_leaves_nothing() {
    let app = TestApp::new();
    let mut upload = Box::pin(app.send(upload_request(half_of(&Form::frames(8)))));
    driven_until(&mut upload, "a frame is stored", || !app.storage.keys().is_empty()).await;

    drop(upload);

    frames_are_gone(&app).await;
    app.assert_empty().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_while_the_record_is_written_leaves_the_whole_session() {
    let app = TestApp::new();
    app.records.faults.fail_next("create_session", Fault::Hang);
    let mut upload = Box::pin(app.upload(Form::frames(3)));
    let is_being_written = || 0 < app.records.faults.count("create_session");
    driven_until(&mut upload, "the record is being written", is_being_written).await;

    drop(upload);
    app.records.faults.release();

    assert!(app.coach.shut_down(Duration::from_secs(10)).await);
    let listed = app.get("/api/v1/sessions").await.json();
    let [session] = &listed.as_array().unwrap()[..] else { panic!("one session: {listed}") };
    assert_eq!(session["frame_count"], 3);
    let id = session["session_id"].as_str().unwrap();
    assert_eq!(app.storage.keys(), [1, 2, 3].map(|it| format!("frames/{id}/000{it}.jpg")));
}

#[tokio::test]
async fn room_stays_taken_until_an_upload_that_was_left_alone_holds_no_frame_any_more() {
    let app = TestApp::with(|it| {
        it.uploads.max_request_bytes = 1 << 20;
        it.uploads.memory_bytes = 1 << 20;
    });
    app.storage.faults.fail_next("upload_frame", Fault::Hang);
    let mut upload = Box::pin(app.send(upload_request(half_of(&Form::frames(8)))));
    let is_on_its_way = || 0 < app.storage.faults.count("upload_frame");
    driven_until(&mut upload, "a frame is on its way", is_on_its_way).await;

    drop(upload);

    app.upload(Form::frames(1)).await.problem(DOWN, "too_many_uploads");
    app.storage.faults.release();
    let room_again = async || {
        let reply = app.upload(Form::frames(1)).await;
        if reply.status == StatusCode::CREATED {
            return Some(());
        }
        reply.problem(DOWN, "too_many_uploads");
        None
    };
    eventually("there is room again", room_again).await;
    assert_eq!(app.storage.keys().len(), 1, "only the later upload's");
}

#[tokio::test]
async fn a_delete_keeps_the_record_when_storage_fails_so_that_it_can_be_repeated() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(3)).await;
    for fault in [Fault::Before(Kind::Unavailable), Fault::Before(Kind::Timeout)] {
        app.storage.faults.fail_next("delete_frames", fault);

        app.delete(&id).await.problem(DOWN, "storage_unavailable");

        assert_eq!(app.records.faults.count("delete_session"), 0);
        assert_eq!(app.show(&id).await.status, StatusCode::OK);
    }
    let deleted = app.delete(&id).await.json();
    assert_eq!(deleted["frames_deleted"], 3);
    app.assert_empty().await;
}

#[tokio::test]
async fn a_delete_can_be_repeated_when_records_failed_after_the_frames_were_gone() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(3)).await;
    app.records.faults.fail_next("delete_session", Fault::Before(Kind::Unavailable));

    app.delete(&id).await.problem(DOWN, "records_unavailable");

    assert_eq!(app.storage.keys(), [""; 0]);
    let again = app.delete(&id).await;
    assert_eq!(again.json()["frames_deleted"], 0);
    assert_ne!(again.json()["records_deleted"], json!(0));
    app.assert_empty().await;
}
