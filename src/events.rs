//! The nouns of an analysis under way: what happened, in order, as its record keeps it.
//!
//! The record is the log: every state of an analysis holds all of its events, so whoever reads the record on
//! any replica reads the same sequence.

use crate::analysis::{Finding, Usage, Warning};
use crate::session::Failure;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that happened to an analysis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnalysisEvent {
    /// Its place in the log, from 1. Only before an end that another process recorded is there a gap.
    pub number: u32,
    /// When it happened, in milliseconds.
    pub at: DateTime<Utc>,
    /// What happened.
    pub what: Happening,
}

/// What can happen to an analysis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// It was recorded, and waits for its turn.
    Queued,
    /// A process took it up after the one that ran it went away. Findings that were told before are void; looks
    /// that had ended are kept.
    Resumed {
        /// The how many-th attempt begins, from 2.
        attempt: u32,
    },
    /// It came to a new stage.
    Progress {
        /// Which.
        stage: Stage,
        /// The how many-th of the looks that were asked for, from 1.
        look: u8,
    },
    /// A finding that survived the rules, while the model still writes. Its priority is settled at the end.
    Finding(Box<Finding>),
    /// Something that limits the result.
    Warning(Warning),
    /// What was asked of the model so far.
    Usage(Usage),
    /// It ended with a whole result.
    Done,
    /// It ended without a whole result.
    Failed(Failure),
}

/// How far an analysis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It waits for its turn.
    Queued,
    /// Its frames are fetched from storage.
    Fetching,
    /// Its frames are here and were checked.
    Checked,
    /// The model was sent the frames.
    Sent,
    /// The model thinks.
    Thinking,
    /// The model writes its answer.
    Writing,
    /// The swimmer's notes are answered.
    AnsweringNotes,
}

impl Stage {
    /// The name used on the wire and in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Fetching => "fetching",
            Self::Checked => "checked",
            Self::Sent => "sent",
            Self::Thinking => "thinking",
            Self::Writing => "writing",
            Self::AnsweringNotes => "answering_notes",
        }
    }
}

impl Happening {
    /// Whether nothing happens after it.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Done | Self::Failed(_))
    }
}
