//! What every `SessionStore` does, told in small rules.
//!
//! To add an implementation: a function that opens one, and a line `contract!(its_name);`. A rule uses
//! owners and ids of its own only, so that a store may be shared and may hold other records.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::breakable_records::BreakableRecords;
use crate::support::records::{
    DIFFICULT_TEXT, analysis, at, bare_session, completed, failed, new_owner, renewed, session, turn,
};
use crate::support::snowflake_stub::SnowflakeStub;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;
use swimcoach::metadata::journal::{Journal, JournaledSessionStore};
use swimcoach::metadata::polled::PolledSessionStore;
use swimcoach::metadata::sqlite::SqliteSessionStore;
use swimcoach::metadata::{SessionRecord, SessionStore, StartedAnalysis, StoreHealth};
use swimcoach::metrics::JournalMetrics;
use swimcoach::session::{Analysis, AnalysisId, Owner, Session, SessionId};
use swimcoach::upstream::UpstreamErrorKind;

/// Runs every rule on the stores that the function of this name opens. A rule that is missing here is
/// an unused function, which does not pass the lints.
macro_rules! contract {
    ($implementation:ident) => {
        contract!($implementation:
            what_is_written_is_read_back_equal,
            a_session_without_optional_fields_is_read_back_equal,
            times_are_kept_to_the_millisecond,
            the_same_write_twice_is_the_same_as_once,
            a_session_whose_id_is_taken_is_left_as_it_is,
            another_owner_sees_nothing_and_deletes_nothing,
            sessions_are_listed_newest_first_in_pages_without_gap_or_repeat,
            a_listed_session_comes_with_everything_known_about_it,
            an_owner_without_sessions_has_an_empty_list,
            deletion_removes_everything_counts_it_and_can_be_repeated,
            deletion_leaves_other_sessions_alone,
            a_late_write_about_a_deleted_session_changes_nothing,
            a_session_deleted_while_it_is_created_does_not_come_back,
            nobody_keeps_another_from_creating_a_session,
            of_many_analyses_asked_for_at_once_one_starts,
            of_many_takeovers_of_a_stale_analysis_one_starts,
            starting_an_analysis_again_after_a_lost_answer_still_starts_it,
            a_running_analysis_blocks_until_it_is_stale,
            an_analysis_that_ended_does_not_block_the_next,
            the_latest_state_wins_in_whatever_order_states_arrive,
            an_analysis_that_ends_in_the_millisecond_of_its_start_has_ended,
            earlier_analyses_stay_in_the_order_in_which_they_were_asked_for,
            turns_of_one_write_are_seen_together,
            a_turn_whose_number_is_taken_is_left_as_it_is,
            existing_sessions_are_told_whoever_owns_them,
            a_healthy_store_passes_its_checks,
        );
    };
    ($implementation:ident: $($rule:ident),* $(,)?) => {
        mod $implementation {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $rule() {
                    let opened = super::$implementation().await;
                    super::$rule(&*opened.store).await;
                }
            )*
        }
    };
}

contract!(in_memory);
contract!(in_a_file);
contract!(snowflake_stub);
#[cfg(feature = "live")]
contract!(records_of_the_environment);
contract!(journaled);
contract!(polled);
// While the store is down there are no lists, and no analysis starts.
contract!(journaled_while_down:
    what_is_written_is_read_back_equal,
    a_session_without_optional_fields_is_read_back_equal,
    times_are_kept_to_the_millisecond,
    a_session_deleted_while_it_is_created_does_not_come_back,
    nobody_keeps_another_from_creating_a_session,
    turns_of_one_write_are_seen_together,
    a_turn_whose_number_is_taken_is_left_as_it_is,
);

/// A store, and what must live as long as it does.
struct Opened {
    store: Arc<dyn SessionStore>,
    _keep: Option<Box<dyn Any + Send>>,
}

async fn in_memory() -> Opened {
    Opened { store: Arc::new(SqliteSessionStore::in_memory().unwrap()), _keep: None }
}

async fn in_a_file() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    Opened { store: Arc::new(SqliteSessionStore::open(&path).await.unwrap()), _keep: Some(Box::new(folder)) }
}

async fn snowflake_stub() -> Opened {
    let store = SnowflakeStub::start().await.store();
    store.migrate(false).await.unwrap();
    Opened { store: Arc::new(store), _keep: None }
}

/// Whatever `SNOWFLAKE_…` or `DATABASE_URL` in the environment point at, as the service itself reads them, but
/// with a journal of its own, since a journal is one process's.
#[cfg(feature = "live")]
async fn records_of_the_environment() -> Opened {
    let settings = swimcoach::config::Settings::load(&|name| match name {
        "R2_MOCK_MODE" | "ANTHROPIC_MOCK_MODE" => Some("true".to_owned()),
        // Tests run at one time, and a journal belongs to one of them.
        "SNOWFLAKE_JOURNAL" => Some("off".to_owned()),
        _ => std::env::var(name).ok(),
    });
    let mut settings = settings.unwrap();
    let folder = tempfile::tempdir().unwrap();
    settings.journal.path = Some(folder.path().join("journal.db"));
    if let swimcoach::config::RecordSettings::Snowflake(snowflake) = &settings.records {
        let store = swimcoach::metadata::snowflake::SnowflakeSessionStore::connect(snowflake).unwrap();
        store.migrate(false).await.unwrap();
    }
    let parts = swimcoach::run::Parts::build(&settings, ([127, 0, 0, 1], 0).into()).await.unwrap();
    Opened { store: parts.sessions, _keep: Some(Box::new(folder)) }
}

async fn journaled() -> Opened {
    journaled_over(BreakableRecords::new()).await
}

async fn journaled_while_down() -> Opened {
    let records = BreakableRecords::new();
    records.fail_all(UpstreamErrorKind::Unavailable);
    journaled_over(records).await
}

async fn journaled_over(records: Arc<BreakableRecords>) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = Journal::open(&path, 100, JournalMetrics::default()).await.unwrap();
    let store = Arc::new(JournaledSessionStore::new(records, journal));
    Opened { store, _keep: Some(Box::new(folder)) }
}

async fn polled() -> Opened {
    let records = SqliteSessionStore::in_memory().unwrap();
    Opened { store: Arc::new(PolledSessionStore::new(Arc::new(records))), _keep: None }
}

/// Nothing is stale yet at this time.
fn long_ago() -> DateTime<Utc> {
    at(-1_000_000)
}

async fn created(store: &dyn SessionStore, owner: &Owner) -> Session {
    let session = session(owner, 2);
    store.create_session(&session).await.unwrap();
    session
}

async fn started(store: &dyn SessionStore, session: &Session) -> Analysis {
    let analysis = analysis(session);
    let outcome = store.start_analysis(&analysis, long_ago()).await.unwrap();
    assert_eq!(outcome, StartedAnalysis::Started);
    analysis
}

async fn record_of(store: &dyn SessionStore, session: &Session) -> Option<SessionRecord> {
    store.session(&session.owner, session.id).await.unwrap()
}

async fn analyses_of(store: &dyn SessionStore, session: &Session) -> Vec<Analysis> {
    record_of(store, session).await.unwrap().analyses
}

async fn what_is_written_is_read_back_equal(store: &dyn SessionStore) {
    let session = session(&new_owner(), 60);
    let analyses = vec![completed(&analysis(&session), 7), failed(&analysis(&session), 9)];
    let turns = vec![turn(0, DIFFICULT_TEXT), turn(1, "")];

    store.create_session(&session).await.unwrap();
    for analysis in &analyses {
        store.record_analysis(analysis).await.unwrap();
    }
    store.append_turns(session.id, &turns).await.unwrap();

    let record = record_of(store, &session).await.unwrap();
    assert_eq!(record, SessionRecord { session, analyses, turns });
}

async fn a_session_without_optional_fields_is_read_back_equal(store: &dyn SessionStore) {
    let session = bare_session(&new_owner());

    store.create_session(&session).await.unwrap();

    let record = record_of(store, &session).await.unwrap();
    assert_eq!(record, SessionRecord { session, analyses: vec![], turns: vec![] });
}

async fn times_are_kept_to_the_millisecond(store: &dyn SessionStore) {
    let session = Session { created_at: at(0) + TimeDelta::microseconds(999), ..session(&new_owner(), 1) };

    store.create_session(&session).await.unwrap();

    let kept = record_of(store, &session).await.unwrap().session.created_at;
    assert_eq!(kept.timestamp_millis(), at(0).timestamp_millis());
}

async fn the_same_write_twice_is_the_same_as_once(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let complete = completed(&started(store, &session).await, 5);
    let turns = [turn(0, "Why?"), turn(1, "Because.")];

    for _ in 0..2 {
        store.create_session(&session).await.unwrap();
        store.record_analysis(&complete).await.unwrap();
        store.append_turns(session.id, &turns).await.unwrap();
    }

    let record = record_of(store, &session).await.unwrap();
    assert_eq!(record.session, session);
    assert_eq!(record.analyses, [complete]);
    assert_eq!(record.turns, turns);
    let removed = store.delete_session(&session.owner, session.id).await.unwrap();
    assert_eq!(removed, 1 + 2 + 2 + 2, "session, frames, states, turns");
}

async fn a_session_whose_id_is_taken_is_left_as_it_is(store: &dyn SessionStore) {
    let first = created(store, &new_owner()).await;
    let second = Session { id: first.id, title: Some("Another".to_owned()), ..session(&new_owner(), 5) };

    store.create_session(&second).await.unwrap();

    assert_eq!(record_of(store, &first).await.unwrap().session, first);
    assert_eq!(record_of(store, &second).await, None);
}

async fn another_owner_sees_nothing_and_deletes_nothing(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let stranger = new_owner();

    let removed = store.delete_session(&stranger, session.id).await.unwrap();

    assert_eq!(removed, 0);
    assert_eq!(store.session(&stranger, session.id).await.unwrap(), None);
    assert_eq!(store.list_sessions(&stranger, None, 10).await.unwrap(), []);
    assert!(record_of(store, &session).await.is_some());
}

async fn sessions_are_listed_newest_first_in_pages_without_gap_or_repeat(store: &dyn SessionStore) {
    let owner = new_owner();
    let mut ids = Vec::new();
    for _ in 0..7 {
        created(store, &new_owner()).await;
        ids.push(created(store, &owner).await.id);
    }
    ids.reverse();

    for limit in [1, 2, 3, 7, 50] {
        let mut listed: Vec<SessionId> = Vec::new();
        loop {
            let before = listed.last().copied();
            let page = store.list_sessions(&owner, before, limit).await.unwrap();
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            listed.extend(page.iter().map(|record| record.session.id));
            assert!(listed.len() <= ids.len(), "pages of {limit} repeat sessions");
        }
        assert_eq!(listed, ids, "pages of {limit}");
    }
}

async fn a_listed_session_comes_with_everything_known_about_it(store: &dyn SessionStore) {
    let owner = new_owner();
    let mut expected = Vec::new();
    for n_turns in 0..3 {
        let session = created(store, &owner).await;
        let complete = completed(&started(store, &session).await, 5);
        store.record_analysis(&complete).await.unwrap();
        let turns: Vec<_> = (0..n_turns).map(|number| turn(number, "Hm.")).collect();
        store.append_turns(session.id, &turns).await.unwrap();
        expected.insert(0, SessionRecord { session, analyses: vec![complete], turns });
    }

    let listed = store.list_sessions(&owner, None, 10).await.unwrap();

    assert_eq!(listed, expected);
}

async fn an_owner_without_sessions_has_an_empty_list(store: &dyn SessionStore) {
    let owner = new_owner();

    assert_eq!(store.list_sessions(&owner, None, 10).await.unwrap(), []);
    assert_eq!(store.session(&owner, SessionId::new()).await.unwrap(), None);
}

async fn deletion_removes_everything_counts_it_and_can_be_repeated(store: &dyn SessionStore) {
    let owner = new_owner();
    let session = created(store, &owner).await;
    let analysis = started(store, &session).await;
    store.record_analysis(&completed(&analysis, 5)).await.unwrap();
    let turns = [turn(0, "Why?"), turn(1, "Because."), turn(2, "Thanks.")];
    store.append_turns(session.id, &turns).await.unwrap();

    let removed = store.delete_session(&owner, session.id).await.unwrap();
    let removed_again = store.delete_session(&owner, session.id).await.unwrap();

    assert_eq!(removed, 1 + 2 + 2 + 3, "session, frames, states, turns");
    assert_eq!(removed_again, 0);
    assert_eq!(record_of(store, &session).await, None);
    assert_eq!(store.list_sessions(&owner, None, 10).await.unwrap(), []);
    assert_eq!(store.existing_sessions(&[session.id]).await.unwrap(), []);
}

async fn deletion_leaves_other_sessions_alone(store: &dyn SessionStore) {
    let owner = new_owner();
    let [kept, gone] = [created(store, &owner).await, created(store, &owner).await];
    let analysis = started(store, &kept).await;
    store.append_turns(kept.id, &[turn(0, "Why?")]).await.unwrap();

    store.delete_session(&owner, gone.id).await.unwrap();

    let listed = store.list_sessions(&owner, None, 10).await.unwrap();
    let expected = SessionRecord { session: kept, analyses: vec![analysis], turns: vec![turn(0, "Why?")] };
    assert_eq!(listed, [expected]);
}

async fn a_late_write_about_a_deleted_session_changes_nothing(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let analysis = started(store, &session).await;
    store.delete_session(&session.owner, session.id).await.unwrap();

    store.record_analysis(&completed(&analysis, 5)).await.unwrap();
    store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();
    store.create_session(&session).await.unwrap();
    let outcome = store.start_analysis(&renewed(&analysis, 9), long_ago()).await.unwrap();

    assert_eq!(outcome, StartedAnalysis::NoSession);
    assert_eq!(record_of(store, &session).await, None);
    assert_eq!(store.existing_sessions(&[session.id]).await.unwrap(), []);
    let removed = store.delete_session(&session.owner, session.id).await.unwrap();
    assert_eq!(removed, 0, "nothing was left behind");
}

async fn a_session_deleted_while_it_is_created_does_not_come_back(store: &dyn SessionStore) {
    let session = session(&new_owner(), 2);

    store.delete_session(&session.owner, session.id).await.unwrap();
    store.create_session(&session).await.unwrap();

    assert_eq!(record_of(store, &session).await, None);
}

async fn nobody_keeps_another_from_creating_a_session(store: &dyn SessionStore) {
    let session = session(&new_owner(), 2);

    store.delete_session(&new_owner(), session.id).await.unwrap();
    store.create_session(&session).await.unwrap();

    assert!(record_of(store, &session).await.is_some());
}

/// Starts all of these at once and returns the ids of those that started.
async fn start_all(
    store: &dyn SessionStore,
    analyses: &[Analysis],
    stale_before: DateTime<Utc>,
) -> Vec<AnalysisId> {
    let starts = analyses.iter().map(|analysis| store.start_analysis(analysis, stale_before));
    let outcomes = join_all(starts).await.into_iter().map(Result::unwrap);
    let (started, blocked): (Vec<_>, Vec<_>) =
        outcomes.zip(analyses).partition(|(outcome, _)| *outcome == StartedAnalysis::Started);
    for (outcome, _) in blocked {
        assert!(matches!(outcome, StartedAnalysis::AlreadyRunning(_)), "{outcome:?}");
    }
    started.into_iter().map(|(_, analysis)| analysis.id).collect()
}

async fn of_many_analyses_asked_for_at_once_one_starts(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let asked: Vec<_> = (0..20).map(|_| analysis(&session)).collect();

    let started = start_all(store, &asked, long_ago()).await;

    assert_eq!(started.len(), 1);
    let [recorded] = &analyses_of(store, &session).await[..] else { panic!("one analysis is recorded") };
    assert_eq!(recorded.id, started[0]);
}

async fn of_many_takeovers_of_a_stale_analysis_one_starts(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let abandoned = started(store, &session).await;
    let takeovers: Vec<_> = (1..=20).map(|ms| renewed(&abandoned, 60_000 + ms)).collect();

    let started = start_all(store, &takeovers, at(60_000)).await;

    assert_eq!(started, [abandoned.id]);
    assert_eq!(analyses_of(store, &session).await.len(), 1);
}

async fn starting_an_analysis_again_after_a_lost_answer_still_starts_it(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let analysis = started(store, &session).await;

    let again = store.start_analysis(&analysis, long_ago()).await.unwrap();

    assert_eq!(again, StartedAnalysis::Started);
    assert_eq!(analyses_of(store, &session).await, [analysis]);
}

async fn a_running_analysis_blocks_until_it_is_stale(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let first = started(store, &session).await;
    let first = renewed(&first, 1_000);
    store.record_analysis(&first).await.unwrap();
    let second = renewed(&analysis(&session), 2_000);

    let before_stale = store.start_analysis(&second, at(1_000)).await.unwrap();
    let when_stale = store.start_analysis(&second, at(1_001)).await.unwrap();

    assert_eq!(before_stale, StartedAnalysis::AlreadyRunning(Box::new(first.clone())));
    assert_eq!(when_stale, StartedAnalysis::Started);
    assert_eq!(analyses_of(store, &session).await, [first, second]);
}

async fn an_analysis_that_ended_does_not_block_the_next(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;

    for end in [completed, failed] {
        let ended = end(&started(store, &session).await, 5);
        store.record_analysis(&ended).await.unwrap();
    }

    started(store, &session).await;
}

async fn the_latest_state_wins_in_whatever_order_states_arrive(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let analysis = started(store, &session).await;
    let complete = completed(&analysis, 30);

    for state in [failed(&analysis, 20), complete.clone(), renewed(&analysis, 10)] {
        store.record_analysis(&state).await.unwrap();
    }

    assert_eq!(analyses_of(store, &session).await, [complete]);
}

async fn an_analysis_that_ends_in_the_millisecond_of_its_start_has_ended(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let complete = completed(&started(store, &session).await, 0);

    store.record_analysis(&complete).await.unwrap();

    assert_eq!(analyses_of(store, &session).await, [complete]);
    started(store, &session).await;
}

async fn earlier_analyses_stay_in_the_order_in_which_they_were_asked_for(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    let mut expected = Vec::new();

    for n in 0..3 {
        let ended = completed(&started(store, &session).await, 100 - n);
        store.record_analysis(&ended).await.unwrap();
        expected.push(ended);
    }

    assert_eq!(analyses_of(store, &session).await, expected);
}

async fn turns_of_one_write_are_seen_together(store: &dyn SessionStore) {
    const N_WRITES: u32 = 20;
    let session = created(store, &new_owner()).await;
    let write = async {
        for number in (0..2 * N_WRITES).step_by(2) {
            let pair = [turn(number, "Why?"), turn(number + 1, "Because.")];
            store.append_turns(session.id, &pair).await.unwrap();
        }
    };
    let read = async {
        loop {
            let n_turns = record_of(store, &session).await.unwrap().turns.len();
            assert_eq!(n_turns % 2, 0, "half of a write was seen");
            if n_turns == 2 * N_WRITES as usize {
                break;
            }
        }
    };

    tokio::join!(write, read);
}

async fn a_turn_whose_number_is_taken_is_left_as_it_is(store: &dyn SessionStore) {
    let session = created(store, &new_owner()).await;
    store.append_turns(session.id, &[turn(0, "first")]).await.unwrap();

    let later = [turn(0, "second"), turn(1, "second")];
    store.append_turns(session.id, &later).await.unwrap();

    let turns = record_of(store, &session).await.unwrap().turns;
    assert_eq!(turns, [turn(0, "first"), turn(1, "second")]);
}

async fn existing_sessions_are_told_whoever_owns_them(store: &dyn SessionStore) {
    let mine = created(store, &new_owner()).await.id;
    let theirs = created(store, &new_owner()).await.id;

    let existing = store.existing_sessions(&[theirs, SessionId::new(), mine]).await.unwrap();

    assert_eq!(existing.len(), 2);
    assert_eq!(HashSet::from_iter(existing), HashSet::from([mine, theirs]));
    assert_eq!(store.existing_sessions(&[]).await.unwrap(), []);
}

async fn a_healthy_store_passes_its_checks(store: &dyn SessionStore) {
    assert_eq!(store.check().await.unwrap(), StoreHealth::Well);
    store.probe().await.unwrap();
}
