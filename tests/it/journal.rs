//! What the journal of records promises: an acknowledged write is never lost, never doubled and never out of
//! order, and nothing in it outlives a deletion.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod decisions;
mod face;
mod histories;
mod polls;

use crate::support::breakable_records::BreakableRecords;
use crate::support::records::{analysis, at, completed, new_owner, renewed, session, turn};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use swimcoach::metadata::journal::{self, Drained, Journal, JournaledSessionStore, WriteKind};
use swimcoach::metadata::{Backlog, SessionRecord, SessionStore, StartedAnalysis, StoreHealth};
use swimcoach::metrics::JournalMetrics;
use swimcoach::session::{Owner, Session};
use swimcoach::upstream::{UpstreamError, UpstreamErrorKind};
use tempfile::TempDir;
use tokio::time::Instant;

const DOWN: UpstreamErrorKind = UpstreamErrorKind::Unavailable;

/// A store that breaks, with a journal before it.
struct Bench {
    records: Arc<BreakableRecords>,
    store: JournaledSessionStore,
    metrics: JournalMetrics,
    folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        Self::with_room_for(1_000).await
    }

    async fn with_room_for(max_writes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let records = BreakableRecords::new();
        let metrics = JournalMetrics::default();
        let journal = Journal::open(&path_in(&folder), max_writes, metrics.clone()).await.unwrap();
        let store = JournaledSessionStore::new(Arc::<BreakableRecords>::clone(&records), journal);
        Self { records, store, metrics, folder }
    }

    /// Stops this store as a service stops, and starts another on the same file.
    async fn restart(self) -> Self {
        assert!(self.store.shut_down(Duration::from_mins(1)).await);
        drop(self.store);
        let store = reopened(&path_in(&self.folder), &self.records).await;
        Self { store, ..self }
    }

    async fn created(&self) -> Session {
        let session = session(&new_owner(), 2);
        self.store.create_session(&session).await.unwrap();
        session
    }

    async fn record_of(&self, session: &Session) -> Option<SessionRecord> {
        self.store.session(&session.owner, session.id).await.unwrap()
    }

    async fn arrived_of(&self, session: &Session) -> Option<SessionRecord> {
        self.records.unbroken().session(&session.owner, session.id).await.unwrap()
    }

    /// Waits until nothing waits any more.
    async fn drained(&self) {
        self.comes_to(StoreHealth::Well).await;
    }

    async fn comes_to(&self, health: StoreHealth) {
        let mut last = None;
        for _ in 0..300 {
            last = self.store.check().await.ok();
            if last == Some(health) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("after five minutes the store is {last:?}");
    }

    fn is_on_the_disk(&self, text: &str) -> bool {
        std::fs::read_dir(self.folder.path()).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            memchr::memmem::find(&bytes, text.as_bytes()).is_some()
        })
    }
}

fn path_in(folder: &TempDir) -> PathBuf {
    folder.path().join("journal.db")
}

async fn reopened(path: &Path, records: &Arc<BreakableRecords>) -> JournaledSessionStore {
    let journal = Journal::open(path, 1_000, JournalMetrics::default()).await.unwrap();
    JournaledSessionStore::new(Arc::<BreakableRecords>::clone(records), journal)
}

fn kind<T: std::fmt::Debug>(result: Result<T, UpstreamError>) -> UpstreamErrorKind {
    result.unwrap_err().kind
}

fn degraded(waiting: u64, set_aside: u64) -> StoreHealth {
    StoreHealth::Degraded(Backlog { waiting, set_aside })
}

#[tokio::test(start_paused = true)]
async fn what_is_written_during_an_outage_is_acknowledged_read_here_and_arrives_afterwards() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);

    let session = bench.created().await;
    let complete = completed(&analysis(&session), 5);
    bench.store.record_analysis(&complete).await.unwrap();
    bench.store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();

    let expected = SessionRecord {
        session: session.clone(),
        analyses: vec![complete.clone()],
        turns: vec![turn(0, "Why?")],
    };
    assert_eq!(bench.record_of(&session).await.as_ref(), Some(&expected));
    assert_eq!(bench.arrived_of(&session).await, None);
    bench.records.mend();
    bench.drained().await;
    assert_eq!(bench.arrived_of(&session).await, Some(expected));
}

#[tokio::test(start_paused = true)]
async fn while_a_write_about_a_session_waits_later_ones_wait_behind_it() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);

    let session = bench.created().await;
    bench.store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();
    bench.store.record_analysis(&analysis(&session)).await.unwrap();
    bench.records.mend();
    bench.records.take_calls();
    bench.drained().await;

    let calls = bench.records.take_calls();
    let names: Vec<_> = calls.iter().filter(|(_, about)| about.is_some()).map(|(name, _)| *name).collect();
    assert_eq!(names, ["create_session", "append_turns", "record_analysis"]);
}

#[tokio::test(start_paused = true)]
async fn many_sessions_that_waited_arrive_each_in_order() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let mut sessions = Vec::new();
    for _ in 0..30 {
        sessions.push(bench.created().await);
    }
    for number in 0..3 {
        for session in &sessions {
            bench.store.append_turns(session.id, &[turn(number, "Hm.")]).await.unwrap();
        }
    }

    bench.records.mend();
    bench.records.take_calls();
    bench.drained().await;

    let calls = bench.records.take_calls();
    for session in &sessions {
        let about_it = calls.iter().filter(|(_, about)| *about == Some(session.id)).map(|(name, _)| *name);
        let names: Vec<_> = about_it.collect();
        assert_eq!(names, ["create_session", "append_turns", "append_turns", "append_turns"]);
        let turns = bench.arrived_of(session).await.unwrap().turns;
        assert_eq!(turns, [turn(0, "Hm."), turn(1, "Hm."), turn(2, "Hm.")]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_remembered_so_that_only_its_first_write_waits_for_the_store() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);

    let first = bench.created().await;
    let later = bench.created().await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    let much_later = bench.created().await;

    let calls = bench.records.take_calls();
    let asked_about =
        |session: &Session| calls.iter().filter(|(_, about)| *about == Some(session.id)).count();
    assert_eq!(asked_about(&later), 0);
    assert_eq!(asked_about(&much_later), 0);
    let tries = asked_about(&first);
    assert!(
        (60..90).contains(&tries),
        "the store is asked every ten seconds, not {tries} times in ten minutes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_is_not_doubled_when_it_arrived_and_only_its_answer_was_lost() {
    let bench = Bench::new().await;

    bench.records.lose_next_answers(1);
    let session = bench.created().await;
    bench.drained().await;
    bench.records.lose_next_answers(2);
    bench.store.append_turns(session.id, &[turn(0, "Why?"), turn(1, "Because.")]).await.unwrap();
    bench.drained().await;
    bench.records.lose_next_answers(3);
    bench.store.record_analysis(&completed(&analysis(&session), 5)).await.unwrap();
    bench.drained().await;

    let removed = bench.store.delete_session(&session.owner, session.id).await.unwrap();
    assert_eq!(removed, 1 + 2 + 2 + 1, "session, frames, turns, state");
}

#[tokio::test(start_paused = true)]
async fn what_a_store_that_is_well_holds_against_a_write_is_returned_and_nothing_waits() {
    let bench = Bench::new().await;
    for failure in
        [UpstreamErrorKind::Rejected, UpstreamErrorKind::TooLarge, UpstreamErrorKind::InvalidResponse]
    {
        let session = session(&new_owner(), 2);
        bench.records.fail_about(session.id, failure);

        assert_eq!(kind(bench.store.create_session(&session).await), failure);
    }
    assert_eq!(bench.metrics.waiting.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_for_whatever_somebody_can_mend() {
    for failure in [
        UpstreamErrorKind::Unauthorized,
        UpstreamErrorKind::NotFound,
        UpstreamErrorKind::Exhausted,
        // A gateway that answers everything in the store's place.
        UpstreamErrorKind::Rejected,
        UpstreamErrorKind::InvalidResponse,
    ] {
        let bench = Bench::new().await;
        let deleted = bench.created().await;
        bench.records.fail_all(failure);

        let session = bench.created().await;
        bench.store.delete_session(&deleted.owner, deleted.id).await.unwrap();
        tokio::time::sleep(Duration::from_mins(10)).await;

        assert_eq!((bench.metrics.waiting.get(), bench.metrics.set_aside.get()), (2, 0), "{failure}");
        bench.records.mend();
        bench.drained().await;
        assert!(bench.arrived_of(&session).await.is_some(), "{failure}");
        assert_eq!(bench.arrived_of(&deleted).await, None, "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_always_fails_holds_up_its_own_session_alone() {
    let bench = Bench::new().await;
    let stuck = bench.created().await;
    bench.records.fail_all(DOWN);
    for number in 0..100 {
        bench.store.append_turns(stuck.id, &[turn(number, "Why?")]).await.unwrap();
    }
    let waiting = bench.created().await;

    bench.records.mend();
    bench.records.fail_about(stuck.id, UpstreamErrorKind::Timeout);
    bench.comes_to(degraded(100, 0)).await;
    let new = bench.created().await;
    let started = bench.store.start_analysis(&analysis(&new), at(-1)).await;

    assert!(bench.arrived_of(&waiting).await.is_some());
    assert!(bench.arrived_of(&new).await.is_some());
    assert_eq!(started.unwrap(), StartedAnalysis::Started);
    assert_eq!(bench.record_of(&stuck).await.unwrap().turns.len(), 100);
    bench.records.mend();
    bench.drained().await;
    assert_eq!(bench.arrived_of(&stuck).await.unwrap().turns.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn in_a_known_outage_nobody_waits_for_a_store_that_is_silent() {
    let bench = Bench::new().await;
    let kept = bench.created().await;
    bench.records.fail_all(DOWN);
    bench.created().await;
    bench.records.fall_silent();
    let start = Instant::now();

    assert_eq!(kind(bench.store.session(&kept.owner, kept.id).await), DOWN);
    assert_eq!(kind(bench.store.list_sessions(&kept.owner, None, 10).await), DOWN);
    assert_eq!(kind(bench.store.existing_sessions(&[kept.id]).await), DOWN);

    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_forgotten_while_a_slow_try_is_under_way() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    bench.created().await;
    bench.records.fall_silent();
    bench.records.take_calls();

    tokio::time::sleep(Duration::from_mins(9)).await;
    let later = bench.created().await;

    let calls = bench.records.take_calls();
    assert!(calls.iter().all(|(_, about)| *about != Some(later.id)), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn the_journal_does_not_wait_as_long_as_a_busy_store_asks() {
    let bench = Bench::new().await;
    bench.records.fail_all(UpstreamErrorKind::RateLimited { retry_after: Some(Duration::from_hours(1)) });
    let session = bench.created().await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    bench.records.mend();
    tokio::time::sleep(Duration::from_secs(31)).await;

    assert!(bench.arrived_of(&session).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_journal_past_its_bound_takes_a_deletion_and_keeps_what_waits_of_others() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let [deleted, kept] = [bench.created().await, bench.created().await];
    assert!(bench.store.shut_down(Duration::from_mins(1)).await);
    drop(bench.store);
    let journal = Journal::open(&path_in(&bench.folder), 1, JournalMetrics::default()).await.unwrap();
    let store = JournaledSessionStore::new(Arc::<BreakableRecords>::clone(&bench.records), journal);

    let removed = store.delete_session(&deleted.owner, deleted.id).await.unwrap();

    assert_eq!(removed, 1 + 2, "session, frames");
    assert_eq!(store.session(&deleted.owner, deleted.id).await.unwrap(), None);
    assert!(store.session(&kept.owner, kept.id).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_sent_after_the_next_start() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let session = bench.created().await;
    bench.store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();

    let bench = bench.restart().await;
    let record = bench.record_of(&session).await.unwrap();
    bench.records.mend();
    bench.drained().await;

    assert_eq!(record.turns, [turn(0, "Why?")]);
    assert_eq!(bench.arrived_of(&session).await, Some(record));
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_arrives_even_if_the_process_is_killed_at_any_moment() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let session = bench.created().await;
    bench.store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();
    let found_later = tempfile::tempdir().unwrap();

    // A copy of the files, taken while they are open, is what a killed process leaves behind.
    for name in ["journal.db", "journal.db-wal"] {
        std::fs::copy(bench.folder.path().join(name), found_later.path().join(name)).unwrap();
    }
    // What was under way when it was killed may have arrived.
    bench.records.unbroken().create_session(&session).await.unwrap();
    bench.records.mend();
    let started = Bench { store: reopened(&path_in(&found_later), &bench.records).await, ..bench };
    started.drained().await;

    let record = started.arrived_of(&session).await.unwrap();
    assert_eq!(record, SessionRecord { session, analyses: vec![], turns: vec![turn(0, "Why?")] });
}

#[tokio::test(start_paused = true)]
async fn past_its_bound_the_journal_refuses_writes_and_nothing_of_them_stays() {
    let bench = Bench::with_room_for(2).await;
    bench.records.fail_all(DOWN);
    let session = bench.created().await;
    bench.store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();

    let refused = self::session(&new_owner(), 2);
    assert_eq!(kind(bench.store.create_session(&refused).await), DOWN);
    assert_eq!(kind(bench.store.append_turns(session.id, &[turn(1, "So?")]).await), DOWN);
    assert_eq!(kind(bench.store.check().await), DOWN);

    bench.records.mend();
    bench.drained().await;
    assert_eq!(bench.arrived_of(&session).await.unwrap().turns, [turn(0, "Why?")]);
    assert_eq!(bench.arrived_of(&refused).await, None);
    bench.store.create_session(&refused).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_journal_still_takes_the_deletion_of_what_waits_in_it() {
    let bench = Bench::with_room_for(1).await;
    bench.records.fail_all(DOWN);
    let session = bench.created().await;

    let removed = bench.store.delete_session(&session.owner, session.id).await.unwrap();

    assert_eq!(removed, 1 + 2, "session, frames");
    assert_eq!(bench.record_of(&session).await, None);
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_session_that_is_deleted_during_an_outage_stays_on_the_disk() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let session = Session { user_notes: Some("my-secret ".repeat(1_000)), ..session(&new_owner(), 2) };
    bench.store.create_session(&session).await.unwrap();
    bench.store.append_turns(session.id, &[turn(0, "my-secret-question")]).await.unwrap();
    assert!(bench.is_on_the_disk("my-secret"));

    bench.store.delete_session(&session.owner, session.id).await.unwrap();

    assert!(!bench.is_on_the_disk("my-secret"));
    assert_eq!(bench.record_of(&session).await, None);
    bench.records.mend();
    bench.drained().await;
    assert_eq!(bench.arrived_of(&session).await, None);
    assert!(!bench.is_on_the_disk(&session.id.to_string()));
}

#[tokio::test(start_paused = true)]
async fn what_waits_of_a_session_that_is_in_the_store_goes_with_its_deletion_too() {
    let bench = Bench::new().await;
    let session = bench.created().await;
    bench.record_of(&session).await.unwrap();
    bench.records.fail_all(DOWN);
    bench.store.append_turns(session.id, &[turn(0, "my-secret-question")]).await.unwrap();
    assert!(bench.is_on_the_disk("my-secret"));

    bench.store.delete_session(&session.owner, session.id).await.unwrap();

    assert!(!bench.is_on_the_disk("my-secret"));
    assert_eq!(bench.record_of(&session).await, None);
    bench.records.mend();
    bench.drained().await;
    assert_eq!(bench.arrived_of(&session).await, None);
}

#[tokio::test(start_paused = true)]
async fn what_has_arrived_is_on_the_disk_no_more() {
    let bench = Bench::new().await;
    bench.records.fail_next(1, DOWN);
    let session = Session { user_notes: Some("my-secret-notes".to_owned()), ..session(&new_owner(), 2) };
    bench.store.create_session(&session).await.unwrap();

    bench.drained().await;

    assert!(bench.arrived_of(&session).await.is_some());
    assert!(!bench.is_on_the_disk("my-secret"));
}

#[tokio::test(start_paused = true)]
async fn nobody_deletes_what_waits_of_another() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let session = bench.created().await;

    let removed = bench.store.delete_session(&new_owner(), session.id).await.unwrap();

    assert_eq!(removed, 0);
    assert!(bench.record_of(&session).await.is_some());
    assert_eq!(bench.store.session(&new_owner(), session.id).await.ok().flatten(), None);
    bench.records.mend();
    bench.drained().await;
    assert!(bench.arrived_of(&session).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn during_an_outage_reads_of_what_only_the_store_knows_fail() {
    let bench = Bench::new().await;
    let [kept, deleted] = [bench.created().await, bench.created().await];
    bench.records.fail_all(DOWN);
    let waiting = bench.created().await;
    bench.store.delete_session(&deleted.owner, deleted.id).await.unwrap();

    assert_eq!(kind(bench.store.session(&kept.owner, kept.id).await), DOWN);
    assert_eq!(kind(bench.store.list_sessions(&waiting.owner, None, 10).await), DOWN);
    assert_eq!(kind(bench.store.existing_sessions(&[waiting.id]).await), DOWN);
    assert_eq!(bench.record_of(&deleted).await, None);
}

#[tokio::test(start_paused = true)]
async fn an_analysis_is_not_started_while_the_store_cannot_say_whether_one_runs() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let session = bench.created().await;
    let analysis = analysis(&session);
    bench.records.take_calls();

    assert_eq!(kind(bench.store.start_analysis(&analysis, at(-1)).await), DOWN);

    assert!(bench.records.take_calls().iter().all(|(name, _)| *name != "start_analysis"));
    bench.records.mend();
    bench.drained().await;
    let outcome = bench.store.start_analysis(&analysis, at(-1)).await.unwrap();
    assert_eq!(outcome, StartedAnalysis::Started);
}

/// A session whose second write, the first of its conversation, is refused for good when it arrives.
async fn with_a_refused_write(bench: &Bench) -> Session {
    let session = bench.created().await;
    bench.records.fail_next(1, DOWN);
    bench.records.refuse(session.id);
    bench.store.append_turns(session.id, &[turn(0, "my-secret-question")]).await.unwrap();
    bench.comes_to(degraded(1, 1)).await;
    session
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_for_good_is_set_aside_and_only_its_session_stands_still() {
    let bench = Bench::new().await;
    let stands_still = with_a_refused_write(&bench).await;

    bench.store.append_turns(stands_still.id, &[turn(1, "Because.")]).await.unwrap();
    bench.records.fail_next(1, DOWN);
    let goes_on = bench.created().await;
    bench.comes_to(degraded(2, 1)).await;

    assert!(bench.arrived_of(&goes_on).await.is_some());
    assert_eq!(bench.arrived_of(&stands_still).await.unwrap().turns, []);
    assert_eq!(bench.record_of(&stands_still).await.unwrap().turns.len(), 2, "they are read here");
    assert_eq!((bench.metrics.waiting.get(), bench.metrics.set_aside.get()), (2, 1));
    assert_eq!(bench.metrics.written.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_set_aside_is_sent_again_by_hand_in_its_order() {
    let bench = Bench::new().await;
    let session = with_a_refused_write(&bench).await;
    bench.store.append_turns(session.id, &[turn(1, "Because.")]).await.unwrap();
    assert!(bench.store.shut_down(Duration::from_mins(1)).await);
    let Bench { records, store, folder, .. } = bench;
    drop(store);
    let open = async || Journal::open(&path_in(&folder), 1_000, JournalMetrics::default()).await.unwrap();
    let send = async |journal| journal::drain(journal, Arc::<BreakableRecords>::clone(&records)).await;

    let refused_again = Drained { arrived: 0, left: Backlog { waiting: 2, set_aside: 1 } };
    assert_eq!(send(open().await).await.unwrap(), refused_again);
    records.mend();
    let all = Drained { arrived: 2, left: Backlog { waiting: 0, set_aside: 0 } };
    assert_eq!(send(open().await).await.unwrap(), all);

    let record = records.unbroken().session(&session.owner, session.id).await.unwrap().unwrap();
    assert_eq!(record.turns, [turn(0, "my-secret-question"), turn(1, "Because.")]);
}

#[tokio::test(start_paused = true)]
async fn what_was_set_aside_goes_when_its_session_is_deleted() {
    let bench = Bench::new().await;
    let session = with_a_refused_write(&bench).await;
    assert!(bench.is_on_the_disk("my-secret"));

    bench.store.delete_session(&session.owner, session.id).await.unwrap();

    assert!(!bench.is_on_the_disk("my-secret"));
    assert_eq!(bench.store.check().await.unwrap(), StoreHealth::Well);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_stands_still_can_be_deleted_during_an_outage() {
    let bench = Bench::new().await;
    let session = with_a_refused_write(&bench).await;
    let bench = bench.restart().await;
    bench.records.fail_all(DOWN);
    // Whose it is was forgotten with the restart, so what waits may go only when the store agrees.
    bench.store.delete_session(&session.owner, session.id).await.unwrap();

    bench.records.mend();
    bench.drained().await;

    assert_eq!(bench.arrived_of(&session).await, None);
    assert!(!bench.is_on_the_disk("my-secret"));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_setting_is_waited_for_and_nothing_is_set_aside() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let session = bench.created().await;

    bench.records.fail_all(UpstreamErrorKind::Unauthorized);
    tokio::time::sleep(Duration::from_mins(10)).await;

    assert_eq!(bench.store.check().await.unwrap(), degraded(1, 0));
    bench.records.mend();
    bench.drained().await;
    assert!(bench.arrived_of(&session).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_cannot_be_read_any_more_does_not_stop_the_others() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let [unreadable, readable] = [bench.created().await, bench.created().await];
    assert!(bench.store.shut_down(Duration::from_mins(1)).await);
    let file = rusqlite::Connection::open(path_in(&bench.folder)).unwrap();
    let changed =
        file.execute("UPDATE writes SET content = '{}' WHERE about = ?1", [unreadable.id.to_string()]);
    assert_eq!(changed.unwrap(), 1);
    drop(file);

    bench.records.mend();
    let bench = bench.restart().await;
    bench.comes_to(degraded(1, 1)).await;

    assert!(bench.arrived_of(&readable).await.is_some());
    bench.store.delete_session(&unreadable.owner, unreadable.id).await.unwrap();
    bench.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_cannot_be_read_any_more_does_not_hide_the_other_sessions_of_its_owner() {
    let bench = Bench::new().await;
    let owner = new_owner();
    let [unreadable, readable] = [session(&owner, 1), session(&owner, 1)];
    for session in [&unreadable, &readable] {
        bench.store.create_session(session).await.unwrap();
    }
    bench.records.refuse(unreadable.id);
    bench.records.fail_next(1, DOWN);
    bench.store.append_turns(unreadable.id, &[turn(0, "Why?")]).await.unwrap();
    bench.comes_to(degraded(1, 1)).await;
    rusqlite::Connection::open(path_in(&bench.folder))
        .unwrap()
        .execute("UPDATE writes SET content = '{}'", [])
        .unwrap();

    let listed = bench.store.list_sessions(&owner, None, 10).await.unwrap();

    let ids: Vec<_> = listed.iter().map(|it| it.session.id).collect();
    assert_eq!(ids, [readable.id, unreadable.id]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_of_one_session_can_be_given_up_and_the_others_stay() {
    let bench = Bench::new().await;
    let session = with_a_refused_write(&bench).await;
    bench.records.fail_all(DOWN);
    let kept = bench.created().await;
    assert!(bench.store.shut_down(Duration::from_mins(1)).await);
    drop(bench.store);
    let journal = Journal::open(&path_in(&bench.folder), 10, JournalMetrics::default()).await.unwrap();

    let given_up = journal.give_up(session.id.into()).await.unwrap().unwrap();

    assert_eq!(given_up.writes, [(WriteKind::AppendTurns, 1)]);
    assert_eq!(journal.give_up(session.id.into()).await.unwrap(), None);
    let [waiting] = &journal.by_subject().await.unwrap()[..] else { panic!("one session waits") };
    assert_eq!(waiting.about, kept.id.into());
    let beside = Journal::open_beside(&path_in(&bench.folder)).await.unwrap();
    assert_eq!(kind(beside.give_up(kept.id.into()).await), DOWN);
}

#[tokio::test(start_paused = true)]
async fn lists_show_what_waits_and_hide_what_is_to_be_deleted() {
    let bench = Bench::new().await;
    let owner = new_owner();
    let mut sessions: Vec<Session> = (0..6).map(|_| session(&owner, 1)).collect();
    // Two never arrive; one has turns that do not arrive; the others are there.
    let mut n_waiting = 0;
    for (n, session) in sessions.iter().enumerate() {
        if n == 1 || n == 4 {
            bench.records.fail_next(1, DOWN);
            bench.records.refuse(session.id);
            bench.store.create_session(session).await.unwrap();
            n_waiting += 1;
            bench.comes_to(degraded(n_waiting, n_waiting)).await;
        } else {
            bench.store.create_session(session).await.unwrap();
        }
    }
    bench.records.refuse(sessions[2].id);
    bench.records.fail_next(1, DOWN);
    bench.store.append_turns(sessions[2].id, &[turn(0, "Why?")]).await.unwrap();
    bench.comes_to(degraded(3, 3)).await;

    sessions.reverse();
    for limit in [1, 2, 4, 10] {
        let mut listed: Vec<SessionRecord> = Vec::new();
        loop {
            let before = listed.last().map(|it| it.session.id);
            let page = bench.store.list_sessions(&owner, before, limit).await.unwrap();
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            listed.extend(page);
        }
        assert_eq!(
            listed.iter().map(|it| &it.session).collect::<Vec<_>>(),
            sessions.iter().collect::<Vec<_>>()
        );
        let n_turns: Vec<_> = listed.iter().map(|it| it.turns.len()).collect();
        assert_eq!(n_turns, [0, 0, 0, 1, 0, 0], "pages of {limit}");
    }
    let mut existing = bench.store.existing_sessions(&[sessions[1].id, sessions[0].id]).await.unwrap();
    existing.sort();
    assert_eq!(existing, [sessions[1].id, sessions[0].id]);
}

#[tokio::test]
async fn two_processes_do_not_drain_one_file_but_one_may_look_at_it() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    let session = bench.created().await;
    let path = path_in(&bench.folder);

    let error = Journal::open(&path, 10, JournalMetrics::default()).await.unwrap_err();
    let beside = Journal::open_beside(&path).await.unwrap();

    assert_eq!(error.kind, DOWN);
    assert!(error.source.to_string().contains("another process has the journal open"), "{}", error.source);
    assert_eq!(beside.backlog().await.unwrap(), Backlog { waiting: 1, set_aside: 0 });
    let [waiting] = &beside.by_subject().await.unwrap()[..] else { panic!("one session waits") };
    assert_eq!((waiting.about, &waiting.set_aside), (session.id.into(), &None));
    assert_eq!(waiting.writes, [(WriteKind::CreateSession, 1)]);
    let other_records = BreakableRecords::new();
    let looker = JournaledSessionStore::new(Arc::<BreakableRecords>::clone(&other_records), beside.clone());
    assert_eq!(looker.existing_sessions(&[session.id]).await.unwrap(), [session.id], "a sweep must see it");
    other_records.fail_all(DOWN);
    assert_eq!(kind(looker.create_session(&session).await), DOWN);
    assert_eq!(kind(journal::drain(beside, other_records).await), DOWN);
}

#[tokio::test]
async fn whoever_only_looks_changes_nothing() {
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    bench.created().await;
    assert!(bench.store.shut_down(Duration::from_mins(1)).await);
    drop(bench.store);
    let missing = bench.folder.path().join("missing.db");

    let stopped = Journal::open_beside(&path_in(&bench.folder)).await.unwrap();
    let empty = Journal::open_beside(&missing).await.unwrap();

    assert_eq!(stopped.backlog().await.unwrap(), Backlog { waiting: 1, set_aside: 0 });
    assert_eq!(empty.backlog().await.unwrap(), Backlog { waiting: 0, set_aside: 0 });
    assert_eq!(empty.by_subject().await.unwrap(), []);
    assert!(!missing.exists());
}

#[cfg(unix)]
#[tokio::test]
async fn the_journal_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new().await;
    bench.records.fail_all(DOWN);
    bench.created().await;

    for name in ["journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"] {
        let metadata = std::fs::metadata(bench.folder.path().join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_journal_in_a_folder_that_does_not_exist_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("journal.db");

    let error = Journal::open(&path, 10, JournalMetrics::default()).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::NotFound);
    assert!(error.source.to_string().contains("its folder does not exist"), "{}", error.source);
}

#[tokio::test(start_paused = true)]
async fn states_that_waited_do_not_hide_a_later_one() {
    let bench = Bench::new().await;
    let session = bench.created().await;
    let analysis = analysis(&session);
    bench.records.fail_all(DOWN);
    bench.store.record_analysis(&completed(&analysis, 30)).await.unwrap();
    bench.store.record_analysis(&renewed(&analysis, 10)).await.unwrap();

    bench.records.mend();
    bench.drained().await;

    assert_eq!(bench.arrived_of(&session).await.unwrap().analyses, [completed(&analysis, 30)]);
    let owner = Owner::new("somebody");
    assert_eq!(bench.store.session(&owner, session.id).await.unwrap(), None);
}
