//! What is told of an analysis while it runs, and again afterwards.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::app::{Reply, TestApp, session_path};
use crate::support::event_stream::{SentEvent, events};
use crate::support::faults::Fault;
use crate::support::form::Form;
use crate::support::records;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use swimcoach::analysis::{Finding, MicroUsd, Usage, Warning};
use swimcoach::events::{AnalysisEvent, Happening, Stage};
use swimcoach::metadata::{SessionStore, StartedAnalysis};
use swimcoach::session::{Analysis, AnalysisId, AnalysisOptions, Owner, Session, SessionId};
use swimcoach::upstream::UpstreamErrorKind;
use tokio::time::Instant;

fn path(session: impl ToString + Copy) -> String {
    format!("{}/events", session_path(&session.to_string()))
}

fn listening(method: Method, session: impl ToString + Copy, last: Option<&str>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path(session));
    let request = match last {
        Some(last) => request.header("last-event-id", last),
        None => request,
    };
    request.body(Body::empty()).unwrap()
}

/// The whole stream of an analysis that has ended.
async fn replay(app: &TestApp, session: SessionId, last: Option<&str>) -> Reply {
    app.send(listening(Method::GET, session, last)).await
}

fn finding(id: &str) -> Finding {
    serde_json::from_value(json!({
        "id": id, "kind": "fault", "code": "OTHER", "title": null, "element": "catch", "side": "left",
        "priority": "secondary", "certainty": "high",
        "evidence": [{ "frame": 1, "timestamp_ms": 40, "seen": "The elbow is below the hand.\nIt slips.\r" }],
        "observation": records::DIFFICULT_TEXT, "why_it_matters": "It slips.", "cue": "Elbow high.", "drills": [],
    }))
    .unwrap()
}

/// Something of every sort, a second apart; ends as `last` says.
fn happenings(last: Happening) -> Vec<AnalysisEvent> {
    let progress = |stage| Happening::Progress { stage, look: 1 };
    let what = [
        Happening::Queued,
        progress(Stage::Fetching),
        Happening::Warning(Warning {
            code: "dark".to_owned(),
            detail: "Too dark.".to_owned(),
            frames: vec![],
        }),
        progress(Stage::Writing),
        Happening::Finding(Box::new(finding("f1"))),
        Happening::Resumed { attempt: 2 },
        progress(Stage::Writing),
        Happening::Finding(Box::new(finding("f1"))),
        Happening::Usage(Usage {
            requests: 1,
            output_tokens: 7,
            cost: Some(MicroUsd(11)),
            ..Usage::default()
        }),
        last,
    ];
    let numbered = (1..).zip(what);
    numbered
        .map(|(number, what)| AnalysisEvent { number, at: records::at(1000 * i64::from(number)), what })
        .collect()
}

/// Records an analysis that ended as `end` makes it, with the events that lead there.
async fn ended(app: &TestApp, session: &Session, end: fn(&Analysis, i64) -> Analysis) -> Analysis {
    let analysis = records::analysis(session);
    app.records.start_analysis(&analysis, records::at(0)).await.unwrap();
    let mut analysis = end(&analysis, 20_000);
    let last = analysis.failure.clone().map_or(Happening::Done, Happening::Failed);
    analysis.events = happenings(last);
    app.records.record_analysis(&analysis).await.unwrap();
    analysis
}

async fn stored(app: &TestApp) -> Session {
    let session = records::session(&Owner::local(), 2);
    app.records.create_session(&session).await.unwrap();
    session
}

/// An analysis that began just now.
async fn running(app: &TestApp, session: &Session, events: usize) -> Analysis {
    let now = Utc::now();
    let mut analysis = Analysis { requested_at: now, updated_at: now, ..records::analysis(session) };
    analysis.events = happenings(Happening::Done).into_iter().take(events).collect();
    let started = app.records.start_analysis(&analysis, now - TimeDelta::minutes(1)).await.unwrap();
    assert_eq!(started, StartedAnalysis::Started);
    analysis
}

/// Records that one more thing happened to a running analysis.
async fn goes_on(app: &TestApp, analysis: &mut Analysis, what: Happening) {
    let number = u32::try_from(analysis.events.len()).unwrap() + 1;
    analysis.updated_at += TimeDelta::milliseconds(1);
    analysis.events.push(AnalysisEvent { number, at: records::at(1000 * i64::from(number)), what });
    app.records.record_analysis(analysis).await.unwrap();
}

fn names(events: &[SentEvent]) -> Vec<&str> {
    events.iter().map(|it| it.name.as_str()).collect()
}

#[tokio::test]
async fn everything_that_happened_to_an_analysis_is_told_in_order_under_its_place_in_the_log() {
    let app = TestApp::new();
    let session = stored(&app).await;
    let analysis = ended(&app, &session, records::completed).await;

    let reply = replay(&app, session.id, None).await;

    assert_eq!(reply.status, StatusCode::OK);
    let told = events(&reply.body);
    let ids: Vec<String> = (1..=10).map(|it| format!("{}:{it}", analysis.id)).collect();
    assert_eq!(told.iter().map(|it| it.id.clone()).collect::<Vec<_>>(), ids);
    let at = |number: i64| json!(records::at(1000 * number));
    let usage = json!({
        "requests": 1, "input_tokens": 0, "cache_creation_input_tokens": 0, "cache_creation_5m_input_tokens": 0,
        "cache_creation_1h_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 7, "cost_usd": 0.000_011,
    });
    let expected = [
        ("queued", json!({"analysis_id": analysis.id, "at": at(1)})),
        ("progress", json!({"stage": "fetching", "look": 1, "at": at(2)})),
        ("warning", json!({"code": "dark", "detail": "Too dark.", "frames": []})),
        ("progress", json!({"stage": "writing", "look": 1, "at": at(4)})),
        ("finding", json!(finding("f1"))),
        ("resumed", json!({"attempt": 2, "at": at(6)})),
        ("progress", json!({"stage": "writing", "look": 1, "at": at(7)})),
        ("finding", json!(finding("f1"))),
        ("usage", usage),
        ("done", json!({"analysis_id": analysis.id, "status": "complete", "at": at(10)})),
    ];
    for (event, (name, data)) in told.iter().zip(expected) {
        assert_eq!((event.name.as_str(), &event.data), (name, &data), "{}", event.id);
    }
}

#[tokio::test]
async fn an_analysis_that_failed_ends_with_why_and_whether_asking_again_may_help() {
    let app = TestApp::new();
    let session = stored(&app).await;
    let analysis = ended(&app, &session, records::failed).await;

    let told = events(&replay(&app, session.id, None).await.body);

    let last = told.last().unwrap();
    let expected = json!({
        "analysis_id": analysis.id, "code": "model_unavailable", "detail": records::DIFFICULT_TEXT, "can_resume": true,
        "at": records::at(10_000),
    });
    assert_eq!((last.name.as_str(), &last.data), ("error", &expected));
}

#[tokio::test]
async fn a_stream_that_is_cut_anywhere_goes_on_with_the_next_event_on_any_replica() {
    let app = TestApp::new();
    let session = stored(&app).await;
    ended(&app, &session, records::completed).await;
    let whole = events(&replay(&app, session.id, None).await.body);
    let replica = app.replica();

    for (known, event) in (1..).zip(&whole[..9]) {
        let rest = replay(&replica, session.id, Some(&event.id)).await;

        assert_eq!(events(&rest.body), whole[known..], "after {}", event.id);
    }
    let from_none = replay(&replica, session.id, Some(&whole[0].id.replace(":1", ":0"))).await;
    assert_eq!(events(&from_none.body), whole);
}

#[tokio::test]
async fn a_client_that_knows_everything_is_told_not_to_come_back() {
    let app = TestApp::new();
    let session = stored(&app).await;
    let analysis = ended(&app, &session, records::completed).await;
    let last = format!("{}:10", analysis.id);

    for method in [Method::GET, Method::HEAD] {
        let reply = app.send(listening(method, session.id, Some(&last))).await;

        assert_eq!((reply.status, &reply.body[..]), (StatusCode::NO_CONTENT, &b""[..]));
    }
}

#[tokio::test]
async fn what_is_left_of_an_earlier_analysis_is_told_and_nothing_of_the_next() {
    let app = TestApp::new();
    let session = stored(&app).await;
    let earlier = ended(&app, &session, records::failed).await;
    let latest = ended(&app, &session, records::completed).await;

    let rest = events(&replay(&app, session.id, Some(&format!("{}:8", earlier.id))).await.body);
    let of_the_latest = events(&replay(&app, session.id, None).await.body);

    assert_eq!(names(&rest), ["usage", "error"]);
    assert!(rest.iter().all(|it| it.id.starts_with(&earlier.id.to_string())));
    assert!(of_the_latest.iter().all(|it| it.id.starts_with(&latest.id.to_string())));
}

#[tokio::test]
async fn a_place_that_is_none_is_refused_with_what_one_looks_like() {
    let app = TestApp::new();
    let session = stored(&app).await;
    let analysis = ended(&app, &session, records::completed).await.id;
    let upper_case = format!("{}:1", analysis.to_string().to_uppercase());
    let wrong = [
        "",
        "1",
        "x",
        ":",
        ":1",
        &format!("{analysis}"),
        &format!("{analysis}:"),
        &format!("{analysis}:-1"),
        &format!("{analysis}:x"),
        &format!("{analysis}:4294967296"),
        &format!("{analysis}:1:1"),
        &upper_case,
        "é:1",
    ];
    for last in wrong {
        let reply = replay(&app, session.id, Some(last)).await;

        let problem = reply.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "/headers/last-event-id", "{last}");
        assert!(problem["detail"].as_str().unwrap().contains("a colon and a number"), "{problem}");
    }
}

#[tokio::test]
async fn there_is_nothing_to_hear_of_what_is_not_there_is_anothers_or_was_not_asked_for() {
    let app = TestApp::new();
    let session = stored(&app).await;
    let anothers = records::session(&Owner::new("another"), 1);
    app.records.create_session(&anothers).await.unwrap();
    ended(&app, &anothers, records::completed).await;

    replay(&app, session.id, None).await.problem(StatusCode::CONFLICT, "not_analyzed");
    for id in [anothers.id, SessionId::new()] {
        replay(&app, id, None).await.problem(StatusCode::NOT_FOUND, "session_not_found");
    }
    app.get(&path("x")).await.problem(StatusCode::NOT_FOUND, "not_found");
    app.records.faults.fail_next("session", Fault::Before(UpstreamErrorKind::Unavailable));
    let outage = replay(&app, session.id, None).await;
    outage.problem(StatusCode::SERVICE_UNAVAILABLE, "records_unavailable");
}

#[tokio::test]
async fn nothing_on_the_way_is_to_hold_events_back_or_keep_them() {
    let app = TestApp::new();
    let session = stored(&app).await;
    ended(&app, &session, records::completed).await;

    let reply = replay(&app, session.id, None).await;
    let head = app.send(listening(Method::HEAD, session.id, None)).await;

    for reply in [&reply, &head] {
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("content-type"), Some("text/event-stream"));
        assert_eq!(reply.header("cache-control"), Some("no-cache, no-transform"));
        assert_eq!(reply.header("x-accel-buffering"), Some("no"));
        assert_eq!(reply.header("content-length"), None);
    }
    assert!(reply.body.starts_with(b"retry: 3000\n\n"), "{reply:?}");
    assert!(head.body.is_empty());
}

#[tokio::test(start_paused = true)]
async fn events_come_as_they_are_stored_until_the_last_one() {
    let app = TestApp::new();
    let session = stored(&app).await;
    let mut analysis = running(&app, &session, 1).await;
    let mut early = app.open(listening(Method::GET, session.id, None)).await;
    assert_eq!(early.next().await.unwrap().name, "queued");

    goes_on(&app, &mut analysis, Happening::Progress { stage: Stage::Sent, look: 1 }).await;
    let progress = early.next().await.unwrap();
    let mut late = app.replica().open(listening(Method::GET, session.id, Some(&progress.id))).await;
    goes_on(&app, &mut analysis, Happening::Finding(Box::new(finding("f1")))).await;
    let (told_early, told_late) = (early.next().await.unwrap(), late.next().await.unwrap());
    let mut analysis = records::completed(&analysis, 0);
    analysis.updated_at = Utc::now() + TimeDelta::seconds(1);
    goes_on(&app, &mut analysis, Happening::Done).await;

    assert_eq!(progress.data["stage"], "sent");
    assert_eq!(told_early, told_late);
    assert_eq!(told_early.name, "finding");
    for stream in [&mut early, &mut late] {
        assert_eq!(stream.next().await.unwrap().name, "done");
        assert_eq!(stream.next().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_says_every_fifteen_seconds_that_it_is_there() {
    let app = TestApp::new();
    let session = stored(&app).await;
    let analysis = running(&app, &session, 1).await;
    let last = format!("{}:1", analysis.id);
    let mut stream = app.open(listening(Method::GET, session.id, Some(&last))).await;
    assert_eq!(stream.block().await.unwrap(), "retry: 3000");
    let start = Instant::now();

    for beats in 1..=20 {
        assert_eq!(stream.block().await.unwrap(), ":");

        let passed = start.elapsed().as_secs();
        assert!((15 * beats..15 * beats + 2).contains(&passed), "the {beats}. after {passed} s");
    }
}

#[tokio::test]
async fn a_stop_ends_streams_that_would_go_on() {
    let app = TestApp::new();
    let session = stored(&app).await;
    running(&app, &session, 1).await;
    let mut stream = app.open(listening(Method::GET, session.id, None)).await;
    assert_eq!(stream.next().await.unwrap().name, "queued");

    app.draining.cancel();

    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_ends_the_streams_about_the_session() {
    let app = TestApp::new();
    let session = stored(&app).await;
    running(&app, &session, 1).await;
    let mut stream = app.open(listening(Method::GET, session.id, None)).await;
    assert_eq!(stream.next().await.unwrap().name, "queued");

    app.delete(&session.id.to_string()).await;

    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn whoever_looks_sees_as_much_progress_as_whoever_listens() {
    let app = TestApp::new();
    let session = stored(&app).await;
    let id = session.id.to_string();
    let now = Utc::now();
    let options = AnalysisOptions { samples: 3, ..AnalysisOptions::default() };
    let analysis = records::analysis(&session);
    let mut analysis = Analysis { requested_at: now, updated_at: now, options, ..analysis };
    app.records.start_analysis(&analysis, now - TimeDelta::minutes(1)).await.unwrap();
    let progress = async || app.show(&id).await.json()["progress"].clone();
    let expected = |stage, look, findings, number: i64| {
        let at = records::at(1000 * number);
        json!({"stage": stage, "look": look, "samples": 3, "attempt": 1, "findings": findings, "at": at})
    };
    let mut seen = vec![(progress().await["stage"].clone(), json!("queued"))];
    let steps = [
        (Happening::Queued, expected("queued", 1, 0, 1)),
        (Happening::Progress { stage: Stage::Thinking, look: 2 }, expected("thinking", 2, 0, 2)),
        (Happening::Finding(Box::new(finding("f1"))), expected("thinking", 2, 1, 2)),
        (Happening::Resumed { attempt: 2 }, expected("queued", 1, 0, 4)),
        (Happening::Progress { stage: Stage::Checked, look: 1 }, expected("checked", 1, 0, 5)),
    ];

    for (what, expected) in steps {
        goes_on(&app, &mut analysis, what).await;
        seen.push((progress().await, expected));
    }

    for (seen, expected) in seen {
        assert_eq!(seen, expected);
    }
    let mut analysis = records::completed(&analysis, 0);
    analysis.updated_at = Utc::now() + TimeDelta::seconds(1);
    goes_on(&app, &mut analysis, Happening::Done).await;
    assert_eq!(progress().await, Value::Null);
}

#[tokio::test]
async fn an_analysis_without_events_from_before_there_were_any_leaves_nothing_to_wait_for() {
    let app = TestApp::new();
    let session = stored(&app).await;
    let analysis = records::analysis(&session);
    app.records.start_analysis(&analysis, records::at(0)).await.unwrap();
    app.records.record_analysis(&records::completed(&analysis, 1)).await.unwrap();

    let reply = replay(&app, session.id, None).await;

    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(app.show(&session.id.to_string()).await.json()["progress"], Value::Null);
}

#[tokio::test]
async fn a_place_in_a_log_that_is_not_of_this_session_counts_as_none() {
    let app = TestApp::new();
    let session = stored(&app).await;
    ended(&app, &session, records::completed).await;
    let whole = replay(&app, session.id, None).await;

    let unknown = replay(&app, session.id, Some(&format!("{}:7", AnalysisId::new()))).await;

    assert_eq!(unknown.body, whole.body);
}

#[tokio::test(start_paused = true)]
async fn whoever_listens_from_the_start_hears_what_whoever_comes_later_is_told() {
    let app = TestApp::new();
    app.vision.hold();
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;
    app.analyze(&id, Value::Null).await;
    app.vision.began(1).await;
    let mut here = app.open(listening(Method::GET, &id, None)).await;
    let mut elsewhere = app.replica().open(listening(Method::GET, &id, None)).await;

    app.vision.release();
    let (mut heard_here, mut heard_elsewhere) = (Vec::new(), Vec::new());
    while let Some(event) = here.next().await {
        heard_here.push(event);
    }
    while let Some(event) = elsewhere.next().await {
        heard_elsewhere.push(event);
    }

    assert_eq!((heard_here[0].name.as_str(), heard_here.last().unwrap().name.as_str()), ("queued", "done"));
    assert!(names(&heard_here).contains(&"usage"));
    assert_eq!(heard_elsewhere, heard_here);
    assert_eq!(events(&app.send(listening(Method::GET, &id, None)).await.body), heard_here);
}
