//! An analysis is cancelled: at once, at whatever replica, and what it cost is counted.

use super::durable::{left_behind, recorded, recorded_when};
use crate::support::app::TestApp;
use crate::support::faults::Fault;
use crate::support::form::Form;
use crate::support::scripted_vision::LOOK_USAGE;
use serde_json::Value;
use std::time::Duration;
use swimcoach::analysis::{MicroUsd, Usage};
use swimcoach::coach::CoachError;
use swimcoach::events::Happening;
use swimcoach::ledger::Month;
use swimcoach::session::{Analysis, AnalysisStatus, Owner, SessionId};
use swimcoach::upstream::UpstreamErrorKind as Kind;

async fn cancel(app: &TestApp, session: &str) -> Result<Analysis, CoachError> {
    app.coach.cancel(&Owner::local(), session.parse().unwrap()).await
}

/// A session whose analysis asks the model, which says that it has cost something.
async fn under_way(app: &TestApp) -> String {
    app.vision.hold();
    let id = app.uploaded(Form::frames(15)).await;
    app.analyze(&id, Value::Null).await;
    app.vision.began(1).await;
    app.vision.tells(|it| it.usage = LOOK_USAGE);
    id
}

async fn spent(app: &TestApp) -> u32 {
    let month = Month::of(chrono::Utc::now());
    app.coach.usage(&Owner::local(), month).await.unwrap().used.usage.requests
}

#[tokio::test(start_paused = true)]
async fn cancelling_stops_the_asking_at_once_and_counts_what_it_cost() {
    let app = TestApp::new();
    let id = under_way(&app).await;

    let ended = cancel(&app, &id).await.unwrap();

    let failure = ended.failure.as_ref().unwrap();
    assert_eq!((failure.code.as_str(), failure.can_resume), ("cancelled", true));
    assert_eq!(ended.usage, LOOK_USAGE);
    assert_eq!(ended.events.last().unwrap().what, Happening::Failed(failure.clone()));
    assert_eq!(recorded(&app, &id).await, ended);
    let detail = app.show(&id).await.json();
    assert_eq!((&detail["status"], &detail["error_code"]), (&"failed".into(), &"cancelled".into()));
    assert!(app.coach.shut_down(Duration::ZERO).await);
    assert_eq!(spent(&app).await, 1);
}

#[tokio::test]
async fn a_cancelled_asking_takes_no_answer_away_from_the_next_one() {
    let app = TestApp::new();
    let id = under_way(&app).await;
    cancel(&app, &id).await.unwrap();

    app.vision.finds();
    app.vision.release();

    assert_eq!(app.analyzed(&id).await["status"], "complete");
    assert_eq!(app.vision.seen().len(), 2);
}

#[tokio::test]
async fn an_analysis_that_waits_for_its_turn_is_cancelled_without_asking_anybody() {
    let app = TestApp::with(|it| it.jobs.max_running = 1);
    let running = under_way(&app).await;
    let waiting = app.uploaded(Form::frames(2)).await;
    app.analyze(&waiting, Value::Null).await;

    let ended = cancel(&app, &waiting).await.unwrap();

    assert_eq!(ended.usage.requests, 0);
    assert_eq!(app.vision.seen().len(), 1);
    assert_eq!(app.show(&running).await.json()["status"], "processing");
}

#[tokio::test(start_paused = true)]
async fn cancelling_at_another_replica_ends_the_analysis_and_the_one_that_runs_it_stops() {
    let one = TestApp::new();
    let other = one.replica();
    let id = under_way(&one).await;
    recorded_when(&one, &id, "what was spent is recorded", |it| it.usage == LOOK_USAGE).await;

    let ended = cancel(&other, &id).await.unwrap();

    assert_eq!(ended.failure.as_ref().unwrap().code, "cancelled");
    assert_eq!(ended.usage, LOOK_USAGE);
    let more = Usage { requests: 2, cost: Some(MicroUsd(99_999)), ..LOOK_USAGE };
    one.vision.tells(|it| it.usage = more);
    assert!(one.coach.shut_down(Duration::from_secs(5)).await, "it stopped by itself");
    assert!(other.coach.shut_down(Duration::ZERO).await);
    assert_eq!(recorded(&one, &id).await, ended);
    assert_eq!(spent(&one).await, 2, "the one that ran it knew best");
}

#[tokio::test]
async fn an_analysis_that_nobody_runs_any_more_is_cancelled_as_well_and_not_taken_up() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(2)).await;
    left_behind(&app, &id, |it| it.status = AnalysisStatus::Queued).await;

    let ended = cancel(&app, &id).await.unwrap();

    assert_eq!(ended.failure.unwrap().code, "cancelled");
    app.coach.take_up_left_behind().await.unwrap();
    assert!(app.coach.shut_down(Duration::from_secs(5)).await);
    assert_eq!(app.vision.seen(), []);
}

#[tokio::test]
async fn a_cancelled_analysis_leaves_the_earlier_result_shown() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;
    let first = app.analyzed(&id).await;
    app.vision.hold();
    app.analyze(&id, Value::Null).await;
    app.vision.began(2).await;

    cancel(&app, &id).await.unwrap();

    let detail = app.show(&id).await.json();
    assert_eq!(detail["status"], "failed");
    for field in ["analysis", "summary", "feedback", "is_analyzed"] {
        assert_eq!(detail[field], first[field], "{field}");
    }
}

#[tokio::test]
async fn where_nothing_runs_there_is_nothing_to_cancel() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(2)).await;
    assert!(matches!(cancel(&app, &id).await, Err(CoachError::NothingRuns(_))));
    app.analyzed(&id).await;

    assert!(matches!(cancel(&app, &id).await, Err(CoachError::NothingRuns(_))));
    let unknown = cancel(&app, &SessionId::new().to_string()).await;
    assert!(matches!(unknown, Err(CoachError::NoSuchSession(_))));
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_cannot_be_recorded_yet_is_told_so_and_stops_the_asking_all_the_same() {
    let app = TestApp::new();
    let id = under_way(&app).await;
    app.records.faults.fail_always("record_analysis", Fault::Before(Kind::Unavailable));

    let refused = cancel(&app, &id).await;

    assert!(
        matches!(&refused, Err(CoachError::Upstream(error)) if error.kind == Kind::Timeout),
        "{refused:?}"
    );
    app.records.faults.heal();
    let ended = recorded_when(&app, &id, "it has ended", Analysis::has_ended).await;
    assert_eq!(ended.failure.unwrap().code, "cancelled");
}

#[tokio::test]
async fn an_end_that_another_replica_records_has_a_number_that_no_other_event_takes() {
    let one = TestApp::new();
    let id = under_way(&one).await;

    let ended = cancel(&one.replica(), &id).await.unwrap();

    let [.., before, end] = ended.events.as_slice() else { panic!("{ended:?}") };
    assert!(before.number + 1000 < end.number, "{before:?} {end:?}");
    let by_record = recorded_when(&one, &id, "the end", Analysis::has_ended).await;
    assert_eq!(by_record.events.last(), Some(end));
}
