//! The rules that every store decides by, once it has read what it needs.

use super::{Entry, Exchanged, StartedAnalysis};
use crate::analysis::MicroUsd;
use crate::ledger::{BudgetScope, Budgets, Charge, ChargeKind, Reservation};
use crate::session::{Analysis, AnalysisStatus, AnswerClaim, Frame};
use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use std::ops::Range;

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

/// Frames that are to be added to those that a session has.
#[derive(Debug)]
pub(super) struct Adding {
    /// Those whose numbers are free.
    pub(super) new: Vec<Frame>,
    /// The frames that are there under the numbers of others.
    pub(super) taken: Vec<Frame>,
}

impl Adding {
    /// What is to be added to the frames that are there. Those that are there already need not be: they were added, and
    /// the answer was lost.
    pub(super) fn to(there: &[Frame], frames: &[Frame]) -> Self {
        let mut adding = Self { new: Vec::new(), taken: Vec::new() };
        for frame in frames {
            match there.iter().chain(&adding.new).find(|it| it.number == frame.number) {
                None => adding.new.push(frame.clone()),
                Some(known) if known == frame => {}
                Some(known) => adding.taken.push(known.clone()),
            }
        }
        adding
    }
}

/// What stands against putting a small record in the place of the one that is there, where the caller saw the value
/// `seen`. `None` when nothing does.
pub(super) fn before_exchange(there: Option<Entry>, seen: Option<&str>, new: &Entry) -> Option<Exchanged> {
    match &there {
        // It was put, and the answer was lost.
        Some(there) if there.value == new.value => Some(Exchanged::Put),
        there_is if there_is.as_ref().map(|it| it.value.as_str()) == seen => None,
        _ => Some(Exchanged::Changed(there)),
    }
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

/// What is spent and held in the month of a charge, without the charge itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// By the caller.
    pub(super) by_caller: MicroUsd,
    /// By all callers together.
    pub(super) by_service: MicroUsd,
    /// Analyses of the caller on the day of the charge that asked the model, or are held and may yet.
    pub(super) analyses_of_day: u64,
}

impl Taken {
    /// Whether a further charge fits.
    pub(super) fn and(self, charge: &Charge, budgets: &Budgets) -> Reservation {
        for (scope, budget, taken) in [
            (BudgetScope::Caller, budgets.caller, self.by_caller),
            (BudgetScope::Service, budgets.service, self.by_service),
        ] {
            if let Some(budget) = budget.filter(|it| *it < taken + charge.amount) {
                return Reservation::OverBudget { scope, budget, taken };
            }
        }
        let limit = budgets.analyses_per_day.filter(|_| charge.kind == ChargeKind::Analysis);
        match limit.filter(|it| u64::from(*it) <= self.analyses_of_day) {
            Some(limit) => Reservation::EnoughToday { limit },
            None => Reservation::Held,
        }
    }
}

/// The day of a time, in UTC.
pub(super) fn day_of(time: DateTime<Utc>) -> Range<DateTime<Utc>> {
    let start = time.date_naive().and_time(NaiveTime::MIN).and_utc();
    start..start + Days::new(1)
}
