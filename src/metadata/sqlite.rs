//! Records in an embedded database: one file, or memory for a run that keeps nothing.
//!
//! Any number of processes may work on one file. An acknowledged write is on the disk, so neither the end of
//! the process nor of the machine undoes it; what is deleted is overwritten and not only unlinked.

pub(super) mod columns;
pub(super) mod connection;
mod statements;

use self::statements::{analyses, charges, claims, entries, terms};
use super::rules::{Adding, HELD_FOR, before_exchange, before_start, gives_way};
use super::{
    AddedFrames, Amendment, ClaimedAnswer, Entry, EntryKind, Exchanged, Holdings, Recorded, SessionRecord,
    SessionStore, StartedAnalysis, StoreHealth,
};
use crate::ledger::{Budgets, Charge, Month, MonthUsage, Reservation};
use crate::session::{Analysis, AnswerClaim, Frame, Owner, Session, SessionId, Turn};
use crate::upstream::{RetryPolicy, Service, UpstreamError, UpstreamErrorKind, retry};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a call takes at most, its wait for the calls before it included.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a deletion is remembered. No write is under way for longer than a call takes; a day leaves
/// room for clocks that differ and for a process that was suspended.
const DELETION_MEMORY: TimeDelta = TimeDelta::days(1);

/// Switching a new file to its write-ahead log fails at once, without the busy timeout, while another
/// process does the same.
const OPEN_POLICY: RetryPolicy = RetryPolicy {
    attempts: 6,
    base_delay: Duration::from_millis(50),
    max_delay: Duration::from_millis(500),
    deadline: Duration::from_secs(10),
};

/// Keeps records in one `SQLite` database.
///
/// One connection serves all calls, one after the other: a call takes microseconds, writers would have
/// to queue in any case, and a reader never sees half of a write. Each call runs on a thread that may
/// block, since a commit waits for the disk and a writer may wait for another process.
#[derive(Debug, Clone)]
pub struct SqliteSessionStore {
    connection: Arc<Mutex<Connection>>,
}

impl SqliteSessionStore {
    /// Opens the file at `path`, makes it when there is none, and brings its tables up to date.
    ///
    /// A new file can be read and written by its owner only. The folder must exist.
    ///
    /// # Errors
    /// `NotFound` without the folder; `Unauthorized` when the file may not be made or written; `Rejected`
    /// when it is no database, or one of a later version.
    pub async fn open(path: &Path) -> Result<Self, UpstreamError> {
        let path = connection::absolute(path)?;
        let connection = retry(&OPEN_POLICY, || {
            let path = path.clone();
            blocking("open", move || connection::open_file(&path, &connection::RECORDS))
        })
        .await?;
        Ok(Self::new(connection))
    }

    /// A database of its own in memory, gone with the last clone of the store.
    pub fn in_memory() -> Result<Self, UpstreamError> {
        connection::open_memory(&connection::RECORDS).map(Self::new)
    }

    fn new(connection: Connection) -> Self {
        Self { connection: Arc::new(Mutex::new(connection)) }
    }

    /// Runs `work` on the connection, on a thread that may block.
    async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let connection = Arc::clone(&self.connection);
        blocking(operation, move || {
            // A thread that panicked with the lock may have left half of a transaction behind.
            let mut connection = connection.lock().map_err(|error| {
                let kind = UpstreamErrorKind::InvalidResponse;
                UpstreamError::new(Service::Records, operation, kind, error.to_string())
            })?;
            work(&mut connection).map_err(|error| failure(operation, error))
        })
        .await
    }

    /// Runs `work` in a transaction that holds the right to write from its start, so that what it reads
    /// is still true when it writes.
    async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        self.call(operation, |connection| in_write(connection, work)).await
    }

    /// Runs `work` on one state of the database, whatever other processes write meanwhile.
    async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        self.call(operation, |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            work(&transaction)
        })
        .await
    }
}

#[async_trait]
impl SessionStore for SqliteSessionStore {
    async fn create_session(&self, session: &Session) -> Result<(), UpstreamError> {
        let session = session.clone();
        self.write("create_session", move |db| statements::insert_session(db, &session)).await
    }

    async fn session(&self, owner: &Owner, id: SessionId) -> Result<Option<SessionRecord>, UpstreamError> {
        let owner = owner.clone();
        self.read("session", move |db| {
            let found = statements::select_session(db, &owner, id)?;
            let records = statements::complete_records(db, found.into_iter().collect())?;
            Ok(records.into_iter().next())
        })
        .await
    }

    async fn list_sessions(
        &self,
        owner: &Owner,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, UpstreamError> {
        let owner = owner.clone();
        self.read("list_sessions", move |db| {
            let page = statements::select_page(db, &owner, before, limit)?;
            statements::complete_records(db, page)
        })
        .await
    }

    async fn existing_sessions(&self, ids: &[SessionId]) -> Result<Vec<SessionId>, UpstreamError> {
        let ids = ids.to_owned();
        self.read("existing_sessions", move |db| statements::select_existing(db, &ids)).await
    }

    async fn add_frames(
        &self,
        owner: &Owner,
        session: SessionId,
        frames: &[Frame],
    ) -> Result<AddedFrames, UpstreamError> {
        let (owner, frames) = (owner.clone(), frames.to_owned());
        self.write("add_frames", move |db| {
            if statements::select_session(db, &owner, session)?.is_none() {
                return Ok(AddedFrames::NoSession);
            }
            let there = statements::select_frames(db, &[session])?.remove(&session).unwrap_or_default();
            let Adding { new, taken } = Adding::to(&there, &frames);
            if !new.is_empty() && terms::is_closed(db, session)? {
                return Ok(AddedFrames::Closed);
            }
            new.iter().try_for_each(|it| terms::insert_frame(db, session, it))?;
            Ok(AddedFrames::Added { taken })
        })
        .await
    }

    async fn amend_session(
        &self,
        owner: &Owner,
        id: SessionId,
        amendment: &Amendment,
    ) -> Result<bool, UpstreamError> {
        let (owner, amendment) = (owner.clone(), amendment.clone());
        self.write("amend_session", move |db| terms::update_terms(db, &owner, id, &amendment)).await
    }

    async fn claim_session(&self, id: SessionId, from: &Owner, to: &Owner) -> Result<bool, UpstreamError> {
        let (from, to) = (from.clone(), to.clone());
        self.write("claim_session", move |db| claim(db, id, &from, &to)).await
    }

    async fn expired_sessions(
        &self,
        now: DateTime<Utc>,
        unsaid_since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(Owner, SessionId)>, UpstreamError> {
        self.read("expired_sessions", move |db| terms::select_expired(db, now, unsaid_since, limit)).await
    }

    async fn holdings(&self, owner: &Owner) -> Result<Holdings, UpstreamError> {
        let owner = owner.clone();
        self.read("holdings", move |db| terms::select_holdings(db, &owner)).await
    }

    async fn entry(&self, kind: EntryKind, name: &str) -> Result<Option<Entry>, UpstreamError> {
        let name = name.to_owned();
        self.read("entry", move |db| entries::select_entry(db, kind, &name)).await
    }

    async fn entries(
        &self,
        kind: EntryKind,
        before: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<Vec<Entry>, UpstreamError> {
        let after = after.map(str::to_owned);
        self.read("entries", move |db| entries::select_entries(db, kind, before, after.as_deref())).await
    }

    async fn exchange_entry(&self, seen: Option<&str>, new: &Entry) -> Result<Exchanged, UpstreamError> {
        let (seen, new) = (seen.map(str::to_owned), new.clone());
        self.write("exchange_entry", move |db| {
            let there = entries::select_entry(db, new.kind, &new.name)?;
            if let Some(outcome) = before_exchange(there, seen.as_deref(), &new) {
                return Ok(outcome);
            }
            put_entry(db, &new)?;
            Ok(Exchanged::Put)
        })
        .await
    }

    async fn remove_entry(&self, kind: EntryKind, name: &str, seen: &str) -> Result<bool, UpstreamError> {
        let (name, seen) = (name.to_owned(), seen.to_owned());
        self.call("remove_entry", move |db| {
            let is_gone = in_write(db, |db| {
                Ok(entries::delete_entry(db, kind, &name, &seen)?
                    || entries::select_entry(db, kind, &name)?.is_none())
            })?;
            forget_log(db);
            Ok(is_gone)
        })
        .await
    }

    async fn start_analysis(
        &self,
        analysis: &Analysis,
        stale_before: DateTime<Utc>,
    ) -> Result<StartedAnalysis, UpstreamError> {
        let analysis = analysis.clone();
        self.write("start_analysis", move |db| {
            if !statements::session_exists(db, analysis.session_id)? {
                return Ok(StartedAnalysis::NoSession);
            }
            let mut latest = analyses::select_latest(db, &[analysis.session_id])?;
            let latest = latest.remove(&analysis.session_id).unwrap_or_default();
            if let Some(outcome) = before_start(&latest, &analysis, stale_before) {
                return Ok(outcome);
            }
            analyses::insert_state(db, &analysis)?;
            Ok(StartedAnalysis::Started)
        })
        .await
    }

    async fn record_analysis(&self, analysis: &Analysis) -> Result<Recorded, UpstreamError> {
        let analysis = analysis.clone();
        self.write("record_analysis", move |db| analyses::insert_state(db, &analysis)).await
    }

    async fn append_turns(&self, session: SessionId, turns: &[Turn]) -> Result<(), UpstreamError> {
        let turns = turns.to_owned();
        self.write("append_turns", move |db| statements::insert_turns(db, session, &turns)).await
    }

    async fn delete_session(&self, owner: &Owner, id: SessionId) -> Result<u64, UpstreamError> {
        let owner = owner.clone();
        self.call("delete_session", move |db| {
            let removed = in_write(db, |db| delete(db, &owner, id))?;
            forget_log(db);
            Ok(removed)
        })
        .await
    }

    async fn unfinished_analyses(
        &self,
        since: DateTime<Utc>,
    ) -> Result<Vec<(Owner, Analysis)>, UpstreamError> {
        self.read("unfinished_analyses", move |db| analyses::select_unfinished(db, since)).await
    }

    async fn claim_answer(
        &self,
        claim: &AnswerClaim,
        stale_before: DateTime<Utc>,
    ) -> Result<ClaimedAnswer, UpstreamError> {
        let claim = claim.clone();
        self.write("claim_answer", move |db| {
            if !statements::session_exists(db, claim.session)? {
                return Ok(ClaimedAnswer::NoSession);
            }
            if claims::has_turn(db, claim.session, claim.number)? {
                return Ok(ClaimedAnswer::Answered);
            }
            if let Some(held) = claims::select_claim(db, claim.session)? {
                let is_answered = claims::has_turn(db, claim.session, held.number)?;
                if !gives_way(&held, &claim, stale_before, is_answered) {
                    return Ok(ClaimedAnswer::Taken(held));
                }
            }
            claims::put_claim(db, &claim)?;
            Ok(ClaimedAnswer::Claimed)
        })
        .await
    }

    async fn release_answer(&self, claim: &AnswerClaim) -> Result<(), UpstreamError> {
        let claim = claim.clone();
        self.write("release_answer", move |db| claims::delete_claim(db, &claim)).await
    }

    async fn reserve(&self, charge: &Charge, budgets: &Budgets) -> Result<Reservation, UpstreamError> {
        let (charge, budgets, now) = (Charge { is_settled: false, ..charge.clone() }, *budgets, Utc::now());
        self.write("reserve", move |db| {
            let taken = charges::select_taken(db, &charge, now - HELD_FOR)?;
            let reservation = taken.and(&charge, &budgets);
            if reservation == Reservation::Held {
                charges::put_charge(db, &charge, now)?;
            }
            Ok(reservation)
        })
        .await
    }

    async fn settle(&self, charge: &Charge) -> Result<(), UpstreamError> {
        let charge = Charge { is_settled: true, ..charge.clone() };
        self.write("settle", move |db| charges::put_charge(db, &charge, Utc::now())).await
    }

    async fn month_usage(&self, owner: &Owner, month: Month) -> Result<MonthUsage, UpstreamError> {
        let (owner, held_since) = (owner.clone(), Utc::now() - HELD_FOR);
        self.read("month_usage", move |db| charges::select_usage(db, &owner, month, held_since)).await
    }

    async fn check(&self) -> Result<StoreHealth, UpstreamError> {
        self.read("check", statements::select_anything).await?;
        Ok(StoreHealth::Well)
    }

    async fn probe(&self) -> Result<(), UpstreamError> {
        let session = super::probe_session();
        self.call("probe", move |db| {
            in_write(db, |db| statements::insert_session(db, &session))?;
            match in_write(db, |db| delete(db, &session.owner, session.id))? {
                0 => Err(rusqlite::Error::QueryReturnedNoRows),
                _ => Ok(()),
            }
        })
        .await
    }
}

/// Runs `work` in a transaction that is undone unless it succeeds.
pub(super) fn in_write<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// Deletes a session and remembers that, also when there is none: its creation may still be under way.
fn delete(db: &Connection, owner: &Owner, id: SessionId) -> rusqlite::Result<u64> {
    let now = Utc::now();
    statements::insert_deletion(db, owner, id, now, now - DELETION_MEMORY)?;
    statements::delete_session(db, owner, id)
}

/// Makes a session another's. To who had it, it is deleted, so that no late write of theirs makes it again.
fn claim(db: &Connection, id: SessionId, from: &Owner, to: &Owner) -> rusqlite::Result<bool> {
    if statements::select_session(db, from, id)?.is_none() {
        // It was claimed before, and the answer was lost, or it is not there to be claimed.
        return Ok(statements::select_session(db, to, id)?.is_some());
    }
    let now = Utc::now();
    statements::insert_deletion(db, from, id, now, now - DELETION_MEMORY)?;
    statements::delete_deletion(db, to, id)?;
    terms::update_owner(db, id, from, to)?;
    Ok(true)
}

/// Puts a small record in the place of the one before. One about a session that its owner deleted goes at once, as it
/// would have gone with the session.
fn put_entry(db: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    if let (Some(owner), Some(session)) = (&entry.owner, entry.session)
        && statements::is_deleted(db, owner, session)?
    {
        return entries::delete_any_entry(db, entry.kind, &entry.name);
    }
    entries::put_entry(db, entry)
}

/// Empties the write-ahead log, which still holds what was overwritten in the database itself.
///
/// While another process reads an older state the log cannot be emptied; the next deletion or the log's
/// own turn-over does it then. The deletion stands in any case.
pub(super) fn forget_log(db: &Connection) {
    if let Err(error) = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!(%error, "could not empty the log of a database after a deletion");
    }
}

/// Runs `work` on a thread that may block, and waits for it no longer than a call may take.
pub(super) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, UpstreamError> + Send + 'static,
) -> Result<T, UpstreamError> {
    let outcome = tokio::time::timeout(CALL_TIMEOUT, tokio::task::spawn_blocking(work)).await;
    let (kind, source): (_, Box<dyn Error + Send + Sync>) = match outcome {
        Ok(Ok(result)) => return result,
        Ok(Err(error)) if error.is_cancelled() => (UpstreamErrorKind::Unavailable, error.into()),
        Ok(Err(error)) => (UpstreamErrorKind::InvalidResponse, error.into()),
        Err(elapsed) => (UpstreamErrorKind::Timeout, elapsed.into()),
    };
    Err(UpstreamError::new(Service::Records, operation, kind, source))
}

pub(super) fn failure(operation: &'static str, error: rusqlite::Error) -> UpstreamError {
    UpstreamError::new(Service::Records, operation, kind_of(&error), error)
}

pub(super) fn kind_of(error: &rusqlite::Error) -> UpstreamErrorKind {
    if matches!(error, rusqlite::Error::ToSqlConversionFailure(_)) {
        return UpstreamErrorKind::Rejected;
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => UpstreamErrorKind::Unavailable,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => UpstreamErrorKind::Unauthorized,
        Some(ErrorCode::DiskFull) => UpstreamErrorKind::Exhausted,
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::NotADatabase
            | ErrorCode::ConstraintViolation
            | ErrorCode::TooBig,
        ) => UpstreamErrorKind::Rejected,
        _ => UpstreamErrorKind::InvalidResponse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn a_failure_is_told_by_what_must_be_done_about_it() {
        for (code, kind) in [
            (ffi::SQLITE_BUSY, UpstreamErrorKind::Unavailable),
            (ffi::SQLITE_BUSY_SNAPSHOT, UpstreamErrorKind::Unavailable),
            (ffi::SQLITE_LOCKED, UpstreamErrorKind::Unavailable),
            (ffi::SQLITE_READONLY, UpstreamErrorKind::Unauthorized),
            (ffi::SQLITE_PERM, UpstreamErrorKind::Unauthorized),
            (ffi::SQLITE_CANTOPEN, UpstreamErrorKind::Rejected),
            (ffi::SQLITE_NOTADB, UpstreamErrorKind::Rejected),
            (ffi::SQLITE_FULL, UpstreamErrorKind::Exhausted),
            (ffi::SQLITE_IOERR, UpstreamErrorKind::InvalidResponse),
            (ffi::SQLITE_CORRUPT, UpstreamErrorKind::InvalidResponse),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(kind_of(&error), kind, "{error}");
        }
    }

    #[tokio::test]
    async fn a_panic_in_a_call_is_a_failure_of_it_and_of_later_calls() {
        let store = SqliteSessionStore::in_memory().unwrap();

        let result: Result<(), _> = store.call("test", |_| panic!("a bug")).await;

        assert_eq!(result.unwrap_err().kind, UpstreamErrorKind::InvalidResponse);
        let later = store.check().await.unwrap_err();
        assert_eq!(later.kind, UpstreamErrorKind::InvalidResponse);
        assert_eq!(later.operation, "check");
    }
}
