//! The findings in the shape of the first version's `feedback[]`, which its front end reads.

use crate::analysis::{Element, FindingKind, Priority, PublishedAnalysis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing to work on, as the first version's front end reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Feedback {
    /// How soon to work on it.
    pub priority: Priority,
    /// Which part of technique.
    pub category: Category,
    /// What is seen.
    pub observation: String,
    /// What to do about it, and why.
    pub recommendation: String,
    /// Names of drills with their dose.
    pub drill_suggestions: Vec<String>,
}

/// The first version's parts of technique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Body line, head and rotation.
    BodyPosition,
    /// From the entry of the hand to its exit.
    CatchAndPull,
    /// The arm over the water.
    Recovery,
    /// The legs.
    Kick,
    /// How the parts fit together.
    Timing,
    /// Taking air.
    Breathing,
    /// At the wall, and under water after it.
    Turns,
    /// From the block.
    Starts,
}

/// What to work on, in the order of the findings. Strengths are nothing to work on.
pub fn feedback(analysis: &PublishedAnalysis) -> Vec<Feedback> {
    let to_work_on = analysis.findings.iter().filter(|it| it.kind != FindingKind::Strength);
    let feedback = to_work_on.map(|it| Feedback {
        priority: it.priority,
        category: category(it.element),
        observation: it.observation.clone(),
        recommendation: format!("{} {}", it.cue, it.why_it_matters).trim().to_owned(),
        drill_suggestions: it.drills.iter().map(|it| format!("{} ({})", it.name, it.dose)).collect(),
    });
    feedback.collect()
}

fn category(element: Element) -> Category {
    match element {
        Element::BodyPosition | Element::HeadPosition | Element::Rotation => Category::BodyPosition,
        Element::Entry | Element::Catch | Element::Pull | Element::PushFinish => Category::CatchAndPull,
        Element::ExitRecovery => Category::Recovery,
        Element::Kick => Category::Kick,
        Element::Timing => Category::Timing,
        Element::Breathing => Category::Breathing,
        Element::Turn | Element::UnderwaterStreamline | Element::Breakout => Category::Turns,
        Element::Start => Category::Starts,
    }
}
