//! Analyses outlive the process that runs them: taken up where they were left, asked for once, paid for once.

use crate::support::app::TestApp;
use crate::support::eventually::eventually;
use crate::support::faults::Fault;
use crate::support::form::Form;
use crate::support::pictures;
use crate::support::records;
use crate::support::scripted_vision::LOOK_USAGE;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use swimcoach::analysis::{MicroUsd, Usage};
use swimcoach::coach::{AnalysisRequest, CoachError};
use swimcoach::events::{Happening, Stage};
use swimcoach::ledger::Month;
use swimcoach::metadata::{SessionStore, StartedAnalysis};
use swimcoach::session::{Analysis, AnalysisOptions, AnalysisStatus, Owner};
use swimcoach::upstream::UpstreamErrorKind as Kind;
use swimcoach::vision::VisionErrorKind;

/// The latest analysis of a session by its record.
pub(super) async fn recorded(app: &TestApp, session: &str) -> Analysis {
    let id = session.parse().unwrap();
    let record = app.records.inner.session(&Owner::local(), id).await.unwrap().unwrap();
    record.analyses.last().unwrap().clone()
}

/// Waits until the record of the latest analysis is as it should be.
pub(super) async fn recorded_when(
    app: &TestApp,
    session: &str,
    what: &str,
    is: impl Fn(&Analysis) -> bool,
) -> Analysis {
    eventually(what, async || Some(recorded(app, session).await).filter(|it| is(it))).await
}

/// An analysis whose process was killed an hour ago.
pub(super) async fn left_behind(
    app: &TestApp,
    session: &str,
    change: impl FnOnce(&mut Analysis),
) -> Analysis {
    let record = app.records.inner.session(&Owner::local(), session.parse().unwrap()).await.unwrap().unwrap();
    let mut left = Analysis {
        requested_at: an_hour_ago(),
        updated_at: an_hour_ago(),
        user_notes: None,
        ..records::analysis(&record.session)
    };
    change(&mut left);
    start(app, &left).await;
    left
}

async fn start(app: &TestApp, state: &Analysis) {
    let started = app.records.inner.start_analysis(state, Utc::now()).await.unwrap();
    assert_eq!(started, StartedAnalysis::Started);
}

pub(super) fn an_hour_ago() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(Utc::now().timestamp_millis()).unwrap() - TimeDelta::hours(1)
}

/// What a request asks for that wants several looks.
pub(super) fn looks(samples: u8) -> AnalysisRequest {
    let options = AnalysisOptions { samples, ..AnalysisOptions::default() };
    AnalysisRequest { options, ..AnalysisRequest::default() }
}

/// The ways in which an analysis that was left behind is found.
const WAYS: [&str; 3] = ["the scan", "a read", "a request to analyze"];

async fn find_again(app: &TestApp, session: &str, way: &str) {
    match way {
        "the scan" => drop(app.coach.take_up_left_behind().await.unwrap()),
        "a read" => assert_eq!(app.show(session).await.json()["status"], "processing"),
        _ => assert_eq!(app.analyze(session, Value::Null).await.status, StatusCode::ACCEPTED),
    }
}

#[tokio::test]
async fn an_analysis_whose_process_was_killed_is_taken_up_in_any_way_it_is_met() {
    for way in WAYS {
        let app = TestApp::new();
        app.vision.finds();
        let id = app.uploaded(Form::frames(15)).await;
        let left = left_behind(&app, &id, |_| {}).await;

        find_again(&app, &id, way).await;

        let detail = app.settled(&id).await;
        assert_eq!(detail["status"], "complete", "{way}: {detail:#}");
        assert_eq!(detail["analysis"]["analysis_id"], left.id.to_string());
        let ended = recorded(&app, &id).await;
        assert_eq!((ended.attempt, ended.model.as_deref()), (2, Some("scripted-model-1")));
        assert_eq!(ended.events[0].what, Happening::Resumed { attempt: 2 });
        assert_eq!(app.vision.seen().len(), 1);
    }
}

#[tokio::test]
async fn looks_that_were_paid_for_before_the_process_was_killed_are_not_paid_for_again() {
    for way in WAYS {
        let one = TestApp::new();
        for _ in 0..3 {
            one.vision.finds();
        }
        one.vision.hold();
        let id = one.uploaded(Form::frames(15)).await;
        one.coach.analyze(&Owner::local(), id.parse().unwrap(), looks(3)).await.unwrap();
        one.vision.began(1).await;
        one.vision.tells(|it| it.stage = Some(Stage::Writing));
        one.vision.began(3).await;
        one.vision.release();
        recorded_when(&one, &id, "an answer is kept", |it| it.looks.len() == 1).await;
        assert!(one.coach.shut_down(Duration::ZERO).await);
        let given_back = recorded(&one, &id).await;
        assert_eq!(given_back.status, AnalysisStatus::Queued);
        let status = AnalysisStatus::Processing;
        start(&one, &Analysis { attempt: 2, updated_at: an_hour_ago(), status, ..given_back.clone() }).await;
        let other = one.replica();

        find_again(&other, &id, way).await;
        other.vision.began(4).await;
        for _ in 0..2 {
            other.vision.release();
        }

        let detail = other.settled(&id).await;
        assert_eq!(detail["status"], "complete", "{way}: {detail:#}");
        let ended = recorded(&other, &id).await;
        assert_eq!(ended.looks, Vec::<Value>::new());
        assert_eq!(ended.usage.requests, 3);
        assert_eq!(other.vision.seen().len(), 5, "two of the looks were cut");
        let findings = ended.events.iter().filter(|it| matches!(it.what, Happening::Finding(_)));
        assert_eq!(findings.count(), 2, "told once by each attempt");
    }
}

#[tokio::test]
async fn looks_of_another_model_are_asked_for_again() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;
    let answer: Value = serde_json::from_str(include_str!("../fixtures/analysis.example.json")).unwrap();
    let kept = json!({ "model": "another", "prompt_version": "prompt-7", "answer": answer });
    left_behind(&app, &id, |it| it.looks = vec![kept]).await;

    app.show(&id).await;

    assert_eq!(app.settled(&id).await["status"], "complete");
    assert_eq!(app.vision.seen().len(), 1);
}

#[tokio::test]
async fn of_many_who_meet_a_left_behind_analysis_at_once_on_two_replicas_one_takes_it_up() {
    for _ in 0..10 {
        let one = TestApp::new();
        let other = one.replica();
        one.vision.finds();
        one.vision.hold();
        let id = one.uploaded(Form::frames(2)).await;
        left_behind(&one, &id, |_| {}).await;

        let meetings = (0..12).map(|n| find_again([&one, &other][n % 2], &id, WAYS[n / 2 % 3]));
        join_all(meetings).await;
        one.vision.release();

        assert_eq!(other.settled(&id).await["status"], "complete");
        assert!(one.coach.shut_down(Duration::from_secs(10)).await);
        assert!(other.coach.shut_down(Duration::from_secs(10)).await);
        assert_eq!(one.vision.seen().len(), 1);
        assert_eq!(recorded(&one, &id).await.attempt, 2);
    }
}

#[tokio::test]
async fn an_analysis_that_was_begun_five_times_or_a_day_ago_is_given_up_and_can_be_asked_for_again() {
    for way in ["the scan", "a read"] {
        for (attempt, age) in [(5, TimeDelta::hours(1)), (1, TimeDelta::hours(25))] {
            let app = TestApp::new();
            app.vision.finds();
            let id = app.uploaded(Form::frames(2)).await;
            let left = left_behind(&app, &id, |it| {
                (it.attempt, it.requested_at) = (attempt, Utc::now() - age);
            })
            .await;
            let shown = match way {
                "the scan" => {
                    app.coach.take_up_left_behind().await.unwrap();
                    app.show(&id).await.json()
                }
                _ => app.show(&id).await.json(),
            };

            assert_eq!(shown["status"], "failed", "{way}");
            assert_eq!(shown["error_code"], "interrupted");
            assert_eq!(shown["can_resume"], true);
            let ended = recorded_when(&app, &id, "the end is recorded", Analysis::has_ended).await;
            assert_eq!(ended.failure, recorded(&app, &id).await.failure);
            assert_eq!(app.vision.seen(), []);
            let again = app.analyzed(&id).await;
            assert_eq!(again["status"], "complete");
            assert_ne!(again["analysis"]["analysis_id"], left.id.to_string());
        }
    }
}

#[tokio::test]
async fn a_request_to_analyze_what_was_given_up_starts_another_analysis() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(2)).await;
    let left = left_behind(&app, &id, |it| it.attempt = 5).await;

    let reply = app.analyze(&id, Value::Null).await;

    assert_ne!(reply.json()["analysis_id"], left.id.to_string());
    assert_eq!(app.settled(&id).await["status"], "complete");
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_an_analysis_its_time_and_then_gives_it_back_so_that_another_process_goes_on() {
    let one = TestApp::new();
    one.vision.hold();
    one.vision.finds();
    let id = one.uploaded(Form::frames(2)).await;
    one.analyze(&id, Value::Null).await;
    one.vision.began(1).await;
    let start = tokio::time::Instant::now();

    assert!(one.coach.shut_down(Duration::from_secs(30)).await);

    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(recorded(&one, &id).await.status, AnalysisStatus::Queued);
    assert_eq!(one.show(&id).await.json()["status"], "processing");
    let other = one.replica();
    other.coach.take_up_left_behind().await.unwrap();
    other.vision.began(2).await;
    other.vision.release();
    assert_eq!(other.settled(&id).await["status"], "complete");
    assert_eq!(recorded(&other, &id).await.attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn an_analysis_that_waits_for_its_turn_does_not_begin_once_the_service_stops_and_is_given_back() {
    let app = TestApp::with(|it| it.jobs.max_running = 1);
    app.vision.finds();
    app.vision.hold();
    let [running, waiting] = [app.uploaded(Form::frames(2)).await, app.uploaded(Form::frames(2)).await];
    app.analyze(&running, Value::Null).await;
    app.vision.began(1).await;
    app.analyze(&waiting, Value::Null).await;
    let release = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(recorded(&app, &waiting).await.status, AnalysisStatus::Queued, "at once");
        app.vision.release();
    };

    let (ended, ()) = tokio::join!(app.coach.shut_down(Duration::from_secs(30)), release);

    assert!(ended);
    assert_eq!(app.show(&running).await.json()["status"], "complete");
    assert_eq!(app.show(&waiting).await.json()["status"], "processing");
    assert_eq!(app.vision.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_cannot_renew_stops_asking_and_the_analysis_goes_on_when_records_are_back() {
    let app = TestApp::with(|it| it.jobs.stale_after = Duration::from_mins(1));
    app.vision.hold();
    app.vision.finds();
    let id = app.uploaded(Form::frames(2)).await;
    app.analyze(&id, Value::Null).await;
    app.vision.began(1).await;
    app.records.faults.fail_always("record_analysis", Fault::Before(Kind::Unavailable));
    app.vision.tells(|it| it.usage = LOOK_USAGE);
    tokio::time::sleep(Duration::from_secs(70)).await;

    app.records.faults.heal();
    let given_back = recorded_when(&app, &id, "it is given back", |it| it.status == AnalysisStatus::Queued);
    assert_eq!(given_back.await.usage, LOOK_USAGE);
    app.show(&id).await;
    app.vision.began(2).await;
    app.vision.release();

    assert_eq!(app.settled(&id).await["status"], "complete");
    assert_eq!(recorded(&app, &id).await.usage.requests, 2);
}

#[tokio::test(start_paused = true)]
async fn records_that_are_down_for_less_than_the_lease_stop_nothing_and_no_event_is_lost() {
    let app = TestApp::with(|it| it.jobs.stale_after = Duration::from_mins(1));
    app.vision.hold();
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;
    app.analyze(&id, Value::Null).await;
    app.vision.began(1).await;
    app.records.faults.fail_always("record_analysis", Fault::Before(Kind::Unavailable));
    for stage in [Stage::Sent, Stage::Thinking, Stage::Writing] {
        app.vision.tells(|it| it.stage = Some(stage));
        tokio::time::sleep(Duration::from_secs(15)).await;
    }

    app.records.faults.heal();
    app.vision.release();
    tokio::time::sleep(Duration::from_secs(15)).await;

    assert_eq!(app.settled(&id).await["status"], "complete");
    let ended = recorded(&app, &id).await;
    assert_eq!(ended.attempt, 1);
    let stages: Vec<Stage> = ended
        .events
        .iter()
        .filter_map(|it| match it.what {
            Happening::Progress { stage, .. } => Some(stage),
            _ => None,
        })
        .collect();
    assert_eq!(stages, [Stage::Fetching, Stage::Checked, Stage::Sent, Stage::Thinking, Stage::Writing]);
    assert_eq!(app.vision.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn states_are_written_once_a_second_at_the_most() {
    let app = TestApp::new();
    app.vision.hold();
    app.vision.finds();
    let id = app.uploaded(Form::frames(2)).await;
    app.analyze(&id, Value::Null).await;
    app.vision.began(1).await;

    for n in 0..100 {
        let stage = if n % 2 == 0 { Stage::Thinking } else { Stage::Writing };
        app.vision.tells(|it| it.stage = Some(stage));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let writes = app.records.faults.count("record_analysis");
    assert!((9..=11).contains(&writes), "{writes}");
    app.vision.release();
    app.settled(&id).await;
    let ended = recorded(&app, &id).await;
    assert!(100 < ended.events.len());
    assert!(ended.events.iter().zip(1..).all(|(it, number)| it.number == number));
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_analysis_was_taken_up_elsewhere_stops_with_its_next_write() {
    let app = TestApp::new();
    app.vision.hold();
    let id = app.uploaded(Form::frames(2)).await;
    app.analyze(&id, Value::Null).await;
    app.vision.began(1).await;
    let running = recorded(&app, &id).await;
    let later = Analysis { attempt: 2, runner: Some(uuid::Uuid::new_v4()), ..running };
    let started = app.records.inner.start_analysis(&later, Utc::now() + TimeDelta::minutes(1)).await.unwrap();
    assert_eq!(started, StartedAnalysis::Started);

    app.vision.tells(|it| it.stage = Some(Stage::Thinking));

    assert!(app.coach.shut_down(Duration::from_secs(5)).await);
    assert_eq!(recorded(&app, &id).await, later);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_behind_while_the_service_runs_is_found_after_a_while() {
    let app = TestApp::with(|it| it.jobs.stale_after = Duration::from_mins(1));
    app.vision.finds();
    app.coach.watch_for_left_behind();
    let id = app.uploaded(Form::frames(2)).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    left_behind(&app, &id, |_| {}).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(recorded(&app, &id).await.attempt, 1);

    tokio::time::sleep(Duration::from_secs(20)).await;

    recorded_when(&app, &id, "it was taken up", |it| it.status == AnalysisStatus::Complete).await;
    assert!(app.coach.shut_down(Duration::ZERO).await, "the scan ends with the service");
}

#[tokio::test(start_paused = true)]
async fn records_that_should_sleep_are_not_asked_while_nothing_runs() {
    let app = TestApp::with(|it| {
        it.jobs.stale_after = Duration::from_mins(1);
        it.jobs.scan_when_idle = false;
    });
    app.vision.hold();
    app.vision.finds();
    app.coach.watch_for_left_behind();
    let id = app.uploaded(Form::frames(2)).await;
    let scans = || app.records.faults.count("unfinished_analyses");

    tokio::time::sleep(Duration::from_secs(630)).await;
    assert_eq!(scans(), 1, "the one at the start");
    app.analyze(&id, Value::Null).await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    let while_running = scans();
    app.vision.release();
    app.settled(&id).await;
    tokio::time::sleep(Duration::from_mins(10)).await;

    assert_eq!(while_running, 11);
    assert_eq!(scans(), 11);
}

#[tokio::test]
async fn one_caller_has_no_more_places_than_one_may_have() {
    let app = TestApp::with(|it| it.jobs.max_of_caller = 2);
    app.vision.hold();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(app.uploaded(Form::frames(1)).await);
    }
    for id in &ids[..2] {
        assert_eq!(app.analyze(id, Value::Null).await.status, StatusCode::ACCEPTED);
    }

    let refused = app.coach.analyze(&Owner::local(), ids[2].parse().unwrap(), looks(1)).await;

    assert!(matches!(refused, Err(CoachError::CallerBusy { max: 2 })), "{refused:?}");
    assert_eq!(app.show(&ids[2]).await.json()["status"], "pending");
}

#[tokio::test]
async fn a_left_behind_analysis_for_which_there_is_no_place_waits_and_is_no_error() {
    let app = TestApp::with(|it| {
        it.jobs.max_running = 1;
        it.jobs.max_waiting = 0;
    });
    app.vision.hold();
    for _ in 0..2 {
        app.vision.finds();
    }
    let [running, left] = [app.uploaded(Form::frames(1)).await, app.uploaded(Form::frames(2)).await];
    app.analyze(&running, Value::Null).await;
    app.vision.began(1).await;
    left_behind(&app, &left, |_| {}).await;

    assert!(app.coach.take_up_left_behind().await.unwrap(), "it is worth looking again");
    let reply = app.analyze(&left, Value::Null).await;

    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert_eq!(recorded(&app, &left).await.attempt, 1);
    app.vision.release();
    app.settled(&running).await;
    app.vision.release();
    assert_eq!(app.settled(&left).await["status"], "complete");
}

#[tokio::test]
async fn the_other_looks_begin_once_the_first_one_is_being_answered() {
    let app = TestApp::new();
    for _ in 0..3 {
        app.vision.finds();
    }
    app.vision.hold();
    let id = app.uploaded(Form::frames(15)).await;
    app.coach.analyze(&Owner::local(), id.parse().unwrap(), looks(3)).await.unwrap();
    app.vision.began(1).await;
    app.vision.tells(|it| it.stage = Some(Stage::Sent));
    recorded_when(&app, &id, "it is sent", |it| {
        it.events.iter().any(|it| matches!(it.what, Happening::Progress { stage: Stage::Sent, .. }))
    })
    .await;
    assert_eq!(app.vision.seen().len(), 1);

    app.vision.tells(|it| it.stage = Some(Stage::Thinking));

    app.vision.began(3).await;
    for _ in 0..3 {
        app.vision.release();
    }
    assert_eq!(app.settled(&id).await["status"], "complete");
    assert_eq!(recorded(&app, &id).await.usage.requests, 3);
}

#[tokio::test]
async fn a_first_look_that_fails_before_it_is_answered_costs_no_others() {
    let app = TestApp::new();
    app.vision.fails(VisionErrorKind::Refused { category: None }, Usage::default());
    let id = app.uploaded(Form::frames(15)).await;

    app.coach.analyze(&Owner::local(), id.parse().unwrap(), looks(5)).await.unwrap();

    assert_eq!(app.settled(&id).await["error_code"], "model_refused");
    assert_eq!(app.vision.seen().len(), 1);
}

#[tokio::test]
async fn looks_that_came_through_stand_where_another_failed() {
    let app = TestApp::new();
    app.vision.finds();
    app.vision.fails(VisionErrorKind::CutOff, LOOK_USAGE);
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;

    app.coach.analyze(&Owner::local(), id.parse().unwrap(), looks(3)).await.unwrap();

    let detail = app.settled(&id).await;
    assert_eq!(detail["status"], "failed");
    assert_eq!(detail["error_code"], "model_cut_off");
    assert_eq!((&detail["partial"], &detail["can_resume"]), (&json!(true), &json!(true)));
    assert!(detail["error"].as_str().unwrap().starts_with("Only 2 of 3 looks came through"), "{detail:#}");
    assert_ne!(detail["feedback"], json!([]));
    assert_eq!(detail["usage"]["requests"], 3);
}

#[tokio::test]
async fn frames_that_repeat_an_earlier_one_are_left_out_when_asked_and_that_is_said() {
    for leaves_out in [false, true] {
        let app = TestApp::new();
        app.vision.finds();
        let frames = [1, 2, 2, 3, 3, 3, 4].map(|seed| pictures::jpeg(320, 240, seed));
        let id = app.uploaded(frames.iter().fold(Form::new(), |form, it| form.frame(it))).await;
        let options = AnalysisOptions { leave_out_near_duplicates: leaves_out, ..AnalysisOptions::default() };
        let request = AnalysisRequest { options, ..AnalysisRequest::default() };

        app.coach.analyze(&Owner::local(), id.parse().unwrap(), request).await.unwrap();

        let detail = app.settled(&id).await;
        let shown: Vec<u16> = app.vision.seen()[0].frames.iter().map(|it| it.0).collect();
        let warnings = detail["analysis"]["warnings"].as_array().unwrap();
        let said = warnings.iter().find(|it| it["code"] == "near_duplicates_left_out");
        let left_out: Vec<u16> = recorded(&app, &id).await.left_out.iter().map(|it| it.get()).collect();
        if leaves_out {
            assert_eq!(shown, [1, 2, 4, 7]);
            assert_eq!(left_out, [3, 5, 6]);
            assert_eq!(said.unwrap()["frames"], json!([3, 5, 6]));
        } else {
            assert_eq!(shown, [1, 2, 3, 4, 5, 6, 7]);
            assert_eq!(left_out, [0; 0]);
            assert_eq!(said, None);
        }
        assert_eq!(detail["analysis"]["capture"]["frames_sent"], shown.len());
    }
}

#[tokio::test]
async fn where_a_budget_is_set_a_look_that_broke_off_is_asked_for_again_within_the_budget() {
    // A look at two frames costs 2000 micro-USD at the most.
    for (budget, outcome) in [(10_000, "complete"), (3_000, "budget_spent")] {
        let app = TestApp::with(|it| it.budgets.caller = Some(MicroUsd(budget)));
        let half = Usage { cost: Some(MicroUsd(1_500)), requests: 1, ..Usage::default() };
        app.vision.fails(VisionErrorKind::OverAllowance, half);
        app.vision.finds();
        let id = app.uploaded(Form::frames(2)).await;

        let detail = app.analyzed(&id).await;

        let ended = detail["error_code"].as_str().or(detail["status"].as_str());
        assert_eq!(ended, Some(outcome), "{detail:#}");
        assert!(app.vision.allowances().iter().all(|it| *it == MicroUsd(2_000)));
    }
}

#[tokio::test]
async fn a_model_that_breaks_off_again_and_again_is_not_asked_until_the_budget_is_spent() {
    let app = TestApp::with(|it| it.budgets.service = Some(MicroUsd(1_000_000)));
    let half = Usage { cost: Some(MicroUsd(1_500)), requests: 1, ..Usage::default() };
    for _ in 0..3 {
        app.vision.fails(VisionErrorKind::OverAllowance, half);
    }
    let id = app.uploaded(Form::frames(2)).await;

    let detail = app.analyzed(&id).await;

    assert_eq!(detail["error_code"], "model_unavailable");
    assert_eq!(detail["usage"]["requests"], 3);
}

#[tokio::test]
async fn what_was_reserved_by_clicks_that_started_nothing_is_given_back() {
    let one = TestApp::with(|it| it.budgets.caller = Some(MicroUsd(1_000_000)));
    let other = one.replica();
    one.vision.finds();
    // A click after the end would rightly ask for another analysis.
    one.vision.hold();
    let id = one.uploaded(Form::frames(2)).await;

    join_all((0..10).map(|n| [&one, &other][n % 2].analyze(&id, Value::Null))).await;
    one.vision.release();

    assert_eq!(one.settled(&id).await["status"], "complete");
    for app in [&one, &other] {
        assert!(app.coach.shut_down(Duration::from_secs(5)).await);
    }
    let used = one.coach.usage(&Owner::local(), Month::of(Utc::now())).await.unwrap().used;
    assert_eq!((used.reserved, used.usage), (MicroUsd(0), LOOK_USAGE));
    assert_eq!(used.storage.class_b, 2);
}

#[tokio::test]
async fn an_analysis_that_no_budget_has_room_for_is_not_taken_up_and_ends() {
    let app = TestApp::with(|it| it.budgets.caller = Some(MicroUsd(1_999)));
    let id = app.uploaded(Form::frames(2)).await;
    left_behind(&app, &id, |_| {}).await;

    app.coach.take_up_left_behind().await.unwrap();

    let detail = app.show(&id).await.json();
    assert_eq!(detail["error_code"], "budget_spent");
    assert_eq!(app.vision.seen(), []);
}
