//! The embedded database in memory with two handles: inspect and break.

use super::faults::Faults;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use swimcoach::ledger::{Budgets, Charge, Month, MonthUsage, Reservation};
use swimcoach::metadata::sqlite::SqliteSessionStore;
use swimcoach::metadata::{
    AddedFrames, Amendment, ClaimedAnswer, Entry, EntryKind, Exchanged, Holdings, Recorded, SessionRecord,
    SessionStore, StartedAnalysis, StoreHealth,
};
use swimcoach::session::{Analysis, AnswerClaim, Frame, Owner, Session, SessionId, Turn};
use swimcoach::upstream::{Service, UpstreamError};

/// Keeps records in memory and breaks when told to.
#[derive(Debug)]
pub(crate) struct FaultyRecords {
    pub(crate) inner: SqliteSessionStore,
    pub(crate) faults: Faults,
}

impl FaultyRecords {
    pub(crate) fn new(inner: SqliteSessionStore) -> Self {
        Self { inner, faults: Faults::new(Service::Records) }
    }
}

#[async_trait]
impl SessionStore for FaultyRecords {
    async fn create_session(&self, session: &Session) -> Result<(), UpstreamError> {
        self.faults.call("create_session", self.inner.create_session(session)).await
    }

    async fn session(&self, owner: &Owner, id: SessionId) -> Result<Option<SessionRecord>, UpstreamError> {
        self.faults.call("session", self.inner.session(owner, id)).await
    }

    async fn list_sessions(
        &self,
        owner: &Owner,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, UpstreamError> {
        self.faults.call("list_sessions", self.inner.list_sessions(owner, before, limit)).await
    }

    async fn existing_sessions(&self, ids: &[SessionId]) -> Result<Vec<SessionId>, UpstreamError> {
        self.faults.call("existing_sessions", self.inner.existing_sessions(ids)).await
    }

    async fn add_frames(
        &self,
        owner: &Owner,
        session: SessionId,
        frames: &[Frame],
    ) -> Result<AddedFrames, UpstreamError> {
        self.faults.call("add_frames", self.inner.add_frames(owner, session, frames)).await
    }

    async fn amend_session(
        &self,
        owner: &Owner,
        id: SessionId,
        amendment: &Amendment,
    ) -> Result<bool, UpstreamError> {
        self.faults.call("amend_session", self.inner.amend_session(owner, id, amendment)).await
    }

    async fn claim_session(&self, id: SessionId, from: &Owner, to: &Owner) -> Result<bool, UpstreamError> {
        self.faults.call("claim_session", self.inner.claim_session(id, from, to)).await
    }

    async fn expired_sessions(
        &self,
        now: DateTime<Utc>,
        unsaid_since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(Owner, SessionId)>, UpstreamError> {
        self.faults.call("expired_sessions", self.inner.expired_sessions(now, unsaid_since, limit)).await
    }

    async fn holdings(&self, owner: &Owner) -> Result<Holdings, UpstreamError> {
        self.faults.call("holdings", self.inner.holdings(owner)).await
    }

    async fn entry(&self, kind: EntryKind, name: &str) -> Result<Option<Entry>, UpstreamError> {
        self.faults.call("entry", self.inner.entry(kind, name)).await
    }

    async fn entries(
        &self,
        kind: EntryKind,
        before: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<Vec<Entry>, UpstreamError> {
        self.faults.call("entries", self.inner.entries(kind, before, after)).await
    }

    async fn exchange_entry(&self, seen: Option<&str>, new: &Entry) -> Result<Exchanged, UpstreamError> {
        self.faults.call("exchange_entry", self.inner.exchange_entry(seen, new)).await
    }

    async fn remove_entry(&self, kind: EntryKind, name: &str, seen: &str) -> Result<bool, UpstreamError> {
        self.faults.call("remove_entry", self.inner.remove_entry(kind, name, seen)).await
    }

    async fn start_analysis(
        &self,
        analysis: &Analysis,
        stale_before: DateTime<Utc>,
    ) -> Result<StartedAnalysis, UpstreamError> {
        self.faults.call("start_analysis", self.inner.start_analysis(analysis, stale_before)).await
    }

    async fn record_analysis(&self, analysis: &Analysis) -> Result<Recorded, UpstreamError> {
        self.faults.call("record_analysis", self.inner.record_analysis(analysis)).await
    }

    async fn append_turns(&self, session: SessionId, turns: &[Turn]) -> Result<(), UpstreamError> {
        self.faults.call("append_turns", self.inner.append_turns(session, turns)).await
    }

    async fn delete_session(&self, owner: &Owner, id: SessionId) -> Result<u64, UpstreamError> {
        self.faults.call("delete_session", self.inner.delete_session(owner, id)).await
    }

    async fn unfinished_analyses(
        &self,
        since: DateTime<Utc>,
    ) -> Result<Vec<(Owner, Analysis)>, UpstreamError> {
        self.faults.call("unfinished_analyses", self.inner.unfinished_analyses(since)).await
    }

    async fn claim_answer(
        &self,
        claim: &AnswerClaim,
        stale_before: DateTime<Utc>,
    ) -> Result<ClaimedAnswer, UpstreamError> {
        self.faults.call("claim_answer", self.inner.claim_answer(claim, stale_before)).await
    }

    async fn release_answer(&self, claim: &AnswerClaim) -> Result<(), UpstreamError> {
        self.faults.call("release_answer", self.inner.release_answer(claim)).await
    }

    async fn reserve(&self, charge: &Charge, budgets: &Budgets) -> Result<Reservation, UpstreamError> {
        self.faults.call("reserve", self.inner.reserve(charge, budgets)).await
    }

    async fn settle(&self, charge: &Charge) -> Result<(), UpstreamError> {
        self.faults.call("settle", self.inner.settle(charge)).await
    }

    async fn month_usage(&self, owner: &Owner, month: Month) -> Result<MonthUsage, UpstreamError> {
        self.faults.call("month_usage", self.inner.month_usage(owner, month)).await
    }

    async fn check(&self) -> Result<StoreHealth, UpstreamError> {
        self.faults.call("check", self.inner.check()).await
    }

    async fn probe(&self) -> Result<(), UpstreamError> {
        self.faults.call("probe", self.inner.probe()).await
    }
}
