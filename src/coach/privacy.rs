//! On which terms pictures are kept: what was agreed to, and until when.
//!
//! Without consent to it no frame is shown to a model that another company runs. What has expired is not there any
//! more for anybody, whether or not it was removed yet.

use super::{Coach, CoachError, UploadDetails, now};
use crate::consent::{Basis, Consent, Purpose, Subject};
use crate::metadata::{Amendment, SessionRecord};
use crate::session::{Owner, Session, SessionId};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use thiserror::Error;

/// On which terms a session is kept.
#[derive(Debug)]
pub(super) struct Terms {
    /// What was agreed to.
    pub(super) consent: Option<Consent>,
    /// Until when.
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// What is wrong with the terms of a session.
#[derive(Debug, Error)]
pub enum TermsError {
    /// Nothing was said, and this service assumes nothing.
    #[error(
        "say whose pictures they are and who agreed to what, in a part named consent, such as \
         {{\"subject\":\"adult\",\"basis\":\"swimmer\",\"purposes\":[\"analysis\",\"third_party_ai\"]}}"
    )]
    ConsentMissing,
    /// A minor agreed.
    #[error(
        "consent: for a minor a guardian agrees; the basis is guardian, or operator where it was collected elsewhere"
    )]
    MinorAgreed,
    /// There would be nothing to keep the pictures for.
    #[error("consent: its purposes must have analysis, which is what frames are kept for")]
    NoAnalysis,
    /// It would be kept for longer than such a session may be.
    #[error(
        "retention_days is a whole number from 1 to {max} here; a session may be kept for less, never for more"
    )]
    Retention {
        /// The longest.
        max: u32,
    },
    /// More would be allowed than was.
    #[error("purposes may be taken back and not added; upload the frames again with the consent to more")]
    Widened,
}

/// What is changed about the terms of a session; nothing where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TermsRequest {
    /// For how many days since it was made the session is kept.
    pub retention_days: Option<u32>,
    /// What is still agreed to.
    pub purposes: Option<BTreeSet<Purpose>>,
}

impl Coach {
    /// The terms of a session that is made at `created_at` with these details.
    pub(super) fn terms(
        &self,
        details: &UploadDetails,
        created_at: DateTime<Utc>,
    ) -> Result<Terms, CoachError> {
        let consent = details.consent.clone().or_else(|| self.privacy.unsaid.clone());
        let consent = consent.ok_or(TermsError::ConsentMissing)?;
        if consent.subject.is_minor() && consent.basis == Basis::Swimmer {
            return Err(TermsError::MinorAgreed.into());
        }
        if !consent.covers(Purpose::Analysis) {
            return Err(TermsError::NoAnalysis.into());
        }
        let max = self.privacy.days(consent.subject);
        let days = details.retention_days.unwrap_or(max);
        if !(1..=max).contains(&days) {
            return Err(TermsError::Retention { max }.into());
        }
        let expires_at = created_at + TimeDelta::days(days.into());
        Ok(Terms { consent: Some(consent), expires_at: Some(expires_at) })
    }

    /// Takes back consent to a purpose, or keeps a session for a shorter time. What runs about it ends where it may
    /// not go on.
    pub async fn amend_session(
        &self,
        owner: &Owner,
        id: SessionId,
        request: TermsRequest,
    ) -> Result<SessionRecord, CoachError> {
        let record = self.own(owner, id).await?;
        let amendment = self.amendment(&record.session, request)?;
        if !self.sessions.amend_session(owner, id, &amendment).await? {
            return Err(CoachError::NoSuchSession(id));
        }
        let record = self.sessions.session(owner, id).await?.ok_or(CoachError::NoSuchSession(id))?;
        if self.may_be_shown(&record.session).is_err() {
            self.answers.cut(id);
            match self.cancel(owner, id).await {
                Err(CoachError::NothingRuns(_) | CoachError::NoSuchSession(_)) => {}
                cancelled => drop(cancelled?),
            }
        }
        Ok(record)
    }

    fn amendment(&self, session: &Session, request: TermsRequest) -> Result<Amendment, CoachError> {
        let consent = self.consent_of(session);
        let kept_for = self.expiry_of(session) - session.created_at;
        let max = u32::try_from(kept_for.num_days()).unwrap_or(0);
        let expires_at = match request.retention_days {
            Some(days) if !(1..=max).contains(&days) => return Err(TermsError::Retention { max }.into()),
            days => days.map(|it| session.created_at + TimeDelta::days(it.into())),
        };
        let consent = match (request.purposes, consent) {
            (None, _) => None,
            (Some(purposes), Some(consent)) if purposes.is_subset(&consent.purposes) => {
                Some(Consent { purposes, ..consent })
            }
            (Some(_), _) => return Err(TermsError::Widened.into()),
        };
        if consent.as_ref().is_some_and(|it| !it.covers(Purpose::Analysis)) {
            return Err(TermsError::NoAnalysis.into());
        }
        Ok(Amendment { consent, expires_at })
    }

    /// A session of the owner that has not expired, as records tell it.
    pub(super) async fn own(&self, owner: &Owner, id: SessionId) -> Result<SessionRecord, CoachError> {
        let record = self.sessions.session(owner, id).await?;
        record.filter(|it| !self.has_expired(&it.session)).ok_or(CoachError::NoSuchSession(id))
    }

    /// Whether the session is to be kept no longer.
    pub(super) fn has_expired(&self, session: &Session) -> bool {
        self.expiry_of(session) <= now()
    }

    /// What counts as agreed to about a session.
    pub fn consent_of(&self, session: &Session) -> Option<Consent> {
        session.consent.clone().or_else(|| self.privacy.unsaid.clone())
    }

    /// Until when a session is kept.
    pub fn expiry_of(&self, session: &Session) -> DateTime<Utc> {
        session.expires_at.unwrap_or(session.created_at + self.kept_unsaid())
    }

    /// For how long sessions are kept that are from before that was said. They count as the setting says.
    pub(super) fn kept_unsaid(&self) -> TimeDelta {
        let subject = self.privacy.unsaid.as_ref().map_or(Subject::Adult, |it| it.subject);
        TimeDelta::days(self.privacy.days(subject).into())
    }

    /// Refuses to show frames of the session to a model of another company, unless that was agreed to.
    pub(super) fn may_be_shown(&self, session: &Session) -> Result<(), CoachError> {
        let agreed = || self.consent_of(session).is_some_and(|it| it.covers(Purpose::ThirdPartyAi));
        if self.vision.is_third_party() && !agreed() {
            return Err(CoachError::NoConsent(session.id));
        }
        Ok(())
    }
}
