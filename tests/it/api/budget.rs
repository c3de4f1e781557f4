//! Budgets: asked before the model is, with the estimate held in reserve, so that nothing overshoots.

use super::conversation::{ANSWER_USAGE, analyzed, answered, ask};
use super::durable::left_behind;
use crate::support::app::TestApp;
use crate::support::faults::Fault;
use crate::support::form::Form;
use crate::support::records;
use crate::support::scripted_vision::LOOK_USAGE;
use chrono::Utc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use swimcoach::analysis::{MicroUsd, Usage};
use swimcoach::coach::{AnalysisRequest, CallersMonth, CoachError};
use swimcoach::ledger::{BudgetScope, Budgets, Charge, ChargeId, ChargeKind, Month, Reservation, StorageUse};
use swimcoach::metadata::SessionStore;
use swimcoach::session::{AnalysisStatus, Owner, SessionId};
use swimcoach::upstream::UpstreamErrorKind as Kind;
use swimcoach::vision::VisionErrorKind;

/// What two frames are estimated at, for a look and for an answer alike.
const TWO_FRAMES: MicroUsd = MicroUsd(2_000);

/// A service with this budget for each caller and room for everything else.
fn with_budget(caller: u64) -> TestApp {
    TestApp::with(|it| {
        it.budgets = Budgets { caller: Some(MicroUsd(caller)), service: None, analyses_per_day: None };
        it.jobs.max_running = 100;
        it.jobs.max_of_caller = 100;
    })
}

async fn this_month(app: &TestApp) -> CallersMonth {
    app.coach.usage(&Owner::local(), Month::of(Utc::now())).await.unwrap()
}

/// Uploads a session of two frames whose result nobody was charged for.
async fn ready_to_talk(app: &TestApp) -> SessionId {
    let id = app.uploaded(Form::frames(2)).await;
    let started = left_behind(app, &id, |_| {}).await;
    app.records.inner.record_analysis(&records::completed(&started, 0)).await.unwrap();
    id.parse().unwrap()
}

fn costing(micro_usd: u64) -> Usage {
    Usage { cost: Some(MicroUsd(micro_usd)), ..ANSWER_USAGE }
}

fn over(error: &CoachError) -> (BudgetScope, u64, u64, u64) {
    match error {
        CoachError::OverBudget { scope, budget, taken, needed } => (*scope, budget.0, taken.0, needed.0),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn of_fifty_answers_at_once_over_two_replicas_as_many_are_made_as_the_budget_has_room_for() {
    let one = with_budget(10 * TWO_FRAMES.0);
    let other = one.replica();
    let mut sessions = Vec::new();
    for _ in 0..50 {
        sessions.push(ready_to_talk(&one).await);
    }
    for _ in 0..10 {
        one.vision.replies("Press back.", &[], costing(TWO_FRAMES.0));
    }
    one.vision.hold();

    let asked = sessions.iter().enumerate().map(|(n, id)| ask([&one, &other][n % 2], *id, "Why?"));
    let (begun, refused): (Vec<_>, Vec<_>) = join_all(asked).await.into_iter().partition(Result::is_ok);
    let reserved = this_month(&one).await;
    (0..10).for_each(|_| one.vision.release());
    let answers = join_all(begun.into_iter().map(async |it| it.unwrap().answered().await)).await;
    for replica in [&one, &other] {
        assert!(replica.coach.shut_down(Duration::from_secs(10)).await);
    }

    assert_eq!((answers.len(), refused.len()), (10, 40));
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    for error in refused.iter().filter_map(|it| it.as_ref().err()) {
        assert_eq!(over(error), (BudgetScope::Caller, 20_000, 20_000, 2_000));
    }
    assert_eq!((reserved.used.reserved, reserved.left()), (MicroUsd(20_000), Some(MicroUsd(0))));
    let month = this_month(&one).await;
    assert_eq!(month.used.usage.cost, Some(MicroUsd(20_000)));
    assert_eq!((month.used.reserved, month.left()), (MicroUsd(0), Some(MicroUsd(0))));
    assert_eq!(one.vision.talks().len(), 10);
    assert!(one.vision.allowances().iter().all(|it| *it == TWO_FRAMES));
}

#[tokio::test]
async fn of_fifty_analyses_at_once_over_two_replicas_as_many_run_as_the_budget_has_room_for() {
    let one = with_budget(10 * TWO_FRAMES.0);
    let other = one.replica();
    let mut sessions = Vec::new();
    for _ in 0..50 {
        sessions.push(one.uploaded(Form::frames(2)).await.parse::<SessionId>().unwrap());
    }
    for _ in 0..10 {
        one.vision.finds();
        one.vision.costs(costing(TWO_FRAMES.0));
    }
    one.vision.hold();

    let owner = Owner::local();
    let asked = sessions
        .iter()
        .enumerate()
        .map(|(n, id)| [&one, &other][n % 2].coach.analyze(&owner, *id, AnalysisRequest::default()));
    let (started, refused): (Vec<_>, Vec<_>) = join_all(asked).await.into_iter().partition(Result::is_ok);
    (0..10).for_each(|_| one.vision.release());
    for analysis in started.iter().flatten() {
        assert_eq!(one.settled(&analysis.session_id.to_string()).await["status"], "complete");
    }
    for replica in [&one, &other] {
        assert!(replica.coach.shut_down(Duration::from_secs(10)).await);
    }

    assert_eq!((started.len(), refused.len()), (10, 40));
    for error in refused.iter().filter_map(|it| it.as_ref().err()) {
        assert_eq!(over(error), (BudgetScope::Caller, 20_000, 20_000, 2_000));
    }
    let month = this_month(&one).await;
    assert_eq!((month.used.analyses, month.used.usage.cost), (10, Some(MicroUsd(20_000))));
    assert_eq!(month.left(), Some(MicroUsd(0)));
    assert_eq!(one.vision.seen().len(), 10);
}

#[tokio::test]
async fn an_answer_that_came_to_less_than_was_held_frees_the_rest() {
    let app = with_budget(2_500);
    let id = ready_to_talk(&app).await;
    app.vision.replies("One.", &[], costing(500));
    app.vision.replies("Two.", &[], costing(300));

    answered(&app, id, "First?").await.unwrap();
    settled(&app, 500).await;
    answered(&app, id, "Second?").await.unwrap();
    settled(&app, 800).await;
    let refused = ask(&app, id, "Third?").await.unwrap_err();

    assert_eq!(over(&refused), (BudgetScope::Caller, 2_500, 800, 2_000));
    assert_eq!(this_month(&app).await.left(), Some(MicroUsd(1_700)));
}

/// Waits until everything that was asked is charged, and came to so much.
async fn settled(app: &TestApp, micro_usd: u64) {
    crate::support::eventually::eventually("it is settled", async || {
        let used = this_month(app).await.used;
        (used.reserved == MicroUsd(0) && used.usage.cost == Some(MicroUsd(micro_usd))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_for_which_there_is_no_room_leaves_the_conversation_free_and_nothing_held() {
    let app = with_budget(TWO_FRAMES.0 - 1);
    let id = ready_to_talk(&app).await;

    for _ in 0..2 {
        let refused = ask(&app, id, "Why?").await.unwrap_err();
        assert_eq!(over(&refused), (BudgetScope::Caller, 1_999, 0, 2_000));
    }

    assert_eq!(this_month(&app).await.used.reserved, MicroUsd(0));
    assert_eq!(app.storage.faults.count("download_frame"), 0);
}

#[tokio::test]
async fn a_message_whose_reserve_is_not_certain_holds_nothing_and_can_be_sent_again() {
    let app = with_budget(TWO_FRAMES.0);
    let id = ready_to_talk(&app).await;
    app.records.faults.fail_next("reserve", Fault::After(Kind::Timeout));

    let refused = ask(&app, id, "Why?").await.unwrap_err();
    settled(&app, 0).await;
    app.vision.replies("Press back.", &[], costing(1_000));
    answered(&app, id, "Why?").await.unwrap();

    assert!(matches!(refused, CoachError::Upstream(_)), "{refused:?}");
    settled(&app, 1_000).await;
}

#[tokio::test]
async fn the_budget_of_the_service_counts_for_every_caller() {
    let app = TestApp::with(|it| {
        it.budgets = Budgets { caller: None, service: Some(MicroUsd(3_000)), analyses_per_day: None };
    });
    let id = ready_to_talk(&app).await;
    app.records.inner.settle(&charge(&records::new_owner(), costing(1_001), 1_001)).await.unwrap();

    let refused = ask(&app, id, "Why?").await.unwrap_err();

    assert_eq!(over(&refused), (BudgetScope::Service, 3_000, 1_001, 2_000));
    let month = this_month(&app).await;
    assert_eq!((month.used.usage.cost, month.left()), (Some(MicroUsd(0)), None));
}

#[tokio::test]
async fn without_budgets_nothing_is_held_and_an_answer_may_cost_what_it_takes() {
    let app = TestApp::new();
    let id = analyzed(&app, 2).await;
    app.vision.replies("Press back.", &[], costing(5_000_000));

    answered(&app, id, "Why?").await.unwrap();

    assert_eq!(app.records.faults.count("reserve"), 0);
    assert_eq!(app.vision.allowances(), [MicroUsd(u64::MAX); 2]);
    settled(&app, LOOK_USAGE.cost.unwrap().0 + 5_000_000).await;
    assert_eq!(this_month(&app).await.left(), None);
}

#[tokio::test]
async fn a_model_that_broke_off_is_asked_again_where_the_budget_has_room_for_that() {
    let app = with_budget(3_500);
    let id = ready_to_talk(&app).await;
    app.vision.fails_reply(VisionErrorKind::OverAllowance, costing(1_500));
    app.vision.replies("Press back.", &[], costing(1_900));

    let asked_twice = answered(&app, id, "Why?").await.unwrap();
    settled(&app, 3_400).await;

    assert_eq!(asked_twice.assistant.usage.unwrap().cost, Some(MicroUsd(3_400)));
    assert_eq!(app.vision.allowances(), [TWO_FRAMES; 2]);
}

#[tokio::test]
async fn a_model_that_broke_off_is_not_asked_again_where_the_budget_has_no_room() {
    let app = with_budget(3_499);
    let id = ready_to_talk(&app).await;
    app.vision.fails_reply(VisionErrorKind::OverAllowance, costing(1_500));

    let outcome = answered(&app, id, "Why?").await;

    let Err(CoachError::NotAnswered(failure)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((failure.code.as_str(), failure.can_resume), ("budget_spent", true));
    settled(&app, 1_500).await;
}

#[tokio::test]
async fn what_has_no_known_price_is_never_counted_as_nothing() {
    let app = with_budget(4_000);
    let id = ready_to_talk(&app).await;
    let unpriced = Usage { cost: None, ..ANSWER_USAGE };
    app.vision.replies("Press back.", &[], unpriced);

    answered(&app, id, "Why?").await.unwrap();
    assert!(app.coach.shut_down(Duration::from_secs(10)).await);

    let month = this_month(&app).await;
    assert_eq!((month.used.usage.cost, month.left()), (None, None), "the sum is not known");
    app.vision.hold();
    let next = app.replica();
    let _room_for_one = ask(&next, id, "And?").await.unwrap();
    let refused = ask(&next, ready_to_talk(&app).await, "Why?").await.unwrap_err();
    assert_eq!(over(&refused), (BudgetScope::Caller, 4_000, 4_000, 2_000));
}

#[tokio::test]
async fn an_analysis_that_is_taken_up_counts_what_it_took_before_though_its_price_is_not_known() {
    let app = with_budget(2 * TWO_FRAMES.0 - 1);
    let id = app.uploaded(Form::frames(2)).await;
    let left = left_behind(&app, &id, |it| it.usage.cost = None).await;

    app.coach.take_up_left_behind().await.unwrap();

    let record = app.coach.session(&Owner::local(), left.session_id).await.unwrap();
    let ended = record.analyses.last().unwrap();
    assert_eq!((ended.id, ended.status), (left.id, AnalysisStatus::Failed));
    assert_eq!(ended.failure.as_ref().unwrap().code, "budget_spent");
    assert_eq!(app.vision.seen(), []);
}

#[tokio::test]
async fn an_analysis_whose_earlier_price_is_not_known_is_charged_as_much_as_it_may_have_come_to() {
    let app = with_budget(1_000_000);
    let id = app.uploaded(Form::frames(2)).await;
    left_behind(&app, &id, |it| it.usage.cost = None).await;
    app.vision.finds();

    app.coach.take_up_left_behind().await.unwrap();

    assert_eq!(app.settled(&id).await["status"], "complete");
    assert!(app.coach.shut_down(Duration::from_secs(10)).await);
    let month = this_month(&app).await;
    assert_eq!((month.used.analyses, month.used.usage.cost, month.left()), (1, None, None));
    let over_all = Charge { is_settled: false, ..charge(&Owner::local(), Usage::default(), 1_000_000) };
    let budgets = Budgets { caller: Some(MicroUsd(1_000_000)), service: None, analyses_per_day: None };
    let refused = app.records.inner.reserve(&over_all, &budgets).await.unwrap();
    let taken = MicroUsd(2 * TWO_FRAMES.0);
    assert_eq!(
        refused,
        Reservation::OverBudget { scope: BudgetScope::Caller, budget: MicroUsd(1_000_000), taken }
    );
}

fn charge(owner: &Owner, usage: Usage, amount: u64) -> Charge {
    Charge {
        id: ChargeId::new(),
        owner: owner.clone(),
        kind: ChargeKind::Answer,
        model: Some("scripted-model-1".to_owned()),
        at: Utc::now(),
        is_settled: true,
        amount: MicroUsd(amount),
        usage,
        storage: StorageUse::default(),
    }
}

#[tokio::test]
async fn a_look_that_is_paid_for_is_published_where_the_budget_has_no_room_for_another() {
    let app = with_budget(TWO_FRAMES.0);
    let id = app.uploaded(Form::frames(2)).await;
    let answer: Value = serde_json::from_str(include_str!("../fixtures/analysis.example.json")).unwrap();
    left_behind(&app, &id, |it| {
        it.looks = vec![json!({"model": "scripted-model-1", "prompt_version": "prompt-7", "answer": answer})];
        it.usage = costing(TWO_FRAMES.0);
    })
    .await;

    app.coach.take_up_left_behind().await.unwrap();

    let detail = app.settled(&id).await;
    assert_eq!(detail["status"], "complete", "{detail:#}");
    assert_eq!(app.vision.seen(), []);
    assert_eq!(this_month(&app).await.used.usage.cost, Some(TWO_FRAMES));
}

#[tokio::test]
async fn an_analysis_that_did_not_start_holds_nothing() {
    let app = with_budget(TWO_FRAMES.0);
    let id = app.uploaded(Form::frames(2)).await;
    app.records.faults.fail_next("start_analysis", Fault::Before(Kind::Unavailable));
    app.vision.finds();

    let failed = app.analyze(&id, Value::Null).await;
    let held = this_month(&app).await.used.reserved;

    assert_eq!((failed.status.as_u16(), held), (503, MicroUsd(0)));
    assert_eq!(app.analyzed(&id).await["status"], "complete");
}

#[tokio::test]
async fn deleting_a_session_gives_nothing_back_of_what_its_unfinished_analysis_cost() {
    let app = with_budget(TWO_FRAMES.0);
    let id = app.uploaded(Form::frames(2)).await;
    left_behind(&app, &id, |it| it.usage = costing(700)).await;

    app.delete(&id).await;

    let used = this_month(&app).await.used;
    assert_eq!((used.usage.cost, used.reserved), (Some(MicroUsd(700)), MicroUsd(0)));
}
