//! Asking the model within what may be spent, and counting what it takes.

use super::running::Run;
use super::spending::cost_at_most;
use super::words::AnalysisError;
use crate::analysis::{MicroUsd, Usage};
use crate::events::Happening;
use crate::ledger::ChargeKind;
use crate::vision::{Answer, Asking, Progress, VisionError, VisionErrorKind};
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// How often the model is asked for one answer where each time it breaks off after having cost what was reserved.
pub(super) const ASKINGS: u32 = 3;

/// What the calls of an analysis took, those that are under way included.
#[derive(Debug)]
pub(super) struct Spending {
    before: Usage,
    calls: Mutex<Vec<Call>>,
}

#[derive(Debug)]
enum Call {
    UnderWay(watch::Receiver<Progress>),
    Ended(Usage),
}

impl Spending {
    /// Begins to count after what earlier attempts took.
    pub(super) fn after(before: Usage) -> Self {
        Self { before, calls: Mutex::default() }
    }

    /// What everything took until now.
    pub(super) fn total(&self) -> Usage {
        let mut total = self.before;
        for call in &*self.calls() {
            total += match call {
                Call::UnderWay(progress) => progress.borrow().usage,
                Call::Ended(usage) => *usage,
            };
        }
        total
    }

    /// Counts a call by its progress; the number of the call.
    pub(super) fn begin(&self, progress: watch::Receiver<Progress>) -> usize {
        let mut calls = self.calls();
        calls.push(Call::UnderWay(progress));
        calls.len() - 1
    }

    /// Counts a call by what it says that it took.
    pub(super) fn end(&self, number: usize, usage: Usage) {
        if let Some(call) = self.calls().get_mut(number) {
            *call = Call::Ended(usage);
        }
    }

    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        // The list is whole after every statement, so a panic elsewhere leaves it usable.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run<'_> {
    /// Asks the model, within `most` where there is a budget. Where a try broke off and another does not fit any
    /// more, as much is reserved once more.
    pub(super) async fn ask<T, Fut>(
        &self,
        most: MicroUsd,
        ask: impl Fn(Asking) -> Fut,
        told: impl Fn(&Progress),
    ) -> Result<T, AnalysisError>
    where
        Fut: Future<Output = Result<Answer<T>, VisionError>>,
    {
        let most = if self.coach.budgets.are_set() { most } else { MicroUsd(u64::MAX) };
        let mut asked = 0;
        loop {
            asked += 1;
            match self.ask_once(most, &ask, &told).await {
                Err(VisionErrorKind::OverAllowance) if asked == ASKINGS => {
                    return Err(AnalysisError::BrokeOff);
                }
                Err(VisionErrorKind::OverAllowance) => self.reserve_more(most).await?,
                answer => return answer.map_err(AnalysisError::Model),
            }
        }
    }

    async fn ask_once<T, Fut>(
        &self,
        most: MicroUsd,
        ask: impl Fn(Asking) -> Fut,
        told: impl Fn(&Progress),
    ) -> Result<T, VisionErrorKind>
    where
        Fut: Future<Output = Result<Answer<T>, VisionError>>,
    {
        let asking = Asking::within(most);
        let mut progress = asking.progress.subscribe();
        let call = self.spending.begin(asking.progress.subscribe());
        let answer = tokio::select! {
            biased;
            answer = ask(asking) => answer,
            never = self.watch(&mut progress, &told) => match never {},
        };
        told(&progress.borrow());
        let (answer, usage) = match answer {
            Ok(answer) => (Ok(answer.value), answer.usage),
            Err(error) => (Err(error.kind), error.usage),
        };
        self.spending.end(call, usage);
        let total = self.spending.total();
        self.recorder.note(|it| {
            it.usage = total;
            it.tell(Happening::Usage(total));
            true
        });
        answer
    }

    /// Follows an asking while it goes along.
    async fn watch(&self, progress: &mut watch::Receiver<Progress>, told: impl Fn(&Progress)) -> Infallible {
        while progress.changed().await.is_ok() {
            told(&progress.borrow_and_update());
            let total = self.spending.total();
            self.recorder.note(|it| std::mem::replace(&mut it.usage, total) != total);
        }
        // Whoever is asked tells no more before the answer.
        std::future::pending().await
    }

    /// Holds so much more than is held. What is held for looks that are under way beside this one stays.
    pub(super) async fn reserve_more(&self, more: MicroUsd) -> Result<(), AnalysisError> {
        let mut held = self.held.lock().await;
        let (owner, started) = (&self.session.owner, &self.started);
        let spent = self.spending.total();
        let known = cost_at_most(&spent, MicroUsd::default());
        let estimate = MicroUsd((*held + more).0.saturating_sub(known.0));
        let (id, kind) = (started.id.into(), ChargeKind::Analysis);
        let reserved = self.coach.reserve_for(owner, id, kind, started.requested_at, &spent, estimate).await;
        reserved.map_err(AnalysisError::NotReserved)?;
        *held = *held + more;
        Ok(())
    }
}
