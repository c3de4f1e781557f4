//! A store of records that breaks when it is told to, and knows which calls reached it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use swimcoach::ledger::{Budgets, Charge, Month, MonthUsage, Reservation};
use swimcoach::metadata::sqlite::SqliteSessionStore;
use swimcoach::metadata::{
    AddedFrames, Amendment, ClaimedAnswer, Entry, EntryKind, Exchanged, Holdings, Recorded, SessionRecord,
    SessionStore, StartedAnalysis, StoreHealth,
};
use swimcoach::session::{Analysis, AnswerClaim, Frame, Owner, Session, SessionId, Turn};
use swimcoach::upstream::{Service, UpstreamError, UpstreamErrorKind};

/// A call that arrived: its name in the trait, and the session that it is about, where it is about one.
pub(crate) type Call = (&'static str, Option<SessionId>);

/// Keeps records in memory, until it is broken.
#[derive(Debug)]
pub(crate) struct BreakableRecords {
    store: SqliteSessionStore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    failure: Option<UpstreamErrorKind>,
    /// How many calls fail; without a number, all of them.
    n_failures: Option<u32>,
    after_effect: bool,
    failing: HashMap<SessionId, UpstreamErrorKind>,
    is_silent: bool,
}

impl BreakableRecords {
    pub(crate) fn new() -> Arc<Self> {
        let store = SqliteSessionStore::in_memory().unwrap();
        Arc::new(Self { store, state: Mutex::default() })
    }

    /// From now on every call fails before it does anything.
    pub(crate) fn fail_all(&self, kind: UpstreamErrorKind) {
        self.break_with(kind, None, false);
    }

    /// The next calls fail before they do anything.
    pub(crate) fn fail_next(&self, n: u32, kind: UpstreamErrorKind) {
        self.break_with(kind, Some(n), false);
    }

    /// The next calls do everything that they should, and their answer is lost.
    pub(crate) fn lose_next_answers(&self, n: u32) {
        self.break_with(UpstreamErrorKind::Timeout, Some(n), true);
    }

    /// From now on writes about this session are refused for good.
    pub(crate) fn refuse(&self, session: SessionId) {
        self.fail_about(session, UpstreamErrorKind::Rejected);
    }

    /// From now on writes about this session fail before they do anything, except for its deletion.
    pub(crate) fn fail_about(&self, session: SessionId, kind: UpstreamErrorKind) {
        self.state.lock().unwrap().failing.insert(session, kind);
    }

    /// From now on no call is ever answered.
    pub(crate) fn fall_silent(&self) {
        self.state.lock().unwrap().is_silent = true;
    }

    /// From now on everything works again.
    pub(crate) fn mend(&self) {
        let mut state = self.state.lock().unwrap();
        *state = State { calls: std::mem::take(&mut state.calls), ..State::default() };
    }

    /// The calls that arrived since this was last asked, in order, those that failed included.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// The store itself, which does not break.
    pub(crate) fn unbroken(&self) -> &dyn SessionStore {
        &self.store
    }

    fn break_with(&self, kind: UpstreamErrorKind, n: Option<u32>, after_effect: bool) {
        let mut state = self.state.lock().unwrap();
        state.failure = Some(kind);
        state.n_failures = n;
        state.after_effect = after_effect;
    }

    /// Lets a call through, or breaks it.
    async fn call<T>(
        &self,
        call: Call,
        effect: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let (failure, after_effect, is_silent) = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(call);
            (state.next_failure(call), state.after_effect, state.is_silent)
        };
        if is_silent {
            std::future::pending::<()>().await;
        }
        let Some(kind) = failure else { return effect.await };
        if after_effect {
            effect.await?;
        }
        Err(UpstreamError::new(Service::Records, call.0, kind, "broken by the test"))
    }
}

impl State {
    fn next_failure(&mut self, (name, session): Call) -> Option<UpstreamErrorKind> {
        let kind = match &mut self.n_failures {
            Some(0) => None,
            Some(n) if self.failure.is_some() => {
                *n -= 1;
                self.failure
            }
            _ => self.failure,
        };
        let is_write = matches!(name, "create_session" | "record_analysis" | "append_turns");
        kind.or_else(|| session.filter(|_| is_write).and_then(|it| self.failing.get(&it).copied()))
    }
}

#[async_trait]
impl SessionStore for BreakableRecords {
    async fn create_session(&self, session: &Session) -> Result<(), UpstreamError> {
        self.call(("create_session", Some(session.id)), self.store.create_session(session)).await
    }

    async fn session(&self, owner: &Owner, id: SessionId) -> Result<Option<SessionRecord>, UpstreamError> {
        self.call(("session", Some(id)), self.store.session(owner, id)).await
    }

    async fn list_sessions(
        &self,
        owner: &Owner,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, UpstreamError> {
        self.call(("list_sessions", None), self.store.list_sessions(owner, before, limit)).await
    }

    async fn existing_sessions(&self, ids: &[SessionId]) -> Result<Vec<SessionId>, UpstreamError> {
        self.call(("existing_sessions", None), self.store.existing_sessions(ids)).await
    }

    async fn add_frames(
        &self,
        owner: &Owner,
        session: SessionId,
        frames: &[Frame],
    ) -> Result<AddedFrames, UpstreamError> {
        self.call(("add_frames", Some(session)), self.store.add_frames(owner, session, frames)).await
    }

    async fn amend_session(
        &self,
        owner: &Owner,
        id: SessionId,
        amendment: &Amendment,
    ) -> Result<bool, UpstreamError> {
        self.call(("amend_session", Some(id)), self.store.amend_session(owner, id, amendment)).await
    }

    async fn claim_session(&self, id: SessionId, from: &Owner, to: &Owner) -> Result<bool, UpstreamError> {
        self.call(("claim_session", Some(id)), self.store.claim_session(id, from, to)).await
    }

    async fn expired_sessions(
        &self,
        now: DateTime<Utc>,
        unsaid_since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(Owner, SessionId)>, UpstreamError> {
        self.call(("expired_sessions", None), self.store.expired_sessions(now, unsaid_since, limit)).await
    }

    async fn holdings(&self, owner: &Owner) -> Result<Holdings, UpstreamError> {
        self.call(("holdings", None), self.store.holdings(owner)).await
    }

    async fn entry(&self, kind: EntryKind, name: &str) -> Result<Option<Entry>, UpstreamError> {
        self.call(("entry", None), self.store.entry(kind, name)).await
    }

    async fn entries(
        &self,
        kind: EntryKind,
        before: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<Vec<Entry>, UpstreamError> {
        self.call(("entries", None), self.store.entries(kind, before, after)).await
    }

    async fn exchange_entry(&self, seen: Option<&str>, new: &Entry) -> Result<Exchanged, UpstreamError> {
        self.call(("exchange_entry", None), self.store.exchange_entry(seen, new)).await
    }

    async fn remove_entry(&self, kind: EntryKind, name: &str, seen: &str) -> Result<bool, UpstreamError> {
        self.call(("remove_entry", None), self.store.remove_entry(kind, name, seen)).await
    }

    async fn start_analysis(
        &self,
        analysis: &Analysis,
        stale_before: DateTime<Utc>,
    ) -> Result<StartedAnalysis, UpstreamError> {
        let effect = self.store.start_analysis(analysis, stale_before);
        self.call(("start_analysis", Some(analysis.session_id)), effect).await
    }

    async fn record_analysis(&self, analysis: &Analysis) -> Result<Recorded, UpstreamError> {
        let effect = self.store.record_analysis(analysis);
        self.call(("record_analysis", Some(analysis.session_id)), effect).await
    }

    async fn append_turns(&self, session: SessionId, turns: &[Turn]) -> Result<(), UpstreamError> {
        self.call(("append_turns", Some(session)), self.store.append_turns(session, turns)).await
    }

    async fn delete_session(&self, owner: &Owner, id: SessionId) -> Result<u64, UpstreamError> {
        self.call(("delete_session", Some(id)), self.store.delete_session(owner, id)).await
    }

    async fn unfinished_analyses(
        &self,
        since: DateTime<Utc>,
    ) -> Result<Vec<(Owner, Analysis)>, UpstreamError> {
        self.call(("unfinished_analyses", None), self.store.unfinished_analyses(since)).await
    }

    async fn claim_answer(
        &self,
        claim: &AnswerClaim,
        stale_before: DateTime<Utc>,
    ) -> Result<ClaimedAnswer, UpstreamError> {
        self.call(("claim_answer", Some(claim.session)), self.store.claim_answer(claim, stale_before)).await
    }

    async fn release_answer(&self, claim: &AnswerClaim) -> Result<(), UpstreamError> {
        self.call(("release_answer", Some(claim.session)), self.store.release_answer(claim)).await
    }

    async fn reserve(&self, charge: &Charge, budgets: &Budgets) -> Result<Reservation, UpstreamError> {
        self.call(("reserve", None), self.store.reserve(charge, budgets)).await
    }

    async fn settle(&self, charge: &Charge) -> Result<(), UpstreamError> {
        self.call(("settle", None), self.store.settle(charge)).await
    }

    async fn month_usage(&self, owner: &Owner, month: Month) -> Result<MonthUsage, UpstreamError> {
        self.call(("month_usage", None), self.store.month_usage(owner, month)).await
    }

    async fn check(&self) -> Result<StoreHealth, UpstreamError> {
        self.call(("check", None), self.store.check()).await
    }

    async fn probe(&self) -> Result<(), UpstreamError> {
        self.call(("probe", None), self.store.probe()).await
    }
}
