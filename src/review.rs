//! What the model said → what the service publishes.
//!
//! No evidence, no claim: what cites no frame that was sent, what the camera's view cannot show, and what
//! the catalogue does not know is dropped or corrected here, and counted in the open. Figures are computed
//! from the frames' own times ([`cycles`]). Nothing here asks anybody anything: the same answer gives the
//! same result.

mod cycles;
mod feedback;
mod model;
mod shape;
mod text;

pub use feedback::{Category, Feedback, feedback};
pub use model::{
    Agreement, CycleEvent, EventSide, ModelAnalysis, ModelCapture, ModelElement, ModelEvent, ModelEvidence,
    ModelFinding, ModelNotesAnswer, ModelRating, ModelStroke,
};

use crate::analysis::{
    Capture, ContentFlag, DrillAdvice, Dropped, Element, ElementRating, Evidence, Finding, FindingKind,
    NotesAnswer, ObservedStroke, Priority, Provenance, PublishedAnalysis, StrokeSeen, Visibility, Visible,
    Warning,
};
use crate::catalog::{Catalog, Drill, Fault, OTHER};
use crate::session::{FrameNumber, Stroke};
use cycles::Cycles;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use text::clean;

/// The version of the published shape.
const SCHEMA: &str = "swimcoach.analysis/1";
/// Fewer frames than this in a cycle do not show timing.
const MIN_FRAMES_PER_CYCLE: f64 = 6.0;
/// Drills for one finding.
const MAX_DRILLS: usize = 3;
/// Secondary findings beside the primary one.
const MAX_SECONDARY: usize = 2;
/// Added to a finding that a referee may see differently.
const RULE_RISK: &str = "A referee may see this differently; it is a risk, not a verdict.";
/// Added to a finding about the load on a joint.
const LOAD_RISK: &str = "This is no diagnosis; pain belongs to a professional.";

/// What a review goes by.
#[derive(Debug, Clone)]
pub struct ReviewContext<'a> {
    /// The declared stroke.
    pub declared: Stroke,
    /// The frames that the model was sent.
    pub frames: &'a [SentFrame],
    /// What the capture check warned of.
    pub capture_warnings: &'a [Warning],
    /// What it advises.
    pub capture_advice: &'a [String],
    /// What may be said.
    pub catalog: &'a Catalog,
    /// What made the answer.
    pub provenance: Provenance,
}

/// A frame that the model was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentFrame {
    /// Its number.
    pub number: FrameNumber,
    /// Its time in the clip in milliseconds, when known.
    pub timestamp_ms: Option<u64>,
}

/// Publishes what survives the rules.
pub fn review(model: &ModelAnalysis, context: &ReviewContext<'_>) -> PublishedAnalysis {
    let sent: BTreeMap<i64, SentFrame> =
        context.frames.iter().map(|it| (i64::from(it.number.get()), *it)).collect();
    let mut review = Review {
        context,
        cycles: Cycles::measure(&model.cycles, &sent),
        sent,
        capture: &model.capture,
        stroke: model.stroke.observed,
        not_visible: BTreeSet::new(),
        dropped: Dropped::default(),
        warnings: context.capture_warnings.to_vec(),
    };
    review.not_visible = elements_that(&model.elements, |it| it.visibility == Visibility::NotVisible);
    review.dropped.unused_event = review.cycles.unused_events;
    review.warn_about_stroke();
    review.warn_about_times();

    let unfit = unfit_for_coaching(model);
    let (elements, findings) = match unfit {
        Some(_) => {
            review.dropped.outside_view += count(&model.elements) + count(&model.findings);
            (Vec::new(), Vec::new())
        }
        None => (review.elements(&model.elements), review.findings(&model.findings, model.primary_focus)),
    };
    let summary = match unfit {
        Some(why) => format!("{why} {}", clean(&model.summary)).trim_end().to_owned(),
        None => clean(&model.summary),
    };
    let mut filming_advice = context.capture_advice.to_vec();
    filming_advice.extend(cleaned(&model.filming_advice));
    filming_advice.dedup();

    PublishedAnalysis {
        schema: SCHEMA.to_owned(),
        capture: Capture {
            view: model.capture.view,
            medium: model.capture.medium,
            segment: model.capture.segment,
            swimmer_visible: model.capture.swimmer_visible,
            swimmer_count: model.capture.swimmer_count,
            quality: model.capture.quality,
            frames_sent: count(context.frames),
            frames_per_cycle: review.cycles.frames_per_cycle,
        },
        stroke: StrokeSeen {
            declared: context.declared,
            observed: model.stroke.observed,
            certainty: model.stroke.certainty,
        },
        summary,
        elements,
        findings,
        metrics: std::mem::take(&mut review.cycles.metrics),
        cannot_tell: cleaned(&model.cannot_tell).collect(),
        filming_advice,
        warnings: review.warnings,
        notes_answer: None,
        dropped: review.dropped,
        content_flag: model.content_flag,
        provenance: context.provenance.clone(),
    }
}

/// Publishes the answer to the swimmer's notes: the text, and of the frames those that were sent.
pub fn review_notes(answer: &ModelNotesAnswer, frames: &[SentFrame]) -> NotesAnswer {
    let sent: BTreeSet<i64> = frames.iter().map(|it| i64::from(it.number.get())).collect();
    let cited: BTreeSet<FrameNumber> =
        answer.frames.iter().filter(|it| sent.contains(it)).filter_map(|it| number(*it)).collect();
    NotesAnswer { text: clean(&answer.text), frames: cited.into_iter().collect() }
}

struct Review<'a> {
    context: &'a ReviewContext<'a>,
    sent: BTreeMap<i64, SentFrame>,
    capture: &'a ModelCapture,
    stroke: ObservedStroke,
    cycles: Cycles,
    /// What the model itself says it cannot see.
    not_visible: BTreeSet<Element>,
    dropped: Dropped,
    warnings: Vec<Warning>,
}

impl<'a> Review<'a> {
    fn elements(&mut self, elements: &[ModelElement]) -> Vec<ElementRating> {
        let mut published: Vec<ElementRating> = Vec::new();
        for element in elements {
            let visibility = self.visibility_of(element.element).max(element.visibility);
            if visibility == Visibility::NotVisible
                || published.iter().any(|it| it.element == element.element)
            {
                self.dropped.outside_view += u32::from(element.visibility != Visibility::NotVisible);
                continue;
            }
            let frames = self.frames(element.frames.iter().copied());
            if frames.is_empty() {
                self.dropped.no_evidence += 1;
                continue;
            }
            published.push(ElementRating {
                element: element.element,
                visibility,
                rating: element.rating.value(),
                certainty: element.certainty,
                frames: frames.into_iter().collect(),
                note: clean(&element.note),
            });
        }
        published
    }

    fn findings(&mut self, findings: &[ModelFinding], focus: i64) -> Vec<Finding> {
        let mut kept = Vec::new();
        for (index, finding) in findings.iter().enumerate() {
            if let Some(published) = self.finding(finding) {
                kept.push((i64::try_from(index) == Ok(focus), published));
            }
        }
        self.rank(kept)
    }

    fn finding(&mut self, finding: &ModelFinding) -> Option<Finding> {
        let fault = self.fault(&finding.code);
        let element = fault.map_or(finding.element, |it| it.element);
        let by_view = match fault {
            Some(fault) => {
                self.context.catalog.fault_visibility(fault, self.capture.view, self.capture.medium)
            }
            None => Visibility::Clear,
        };
        let is_hidden = [element, finding.element].iter().any(|it| self.not_visible.contains(it));
        if is_hidden || by_view.max(self.visibility_of(element)) == Visibility::NotVisible {
            self.dropped.outside_view += 1;
            return None;
        }
        let evidence = self.evidence(&finding.evidence);
        if evidence.is_empty() {
            self.dropped.no_evidence += 1;
            return None;
        }
        let kind = match (finding.kind, fault) {
            // The catalogue knows better than the model what is a matter of rules or of load.
            (FindingKind::Strength, _) | (_, None) => finding.kind,
            (_, Some(fault)) => fault.kind,
        };
        Some(Finding {
            id: String::new(), // given in the order of publication
            kind,
            code: fault.map_or_else(|| OTHER.to_owned(), |it| it.code.clone()),
            title: fault.map(|it| it.title.clone()),
            element,
            side: finding.side,
            priority: finding.priority,
            certainty: finding.certainty,
            evidence,
            observation: clean(&finding.observation),
            why_it_matters: worded(kind, clean(&finding.why_it_matters)),
            cue: clean(&finding.cue),
            drills: if kind == FindingKind::Strength { Vec::new() } else { self.drills(finding, fault) },
        })
    }

    /// The catalogue's fault for a code, when it has it for the observed stroke.
    fn fault(&mut self, code: &str) -> Option<&'a Fault> {
        let fault = self.context.catalog.fault(code).filter(|it| it.belongs_to(self.stroke));
        self.dropped.unknown_code += u32::from(fault.is_none() && code != OTHER);
        fault
    }

    /// The cited frames that were sent, once each, in order.
    fn evidence(&mut self, cited: &[ModelEvidence]) -> Vec<Evidence> {
        let mut evidence: BTreeMap<FrameNumber, Evidence> = BTreeMap::new();
        for citation in cited {
            match self.sent.get(&citation.frame) {
                None => self.dropped.unknown_frame += 1,
                Some(frame) => {
                    evidence.entry(frame.number).or_insert_with(|| Evidence {
                        frame: frame.number,
                        timestamp_ms: frame.timestamp_ms,
                        seen: clean(&citation.seen),
                    });
                }
            }
        }
        evidence.into_values().collect()
    }

    fn frames(&mut self, cited: impl Iterator<Item = i64>) -> BTreeSet<FrameNumber> {
        let mut frames = BTreeSet::new();
        for number in cited {
            match self.sent.get(&number) {
                None => self.dropped.unknown_frame += 1,
                Some(frame) => {
                    frames.insert(frame.number);
                }
            }
        }
        frames
    }

    /// The drills that fit, else the catalogue's own. For what the catalogue does not know, those that are
    /// for the stroke.
    fn drills(&mut self, finding: &ModelFinding, fault: Option<&Fault>) -> Vec<DrillAdvice> {
        let catalog = self.context.catalog;
        let fits = |drill: &Drill| match fault {
            Some(fault) => drill.targets.contains(&fault.code),
            None => self.stroke == ObservedStroke::Unknown || drill.strokes.contains(&self.stroke),
        };
        let named = finding.drills.len();
        let mut drills: Vec<&Drill> =
            finding.drills.iter().filter_map(|it| catalog.drill(it)).filter(|it| fits(it)).collect();
        self.dropped.unfit_drill += u32::try_from(named - drills.len()).unwrap_or(u32::MAX);
        if let (true, Some(fault)) = (drills.is_empty(), fault) {
            drills = fault.drills.iter().filter_map(|it| catalog.drill(it)).collect();
        }
        let advice = drills.into_iter().take(MAX_DRILLS).map(|it| DrillAdvice {
            id: it.id.clone(),
            name: it.name.clone(),
            dose: it.dose.clone(),
        });
        advice.collect()
    }

    /// One primary finding, at most two secondary ones, strengths last.
    fn rank(&mut self, mut findings: Vec<(bool, Finding)>) -> Vec<Finding> {
        // The sort is stable: among equals the model's order counts. A strength is nothing to work on.
        findings.sort_by_key(|(is_focus, it)| {
            (it.kind == FindingKind::Strength, !is_focus, it.priority, Reverse(it.certainty))
        });
        let mut rank = 0;
        for (_, finding) in &mut findings {
            let priority = match (finding.kind, rank) {
                (FindingKind::Strength, _) => Priority::Refinement,
                (_, 0) => Priority::Primary,
                (_, 1..=MAX_SECONDARY) => finding.priority.max(Priority::Secondary),
                _ => Priority::Refinement,
            };
            rank += usize::from(finding.kind != FindingKind::Strength);
            self.dropped.priority_lowered += u32::from(finding.priority < priority);
            finding.priority = priority;
        }
        let numbered = findings.into_iter().enumerate();
        numbered.map(|(index, (_, finding))| Finding { id: format!("f{}", index + 1), ..finding }).collect()
    }

    /// How well the view can show an element at most.
    fn visibility_of(&self, element: Element) -> Visibility {
        if element == Element::Timing
            && self.cycles.frames_per_cycle.is_some_and(|it| it < MIN_FRAMES_PER_CYCLE)
        {
            return Visibility::NotVisible;
        }
        self.context.catalog.element_visibility(element, self.capture.view, self.capture.medium)
    }

    fn warn_about_stroke(&mut self) {
        let declared = match self.context.declared {
            Stroke::Freestyle => ObservedStroke::Freestyle,
            Stroke::Backstroke => ObservedStroke::Backstroke,
            Stroke::Breaststroke => ObservedStroke::Breaststroke,
            Stroke::Butterfly => ObservedStroke::Butterfly,
            Stroke::Mixed => return,
        };
        if self.stroke != ObservedStroke::Unknown && self.stroke != declared {
            self.warn(
                "stroke_differs",
                "The stroke in the frames is not the one that was declared; what is seen counts.",
            );
        }
    }

    fn warn_about_times(&mut self) {
        if self.sent.values().any(|it| it.timestamp_ms.is_none()) {
            self.warn(
                "timestamps_missing",
                "Frames came without their time in the clip, so stroke rate and cycle time cannot be computed.",
            );
        }
        if self.cycles.frames_per_cycle.is_some_and(|it| it < MIN_FRAMES_PER_CYCLE) {
            self.warn(
                "too_few_frames_per_cycle",
                "A stroke cycle has fewer than six frames, so nothing is said about timing.",
            );
        }
    }

    fn warn(&mut self, code: &str, detail: &str) {
        if self.warnings.iter().all(|it| it.code != code) {
            self.warnings.push(Warning {
                code: code.to_owned(),
                detail: detail.to_owned(),
                frames: Vec::new(),
            });
        }
    }
}

/// Why nothing of an answer about technique may stand, where that is so.
fn unfit_for_coaching(model: &ModelAnalysis) -> Option<&'static str> {
    match model.content_flag {
        ContentFlag::NotSwimming => {
            Some("These frames show no swimming, so nothing is said about technique.")
        }
        ContentFlag::NoPerson => {
            Some("Nobody can be seen in these frames, so nothing is said about technique.")
        }
        ContentFlag::UnsuitableForCoaching => {
            Some("These frames are not fit for coaching, so nothing is said about them.")
        }
        ContentFlag::NeedsHumanReview => {
            Some("A person should look at these frames first, so nothing is said about technique.")
        }
        ContentFlag::None if model.capture.swimmer_visible == Visible::No => {
            Some("The swimmer cannot be seen in these frames, so nothing is said about technique.")
        }
        ContentFlag::None => None,
    }
}

fn worded(kind: FindingKind, why: String) -> String {
    match kind {
        FindingKind::RuleRisk => format!("{why} {RULE_RISK}"),
        FindingKind::LoadRisk => format!("{why} {LOAD_RISK}"),
        FindingKind::Fault | FindingKind::Strength => why,
    }
}

fn elements_that(elements: &[ModelElement], is: impl Fn(&ModelElement) -> bool) -> BTreeSet<Element> {
    elements.iter().filter(|it| is(it)).map(|it| it.element).collect()
}

fn cleaned(texts: &[String]) -> impl Iterator<Item = String> {
    texts.iter().map(|it| clean(it)).filter(|it| !it.is_empty())
}

fn number(number: i64) -> Option<FrameNumber> {
    FrameNumber::new(u32::try_from(number).ok()?)
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}
