//! The nouns: a session, its frames, its analyses and its turns of conversation.
//!
//! Identifiers and numbers are types whose existence proves that they are well formed.

use crate::analysis::{PublishedAnalysis, Usage, View};
use crate::consent::Consent;
use crate::events::AnalysisEvent;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use utoipa::ToSchema;
use uuid::Uuid;

/// Whose a session is. Every record is read and written in the name of an owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner(String);

impl Owner {
    /// The one owner of a service that runs without sign-in.
    pub fn local() -> Self {
        Self("local".to_owned())
    }

    /// An owner by the name under which records keep it.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name under which records keep this owner.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A session's id: a UUID, version 7 when made here, so that ids sort by time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new id, greater than every id made before by this process.
    #[expect(clippy::new_without_default, reason = "two ids are never equal; a default would hide that")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// When the id was made, to the millisecond; `None` for a UUID that is not of version 7.
    pub fn created_at(self) -> Option<DateTime<Utc>> {
        let (seconds, nanoseconds) = self.0.get_timestamp()?.to_unix();
        DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanoseconds)
    }
}

impl From<Uuid> for SessionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<SessionId> for Uuid {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a UUID in its hyphenated lower-case form")]
pub struct InvalidId;

impl FromStr for SessionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_uuid(text).map(Self)
    }
}

/// An analysis's id: a UUID of version 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct AnalysisId(Uuid);

impl AnalysisId {
    /// A new id, greater than every id made before by this process.
    #[expect(clippy::new_without_default, reason = "two ids are never equal; a default would hide that")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl From<Uuid> for AnalysisId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<AnalysisId> for Uuid {
    fn from(id: AnalysisId) -> Self {
        id.0
    }
}

impl fmt::Display for AnalysisId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AnalysisId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_uuid(text).map(Self)
    }
}

/// The place of a frame in its session, from 1 to 9999.
///
/// # Invariant
/// Four digits hold it, so object keys sort in the order of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schema(value_type = u32, minimum = 1, maximum = 9999)]
pub struct FrameNumber(NonZeroU16);

impl FrameNumber {
    /// The number of the first frame.
    pub const FIRST: Self = Self(NonZeroU16::MIN);
    /// The number of the last frame that a session can have.
    pub const LAST: Self = Self(NonZeroU16::MIN.saturating_add(9998));

    /// The number, if it is one from 1 to 9999.
    pub fn new(number: u32) -> Option<Self> {
        let number = u16::try_from(number).ok().filter(|it| *it <= Self::LAST.get())?;
        NonZeroU16::new(number).map(Self)
    }

    /// The number as an integer.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for FrameNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for FrameNumber {
    type Err = &'static str;

    /// Reads a number in exactly one spelling, without a sign or zeros before it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().and_then(Self::new).filter(|it| it.to_string() == text);
        number.ok_or("a frame number is an integer from 1 to 9999")
    }
}

impl TryFrom<u32> for FrameNumber {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        Self::new(number).ok_or("a frame number is an integer from 1 to 9999")
    }
}

impl From<FrameNumber> for u32 {
    fn from(number: FrameNumber) -> Self {
        Self::from(number.get())
    }
}

/// The stroke that the swimmer says is swum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stroke {
    /// Front crawl.
    #[default]
    Freestyle,
    /// Backstroke.
    Backstroke,
    /// Breaststroke.
    Breaststroke,
    /// Butterfly.
    Butterfly,
    /// More than one stroke in the clip.
    Mixed,
}

impl Stroke {
    /// Every stroke, in the order in which they are listed to people.
    pub const ALL: [Self; 5] =
        [Self::Freestyle, Self::Backstroke, Self::Breaststroke, Self::Butterfly, Self::Mixed];

    /// The name used on the wire, in records and in the prompt.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Freestyle => "freestyle",
            Self::Backstroke => "backstroke",
            Self::Breaststroke => "breaststroke",
            Self::Butterfly => "butterfly",
            Self::Mixed => "mixed",
        }
    }
}

impl FromStr for Stroke {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| {
            "stroke_type is one of freestyle, backstroke, breaststroke, butterfly, mixed".to_owned()
        })
    }
}

/// A stored frame of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Its place in the session.
    pub number: FrameNumber,
    /// Size of the stored JPEG in bytes.
    pub size_bytes: u64,
    /// Width in pixels, after the orientation was applied.
    pub width: u32,
    /// Height in pixels, after the orientation was applied.
    pub height: u32,
    /// Time in the clip, in milliseconds from its start, when the uploader knew it.
    pub timestamp_ms: Option<u64>,
    /// The entity tag under which storage keeps the bytes, without quotes.
    pub etag: String,
}

/// A set of frames of one clip, uploaded together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub owner: Owner,
    /// When it was acknowledged, in milliseconds.
    pub created_at: DateTime<Utc>,
    /// The declared stroke.
    pub stroke_type: Stroke,
    /// What the swimmer asks or says; data, never instructions.
    pub user_notes: Option<String>,
    /// A name that the uploader gave it.
    pub title: Option<String>,
    /// The camera's view as the uploader declares it.
    pub view: Option<View>,
    /// Its frames in order of their numbers.
    pub frames: Vec<Frame>,
    /// What was agreed to about its pictures; absent in records that are older than this field.
    #[serde(default)]
    pub consent: Option<Consent>,
    /// Until when it is kept; absent in records that are older than this field.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
}

/// One request for an analysis of a session, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Its id.
    pub id: AnalysisId,
    /// The session whose frames are looked at.
    pub session_id: SessionId,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// When this state was recorded. A `Processing` analysis that runs renews it.
    pub updated_at: DateTime<Utc>,
    /// The declared stroke that counts for it.
    pub stroke_type: Stroke,
    /// The notes that it answers.
    pub user_notes: Option<String>,
    /// Where it stands.
    pub status: AnalysisStatus,
    /// Why it failed; present exactly when `status` is `Failed`.
    pub failure: Option<Failure>,
    /// The published result; present when `Complete`, and when `Failed` with a part that stands.
    pub result: Option<PublishedAnalysis>,
    /// What was asked of the model so far, failed attempts included.
    pub usage: Usage,
    /// What was asked for beyond stroke and notes.
    #[serde(default)]
    pub options: AnalysisOptions,
    /// How often a process began it: 1, and one more each time one took it up after another went away.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// What happened so far, in order.
    #[serde(default)]
    pub events: Vec<AnalysisEvent>,
    /// Answers of the model that are paid for, as it gave them. Kept until the analysis ends, so that whoever takes
    /// it up does not pay for them again.
    #[serde(default)]
    pub looks: Vec<serde_json::Value>,
    /// Frames of the session that the model is not sent.
    #[serde(default)]
    pub left_out: Vec<FrameNumber>,
    /// The model that is asked; absent in records that are older than this field.
    #[serde(default)]
    pub model: Option<String>,
    /// Who began this attempt, by a UUID made for it: of two processes that take an analysis up in the same
    /// millisecond, one is told from the other by it. Absent in records that are older than this field.
    #[serde(default)]
    pub runner: Option<Uuid>,
}

/// What may be asked of an analysis beyond stroke and notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnalysisOptions {
    /// Independent looks at the same frames, from 1 to 5.
    pub samples: u8,
    /// Whether frames that hardly differ from one before them are not sent.
    pub leave_out_near_duplicates: bool,
}

impl AnalysisOptions {
    /// The most looks that can be asked for.
    pub const MAX_SAMPLES: u8 = 5;
}

impl Default for AnalysisOptions {
    fn default() -> Self {
        Self { samples: 1, leave_out_near_duplicates: false }
    }
}

fn first_attempt() -> u32 {
    1
}

impl Analysis {
    /// What orders the states of one analysis: an end comes after all others, then the attempt counts, then the
    /// time in milliseconds, and in the same one a state that was given back comes after one that runs.
    pub fn recency(&self) -> (bool, u32, i64, bool) {
        let is_given_back = self.status == AnalysisStatus::Queued;
        (self.has_ended(), self.attempt, self.updated_at.timestamp_millis(), is_given_back)
    }

    /// Whether nothing happens to it any more.
    pub fn has_ended(&self) -> bool {
        match self.status {
            AnalysisStatus::Processing | AnalysisStatus::Queued => false,
            AnalysisStatus::Complete | AnalysisStatus::Failed => true,
        }
    }
}

/// Where an analysis stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnalysisStatus {
    /// Recorded, and running or about to.
    Processing,
    /// Recorded, and given back by the process that had it, so that any may take it up.
    Queued,
    /// Done, with nothing missing.
    Complete,
    /// Ended without a whole result.
    Failed,
}

/// Why an analysis failed, told to the swimmer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word for programs, such as `model_unavailable`.
    pub code: String,
    /// A sentence for the swimmer: what happened and what to do.
    pub detail: String,
    /// Whether asking again may help.
    pub can_resume: bool,
}

/// Who said a turn of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The swimmer or coach.
    User,
    /// The model.
    Assistant,
}

/// A turn of the conversation about a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Its place in the conversation, from 0.
    pub number: u32,
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub content: String,
    /// When it was recorded.
    pub created_at: DateTime<Utc>,
    /// The frames that it speaks of; empty in what the swimmer says.
    #[serde(default)]
    pub frames: Vec<FrameNumber>,
    /// What was asked of the model for it; absent in what the swimmer says.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// The request with an idempotency key that brought it, by its UUID; absent in answers.
    #[serde(default)]
    pub request: Option<Uuid>,
}

/// The right to answer the next message of a conversation, held by one process at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerClaim {
    /// The session whose conversation it is.
    pub session: SessionId,
    /// Who holds it, by a UUID made for this one message.
    pub id: Uuid,
    /// The place that the message will have in the conversation.
    pub number: u32,
    /// SHA-256 of the message in hex, so that the same one sent twice is told from another.
    pub message_sha256: String,
    /// When it was taken or last renewed, in milliseconds.
    pub renewed_at: DateTime<Utc>,
}

/// Reads a UUID in exactly one spelling, so that an object key has exactly one too.
pub(crate) fn parse_uuid(text: &str) -> Result<Uuid, InvalidId> {
    Uuid::try_parse(text).ok().filter(|it| it.to_string() == text).ok_or(InvalidId)
}
