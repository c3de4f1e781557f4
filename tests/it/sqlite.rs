//! What the embedded database promises beyond the contract of every `SessionStore`: its file.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::records::{DIFFICULT_TEXT, analysis, at, charge, completed, new_owner, session, turn};
use futures_util::future::join_all;
use std::path::Path;
use std::time::Duration;
use swimcoach::analysis::MicroUsd;
use swimcoach::ledger::{BudgetScope, Budgets, Month, Reservation};
use swimcoach::metadata::sqlite::SqliteSessionStore;
use swimcoach::metadata::{SessionRecord, SessionStore, StartedAnalysis};
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
    assert!(is_in_a_file(folder.path(), "my-secret"));

    store.delete_session(&session.owner, session.id).await.unwrap();

    assert!(!is_in_a_file(folder.path(), "my-secret"));
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
