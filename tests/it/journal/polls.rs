//! A front end that polls a running analysis does not reach the store of records.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{DOWN, kind};
use crate::support::breakable_records::BreakableRecords;
use crate::support::records::{
    analysis, at, claim, completed, failed, given_back, new_owner, renewed, session, taken_up, turn,
};
use std::sync::Arc;
use std::time::Duration;
use swimcoach::metadata::polled::PolledSessionStore;
use swimcoach::metadata::{Amendment, ClaimedAnswer, Recorded, SessionRecord, SessionStore, StartedAnalysis};
use swimcoach::session::{Analysis, Session};

/// A session whose analysis runs here, and was read once.
struct Running {
    records: Arc<BreakableRecords>,
    store: PolledSessionStore,
    session: Session,
    analysis: Analysis,
}

impl Running {
    async fn new() -> Self {
        let records = BreakableRecords::new();
        let store = PolledSessionStore::new(Arc::<BreakableRecords>::clone(&records));
        let session = session(&new_owner(), 2);
        let analysis = analysis(&session);
        store.create_session(&session).await.unwrap();
        let outcome = store.start_analysis(&analysis, at(-1)).await.unwrap();
        assert_eq!(outcome, StartedAnalysis::Started);
        let running = Self { records, store, session, analysis };
        running.poll().await.unwrap();
        running.records.take_calls();
        running
    }

    async fn poll(&self) -> Option<SessionRecord> {
        self.store.session(&self.session.owner, self.session.id).await.unwrap()
    }

    /// Polls a hundred times and returns how often that reached the store.
    async fn reads_of_polls(&self) -> usize {
        self.records.take_calls();
        for _ in 0..100 {
            self.poll().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.records.take_calls().len()
    }
}

#[tokio::test(start_paused = true)]
async fn polls_of_a_running_analysis_do_not_reach_the_store() {
    let running = Running::new().await;

    assert_eq!(running.reads_of_polls().await, 0);

    let record = running.poll().await.unwrap();
    assert_eq!((record.session, record.analyses), (running.session, vec![running.analysis]));
}

#[tokio::test(start_paused = true)]
async fn signs_of_life_cost_one_read_in_ten_seconds_and_are_seen_at_once() {
    let running = Running::new().await;
    let mut reads = Vec::new();

    for second in 1..=20 {
        let alive = renewed(&running.analysis, second * 1_000);
        running.store.record_analysis(&alive).await.unwrap();
        running.records.take_calls();
        assert_eq!(running.poll().await.unwrap().analyses, [alive]);
        reads.push(running.records.take_calls().len());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    assert_eq!(reads.iter().sum::<usize>(), 1, "{reads:?}");
    let alive = renewed(&running.analysis, 30_000);
    running.store.record_analysis(&alive).await.unwrap();
    assert_eq!(running.reads_of_polls().await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_analysis_that_is_another_processs_by_now_is_read_from_the_store_again() {
    let [taken_over, ended, back] = [Running::new().await, Running::new().await, Running::new().await];
    let elsewhere = taken_over.records.unbroken();
    let next = taken_up(&taken_over.analysis, 60_000);

    elsewhere.start_analysis(&next, at(60_000)).await.unwrap();
    ended.records.unbroken().record_analysis(&failed(&ended.analysis, 5)).await.unwrap();
    for running in [&taken_over, &ended] {
        let recorded = running.store.record_analysis(&renewed(&running.analysis, 10)).await.unwrap();
        assert_eq!(recorded, Recorded::Superseded);
    }
    back.store.record_analysis(&given_back(&back.analysis, 5)).await.unwrap();

    assert_eq!(taken_over.poll().await.unwrap().analyses, [next]);
    assert_eq!(ended.poll().await.unwrap().analyses, [failed(&ended.analysis, 5)]);
    for running in [&taken_over, &ended] {
        assert_eq!(running.reads_of_polls().await, 100);
    }
    back.poll().await.unwrap();
    let next = taken_up(&back.analysis, 60_000);
    back.records.unbroken().start_analysis(&next, at(60_000)).await.unwrap();
    assert_eq!(back.poll().await.unwrap().analyses, [next]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_sees_at_once_what_is_written_here() {
    let running = Running::new().await;

    running.store.append_turns(running.session.id, &[turn(0, "Why?")]).await.unwrap();

    assert_eq!(running.reads_of_polls().await, 0);
    assert_eq!(running.poll().await.unwrap().turns, [turn(0, "Why?")]);
    let complete = completed(&running.analysis, 5);
    running.store.record_analysis(&complete).await.unwrap();
    assert_eq!(running.poll().await.unwrap().analyses, [complete]);
}

#[tokio::test(start_paused = true)]
async fn after_the_end_the_store_is_asked_again() {
    let running = Running::new().await;
    running.store.record_analysis(&completed(&running.analysis, 5)).await.unwrap();
    running.poll().await.unwrap();

    running.records.unbroken().append_turns(running.session.id, &[turn(0, "Elsewhere.")]).await.unwrap();

    assert_eq!(running.poll().await.unwrap().turns, [turn(0, "Elsewhere.")]);
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_the_running_analysis_of_another() {
    let running = Running::new().await;

    let stolen = running.store.session(&new_owner(), running.session.id).await.unwrap();

    assert_eq!(stolen, None);
    assert!(running.poll().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_here_is_seen_at_once_and_one_elsewhere_after_the_next_sign_of_life() {
    let [here, elsewhere] = [Running::new().await, Running::new().await];

    here.store.delete_session(&here.session.owner, here.session.id).await.unwrap();
    let Running { session, .. } = &elsewhere;
    elsewhere.records.unbroken().delete_session(&session.owner, session.id).await.unwrap();

    assert_eq!(here.poll().await, None);
    assert!(elsewhere.poll().await.is_some());
    elsewhere.store.record_analysis(&renewed(&elsewhere.analysis, 1_000)).await.unwrap();
    assert_eq!(elsewhere.poll().await, None);
}

#[tokio::test(start_paused = true)]
async fn during_an_outage_polls_are_answered_and_seldom_wait_for_the_store() {
    let running = Running::new().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    running.store.record_analysis(&renewed(&running.analysis, 1_000)).await.unwrap();

    running.records.fail_all(DOWN);

    assert_eq!(running.reads_of_polls().await, 1, "in ten seconds");
    assert!(running.poll().await.is_some());
    let stranger = running.store.session(&new_owner(), running.session.id).await;
    assert!(matches!(stranger, Ok(None)) || kind(stranger) == DOWN);
    running.records.mend();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(running.reads_of_polls().await, 1, "when it is back");
}

#[tokio::test(start_paused = true)]
async fn an_analysis_that_gives_no_sign_of_life_is_read_from_the_store_again() {
    let running = Running::new().await;
    tokio::time::sleep(Duration::from_mins(10)).await;

    assert_eq!(running.reads_of_polls().await, 100);
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_went_on_elsewhere_is_read_from_the_store_again() {
    let running = Running::new().await;
    let turns = [turn(0, "Why?"), turn(1, "Since the elbow drops.")];
    running.records.unbroken().append_turns(running.session.id, &turns).await.unwrap();
    let before = running.poll().await.unwrap().turns;

    let claimed = running.store.claim_answer(&claim(&running.session, 0), at(-1)).await.unwrap();

    assert_eq!((before.len(), claimed), (0, ClaimedAnswer::Answered));
    assert_eq!(running.poll().await.unwrap().turns, turns);
}

#[tokio::test(start_paused = true)]
async fn terms_and_an_owner_that_change_are_seen_at_once_also_when_the_answer_was_lost() {
    let earlier = Amendment { expires_at: Some(at(1)), ..Amendment::default() };
    for lost_answers in [0, 1] {
        let [amended, claimed] = [Running::new().await, Running::new().await];
        let to = new_owner();
        amended.records.lose_next_answers(lost_answers);
        claimed.records.lose_next_answers(lost_answers);

        let Running { session, store, .. } = &amended;
        let outcome = store.amend_session(&session.owner, session.id, &earlier).await;
        assert_eq!(outcome.is_err(), lost_answers == 1);
        let Running { session, store, .. } = &claimed;
        let outcome = store.claim_session(session.id, &session.owner, &to).await;
        assert_eq!(outcome.is_err(), lost_answers == 1);

        assert_eq!(amended.poll().await.unwrap().session.expires_at, Some(at(1)));
        assert_eq!(claimed.poll().await, None);
        assert!(store.session(&to, session.id).await.unwrap().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_claimed_a_running_session_elsewhere_sees_it_here_at_once() {
    let running = Running::new().await;
    let (session, to) = (&running.session, new_owner());

    running.records.unbroken().claim_session(session.id, &session.owner, &to).await.unwrap();

    assert!(running.store.session(&to, session.id).await.unwrap().is_some());
    assert_eq!(running.poll().await, None);
}
