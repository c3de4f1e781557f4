//! What is spent, for whom, and whether there is room for more.

use super::{Coach, CoachError};
use crate::ledger::{Budgets, Month, MonthUsage};
use crate::session::Owner;

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

impl Coach {
    /// What an owner used in a month.
    pub async fn usage(&self, owner: &Owner, month: Month) -> Result<CallersMonth, CoachError> {
        let used = self.sessions.month_usage(owner, month).await?;
        Ok(CallersMonth { month, used, budgets: self.budgets })
    }
}
