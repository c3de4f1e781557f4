//! What every `SessionStore` does, told in small rules.
//!
//! To add an implementation: a function that opens one, and a line `contract!(its_name);`. A rule uses
//! owners and ids of its own only, so that a store may be shared and may hold other records.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod analyses;
mod charges;
mod conversation;
mod entries;
mod terms;
mod uploads;

use self::{analyses::*, charges::*, conversation::*, entries::*, terms::*, uploads::*};
use crate::support::breakable_records::BreakableRecords;
use crate::support::records::{
    DIFFICULT_TEXT, analysis, answer, at, bare_session, charge, claim, completed, failed, frame, given_back,
    new_owner, renewed, session, taken_up, turn,
};
use crate::support::snowflake_stub::SnowflakeStub;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;
use swimcoach::analysis::{MicroUsd, Usage};
use swimcoach::consent::{Basis, Consent, Purpose, Subject};
use swimcoach::ledger::{
    BudgetScope, Budgets, Charge, ChargeId, ChargeKind, Month, MonthUsage, Reservation, StorageUse,
};
use swimcoach::metadata::journal::{Journal, JournaledSessionStore};
use swimcoach::metadata::polled::PolledSessionStore;
use swimcoach::metadata::sqlite::SqliteSessionStore;
use swimcoach::metadata::{
    AddedFrames, Amendment, ClaimedAnswer, Entry, EntryKind, Exchanged, Holdings, Recorded, SessionRecord,
    SessionStore, StartedAnalysis, StoreHealth,
};
use swimcoach::metrics::JournalMetrics;
use swimcoach::session::{Analysis, AnalysisId, AnswerClaim, Frame, Owner, Session, SessionId};
use swimcoach::upstream::UpstreamErrorKind;
use uuid::Uuid;

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
            of_two_takeovers_in_the_same_millisecond_one_starts,
            a_running_analysis_blocks_until_it_is_stale,
            an_analysis_that_was_given_back_is_taken_up_at_once_and_blocks_no_other,
            an_attempt_that_another_process_has_begun_is_not_begun_again,
            an_analysis_that_ended_does_not_block_the_next,
            an_analysis_that_ended_is_not_taken_up,
            the_latest_state_wins_in_whatever_order_states_arrive,
            an_analysis_that_ends_in_the_millisecond_of_its_start_has_ended,
            an_analysis_that_is_given_back_in_the_millisecond_of_its_start_is_given_back,
            nothing_is_recorded_of_an_analysis_after_its_end,
            the_same_state_again_is_kept_whatever_came_after_it,
            nothing_of_an_earlier_attempt_is_recorded_but_an_end,
            earlier_analyses_stay_in_the_order_in_which_they_were_asked_for,
            unfinished_analyses_are_told_with_their_owners_the_oldest_first,
            turns_of_one_write_are_seen_together,
            a_turn_whose_number_is_taken_is_left_as_it_is,
            of_many_who_want_to_answer_at_once_one_may,
            whoever_may_answer_renews_that_and_is_told_to_others,
            the_right_to_answer_is_lost_when_it_is_stale,
            the_right_to_answer_is_given_back_by_its_holder_alone,
            a_message_that_was_answered_frees_the_right_to_answer_the_next,
            a_place_that_is_taken_by_a_turn_cannot_be_answered,
            nobody_answers_in_a_session_that_was_deleted,
            an_amount_is_held_until_its_charge_is_settled,
            an_amount_that_fits_exactly_is_held_and_one_that_is_larger_is_not,
            of_many_reservations_at_once_no_more_are_held_than_fit,
            of_many_reservations_by_all_callers_no_more_are_held_than_fit,
            a_reservation_takes_the_place_of_an_earlier_one_unless_it_is_refused,
            what_is_settled_counts_against_the_budget_of_its_month_alone,
            a_charge_that_is_settled_is_held_no_more_and_does_not_shrink,
            a_month_adds_up_what_its_charges_came_to,
            what_was_given_back_without_asking_anything_is_no_analysis_and_no_answer,
            a_cost_that_is_not_known_makes_the_sum_unknown,
            what_a_session_took_stays_counted_once_when_it_is_deleted,
            no_more_analyses_of_a_caller_are_held_in_a_day_than_may_be,
            a_small_record_is_read_back_equal,
            a_small_record_is_changed_by_whoever_saw_its_value_alone,
            a_small_record_that_is_gone_is_not_changed,
            the_same_exchange_again_after_a_lost_answer_is_put,
            of_many_who_make_a_small_record_at_once_one_does,
            of_many_who_change_a_small_record_at_once_one_does,
            a_small_record_is_removed_by_whoever_saw_its_value_alone,
            small_records_of_a_kind_are_told_by_name_from_before_a_time,
            small_records_about_a_session_go_with_it_and_do_not_count,
            a_small_record_about_a_session_that_was_deleted_meanwhile_is_not_kept,
            frames_that_are_added_are_read_back_in_order,
            a_frame_whose_number_is_taken_is_left_as_it_is,
            of_many_frames_that_are_added_at_once_each_number_gets_one,
            no_frame_is_added_once_an_analysis_was_started,
            nobody_adds_a_frame_to_what_is_not_theirs,
            terms_are_changed_by_their_owner_and_only_ever_for_a_shorter_time,
            a_session_that_is_claimed_is_anothers_with_all_that_belongs_to_it,
            small_records_about_a_session_are_claimed_with_it,
            whoever_had_a_session_that_was_claimed_neither_takes_it_back_nor_harms_it,
            a_session_is_claimed_by_whoever_tried_to_delete_it_before_or_had_it_once,
            nobody_claims_what_is_not_there_or_anothers,
            sessions_are_told_once_they_are_to_be_kept_no_longer,
            holdings_count_sessions_and_bytes_of_their_owner,
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

async fn recorded(store: &dyn SessionStore, analysis: &Analysis) -> Recorded {
    store.record_analysis(analysis).await.unwrap()
}

async fn record_of(store: &dyn SessionStore, session: &Session) -> Option<SessionRecord> {
    store.session(&session.owner, session.id).await.unwrap()
}

async fn analyses_of(store: &dyn SessionStore, session: &Session) -> Vec<Analysis> {
    record_of(store, session).await.unwrap().analyses
}
