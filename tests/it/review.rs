//! What is published of a model's answer, rule by rule.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod agreement;
mod arbitrary;
mod figures;
mod replies;
mod rules;
mod schema;
mod texts;

use std::sync::LazyLock;
use swimcoach::analysis::{
    Certainty, Element, FindingKind, Medium, ObservedStroke, Priority, Provenance, PublishedAnalysis, Side,
    View, Visibility, Warning,
};
use swimcoach::catalog::Catalog;
use swimcoach::review::{
    CycleEvent, EventSide, ModelAnalysis, ModelElement, ModelEvent, ModelEvidence, ModelFinding, ModelRating,
    ReviewContext, SentFrame, review,
};
use swimcoach::session::{FrameNumber, Stroke};

const EXAMPLE: &str = include_str!("fixtures/analysis.example.json");

/// An answer about freestyle from the side under water, with nothing in it yet.
fn silent() -> ModelAnalysis {
    let mut answer = ModelAnalysis::parse(EXAMPLE).unwrap();
    answer.elements.clear();
    answer.findings.clear();
    answer.cycles.clear();
    answer.cannot_tell.clear();
    answer.filming_advice.clear();
    answer.primary_focus = -1;
    answer
}

/// A fault that stands: the catalogue has it, the view shows it, and frame 8 was sent.
fn dropped_elbow() -> ModelFinding {
    ModelAnalysis::parse(EXAMPLE).unwrap().findings.remove(0)
}

/// Another fault with the code of the catalogue, about this element.
fn fault(code: &str, element: Element) -> ModelFinding {
    ModelFinding {
        code: code.to_owned(),
        element,
        observation: format!("This is {code}."),
        drills: Vec::new(),
        ..dropped_elbow()
    }
}

fn strength() -> ModelFinding {
    ModelFinding {
        kind: FindingKind::Strength,
        observation: "The body line is level.".to_owned(),
        ..fault("OTHER", Element::BodyPosition)
    }
}

fn with(findings: impl IntoIterator<Item = ModelFinding>) -> ModelAnalysis {
    ModelAnalysis { findings: findings.into_iter().collect(), ..silent() }
}

fn cites(frames: impl IntoIterator<Item = i64>) -> Vec<ModelEvidence> {
    frames.into_iter().map(|frame| ModelEvidence { frame, seen: format!("seen in {frame}") }).collect()
}

fn rated(element: Element, visibility: Visibility, frames: &[i64]) -> ModelElement {
    ModelElement {
        element,
        visibility,
        rating: ModelRating::Three,
        certainty: Certainty::High,
        frames: frames.to_vec(),
        note: "what was seen".to_owned(),
    }
}

fn number(number: u32) -> FrameNumber {
    FrameNumber::new(number).unwrap()
}

/// Frames 1, 2, 3 … at these times.
fn frames_at(times: impl IntoIterator<Item = Option<u64>>) -> Vec<SentFrame> {
    let frame = |(index, timestamp_ms)| SentFrame { number: number(index + 1), timestamp_ms };
    (0_u32..).zip(times).map(frame).collect()
}

/// Fifteen frames, ten a second.
fn fifteen_frames() -> Vec<SentFrame> {
    frames_at((0..15).map(|it| Some(it * 100)))
}

fn published(answer: &ModelAnalysis) -> PublishedAnalysis {
    published_of(answer, &fifteen_frames())
}

fn published_of(answer: &ModelAnalysis, frames: &[SentFrame]) -> PublishedAnalysis {
    published_with(answer, frames, Stroke::Freestyle, &[], &[])
}

fn published_with(
    answer: &ModelAnalysis,
    frames: &[SentFrame],
    declared: Stroke,
    capture_warnings: &[Warning],
    capture_advice: &[String],
) -> PublishedAnalysis {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::embedded().unwrap());
    let provenance = Provenance {
        model: "claude-sonnet-5-5".to_owned(),
        prompt_version: "1".to_owned(),
        catalog_version: CATALOG.version().to_owned(),
        frames_sha256: "00".repeat(32),
        samples: None,
    };
    review(
        answer,
        &ReviewContext { declared, frames, capture_warnings, capture_advice, catalog: &CATALOG, provenance },
    )
}

fn warned_of(published: &PublishedAnalysis, code: &str) -> bool {
    published.warnings.iter().any(|it| it.code == code)
}
