//! What the fakes of storage and of records share: which calls were made, and which of them break.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use swimcoach::upstream::{Service, UpstreamError, UpstreamErrorKind};
use tokio::sync::watch;

/// In which way a call breaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It fails and nothing has happened.
    Before(UpstreamErrorKind),
    /// It happens, and its answer is lost.
    After(UpstreamErrorKind),
    /// It happens and answers only after [`Faults::release`].
    Hang,
    /// It panics.
    Panic,
}

/// The calls that were made, and the ones that break.
#[derive(Debug)]
pub(crate) struct Faults {
    service: Service,
    state: Mutex<State>,
    is_released: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<&'static str>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    operation: &'static str,
    /// The calls of this operation that pass first.
    passing: usize,
    /// The calls that break after them.
    breaking: usize,
    fault: Fault,
}

impl Faults {
    pub(crate) fn new(service: Service) -> Self {
        Self { service, state: Mutex::default(), is_released: watch::Sender::new(false) }
    }

    /// The operations that were called, in order.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.state().calls.clone()
    }

    /// How often an operation was called.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.state().calls.iter().filter(|it| **it == operation).count()
    }

    /// The next call of the operation breaks.
    pub(crate) fn fail_next(&self, operation: &'static str, fault: Fault) {
        self.fail_after(operation, 0, fault);
    }

    /// One call of the operation breaks, after `passing` that do not.
    pub(crate) fn fail_after(&self, operation: &'static str, passing: usize, fault: Fault) {
        self.state().rules.push(Rule { operation, passing, breaking: 1, fault });
    }

    /// Every call of the operation breaks until [`Faults::heal`].
    pub(crate) fn fail_always(&self, operation: &'static str, fault: Fault) {
        self.state().rules.push(Rule { operation, passing: 0, breaking: usize::MAX, fault });
    }

    /// Nothing breaks any more.
    pub(crate) fn heal(&self) {
        self.state().rules.clear();
    }

    /// Calls that hang go on, those to come as well.
    pub(crate) fn release(&self) {
        self.is_released.send_replace(true);
    }

    /// Makes a call, unless it is one that breaks.
    pub(crate) async fn call<T>(
        &self,
        operation: &'static str,
        effect: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        match self.enter(operation) {
            None => effect.await,
            Some(Fault::Before(kind)) => Err(self.error(operation, kind)),
            Some(Fault::After(kind)) => {
                effect.await?;
                Err(self.error(operation, kind))
            }
            Some(Fault::Hang) => {
                // The sender is in `self`, so it is there for as long as this waits.
                drop(self.is_released.subscribe().wait_for(|it| *it).await);
                effect.await
            }
            Some(Fault::Panic) => panic!("{operation} was told to panic"),
        }
    }

    fn enter(&self, operation: &'static str) -> Option<Fault> {
        let mut state = self.state();
        state.calls.push(operation);
        for rule in state.rules.iter_mut().filter(|it| it.operation == operation) {
            if 0 < rule.passing {
                rule.passing -= 1;
            } else if 0 < rule.breaking {
                rule.breaking -= 1;
                return Some(rule.fault);
            }
        }
        None
    }

    fn error(&self, operation: &'static str, kind: UpstreamErrorKind) -> UpstreamError {
        UpstreamError::new(self.service, operation, kind, "secret-cause of the test")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
