//! The nouns of a published analysis: what a coach would sign, with the frames that show it.
//!
//! Every type here is what the service says to the outside, in records and in answers. What the model
//! said is another matter: [`crate::review`] turns the one into the other. Nothing here is a score.

use crate::session::{FrameNumber, Stroke};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use utoipa::ToSchema;

/// A vocabulary of the analysis: unit variants, `snake_case` on the wire.
macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of the vocabulary.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }
    };
}

vocabulary! {
    /// From where the camera looks at the swimmer.
    View {
        /// At a right angle to the direction of swimming.
        Side,
        /// The swimmer comes towards the camera.
        Front,
        /// The swimmer goes away from the camera.
        Rear,
        /// From above, looking down.
        Overhead,
        /// Between two of the others.
        Oblique,
        /// It changes during the clip.
        Mixed,
        /// It cannot be told.
        Unknown,
    }
}

vocabulary! {
    /// Where the camera is.
    Medium {
        /// Over the water.
        AboveWater,
        /// Under the water.
        Underwater,
        /// Both, during the clip or in a split picture.
        Both,
        /// It cannot be told.
        Unknown,
    }
}

vocabulary! {
    /// Which part of a swim the clip shows.
    Segment {
        /// Swimming between walls.
        FreeSwimming,
        /// From the block to the entry.
        Start,
        /// From the approach to the push-off.
        Turn,
        /// Under water after a start or turn.
        UnderwaterPhase,
        /// From under water into the first strokes.
        Breakout,
        /// The last strokes to the wall.
        Finish,
        /// A drill and not the whole stroke.
        Drill,
        /// Several of the others.
        Mixed,
        /// It cannot be told.
        Unknown,
    }
}

vocabulary! {
    /// Whether the swimmer can be seen.
    Visible {
        /// Wholly.
        Yes,
        /// In part.
        Partly,
        /// Not at all.
        No,
    }
}

vocabulary! {
    /// How many swimmers can be seen.
    SwimmerCount {
        /// Nobody.
        None,
        /// One.
        One,
        /// More than one.
        Several,
    }
}

vocabulary! {
    /// How well the frames serve an analysis.
    Quality {
        /// Nothing stands in the way.
        Good,
        /// Some things cannot be judged.
        Usable,
        /// Most things cannot be judged.
        Poor,
    }
}

vocabulary! {
    /// The stroke that the model sees.
    ObservedStroke {
        /// Front crawl.
        Freestyle,
        /// Backstroke.
        Backstroke,
        /// Breaststroke.
        Breaststroke,
        /// Butterfly.
        Butterfly,
        /// More than one.
        Medley,
        /// It cannot be told.
        Unknown,
    }
}

vocabulary! {
    /// How sure the model says it is. A word, not a probability.
    Certainty {
        /// A guess worth checking.
        Low,
        /// More likely than not.
        Medium,
        /// Plain in the frames.
        High,
    }
}

vocabulary! {
    /// A part of technique that can be judged.
    Element {
        /// Body line and height of the hips.
        BodyPosition,
        /// Where the head is carried.
        HeadPosition,
        /// Roll about the long axis.
        Rotation,
        /// How and where the hand goes in.
        Entry,
        /// From entry to the first backward push.
        Catch,
        /// From catch to under the shoulder.
        Pull,
        /// From under the shoulder to the exit.
        PushFinish,
        /// The arm's way out and forward.
        ExitRecovery,
        /// The legs.
        Kick,
        /// Taking air.
        Breathing,
        /// How the parts fit together in time.
        Timing,
        /// From the block.
        Start,
        /// At the wall.
        Turn,
        /// The streamline and kicks under water.
        UnderwaterStreamline,
        /// Into the first strokes.
        Breakout,
    }
}

vocabulary! {
    /// How well the frames show an element.
    Visibility {
        /// Well.
        Clear,
        /// In part.
        Partial,
        /// Not at all.
        NotVisible,
    }
}

vocabulary! {
    /// What sort of statement a finding is.
    FindingKind {
        /// Something that works.
        Strength,
        /// Something that costs speed.
        Fault,
        /// Something that a referee may see differently; never a verdict.
        RuleRisk,
        /// Something that may load a joint; never a diagnosis.
        LoadRisk,
    }
}

vocabulary! {
    /// The side of the body.
    Side {
        /// The swimmer's left.
        Left,
        /// The swimmer's right.
        Right,
        /// Both.
        Both,
        /// The finding has no side.
        NotApplicable,
        /// It cannot be told.
        Unclear,
    }
}

vocabulary! {
    /// How soon to work on a finding. One is primary and at most two are secondary.
    Priority {
        /// The one thing to work on.
        Primary,
        /// Next.
        Secondary,
        /// Some day.
        Refinement,
    }
}

vocabulary! {
    /// Whether the frames are fit for coaching.
    ContentFlag {
        /// Nothing to remark.
        None,
        /// No swimming is shown.
        NotSwimming,
        /// Nobody is shown.
        NoPerson,
        /// Not fit to be commented on.
        UnsuitableForCoaching,
        /// A person should look first.
        NeedsHumanReview,
    }
}

/// What the service publishes of an analysis. Field names are part of the contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PublishedAnalysis {
    /// The version of this shape: `swimcoach.analysis/1`.
    pub schema: String,
    /// What was filmed.
    pub capture: Capture,
    /// Which stroke was said and which was seen.
    pub stroke: StrokeSeen,
    /// A few sentences for the swimmer.
    pub summary: String,
    /// Each element with how well it could be seen and how well it is done.
    pub elements: Vec<ElementRating>,
    /// What was found, the primary one first, strengths last.
    pub findings: Vec<Finding>,
    /// Figures computed by the service from the frames' own times.
    pub metrics: Vec<Metric>,
    /// What the frames cannot tell.
    pub cannot_tell: Vec<String>,
    /// How to film next time.
    pub filming_advice: Vec<String>,
    /// What limits this result.
    pub warnings: Vec<Warning>,
    /// The answer to the swimmer's notes, given after the frames had been judged without them.
    pub notes_answer: Option<NotesAnswer>,
    /// How much of the model's answer was left out, by reason.
    pub dropped: Dropped,
    /// Whether the frames are fit for coaching.
    pub content_flag: ContentFlag,
    /// What made this result.
    pub provenance: Provenance,
}

/// What was filmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Capture {
    /// From where.
    pub view: View,
    /// Above or under water.
    pub medium: Medium,
    /// Which part of a swim.
    pub segment: Segment,
    /// Whether the swimmer can be seen.
    pub swimmer_visible: Visible,
    /// How many swimmers can be seen.
    pub swimmer_count: SwimmerCount,
    /// How well the frames serve.
    pub quality: Quality,
    /// Number of frames that the model was sent: all of the session.
    pub frames_sent: u32,
    /// Frames in one stroke cycle, where the frames' times and the events give it.
    pub frames_per_cycle: Option<f64>,
}

/// Which stroke was said and which was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StrokeSeen {
    /// What the uploader said.
    pub declared: Stroke,
    /// What the model saw.
    pub observed: ObservedStroke,
    /// How sure it is.
    pub certainty: Certainty,
}

/// How well an element could be seen and how well it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ElementRating {
    /// Which.
    pub element: Element,
    /// How well it can be seen, by the model's word and by what the view can show at most.
    pub visibility: Visibility,
    /// From 1 (needs work) to 5 (strong); absent when it was not assessed.
    #[schema(minimum = 1, maximum = 5)]
    pub rating: Option<u8>,
    /// How sure the model is.
    pub certainty: Certainty,
    /// The frames that show it.
    pub frames: Vec<FrameNumber>,
    /// What was seen.
    pub note: String,
}

/// One thing found, with the frames that show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// `f1`, `f2` … in the order of publication.
    pub id: String,
    /// What sort of statement it is.
    pub kind: FindingKind,
    /// A code of the catalogue, or `OTHER`; the catalogue lists faults, so a strength is always `OTHER`.
    pub code: String,
    /// The catalogue's name for the code; absent for `OTHER`.
    pub title: Option<String>,
    /// Which element it is about.
    pub element: Element,
    /// Which side of the body.
    pub side: Side,
    /// How soon to work on it.
    pub priority: Priority,
    /// How sure the model is.
    pub certainty: Certainty,
    /// The frames that show it, at least one for a fault or a risk.
    pub evidence: Vec<Evidence>,
    /// What is seen.
    pub observation: String,
    /// What it costs or gains.
    pub why_it_matters: String,
    /// A few words to swim by.
    pub cue: String,
    /// What to practise.
    pub drills: Vec<DrillAdvice>,
    /// How many looks found it; absent where the frames were looked at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<LookAgreement>,
}

/// How many of several independent looks at the same frames found something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LookAgreement {
    /// Those that found it.
    #[schema(minimum = 1)]
    pub found: u8,
    /// All of them.
    #[schema(minimum = 2)]
    pub of: u8,
}

impl LookAgreement {
    /// Whether most looks found it, or half of them, or fewer: what more of them found is greater.
    pub fn share(self) -> Ordering {
        (2 * u16::from(self.found)).cmp(&self.of.into())
    }
}

/// A frame that shows a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// The frame.
    pub frame: FrameNumber,
    /// Its time in the clip in milliseconds, when known.
    pub timestamp_ms: Option<u64>,
    /// What is seen in it.
    pub seen: String,
}

/// A drill of the catalogue with its dose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrillAdvice {
    /// Its id in the catalogue.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How much of it, such as `6x25`.
    pub dose: String,
}

/// A figure computed by the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Metric {
    /// `stroke_rate` or `cycle_time`.
    pub name: String,
    /// The value.
    pub value: f64,
    /// How far off the value may be, in the same unit: what one frame gap at the ends leaves open.
    pub uncertainty: f64,
    /// `cycles/min` or `ms`.
    pub unit: String,
    /// Number of cycles measured.
    pub cycles: u32,
    /// From which events and frames, in words.
    pub method: String,
    /// The frames whose times were used.
    pub frames: Vec<FrameNumber>,
}

/// Something that limits the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// A stable word for programs, such as `timestamps_missing`.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// The frames it is about; empty when it is about all.
    pub frames: Vec<FrameNumber>,
}

/// The answer to the swimmer's notes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotesAnswer {
    /// The answer.
    pub text: String,
    /// The frames that it speaks of.
    pub frames: Vec<FrameNumber>,
}

/// How much of the model's answer was left out, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dropped {
    /// Claims that cited no frame, or said nothing.
    pub no_evidence: u32,
    /// Citations of frames that were never sent.
    pub unknown_frame: u32,
    /// Claims about what the view cannot show, what the model itself calls not visible, or frames that are not
    /// fit for coaching.
    pub outside_view: u32,
    /// Elements that were rated again; the first rating counts.
    #[serde(default)]
    pub repeated: u32,
    /// Codes that the catalogue does not have for the observed stroke; such findings became `OTHER`.
    pub unknown_code: u32,
    /// Drills that do not exist or do not fit the code.
    pub unfit_drill: u32,
    /// Findings whose priority was lowered to keep one focus.
    pub priority_lowered: u32,
    /// Events for which no figure could be computed.
    pub unused_event: u32,
    /// Findings of one look or a few, which the look that is published does not have.
    #[serde(default)]
    pub not_shared: u32,
}

impl std::ops::AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        self.no_evidence += other.no_evidence;
        self.unknown_frame += other.unknown_frame;
        self.outside_view += other.outside_view;
        self.repeated += other.repeated;
        self.unknown_code += other.unknown_code;
        self.unfit_drill += other.unfit_drill;
        self.priority_lowered += other.priority_lowered;
        self.unused_event += other.unused_event;
        self.not_shared += other.not_shared;
    }
}

/// What made a result, so that it can be made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Provenance {
    /// The model's id, or `mock` when no model looked.
    pub model: String,
    /// The version of the prompt.
    pub prompt_version: String,
    /// The version of the catalogue.
    pub catalog_version: String,
    /// SHA-256, in hex, of the frames' SHA-256 digests in order.
    pub frames_sha256: String,
    /// Independent looks at the frames that the result is made of; absent where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u8>,
}

/// What was asked of the model, as its provider bills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Requests that the model answered, whole or in part.
    pub requests: u32,
    /// Tokens read afresh.
    pub input_tokens: u64,
    /// Tokens written to the prompt cache, for whatever time.
    pub cache_creation_input_tokens: u64,
    /// Those of them that were written for five minutes.
    #[serde(default)]
    pub cache_creation_5m_input_tokens: u64,
    /// Those of them that were written for an hour.
    #[serde(default)]
    pub cache_creation_1h_input_tokens: u64,
    /// Tokens read from the prompt cache.
    pub cache_read_input_tokens: u64,
    /// Tokens of the answer, thinking included.
    pub output_tokens: u64,
    /// What it came to by the prices of then; absent in records that are older than the first prices.
    #[serde(default, rename = "cost_micro_usd")]
    pub cost: Option<MicroUsd>,
}

impl Default for Usage {
    /// Nothing, which costs nothing.
    fn default() -> Self {
        Self {
            requests: 0,
            input_tokens: 0,
            cache_creation_input_tokens: 0,
            cache_creation_5m_input_tokens: 0,
            cache_creation_1h_input_tokens: 0,
            cache_read_input_tokens: 0,
            output_tokens: 0,
            cost: Some(MicroUsd(0)),
        }
    }
}

impl std::ops::AddAssign for Usage {
    /// A sum with a cost that is not known is not known.
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.input_tokens += other.input_tokens;
        self.cache_creation_input_tokens += other.cache_creation_input_tokens;
        self.cache_creation_5m_input_tokens += other.cache_creation_5m_input_tokens;
        self.cache_creation_1h_input_tokens += other.cache_creation_1h_input_tokens;
        self.cache_read_input_tokens += other.cache_read_input_tokens;
        self.output_tokens += other.output_tokens;
        self.cost = self.cost.zip(other.cost).map(|(sum, it)| sum + it);
    }
}

/// Millionths of a USD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroUsd(pub u64);

impl MicroUsd {
    /// The number of USD, as an answer shows it: it is written with six decimals at most.
    #[expect(clippy::cast_precision_loss, reason = "exact up to nine billion USD")]
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl std::ops::Add for MicroUsd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06} USD", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
