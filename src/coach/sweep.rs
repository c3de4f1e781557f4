//! What is to be kept no longer is removed: sessions that have expired, frames that no record knows, what clients put
//! into storage and never completed, and requests whose idempotency keys count no more.
//!
//! What cannot be removed keeps nothing else from it; it is counted, logged, and tried again by the next sweep. Any
//! number of sweeps at once do no harm, but the one in the background is one for all replicas.

use super::{Coach, CoachError, now};
use crate::metadata::{Entry, EntryKind, Exchanged};
use crate::session::SessionId;
use crate::upstream::UpstreamError;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::Duration;
use thiserror::Error;
use uuid::Uuid;

/// Sessions that are looked for at one time.
const PAGE: u32 = 500;
/// How long requests with an idempotency key are remembered.
pub const REQUESTS_KEPT: TimeDelta = TimeDelta::hours(24);
/// How old a session is at least whose pending objects are taken for forgotten.
const PENDING_KEPT: TimeDelta = TimeDelta::hours(24);
/// The same for frames that no record knows, in the background: a session may wait in the journal of another replica.
const ORPHANS_KEPT: TimeDelta = TimeDelta::hours(24);
/// For how long whoever sweeps for all replicas has the right to, unless it is renewed.
const LEASE: TimeDelta = TimeDelta::minutes(10);
/// The name of that right.
const LEASE_NAME: &str = "sweep";

/// What is swept, and how.
#[derive(Debug, Clone, Copy)]
pub struct SweepRequest {
    /// Whether it is only told what would be removed.
    pub dry_run: bool,
    /// Frames of uploads that began later are left alone, since those may be under way.
    pub horizon: DateTime<Utc>,
    /// Whether frames are removed although the records know no session in storage at all.
    pub records_are_empty: bool,
}

/// What a sweep removed, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions that had expired.
    pub expired: Vec<SessionId>,
    /// Sessions in storage that no record knows.
    pub orphans: Vec<SessionId>,
    /// Sessions of which something was pending for too long.
    pub pending: Vec<SessionId>,
    /// Requests whose idempotency keys count no more.
    pub requests: usize,
    /// What could not be removed.
    pub failed: usize,
}

/// Why a sweep came to nothing, or not to its end.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The records may be the wrong ones.
    #[error("the records know none of the {found} sessions in storage")]
    NoneKnown {
        /// How many there are.
        found: usize,
    },
    /// Another replica took the right to sweep.
    #[error("another replica sweeps")]
    Elsewhere,
    /// Storage or records failed.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

/// The right to sweep for all replicas, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Lease {
    holder: Uuid,
    until: DateTime<Utc>,
    /// When the sweep before ended.
    swept_at: Option<DateTime<Utc>>,
}

/// The right to sweep, held.
struct Held<'a> {
    coach: &'a Coach,
    entry: Entry,
    lease: Lease,
}

impl Coach {
    /// Sweeps once every `interval` for all replicas, for as long as the service runs.
    pub fn sweep_in_background(&self, interval: Duration) {
        let coach = self.clone();
        self.jobs.finish(async move {
            let closing = coach.jobs.closing();
            // Replicas that start together do not ask together, and a start is no time for a sweep.
            let first = interval.mul_f64(0.1 + 0.4 * rand::random::<f64>());
            let mut wait = first.min(Duration::from_mins(10));
            loop {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = closing.cancelled() => return,
                }
                wait = interval;
                let swept = closing.run_until_cancelled(coach.sweep_for_all(interval)).await;
                match swept {
                    None => return,
                    Some(Ok(Some(swept))) => tracing::info!(
                        expired = swept.expired.len(),
                        orphans = swept.orphans.len(),
                        pending = swept.pending.len(),
                        requests = swept.requests,
                        failed = swept.failed,
                        "swept {} expired sessions",
                        swept.expired.len(),
                    ),
                    Some(Ok(None)) => {}
                    Some(Err(error)) => tracing::warn!(%error, "the sweep did not come to its end"),
                }
            }
        });
    }

    /// Sweeps once, unless another replica does or has since `interval`.
    pub async fn sweep_for_all(&self, interval: Duration) -> Result<Option<Swept>, SweepError> {
        let Some(mut held) = self.take_sweep(interval).await? else { return Ok(None) };
        let horizon = now() - ORPHANS_KEPT;
        let request = SweepRequest { dry_run: false, horizon, records_are_empty: false };
        let swept = self.sweep_all(&request, Some(&mut held)).await;
        // Also where something was left: the next sweep is soon enough for it.
        held.end().await?;
        match swept {
            (swept, Err(SweepError::NoneKnown { found })) => {
                tracing::warn!(
                    found,
                    "the records know none of the sessions in storage, so none was taken for an orphan"
                );
                Ok(Some(swept))
            }
            (swept, outcome) => outcome.map(|()| Some(swept)),
        }
    }

    /// Sweeps once, whoever else does.
    pub async fn sweep(&self, request: SweepRequest) -> Result<Swept, SweepError> {
        let (swept, outcome) = self.sweep_all(&request, None).await;
        outcome.map(|()| swept)
    }

    /// Sweeps one kind after the other. What keeps one of them from being swept keeps no other from it; the first such
    /// failure is told beside what was swept.
    async fn sweep_all(
        &self,
        request: &SweepRequest,
        mut held: Option<&mut Held<'_>>,
    ) -> (Swept, Result<(), SweepError>) {
        let mut swept = Swept::default();
        let expired = self.sweep_expired(request, &mut swept, held.as_deref_mut()).await;
        let orphans = self.sweep_orphans(request, &mut swept, held.as_deref_mut()).await;
        let pending = self.sweep_pending(request, &mut swept, held.as_deref_mut()).await;
        let requests = self.sweep_requests(request, &mut swept, held).await;
        (swept, expired.and(orphans).and(pending).and(requests))
    }

    async fn sweep_expired(
        &self,
        request: &SweepRequest,
        swept: &mut Swept,
        mut held: Option<&mut Held<'_>>,
    ) -> Result<(), SweepError> {
        let unsaid_since = now() - self.kept_unsaid();
        let mut tried = HashSet::new();
        loop {
            // Those that could not be removed are told again, before the others.
            let limit = PAGE + u32::try_from(swept.failed).unwrap_or(u32::MAX - PAGE);
            let limit = if request.dry_run { limit + u32::try_from(tried.len()).unwrap_or(0) } else { limit };
            let page = self.sessions.expired_sessions(now(), unsaid_since, limit).await?;
            let fresh: Vec<_> = page.into_iter().filter(|(_, id)| tried.insert(*id)).collect();
            if fresh.is_empty() {
                return Ok(());
            }
            for (owner, id) in fresh {
                if request.dry_run {
                    swept.expired.push(id);
                    continue;
                }
                renew(&mut held).await?;
                match self.delete_session(&owner, id).await {
                    Ok(_) => swept.expired.push(id),
                    // Another sweep, or its owner, was faster.
                    Err(CoachError::NoSuchSession(_)) => {}
                    Err(error) => {
                        log_left(id, "the expired session", &error);
                        swept.failed += 1;
                    }
                }
            }
        }
    }

    async fn sweep_orphans(
        &self,
        request: &SweepRequest,
        swept: &mut Swept,
        mut held: Option<&mut Held<'_>>,
    ) -> Result<(), SweepError> {
        let orphans = self.find_orphans(request.horizon).await?;
        let found = orphans.sessions.len();
        // Those that had expired were known until a moment ago.
        let is_any_known = 0 < orphans.known || !swept.expired.is_empty();
        if 0 < found && !is_any_known && !request.dry_run && !request.records_are_empty {
            return Err(SweepError::NoneKnown { found });
        }
        for id in orphans.sessions {
            renew(&mut held).await?;
            if !request.dry_run
                && let Err(error) = self.remove_orphan(id).await
            {
                log_left(id, "the frames without a record of", &error.into());
                swept.failed += 1;
                continue;
            }
            swept.orphans.push(id);
        }
        Ok(())
    }

    async fn sweep_pending(
        &self,
        request: &SweepRequest,
        swept: &mut Swept,
        mut held: Option<&mut Held<'_>>,
    ) -> Result<(), SweepError> {
        let forgotten = now() - PENDING_KEPT;
        let mut after = None;
        loop {
            let page = self.storage.list_pending_sessions(after).await?;
            let Some(last) = page.last().copied() else { return Ok(()) };
            after = Some(last);
            for id in page.into_iter().filter(|it| it.created_at().is_none_or(|at| at < forgotten)) {
                renew(&mut held).await?;
                if !request.dry_run
                    && let Err(error) = self.storage.delete_pending(id).await
                {
                    log_left(id, "what was pending of", &error.into());
                    swept.failed += 1;
                    continue;
                }
                swept.pending.push(id);
            }
        }
    }

    async fn sweep_requests(
        &self,
        request: &SweepRequest,
        swept: &mut Swept,
        mut held: Option<&mut Held<'_>>,
    ) -> Result<(), SweepError> {
        let mut after: Option<String> = None;
        loop {
            let before = now() - REQUESTS_KEPT;
            let page = self.sessions.entries(EntryKind::Request, before, after.as_deref()).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name.clone());
            for entry in &page {
                renew(&mut held).await?;
                let removed = if request.dry_run {
                    Ok(true)
                } else {
                    self.sessions.remove_entry(entry.kind, &entry.name, &entry.value).await
                };
                match removed {
                    Ok(is_gone) => swept.requests += usize::from(is_gone),
                    Err(error) => {
                        tracing::warn!(%error, cause = %error.source, "could not forget a request");
                        swept.failed += 1;
                    }
                }
            }
        }
    }

    /// Takes the right to sweep for all replicas, unless another has it or swept since `interval`.
    async fn take_sweep(&self, interval: Duration) -> Result<Option<Held<'_>>, SweepError> {
        let there = self.sessions.entry(EntryKind::Lease, LEASE_NAME).await?;
        let before = there.as_ref().and_then(|it| serde_json::from_str::<Lease>(&it.value).ok());
        // Replicas do not tick together, so a little less than the interval is enough.
        let pause = TimeDelta::from_std(interval.mul_f64(0.9)).unwrap_or(TimeDelta::MAX);
        if before
            .as_ref()
            .is_some_and(|it| now() < it.until || it.swept_at.is_some_and(|at| now() < at + pause))
        {
            return Ok(None);
        }
        let swept_at = before.and_then(|it| it.swept_at);
        let lease = Lease { holder: Uuid::new_v4(), until: now() + LEASE, swept_at };
        let entry = lease.entry();
        let seen = there.as_ref().map(|it| it.value.as_str());
        Ok(match self.sessions.exchange_entry(seen, &entry).await? {
            Exchanged::Put => Some(Held { coach: self, entry, lease }),
            Exchanged::Changed(_) => None,
        })
    }
}

impl Lease {
    fn entry(&self) -> Entry {
        Entry {
            kind: EntryKind::Lease,
            name: LEASE_NAME.to_owned(),
            owner: None,
            session: None,
            // Three fields of which each has a text: that cannot fail.
            value: serde_json::to_string(self).unwrap_or_default(),
            recorded_at: now(),
        }
    }
}

impl Held<'_> {
    /// Renews the right where half of its time is over.
    async fn renew_in_time(&mut self) -> Result<(), SweepError> {
        if now() < self.lease.until - LEASE / 2 {
            return Ok(());
        }
        self.put(Lease { until: now() + LEASE, ..self.lease }).await
    }

    /// Gives the right back, and says when that was.
    async fn end(mut self) -> Result<(), SweepError> {
        self.put(Lease { until: now(), swept_at: Some(now()), ..self.lease }).await
    }

    async fn put(&mut self, lease: Lease) -> Result<(), SweepError> {
        let entry = lease.entry();
        match self.coach.sessions.exchange_entry(Some(&self.entry.value), &entry).await? {
            Exchanged::Put => {
                (self.entry, self.lease) = (entry, lease);
                Ok(())
            }
            Exchanged::Changed(_) => Err(SweepError::Elsewhere),
        }
    }
}

/// Renews the right to sweep in time, where that is needed.
async fn renew(held: &mut Option<&mut Held<'_>>) -> Result<(), SweepError> {
    match held {
        Some(held) => held.renew_in_time().await,
        None => Ok(()),
    }
}

fn log_left(id: SessionId, what: &str, error: &CoachError) {
    let causes = crate::upstream::chain(error);
    tracing::warn!(session.id = %id, causes, "could not remove {what} {id}; the next sweep tries again");
}
