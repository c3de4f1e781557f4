//! Small records beside sessions: API keys, requests that carry an idempotency key, who does what for all replicas.

use crate::session::{Owner, SessionId};
use chrono::{DateTime, Utc};

/// Small records that are told at one time.
pub(super) const MAX_ENTRIES: u32 = 1_000;

/// What a small record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKind {
    /// An API key, by its public id.
    ApiKey,
    /// A request that carries an idempotency key, and its answer.
    Request,
    /// The right to do what one replica does for all of them, such as the sweep.
    Lease,
}

impl EntryKind {
    /// The name used in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Request => "request",
            Self::Lease => "lease",
        }
    }
}

/// A small record: one value under a kind and a name, changed by exchanging it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub kind: EntryKind,
    /// Its name, unique within its kind; up to 200 bytes.
    pub name: String,
    /// Whose it is, where it is somebody's.
    pub owner: Option<Owner>,
    /// The session of the owner that it is about, with which it is deleted.
    pub session: Option<SessionId>,
    /// What it says, as JSON; up to 256 KiB.
    pub value: String,
    /// When it was written, in milliseconds.
    pub recorded_at: DateTime<Utc>,
}

/// What became of a wish to exchange a small record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchanged {
    /// It is there.
    Put,
    /// Another one is, or none is any more.
    Changed(Option<Entry>),
}
