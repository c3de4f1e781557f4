//! No model at all, chosen by `ANTHROPIC_MOCK_MODE=true`: says so, and claims nothing.
//!
//! The capture check runs for every model, so what the camera got wrong is told here too.

use super::{Answer, Asking, Estimate, Look, Talk, VisionClient, VisionError};
use crate::analysis::{
    Certainty, ContentFlag, Medium, MicroUsd, ObservedStroke, PublishedAnalysis, Quality, Segment,
    SwimmerCount, Usage, View, Visible,
};
use crate::review::{Agreement, ModelAnalysis, ModelCapture, ModelNotesAnswer, ModelReply, ModelStroke};
use crate::upstream::UpstreamError;
use async_trait::async_trait;

/// What every summary says.
const NO_COACHING: &str = "No coaching was done: this service runs without a model, so nobody looked at the technique. \
    The frames were checked for what a camera gets wrong; see the warnings and the filming advice.";

/// What it takes.
const NOTHING: Estimate =
    Estimate { requests: 0, input_tokens: 0, output_tokens: 0, cost: MicroUsd(0), prices_as_of: None };

/// Looks at nothing.
#[derive(Debug, Default)]
pub struct MockVision;

impl MockVision {
    /// There is nothing to set.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl VisionClient for MockVision {
    async fn look(&self, look: &Look, _asking: &Asking) -> Result<Answer<ModelAnalysis>, VisionError> {
        let value = ModelAnalysis {
            capture: ModelCapture {
                view: look.view.unwrap_or(View::Unknown),
                medium: Medium::Unknown,
                segment: Segment::Unknown,
                swimmer_visible: Visible::Partly,
                swimmer_count: SwimmerCount::One,
                quality: Quality::Usable,
            },
            stroke: ModelStroke {
                observed: ObservedStroke::Unknown,
                certainty: Certainty::Low,
                agrees_with_declared: Agreement::NotDeclared,
            },
            content_flag: ContentFlag::None,
            elements: Vec::new(),
            findings: Vec::new(),
            cycles: Vec::new(),
            summary: NO_COACHING.to_owned(),
            primary_focus: -1,
            cannot_tell: vec!["technique: no model looked at the frames".to_owned()],
            filming_advice: Vec::new(),
        };
        Ok(Answer { value, usage: Usage::default() })
    }

    async fn answer_notes(
        &self,
        _notes: &str,
        _analysis: &PublishedAnalysis,
        _asking: &Asking,
    ) -> Result<Answer<ModelNotesAnswer>, VisionError> {
        let text =
            "Your notes were kept, but this service runs without a model, so nobody answers them.".to_owned();
        Ok(Answer { value: ModelNotesAnswer { text, frames: Vec::new() }, usage: Usage::default() })
    }

    async fn follow_up(&self, _talk: &Talk, asking: &Asking) -> Result<Answer<ModelReply>, VisionError> {
        let text =
            "Your message was kept, but this service runs without a model, so nobody answers it.".to_owned();
        asking.progress.send_modify(|it| text.clone_into(&mut it.text));
        Ok(Answer { value: ModelReply { text, frames: Vec::new() }, usage: Usage::default() })
    }

    fn estimate(&self, _look: &Look, _notes: Option<&str>, _samples: u8) -> Estimate {
        NOTHING
    }

    fn estimate_follow_up(&self, _talk: &Talk) -> Estimate {
        NOTHING
    }

    /// Nobody sees less of a large picture.
    fn sent_size(&self, width: u32, height: u32, _n_frames: usize) -> (u32, u32) {
        (width, height)
    }

    fn model(&self) -> &'static str {
        "mock"
    }

    fn prompt_version(&self) -> &'static str {
        "none"
    }

    fn is_third_party(&self) -> bool {
        false
    }

    async fn check(&self) -> Result<(), UpstreamError> {
        Ok(())
    }
}
