//! On which terms pictures are kept: what was agreed to, and until when.

use super::{Coach, CoachError, UploadDetails};
use crate::consent::Consent;
use chrono::{DateTime, Utc};

/// On which terms a session is kept.
#[derive(Debug)]
pub(super) struct Terms {
    /// What was agreed to.
    pub(super) consent: Option<Consent>,
    /// Until when.
    pub(super) expires_at: Option<DateTime<Utc>>,
}

impl Coach {
    /// The terms of a session that is made at `created_at` with these details.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the limits of the service decide")]
    pub(super) fn terms(
        &self,
        details: &UploadDetails,
        _created_at: DateTime<Utc>,
    ) -> Result<Terms, CoachError> {
        Ok(Terms { consent: details.consent.clone(), expires_at: None })
    }
}
