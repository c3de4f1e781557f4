//! The one writer of the states of an analysis that runs here.
//!
//! What happens is noted at once and written soon: at most one write is under way, and one begins no sooner than a
//! second after the one before, unless it is worth money. Every write renews the lease, and where nothing happens
//! one is made for that alone.

use super::spending::KEEP_PAID;
use crate::metadata::{Recorded, SessionStore};
use crate::session::{Analysis, AnalysisStatus};
use crate::upstream::{self, UpstreamError};
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

/// From the beginning of one write to that of the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes down how an analysis goes along.
#[derive(Debug)]
pub(super) struct Recorder {
    sessions: Arc<dyn SessionStore>,
    /// For how long a state counts as a sign of life.
    lease: Duration,
    /// How it stands; the next write has it.
    noted: Mutex<Noted>,
    has_noted: Notify,
    /// How it stands by its record.
    stored: watch::Sender<Arc<Analysis>>,
    /// Until when nobody else takes it up.
    lease_ends: Mutex<Instant>,
    is_superseded: watch::Sender<bool>,
}

#[derive(Debug)]
struct Noted {
    analysis: Analysis,
    /// Whether anything of it is not written yet.
    is_news: bool,
    /// Whether that is worth a write at once.
    is_urgent: bool,
}

/// Why an analysis must not go on here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// It could not be recorded for so long that others may have taken it up.
    Lease,
    /// It was ended or taken up by others, or its session is gone.
    Superseded,
}

impl Recorder {
    /// Records an analysis from its start on, which is recorded.
    pub(super) fn new(sessions: Arc<dyn SessionStore>, lease: Duration, started: Analysis) -> Self {
        // Recording the start took its time.
        let age = (super::now() - started.updated_at).to_std().unwrap_or_default();
        Self {
            sessions,
            lease,
            stored: watch::Sender::new(Arc::new(started.clone())),
            noted: Mutex::new(Noted { analysis: started, is_news: false, is_urgent: false }),
            has_noted: Notify::new(),
            lease_ends: Mutex::new(Instant::now() + lease.saturating_sub(age)),
            is_superseded: watch::Sender::new(false),
        }
    }

    /// The analysis by its record, from now on.
    pub(super) fn stored(&self) -> watch::Receiver<Arc<Analysis>> {
        self.stored.subscribe()
    }

    /// How the analysis stands.
    pub(super) fn noted(&self) -> Analysis {
        lock(&self.noted).analysis.clone()
    }

    /// Notes a change, if `change` says that it made one.
    pub(super) fn note(&self, change: impl FnOnce(&mut Analysis) -> bool) {
        let mut noted = lock(&self.noted);
        if change(&mut noted.analysis) {
            noted.is_news = true;
            self.has_noted.notify_one();
        }
    }

    /// Notes a change that is written at once, since it would cost money if it were lost.
    pub(super) fn note_at_once(&self, change: impl FnOnce(&mut Analysis)) {
        let mut noted = lock(&self.noted);
        change(&mut noted.analysis);
        (noted.is_news, noted.is_urgent) = (true, true);
        self.has_noted.notify_one();
    }

    /// Ends when the analysis must not go on here.
    pub(super) async fn lost(&self) -> Lost {
        let mut is_superseded = self.is_superseded.subscribe();
        loop {
            let ends = *lock(&self.lease_ends);
            if ends <= Instant::now() {
                return Lost::Lease;
            }
            tokio::select! {
                // The sender is in `self`, so it is there for as long as this waits.
                _superseded = is_superseded.wait_for(|it| *it) => return Lost::Superseded,
                () = sleep_until(ends) => {}
            }
        }
    }

    /// Writes what is noted until the last state is written: one that has ended or was given back. Returns whether
    /// the record has that.
    pub(super) async fn keep_up(&self) -> bool {
        let mut begun = Instant::now();
        loop {
            self.something_to_write(begun).await;
            begun = Instant::now();
            let mut state = self.next_state();
            let mut failed = 0;
            let recorded = loop {
                match self.sessions.record_analysis(&state).await {
                    Ok(recorded) => break recorded,
                    Err(error) => {
                        failed += 1;
                        log_failure(&state, &error);
                        if is_last(&state) && self.is_hopeless(&error, begun) {
                            return false;
                        }
                        let delay = upstream::delay_before_try(&KEEP_PAID, failed, error.kind);
                        tokio::time::sleep(delay.min(self.lease / 3)).await;
                    }
                }
                // The last is tried again as it is: it may have been written, and nothing comes after it.
                if !is_last(&state) {
                    begun = Instant::now();
                    state = self.next_state();
                }
            };
            if recorded == Recorded::Superseded {
                self.is_superseded.send_replace(true);
                return false;
            }
            *lock(&self.lease_ends) = begun + self.lease;
            let is_last = is_last(&state);
            self.stored.send_replace(Arc::new(state));
            if is_last {
                return true;
            }
        }
    }

    /// Ends when a write is due.
    async fn something_to_write(&self, last_begun: Instant) {
        let news = async {
            self.noted_until(|it| it.is_news).await;
            let pause = self.noted_until(|it| it.is_urgent);
            // Whether it is urgent or the pause is over, it is time.
            drop(tokio::time::timeout_at(last_begun + PAUSE, pause).await);
        };
        tokio::select! {
            () = news => {}
            () = sleep_until(last_begun + self.lease / 3) => {}
        }
    }

    async fn noted_until(&self, is_met: fn(&Noted) -> bool) {
        while !is_met(&lock(&self.noted)) {
            self.has_noted.notified().await;
        }
    }

    /// What is to be written now, later than what was written before.
    fn next_state(&self) -> Analysis {
        let mut noted = lock(&self.noted);
        (noted.is_news, noted.is_urgent) = (false, false);
        noted.analysis.updated_at = later_than(noted.analysis.updated_at);
        noted.analysis.clone()
    }

    /// Whether a last state that was first tried at `begun` is not tried again. Also a full disk or a token that has
    /// expired is noticed and mended by somebody.
    fn is_hopeless(&self, error: &UpstreamError, begun: Instant) -> bool {
        let is_hopeless = error.kind.blames_request() || KEEP_PAID.deadline < begun.elapsed();
        if is_hopeless {
            let id = lock(&self.noted).analysis.id;
            tracing::error!(analysis.id = %id, %error, "the end of the analysis {id} could not be recorded");
        }
        is_hopeless
    }
}

fn is_last(state: &Analysis) -> bool {
    state.status != AnalysisStatus::Processing
}

/// Now, or the first moment after an earlier state that was recorded by a clock that is ahead.
pub(super) fn later_than(earlier: DateTime<Utc>) -> DateTime<Utc> {
    super::now().max(earlier + TimeDelta::milliseconds(1))
}

fn log_failure(state: &Analysis, error: &UpstreamError) {
    tracing::warn!(
        analysis.id = %state.id, %error, cause = %error.source,
        "could not record how the analysis {} goes along", state.id,
    );
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is whole after every statement, so a panic elsewhere leaves it usable.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
