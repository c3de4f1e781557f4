//! Records that survive an outage of their store: what the store does not take waits in a journal on the
//! disk of this machine.
//!
//! # What holds
//! - An acknowledged write is in the store or in the journal. It leaves the journal only after the store
//!   acknowledged it.
//! - Writes about one session reach the store in the order in which they were acknowledged: while one waits,
//!   later ones wait behind it. Only a deletion may overtake, since the store lets no late write bring back
//!   what was deleted. Sessions do not wait for each other, and what charges came to waits for no session.
//! - Reads by this process see what waits. Other replicas see it when it has reached the store. While the store
//!   is known to be down, what only the store knows is not asked for: such reads fail at once.
//! - What a failure means is decided in one place, for a write that is new and for one that waits: where the
//!   store is well and finds fault with the write itself, the write is refused; it waits for everything else,
//!   also for a setting that must be mended and a quota that must be raised.
//! - A write that fails holds up its own session alone. The store counts as down only while it fails a check.
//! - A write that the store refuses after it was acknowledged is set aside and counted, and its session stands
//!   still with it; the others go on. It can be sent again (`swimcoach journal drain`), given up (`swimcoach
//!   journal drop`) or deleted with its session.
//! - The journal holds nothing that outlives a deletion: what waits of a session goes when its deletion is
//!   acknowledged. Where the owner is not known here, it goes when the deletion reaches the store. What a charge
//!   came to stays, as it does in the store.
//! - It has a bound, past which writes fail.
//!
//! Whatever decides among replicas is never journalled. While the store is down, or a write about their session
//! waits, [`SessionStore::start_analysis`] and [`SessionStore::claim_answer`] fail, and so do frames, terms and owners
//! that change; while the store is down, [`SessionStore::reserve`] and small records do.
//! [`SessionStore::month_usage`] and [`SessionStore::holdings`] fail then as well; what waits to be settled is told as
//! held until it has arrived.
//!
//! Whoever removes frames without a record (`swimcoach sweep`) must see every journal, or a session that
//! waits on another machine is taken for an orphan: sweep only when no replica is degraded.

mod drain;
mod file;
mod write;

pub use drain::Drained;
pub use file::{Journal, SubjectBacklog};
pub use write::{Subject, WriteKind};

use super::{
    AddedFrames, Amendment, ClaimedAnswer, Entry, EntryKind, Exchanged, Holdings, Recorded, SessionRecord,
    SessionStore, StartedAnalysis, StoreHealth,
};
use crate::ledger::{Budgets, Charge, Month, MonthUsage, Reservation, StorageUse};
use crate::session::{Analysis, AnswerClaim, Frame, Owner, Session, SessionId, Turn};
use crate::upstream::UpstreamError;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use drain::Drain;
use file::unavailable;
use futures_util::future::try_join_all;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use write::{Write, creates, deletes, ends, overlay};

/// Of how many sessions the owner is remembered.
const MAX_OWNERS: usize = 4096;

/// Keeps records in a store, and in a journal while the store is down.
#[derive(Debug)]
pub struct JournaledSessionStore {
    drain: Arc<Drain>,
    /// Whose sessions are that were read or created here, so that what waits of them can be removed when they
    /// are deleted while the store cannot say whose they are.
    owners: Mutex<HashMap<SessionId, Owner>>,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl JournaledSessionStore {
    /// Puts `journal` before `store`. What waits in it is sent in the background, unless the journal was
    /// opened only to look at it.
    pub fn new(store: Arc<dyn SessionStore>, journal: Journal) -> Self {
        let drain = Arc::new(Drain::new(store, journal));
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        if drain.journal.is_ours() {
            let (drain, stop) = (Arc::clone(&drain), stop.clone());
            tasks.spawn(async move { drain.run(&stop).await });
        }
        tasks.close();
        Self { drain, owners: Mutex::default(), tasks, stop: stop.drop_guard() }
    }

    /// Ends the background work; waits up to `limit` for the writes that are on their way. What still waits
    /// is sent after the next start. Returns whether the work ended.
    pub async fn shut_down(&self, limit: Duration) -> bool {
        self.stop.token().cancel();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }

    /// The store, unless it is known to be down: whoever asked it would wait for nothing.
    fn store(&self) -> Result<&dyn SessionStore, UpstreamError> {
        if self.drain.outage.is_on() {
            return Err(unavailable("the store of records was down a moment ago".to_owned()));
        }
        Ok(&*self.drain.store)
    }

    fn journal(&self) -> &Journal {
        &self.drain.journal
    }

    /// Sends a write to the store, or leaves it in the journal, where it is kept.
    async fn write(&self, write: Write) -> Result<Recorded, UpstreamError> {
        if let Ok(store) = self.store()
            && !self.journal().holds(write.about()).await?
        {
            let error = match write.send(store).await {
                Ok(recorded) => return Ok(recorded),
                Err(error) => error,
            };
            if self.drain.is_refused(&error).await {
                return Err(error);
            }
            log_waiting(&write, &error);
        }
        self.append(&write, false).await?;
        Ok(Recorded::Kept)
    }

    /// The store, unless it is known to be down or does not have everything that was acknowledged of a session.
    async fn store_up_to_date(&self, session: SessionId) -> Result<&dyn SessionStore, UpstreamError> {
        let store = self.store()?;
        if self.journal().holds(session.into()).await? {
            return Err(unavailable("writes about the session wait for the store".to_owned()));
        }
        Ok(store)
    }

    async fn append(&self, write: &Write, instead: bool) -> Result<(), UpstreamError> {
        let appended = self.journal().append(write, instead).await;
        // Also where the journal took nothing: an outage for which nothing waits is over.
        self.drain.wake.notify_one();
        appended?;
        tracing::debug!(about = %write.about(), "the {} waits in the journal", write.kind());
        Ok(())
    }

    /// Leaves a deletion in the journal, in place of what waits there of the owner's session. Returns the
    /// number of records that are known here.
    async fn append_deletion(&self, owner: &Owner, id: SessionId) -> Result<u64, UpstreamError> {
        let waiting = self.journal().of_session(id).await?;
        let known = overlay(None, &waiting, owner).is_some();
        let is_theirs = known || self.owners().get(&id) == Some(owner);
        let deletion = Write::DeleteSession { owner: owner.clone(), session: id };
        self.append(&deletion, is_theirs).await?;
        Ok(if known { waiting.iter().map(Write::n_records).sum() } else { 0 })
    }

    /// Remembers whose a session is.
    fn learn(&self, session: &Session) {
        let mut owners = self.owners();
        if MAX_OWNERS <= owners.len() {
            owners.clear();
        }
        owners.insert(session.id, session.owner.clone());
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<SessionId, Owner>> {
        // The map is whole after every statement, so a panic elsewhere leaves it usable.
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journal is always read before the store: a write that leaves it meanwhile is in the store by then, and
/// no harm is done when a write is seen in both.
#[async_trait]
impl SessionStore for JournaledSessionStore {
    async fn create_session(&self, session: &Session) -> Result<(), UpstreamError> {
        self.write(Write::CreateSession(session.clone())).await?;
        self.learn(session);
        Ok(())
    }

    /// While the store is down, a session whose creation waits is known from the journal alone; what is
    /// known of others is in the store, so that this fails.
    async fn session(&self, owner: &Owner, id: SessionId) -> Result<Option<SessionRecord>, UpstreamError> {
        let waiting = self.journal().of_session(id).await?;
        if deletes(&waiting, owner) {
            return Ok(None);
        }
        let stored = match self.store() {
            Ok(store) => store.session(owner, id).await,
            Err(down) => Err(down),
        };
        let stored = match stored {
            Err(_) if creates(&waiting) => None,
            answer => answer?,
        };
        let record = overlay(stored, &waiting, owner);
        if let Some(record) = &record {
            self.learn(&record.session);
        }
        Ok(record)
    }

    /// Fails while the store is down: a list of what waits would be a part that looks like the whole.
    async fn list_sessions(
        &self,
        owner: &Owner,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, UpstreamError> {
        let waiting = self.journal().of_owner(owner, before, limit).await?;
        // As many more as may have to be left out.
        let page =
            self.store()?.list_sessions(owner, before, limit.saturating_add(waiting.n_deleted)).await?;
        let mut records: BTreeMap<SessionId, SessionRecord> =
            page.into_iter().map(|it| (it.session.id, it)).collect();
        let listed = records.keys().copied().filter(|it| waiting.touched.contains(it));
        let incomplete: HashSet<SessionId> = listed.chain(waiting.created).collect();
        let read_again =
            incomplete.into_iter().map(|id| async move { Ok((id, self.session(owner, id).await?)) });
        for (id, record) in try_join_all(read_again).await? {
            match record {
                Some(record) => records.insert(id, record),
                None => records.remove(&id),
            };
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(records.into_values().rev().take(limit).collect())
    }

    async fn existing_sessions(&self, ids: &[SessionId]) -> Result<Vec<SessionId>, UpstreamError> {
        let mut created = HashSet::new();
        let mut deleted = HashSet::new();
        for (kind, owner, id) in self.journal().ends_of(ids).await? {
            match kind {
                WriteKind::CreateSession => drop(created.insert(id)),
                // It is deleted if it is this owner's, which the store knows.
                _ if self.store()?.session(&owner, id).await?.is_some() => drop(deleted.insert(id)),
                _ => {}
            }
        }
        let mut existing = self.store()?.existing_sessions(ids).await?;
        existing.retain(|it| !deleted.contains(it) && !created.contains(it));
        existing.extend(created);
        Ok(existing)
    }

    async fn add_frames(
        &self,
        owner: &Owner,
        session: SessionId,
        frames: &[Frame],
    ) -> Result<AddedFrames, UpstreamError> {
        self.store_up_to_date(session).await?.add_frames(owner, session, frames).await
    }

    async fn amend_session(
        &self,
        owner: &Owner,
        id: SessionId,
        amendment: &Amendment,
    ) -> Result<bool, UpstreamError> {
        self.store_up_to_date(id).await?.amend_session(owner, id, amendment).await
    }

    async fn claim_session(&self, id: SessionId, from: &Owner, to: &Owner) -> Result<bool, UpstreamError> {
        let is_claimed = self.store_up_to_date(id).await?.claim_session(id, from, to).await;
        // Also where it failed: it may have happened, and what waits is then no longer `from`'s to remove.
        self.owners().remove(&id);
        is_claimed
    }

    /// Also those whose deletion waits: whoever deletes them again finds out whether the store takes it now.
    async fn expired_sessions(
        &self,
        now: DateTime<Utc>,
        unsaid_since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(Owner, SessionId)>, UpstreamError> {
        self.store()?.expired_sessions(now, unsaid_since, limit).await
    }

    /// With what waits to be created.
    async fn holdings(&self, owner: &Owner) -> Result<Holdings, UpstreamError> {
        let waiting = self.journal().created_by(owner).await?;
        let store = self.store()?;
        let ids: Vec<_> = waiting.iter().map(|it| it.id).collect();
        // What arrives in between is counted twice, so that what is allowed is never exceeded.
        let arrived = if ids.is_empty() { Vec::new() } else { store.existing_sessions(&ids).await? };
        let mut holdings = store.holdings(owner).await?;
        for session in waiting.iter().filter(|it| !arrived.contains(&it.id)) {
            holdings.sessions += 1;
            holdings.bytes += StorageUse::of_upload(session).bytes;
        }
        Ok(holdings)
    }

    async fn entry(&self, kind: EntryKind, name: &str) -> Result<Option<Entry>, UpstreamError> {
        self.store()?.entry(kind, name).await
    }

    async fn entries(
        &self,
        kind: EntryKind,
        before: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<Vec<Entry>, UpstreamError> {
        self.store()?.entries(kind, before, after).await
    }

    async fn exchange_entry(&self, seen: Option<&str>, new: &Entry) -> Result<Exchanged, UpstreamError> {
        self.store()?.exchange_entry(seen, new).await
    }

    async fn remove_entry(&self, kind: EntryKind, name: &str, seen: &str) -> Result<bool, UpstreamError> {
        self.store()?.remove_entry(kind, name, seen).await
    }

    async fn start_analysis(
        &self,
        analysis: &Analysis,
        stale_before: DateTime<Utc>,
    ) -> Result<StartedAnalysis, UpstreamError> {
        let store = self.store_up_to_date(analysis.session_id).await?;
        store.start_analysis(analysis, stale_before).await
    }

    async fn record_analysis(&self, analysis: &Analysis) -> Result<Recorded, UpstreamError> {
        self.write(Write::RecordAnalysis(Box::new(analysis.clone()))).await
    }

    async fn append_turns(&self, session: SessionId, turns: &[Turn]) -> Result<(), UpstreamError> {
        self.write(Write::AppendTurns { session, turns: turns.to_owned() }).await.map(drop)
    }

    /// A deletion that waits counts only the records that waited here.
    async fn delete_session(&self, owner: &Owner, id: SessionId) -> Result<u64, UpstreamError> {
        let Ok(store) = self.store() else { return self.append_deletion(owner, id).await };
        match store.delete_session(owner, id).await {
            Ok(removed) => {
                // Where the store had it, what waited may be the same records.
                let waited = self.drain.forget_deleted(owner, id).await?;
                Ok(if removed == 0 { waited } else { removed })
            }
            Err(error) if self.drain.is_refused(&error).await => Err(error),
            Err(error) => {
                log_waiting(&Write::DeleteSession { owner: owner.clone(), session: id }, &error);
                self.append_deletion(owner, id).await
            }
        }
    }

    /// Without those whose end or whose session's deletion waits.
    async fn unfinished_analyses(
        &self,
        since: DateTime<Utc>,
    ) -> Result<Vec<(Owner, Analysis)>, UpstreamError> {
        let touched = self.journal().touched().await?;
        let mut unfinished = self.store()?.unfinished_analyses(since).await?;
        for session in touched {
            if unfinished.iter().any(|(_, it)| it.session_id == session) {
                let waiting = self.journal().of_session(session).await?;
                unfinished.retain(|(owner, it)| !deletes(&waiting, owner) && !ends(&waiting, it));
            }
        }
        Ok(unfinished)
    }

    async fn claim_answer(
        &self,
        claim: &AnswerClaim,
        stale_before: DateTime<Utc>,
    ) -> Result<ClaimedAnswer, UpstreamError> {
        self.store_up_to_date(claim.session).await?.claim_answer(claim, stale_before).await
    }

    /// Turns that wait give the right back when they arrive: until then no replica may answer in their place.
    async fn release_answer(&self, claim: &AnswerClaim) -> Result<(), UpstreamError> {
        if self.journal().holds(claim.session.into()).await? {
            return Ok(());
        }
        self.store()?.release_answer(claim).await
    }

    async fn reserve(&self, charge: &Charge, budgets: &Budgets) -> Result<Reservation, UpstreamError> {
        self.store()?.reserve(charge, budgets).await
    }

    async fn settle(&self, charge: &Charge) -> Result<(), UpstreamError> {
        self.write(Write::Settle(Box::new(charge.clone()))).await.map(drop)
    }

    async fn month_usage(&self, owner: &Owner, month: Month) -> Result<MonthUsage, UpstreamError> {
        self.store()?.month_usage(owner, month).await
    }

    /// Fails when a write would: the store is down and the journal takes no more. Fails as well where a setting
    /// must be mended before the store is of any use, so that a new version with a wrong one goes no further.
    async fn check(&self) -> Result<StoreHealth, UpstreamError> {
        let store = match self.store() {
            Ok(_) => self.drain.check().await,
            Err(down) => Err(down),
        };
        let backlog = self.journal().backlog().await?;
        match store {
            Ok(health) if backlog.waiting == 0 => Ok(health),
            Err(error) if !error.kind.is_transient() || self.journal().is_full(backlog) => Err(error),
            Ok(_) | Err(_) => Ok(StoreHealth::Degraded(backlog)),
        }
    }

    async fn probe(&self) -> Result<(), UpstreamError> {
        self.drain.store.probe().await
    }
}

fn log_waiting(write: &Write, error: &UpstreamError) {
    tracing::warn!(
        about = %write.about(), %error, cause = %error.source,
        "the {} of {} was not taken by the store of records", write.kind(), write.about(),
    );
}

/// Sends everything that waits in a journal to a store, once, and what was set aside before as well.
///
/// # Errors
/// What the store failed with; what was not sent waits on.
pub async fn drain(journal: Journal, store: Arc<dyn SessionStore>) -> Result<Drained, UpstreamError> {
    Drain::new(store, journal).send_all().await
}
