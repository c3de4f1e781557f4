//! What records in Snowflake promise beyond the contract of every `SessionStore`: what they cost, and what
//! is left after a statement failed, an answer was lost or a process ended.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod charges;

use crate::support::records::{
    DIFFICULT_TEXT, analysis, at, charge, claim, completed, failed, new_owner, renewed, session, taken_up,
    turn,
};
use crate::support::snowflake_stub::{Fault, Ran, SnowflakeStub};
use axum::http::StatusCode;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use swimcoach::analysis::MicroUsd;
use swimcoach::ledger::{BudgetScope, Budgets, Charge, ChargeKind, Month, Reservation, StorageUse};
use swimcoach::metadata::snowflake::SnowflakeSessionStore;
use swimcoach::metadata::{
    ClaimedAnswer, Entry, EntryKind, Exchanged, SessionRecord, SessionStore, StartedAnalysis,
};
use swimcoach::session::{Analysis, AnswerClaim, Owner, Session};
use swimcoach::upstream::UpstreamErrorKind;

const REFUSED: Fault = Fault::Refused { code: "090001", sql_state: "XX000" };
const TOO_MANY_WAIT: Fault = Fault::Refused { code: "000625", sql_state: "57014" };

async fn opened() -> (SnowflakeStub, SnowflakeSessionStore) {
    let stub = SnowflakeStub::start().await;
    let store = stub.store();
    store.migrate(false).await.unwrap();
    (stub, store)
}

async fn created(store: &SnowflakeSessionStore) -> Session {
    let session = session(&new_owner(), 2);
    store.create_session(&session).await.unwrap();
    session
}

async fn started(store: &SnowflakeSessionStore, session: &Session) -> Analysis {
    let analysis = analysis(session);
    assert_eq!(store.start_analysis(&analysis, at(-1)).await.unwrap(), StartedAnalysis::Started);
    analysis
}

async fn record_of(store: &SnowflakeSessionStore, session: &Session) -> Option<SessionRecord> {
    store.session(&session.owner, session.id).await.unwrap()
}

fn callers(budget: u64) -> Budgets {
    Budgets { caller: Some(MicroUsd(budget)), service: None, analyses_per_day: None }
}

async fn reserved(store: &SnowflakeSessionStore, owner: &Owner) -> MicroUsd {
    store.month_usage(owner, Month::of(at(0))).await.unwrap().reserved
}

/// What was run since the log had `before` lines.
fn since(stub: &SnowflakeStub, before: usize) -> Vec<Ran> {
    stub.log().split_off(before)
}

fn count(stub: &SnowflakeStub, table: &str) -> usize {
    stub.rows(&format!("SELECT 1 FROM {table}")).len()
}

#[tokio::test]
async fn no_table_keeps_what_was_deleted() {
    let (stub, _) = opened().await;

    let mut tables = stub.log();
    // The list of migrations says nothing about anybody.
    tables.retain(|it| it.text.contains("CREATE ") && it.text.contains(" TABLE "));
    tables.retain(|it| !it.text.contains(" schema_migrations "));
    assert_eq!(tables.len(), 7, "{tables:?}");
    for table in tables {
        assert!(table.text.contains("CREATE TRANSIENT TABLE"), "{table:?}");
        assert!(table.text.contains("DATA_RETENTION_TIME_IN_DAYS = 0"), "{table:?}");
    }
}

#[tokio::test]
async fn an_upload_and_each_read_cost_one_statement() {
    let (stub, store) = opened().await;
    let session = session(&new_owner(), 60);
    let before = stub.log().len();

    store.create_session(&session).await.unwrap();
    store.session(&session.owner, session.id).await.unwrap();
    store.list_sessions(&session.owner, None, 50).await.unwrap();
    store.existing_sessions(&[session.id]).await.unwrap();
    store.existing_sessions(&[]).await.unwrap();
    store.append_turns(session.id, &[turn(0, "Why?"), turn(1, "Because.")]).await.unwrap();
    store.append_turns(session.id, &[]).await.unwrap();
    store.unfinished_analyses(at(0)).await.unwrap();
    store.month_usage(&session.owner, Month::of(at(0))).await.unwrap();

    let n_changed: Vec<_> = since(&stub, before).iter().map(|it| it.n_changed).collect();
    assert_eq!(n_changed, [1, 0, 0, 0, 2, 0, 0]);
}

#[tokio::test]
async fn the_text_of_a_statement_never_depends_on_a_value() {
    let (stub, store) = opened().await;
    let mut texts: Vec<BTreeSet<String>> = Vec::new();

    for content in [DIFFICULT_TEXT, "another"] {
        let before = stub.log().len();
        let session = created(&store).await;
        let analysis = started(&store, &session).await;
        store.record_analysis(&completed(&analysis, 5)).await.unwrap();
        store.append_turns(session.id, &[turn(0, content)]).await.unwrap();
        let claim = AnswerClaim { message_sha256: content.to_owned(), ..claim(&session, 1) };
        store.claim_answer(&claim, at(0)).await.unwrap();
        store.release_answer(&claim).await.unwrap();
        let charge = charge(&session.owner, content.len() as u64);
        store.reserve(&charge, &callers(5)).await.unwrap();
        store.settle(&charge).await.unwrap();
        store.month_usage(&session.owner, Month::of(at(0))).await.unwrap();
        store.unfinished_analyses(at(0)).await.unwrap();
        store.session(&session.owner, session.id).await.unwrap();
        store.list_sessions(&session.owner, Some(session.id), 7).await.unwrap();
        store.existing_sessions(&vec![session.id; content.len()]).await.unwrap();
        store.delete_session(&session.owner, session.id).await.unwrap();
        texts.push(since(&stub, before).into_iter().map(|it| it.text).collect());
    }

    assert_eq!(texts[0], texts[1]);
}

#[tokio::test]
async fn a_check_wakes_no_warehouse() {
    let (stub, store) = opened().await;
    let before = stub.log().len();

    store.check().await.unwrap();

    assert_eq!(since(&stub, before).iter().map(|it| it.with_warehouse).collect::<Vec<_>>(), [false]);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_counts_once() {
    let (stub, store) = opened().await;
    let owner = new_owner();
    let session = session(&owner, 3);
    let writes = [
        "INTO sessions",
        "UPDATE sessions",
        "INTO analysis_states",
        "INTO turns",
        "INTO deletions",
        "DELETE FROM turns",
        "DELETE FROM analysis_states",
        "DELETE FROM sessions",
    ];
    for text in writes {
        stub.fail_next(text, Fault::Before(StatusCode::SERVICE_UNAVAILABLE));
        stub.fail_next(text, Fault::LostAnswer(StatusCode::GATEWAY_TIMEOUT));
    }

    store.create_session(&session).await.unwrap();
    let analysis = started(&store, &session).await;
    store.record_analysis(&completed(&analysis, 5)).await.unwrap();
    store.append_turns(session.id, &[turn(0, "Why?"), turn(1, "Because.")]).await.unwrap();
    let kept = record_of(&store, &session).await.unwrap();
    let removed = store.delete_session(&owner, session.id).await.unwrap();

    assert_eq!(kept.analyses, [completed(&analysis, 5)]);
    assert_eq!(kept.turns.len(), 2);
    assert_eq!(removed, 1 + 3 + 2 + 2);
    for table in ["sessions", "analysis_states", "turns"] {
        assert_eq!(count(&stub, table), 0, "{table}");
    }
    let log = stub.log();
    let n_runs = |text| log.iter().filter(|it| it.text.contains(text) && 0 < it.n_changed).count();
    assert_eq!(writes.map(n_runs), [1, 1, 2, 1, 1, 1, 1, 1]);
}

#[tokio::test]
async fn a_lock_for_which_too_many_wait_is_tried_again() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    stub.fail_next("UPDATE sessions", TOO_MANY_WAIT);

    started(&store, &session).await;

    assert_eq!(count(&stub, "analysis_states"), 1);
}

#[tokio::test]
async fn a_key_that_was_written_twice_at_once_counts_once() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    let analysis = started(&store, &session).await;
    let complete = completed(&analysis, 5);
    let turns = [turn(0, "Why?"), turn(1, "Because.")];
    store.record_analysis(&complete).await.unwrap();
    store.append_turns(session.id, &turns).await.unwrap();
    let once = record_of(&store, &session).await;
    for table in ["sessions", "analysis_states", "turns"] {
        stub.rows(&format!("INSERT INTO {table} SELECT * FROM {table}"));
    }
    // The other one of the two sessions was written after the analysis was started.
    stub.rows("UPDATE sessions SET started = NULL WHERE rowid = 2");

    let twice = record_of(&store, &session).await;
    let listed = store.list_sessions(&session.owner, None, 2).await.unwrap();
    let existing = store.existing_sessions(&[session.id]).await.unwrap();
    let removed = store.delete_session(&session.owner, session.id).await.unwrap();

    assert_eq!(twice, once);
    assert_eq!(listed, once.into_iter().collect::<Vec<_>>());
    assert_eq!(existing, [session.id]);
    assert_eq!(removed, 1 + 2 + 2 + 2, "session, frames, states, turns");
    assert_eq!(count(&stub, "sessions"), 0);
}

#[tokio::test]
async fn a_copy_of_a_session_that_was_written_late_lets_no_second_analysis_start() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    let first = analysis(&session);
    stub.fail_next("INTO analysis_states", REFUSED);
    store.start_analysis(&first, at(-1)).await.unwrap_err();
    stub.rows("INSERT INTO sessions SELECT * FROM sessions");
    stub.rows("UPDATE sessions SET started = NULL WHERE rowid = 2");

    let outcome = store.start_analysis(&analysis(&session), at(-1)).await.unwrap();

    assert_eq!(outcome, StartedAnalysis::AlreadyRunning(Box::new(first)));
}

#[tokio::test]
async fn an_answer_to_a_question_stays_with_its_question_when_two_were_written_at_once() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    store.append_turns(session.id, &[turn(0, "first question"), turn(1, "first answer")]).await.unwrap();
    stub.rows("UPDATE turns SET number = number + 100");
    store.append_turns(session.id, &[turn(0, "second question"), turn(1, "second answer")]).await.unwrap();
    stub.rows("UPDATE turns SET number = number - 100 WHERE 100 <= number");
    stub.rows("UPDATE turns SET created_at = '0000000000.000000000' WHERE content = 'second answer'");

    let turns = record_of(&store, &session).await.unwrap().turns;

    let contents: Vec<_> = turns.iter().map(|it| it.content.as_str()).collect();
    assert_eq!(contents, ["first question", "first answer"]);
}

#[tokio::test]
async fn an_analysis_whose_process_ended_before_its_state_was_recorded_runs_until_it_is_stale() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    let abandoned = analysis(&session);
    stub.fail_next("INTO analysis_states", REFUSED);
    store.start_analysis(&abandoned, at(-1)).await.unwrap_err();

    let seen = record_of(&store, &session).await.unwrap().analyses;
    let next = renewed(&analysis(&session), 60_000);
    let too_early = store.start_analysis(&next, at(0)).await.unwrap();
    let when_stale = store.start_analysis(&next, at(1)).await.unwrap();

    assert_eq!(seen, std::slice::from_ref(&abandoned));
    assert_eq!(too_early, StartedAnalysis::AlreadyRunning(Box::new(abandoned)));
    assert_eq!(when_stale, StartedAnalysis::Started);
}

#[tokio::test]
async fn a_start_that_failed_half_way_can_be_repeated() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    let analysis = analysis(&session);
    stub.fail_next("INTO analysis_states", REFUSED);
    store.start_analysis(&analysis, at(-1)).await.unwrap_err();

    let again = store.start_analysis(&analysis, at(-1)).await.unwrap();

    assert_eq!(again, StartedAnalysis::Started);
    assert_eq!(count(&stub, "analysis_states"), 1);
    let n_exchanges = stub.log().iter().filter(|it| it.text.contains("UPDATE sessions")).count();
    assert_eq!(n_exchanges, 1);
}

#[tokio::test]
async fn a_start_that_is_won_is_one_although_its_first_state_could_not_be_written() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    let analysis = analysis(&session);
    // The resource monitor has used up its credits.
    stub.fail_next("INTO analysis_states", Fault::Refused { code: "090073", sql_state: "XX000" });

    let outcome = store.start_analysis(&analysis, at(-1)).await.unwrap();

    assert_eq!(outcome, StartedAnalysis::Started);
    assert_eq!(record_of(&store, &session).await.unwrap().analyses, std::slice::from_ref(&analysis));
    store.record_analysis(&completed(&analysis, 5)).await.unwrap();
    assert_eq!(record_of(&store, &session).await.unwrap().analyses, [completed(&analysis, 5)]);
}

#[tokio::test]
async fn an_end_that_is_recorded_without_its_beginning_is_the_end() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    let analysis = analysis(&session);
    stub.fail_next("INTO analysis_states", REFUSED);
    store.start_analysis(&analysis, at(-1)).await.unwrap_err();

    store.record_analysis(&failed(&analysis, 0)).await.unwrap();

    assert_eq!(record_of(&store, &session).await.unwrap().analyses, [failed(&analysis, 0)]);
    started(&store, &session).await;
}

#[tokio::test]
async fn an_analysis_that_was_ended_while_it_was_taken_up_has_ended() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    let abandoned = started(&store, &session).await;
    let ended = failed(&abandoned, 5);
    stub.fail_next("INTO analysis_states", Fault::LostAnswer(StatusCode::GATEWAY_TIMEOUT));
    store.record_analysis(&ended).await.unwrap();
    stub.rows("CREATE TABLE hidden AS SELECT * FROM analysis_states WHERE status = 'failed'");
    stub.rows("DELETE FROM analysis_states WHERE status = 'failed'");
    stub.rows(
        "CREATE TRIGGER ended_meanwhile AFTER UPDATE ON sessions
         BEGIN INSERT INTO analysis_states SELECT * FROM hidden; END",
    );

    let outcome = store.start_analysis(&taken_up(&abandoned, 60_000), at(60_000)).await.unwrap();

    assert_eq!(outcome, StartedAnalysis::HasEnded(Box::new(ended.clone())));
    assert_eq!(record_of(&store, &session).await.unwrap().analyses, [ended]);
}

#[tokio::test]
async fn an_analysis_that_was_started_and_has_no_state_yet_is_unfinished() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    let abandoned = started(&store, &session).await;
    let next = taken_up(&abandoned, 60_000);
    stub.fail_next("INTO analysis_states", REFUSED);
    store.start_analysis(&next, at(60_000)).await.unwrap_err();

    let unfinished = store.unfinished_analyses(at(1)).await.unwrap();
    store.record_analysis(&failed(&abandoned, 60_001)).await.unwrap();
    let when_ended = store.unfinished_analyses(at(1)).await.unwrap();

    assert_eq!(unfinished, [(session.owner, next)]);
    assert_eq!(when_ended, []);
}

#[tokio::test]
async fn of_two_ends_that_were_written_at_once_the_whole_result_counts() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    let analysis = started(&store, &session).await;
    store.record_analysis(&failed(&analysis, 30)).await.unwrap();
    stub.rows("CREATE TABLE hidden AS SELECT * FROM analysis_states WHERE status = 'failed'");
    stub.rows("DELETE FROM analysis_states WHERE status = 'failed'");
    store.record_analysis(&completed(&analysis, 20)).await.unwrap();
    stub.rows("INSERT INTO analysis_states SELECT * FROM hidden");

    assert_eq!(record_of(&store, &session).await.unwrap().analyses, [completed(&analysis, 20)]);
}

#[tokio::test]
async fn a_claim_costs_two_statements_and_holds_for_a_copy_that_was_written_late() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    let holder = claim(&session, 0);
    let before = stub.log().len();

    stub.fail_next("SET answering", Fault::LostAnswer(StatusCode::GATEWAY_TIMEOUT));
    let outcome = store.claim_answer(&holder, at(0)).await.unwrap();
    let statements = since(&stub, before);
    stub.rows("INSERT INTO sessions SELECT * FROM sessions");
    stub.rows("UPDATE sessions SET answering = NULL WHERE rowid = 2");
    let other = store.claim_answer(&claim(&session, 0), at(0)).await.unwrap();
    let renewed = AnswerClaim { renewed_at: at(9), ..holder.clone() };
    let renewal = store.claim_answer(&renewed, at(0)).await.unwrap();
    store.release_answer(&holder).await.unwrap();
    let after = store.claim_answer(&claim(&session, 0), at(0)).await.unwrap();

    assert_eq!(outcome, ClaimedAnswer::Claimed);
    assert_eq!(statements.iter().map(|it| it.n_changed).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(other, ClaimedAnswer::Taken(holder));
    assert_eq!([renewal, after], [ClaimedAnswer::Claimed, ClaimedAnswer::Claimed]);
}

#[tokio::test]
async fn a_session_is_hidden_from_the_moment_its_deletion_is_remembered() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    let analysis = started(&store, &session).await;
    store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();
    for text in ["DELETE FROM turns", "DELETE FROM analysis_states", "DELETE FROM sessions"] {
        stub.fail_next(text, REFUSED);
    }

    let failure = store.delete_session(&session.owner, session.id).await.unwrap_err();

    assert_eq!(failure.kind, UpstreamErrorKind::Rejected);
    assert_eq!(count(&stub, "sessions"), 1, "it is still there");
    assert_eq!(record_of(&store, &session).await, None);
    assert_eq!(store.list_sessions(&session.owner, None, 10).await.unwrap(), []);
    assert_eq!(store.existing_sessions(&[session.id]).await.unwrap(), []);
    let start = store.start_analysis(&renewed(&analysis, 9), at(5)).await.unwrap();
    assert_eq!(start, StartedAnalysis::NoSession);
}

#[tokio::test]
async fn a_deletion_that_failed_half_way_can_be_repeated_and_leaves_nothing() {
    for broken in
        ["INTO deletions", "n_records", "FROM turns", "FROM analysis_states", "DELETE FROM sessions"]
    {
        let (stub, store) = opened().await;
        let session = created(&store).await;
        started(&store, &session).await;
        store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();
        stub.fail_next(broken, REFUSED);
        store.delete_session(&session.owner, session.id).await.unwrap_err();

        let removed = store.delete_session(&session.owner, session.id).await.unwrap();

        assert!(0 < removed, "{broken}");
        for table in ["sessions", "analysis_states", "turns"] {
            assert_eq!(count(&stub, table), 0, "{table} after {broken}");
        }
    }
}

#[tokio::test]
async fn what_slipped_through_beside_a_deletion_goes_with_the_next_one() {
    let (stub, store) = opened().await;
    let gone = created(&store).await;
    let other = created(&store).await;
    let kept = created(&store).await;
    for session in [&gone, &kept] {
        store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();
    }
    stub.rows("CREATE TABLE slipped AS SELECT * FROM turns");
    store.delete_session(&gone.owner, gone.id).await.unwrap();
    stub.rows(&format!("INSERT INTO turns SELECT * FROM slipped WHERE session_id = '{}'", gone.id));

    store.delete_session(&other.owner, other.id).await.unwrap();

    let left = stub.rows("SELECT session_id FROM turns");
    assert_eq!(left, [[Some(kept.id.to_string())]]);
}

#[tokio::test]
async fn a_deletion_is_forgotten_by_a_later_one_when_it_is_a_day_old() {
    let (stub, store) = opened().await;
    let [first, second, third] = [created(&store).await, created(&store).await, created(&store).await];
    store.delete_session(&first.owner, first.id).await.unwrap();
    stub.rows("UPDATE deletions SET deleted_at = '1000000000.000000000'");

    store.delete_session(&second.owner, second.id).await.unwrap();
    store.delete_session(&third.owner, third.id).await.unwrap();

    let remembered = stub.rows("SELECT session_id FROM deletions ORDER BY session_id");
    assert_eq!(remembered, [[Some(second.id.to_string())], [Some(third.id.to_string())]]);
}

#[tokio::test]
async fn a_stranger_who_deletes_an_id_removes_nothing_of_its_owner() {
    let (stub, store) = opened().await;
    let session = created(&store).await;
    store.append_turns(session.id, &[turn(0, "Why?")]).await.unwrap();
    let stranger = Owner::new("stranger");
    let theirs = Session { owner: stranger.clone(), ..session_of(&stranger) };
    store.create_session(&theirs).await.unwrap();

    store.delete_session(&stranger, session.id).await.unwrap();
    store.delete_session(&stranger, theirs.id).await.unwrap();

    assert_eq!(count(&stub, "turns"), 1);
    assert!(record_of(&store, &session).await.is_some());
}

fn session_of(owner: &Owner) -> Session {
    session(owner, 1)
}

#[tokio::test]
async fn tables_are_made_once_and_a_dry_run_makes_none() {
    let stub = SnowflakeStub::start().await;
    let store = stub.store();

    let planned = store.migrate(true).await.unwrap();
    let n_tables = stub.rows("SELECT name FROM sqlite_schema").len();
    let applied = store.migrate(false).await.unwrap();
    let before = stub.log().len();
    let again = store.migrate(false).await.unwrap();

    assert_eq!(n_tables, 0);
    assert_eq!(planned, applied);
    assert_eq!(
        applied.iter().map(|it| it.name).collect::<Vec<_>>(),
        ["sessions", "views", "cost", "attempts, answers and charges", "terms and entries"]
    );
    assert_eq!(again, []);
    assert_eq!(since(&stub, before).len(), 1, "what is there is looked up and nothing else");
    store.probe().await.unwrap();
}

#[tokio::test]
async fn a_migration_that_failed_half_way_can_be_repeated() {
    let stub = SnowflakeStub::start().await;
    let store = stub.store();
    stub.fail_next("v_progress", REFUSED);
    store.migrate(false).await.unwrap_err();

    let missing = store.migrate(true).await.unwrap();
    store.migrate(false).await.unwrap();

    assert_eq!(missing.iter().map(|it| it.version).collect::<Vec<_>>(), [2, 3, 4, 5]);
    assert_eq!(store.migrate(true).await.unwrap(), []);
    assert_eq!(count(&stub, "schema_migrations"), 5);
}

#[tokio::test]
async fn two_migrations_at_once_leave_what_one_leaves() {
    let stub = SnowflakeStub::start().await;
    let [one, other] = [stub.store(), stub.store()];

    let (first, second) = tokio::join!(one.migrate(false), other.migrate(false));

    first.unwrap();
    second.unwrap();
    assert_eq!(count(&stub, "schema_migrations"), 5);
    one.probe().await.unwrap();
}

#[tokio::test]
async fn a_probe_finds_out_that_the_newest_tables_are_missing() {
    let (stub, store) = opened().await;
    stub.rows("DROP TABLE entries");

    let failure = store.probe().await.unwrap_err();

    assert_eq!(failure.kind, UpstreamErrorKind::NotFound);
    assert_eq!(count(&stub, "sessions"), 0);
}

#[tokio::test]
async fn tables_of_a_later_version_are_left_alone() {
    let (stub, store) = opened().await;
    stub.rows("INSERT INTO schema_migrations VALUES (99, 'of tomorrow', '1790000000.000000000')");

    let failure = store.migrate(false).await.unwrap_err();

    assert_eq!(failure.kind, UpstreamErrorKind::Rejected);
    assert!(failure.source.to_string().contains("99"), "{}", failure.source);
}

fn lease(value: &str) -> Entry {
    Entry {
        kind: EntryKind::Request,
        name: "lease".to_owned(),
        owner: None,
        session: None,
        value: value.to_owned(),
        recorded_at: at(0),
    }
}

#[tokio::test]
async fn a_small_record_is_made_for_real_although_the_one_in_its_way_goes_while_it_is_made() {
    let (stub, store) = opened().await;
    store.exchange_entry(None, &lease("\"first\"")).await.unwrap();
    stub.meanwhile("INSERT INTO entries", "DELETE FROM entries");

    let made = store.exchange_entry(None, &lease("\"second\"")).await.unwrap();

    assert_eq!(made, Exchanged::Put);
    assert_eq!(in_words(&stub.rows("SELECT value FROM entries")), ["\"second\""]);
}

#[tokio::test]
async fn a_small_record_that_is_taken_back_is_not_taken_from_who_changed_it_meanwhile() {
    let (stub, store) = opened().await;
    stub.meanwhile(
        "INSERT INTO entries",
        "INSERT INTO entries (kind, name, owner, session_id, value, recorded_at, write_id)
         SELECT kind, name, owner, session_id, '\"crowd\"', recorded_at, 'z' FROM entries",
    );
    stub.meanwhile(
        "ORDER BY e.write_id",
        "DELETE FROM entries WHERE write_id = 'z'; UPDATE entries SET value = '\"theirs\"'",
    );

    let made = store.exchange_entry(None, &lease("\"mine\"")).await.unwrap();

    assert_eq!(made, Exchanged::Changed(Some(lease("\"theirs\""))));
    assert_eq!(in_words(&stub.rows("SELECT value FROM entries")), ["\"theirs\""]);
}

#[tokio::test]
async fn views_answer_questions_about_findings_progress_use_and_cost() {
    let (stub, store) = opened().await;
    let owner = new_owner();
    for n in 0..2 {
        let session = session(&owner, 15);
        store.create_session(&session).await.unwrap();
        let first = started(&store, &session).await;
        store.record_analysis(&completed(&first, 5)).await.unwrap();
        let second = renewed(&analysis(&session), 10);
        store.start_analysis(&second, at(9)).await.unwrap();
        store.record_analysis(&completed(&second, 20)).await.unwrap();
        store.append_turns(session.id, &[turn(0, "Why?"), turn(1, "Because.")]).await.unwrap();
        assert_eq!(stub.rows("SELECT * FROM v_sessions").len(), n + 1);
    }
    for amount in [300, 1_000] {
        let analysis = charge(&owner, amount);
        store
            .reserve(&Charge { amount: MicroUsd(9_999), ..analysis.clone() }, &callers(99_999))
            .await
            .unwrap();
        let usage = completed(&self::analysis(&session(&owner, 1)), 5).usage;
        store.settle(&Charge { usage, ..analysis }).await.unwrap();
    }
    store.reserve(&charge(&owner, 99_999), &callers(99_999)).await.unwrap();
    let storage = StorageUse { frames: 7, bytes: 77, class_a: 8, class_b: 5 };
    store.settle(&Charge { kind: ChargeKind::Upload, storage, ..charge(&owner, 0) }).await.unwrap();
    let deleted = created(&store).await;
    started(&store, &deleted).await;
    stub.fail_next("DELETE FROM sessions", REFUSED);
    store.delete_session(&deleted.owner, deleted.id).await.unwrap_err();

    let common = stub.rows("SELECT stroke, code, kind, n_sessions, n_owners FROM v_common_findings");
    let progress = stub.rows("SELECT code, session_number, times_found FROM v_progress ORDER BY session_id");
    let engagement = stub.rows("SELECT n_sessions, n_frames, n_analyses, n_questions FROM v_engagement");
    let usage = stub.rows(
        "SELECT model, kind, n_charges, requests, output_tokens, cache_read_input_tokens,
                cache_creation_1h_input_tokens, cost_micro_usd
         FROM v_model_usage_by_day",
    );
    let months = stub.rows(
        "SELECT month, n_analyses, n_answers, charged_micro_usd, frames, bytes, class_a, class_b FROM v_months",
    );

    assert_eq!(in_words(&common), ["medley OTHER fault 2 1"]);
    assert_eq!(in_words(&progress), ["OTHER 1 1", "OTHER 2 2"]);
    assert_eq!(in_words(&engagement), ["2 30 4 2"]);
    assert_eq!(
        in_words(&usage),
        ["claude-sonnet-5-5 analysis 2 4 10000 18014398509481986 2 18014398509481990"]
    );
    let bytes = 2 * 15 * 5_000_000_000_u64 + 2 * 120 + 77;
    assert_eq!(in_words(&months), [format!("20697 2 0 1300 37 {bytes} 38 5")]);
}

fn in_words(rows: &[Vec<Option<String>>]) -> Vec<String> {
    rows.iter().map(|row| row.iter().flatten().cloned().collect::<Vec<_>>().join(" ")).collect()
}
