//! Records of running analyses at hand: a front end that polls one does not reach the store.
//!
//! A warehouse that is asked every other second never goes to sleep. Only the process that runs an analysis
//! changes its record while it runs, so that it can answer for it from memory, and learns at its next write
//! where that is no longer so.

use super::{
    AddedFrames, Amendment, ClaimedAnswer, Entry, EntryKind, Exchanged, Holdings, Recorded, SessionRecord,
    SessionStore, StartedAnalysis, StoreHealth,
};
use crate::ledger::{Budgets, Charge, Month, MonthUsage, Reservation};
use crate::session::{
    Analysis, AnalysisId, AnalysisStatus, AnswerClaim, Frame, Owner, Session, SessionId, Turn,
};
use crate::upstream::UpstreamError;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Of how many sessions a copy is kept.
const MAX_COPIES: usize = 1024;
/// How long a session is watched when no write about it comes.
const WATCHED: Duration = Duration::from_mins(10);
/// After how long the store is asked again, where there is reason to or it could not be asked.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Keeps a copy of the record of every session whose analysis this process runs, from its first read after
/// the start until the first one after the end, and answers reads of it from there.
///
/// The copy follows every write that goes through here; terms and an owner that change make the store be asked again. What other replicas write about the session is seen late. Where they end the analysis, take it up or delete the session, the next sign of life of the analysis is
/// superseded, so at most a third of `STALE_JOB_THRESHOLD_MINUTES` later, and the copy is dropped. Whoever claims it
/// there sees it here at once, since the store is asked whenever the session is another's. For anything
/// else the store is asked again at a read after a sign of life, but not twice within ten seconds. While the
/// store cannot answer the copy still does, and the store is asked every ten seconds. A copy that no write
/// renews for ten minutes is dropped.
#[derive(Debug)]
pub struct PolledSessionStore {
    store: Arc<dyn SessionStore>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    by_session: HashMap<SessionId, Watched>,
    /// Number of changes so far.
    changes: u64,
}

/// A session whose analysis this process runs.
#[derive(Debug)]
struct Watched {
    analysis: AnalysisId,
    /// Whether it was recorded that the analysis ended or was given back.
    is_over: bool,
    /// Absent until the first read.
    copy: Option<SessionRecord>,
    /// When the store answered last.
    asked_at: Instant,
    /// From when on the store is asked again; absent while the copy is as good as new.
    ask_at: Option<Instant>,
    /// The change that was its last. What was read before it is not kept after it.
    changed: u64,
    /// When that was.
    changed_at: Instant,
}

/// What a read finds in memory.
enum Known {
    /// The answer.
    Answer(Box<SessionRecord>),
    /// Nothing that can be believed. The session's last change, if it is watched.
    Unknown(Option<u64>),
}

impl PolledSessionStore {
    /// Puts copies before `store`.
    pub fn new(store: Arc<dyn SessionStore>) -> Self {
        Self { store, running: Mutex::default() }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // What is there is whole after every statement, so a panic elsewhere leaves it usable.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.by_session.retain(|_, watched| watched.changed_at.elapsed() < WATCHED);
        running
    }
}

impl Running {
    fn watch(&mut self, analysis: &Analysis) {
        if MAX_COPIES <= self.by_session.len() {
            return;
        }
        self.changes += 1;
        let watched = Watched {
            analysis: analysis.id,
            is_over: false,
            copy: None,
            asked_at: Instant::now(),
            ask_at: None,
            changed: self.changes,
            changed_at: Instant::now(),
        };
        self.by_session.insert(analysis.session_id, watched);
    }

    fn find(&self, owner: &Owner, id: SessionId) -> Known {
        let Some(watched) = self.by_session.get(&id) else { return Known::Unknown(None) };
        match &watched.copy {
            Some(copy)
                if copy.session.owner == *owner && watched.ask_at.is_none_or(|it| Instant::now() < it) =>
            {
                Known::Answer(Box::new(copy.clone()))
            }
            _ => Known::Unknown(Some(watched.changed)),
        }
    }

    /// What is known of the owner's session, believed or not.
    fn find_old(&mut self, owner: &Owner, id: SessionId) -> Option<SessionRecord> {
        let watched = self.by_session.get_mut(&id)?;
        let copy = watched.copy.as_ref().filter(|it| it.session.owner == *owner)?;
        watched.ask_at = Some(Instant::now() + ASK_AGAIN);
        Some(copy.clone())
    }

    /// Keeps what the store answered when the session was last changed by `changed`.
    fn keep(&mut self, id: SessionId, changed: u64, owner: &Owner, record: Option<&SessionRecord>) {
        let Some(watched) = self.by_session.get_mut(&id).filter(|it| it.changed == changed) else { return };
        match record {
            Some(record) if !watched.is_over => {
                watched.copy = Some(record.clone());
                watched.asked_at = Instant::now();
                watched.ask_at = None;
            }
            Some(_) => drop(self.by_session.remove(&id)),
            None => {
                // It was deleted, unless somebody asks who does not own it.
                if watched.copy.as_ref().is_some_and(|it| it.session.owner == *owner) {
                    self.by_session.remove(&id);
                }
            }
        }
    }

    /// Drops the copy of a session whose analysis is another's by now.
    fn forget(&mut self, analysis: &Analysis) {
        self.changes += 1;
        if self.by_session.get(&analysis.session_id).is_some_and(|it| it.analysis == analysis.id) {
            self.by_session.remove(&analysis.session_id);
        }
    }

    /// Makes the store be asked at the next read. Also after a write that failed: it may have happened.
    fn drop_copy(&mut self, id: SessionId) {
        self.change(id, |watched| watched.copy = None);
    }

    fn change(&mut self, id: SessionId, change: impl FnOnce(&mut Watched)) {
        self.changes += 1;
        if let Some(watched) = self.by_session.get_mut(&id) {
            watched.changed = self.changes;
            watched.changed_at = Instant::now();
            change(watched);
        }
    }
}

#[async_trait]
impl SessionStore for PolledSessionStore {
    async fn create_session(&self, session: &Session) -> Result<(), UpstreamError> {
        self.store.create_session(session).await
    }

    async fn session(&self, owner: &Owner, id: SessionId) -> Result<Option<SessionRecord>, UpstreamError> {
        let known = self.running().find(owner, id);
        let changed = match known {
            Known::Answer(record) => return Ok(Some(*record)),
            Known::Unknown(None) => return self.store.session(owner, id).await,
            Known::Unknown(Some(changed)) => changed,
        };
        match self.store.session(owner, id).await {
            Ok(record) => {
                self.running().keep(id, changed, owner, record.as_ref());
                Ok(record)
            }
            Err(error) => self.running().find_old(owner, id).map(Some).ok_or(error),
        }
    }

    async fn list_sessions(
        &self,
        owner: &Owner,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, UpstreamError> {
        self.store.list_sessions(owner, before, limit).await
    }

    async fn existing_sessions(&self, ids: &[SessionId]) -> Result<Vec<SessionId>, UpstreamError> {
        self.store.existing_sessions(ids).await
    }

    async fn add_frames(
        &self,
        owner: &Owner,
        session: SessionId,
        frames: &[Frame],
    ) -> Result<AddedFrames, UpstreamError> {
        // None is added once an analysis was started, so that no copy changes.
        self.store.add_frames(owner, session, frames).await
    }

    async fn amend_session(
        &self,
        owner: &Owner,
        id: SessionId,
        amendment: &Amendment,
    ) -> Result<bool, UpstreamError> {
        let is_amended = self.store.amend_session(owner, id, amendment).await;
        self.running().drop_copy(id);
        is_amended
    }

    async fn claim_session(&self, id: SessionId, from: &Owner, to: &Owner) -> Result<bool, UpstreamError> {
        let is_claimed = self.store.claim_session(id, from, to).await;
        self.running().drop_copy(id);
        is_claimed
    }

    async fn expired_sessions(
        &self,
        now: DateTime<Utc>,
        unsaid_since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(Owner, SessionId)>, UpstreamError> {
        self.store.expired_sessions(now, unsaid_since, limit).await
    }

    async fn holdings(&self, owner: &Owner) -> Result<Holdings, UpstreamError> {
        self.store.holdings(owner).await
    }

    async fn entry(&self, kind: EntryKind, name: &str) -> Result<Option<Entry>, UpstreamError> {
        self.store.entry(kind, name).await
    }

    async fn entries(
        &self,
        kind: EntryKind,
        before: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<Vec<Entry>, UpstreamError> {
        self.store.entries(kind, before, after).await
    }

    async fn exchange_entry(&self, seen: Option<&str>, new: &Entry) -> Result<Exchanged, UpstreamError> {
        self.store.exchange_entry(seen, new).await
    }

    async fn remove_entry(&self, kind: EntryKind, name: &str, seen: &str) -> Result<bool, UpstreamError> {
        self.store.remove_entry(kind, name, seen).await
    }

    async fn start_analysis(
        &self,
        analysis: &Analysis,
        stale_before: DateTime<Utc>,
    ) -> Result<StartedAnalysis, UpstreamError> {
        let started = self.store.start_analysis(analysis, stale_before).await?;
        if started == StartedAnalysis::Started {
            self.running().watch(analysis);
        }
        Ok(started)
    }

    async fn record_analysis(&self, analysis: &Analysis) -> Result<Recorded, UpstreamError> {
        let recorded = self.store.record_analysis(analysis).await?;
        if recorded == Recorded::Superseded {
            self.running().forget(analysis);
            return Ok(recorded);
        }
        self.running().change(analysis.session_id, |watched| {
            let is_over = analysis.id == watched.analysis && analysis.status != AnalysisStatus::Processing;
            watched.is_over |= is_over;
            let now = Instant::now();
            let ask_at = if watched.is_over { now } else { now.max(watched.asked_at + ASK_AGAIN) };
            watched.ask_at = Some(watched.ask_at.map_or(ask_at, |it| it.min(ask_at)));
            if let Some(copy) = &mut watched.copy {
                copy.put_state(analysis);
            }
        });
        Ok(recorded)
    }

    async fn append_turns(&self, session: SessionId, turns: &[Turn]) -> Result<(), UpstreamError> {
        self.store.append_turns(session, turns).await?;
        self.running().change(session, |watched| {
            if let Some(copy) = &mut watched.copy {
                copy.put_turns(turns);
            }
        });
        Ok(())
    }

    async fn delete_session(&self, owner: &Owner, id: SessionId) -> Result<u64, UpstreamError> {
        let removed = self.store.delete_session(owner, id).await?;
        // Also where another's was meant: that costs a read.
        self.running().by_session.remove(&id);
        Ok(removed)
    }

    async fn unfinished_analyses(
        &self,
        since: DateTime<Utc>,
    ) -> Result<Vec<(Owner, Analysis)>, UpstreamError> {
        self.store.unfinished_analyses(since).await
    }

    async fn claim_answer(
        &self,
        claim: &AnswerClaim,
        stale_before: DateTime<Utc>,
    ) -> Result<ClaimedAnswer, UpstreamError> {
        let claimed = self.store.claim_answer(claim, stale_before).await?;
        if claimed == ClaimedAnswer::Answered {
            // By another replica, and the copy does not have it.
            self.running().drop_copy(claim.session);
        }
        Ok(claimed)
    }

    async fn release_answer(&self, claim: &AnswerClaim) -> Result<(), UpstreamError> {
        self.store.release_answer(claim).await
    }

    async fn reserve(&self, charge: &Charge, budgets: &Budgets) -> Result<Reservation, UpstreamError> {
        self.store.reserve(charge, budgets).await
    }

    async fn settle(&self, charge: &Charge) -> Result<(), UpstreamError> {
        self.store.settle(charge).await
    }

    async fn month_usage(&self, owner: &Owner, month: Month) -> Result<MonthUsage, UpstreamError> {
        self.store.month_usage(owner, month).await
    }

    async fn check(&self) -> Result<StoreHealth, UpstreamError> {
        self.store.check().await
    }

    async fn probe(&self) -> Result<(), UpstreamError> {
        self.store.probe().await
    }
}
