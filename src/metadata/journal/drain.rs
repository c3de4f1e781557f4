//! The way of waiting writes to the store: in order, in batches, for as long as it takes.

use super::file::{Journal, WaitingWrite};
use super::write::{Subject, Write, WriteKind, creates};
use crate::metadata::{Backlog, Recorded, SessionStore, StoreHealth};
use crate::session::{Owner, SessionId};
use crate::upstream::{RetryPolicy, Service, UpstreamError, UpstreamErrorKind, delay_before_try};
use futures_util::future::join_all;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Writes that are read from the journal at one time.
const BATCH: u32 = 64;
/// Sessions and charges whose writes are on their way at one time.
const SUBJECTS_AT_ONCE: usize = 8;

/// How patiently the store is asked whether it is back. It is asked for as long as something waits. Until it
/// is, no analysis starts, so that it is not asked seldom.
const ASK_AGAIN: RetryPolicy = RetryPolicy {
    attempts: u32::MAX,
    base_delay: Duration::from_secs(1),
    max_delay: Duration::from_secs(10),
    deadline: Duration::MAX,
};

/// How long the store may take to answer a check. Less than whoever asks is willing to wait, so that a store
/// that is silent counts as down and not the journal with it.
const CHECK_PATIENCE: Duration = Duration::from_secs(3);

/// How long an outage is remembered when nobody renews the memory. The drain does after each of its tries, so
/// that this only counts if it broke off; it is more than the longest try, a deletion of six statements.
const REMEMBERED: Duration = Duration::from_mins(10);

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

/// What came of sending everything at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Number of writes that arrived.
    pub arrived: u64,
    /// What the store refused, and what waits behind it.
    pub left: Backlog,
}

/// What became of some writes about one session or charge.
#[derive(Debug, Default)]
struct Sent {
    acknowledged: Vec<i64>,
    refused: Vec<(i64, String)>,
    /// Whose rest was not sent, and why.
    failure: Option<(Subject, UpstreamError)>,
}

impl Drain {
    pub(super) fn new(store: Arc<dyn SessionStore>, journal: Journal) -> Self {
        Self { store, journal, outage: Outage::default(), wake: Notify::new() }
    }

    /// Sends what waits and what comes, until `stop` is cancelled. A batch under way is finished.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let mut failed = 0;
        while !stop.is_cancelled() {
            let pause = match self.send_round(stop).await {
                Ok(()) => {
                    failed = 0;
                    None
                }
                Err(error) => {
                    failed += 1;
                    // However long it asks us to wait: what comes meanwhile must not wait as long.
                    let pause = delay_before_try(&ASK_AGAIN, failed, error.kind).min(ASK_AGAIN.max_delay);
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

    /// Sends what waits, batch by batch, and removes from the journal what the store acknowledged, until
    /// nothing is left that can be sent. What a write about failed is left out until the next round. The round
    /// ends early when the store is down, or did not take the writes about as many as are sent at one time.
    ///
    /// # Errors
    /// The first failure of a write that waits on.
    async fn send_round(&self, stop: &CancellationToken) -> Result<(), UpstreamError> {
        let mut left_out = Vec::new();
        let mut failure = None;
        while !stop.is_cancelled() && left_out.len() < SUBJECTS_AT_ONCE {
            let n_failures = self.outage.n_failures();
            // While the store is down one write asks for all.
            let limit = if self.outage.is_on() { 1 } else { BATCH };
            let mut subjects = by_subject(self.journal.next(limit, &left_out).await?);
            subjects.truncate(SUBJECTS_AT_ONCE);
            let is_last = subjects.is_empty();
            let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
            for sent in join_all(subjects.iter().map(|writes| self.send_in_order(writes))).await {
                acknowledged.extend(sent.acknowledged);
                refused.extend(sent.refused);
                if let Some((about, error)) = sent.failure {
                    left_out.push(about);
                    failure = failure.or(Some(error));
                }
            }
            // Before the journal shows that they have arrived: whoever sees that finds the store well.
            self.outage.end(n_failures);
            if !acknowledged.is_empty() || !refused.is_empty() {
                self.journal.settle(acknowledged, refused).await?;
            }
            if is_last || self.outage.is_on() {
                break;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn send_in_order(&self, writes: &[WaitingWrite]) -> Sent {
        let mut sent = Sent::default();
        for waiting in writes {
            let Some(write) = &waiting.write else {
                tracing::error!(
                    about = %waiting.about,
                    "a write about {} cannot be read from the journal and is set aside", waiting.about,
                );
                sent.refused.push((waiting.sequence, "unreadable".to_owned()));
                return sent;
            };
            match self.send(write).await {
                Ok(()) => sent.acknowledged.push(waiting.sequence),
                Err(error) if self.is_refused(&error).await => {
                    tracing::error!(
                        about = %waiting.about, %error, cause = %error.source,
                        "the {} of {} was refused by the store of records and is set aside",
                        write.kind(), waiting.about,
                    );
                    sent.refused.push((waiting.sequence, error.kind.to_string()));
                    return sent;
                }
                Err(error) => {
                    sent.failure = Some((waiting.about, error));
                    return sent;
                }
            }
        }
        sent
    }

    /// Says of a write that failed with `error` what becomes of it: it is refused for good, or it waits. Every
    /// write is judged here, whether it was on its way for the first time or from the journal.
    ///
    /// It is refused where the store is well and finds fault with this write; a gateway that answers in the
    /// store's place is found out by the check. It waits for everything else: an outage, which begins here,
    /// and what a setting or a quota is to blame for, since somebody will mend it.
    pub(super) async fn is_refused(&self, error: &UpstreamError) -> bool {
        if error.kind == UpstreamErrorKind::TooLarge {
            return true;
        }
        if let Err(down) = self.check().await {
            self.outage.begin(&down);
            return false;
        }
        match error.kind {
            UpstreamErrorKind::Rejected
            | UpstreamErrorKind::TooLarge
            | UpstreamErrorKind::InvalidResponse => true,
            UpstreamErrorKind::Unavailable
            | UpstreamErrorKind::Timeout
            | UpstreamErrorKind::RateLimited { .. }
            | UpstreamErrorKind::Unauthorized
            | UpstreamErrorKind::NotFound
            | UpstreamErrorKind::Exhausted => false,
        }
    }

    /// Asks the store whether it is well.
    pub(super) async fn check(&self) -> Result<StoreHealth, UpstreamError> {
        tokio::time::timeout(CHECK_PATIENCE, self.store.check()).await.unwrap_or_else(|silent| {
            Err(UpstreamError::new(Service::Records, "check", UpstreamErrorKind::Timeout, silent))
        })
    }

    /// Sends a write that waited. A state of an analysis that went on elsewhere meanwhile is done with.
    async fn send(&self, write: &Write) -> Result<(), UpstreamError> {
        let (Recorded::Kept | Recorded::Superseded) = write.send(&*self.store).await?;
        if let Write::DeleteSession { owner, session } = write {
            self.forget_deleted(owner, *session).await?;
        }
        Ok(())
    }

    /// Removes what waits of a session that the store has deleted in the name of `owner`, if it was theirs.
    /// Returns how many records the removed writes would have made.
    pub(super) async fn forget_deleted(&self, owner: &Owner, id: SessionId) -> Result<u64, UpstreamError> {
        if !self.journal.holds(id.into()).await? {
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
        let writes = self.journal.forget(id.into()).await?;
        Ok(if creates(&writes) { writes.iter().map(Write::n_records).sum() } else { 0 })
    }

    /// Sends everything that waits, also what was set aside before. For `swimcoach journal drain`.
    pub(super) async fn send_all(&self) -> Result<Drained, UpstreamError> {
        self.journal.must_be_ours()?;
        self.journal.put_back().await?;
        let before = self.journal.backlog().await?;
        self.send_round(&CancellationToken::new()).await?;
        let left = self.journal.backlog().await?;
        Ok(Drained { arrived: before.waiting.saturating_sub(left.waiting), left })
    }
}

/// Writes by what they are about, each in order, the one first whose write is oldest.
fn by_subject(writes: Vec<WaitingWrite>) -> Vec<Vec<WaitingWrite>> {
    let mut subjects: Vec<Vec<WaitingWrite>> = Vec::new();
    for write in writes {
        match subjects.iter_mut().find(|it| it.first().is_some_and(|it| it.about == write.about)) {
            Some(subject) => subject.push(write),
            None => subjects.push(vec![write]),
        }
    }
    subjects
}

/// Sleeps for `pause`, or for ever.
async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
