//! How much each caller may have.

use super::{Coach, CoachError};
use crate::metadata::Holdings;
use crate::session::Owner;
use thiserror::Error;

/// What a caller has as much of as one may.
#[derive(Debug, Error)]
pub enum QuotaError {
    /// Sessions.
    #[error("you have {max} sessions, which is as many as one caller may have; delete some first")]
    Sessions {
        /// How many that are.
        max: u64,
    },
    /// Bytes.
    #[error("with this your frames would have more than {} MiB, which is as much as one caller may have; delete some sessions first", .max >> 20)]
    Bytes {
        /// How many that are.
        max: u64,
    },
}

impl Coach {
    /// Refuses what would be more than the owner may have: so many sessions and bytes more. Nothing is asked where
    /// there is no such limit.
    pub async fn has_room(&self, owner: &Owner, sessions: u64, bytes: u64) -> Result<(), CoachError> {
        if self.quotas.sessions.is_none() && self.quotas.bytes.is_none() {
            return Ok(());
        }
        let Holdings { sessions: has_sessions, bytes: has_bytes } = self.sessions.holdings(owner).await?;
        if let Some(max) = self.quotas.sessions.filter(|it| *it < has_sessions + sessions) {
            return Err(QuotaError::Sessions { max }.into());
        }
        if let Some(max) = self.quotas.bytes.filter(|it| *it < has_bytes + bytes) {
            return Err(QuotaError::Bytes { max }.into());
        }
        Ok(())
    }
}
