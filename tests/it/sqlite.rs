//! What the embedded database promises beyond the contract of every `SessionStore`: its file.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::records::{
    DIFFICULT_TEXT, analysis, at, charge, completed, frame, new_owner, session, turn,
};
use futures_util::future::join_all;
use std::path::Path;
use std::time::Duration;
use swimcoach::analysis::{MicroUsd, Usage};
use swimcoach::ledger::{BudgetScope, Budgets, Charge, Month, Reservation};
use swimcoach::metadata::sqlite::SqliteSessionStore;
use swimcoach::metadata::{
    AddedFrames, Entry, EntryKind, Exchanged, SessionRecord, SessionStore, StartedAnalysis,
};
use swimcoach::session::{Analysis, AnalysisId, Session};
use swimcoach::upstream::UpstreamErrorKind;

async fn open(path: &Path) -> SqliteSessionStore {
    SqliteSessionStore::open(path).await.unwrap()
}

async fn refusal(path: &Path) -> (UpstreamErrorKind, String) {
    let error = SqliteSessionStore::open(path).await.unwrap_err();
    (error.kind, error.source.to_string())
}

#[tokio::test]
async fn a_file_keeps_its_records_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let session = session(&new_owner(), 15);
    let complete = completed(&analysis(&session), 5);
    let turns = vec![turn(0, DIFFICULT_TEXT)];
    let store = open(&path).await;
    store.create_session(&session).await.unwrap();
    store.record_analysis(&complete).await.unwrap();
    store.append_turns(session.id, &turns).await.unwrap();
    drop(store);

    for _ in 0..3 {
        let record = open(&path).await.session(&session.owner, session.id).await;

        let expected = SessionRecord {
            session: session.clone(),
            analyses: vec![complete.clone()],
            turns: turns.clone(),
        };
        assert_eq!(record.unwrap(), Some(expected));
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_files_even_if_the_process_ends_at_once() {
    let [folder, found_later] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let session = session(&new_owner(), 15);
    let store = open(&folder.path().join("records.db")).await;
    store.create_session(&session).await.unwrap();

    // A copy of the files, taken while the store is open, is what a killed process leaves behind.
    for name in ["records.db", "records.db-wal"] {
        std::fs::copy(folder.path().join(name), found_later.path().join(name)).unwrap();
    }

    let reopened = open(&found_later.path().join("records.db")).await;
    let record = reopened.session(&session.owner, session.id).await.unwrap();
    assert_eq!(record.unwrap().session, session);
}

#[tokio::test]
async fn two_stores_on_one_file_see_each_other_and_one_of_both_starts_an_analysis() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let [one, other] = [open(&path).await, open(&path).await];
    let session = session(&new_owner(), 15);

    one.create_session(&session).await.unwrap();

    assert_eq!(other.existing_sessions(&[session.id]).await.unwrap(), [session.id]);
    let asked: Vec<_> = (0..20).map(|_| analysis(&session)).collect();
    let outcomes = join_all(asked.iter().enumerate().map(|(n, analysis)| {
        let store = [&one, &other][n % 2];
        store.start_analysis(analysis, at(-1))
    }))
    .await;
    let n_started =
        outcomes.into_iter().filter(|outcome| *outcome.as_ref().unwrap() == StartedAnalysis::Started).count();
    assert_eq!(n_started, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_hold_no_more_together_than_fits_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let stores = [open(&path).await, open(&path).await];
    let owner = new_owner();
    let charges: Vec<_> = (0..50).map(|_| charge(&owner, 100)).collect();
    let budgets =
        Budgets { caller: Some(MicroUsd(1_000)), service: Some(MicroUsd(1_000)), analyses_per_day: None };

    let reservations =
        charges.iter().zip(stores.iter().cycle()).map(|(it, store)| store.reserve(it, &budgets));
    let outcomes = join_all(reservations).await;

    let is_held = |it: &Result<_, _>| *it.as_ref().unwrap() == Reservation::Held;
    assert_eq!(outcomes.iter().filter(|it| is_held(it)).count(), 10);
    for store in &stores {
        let usage = store.month_usage(&owner, Month::of(at(0))).await.unwrap();
        assert_eq!(usage.reserved, MicroUsd(1_000));
    }
}

#[tokio::test]
async fn what_nobody_settles_is_held_for_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let store = open(&path).await;
    let owner = new_owner();
    let budgets = Budgets { caller: Some(MicroUsd(1_000)), service: None, analyses_per_day: None };
    store.reserve(&charge(&owner, 1_000), &budgets).await.unwrap();
    let file = rusqlite::Connection::open(&path).unwrap();
    let mut outcomes = Vec::new();

    for seconds in [24 * 3600 - 60, 120] {
        file.execute("UPDATE charges SET recorded_at = recorded_at - 1000 * ?1", [seconds]).unwrap();
        let reserved = store.month_usage(&owner, Month::of(at(0))).await.unwrap().reserved;
        outcomes.push((reserved, store.reserve(&charge(&owner, 1), &budgets).await.unwrap()));
    }

    let (scope, budget) = (BudgetScope::Caller, MicroUsd(1_000));
    let refused = Reservation::OverBudget { scope, budget, taken: budget };
    assert_eq!(outcomes, [(budget, refused), (MicroUsd(0), Reservation::Held)]);
}

#[tokio::test]
async fn a_file_of_an_earlier_version_keeps_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let session = session(&new_owner(), 15);
    let running = Analysis { runner: None, ..analysis(&session) };
    let complete = completed(&Analysis { id: AnalysisId::new(), ..running.clone() }, 5);
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(include_str!("../../migrations/sqlite/0001_sessions.sql")).unwrap();
    file.pragma_update(None, "user_version", 1).unwrap();
    file.execute(
        "INSERT INTO sessions (session_id, owner, created_at, stroke_type) VALUES (?1, ?2, ?3, 'butterfly')",
        (session.id.to_string(), session.owner.as_str(), at(0).timestamp_millis()),
    )
    .unwrap();
    for analysis in [&running, &complete] {
        let mut state = serde_json::to_value(analysis).unwrap();
        for field in ["options", "attempt", "events", "looks", "left_out", "runner"] {
            state.as_object_mut().unwrap().remove(field);
        }
        file.execute(
            "INSERT INTO analysis_states (session_id, analysis_id, updated_at, status, state)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                session.id.to_string(),
                analysis.id.to_string(),
                analysis.updated_at.timestamp_millis(),
                serde_json::to_value(analysis.status).unwrap().as_str(),
                state.to_string(),
            ),
        )
        .unwrap();
    }
    file.execute(
        "INSERT INTO turns VALUES (?1, 0, 'user', 'Why?', ?2)",
        (session.id.to_string(), at(0).timestamp_millis()),
    )
    .unwrap();
    drop(file);

    let store = open(&path).await;

    let record = store.session(&session.owner, session.id).await.unwrap().unwrap();
    assert_eq!(record.analyses, [running.clone(), complete]);
    assert_eq!(record.turns, [turn(0, "Why?")]);
    assert_eq!(store.unfinished_analyses(at(0)).await.unwrap(), [(session.owner, running)]);
}

#[tokio::test]
async fn a_file_of_the_version_before_terms_and_small_records_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let session = Session { consent: None, expires_at: None, ..session(&new_owner(), 2) };
    let spent = Usage { requests: 1, ..Usage::default() };
    let asked = Charge { usage: spent, ..charge(&session.owner, 300) };
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(include_str!("../../migrations/sqlite/0001_sessions.sql")).unwrap();
    file.execute_batch(include_str!("../../migrations/sqlite/0002_attempts_answers_and_charges.sql"))
        .unwrap();
    file.pragma_update(None, "user_version", 2).unwrap();
    file.execute(
        "INSERT INTO sessions VALUES (?1, ?2, ?3, 'butterfly', ?4, ?5, 'overhead')",
        (
            session.id.to_string(),
            session.owner.as_str(),
            session.created_at.timestamp_millis(),
            session.user_notes.as_deref(),
            session.title.as_deref(),
        ),
    )
    .unwrap();
    for it in &session.frames {
        file.execute(
            "INSERT INTO frames VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (
                session.id.to_string(),
                it.number.get(),
                it.size_bytes,
                it.width,
                it.height,
                it.timestamp_ms,
                it.etag.as_str(),
            ),
        )
        .unwrap();
    }
    file.execute(
        "INSERT INTO charges VALUES (?1, ?2, 'analysis', NULL, ?3, 1, ?3, 300, 1, 0, 0, 0, 0, 0, 0, 300, 0, 0, 0, 0)",
        (asked.id.to_string(), session.owner.as_str(), asked.at.timestamp_millis()),
    )
    .unwrap();
    drop(file);

    let store = open(&path).await;

    let record = store.session(&session.owner, session.id).await.unwrap().unwrap();
    assert_eq!(record.session, session);
    let usage = store.month_usage(&session.owner, Month::of(at(0))).await.unwrap();
    assert_eq!((usage.usage.cost, usage.analyses), (Some(MicroUsd(300)), 1));
    let budgets = Budgets { caller: None, service: None, analyses_per_day: Some(1) };
    let outcome = store.reserve(&charge(&session.owner, 1), &budgets).await.unwrap();
    assert_eq!(outcome, Reservation::EnoughToday { limit: 1 });
    let expired = store.expired_sessions(at(0), session.created_at, 10).await.unwrap();
    assert_eq!(expired, [(session.owner.clone(), session.id)]);
    let added = store.add_frames(&session.owner, session.id, &[frame(3)]).await.unwrap();
    assert_eq!(added, AddedFrames::Added { taken: Vec::new() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_exchange_a_small_record_for_one_of_all_who_want_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let stores = [open(&path).await, open(&path).await];
    let wanted: Vec<_> = (0..50).map(|n| lease(&n.to_string())).collect();

    let takes = wanted.iter().zip(stores.iter().cycle());
    let outcomes = join_all(takes.map(|(it, store)| store.exchange_entry(None, it))).await;

    let holders: Vec<_> =
        wanted.iter().zip(outcomes).filter(|(_, it)| *it.as_ref().unwrap() == Exchanged::Put).collect();
    assert_eq!(holders.len(), 1);
    for store in &stores {
        let there = store.entry(EntryKind::Lease, "sweep").await.unwrap();
        assert_eq!(there.as_ref(), Some(holders[0].0));
    }
}

fn lease(value: &str) -> Entry {
    Entry {
        kind: EntryKind::Lease,
        name: "sweep".to_owned(),
        owner: None,
        session: None,
        value: value.to_owned(),
        recorded_at: at(0),
    }
}

#[tokio::test]
async fn many_writers_on_one_file_wait_for_each_other_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let stores = join_all((0..4).map(|_| open(&path))).await;
    let owner = new_owner();
    let sessions: Vec<Session> = (0..40).map(|_| session(&owner, 15)).collect();

    let writes = sessions.iter().zip(stores.iter().cycle());
    let results = join_all(writes.map(|(session, store)| store.create_session(session))).await;

    for result in results {
        result.unwrap();
    }
    let listed = stores[0].list_sessions(&owner, None, 100).await.unwrap();
    let listed: Vec<_> = listed.into_iter().rev().map(|record| record.session).collect();
    assert_eq!(listed, sessions);
}

#[tokio::test]
async fn a_new_file_can_be_opened_by_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");

    let opened = join_all((0..8).map(|_| SqliteSessionStore::open(&path))).await;

    for store in opened {
        store.unwrap().probe().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_busy_while_it_is_opened_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let writer = rusqlite::Connection::open(&path).unwrap();
    // Nobody can turn on the log meanwhile, and the database says so at once instead of waiting.
    writer.execute_batch("BEGIN IMMEDIATE;").unwrap();
    // Time stands still while a thread works, so the writer goes only after the first try has failed.
    let writer_goes = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(writer);
    };

    let (opened, ()) = tokio::join!(SqliteSessionStore::open(&path), writer_goes);

    opened.unwrap().probe().await.unwrap();
}

#[tokio::test]
async fn a_write_that_fails_half_way_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let store = open(&path).await;
    let [kept, refused] = [session(&new_owner(), 2), session(&new_owner(), 3)];
    store.create_session(&kept).await.unwrap();
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(
        "CREATE TRIGGER no_second_turn BEFORE INSERT ON turns WHEN new.number = 1
         BEGIN SELECT RAISE(ABORT, 'test'); END;
         CREATE TRIGGER no_third_frame BEFORE INSERT ON frames WHEN new.number = 3
         BEGIN SELECT RAISE(ABORT, 'test'); END;
         CREATE TRIGGER no_deletion BEFORE DELETE ON sessions
         BEGIN SELECT RAISE(ABORT, 'test'); END;",
    )
    .unwrap();

    let turns = [turn(0, "Why?"), turn(1, "Because.")];
    store.append_turns(kept.id, &turns).await.unwrap_err();
    store.create_session(&refused).await.unwrap_err();
    store.delete_session(&kept.owner, kept.id).await.unwrap_err();

    let record = store.session(&kept.owner, kept.id).await.unwrap().unwrap();
    assert_eq!(record.session, kept);
    assert_eq!(record.turns, []);
    assert_eq!(store.existing_sessions(&[refused.id]).await.unwrap(), []);
}

#[tokio::test]
async fn what_was_deleted_is_in_no_file_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("records.db")).await;
    let session = Session { user_notes: Some("my-secret-notes ".repeat(1_000)), ..session(&new_owner(), 15) };
    store.create_session(&session).await.unwrap();
    let turns = [turn(0, "my-secret-question")];
    store.append_turns(session.id, &turns).await.unwrap();
    let answered = |value: &str| Entry {
        kind: EntryKind::Request,
        owner: Some(session.owner.clone()),
        session: Some(session.id),
        ..lease(value)
    };
    let value = "my-secret-answer ".repeat(1_000);
    store.exchange_entry(None, &answered(&value)).await.unwrap();
    assert!(is_in_a_file(folder.path(), "my-secret-notes"));
    assert!(is_in_a_file(folder.path(), "my-secret-answer"));

    store.delete_session(&session.owner, session.id).await.unwrap();
    store.exchange_entry(None, &answered("my-secret-late-answer")).await.unwrap();

    assert!(!is_in_a_file(folder.path(), "my-secret"));
    let bare = Entry { session: None, ..answered("my-secret-key") };
    store.exchange_entry(None, &bare).await.unwrap();
    assert!(is_in_a_file(folder.path(), "my-secret-key"));
    assert!(store.remove_entry(bare.kind, &bare.name, &bare.value).await.unwrap());
    assert!(!is_in_a_file(folder.path(), "my-secret-key"));
}

fn is_in_a_file(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        memchr::memmem::find(&bytes, text.as_bytes()).is_some()
    })
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_and_its_log_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("records.db")).await;

    store.probe().await.unwrap();
    let session = session(&new_owner(), 1);
    store.create_session(&session).await.unwrap();

    for name in ["records.db", "records.db-wal", "records.db-shm"] {
        let metadata = std::fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_file_in_a_folder_that_does_not_exist_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("records.db");

    let (kind, source) = refusal(&path).await;

    assert_eq!(kind, UpstreamErrorKind::NotFound);
    assert!(source.contains("its folder does not exist"), "{source}");
    assert!(source.contains("records.db"), "{source}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "Kick less. ".repeat(100);
    std::fs::write(&path, &text).unwrap();

    let (kind, _) = refusal(&path).await;

    assert_eq!(kind, UpstreamErrorKind::Rejected);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_folder_is_refused_as_a_file() {
    let folder = tempfile::tempdir().unwrap();

    let (kind, _) = refusal(folder.path()).await;

    assert_eq!(kind, UpstreamErrorKind::Rejected);
}

#[tokio::test]
async fn a_file_of_a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    drop(open(&path).await);
    let later = rusqlite::Connection::open(&path).unwrap();
    later.pragma_update(None, "user_version", 9_999).unwrap();
    drop(later);

    let (kind, _) = refusal(&path).await;

    assert_eq!(kind, UpstreamErrorKind::Rejected);
}

#[tokio::test]
async fn a_number_that_no_column_holds_is_refused_and_nothing_is_recorded() {
    let store = SqliteSessionStore::in_memory().unwrap();
    let mut session = session(&new_owner(), 3);
    session.frames[2].size_bytes = u64::MAX;

    let error = store.create_session(&session).await.unwrap_err();

    assert_eq!(error.kind, UpstreamErrorKind::Rejected);
    assert_eq!(store.existing_sessions(&[session.id]).await.unwrap(), []);
}

#[tokio::test]
async fn a_probe_leaves_no_record_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let store = open(&path).await;

    store.probe().await.unwrap();

    let file = rusqlite::Connection::open(&path).unwrap();
    let n_sessions: u32 = file.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(n_sessions, 0);
}
