//! Work that outlives the request that asked for it: bounded, one for each session, cancellable.
//!
//! What the work is, and what becomes of it when it is cancelled, is its own affair; see
//! [`crate::coach`]. Everything here is lost with the process, so nothing here may be needed to be right:
//! whether an analysis runs is decided by its record.

use crate::session::SessionId;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type BySession = HashMap<SessionId, Arc<CancellationToken>>;

/// Runs background work and waits for it at the end.
#[derive(Debug, Clone)]
pub struct Jobs {
    tracker: TaskTracker,
    /// One permit for each job that runs or waits.
    places: Arc<Semaphore>,
    /// One permit for each job that runs.
    running: Arc<Semaphore>,
    /// Cancelled when everything must stop.
    stop: CancellationToken,
    by_session: Arc<Mutex<BySession>>,
}

/// A place in the queue, taken before anything is recorded, so that what is recorded will run.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Jobs {
    /// Room for `max_running` jobs at one time and `max_waiting` more behind them.
    pub fn new(max_running: usize, max_waiting: usize) -> Self {
        Self {
            tracker: TaskTracker::new(),
            places: Arc::new(Semaphore::new(max_running + max_waiting)),
            running: Arc::new(Semaphore::new(max_running)),
            stop: CancellationToken::new(),
            by_session: Arc::default(),
        }
    }

    /// Takes a place; `None` when all are taken.
    pub fn place(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|permit| Place { _permit: permit })
    }

    /// Runs a job about a session when its turn comes. `work` is given a token that is cancelled when the
    /// job should end early, and is always run, so that it can record that it was cancelled.
    pub fn run<F, Fut>(&self, place: Place, session: SessionId, work: F)
    where
        F: FnOnce(CancellationToken, Turn) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let cancel = Arc::new(self.stop.child_token());
        let work = work((*cancel).clone(), Turn(Arc::clone(&self.running)));
        self.lock().insert(session, Arc::clone(&cancel));
        let known = Known { by_session: Arc::clone(&self.by_session), session, cancel };
        self.tracker.spawn(async move {
            let _held = (place, known);
            work.await;
        });
    }

    /// Tells the job about a session to end, if there is one.
    pub fn cancel(&self, session: SessionId) {
        if let Some(cancel) = self.lock().get(&session) {
            cancel.cancel();
        }
    }

    /// Runs work that must be finished once begun, whatever becomes of the connection that caused it.
    pub fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.tracker.spawn(work)
    }

    /// Lets no job begin that has not had its turn, waits up to `limit` for everything to end by itself, then
    /// cancels the jobs and waits for them to record it. Returns whether everything ended.
    pub async fn shut_down(&self, limit: Duration) -> bool {
        const RECORDING: Duration = Duration::from_secs(5);
        self.tracker.close();
        // What would begin now would be paid for and then cut.
        self.running.close();
        if tokio::time::timeout(limit, self.tracker.wait()).await.is_ok() {
            return true;
        }
        self.stop.cancel();
        tokio::time::timeout(RECORDING, self.tracker.wait()).await.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, BySession> {
        lock(&self.by_session)
    }
}

/// A job that can be cancelled by its session for as long as it lives.
struct Known {
    by_session: Arc<Mutex<BySession>>,
    session: SessionId,
    cancel: Arc<CancellationToken>,
}

impl Drop for Known {
    fn drop(&mut self) {
        let mut by_session = lock(&self.by_session);
        // The next job of the session may have come already.
        if by_session.get(&self.session).is_some_and(|it| Arc::ptr_eq(it, &self.cancel)) {
            by_session.remove(&self.session);
        }
    }
}

fn lock(by_session: &Mutex<BySession>) -> MutexGuard<'_, BySession> {
    // The map is whole after every statement, so a panic elsewhere leaves it usable.
    by_session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A job's turn to run, which comes when fewer than the limit are running.
#[derive(Debug)]
pub struct Turn(Arc<Semaphore>);

impl Turn {
    /// Waits for the turn; the job runs for as long as it holds the result. `None` when no turn will come,
    /// since the service stops.
    pub async fn come(self) -> Option<OwnedSemaphorePermit> {
        self.0.acquire_owned().await.ok()
    }
}
