//! A write as the journal keeps it, and what it does to a store and to a record.

use crate::ledger::{Charge, ChargeId};
use crate::metadata::{Recorded, SessionRecord, SessionStore};
use crate::session::{Analysis, InvalidId, Owner, Session, SessionId, Turn};
use crate::upstream::UpstreamError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a write is about. Writes about the same reach the store in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// A session, written as its id.
    Session(SessionId),
    /// A charge, written as `charge:` and its id. It does not go with its session.
    Charge(ChargeId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => id.fmt(f),
            Self::Charge(id) => write!(f, "charge:{id}"),
        }
    }
}

impl FromStr for Subject {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("charge:") {
            Some(id) => id.parse().map(Self::Charge),
            None => text.parse().map(Self::Session),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl From<SessionId> for Subject {
    fn from(id: SessionId) -> Self {
        Self::Session(id)
    }
}

/// A write that may wait. Each is idempotent by key, so it may be sent again when its answer was lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Write {
    CreateSession(Session),
    RecordAnalysis(Box<Analysis>),
    AppendTurns { session: SessionId, turns: Vec<Turn> },
    DeleteSession { owner: Owner, session: SessionId },
    Settle(Box<Charge>),
}

/// What a write is, without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteKind {
    /// A session with its frames.
    CreateSession,
    /// A state of an analysis.
    RecordAnalysis,
    /// Turns of the conversation.
    AppendTurns,
    /// The end of a session.
    DeleteSession,
    /// What a charge came to.
    Settle,
}

impl fmt::Display for WriteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateSession => "creation",
            Self::RecordAnalysis => "state of an analysis",
            Self::AppendTurns => "turns of conversation",
            Self::DeleteSession => "deletion",
            Self::Settle => "settlement",
        })
    }
}

impl Write {
    pub(super) fn about(&self) -> Subject {
        match self {
            Self::CreateSession(session) => session.id.into(),
            Self::RecordAnalysis(analysis) => analysis.session_id.into(),
            Self::AppendTurns { session, .. } | Self::DeleteSession { session, .. } => (*session).into(),
            Self::Settle(charge) => Subject::Charge(charge.id),
        }
    }

    /// Whose the session or the charge is, where the write says so.
    pub(super) fn owner(&self) -> Option<&Owner> {
        match self {
            Self::CreateSession(session) => Some(&session.owner),
            Self::DeleteSession { owner, .. } => Some(owner),
            Self::Settle(charge) => Some(&charge.owner),
            Self::RecordAnalysis(_) | Self::AppendTurns { .. } => None,
        }
    }

    pub(super) fn kind(&self) -> WriteKind {
        match self {
            Self::CreateSession(_) => WriteKind::CreateSession,
            Self::RecordAnalysis(_) => WriteKind::RecordAnalysis,
            Self::AppendTurns { .. } => WriteKind::AppendTurns,
            Self::DeleteSession { .. } => WriteKind::DeleteSession,
            Self::Settle(_) => WriteKind::Settle,
        }
    }

    /// How many records of a session it makes.
    pub(super) fn n_records(&self) -> u64 {
        match self {
            Self::CreateSession(session) => 1 + session.frames.len() as u64,
            Self::RecordAnalysis(_) => 1,
            Self::AppendTurns { turns, .. } => turns.len() as u64,
            Self::DeleteSession { .. } | Self::Settle(_) => 0,
        }
    }

    /// Sends it to the store. A state of an analysis that has gone on without it is superseded.
    pub(super) async fn send(&self, store: &dyn SessionStore) -> Result<Recorded, UpstreamError> {
        match self {
            Self::CreateSession(session) => store.create_session(session).await?,
            Self::RecordAnalysis(analysis) => return store.record_analysis(analysis).await,
            Self::AppendTurns { session, turns } => store.append_turns(*session, turns).await?,
            Self::DeleteSession { owner, session } => {
                store.delete_session(owner, *session).await?;
            }
            Self::Settle(charge) => store.settle(charge).await?,
        }
        Ok(Recorded::Kept)
    }
}

/// Whether the creation of a session is among these writes, so that they say everything about it that the
/// store may not know.
pub(super) fn creates(writes: &[Write]) -> bool {
    writes.iter().any(|it| it.kind() == WriteKind::CreateSession)
}

/// Whether the owner's deletion is among these writes.
pub(super) fn deletes(writes: &[Write], owner: &Owner) -> bool {
    writes.iter().any(|it| it.kind() == WriteKind::DeleteSession && it.owner() == Some(owner))
}

/// Whether the end of an analysis is among these writes.
pub(super) fn ends(writes: &[Write], analysis: &Analysis) -> bool {
    writes
        .iter()
        .any(|it| matches!(it, Write::RecordAnalysis(state) if state.id == analysis.id && state.has_ended()))
}

/// What the owner sees of a session when `writes`, all of them about it and in order, follow on what the
/// store has. It does no harm that the store has some of them already.
pub(super) fn overlay(
    stored: Option<SessionRecord>,
    writes: &[Write],
    owner: &Owner,
) -> Option<SessionRecord> {
    if deletes(writes, owner) {
        return None;
    }
    let mut record = stored;
    let mut is_taken = record.is_some();
    for write in writes {
        match (write, &mut record) {
            // A session whose id is taken is left as it is, and is another's where nothing is stored.
            (Write::CreateSession(session), None) if !is_taken => {
                is_taken = true;
                record = (session.owner == *owner).then(|| SessionRecord::created(session));
            }
            (Write::RecordAnalysis(analysis), Some(record)) => record.put_state(analysis),
            (Write::AppendTurns { turns, .. }, Some(record)) => record.put_turns(turns),
            _ => {}
        }
    }
    record
}
