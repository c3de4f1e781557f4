//! On which terms pictures are kept, and how often what has expired is removed.

use super::reader::Reader;
use crate::consent::{Basis, Consent, Purpose, Subject};
use std::time::Duration;

/// On which terms pictures are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivacySettings {
    /// What an upload counts as that says nothing about consent; it is refused when absent.
    pub unsaid: Option<Consent>,
    /// For how many days sessions of adults are kept.
    pub retention_days: u32,
    /// The same for those of minors.
    pub retention_days_minors: u32,
}

impl PrivacySettings {
    /// For how many days a session is kept, at the most.
    pub fn days(&self, subject: Subject) -> u32 {
        if subject.is_minor() { self.retention_days_minors } else { self.retention_days }
    }
}

impl Reader<'_> {
    pub(super) fn privacy(&mut self) -> PrivacySettings {
        let unsaid = self.unsaid();
        let retention_days = self.number("RETENTION_DAYS", 90, 1..=3650);
        let retention_days_minors = self.number("RETENTION_DAYS_MINORS", 14.min(retention_days), 1..=3650);
        if retention_days < retention_days_minors {
            self.problem(
                "RETENTION_DAYS_MINORS must be at most RETENTION_DAYS: pictures of minors are not kept longer than those \
                 of adults"
                    .to_owned(),
            );
        }
        PrivacySettings { unsaid, retention_days, retention_days_minors }
    }

    /// How often what has expired is removed; never when absent.
    pub(super) fn sweep_interval(&mut self) -> Option<Duration> {
        let minutes = self.number("SWEEP_INTERVAL_MINUTES", 60, 0..=10_080);
        (0 < minutes).then(|| Duration::from_mins(minutes))
    }

    fn unsaid(&mut self) -> Option<Consent> {
        let text = self.text("CONSENT_WHEN_UNSAID")?;
        let subject = Subject::ALL.into_iter().find(|it| it.as_str() == text);
        if subject.is_none() && text != "refuse" {
            self.problem(
                "CONSENT_WHEN_UNSAID must be refuse, or whose pictures they are of which nothing is said: adult, \
                 minor_13_17 or under_13"
                    .to_owned(),
            );
        }
        let purposes = [Purpose::Analysis, Purpose::ThirdPartyAi].into();
        subject.map(|subject| Consent { subject, basis: Basis::Operator, purposes })
    }
}
