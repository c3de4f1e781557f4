//! What looks at frames: the trait, what it is shown, and how it can fail.
//!
//! [`claude::ClaudeVision`] asks the Claude Messages API, [`mock::MockVision`] nobody.

pub mod prompt;
pub mod claude;
pub mod mock;

use crate::analysis::{MicroUsd, PublishedAnalysis, Usage, View};
use crate::events::Stage;
use crate::review::{ModelAnalysis, ModelNotesAnswer, ModelReply};
use crate::session::{FrameNumber, Stroke, Turn};
use crate::upstream::UpstreamError;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::NaiveDate;
use std::fmt::Debug;
use thiserror::Error;
use tokio::sync::watch;

/// Looks at the frames of a session.
///
/// # Contract
/// - Every frame of a look is looked at, in order, each under its number and time, or the look fails.
/// - An answer is whole: a refusal, a cut-off or an answer that does not have the shape is an error.
/// - The first look never sees the swimmer's notes.
/// - A call ends when the other side is silent for too long, not when it takes long.
/// - Dropping the future stops the work and the spending. What was spent until then is in `asking.progress`.
/// - No request begins that could make the call cost more than `asking.allowance`.
#[async_trait]
pub trait VisionClient: Debug + Send + Sync {
    /// Judges the frames.
    async fn look(&self, look: &Look, asking: &Asking) -> Result<Answer<ModelAnalysis>, VisionError>;

    /// Answers the swimmer's notes from what was published, after the frames were judged without them.
    async fn answer_notes(
        &self,
        notes: &str,
        analysis: &PublishedAnalysis,
        asking: &Asking,
    ) -> Result<Answer<ModelNotesAnswer>, VisionError>;

    /// Answers a message about the frames of an analysis, which are shown again.
    async fn follow_up(&self, talk: &Talk, asking: &Asking) -> Result<Answer<ModelReply>, VisionError>;

    /// What `samples` looks, and an answer to notes where there are some, take at the most. Nobody is asked, and of
    /// the frames only numbers, times and sizes are used. Tries that break off come on top.
    fn estimate(&self, look: &Look, notes: Option<&str>, samples: u8) -> Estimate;

    /// What an answer takes at the most, in the same way.
    fn estimate_follow_up(&self, talk: &Talk) -> Estimate;

    /// The size in pixels at which a picture of this size is best sent, among `n_frames`: the size itself, or a
    /// smaller one of the same shape where the model sees no more or takes no more. That one's is itself.
    fn sent_size(&self, width: u32, height: u32, n_frames: usize) -> (u32, u32);

    /// The model's id as results name it; `mock` when no model looks.
    fn model(&self) -> &str;

    /// The version of the prompt that looks are made with; `none` when there is no prompt.
    fn prompt_version(&self) -> &str;

    /// Whether frames leave for another company, so that somebody must have agreed to that.
    fn is_third_party(&self) -> bool;

    /// Whether the model can be asked now, without paying for it.
    async fn check(&self) -> Result<(), UpstreamError>;
}

/// What the model is shown.
#[derive(Clone)]
pub struct Look {
    /// The declared stroke.
    pub stroke: Stroke,
    /// The declared view.
    pub view: Option<View>,
    /// All frames of the session, in order.
    pub frames: Vec<LookFrame>,
}

impl Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look")
            .field("stroke", &self.stroke)
            .field("frames", &self.frames.len())
            .finish_non_exhaustive()
    }
}

/// One asking of the model: what it may cost, and how it goes along. Each call has its own.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The most that it may cost in all.
    pub allowance: MicroUsd,
    /// What is known so far; the latest counts. Whoever asked reads it.
    pub progress: watch::Sender<Progress>,
}

impl Asking {
    /// An asking that may cost so much.
    pub fn within(allowance: MicroUsd) -> Self {
        Self { allowance, progress: watch::Sender::default() }
    }
}

impl Default for Asking {
    /// An asking that may cost anything.
    fn default() -> Self {
        Self::within(MicroUsd(u64::MAX))
    }
}

/// How far an asking is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// `Sent`, `Thinking` or `Writing`; absent until the request is taken. Begins anew with every try.
    pub stage: Option<Stage>,
    /// What was spent, this try and those before it.
    pub usage: Usage,
    /// Of a look: the answer up to its last whole finding, once there is one. What comes after the findings claims
    /// nothing yet.
    pub analysis: Option<ModelAnalysis>,
    /// Of a follow-up: the answer's text so far, as the model writes it; [`crate::review::reply_so_far`] has what may
    /// be shown of it.
    pub text: String,
}

/// A conversation about an analysis, and the message to be answered.
#[derive(Debug, Clone)]
pub struct Talk {
    /// Exactly what the analysis was shown.
    pub look: Look,
    /// What was published of it.
    pub analysis: PublishedAnalysis,
    /// The conversation so far.
    pub turns: Vec<Turn>,
    /// What is asked now; data, never instructions.
    pub message: String,
}

/// One frame of a look.
#[derive(Clone)]
pub struct LookFrame {
    /// Its number in the session.
    pub number: FrameNumber,
    /// Its time in the clip in milliseconds, when known.
    pub timestamp_ms: Option<u64>,
    /// Width in pixels, as it is sent.
    pub width: u32,
    /// Height in pixels, as it is sent.
    pub height: u32,
    /// The JPEG as it is sent: the stored one, or the same scaled to [`VisionClient::sent_size`]. Follow-ups send the
    /// bytes of the look, or they read nothing from the cache.
    pub jpeg: Bytes,
}

impl Debug for LookFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LookFrame")
            .field("number", &self.number)
            .field("bytes", &self.jpeg.len())
            .finish_non_exhaustive()
    }
}

/// What an analysis takes at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Requests to the model.
    pub requests: u32,
    /// Tokens read, from the cache or not.
    pub input_tokens: u64,
    /// Tokens of the answers, thinking included.
    pub output_tokens: u64,
    /// What they cost when nothing is in the cache.
    pub cost: MicroUsd,
    /// The day of which the prices are; absent where nobody is paid.
    pub prices_as_of: Option<NaiveDate>,
}

/// A whole answer and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    /// What was answered.
    pub value: T,
    /// What it took, failed tries included.
    pub usage: Usage,
}

/// Why there is no answer, and what was spent all the same.
#[derive(Debug, Error)]
#[error("{kind}")]
pub struct VisionError {
    /// Why.
    #[source]
    pub kind: VisionErrorKind,
    /// What was spent.
    pub usage: Usage,
}

/// Why there is no answer. Each is told to the swimmer in other words.
#[derive(Debug, Error)]
pub enum VisionErrorKind {
    /// The model could not be asked, or broke off.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The model declined to answer.
    #[error("the model refused to answer (category {})", category.as_deref().unwrap_or("none"))]
    Refused {
        /// The provider's word for the reason, when it gives one.
        category: Option<String>,
    },
    /// The answer was longer than the limit on tokens allows.
    #[error("the answer was cut off at the token limit")]
    CutOff,
    /// The answer was empty or did not have the shape that was asked for.
    #[error("the answer does not have the shape that was asked for: {0}")]
    Malformed(String),
    /// Another request could cost more than is allowed. Nothing is wrong with the frames.
    #[error("another request could cost more than is allowed")]
    OverAllowance,
    /// The frames are more than the model accepts in one request.
    #[error("the frames do not fit into one request: {0}")]
    TooLarge(String),
}
