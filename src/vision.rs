//! What looks at frames: the trait, what it is shown, and how it can fail.
//!
//! [`claude::ClaudeVision`] asks the Claude Messages API, [`mock::MockVision`] nobody.

pub mod prompt;
pub mod claude;
pub mod mock;

use crate::analysis::{MicroUsd, PublishedAnalysis, Usage, View};
use crate::review::{ModelAnalysis, ModelNotesAnswer};
use crate::session::{FrameNumber, Stroke};
use crate::upstream::UpstreamError;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::NaiveDate;
use std::fmt::Debug;
use thiserror::Error;

/// Looks at the frames of a session.
///
/// # Contract
/// - Every frame of a look is looked at, in order, each under its number and time, or the look fails.
/// - An answer is whole: a refusal, a cut-off or an answer that does not have the shape is an error.
/// - The first look never sees the swimmer's notes.
/// - A call ends when the other side is silent for too long, not when it takes long.
/// - Dropping the future stops the work and the spending.
#[async_trait]
pub trait VisionClient: Debug + Send + Sync {
    /// Judges the frames.
    async fn look(&self, look: &Look) -> Result<Answer<ModelAnalysis>, VisionError>;

    /// Answers the swimmer's notes from what was published, after the frames were judged without them.
    async fn answer_notes(
        &self,
        notes: &str,
        analysis: &PublishedAnalysis,
    ) -> Result<Answer<ModelNotesAnswer>, VisionError>;

    /// What a look, and an answer to notes where there are some, takes at the most. Nobody is asked, and of the
    /// frames only numbers, times and sizes are used. Tries that break off come on top.
    fn estimate(&self, look: &Look, notes: Option<&str>) -> Estimate;

    /// The model's id as results name it; `mock` when no model looks.
    fn model(&self) -> &str;

    /// The version of the prompt that looks are made with; `none` when there is no prompt.
    fn prompt_version(&self) -> &str;

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

/// One frame of a look.
#[derive(Clone)]
pub struct LookFrame {
    /// Its number in the session.
    pub number: FrameNumber,
    /// Its time in the clip in milliseconds, when known.
    pub timestamp_ms: Option<u64>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The stored JPEG.
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
    /// The frames are more than the model accepts in one request.
    #[error("the frames do not fit into one request: {0}")]
    TooLarge(String),
}
