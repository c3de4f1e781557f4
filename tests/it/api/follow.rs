//! Following an analysis: the same events in the same order, from any place, at any replica.

use super::durable::{left_behind, looks, recorded, recorded_when};
use crate::support::app::TestApp;
use crate::support::form::Form;
use crate::support::scripted_vision::LOOK_USAGE;
use serde_json::Value;
use std::time::Duration;
use swimcoach::coach::{CoachError, EventCursor, Follow};
use swimcoach::events::{AnalysisEvent, Happening, Stage};
use swimcoach::review::ModelAnalysis;
use swimcoach::session::{Analysis, AnalysisId, AnalysisStatus, Owner};

async fn follow(app: &TestApp, session: &str, after: Option<EventCursor>) -> Follow {
    app.coach.follow(&Owner::local(), session.parse().unwrap(), after).await.unwrap()
}

/// All events that are still to come.
async fn rest(mut follow: Follow) -> Vec<AnalysisEvent> {
    let mut events = Vec::new();
    while let Some(more) = follow.next().await {
        assert!(!more.is_empty());
        events.extend(more);
    }
    events
}

/// The next events until one of them is that.
async fn until(follow: &mut Follow, what: &Happening) -> Vec<AnalysisEvent> {
    let mut events = Vec::new();
    while events.last().is_none_or(|it: &AnalysisEvent| it.what != *what) {
        events.extend(follow.next().await.unwrap_or_else(|| panic!("{what:?} never came: {events:#?}")));
    }
    events
}

/// The kinds of events, in a word each.
fn words(events: &[AnalysisEvent]) -> Vec<String> {
    let word = |it: &AnalysisEvent| match &it.what {
        Happening::Progress { stage, look } => format!("{stage:?} {look}"),
        Happening::Finding(finding) => finding.code.clone(),
        Happening::Warning(warning) => warning.code.clone(),
        Happening::Usage(usage) => format!("{} requests", usage.requests),
        Happening::Failed(failure) => failure.code.clone(),
        Happening::Resumed { attempt } => format!("attempt {attempt}"),
        Happening::Queued => "queued".to_owned(),
        Happening::Done => "done".to_owned(),
    };
    events.iter().map(word).collect()
}

fn example() -> ModelAnalysis {
    serde_json::from_str(include_str!("../fixtures/analysis.example.json")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_whole_analysis_is_told_from_the_first_step_to_the_last_while_it_happens() {
    let app = TestApp::new();
    app.vision.finds();
    app.vision.answers_notes("Because.");
    app.vision.hold();
    let id = app.uploaded(Form::frames(15).text("user_notes", "Why?")).await;
    app.analyze(&id, Value::Null).await;
    let mut following = follow(&app, &id, None).await;
    app.vision.began(1).await;

    let mut events = Vec::new();
    for stage in [Stage::Sent, Stage::Thinking, Stage::Writing] {
        app.vision.tells(|it| it.stage = Some(stage));
        events.extend(until(&mut following, &Happening::Progress { stage, look: 1 }).await);
    }
    let unfinished = ModelAnalysis { summary: String::new(), ..example() };
    app.vision.tells(|it| it.analysis = Some(unfinished));
    events.extend(following.next().await.unwrap());
    assert_eq!(words(&events[events.len() - 1..]), ["FR-CATCH-DROPPED-ELBOW"], "while it writes");
    app.vision.release();
    events.extend(rest(following).await);

    assert_eq!(
        words(&events),
        [
            "queued",
            "Fetching 1",
            "Checked 1",
            "timestamps_missing",
            "low_resolution",
            "Sent 1",
            "Thinking 1",
            "Writing 1",
            "FR-CATCH-DROPPED-ELBOW",
            "1 requests",
            "AnsweringNotes 1",
            "2 requests",
            "done",
        ]
    );
    assert_eq!(events, recorded(&app, &id).await.events);
    assert!(events.iter().zip(1..).all(|(it, number)| it.number == number));
}

#[tokio::test]
async fn from_every_place_the_rest_follows_and_nothing_after_the_end() {
    let one = TestApp::new();
    let other = one.replica();
    one.vision.finds();
    let id = one.uploaded(Form::frames(15)).await;
    one.analyzed(&id).await;
    let Analysis { id: analysis, events, .. } = recorded(&one, &id).await;
    assert!(5 < events.len());

    for app in [&one, &other] {
        for number in 0..=u32::try_from(events.len()).unwrap() {
            let follow = follow(app, &id, Some(EventCursor { analysis, number })).await;

            assert_eq!(follow.analysis(), analysis);
            assert_eq!(rest(follow).await, events[number as usize..], "after {number}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_analysis_that_is_cut_at_every_event_gives_the_same_sequence_at_either_replica() {
    let one = TestApp::new();
    let other = one.replica();
    one.vision.finds();
    one.vision.hold();
    let id = one.uploaded(Form::frames(15)).await;
    one.analyze(&id, Value::Null).await;
    let tell = async {
        one.vision.began(1).await;
        for stage in [Stage::Sent, Stage::Thinking, Stage::Writing] {
            one.vision.tells(|it| it.stage = Some(stage));
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        one.vision.release();
    };
    let listen = async {
        let mut seen: Vec<AnalysisEvent> = Vec::new();
        let mut after = None;
        loop {
            let app = [&one, &other][seen.len() % 2];
            let mut follow = follow(app, &id, after).await;
            let Some(events) = follow.next().await else { return seen };
            let first = events[0].clone();
            after = Some(EventCursor { analysis: follow.analysis(), number: first.number });
            seen.push(first);
        }
    };

    let ((), seen) = tokio::join!(tell, listen);

    assert_eq!(seen, recorded(&one, &id).await.events);
    assert_eq!(seen.last().unwrap().what, Happening::Done);
}

#[tokio::test(start_paused = true)]
async fn at_another_replica_any_number_who_follow_cost_one_read_every_two_seconds() {
    let one = TestApp::new();
    let other = one.replica();
    one.vision.finds();
    one.vision.hold();
    let id = one.uploaded(Form::frames(2)).await;
    one.analyze(&id, Value::Null).await;
    one.vision.began(1).await;
    let mut following = Vec::new();
    for _ in 0..50 {
        following.push(follow(&other, &id, None).await);
    }
    let reads = other.records.faults.count("session");

    tokio::time::sleep(Duration::from_mins(1)).await;

    let more = other.records.faults.count("session") - reads;
    assert!((29..=30).contains(&more), "{more}");
    one.vision.release();
    for follow in following {
        let events = rest(follow).await;
        assert_eq!(events, recorded(&one, &id).await.events);
    }
    let reads = other.records.faults.count("session");
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(other.records.faults.count("session"), reads, "nobody follows any more");
}

#[tokio::test(start_paused = true)]
async fn records_are_not_read_any_more_once_nobody_follows() {
    let one = TestApp::new();
    let other = one.replica();
    one.vision.hold();
    let id = one.uploaded(Form::frames(2)).await;
    one.analyze(&id, Value::Null).await;
    drop(follow(&other, &id, None).await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let reads = other.records.faults.count("session");

    tokio::time::sleep(Duration::from_mins(1)).await;

    assert_eq!(other.records.faults.count("session"), reads);
}

#[tokio::test(start_paused = true)]
async fn who_follows_an_analysis_that_is_given_back_sees_it_go_on_elsewhere() {
    let one = TestApp::new();
    let other = one.replica();
    one.vision.finds();
    one.vision.hold();
    let id = one.uploaded(Form::frames(15)).await;
    one.analyze(&id, Value::Null).await;
    one.vision.began(1).await;
    let mut at_one = follow(&one, &id, None).await;
    let at_other = follow(&other, &id, None).await;
    let first = at_one.next().await.unwrap();

    assert!(one.coach.shut_down(Duration::ZERO).await);
    let told = [first, rest(at_one).await].concat();
    other.coach.take_up_left_behind().await.unwrap();
    other.vision.began(2).await;
    other.vision.release();

    let all = rest(at_other).await;
    assert_eq!(all[..told.len()], told);
    assert!(words(&all).contains(&"attempt 2".to_owned()), "{:?}", words(&all));
    assert_eq!(all.last().unwrap().what, Happening::Done);
    let cursor = EventCursor { analysis: recorded(&one, &id).await.id, number: told.last().unwrap().number };
    assert_eq!(rest(follow(&other, &id, Some(cursor)).await).await, all[told.len()..]);
}

#[tokio::test]
async fn following_an_analysis_that_was_left_behind_takes_it_up() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;
    left_behind(&app, &id, |it| it.status = AnalysisStatus::Queued).await;

    let events = rest(follow(&app, &id, None).await).await;

    assert_eq!(words(&events)[0], "attempt 2");
    assert_eq!(events.last().unwrap().what, Happening::Done);
}

#[tokio::test]
async fn what_is_given_up_ends_with_the_reason() {
    let app = TestApp::new();
    let id = app.uploaded(Form::frames(15)).await;
    left_behind(&app, &id, |it| it.attempt = 5).await;

    let events = rest(follow(&app, &id, None).await).await;

    assert_eq!(words(&events), ["interrupted"]);
}

#[tokio::test(start_paused = true)]
async fn an_analysis_that_others_ended_ends_for_those_who_follow_it_whatever_they_saw_before() {
    let one = TestApp::new();
    let other = one.replica();
    one.vision.hold();
    let id = one.uploaded(Form::frames(2)).await;
    one.analyze(&id, Value::Null).await;
    one.vision.began(1).await;
    let mut following = follow(&other, &id, None).await;
    following.next().await.unwrap();

    other.coach.cancel(&Owner::local(), id.parse().unwrap()).await.unwrap();

    assert_eq!(words(&rest(following).await).last().unwrap(), "cancelled");
    let Analysis { id: analysis, events, .. } = recorded(&one, &id).await;
    let beyond = EventCursor { analysis, number: events.last().unwrap().number + 3 };
    assert_eq!(words(&rest(follow(&other, &id, Some(beyond)).await).await), ["cancelled"]);
}

#[tokio::test]
async fn without_an_analysis_there_is_nothing_to_follow_and_an_unknown_place_is_the_beginning() {
    let app = TestApp::new();
    app.vision.finds();
    let id = app.uploaded(Form::frames(15)).await;
    let refused = app.coach.follow(&Owner::local(), id.parse().unwrap(), None).await;
    assert!(matches!(refused, Err(CoachError::NotAsked(_))), "{refused:?}");
    app.analyzed(&id).await;

    let unknown = EventCursor { analysis: AnalysisId::new(), number: 3 };
    let events = rest(follow(&app, &id, Some(unknown)).await).await;

    assert_eq!(events, recorded(&app, &id).await.events);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_deleted_ends_for_those_who_follow_it() {
    let one = TestApp::new();
    let other = one.replica();
    one.vision.hold();
    let id = one.uploaded(Form::frames(2)).await;
    one.analyze(&id, Value::Null).await;
    one.vision.began(1).await;
    let following = [follow(&one, &id, None).await, follow(&other, &id, None).await];

    one.delete(&id).await;

    for follow in following {
        rest(follow).await;
    }
}

#[tokio::test]
async fn a_kept_look_of_a_sample_is_told_of_by_its_number() {
    let app = TestApp::new();
    for _ in 0..2 {
        app.vision.finds();
    }
    app.vision.hold();
    let id = app.uploaded(Form::frames(15)).await;
    app.coach.analyze(&Owner::local(), id.parse().unwrap(), looks(2)).await.unwrap();
    app.vision.began(1).await;
    app.vision.tells(|it| it.stage = Some(Stage::Thinking));
    app.vision.began(2).await;
    app.vision.tells(|it| (it.stage, it.usage) = (Some(Stage::Writing), LOOK_USAGE));
    recorded_when(&app, &id, "the second look is told of", |it| {
        it.events.iter().any(|it| it.what == Happening::Progress { stage: Stage::Writing, look: 2 })
    })
    .await;
    for _ in 0..2 {
        app.vision.release();
    }

    app.settled(&id).await;

    let ended = recorded(&app, &id).await;
    assert_eq!(words(&ended.events).iter().filter(|it| *it == "FR-CATCH-DROPPED-ELBOW").count(), 1);
}
