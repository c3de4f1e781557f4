//! Records in Snowflake, over its SQL REST API.
//!
//! # What Snowflake promises, and what is made of it
//! Every request is a session and a transaction of its own, so what must happen together is one statement:
//! a session with its frames, the turns of one write. Standard tables enforce no key, and INSERTs run side
//! by side, so a write looks for its key first, two at once may both find it free, and every reader counts
//! a key once. A session that started after a commit sees it, so an acknowledged write is seen by every
//! later read.
//!
//! # Of any number of starts, one
//! The first state of the analysis that was started last is kept in its session's row, and to start an
//! analysis is to exchange that value: an UPDATE whose condition names the value that was read before, and
//! which therefore changes one row or none.
//!
//! UPDATE, DELETE and MERGE lock what they change and do not run side by side there. Snowflake's
//! documentation of transactions says that a statement sees what was committed before it began, and does not
//! say what it sees after it waited for a lock. Nothing here depends on that. Rows lie in files that are
//! never changed but replaced, and the session's row lies in one of them. Of two UPDATEs of it the second
//! would have to replace a file that the first has already replaced: it is either run on the new one, where
//! its condition no longer holds, or it fails and changes nothing. A MERGE that inserts a row where there is
//! none gives no such certainty, since two INSERTs replace no file. So the row that is exchanged must be
//! there before, which it is: the session's own.
//!
//! After the exchange the state is appended like any other. A process that ends between the two leaves an
//! analysis that counts as running until it is stale, since every reader takes the exchanged value for a
//! state.
//!
//! # Deletion
//! The deletion is remembered first: from then on readers hide the session and writers add nothing to it.
//! Then the rows are removed, with those of every other deletion that is remembered, so that a write which
//! slipped through beside an earlier deletion goes with the next one. Only after that are old deletions
//! forgotten.

pub mod account;
pub mod key_pair;
mod migrations;
mod keeping;
mod reserving;
mod rows;
pub mod sql_api;
mod statements;

pub use self::migrations::Migration;

use self::reserving::Reserving;
use self::rows::KeptRecord;
use self::sql_api::{ResultSet, SqlApi, SqlApiSettings, Statement};
use self::statements::{analyses, charges, claims, entries, terms};
use super::rules::{Adding, HELD_FOR, before_start, gives_way};
use super::{
    AddedFrames, Amendment, ClaimedAnswer, Entry, EntryKind, Exchanged, Holdings, Recorded, SessionRecord,
    SessionStore, StartedAnalysis, StoreHealth,
};
use crate::ledger::{Budgets, Charge, Month, MonthUsage, Reservation};
use crate::session::{Analysis, AnswerClaim, Frame, Owner, Session, SessionId, Turn};
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long a deletion is remembered at least. No write is under way for longer than a statement takes; a
/// day leaves room for clocks that differ and for a process that was suspended.
const DELETION_MEMORY: TimeDelta = TimeDelta::days(1);

/// How long a check may take. It needs no warehouse that would have to wake up.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a value is exchanged anew because another one came between. That one then stands against the next
/// exchange, unless it is over already.
const EXCHANGE_ROUNDS: u32 = 4;

/// Keeps records in a schema of Snowflake.
#[derive(Debug, Clone)]
pub struct SnowflakeSessionStore {
    api: Arc<SqlApi>,
    reserving: Arc<Reserving>,
    /// Whose turn it is to add frames.
    adding: Arc<Mutex<()>>,
}

impl SnowflakeSessionStore {
    /// A store over the tables that [`migrate`](Self::migrate) makes. Nothing is asked yet.
    pub fn connect(settings: &SqlApiSettings) -> Result<Self, UpstreamError> {
        let api = Arc::new(SqlApi::connect(settings)?);
        Ok(Self { api, reserving: Arc::default(), adding: Arc::default() })
    }

    /// Makes the tables and views that are missing, and returns the migrations that did. May be repeated,
    /// and run by several at once. A dry run changes nothing and returns the same.
    pub async fn migrate(&self, dry_run: bool) -> Result<Vec<Migration>, UpstreamError> {
        migrations::migrate(&self.api, dry_run).await
    }

    async fn run(
        &self,
        operation: &'static str,
        statement: serde_json::Result<Statement>,
    ) -> Result<ResultSet, UpstreamError> {
        let statement = statement.map_err(|error| {
            UpstreamError::new(Service::Records, operation, UpstreamErrorKind::Rejected, error)
        })?;
        self.api.execute(operation, &statement).await
    }

    /// Appends a state of an analysis, where it still may be. `state` is the analysis as JSON.
    async fn append_state(
        &self,
        operation: &'static str,
        analysis: &Analysis,
        state: &str,
    ) -> Result<Recorded, UpstreamError> {
        let appended = self.run(operation, analyses::insert_state(analysis, state)).await?;
        if 0 < appended.stats().inserted {
            return Ok(Recorded::Kept);
        }
        let found = self.run(operation, analyses::select_state(analysis)).await?;
        Ok(if found.is_empty() { Recorded::Superseded } else { Recorded::Kept })
    }

    async fn records(
        &self,
        operation: &'static str,
        statement: Statement,
    ) -> Result<Vec<KeptRecord>, UpstreamError> {
        let set = self.run(operation, Ok(statement)).await?;
        rows::read_records(operation, &set)
    }
}

#[async_trait]
impl SessionStore for SnowflakeSessionStore {
    async fn create_session(&self, session: &Session) -> Result<(), UpstreamError> {
        self.run("create_session", statements::insert_session(session)).await.map(drop)
    }

    async fn session(&self, owner: &Owner, id: SessionId) -> Result<Option<SessionRecord>, UpstreamError> {
        let found = self.records("session", statements::select_session(owner, id)).await?;
        Ok(found.into_iter().next().map(|it| it.record))
    }

    async fn list_sessions(
        &self,
        owner: &Owner,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, UpstreamError> {
        let page = self.records("list_sessions", statements::select_page(owner, before, limit)).await?;
        Ok(page.into_iter().map(|it| it.record).collect())
    }

    async fn existing_sessions(&self, ids: &[SessionId]) -> Result<Vec<SessionId>, UpstreamError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let set = self.run("existing_sessions", statements::select_existing(ids)).await?;
        rows::read_ids("existing_sessions", &set)
    }

    async fn add_frames(
        &self,
        owner: &Owner,
        session: SessionId,
        frames: &[Frame],
    ) -> Result<AddedFrames, UpstreamError> {
        const OPERATION: &str = "add_frames";
        // Frames of one session come side by side, and each would make the others begin anew.
        let _turn = self.adding.lock().await;
        for _ in 0..EXCHANGE_ROUNDS {
            let found = self.records(OPERATION, statements::select_session(owner, session)).await?;
            let Some(kept) = found.into_iter().next() else { return Ok(AddedFrames::NoSession) };
            let there = kept.record.session.frames;
            let Adding { mut new, taken } = Adding::to(&there, frames);
            if new.is_empty() {
                return Ok(AddedFrames::Added { taken });
            }
            if !kept.record.analyses.is_empty() {
                return Ok(AddedFrames::Closed);
            }
            let seen = there.len();
            new.extend(there);
            new.sort_unstable_by_key(|it| it.number);
            let exchange = terms::exchange_frames(owner, session, seen, &new);
            if 0 < self.run(OPERATION, exchange).await?.stats().updated {
                return Ok(AddedFrames::Added { taken });
            }
        }
        Err(crowded(OPERATION))
    }

    async fn amend_session(
        &self,
        owner: &Owner,
        id: SessionId,
        amendment: &Amendment,
    ) -> Result<bool, UpstreamError> {
        let amended = self.run("amend_session", terms::update_terms(owner, id, amendment)).await?;
        Ok(0 < amended.stats().updated)
    }

    async fn claim_session(&self, id: SessionId, from: &Owner, to: &Owner) -> Result<bool, UpstreamError> {
        const OPERATION: &str = "claim_session";
        if from == to || self.run(OPERATION, Ok(terms::select_owned(from, id))).await?.is_empty() {
            // It was claimed before, and the answer was lost, or it is not there to be claimed.
            return Ok(!self.run(OPERATION, Ok(terms::select_owned(to, id))).await?.is_empty());
        }
        self.run(OPERATION, Ok(statements::forget_deletion(to, id))).await?;
        self.run(OPERATION, Ok(entries::update_owner(id, from, to))).await?;
        if self.run(OPERATION, Ok(terms::update_owner(id, from, to))).await?.stats().updated == 0 {
            return Ok(!self.run(OPERATION, Ok(terms::select_owned(to, id))).await?.is_empty());
        }
        // To who had it, it is deleted, so that no late write of theirs makes it again.
        self.run(OPERATION, Ok(statements::insert_deletion(from, id, Utc::now()))).await?;
        Ok(true)
    }

    async fn expired_sessions(
        &self,
        now: DateTime<Utc>,
        unsaid_since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(Owner, SessionId)>, UpstreamError> {
        const OPERATION: &str = "expired_sessions";
        let set = self.run(OPERATION, Ok(terms::select_expired(now, unsaid_since, limit))).await?;
        rows::read_expired(OPERATION, &set)
    }

    async fn holdings(&self, owner: &Owner) -> Result<Holdings, UpstreamError> {
        const OPERATION: &str = "holdings";
        let set = self.run(OPERATION, Ok(terms::select_holdings(owner))).await?;
        rows::read_holdings(OPERATION, &set)
    }

    async fn entry(&self, kind: EntryKind, name: &str) -> Result<Option<Entry>, UpstreamError> {
        let found = self.rows_of_entry("entry", kind, name).await?;
        Ok(found.into_iter().next().map(|(entry, _)| entry))
    }

    async fn entries(
        &self,
        kind: EntryKind,
        before: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<Vec<Entry>, UpstreamError> {
        const OPERATION: &str = "entries";
        let set = self.run(OPERATION, Ok(entries::select_entries(kind, before, after))).await?;
        let found = rows::read_entries(OPERATION, kind, &set)?;
        Ok(found.into_iter().map(|(entry, _)| entry).collect())
    }

    async fn exchange_entry(&self, seen: Option<&str>, new: &Entry) -> Result<Exchanged, UpstreamError> {
        match seen {
            None => self.make_entry(new).await,
            Some(seen) => self.change_entry(seen, new).await,
        }
    }

    async fn remove_entry(&self, kind: EntryKind, name: &str, seen: &str) -> Result<bool, UpstreamError> {
        const OPERATION: &str = "remove_entry";
        let removed = self.run(OPERATION, Ok(entries::delete_entry(kind, name, seen))).await?;
        Ok(0 < removed.stats().deleted || self.rows_of_entry(OPERATION, kind, name).await?.is_empty())
    }

    async fn start_analysis(
        &self,
        analysis: &Analysis,
        stale_before: DateTime<Utc>,
    ) -> Result<StartedAnalysis, UpstreamError> {
        const OPERATION: &str = "start_analysis";
        let state = text_of(OPERATION, analysis)?;
        for _ in 0..EXCHANGE_ROUNDS {
            let found = statements::select_anybodys_session(analysis.session_id);
            let Some(kept) = self.records(OPERATION, found).await?.into_iter().next() else {
                return Ok(StartedAnalysis::NoSession);
            };
            match before_start(&kept.record.analyses, analysis, stale_before) {
                // The answer to an earlier exchange was lost, and the state may be still to come.
                Some(StartedAnalysis::Started) => {}
                Some(outcome) => return Ok(outcome),
                None => {
                    let started = kept.started.as_deref();
                    let exchange = analyses::exchange_started(analysis.session_id, started, &state);
                    if self.run(OPERATION, Ok(exchange)).await?.stats().updated == 0 {
                        continue;
                    }
                }
            }
            match self.append_state(OPERATION, analysis, &state).await {
                Ok(Recorded::Kept) => return Ok(StartedAnalysis::Started),
                // It was ended meanwhile, or its session was.
                Ok(Recorded::Superseded) => {}
                Err(error) if error.kind.blames_request() => return Err(error),
                // It is won, and everybody sees it run: whoever asked must run it. A later state follows.
                Err(error) => {
                    tracing::warn!(
                        analysis.id = %analysis.id, %error, cause = %error.source,
                        "the analysis {} was started, and its first state is not written yet", analysis.id,
                    );
                    return Ok(StartedAnalysis::Started);
                }
            }
        }
        Err(crowded(OPERATION))
    }

    async fn record_analysis(&self, analysis: &Analysis) -> Result<Recorded, UpstreamError> {
        const OPERATION: &str = "record_analysis";
        let state = text_of(OPERATION, analysis)?;
        self.append_state(OPERATION, analysis, &state).await
    }

    async fn append_turns(&self, session: SessionId, turns: &[Turn]) -> Result<(), UpstreamError> {
        if turns.is_empty() {
            return Ok(());
        }
        self.run("append_turns", statements::insert_turns(session, turns)).await.map(drop)
    }

    async fn delete_session(&self, owner: &Owner, id: SessionId) -> Result<u64, UpstreamError> {
        const OPERATION: &str = "delete_session";
        let now = Utc::now();
        self.run(OPERATION, Ok(statements::insert_deletion(owner, id, now))).await?;
        let counts = self.run(OPERATION, Ok(statements::count_records(owner, id))).await?;
        let mut removed = 0;
        for row in counts.rows() {
            removed += row.optional_fixed::<u64>("n_records")?.unwrap_or_default();
        }
        if removed == 0 {
            return Ok(0);
        }
        let [turns, states, entries] = statements::delete_what_belonged_to_deleted();
        tokio::try_join!(
            self.run(OPERATION, Ok(turns)),
            self.run(OPERATION, Ok(states)),
            self.run(OPERATION, Ok(entries)),
        )?;
        self.run(OPERATION, Ok(statements::delete_deleted_sessions())).await?;
        self.run(OPERATION, Ok(statements::forget_deletions(now - DELETION_MEMORY))).await?;
        Ok(removed)
    }

    async fn unfinished_analyses(
        &self,
        since: DateTime<Utc>,
    ) -> Result<Vec<(Owner, Analysis)>, UpstreamError> {
        const OPERATION: &str = "unfinished_analyses";
        let set = self.run(OPERATION, Ok(analyses::select_unfinished(since))).await?;
        rows::read_unfinished(OPERATION, &set, since)
    }

    async fn claim_answer(
        &self,
        claim: &AnswerClaim,
        stale_before: DateTime<Utc>,
    ) -> Result<ClaimedAnswer, UpstreamError> {
        const OPERATION: &str = "claim_answer";
        let text = text_of(OPERATION, claim)?;
        for _ in 0..EXCHANGE_ROUNDS {
            let set = self.run(OPERATION, Ok(claims::select_answering(claim.session))).await?;
            let Some(kept) = rows::read_answering(OPERATION, &set)? else {
                return Ok(ClaimedAnswer::NoSession);
            };
            if kept.turns.contains(&claim.number) {
                return Ok(ClaimedAnswer::Answered);
            }
            if let Some(held) = kept.claim {
                let is_answered = kept.turns.contains(&held.number);
                if !gives_way(&held, claim, stale_before, is_answered) {
                    return Ok(ClaimedAnswer::Taken(held));
                }
            }
            let exchange = claims::exchange_answering(claim.session, kept.text.as_deref(), &text);
            if 0 < self.run(OPERATION, Ok(exchange)).await?.stats().updated {
                return Ok(ClaimedAnswer::Claimed);
            }
        }
        Err(crowded(OPERATION))
    }

    async fn release_answer(&self, claim: &AnswerClaim) -> Result<(), UpstreamError> {
        self.run("release_answer", Ok(claims::release_answering(claim))).await.map(drop)
    }

    async fn reserve(&self, charge: &Charge, budgets: &Budgets) -> Result<Reservation, UpstreamError> {
        self.hold(charge, budgets).await
    }

    async fn settle(&self, charge: &Charge) -> Result<(), UpstreamError> {
        let charge = Charge { is_settled: true, ..charge.clone() };
        let statement = charges::insert_charge(&charge, &self.reserving.written());
        self.run("settle", statement).await.map(drop)
    }

    async fn month_usage(&self, owner: &Owner, month: Month) -> Result<MonthUsage, UpstreamError> {
        const OPERATION: &str = "month_usage";
        let statement = charges::select_usage(owner, month, Utc::now() - HELD_FOR);
        let set = self.run(OPERATION, Ok(statement)).await?;
        rows::read_usage(OPERATION, &set)
    }

    async fn check(&self) -> Result<StoreHealth, UpstreamError> {
        self.run("check", Ok(statements::select_constant().within(CHECK_TIMEOUT))).await?;
        Ok(StoreHealth::Well)
    }

    async fn probe(&self) -> Result<(), UpstreamError> {
        const OPERATION: &str = "probe";
        let session = super::probe_session();
        // Fails where the tables are those of an earlier version.
        self.month_usage(&session.owner, Month::of(session.created_at)).await?;
        self.remove_entry(EntryKind::Lease, "probe", "none").await?;
        self.create_session(&session).await?;
        // Changes nothing, and shows that the role may update.
        self.run(OPERATION, Ok(analyses::exchange_started(session.id, Some("none"), ""))).await?;
        match self.delete_session(&session.owner, session.id).await? {
            1 => Ok(()),
            n => {
                let why = format!("{n} records were removed where one was written");
                Err(UpstreamError::new(Service::Records, OPERATION, UpstreamErrorKind::InvalidResponse, why))
            }
        }
    }
}

/// A value as it is kept.
fn text_of<T: Serialize>(operation: &'static str, value: &T) -> Result<String, UpstreamError> {
    serde_json::to_string(value)
        .map_err(|error| UpstreamError::new(Service::Records, operation, UpstreamErrorKind::Rejected, error))
}

/// What an exchange fails with that others always came before.
fn crowded(operation: &'static str) -> UpstreamError {
    let why = format!("others came between {EXCHANGE_ROUNDS} times");
    UpstreamError::new(Service::Records, operation, UpstreamErrorKind::Unavailable, why)
}
