//! Where records are kept: sessions with their frames, analyses, and turns of conversation.
//!
//! The trait is shaped for Snowflake as much as for an embedded database: a method is one statement or
//! one short transaction, states are appended and not updated, every write is idempotent by key, and no
//! method needs a transaction that spans two calls. No SQL is written outside this folder.

pub mod snowflake;
pub mod sqlite;
pub mod journal;
pub mod polled;
mod entry;
mod overlay;
mod rules;

pub use entry::{Entry, EntryKind, Exchanged};

use entry::MAX_ENTRIES;

use crate::analysis::Usage;
use crate::consent::Consent;
use crate::ledger::{Budgets, Charge, Month, MonthUsage, Reservation};
use crate::session::{Analysis, AnswerClaim, Frame, FrameNumber, Owner, Session, SessionId, Stroke, Turn};
use crate::upstream::UpstreamError;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Debug};
use uuid::Uuid;

/// Keeps the records of sessions.
///
/// # Contract
/// - A write that is acknowledged is seen by every later read, by any replica.
/// - A write that failed may have happened; the same write again is the same as once.
/// - Every read is in the name of an owner, and what is another's does not exist.
/// - A session that was deleted stays deleted: a late write about it changes nothing and is no error.
/// - Times are kept to the millisecond.
/// - Every call ends, in success or failure, within a bounded time.
#[async_trait]
pub trait SessionStore: Debug + Send + Sync {
    /// Records a session with all of its frames. This is the commit point of an upload.
    async fn create_session(&self, session: &Session) -> Result<(), UpstreamError>;

    /// A session with everything known about it; `None` when the owner has none of this id.
    async fn session(&self, owner: &Owner, id: SessionId) -> Result<Option<SessionRecord>, UpstreamError>;

    /// Up to `limit` sessions of the owner, newest first, all older than `before`.
    async fn list_sessions(
        &self,
        owner: &Owner,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, UpstreamError>;

    /// Adds frames to a session whose numbers are free. This is the commit point of each of them. The very same frame
    /// again is added, since an answer may be lost.
    ///
    /// Of any number of calls at once for one number, by any replica, one frame is added. Once an analysis was
    /// started, none is: what [`session`](Self::session) tells after [`start_analysis`](Self::start_analysis) is every
    /// frame that there will be.
    async fn add_frames(
        &self,
        owner: &Owner,
        session: SessionId,
        frames: &[Frame],
    ) -> Result<AddedFrames, UpstreamError>;

    /// Changes what was agreed to about a session and until when it is kept; `false` when the owner has none of this
    /// id. Of the time that is there and the one that is told, the earlier counts, in whatever order they come.
    async fn amend_session(
        &self,
        owner: &Owner,
        id: SessionId,
        amendment: &Amendment,
    ) -> Result<bool, UpstreamError>;

    /// Makes a session of one owner, with all that belongs to it, another's; `false` when `from` has none of this id.
    /// What `to` has already is `true`, since an answer may be lost. What was charged for it stays charged to `from`.
    ///
    /// For `from` it is from then on a session that was deleted: no late write of theirs brings it back or changes it.
    async fn claim_session(&self, id: SessionId, from: &Owner, to: &Owner) -> Result<bool, UpstreamError>;

    /// Up to `limit` sessions, whoever owns them, in order of their ids, that are to be kept until `now` or earlier; of
    /// those that do not say until when, the ones that were made at or before `unsaid_since`.
    async fn expired_sessions(
        &self,
        now: DateTime<Utc>,
        unsaid_since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(Owner, SessionId)>, UpstreamError>;

    /// How much an owner has.
    async fn holdings(&self, owner: &Owner) -> Result<Holdings, UpstreamError>;

    /// The small record of this kind and name.
    async fn entry(&self, kind: EntryKind, name: &str) -> Result<Option<Entry>, UpstreamError>;

    /// Every small record of a kind that was written before `before`, by name, at most a thousand whose names are
    /// greater than `after`.
    async fn entries(
        &self,
        kind: EntryKind,
        before: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<Vec<Entry>, UpstreamError>;

    /// Puts `new` in the place of the small record of its kind and name, if that is what the caller last saw: one whose
    /// value is `seen`, or none. The very value that is there already is `Put`, since an answer may be lost; so a value
    /// that must be told from another's carries a UUID.
    ///
    /// Of any number of calls at once that saw the same, by any replica, at most one puts its own. None may; whoever
    /// asked looks again. One about a session that its owner deleted is `Put`, and is gone at once, as it would have
    /// gone with the session.
    async fn exchange_entry(&self, seen: Option<&str>, new: &Entry) -> Result<Exchanged, UpstreamError>;

    /// Removes the small record of this kind and name, if its value is `seen`; says whether it is gone.
    async fn remove_entry(&self, kind: EntryKind, name: &str, seen: &str) -> Result<bool, UpstreamError>;

    /// Which of these sessions have a record, whoever owns them. For the sweep of orphaned frames.
    async fn existing_sessions(&self, ids: &[SessionId]) -> Result<Vec<SessionId>, UpstreamError>;

    /// Records the first state of an attempt at an analysis, unless one of the session is running or this one has
    /// ended. A new analysis is started by its first attempt, and one whose process went away by its next.
    ///
    /// An analysis runs when its latest state is `Processing` and was recorded at or after `stale_before`. An attempt
    /// follows on the one before: where an attempt of the same number was begun already, by another process and
    /// whatever became of it, the answer is `AlreadyRunning` with the latest state.
    /// Of any number of calls at once, by any replica, at most one starts. The very same state again is `Started`,
    /// since an answer may be lost; the `runner` tells it from the attempt of another process.
    async fn start_analysis(
        &self,
        analysis: &Analysis,
        stale_before: DateTime<Utc>,
    ) -> Result<StartedAnalysis, UpstreamError>;

    /// Appends a later state of an analysis; states are ordered by [`Analysis::recency`].
    ///
    /// Once an analysis has ended, nothing more is appended. Once a later attempt at it was started, nothing of an
    /// earlier one is appended but an end. Where nothing is appended and the state is not there already, the
    /// answer is `Superseded`. A store that cannot know yet, as a journal during an outage, answers `Kept`.
    async fn record_analysis(&self, analysis: &Analysis) -> Result<Recorded, UpstreamError>;

    /// The latest state of every analysis that has not ended and was last recorded at or after `since`, whoever owns
    /// it, with its owner; at most a thousand, the ones that were recorded first. For taking up what a process left
    /// behind that went away.
    async fn unfinished_analyses(
        &self,
        since: DateTime<Utc>,
    ) -> Result<Vec<(Owner, Analysis)>, UpstreamError>;

    /// Appends turns to the conversation of a session, all or none. A turn whose number is taken is left
    /// as it is.
    ///
    /// Whoever holds the claim to answer appends under it, see [`claim_answer`](Self::claim_answer).
    async fn append_turns(&self, session: SessionId, turns: &[Turn]) -> Result<(), UpstreamError>;

    /// Takes the right to answer the next message of a session's conversation, or renews it where the same `id` holds
    /// it. It is free when nobody took it, when it was given back, when the claim on it is for a place that is taken
    /// by a turn, and when it was taken or renewed before `stale_before`.
    ///
    /// Of any number of calls at once, by any replica, at most one of different `id`s succeeds.
    async fn claim_answer(
        &self,
        claim: &AnswerClaim,
        stale_before: DateTime<Utc>,
    ) -> Result<ClaimedAnswer, UpstreamError>;

    /// Gives the right back that was taken with this `id`; nothing happens where somebody else holds it.
    async fn release_answer(&self, claim: &AnswerClaim) -> Result<(), UpstreamError>;

    /// Holds the amount of a charge that is not settled, if it fits the budgets: what is spent and held in its month,
    /// without an earlier charge of the same id, and this amount are together no more than each budget. What was
    /// held for longer than a day without being settled is held no more.
    ///
    /// Of any number of calls at once, by any replica, no more are held than fit. Where nothing is held, what an
    /// earlier charge of the same id says stays true. A charge that is settled is over, and is not held again.
    async fn reserve(&self, charge: &Charge, budgets: &Budgets) -> Result<Reservation, UpstreamError>;

    /// Records what a charge came to, in the place of what was held for it. Of two settlements of one charge the
    /// larger amount counts.
    async fn settle(&self, charge: &Charge) -> Result<(), UpstreamError>;

    /// What an owner used in a month, from charges and from the sessions that exist.
    async fn month_usage(&self, owner: &Owner, month: Month) -> Result<MonthUsage, UpstreamError>;

    /// Removes a session and everything known about it but its charges, small records about it included; returns the
    /// number of records removed, zero when the owner has none of this id. Small records are not counted.
    async fn delete_session(&self, owner: &Owner, id: SessionId) -> Result<u64, UpstreamError>;

    /// How well records can be kept now, by one cheap statement.
    async fn check(&self) -> Result<StoreHealth, UpstreamError>;

    /// Whether records can be written: writes one and removes it again. For `doctor`.
    async fn probe(&self) -> Result<(), UpstreamError>;
}

/// What became of a wish to add frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddedFrames {
    /// They are there, but for those whose numbers were taken by others.
    Added {
        /// The frames that were there under these numbers before.
        taken: Vec<Frame>,
    },
    /// An analysis of the session was started, and none was added.
    Closed,
    /// The owner has no such session.
    NoSession,
}

/// What is changed about a session; nothing where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amendment {
    /// What is agreed to from now on.
    pub consent: Option<Consent>,
    /// Until when the session is kept, at the longest.
    pub expires_at: Option<DateTime<Utc>>,
}

/// How much an owner has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Number of sessions.
    pub sessions: u64,
    /// Bytes of all their frames.
    pub bytes: u64,
}

/// How well records can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreHealth {
    /// Everything that was acknowledged is in the store.
    Well,
    /// What is written is safe, but some of it waits on this machine: the store is down, or was until a
    /// moment ago, or refused a write.
    Degraded(Backlog),
}

/// Acknowledged writes that are not in the store yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// All of them.
    pub waiting: u64,
    /// Those among them that the store refused for good, so that somebody must look.
    pub set_aside: u64,
}

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} acknowledged writes wait for the store of records", self.waiting)?;
        match self.set_aside {
            0 => Ok(()),
            refused => write!(f, ", which refused {refused} of them for good"),
        }
    }
}

/// A session with everything known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRecord {
    /// The session and its frames in order.
    pub session: Session,
    /// The latest state of each analysis, by id, so in the order in which they were asked for.
    pub analyses: Vec<Analysis>,
    /// The conversation in order.
    pub turns: Vec<Turn>,
}

/// What became of a wish to start an analysis.
#[derive(Debug, Clone, PartialEq)]
pub enum StartedAnalysis {
    /// It was recorded and is the caller's to run.
    Started,
    /// Another one is running, or an attempt at this one.
    AlreadyRunning(Box<Analysis>),
    /// This one has ended already; its last state.
    HasEnded(Box<Analysis>),
    /// There is no such session any more.
    NoSession,
}

/// What became of a later state of an analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is there.
    Kept,
    /// The analysis has ended, a later attempt was started, or the session is gone: whoever runs it must stop.
    Superseded,
}

/// What became of a wish to answer a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimedAnswer {
    /// It is the caller's to answer.
    Claimed,
    /// Another message is being answered, or the same one by another request.
    Taken(AnswerClaim),
    /// The conversation has gone on: there is a turn at this place already.
    Answered,
    /// There is no such session any more.
    NoSession,
}

/// What a turn has beside its words, kept as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
struct TurnDetails {
    #[serde(default)]
    frames: Vec<FrameNumber>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    request: Option<Uuid>,
}

impl TurnDetails {
    /// Those of a turn; `None` when it has nothing but words.
    fn of(turn: &Turn) -> Option<Self> {
        let has_any = !turn.frames.is_empty() || turn.usage.is_some() || turn.request.is_some();
        has_any.then(|| Self { frames: turn.frames.clone(), usage: turn.usage, request: turn.request })
    }
}

/// The text before whose ids a page of sessions lies. For the first page it is greater than that of every id, so
/// that it is read by the same statement as the next.
fn page_end(before: Option<SessionId>) -> String {
    before.map_or_else(|| "g".to_owned(), |id| id.to_string())
}

/// A session for [`SessionStore::probe`], which nobody owns.
fn probe_session() -> Session {
    Session {
        id: SessionId::new(),
        owner: Owner::new("probe"),
        created_at: Utc::now(),
        stroke_type: Stroke::default(),
        user_notes: None,
        title: None,
        view: None,
        frames: Vec::new(),
        consent: None,
        expires_at: None,
    }
}
