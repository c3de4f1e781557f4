//! The way of waiting writes to the store: in order, in batches, for as long as it takes.

use super::file::{Journal, WaitingWrite, unavailable};
use super::write::{Write, WriteKind, creates};
use crate::metadata::SessionStore;
use crate::session::{Owner, SessionId};
use crate::upstream::{RetryPolicy, UpstreamError, UpstreamErrorKind, delay_before_try};
use futures_util::future::join_all;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Writes that are read from the journal at one time.
const BATCH: u32 = 64;
/// Sessions whose writes are on their way at one time.
const SESSIONS_AT_ONCE: usize = 8;

/// How patiently the store is asked whether it is back. It is asked for as long as something waits. Until it
/// is, no analysis starts, so that it is not asked seldom.
const ASK_AGAIN: RetryPolicy = RetryPolicy {
    attempts: u32::MAX,
    base_delay: Duration::from_secs(1),
    max_delay: Duration::from_secs(10),
    deadline: Duration::MAX,
};

/// How long an outage is remembered when nobody renews the memory. The drain does at each of its tries, so
/// that this only counts if it broke off.
const REMEMBERED: Duration = Duration::from_mins(2);

/// Whether the store was down a moment ago, so that it is not worth asking.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Failures>);

#[derive(Debug, Default)]
struct Failures {
    /// When the store failed last; absent since it answered.
    last: Option<Instant>,
    /// How often it has failed.
    count: u64,
}

impl Outage {
    /// The store failed.
    pub(super) fn begin(&self, error: &UpstreamError) {
        let mut failures = self.lock();
        failures.count += 1;
        if failures.last.replace(Instant::now()).is_none() {
            tracing::error!(
                %error, cause = %error.source,
                "the store of records is down; what is written waits in the journal",
            );
        }
    }

    /// How often the store has failed so far, for [`Self::end`].
    fn n_failures(&self) -> u64 {
        self.lock().count
    }

    /// The store answered, or nothing waits for it. It does not count when the store has failed since
    /// `n_failures` was asked.
    fn end(&self, n_failures: u64) {
        let mut failures = self.lock();
        if failures.count == n_failures && failures.last.take().is_some() {
            tracing::info!("the store of records is back");
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.lock().last.is_some_and(|it| it.elapsed() < REMEMBERED)
    }

    fn lock(&self) -> MutexGuard<'_, Failures> {
        // Both numbers are right after every statement, so a panic elsewhere leaves them usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journal, the store behind it, and what is known of the store.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) store: Arc<dyn SessionStore>,
    pub(super) journal: Journal,
    pub(super) outage: Outage,
    /// Something was appended.
    pub(super) wake: Notify,
}

/// What became of some writes of one session.
#[derive(Debug, Default)]
struct Sent {
    acknowledged: Vec<i64>,
    refused: Vec<(i64, String)>,
    /// Why the rest was not sent.
    failure: Option<UpstreamError>,
}

impl Drain {
    pub(super) fn new(store: Arc<dyn SessionStore>, journal: Journal) -> Self {
        Self { store, journal, outage: Outage::default(), wake: Notify::new() }
    }

    /// Sends what waits and what comes, until `stop` is cancelled. A batch under way is finished.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let mut failed = 0;
        while !stop.is_cancelled() {
            let pause = match self.send_batch().await {
                Ok(0) => None,
                Ok(_) => {
                    failed = 0;
                    continue;
                }
                Err(error) => {
                    failed += 1;
                    let pause = delay_before_try(&ASK_AGAIN, failed, error.kind);
                    tracing::warn!(
                        %error, cause = %error.source, failed,
                        delay_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                        "what waits in the journal could not be sent, trying again",
                    );
                    Some(pause)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
                () = self.wake.notified(), if pause.is_none() => {}
            }
        }
    }

    /// Sends the next batch and removes from the journal what the store acknowledged. Returns the number of
    /// writes that were sent or set aside; zero when nothing is left that can be sent.
    ///
    /// # Errors
    /// What the store failed with, when it does not take anything just now.
    pub(super) async fn send_batch(&self) -> Result<usize, UpstreamError> {
        let n_failures = self.outage.n_failures();
        // While the store is down one write asks for all.
        let limit = if self.outage.is_on() { 1 } else { BATCH };
        let waiting = self.journal.next(limit).await?;
        let mut sessions = by_session(waiting);
        sessions.truncate(SESSIONS_AT_ONCE);
        let mut all = Sent::default();
        for sent in join_all(sessions.iter().map(|writes| self.send_in_order(writes))).await {
            all.acknowledged.extend(sent.acknowledged);
            all.refused.extend(sent.refused);
            all.failure = all.failure.or(sent.failure);
        }

        // Before the journal shows that they have arrived: whoever sees that finds the store well.
        match &all.failure {
            Some(error) => self.outage.begin(error),
            None => self.outage.end(n_failures),
        }
        let count = all.acknowledged.len() + all.refused.len();
        if 0 < count {
            self.journal.settle(all.acknowledged, all.refused).await?;
        }
        all.failure.map_or(Ok(count), Err)
    }

    async fn send_in_order(&self, writes: &[WaitingWrite]) -> Sent {
        let mut sent = Sent::default();
        for waiting in writes {
            let Some(write) = &waiting.write else {
                tracing::error!(
                    session.id = %waiting.session,
                    "a write about the session {} cannot be read from the journal and is set aside", waiting.session,
                );
                sent.refused.push((waiting.sequence, "unreadable".to_owned()));
                return sent;
            };
            match self.send(write).await {
                Ok(()) => sent.acknowledged.push(waiting.sequence),
                Err(error) if self.is_refusal(&error).await => {
                    tracing::error!(
                        session.id = %waiting.session, %error, cause = %error.source,
                        "the {} of the session {} was refused by the store of records and is set aside",
                        write.kind(), waiting.session,
                    );
                    sent.refused.push((waiting.sequence, error.kind.to_string()));
                    return sent;
                }
                Err(error) => {
                    sent.failure = Some(error);
                    return sent;
                }
            }
        }
        sent
    }

    async fn send(&self, write: &Write) -> Result<(), UpstreamError> {
        write.send(&*self.store).await?;
        if let Write::DeleteSession { owner, session } = write {
            self.forget_deleted(owner, *session).await?;
        }
        Ok(())
    }

    /// Whether the store would refuse this one write again, and takes others. What a setting or a quota is to
    /// blame for concerns all of them, and is waited for like an outage.
    async fn is_refusal(&self, error: &UpstreamError) -> bool {
        match error.kind {
            UpstreamErrorKind::Rejected | UpstreamErrorKind::TooLarge => true,
            UpstreamErrorKind::InvalidResponse => self.store.check().await.is_ok(),
            UpstreamErrorKind::Unavailable
            | UpstreamErrorKind::Timeout
            | UpstreamErrorKind::RateLimited { .. }
            | UpstreamErrorKind::Unauthorized
            | UpstreamErrorKind::NotFound
            | UpstreamErrorKind::Exhausted => false,
        }
    }

    /// Removes what waits of a session that the store has deleted in the name of `owner`, if it was theirs.
    /// Returns how many records the removed writes would have made.
    pub(super) async fn forget_deleted(&self, owner: &Owner, id: SessionId) -> Result<u64, UpstreamError> {
        if !self.journal.holds(id).await? {
            return Ok(0);
        }
        let ends = self.journal.ends_of(&[id]).await?;
        let mut creators = ends.iter().filter(|(kind, ..)| *kind == WriteKind::CreateSession);
        let is_theirs = match creators.next() {
            Some((_, creator, _)) => creator == owner,
            None => self.store.existing_sessions(&[id]).await?.is_empty(),
        };
        if !is_theirs {
            return Ok(0);
        }
        let writes = self.journal.forget(id).await?;
        Ok(if creates(&writes) { writes.iter().map(Write::n_records).sum() } else { 0 })
    }

    /// Sends everything that waits, also what was set aside before. For `swimcoach journal drain`.
    pub(super) async fn send_all(&self) -> Result<u64, UpstreamError> {
        if !self.journal.is_ours() {
            return Err(unavailable("the journal belongs to the running service".to_owned()));
        }
        self.journal.put_back().await?;
        let before = self.journal.backlog().await?;
        while 0 < self.send_batch().await? {}
        let after = self.journal.backlog().await?;
        Ok(before.waiting.saturating_sub(after.waiting))
    }
}

/// Writes by session, each in order, the session whose write is oldest first.
fn by_session(writes: Vec<WaitingWrite>) -> Vec<Vec<WaitingWrite>> {
    let mut sessions: Vec<Vec<WaitingWrite>> = Vec::new();
    for write in writes {
        match sessions.iter_mut().find(|it| it.first().is_some_and(|it| it.session == write.session)) {
            Some(session) => session.push(write),
            None => sessions.push(vec![write]),
        }
    }
    sessions
}

/// Sleeps for `pause`, or for ever.
async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
