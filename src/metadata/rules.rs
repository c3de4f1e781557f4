//! The rules that every store decides by, once it has read what it needs.

use super::StartedAnalysis;
use crate::analysis::MicroUsd;
use crate::ledger::{BudgetScope, Budgets, Reservation};
use crate::session::{Analysis, AnalysisStatus, AnswerClaim};
use chrono::{DateTime, TimeDelta, Utc};

/// How long an amount is held for a charge that nobody settles.
pub(super) const HELD_FOR: TimeDelta = TimeDelta::days(1);

/// Analyses that are told as unfinished at one time.
pub(super) const MAX_UNFINISHED: u32 = 1_000;

/// What stands against an attempt at an analysis, given the latest state of each analysis of its session.
/// `None` when nothing does, so that its first state is to be appended.
pub(super) fn before_start(
    latest: &[Analysis],
    starting: &Analysis,
    stale_before: DateTime<Utc>,
) -> Option<StartedAnalysis> {
    // It was appended, and the answer was lost.
    if latest.contains(starting) {
        return Some(StartedAnalysis::Started);
    }
    let earlier = latest.iter().find(|it| it.id == starting.id);
    if let Some(ended) = earlier.filter(|it| it.has_ended()) {
        return Some(StartedAnalysis::HasEnded(Box::new(ended.clone())));
    }
    let runs = |it: &&Analysis| {
        it.status == AnalysisStatus::Processing
            && stale_before.timestamp_millis() <= it.updated_at.timestamp_millis()
    };
    // Where none runs, another process may have begun the attempt since the caller looked.
    let is_taken = |it: &&Analysis| starting.attempt <= it.attempt;
    let blocking = latest.iter().find(runs).or_else(|| earlier.filter(is_taken));
    blocking.map(|it| StartedAnalysis::AlreadyRunning(Box::new(it.clone())))
}

/// Whether a claim to answer may be made over the one before, for whose place `is_answered` says whether it is
/// taken by a turn.
pub(super) fn gives_way(
    held: &AnswerClaim,
    claim: &AnswerClaim,
    stale_before: DateTime<Utc>,
    is_answered: bool,
) -> bool {
    let is_stale = held.renewed_at.timestamp_millis() < stale_before.timestamp_millis();
    held.id == claim.id || is_answered || is_stale
}

/// What is spent and held in a month.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// By the caller.
    pub(super) by_caller: MicroUsd,
    /// By all callers together.
    pub(super) by_service: MicroUsd,
}

impl Taken {
    /// Whether a further amount fits.
    pub(super) fn and(self, amount: MicroUsd, budgets: &Budgets) -> Reservation {
        for (scope, budget, taken) in [
            (BudgetScope::Caller, budgets.caller, self.by_caller),
            (BudgetScope::Service, budgets.service, self.by_service),
        ] {
            if let Some(budget) = budget.filter(|it| *it < taken + amount) {
                return Reservation::OverBudget { scope, budget, taken };
            }
        }
        Reservation::Held
    }
}
