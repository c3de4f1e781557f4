//! What is spent, for whom, and whether there is room for more.
//!
//! A budget is asked before the model is: what the asking may cost at the most is held in reserve, so that any
//! number of askings at once, on any replica, stay within it. What it came to takes the place of the reserve at
//! the end, whatever the end is.

use super::{Coach, CoachError};
use crate::analysis::{MicroUsd, Usage};
use crate::ledger::{Budgets, Charge, ChargeId, ChargeKind, Month, MonthUsage, Reservation, StorageUse};
use crate::session::Owner;
use crate::upstream::{self, RetryPolicy, UpstreamError};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// How patiently something that was paid for is written down: for as long as an operator needs to notice.
pub(super) const KEEP_PAID: RetryPolicy = RetryPolicy {
    attempts: 200,
    base_delay: Duration::from_millis(200),
    max_delay: Duration::from_secs(15),
    deadline: Duration::from_mins(30),
};

/// What a caller used in a month, beside what the caller may use.
#[derive(Debug, Clone, Copy)]
pub struct CallersMonth {
    /// Which month.
    pub month: Month,
    /// What was used.
    pub used: MonthUsage,
    /// What may be.
    pub budgets: Budgets,
}

impl CallersMonth {
    /// What the caller's budget has room for, without what is held in reserve. Absent where there is no such budget,
    /// and where something was used whose price is not known: a sum without it would promise too much.
    pub fn left(&self) -> Option<MicroUsd> {
        let taken = self.used.usage.cost? + self.used.reserved;
        self.budgets.caller.map(|budget| MicroUsd(budget.0.saturating_sub(taken.0)))
    }
}

impl Coach {
    /// What an owner used in a month.
    pub async fn usage(&self, owner: &Owner, month: Month) -> Result<CallersMonth, CoachError> {
        let used = self.sessions.month_usage(owner, month).await?;
        Ok(CallersMonth { month, used, budgets: self.budgets })
    }

    /// Holds room in the budgets of the month of `at` for an asking of the model that may cost `estimate`, after
    /// `spent` under the same id.
    ///
    /// The answer is what that asking may cost: `estimate`, or no limit where no budget is set, in which case nothing
    /// is recorded. A reserve made before under the same id is replaced.
    pub(super) async fn reserve_for(
        &self,
        owner: &Owner,
        id: ChargeId,
        kind: ChargeKind,
        at: DateTime<Utc>,
        spent: &Usage,
        estimate: MicroUsd,
    ) -> Result<MicroUsd, CoachError> {
        if !self.budgets.are_set() {
            return Ok(MicroUsd(u64::MAX));
        }
        let needed = cost_at_most(spent, estimate) + estimate;
        let charge = Charge {
            id,
            owner: owner.clone(),
            kind,
            model: Some(self.vision.model().to_owned()),
            at,
            is_settled: false,
            amount: needed,
            usage: *spent,
            storage: StorageUse::default(),
        };
        match self.sessions.reserve(&charge, &self.budgets).await? {
            Reservation::Held => Ok(estimate),
            Reservation::OverBudget { scope, budget, taken } => {
                self.metrics.count_refused(scope);
                Err(CoachError::OverBudget { scope, budget, taken, needed })
            }
            Reservation::EnoughToday { limit } => Err(CoachError::EnoughToday { limit }),
        }
    }

    /// Records what a charge came to, and logs what could not be recorded.
    pub(super) async fn settle_charge(&self, charge: &Charge) {
        if let Err(error) = keep_paid(|| self.sessions.settle(charge)).await {
            tracing::error!(
                charge.id = %charge.id, amount = %charge.amount, %error, cause = %error.source,
                "what the charge {} came to could not be recorded", charge.id,
            );
        }
    }
}

/// What a usage came to. Where its price is not known, which is so in records that are older than the first
/// prices, it counts as `unknown`, and never as nothing.
pub(super) fn cost_at_most(usage: &Usage, unknown: MicroUsd) -> MicroUsd {
    usage.cost.unwrap_or(unknown)
}

/// Tries to write down something that was paid for until it is kept or the record refuses it for good. Also a full
/// disk or a token that has expired is noticed and mended by somebody.
pub(super) async fn keep_paid<T, Fut>(write: impl FnMut() -> Fut) -> Result<T, UpstreamError>
where
    Fut: Future<Output = Result<T, UpstreamError>>,
{
    upstream::retry_while(|kind| !kind.blames_request(), &KEEP_PAID, write).await
}
