//! Requests that carry an `Idempotency-Key`: done once over all replicas, whatever breaks, and answered alike.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::app::{Reply, TestApp, session_path, upload_request};
use crate::support::event_stream;
use crate::support::eventually::eventually;
use crate::support::faults::Fault;
use crate::support::form::Form;
use crate::support::openapi;
use crate::support::scripted_vision::{LOOK_USAGE, NOTES_USAGE};
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use swimcoach::analysis::{MicroUsd, Usage};
use swimcoach::coach::{Begun, KeptAnswer, KeyedRequest, REQUESTS_KEPT, RequestLease};
use swimcoach::ledger::Month;
use swimcoach::metadata::{Entry, EntryKind, Exchanged, SessionStore};
use swimcoach::session::Owner;
use swimcoach::upstream::{Service, UpstreamError, UpstreamErrorKind as Kind};
use swimcoach::vision::VisionErrorKind;
use tokio::sync::mpsc;

const KEY: &str = "3f0c-first";

fn keyed(mut request: Request<Body>, key: &str) -> Request<Body> {
    request.headers_mut().insert("idempotency-key", HeaderValue::from_str(key).unwrap());
    request
}

fn upload(form: &Form) -> Request<Body> {
    keyed(upload_request(Body::from(form.body())), KEY)
}

fn post(path: &str, body: &Value) -> Request<Body> {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json").body(body);
    keyed(request.unwrap(), KEY)
}

fn analyze(session: &str, body: &Value) -> Request<Body> {
    post(&format!("/api/v1/analysis/{session}/analyze"), body)
}

fn chat(session: &str, message: &str) -> Request<Body> {
    post(&format!("{}/chat", session_path(session)), &json!({"message": message}))
}

/// A service and a session with a result to talk about.
async fn with_result() -> (TestApp, String) {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;
    assert_eq!(app.analyzed(&id).await["status"], "complete");
    (app, id)
}

/// Fails unless it is the first answer again.
fn assert_replays(first: &Reply, again: &Reply) {
    assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again:?}");
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    for name in ["content-type", "location", "retry-after"] {
        assert_eq!(first.header(name), again.header(name), "{name}");
    }
}

async fn sessions(app: &TestApp) -> usize {
    app.get("/api/v1/sessions").await.json().as_array().unwrap().len()
}

async fn spent(app: &TestApp) -> Option<MicroUsd> {
    let month = Month::of(Utc::now());
    app.records.inner.month_usage(&Owner::local(), month).await.unwrap().usage.cost
}

/// What is recorded of requests.
async fn requests(app: &TestApp) -> Vec<Entry> {
    let later = Utc::now() + TimeDelta::days(1);
    app.records.inner.entries(EntryKind::Request, later, None).await.unwrap()
}

/// Records that what is recorded was so this long ago, as if its process had gone away then.
async fn age(app: &TestApp, time: TimeDelta) {
    for entry in requests(app).await {
        let mut value: Value = serde_json::from_str(&entry.value).unwrap();
        if let Some(renewed_at) = value.pointer_mut("/state/under_way/renewed_at") {
            let at: DateTime<Utc> = renewed_at.as_str().unwrap().parse().unwrap();
            *renewed_at = json!(at - time);
        }
        let recorded_at = entry.recorded_at - time;
        // The same value would be left as it is.
        let value = format!("{value}{}", " ".repeat(entry.value.len() - entry.value.trim_end().len() + 1));
        let old = Entry { value, recorded_at, ..entry.clone() };
        let aged = app.records.inner.exchange_entry(Some(&entry.value), &old).await.unwrap();
        // What is given back is removed in the background, and then there is nothing to age.
        assert!(matches!(aged, Exchanged::Put | Exchanged::Changed(None)), "{aged:?}");
    }
}

fn an_hour() -> TimeDelta {
    TimeDelta::hours(1)
}

/// A request as the coach is told of it.
fn asked(fingerprint: Option<&str>) -> KeyedRequest {
    KeyedRequest {
        owner: Owner::local(),
        key: KEY.to_owned(),
        target: "POST /api/v1/analysis/upload".to_owned(),
        fingerprint: fingerprint.map(str::to_owned),
        session: None,
    }
}

async fn begun(app: &TestApp, asked: &KeyedRequest) -> Arc<RequestLease> {
    match app.coach.begin_request(asked).await.unwrap() {
        Begun::Mine(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_upload_sent_fifty_times_at_once_to_two_replicas_makes_one_session() {
    let app = TestApp::new();
    let replicas = [app.clone(), app.replica()];
    let form = Form::frames(3);

    let replies = join_all((0..50).map(|it| replicas[it % 2].send(upload(&form)))).await;

    let made: Vec<&Reply> = replies.iter().filter(|it| it.status == StatusCode::CREATED).collect();
    for reply in replies.iter().filter(|it| it.status != StatusCode::CREATED) {
        reply.problem(StatusCode::CONFLICT, "request_under_way");
        assert!(reply.header("retry-after").is_some());
    }
    assert!(!made.is_empty() && made.iter().all(|it| it.body == made[0].body));
    assert_eq!((sessions(&app).await, app.storage.keys().len()), (1, 3));
}

#[tokio::test]
async fn an_analysis_asked_for_fifty_times_at_once_at_two_replicas_is_charged_once() {
    let app = TestApp::new();
    app.vision.finds();
    let replicas = [app.clone(), app.replica()];
    let id = app.uploaded(Form::frames(15)).await;

    let replies = join_all((0..50).map(|it| replicas[it % 2].send(analyze(&id, &Value::Null)))).await;

    let taken: Vec<&Reply> = replies.iter().filter(|it| it.status == StatusCode::ACCEPTED).collect();
    assert!(!taken.is_empty() && taken.iter().all(|it| it.body == taken[0].body));
    for reply in replies.iter().filter(|it| it.status != StatusCode::ACCEPTED) {
        reply.problem(StatusCode::CONFLICT, "request_under_way");
    }
    assert_eq!(app.settled(&id).await["status"], "complete");
    eventually("it is charged", async || (spent(&app).await == LOOK_USAGE.cost).then_some(())).await;
    assert_eq!(app.vision.seen().len(), 1);
}

#[tokio::test]
async fn the_first_answer_comes_again_from_any_replica() {
    let (app, id) = with_result().await;
    let replica = app.replica();
    app.vision.replies("Frame 4 shows it best.", &[4], NOTES_USAGE);
    let form = Form::frames(2).text("title", "Tuesday");

    for (key, request) in [
        ("upload", Box::new(|| upload(&form)) as Box<dyn Fn() -> Request<Body>>),
        ("chat", Box::new(|| chat(&id, "Which frame shows it?"))),
        ("analyze", Box::new(|| analyze(&id, &json!({"user_notes": "Why?"})))),
        ("refused", Box::new(|| chat("0190a8a0-0000-7000-8000-000000000000", "Why?"))),
    ] {
        let first = app.send(keyed(request(), key)).await;
        let again = replica.send(keyed(request(), key)).await;

        if key == "refused" {
            first.problem(StatusCode::NOT_FOUND, "session_not_found");
            again.problem(StatusCode::NOT_FOUND, "session_not_found");
            assert_eq!(again.header("idempotency-replayed"), Some("true"));
        } else {
            assert!(first.status.is_success(), "{first:?}");
            assert_replays(&first, &again);
        }
    }
    assert_eq!(app.vision.talks().len(), 1);
    assert_eq!(sessions(&app).await, 2);
}

#[tokio::test]
async fn a_stream_comes_again_as_the_stream_of_the_whole_answer() {
    let (app, id) = with_result().await;
    app.vision.replies("Frame 4 shows it best.", &[4], NOTES_USAGE);
    let streamed = || {
        let mut request = chat(&id, "Which frame shows it?");
        request.headers_mut().insert(header::ACCEPT, "text/event-stream".parse().unwrap());
        request
    };

    let first = app.send(streamed()).await;
    let again = app.send(streamed()).await;

    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.header("content-type"), Some("text/event-stream"));
    let (first, again) = (event_stream::events(&first.body), event_stream::events(&again.body));
    assert_eq!(again.last().unwrap().data, first.last().unwrap().data);
    assert_eq!(again[0].data["text"], "Frame 4 shows it best.");
    assert_eq!(again.len(), 2);
    assert_eq!(app.vision.talks().len(), 1);
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let (app, id) = with_result().await;
    app.vision.replies("So.", &[], NOTES_USAGE);
    app.send(chat(&id, "Why?")).await;
    let form = Form::frames(2);
    let uploaded = keyed(upload(&form), "upload");
    assert_eq!(app.send(uploaded).await.status, StatusCode::CREATED);

    let others = [
        chat(&id, "Why then?"),
        analyze(&id, &Value::Null),
        upload(&form),
        keyed(upload(&Form::frames(3)), "upload"),
        keyed(upload(&form.clone().text("title", "Tuesday")), "upload"),
        keyed(chat(&id, "Why?"), "upload"),
    ];
    for other in others {
        let reply = app.send(other).await;

        reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_mismatch");
    }
    assert_eq!(app.vision.talks().len(), 1);
    assert_eq!(sessions(&app).await, 2);
}

#[tokio::test]
async fn every_route_that_creates_or_pays_takes_keys_and_refuses_what_is_none() {
    let app = TestApp::new();
    let paths = openapi::document()["paths"].as_object().unwrap();
    let without = ["cancel", "check", "estimate"].map(|it| format!("/api/v1/sessions/{{id}}/{it}"));
    let posts = paths.iter().filter(|(path, it)| it.get("post").is_some() && !without.contains(path));
    let mut walked = 0;
    for (path, item) in posts {
        walked += 1;
        let parameters = item["post"]["parameters"].as_array().unwrap();
        assert!(parameters.iter().any(|it| it["name"] == "Idempotency-Key"), "{path}");
        let path = path.replace("{id}", "0190a8a0-0000-7000-8000-000000000000");
        for key in ["", "two words", &"k".repeat(256), "\u{e9}"] {
            let mut request = post(&path, &Value::Null);
            let key = HeaderValue::from_bytes(key.as_bytes()).unwrap();
            request.headers_mut().insert("idempotency-key", key);

            let problem = app.send(request).await.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");

            assert_eq!(problem["errors"][0]["pointer"], "/headers/Idempotency-Key", "{path}");
        }
    }
    assert!(4 <= walked, "{walked}");
    let twice = keyed(chat("0190a8a0-0000-7000-8000-000000000000", "Why?"), KEY);
    let (mut parts, body) = twice.into_parts();
    parts.headers.append("idempotency-key", HeaderValue::from_static("other"));
    app.send(Request::from_parts(parts, body)).await.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
}

#[tokio::test]
async fn a_refusal_that_was_paid_for_comes_again_and_any_other_frees_the_key() {
    let (app, id) = with_result().await;
    app.vision.fails_reply(VisionErrorKind::Refused { category: None }, NOTES_USAGE);
    let refused = app.send(chat(&id, "Why?")).await;
    let again = app.send(chat(&id, "Why?")).await;
    let down = || {
        VisionErrorKind::Upstream(UpstreamError::new(Service::Model, "follow_up", Kind::Unavailable, "down"))
    };
    app.vision.fails_reply(down(), Usage::default());
    let unanswered = app.send(keyed(chat(&id, "Why?"), "down")).await;
    app.vision.replies("So.", &[], NOTES_USAGE);
    let answered = app.send(keyed(chat(&id, "Why?"), "down")).await;

    refused.problem(StatusCode::UNPROCESSABLE_ENTITY, "model_refused");
    again.problem(StatusCode::UNPROCESSABLE_ENTITY, "model_refused");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    unanswered.problem(StatusCode::SERVICE_UNAVAILABLE, "model_unavailable");
    assert_eq!((answered.status, answered.header("idempotency-replayed")), (StatusCode::OK, None));
    assert_eq!(app.vision.talks().len(), 3);
    let bad = upload(&Form::new().frame(b"no picture"));
    app.send(keyed(bad, "upload")).await.problem(StatusCode::UNPROCESSABLE_ENTITY, "frame_not_jpeg");
    let good = app.send(keyed(upload(&Form::frames(1)), "upload")).await;
    assert_eq!(good.status, StatusCode::CREATED, "{good:?}");
}

#[tokio::test]
async fn an_upload_that_storage_or_records_refuse_frees_its_key() {
    for (operation, is_storage) in [("upload_frame", true), ("create_session", false)] {
        for fault in [Fault::Before(Kind::Unavailable), Fault::After(Kind::Unavailable)] {
            let app = TestApp::new();
            let faults = if is_storage { &app.storage.faults } else { &app.records.faults };
            faults.fail_next(operation, fault);

            let failed = app.send(upload(&Form::frames(2))).await;
            assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
            app.assert_empty().await;
            let again = app.send(upload(&Form::frames(2))).await;

            assert_eq!(again.status, StatusCode::CREATED, "{operation} {fault:?} {again:?}");
            assert_eq!(again.header("idempotency-replayed"), None);
            assert_eq!((sessions(&app).await, app.storage.keys().len()), (1, 2));
        }
    }
}

#[tokio::test]
async fn whichever_exchange_breaks_there_is_one_session_and_one_answer() {
    for passing in 0..4 {
        for fault in [Fault::Before(Kind::Unavailable), Fault::After(Kind::Unavailable)] {
            for breaking in 1..=2 {
                let app = TestApp::new();
                for _ in 0..breaking {
                    app.records.faults.fail_after("exchange_entry", passing, fault);
                }

                let first = app.send(upload(&Form::frames(2))).await;
                age(&app, an_hour()).await;
                let again = app.replica().send(upload(&Form::frames(2))).await;

                let outcome = format!("{passing} {fault:?} {breaking}: {first:?} {again:?}");
                assert_eq!(again.status, StatusCode::CREATED, "{outcome}");
                match first.status {
                    StatusCode::CREATED => assert_eq!(first.body, again.body, "{outcome}"),
                    status => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{outcome}"),
                }
                assert_eq!(sessions(&app).await, 1, "{outcome}");
                eventually("nothing else is left", async || (app.storage.keys().len() == 2).then_some(()))
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn without_records_no_key_is_taken_on_trust() {
    let app = TestApp::new();
    app.records.faults.fail_always("entry", Fault::Before(Kind::Unavailable));

    let reply = app.send(upload(&Form::frames(1))).await;

    reply.problem(StatusCode::SERVICE_UNAVAILABLE, "records_unavailable");
    assert_eq!(app.storage.keys(), [""; 0]);
}

#[tokio::test]
async fn an_upload_that_a_process_left_before_its_commit_is_made_anew_and_leaves_nothing() {
    let app = TestApp::new();
    let lease = begun(&app, &asked(None)).await;
    let number = swimcoach::session::FrameNumber::FIRST;
    let left = swimcoach::storage::FramePath::new(lease.id().into(), number);
    app.storage.replace(&lease.id().to_string(), 1, Some(b"left".to_vec())).await;
    assert_eq!(app.storage.keys(), [left.to_string()]);
    let early = app.replica().send(upload(&Form::frames(2))).await;
    early.problem(StatusCode::CONFLICT, "request_under_way");
    age(&app, an_hour()).await;

    let reply = app.replica().send(upload(&Form::frames(2))).await;

    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    assert_ne!(reply.json()["session_id"], lease.id().to_string());
    eventually("nothing else is left", async || (app.storage.keys().len() == 2).then_some(())).await;
    assert!(!lease.fix("late").await.unwrap());
}

#[tokio::test]
async fn an_upload_whose_answer_was_never_kept_is_answered_from_its_record() {
    let app = TestApp::new();
    // The lease is fixed, the session made, and then the process is gone.
    app.records.faults.fail_after("exchange_entry", 2, Fault::Before(Kind::Unavailable));
    app.records.faults.fail_after("exchange_entry", 2, Fault::Before(Kind::Unavailable));
    let first = app.send(upload(&Form::frames(2))).await;
    assert_eq!(first.status, StatusCode::CREATED);
    age(&app, an_hour()).await;

    let other = app.replica().send(upload(&Form::frames(3))).await;
    let again = app.replica().send(upload(&Form::frames(2))).await;

    other.problem(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_mismatch");
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!((sessions(&app).await, app.storage.keys().len()), (1, 2));
    assert_replays(&first, &app.send(upload(&Form::frames(2))).await);
}

#[tokio::test]
async fn what_was_paid_for_is_found_by_who_takes_the_request_over() {
    let (app, id) = with_result().await;
    app.vision.replies("So.", &[], NOTES_USAGE);
    for _ in 0..2 {
        app.records.faults.fail_after("exchange_entry", 1, Fault::Before(Kind::Unavailable));
    }
    let answered = app.send(chat(&id, "Why?")).await;
    assert_eq!(answered.status, StatusCode::OK, "{answered:?}");
    // Somebody else has gone on meanwhile.
    app.vision.replies("Then so.", &[], NOTES_USAGE);
    app.post(&id, "chat", &json!({"message": "And then?"})).await;
    age(&app, an_hour()).await;

    let again = app.replica().send(chat(&id, "Why?")).await;

    assert_eq!((again.status, &again.body), (answered.status, &answered.body));
    assert_eq!(app.vision.talks().len(), 2);

    for _ in 0..2 {
        app.records.faults.fail_after("exchange_entry", 1, Fault::Before(Kind::Unavailable));
    }
    let looked = app.vision.seen().len();
    let started = app.send(keyed(analyze(&id, &Value::Null), "analyze")).await;
    app.settled(&id).await;
    age(&app, an_hour()).await;

    let again = app.replica().send(keyed(analyze(&id, &Value::Null), "analyze")).await;

    assert_eq!((again.status, &again.body), (started.status, &started.body));
    app.settled(&id).await;
    assert_eq!(app.vision.seen().len(), looked + 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_finds_the_answer_when_it_comes_back() {
    let (app, id) = with_result().await;
    app.vision.replies("So.", &[], NOTES_USAGE);
    app.records.faults.fail_next("append_turns", Fault::Hang);
    let hung_up = app.send(chat(&id, "Why?"));
    tokio::select! {
        biased;
        _ = hung_up => panic!("it was answered"),
        () = eventually("it is stored", async || (app.records.faults.count("append_turns") == 1).then_some(())) => {}
    }
    app.send(chat(&id, "Why?")).await.problem(StatusCode::CONFLICT, "request_under_way");

    app.records.faults.release();

    let again = eventually("it is answered", async || {
        let reply = app.send(chat(&id, "Why?")).await;
        (reply.status != StatusCode::CONFLICT).then_some(reply)
    });
    let again = again.await;
    assert_eq!(again.json()["assistant_message"], "So.");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(app.vision.talks().len(), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_uploads_can_send_all_of_it_again() {
    let app = TestApp::new();
    let body = Form::frames(3).body();
    let (half, pieces) = mpsc::channel::<Result<Bytes, Infallible>>(1);
    half.send(Ok(Bytes::copy_from_slice(&body[..body.len() / 2]))).await.unwrap();
    let pieces = stream::unfold(pieces, |mut it| async move { it.recv().await.map(|piece| (piece, it)) });
    let mut hung_up = app.send(keyed(upload_request(Body::from_stream(pieces.boxed())), KEY)).boxed();
    tokio::select! {
        biased;
        _ = &mut hung_up => panic!("it was answered"),
        () = eventually("a frame is stored", async || (!app.storage.keys().is_empty()).then_some(())) => {}
    }

    drop(hung_up);

    let again = eventually("the key is free", async || {
        let reply = app.send(upload(&Form::frames(3))).await;
        (reply.status != StatusCode::CONFLICT).then_some(reply)
    });
    assert_eq!(again.await.status, StatusCode::CREATED);
    assert_eq!((sessions(&app).await, app.storage.keys().len()), (1, 3));
}

#[tokio::test]
async fn a_handler_that_panics_frees_the_key() {
    let (app, id) = with_result().await;
    app.records.faults.fail_next("session", Fault::Panic);
    app.vision.replies("So.", &[], NOTES_USAGE);

    let panicked = app.send(chat(&id, "Why?")).await;

    panicked.problem(StatusCode::INTERNAL_SERVER_ERROR, "internal");
    let again = eventually("the key is free", async || {
        let reply = app.send(chat(&id, "Why?")).await;
        (reply.status != StatusCode::CONFLICT).then_some(reply)
    });
    assert_eq!(again.await.status, StatusCode::OK);
}

#[tokio::test]
async fn nothing_of_a_request_outlives_the_deletion_of_its_session() {
    let (app, id) = with_result().await;
    app.vision.replies("So.", &[], NOTES_USAGE);
    app.send(chat(&id, "Why?")).await;
    let form = Form::frames(1);
    let made =
        app.send(keyed(upload(&form), "upload")).await.json()["session_id"].as_str().unwrap().to_owned();
    assert_eq!(requests(&app).await.len(), 2);
    let late =
        KeyedRequest { session: Some(id.parse().unwrap()), key: "late".to_owned(), ..asked(Some("f")) };
    let late = begun(&app, &late).await;

    app.delete(&id).await;
    app.delete(&made).await;
    let answer =
        KeptAnswer { fingerprint: "f".to_owned(), status: 200, headers: vec![], body: Some("{}".to_owned()) };
    late.answer(answer).await;

    assert_eq!(requests(&app).await, []);
    app.send(chat(&id, "Why?")).await.problem(StatusCode::NOT_FOUND, "session_not_found");
    assert_eq!(app.send(keyed(upload(&form), "upload")).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day_and_no_longer() {
    let app = TestApp::new();
    let first = app.send(upload(&Form::frames(1))).await;

    age(&app, REQUESTS_KEPT - TimeDelta::minutes(1)).await;
    let within = app.send(upload(&Form::frames(1))).await;
    age(&app, TimeDelta::minutes(2)).await;
    let after = app.send(upload(&Form::frames(2))).await;

    assert_replays(&first, &within);
    assert_eq!(after.status, StatusCode::CREATED, "{after:?}");
    assert_eq!(sessions(&app).await, 2);
}

#[tokio::test]
async fn the_same_key_of_somebody_else_is_another_key() {
    let app = TestApp::new();
    let lease = begun(&app, &asked(Some("f"))).await;
    let theirs = KeyedRequest { owner: Owner::new("key:other"), ..asked(Some("g")) };

    let theirs = begun(&app, &theirs).await;

    assert_ne!(lease.id(), theirs.id());
    assert!(requests(&app).await.iter().all(|it| !it.name.contains(KEY)));
}

#[tokio::test]
async fn an_answer_that_is_too_long_to_be_kept_is_not_made_twice() {
    let app = TestApp::new();
    let lease = begun(&app, &asked(Some("f"))).await;
    let body = Some("x".repeat(300 * 1024));
    lease.answer(KeptAnswer { fingerprint: "f".to_owned(), status: 200, headers: vec![], body }).await;

    drop(lease);

    let Begun::Answered(kept) = app.coach.begin_request(&asked(Some("f"))).await.unwrap() else {
        panic!("it is done again");
    };
    assert_eq!(kept.body, None);
    let reply = app.send(upload(&Form::frames(1))).await;
    reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_mismatch");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_long_is_not_taken_over_while_its_process_lives() {
    let app = TestApp::new();
    let lease = begun(&app, &asked(Some("f"))).await;

    tokio::time::sleep(std::time::Duration::from_hours(3)).await;

    let renewed = app.records.faults.count("exchange_entry");
    assert!(10 < renewed, "{renewed}");
    drop(lease);
    let again = eventually("it is given back", async || {
        match app.replica().coach.begin_request(&asked(Some("f"))).await {
            Ok(Begun::Mine(lease)) => Some(lease),
            _ => None,
        }
    });
    assert_eq!(again.await.expected(), Some("f"));
}
