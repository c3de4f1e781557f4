//! What the model answers: types that mirror the schemas of `prompt/`.
//!
//! They are closed and every field is required, so an answer that has another shape never gets further
//! than [`ModelAnalysis::parse`]. Nothing here is trusted yet: that is the work of [`super::review`].

use super::shape::conform;
use crate::analysis::{
    Certainty, ContentFlag, Element, FindingKind, Medium, ObservedStroke, Priority, Quality, Segment, Side,
    SwimmerCount, View, Visibility, Visible,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The schema that an analysis by the model has.
const ANALYSIS_SCHEMA: &str = include_str!("../../prompt/analysis.schema.json");

/// The schema that a reply to a message has.
const REPLY_SCHEMA: &str = include_str!("../../prompt/reply.schema.json");

/// The schema that the model's answer to the swimmer's notes has.
const NOTES_SCHEMA: &str = include_str!("../../prompt/notes.schema.json");

/// The model's answer about the frames, as it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelAnalysis {
    /// What was filmed.
    pub capture: ModelCapture,
    /// Which stroke is swum.
    pub stroke: ModelStroke,
    /// Whether the frames are fit for coaching.
    pub content_flag: ContentFlag,
    /// Each element that the model speaks of.
    pub elements: Vec<ModelElement>,
    /// What it found.
    pub findings: Vec<ModelFinding>,
    /// Events by frame, from which the service computes rates.
    pub cycles: Vec<ModelEvent>,
    /// A few sentences for the swimmer.
    pub summary: String,
    /// Index of the one thing to work on in `findings`; -1 when nothing can be said.
    pub primary_focus: i64,
    /// What the frames cannot tell.
    pub cannot_tell: Vec<String>,
    /// How to film next time.
    pub filming_advice: Vec<String>,
}

impl ModelAnalysis {
    /// Reads an answer. The letter case of enum values does not matter, as constrained decoding does
    /// not promise it; everything else does.
    ///
    /// The error names the place in the answer and is for the log.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse(text, ANALYSIS_SCHEMA)
    }

    /// The same for an answer that is JSON already.
    pub fn read(value: Value) -> Result<Self, String> {
        read(value, ANALYSIS_SCHEMA)
    }

    /// The same for an answer that is not written to its end: what comes after the findings may be missing, and
    /// then claims nothing. What comes before them may not, since it decides whether they may stand.
    pub fn read_beginning(mut value: Value) -> Result<Self, String> {
        if let Value::Object(fields) = &mut value {
            for (name, nothing) in [
                ("cycles", json!([])),
                ("summary", json!("")),
                ("primary_focus", json!(-1)),
                ("cannot_tell", json!([])),
                ("filming_advice", json!([])),
            ] {
                fields.entry(name).or_insert(nothing);
            }
        }
        Self::read(value)
    }
}

/// The model's reply to a message of the conversation, as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelReply {
    /// The reply.
    pub text: String,
    /// The frames that it speaks of.
    pub frames: Vec<i64>,
}

impl ModelReply {
    /// Reads a reply that is JSON already, like [`ModelAnalysis::parse`].
    pub fn read(value: Value) -> Result<Self, String> {
        read(value, REPLY_SCHEMA)
    }
}

/// The model's answer to the swimmer's notes, as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelNotesAnswer {
    /// The answer.
    pub text: String,
    /// Numbers of the frames that it speaks of.
    pub frames: Vec<i64>,
}

impl ModelNotesAnswer {
    /// Reads an answer, like [`ModelAnalysis::parse`].
    pub fn parse(text: &str) -> Result<Self, String> {
        parse(text, NOTES_SCHEMA)
    }
}

/// What was filmed, by the model's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCapture {
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
}

/// Which stroke is swum, by the model's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelStroke {
    /// The stroke that it sees.
    pub observed: ObservedStroke,
    /// How sure it is.
    pub certainty: Certainty,
    /// Whether that is what the uploader said.
    pub agrees_with_declared: Agreement,
}

/// Whether what the model sees is what the uploader said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Nothing was said.
    NotDeclared,
}

/// What the model says of an element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelElement {
    /// Which.
    pub element: Element,
    /// How well it can be seen.
    pub visibility: Visibility,
    /// How well it is done.
    pub rating: ModelRating,
    /// How sure it is.
    pub certainty: Certainty,
    /// Numbers of the frames that show it.
    pub frames: Vec<i64>,
    /// What was seen.
    pub note: String,
}

/// How well an element is done. Words and not numbers, since the schema language has no ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelRating {
    /// It could not be judged.
    #[serde(rename = "not_assessed")]
    NotAssessed,
    /// Needs work.
    #[serde(rename = "1")]
    One,
    /// Between 1 and 3.
    #[serde(rename = "2")]
    Two,
    /// Sound, with something to gain.
    #[serde(rename = "3")]
    Three,
    /// Between 3 and 5.
    #[serde(rename = "4")]
    Four,
    /// Strong.
    #[serde(rename = "5")]
    Five,
}

impl ModelRating {
    /// The rating as a number from 1 to 5, if there is one.
    pub fn value(self) -> Option<u8> {
        match self {
            Self::NotAssessed => None,
            Self::One => Some(1),
            Self::Two => Some(2),
            Self::Three => Some(3),
            Self::Four => Some(4),
            Self::Five => Some(5),
        }
    }
}

/// One thing that the model found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFinding {
    /// What sort of statement it is.
    pub kind: FindingKind,
    /// A code of the catalogue, or `OTHER`.
    pub code: String,
    /// Which element it is about.
    pub element: Element,
    /// Which side of the body.
    pub side: Side,
    /// How soon to work on it.
    pub priority: Priority,
    /// How sure it is.
    pub certainty: Certainty,
    /// The frames that show it.
    pub evidence: Vec<ModelEvidence>,
    /// What is seen.
    pub observation: String,
    /// What it costs or gains.
    pub why_it_matters: String,
    /// A few words to swim by.
    pub cue: String,
    /// Ids of drills of the catalogue.
    pub drills: Vec<String>,
}

/// A frame that the model cites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEvidence {
    /// Its number, by the model's word.
    pub frame: i64,
    /// What is seen in it.
    pub seen: String,
}

/// An event that the model places in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEvent {
    /// What happens.
    pub event: CycleEvent,
    /// On which side.
    pub side: EventSide,
    /// The number of the frame, by the model's word.
    pub frame: i64,
}

/// What can happen at a moment of a stroke, a start or a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CycleEvent {
    /// The hand goes into the water.
    HandEntry,
    /// The hand begins to move backward.
    CatchStart,
    /// The hand passes under the shoulder.
    HandUnderShoulder,
    /// The hand leaves the water.
    HandExit,
    /// The mouth comes out.
    BreathStart,
    /// The face goes back in.
    BreathEnd,
    /// The foot presses down.
    KickDownbeat,
    /// The heels are closest to the hips.
    HeelsHighest,
    /// The feet come together.
    FeetTogether,
    /// The body is stretched and waits.
    GlideStart,
    /// The feet leave the wall.
    FeetLeaveWall,
    /// The hands touch the wall.
    HandsTouchWall,
    /// The feet leave the block.
    FeetLeaveBlock,
    /// The head comes up through the surface.
    HeadBreaksSurface,
}

/// The side on which an event happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventSide {
    /// The swimmer's left.
    Left,
    /// The swimmer's right.
    Right,
    /// Both at once.
    Both,
    /// It cannot be told.
    Unclear,
}

/// Reads `text` as an instance of `schema`.
fn parse<T: DeserializeOwned>(text: &str, schema: &str) -> Result<T, String> {
    read(serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?, schema)
}

/// Reads `value` as an instance of `schema`.
fn read<T: DeserializeOwned>(mut value: Value, schema: &str) -> Result<T, String> {
    let schema = serde_json::from_str(schema).map_err(|e| format!("the schema itself: {e}"))?;
    conform(&mut value, &schema, "")?;
    serde_json::from_value(value).map_err(|e| e.to_string())
}
