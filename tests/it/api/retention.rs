//! Until when sessions are kept, and how they go.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::app::{TestApp, session_path};
use crate::support::faults::Fault;
use crate::support::form::Form;
use crate::support::records::{analysis, answer, at, completed, session, turn};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use swimcoach::coach::{SweepRequest, Swept};
use swimcoach::metadata::{Entry, EntryKind, SessionStore};
use swimcoach::session::{FrameNumber, Owner, Session, SessionId};
use swimcoach::storage::mock::PresentedPut;
use swimcoach::storage::{ExpectedFrame, FrameMetadata, FramePath, StorageClient};
use swimcoach::upstream::UpstreamErrorKind as Kind;
use uuid::{NoContext, Timestamp, Uuid};

const HOUR: Duration = Duration::from_hours(1);

/// An id that was made so many hours ago.
fn id_from(hours_ago: i64) -> SessionId {
    let seconds = (Utc::now() - TimeDelta::hours(hours_ago)).timestamp();
    let time = Timestamp::from_unix(NoContext, seconds.try_into().unwrap(), 0);
    Uuid::new_v7(time).to_string().parse().unwrap()
}

async fn put_frames(app: &TestApp, id: SessionId, count: u32) {
    for number in 1..=count {
        let path = FramePath::new(id, FrameNumber::new(number).unwrap());
        let metadata = FrameMetadata { width: 1, height: 1 };
        app.storage.inner.upload_frame(&path, Bytes::from_static(b"frame"), &metadata).await.unwrap();
    }
}

/// A session with two frames in storage, an analysis and a conversation.
async fn kept(app: &TestApp, owner: &Owner, id: SessionId, expires_at: Option<DateTime<Utc>>) -> Session {
    let created_at = id.created_at().unwrap();
    let session = Session { id, created_at, expires_at, ..session(owner, 2) };
    put_frames(app, id, 2).await;
    let records = &app.records.inner;
    records.create_session(&session).await.unwrap();
    let analysis = analysis(&session);
    records.start_analysis(&analysis, at(0)).await.unwrap();
    records.record_analysis(&completed(&analysis, 5)).await.unwrap();
    records.append_turns(session.id, &[turn(0, "Why?"), answer(1, "So.")]).await.unwrap();
    session
}

/// A request with an idempotency key, of so many hours ago.
async fn request(app: &TestApp, hours_ago: i64, session: Option<SessionId>) -> Entry {
    let entry = Entry {
        kind: EntryKind::Request,
        name: Uuid::now_v7().to_string(),
        owner: Some(Owner::local()),
        session,
        value: "{}".to_owned(),
        recorded_at: (Utc::now() - TimeDelta::hours(hours_ago)).trunc_subsecs(3),
    };
    app.records.inner.exchange_entry(None, &entry).await.unwrap();
    entry
}

async fn make_pending(app: &TestApp, id: SessionId) {
    let path = FramePath::new(id, FrameNumber::FIRST);
    let expect = ExpectedFrame { size_bytes: 5 };
    let put = app.storage.inner.presigned_put(&path, &expect, HOUR).await.unwrap();
    let key = put.url.path().trim_start_matches("/_mock/storage/").to_owned();
    let jpeg = Bytes::from_static(b"frame");
    let presented = PresentedPut { content_type: Some("image/jpeg"), if_none_match: Some("*"), jpeg };
    app.storage.inner.redeem_put(&key, put.url.query().unwrap(), presented).unwrap();
}

fn request_of(horizon_hours: i64) -> SweepRequest {
    SweepRequest {
        dry_run: false,
        horizon: Utc::now() - TimeDelta::hours(horizon_hours),
        records_are_empty: false,
    }
}

fn ids_in(keys: &[String]) -> BTreeSet<String> {
    keys.iter().map(|it| it.split('/').nth(1).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_expired_session_is_gone_for_every_reader_before_it_is_swept() {
    let app = TestApp::new();
    let owner = Owner::local();
    let expired =
        kept(&app, &owner, id_from(30), Some(Utc::now() - TimeDelta::seconds(1))).await.id.to_string();
    let old = kept(&app, &owner, id_from(24 * 90 + 1), None).await.id.to_string();
    let there = kept(&app, &owner, id_from(30), Some(Utc::now() + TimeDelta::hours(1))).await.id.to_string();

    for id in [&expired, &old] {
        for path in ["", "/events"] {
            let reply = app.get(&format!("{}{path}", session_path(id))).await;
            reply.problem(StatusCode::NOT_FOUND, "session_not_found");
        }
        let replies = [
            app.analyze(id, Value::Null).await,
            app.post(id, "estimate", &Value::Null).await,
            app.post(id, "cancel", &Value::Null).await,
            app.post(id, "chat", &json!({"message": "Why?"})).await,
            app.send(
                Request::patch(session_path(id))
                    .header("content-type", "application/json")
                    .body(Body::from("{\"retention_days\":1}"))
                    .unwrap(),
            )
            .await,
        ];
        for reply in replies {
            reply.problem(StatusCode::NOT_FOUND, "session_not_found");
        }
    }
    let listed = app.get("/api/v1/sessions?limit=1").await;
    assert_eq!(listed.json()[0]["session_id"], json!(there));
    assert_eq!(listed.json().as_array().unwrap().len(), 1);
    assert_eq!(listed.header("link"), None);
    assert_eq!(app.vision.seen().len(), 0);
}

#[tokio::test]
async fn a_dry_run_names_what_would_go_and_leaves_it() {
    let app = TestApp::new();
    let (owner, past) = (Owner::local(), Utc::now() - TimeDelta::hours(1));
    let expired = kept(&app, &owner, id_from(40), Some(past)).await;
    let (orphan, pending) = (id_from(41), id_from(42));
    put_frames(&app, orphan, 2).await;
    make_pending(&app, pending).await;
    request(&app, 25, None).await;
    let (keys, requests) = (app.storage.keys(), async || {
        app.records.inner.entries(EntryKind::Request, Utc::now(), None).await.unwrap().len()
    });

    let dry = app.coach.sweep(SweepRequest { dry_run: true, ..request_of(1) }).await.unwrap();

    let found = Swept {
        expired: vec![expired.id],
        orphans: vec![orphan],
        pending: vec![pending],
        requests: 1,
        failed: 0,
    };
    assert_eq!(dry, found);
    assert_eq!((app.storage.keys(), requests().await), (keys, 1));
    assert_eq!(app.coach.sweep(request_of(1)).await.unwrap(), found);
    assert_eq!((app.storage.keys(), requests().await), (Vec::new(), 0));
    assert_eq!(app.coach.sweep(request_of(1)).await.unwrap(), Swept::default());
}

#[tokio::test]
async fn a_month_of_sessions_is_swept_by_two_with_failures_and_nothing_else_is_gone() {
    let app = TestApp::with(|it| it.privacy.retention_days = 20);
    let other = app.replica();
    let now = Utc::now();
    let (mut stays, mut goes) = (BTreeSet::new(), BTreeSet::new());
    for n in 0..60_i64 {
        let id = id_from(12 * n + 1);
        // Those of adults, of minors, of whoever asked for less, and of those who said nothing.
        let days = [Some(20), Some(14), Some(3), None][usize::try_from(n % 4).unwrap()];
        let created_at = id.created_at().unwrap();
        let expires_at = days.map(|it| created_at + TimeDelta::days(it));
        let owner = Owner::new(format!("owner-{}", n % 5));
        kept(&app, &owner, id, expires_at).await;
        request(&app, 1, Some(id)).await;
        let has_expired = expires_at.unwrap_or(created_at + TimeDelta::days(20)) <= now;
        if has_expired { &mut goes } else { &mut stays }.insert((owner.as_str().to_owned(), id.to_string()));
    }
    let (orphan, young) = (id_from(50), id_from(0));
    let (forgotten, fresh) = (id_from(51), id_from(2));
    for id in [orphan, young] {
        put_frames(&app, id, 2).await;
    }
    for id in [forgotten, fresh] {
        make_pending(&app, id).await;
    }
    let (old_request, new_request) = (request(&app, 25, None).await, request(&app, 23, None).await);
    for n in 0..12 {
        let fault = if n % 2 == 0 { Fault::Before(Kind::Unavailable) } else { Fault::After(Kind::Timeout) };
        app.storage.faults.fail_after("delete_frames", 2 * n, fault);
        app.records.faults.fail_after("delete_session", 3 * n, fault);
        app.records.faults.fail_after("settle", 4 * n, fault);
    }
    app.storage.faults.fail_next("delete_pending", Fault::Before(Kind::Unavailable));
    app.records.faults.fail_next("remove_entry", Fault::After(Kind::Unavailable));

    let mut failures = 0;
    loop {
        let (one, two) = tokio::join!(app.coach.sweep(request_of(1)), other.coach.sweep(request_of(1)));
        let failed = one.unwrap().failed + two.unwrap().failed;
        failures += failed;
        if failed == 0 {
            break;
        }
    }

    assert!(0 < failures, "nothing broke");
    assert!(10 < goes.len() && 10 < stays.len());
    let ids: BTreeSet<_> = stays.iter().map(|(_, id)| id.clone()).collect();
    let expected = ids.iter().cloned().chain([young, fresh].map(|it| it.to_string())).collect();
    assert_eq!(ids_in(&app.storage.keys()), expected);
    for (owner, id) in stays.iter().chain(&goes) {
        let record =
            app.records.inner.session(&Owner::new(owner.as_str()), id.parse().unwrap()).await.unwrap();
        assert_eq!(record.is_some(), ids.contains(id), "{id}");
        let is_whole =
            |it: &swimcoach::metadata::SessionRecord| it.analyses.len() == 1 && it.turns.len() == 2;
        assert!(record.iter().all(is_whole), "{id}");
    }
    let requests = app.records.inner.entries(EntryKind::Request, Utc::now(), None).await.unwrap();
    let about: BTreeSet<_> = requests.iter().filter_map(|it| it.session).map(|it| it.to_string()).collect();
    assert_eq!(about, ids);
    assert!(requests.contains(&new_request) && !requests.contains(&old_request));
}

#[tokio::test]
async fn of_the_sweeps_in_the_background_one_runs_for_all_and_none_soon_after_it() {
    let app = TestApp::new();
    let other = app.replica();
    let past = Utc::now() - TimeDelta::hours(1);
    kept(&app, &Owner::local(), id_from(40), Some(past)).await;
    app.records.faults.fail_next("expired_sessions", Fault::Hang);

    let (one, two) = tokio::join!(
        async {
            let swept = app.coach.sweep_for_all(HOUR).await.unwrap();
            app.records.faults.release();
            swept
        },
        async {
            let swept = other.coach.sweep_for_all(HOUR).await.unwrap();
            app.records.faults.release();
            swept
        },
    );
    let again = other.coach.sweep_for_all(HOUR).await.unwrap();
    let soon = other.coach.sweep_for_all(Duration::ZERO).await.unwrap();

    let swept: Vec<_> = [one, two].into_iter().flatten().collect();
    assert_eq!(swept.len(), 1);
    assert_eq!(swept[0].expired.len(), 1);
    assert_eq!(again, None);
    assert_eq!(soon, Some(Swept::default()));
}

#[tokio::test]
async fn what_was_deleted_is_shown_by_no_copy_and_no_cache() {
    let app = TestApp::new();
    app.vision.finds();
    app.vision.replies("The legs sink since the head is up.", &[2], swimcoach::analysis::Usage::default());
    let id = app.uploaded(Form::frames(3)).await;
    app.analyzed(&id).await;
    let message = json!({"message": "Why do my legs sink?"});
    assert_eq!(app.post(&id, "chat", &message).await.status, StatusCode::OK);

    app.delete(&id).await;

    for reply in [
        app.show(&id).await,
        app.get(&format!("{}/events", session_path(&id))).await,
        app.post(&id, "chat", &message).await,
        app.analyze(&id, Value::Null).await,
    ] {
        reply.problem(StatusCode::NOT_FOUND, "session_not_found");
    }
    app.assert_empty().await;
}
