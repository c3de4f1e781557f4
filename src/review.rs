//! What the model said → what the service publishes.
//!
//! No evidence, no claim: what cites no frame that was sent, what the camera's view cannot show, and what
//! the catalogue does not know is dropped or corrected here, and counted in the open. Figures are computed
//! from the frames' own times (`cycles`). Nothing here asks anybody anything: the same answer gives the
//! same result.
//!
//! What was dropped must not come back as free text. The model writes its summary beside its findings and
//! may repeat any of them there, so the summary stands only where every claim does; otherwise it is made
//! from what stands (`summary`) and a warning says so. Where frames are not fit for coaching nothing of
//! the model's text is published but how to film. The notes are answered from the published analysis alone.

mod agreement;
mod cycles;
mod feedback;
mod model;
mod reply;
mod shape;
mod summary;
mod text;
mod warnings;

pub use agreement::agree;
pub use feedback::{Category, Feedback, feedback};
pub use model::{
    Agreement, CycleEvent, EventSide, ModelAnalysis, ModelCapture, ModelElement, ModelEvent, ModelEvidence,
    ModelFinding, ModelNotesAnswer, ModelRating, ModelReply, ModelStroke,
};
pub use reply::{PublishedReply, reply_so_far, review_reply};

use crate::analysis::{
    Capture, ContentFlag, DrillAdvice, Dropped, Element, ElementRating, Evidence, Finding, FindingKind,
    NotesAnswer, ObservedStroke, Priority, Provenance, PublishedAnalysis, StrokeSeen, SwimmerCount,
    Visibility, Visible, Warning,
};
use crate::catalog::{Catalog, Drill, Fault, OTHER};
use crate::session::{FrameNumber, Stroke};
use cycles::Cycles;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use text::{clean, clean_long};

/// The version of the published shape.
const SCHEMA: &str = "swimcoach.analysis/1";
/// Fewer frames than this in a cycle do not show timing.
const MIN_FRAMES_PER_CYCLE: f64 = 6.0;
/// Drills for one finding.
const MAX_DRILLS: usize = 3;
/// Entries of a list of free texts.
const MAX_TEXTS: usize = 8;
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
    let unfit = unfit_for_coaching(model);
    let mut review = Review {
        context,
        cycles: match unfit {
            Some(_) => Cycles::unused(&model.cycles),
            None => Cycles::measure(&model.cycles, model.stroke.observed, &sent),
        },
        sent,
        capture: &model.capture,
        stroke: model.stroke.observed,
        not_visible: elements_that(&model.elements, |it| it.visibility == Visibility::NotVisible),
        dropped: Dropped::default(),
        warnings: context.capture_warnings.to_vec(),
    };
    review.dropped.unused_event = review.cycles.unused_events;
    review.warn_about_swimmers();
    review.warn_about_stroke();
    review.warn_about_times();

    let (elements, findings) = match unfit {
        Some(_) => {
            let claims = model.elements.iter().filter(|it| it.visibility != Visibility::NotVisible).count();
            review.dropped.outside_view += number_of(claims + model.findings.len());
            (Vec::new(), Vec::new())
        }
        None => (review.elements(&model.elements), review.findings(&model.findings, model.primary_focus)),
    };
    let summary = match unfit {
        Some(why) => why.to_owned(),
        None => review.summary(&model.summary, &findings),
    };
    let cannot_tell = match unfit {
        Some(_) => Vec::new(),
        None => cleaned(&model.cannot_tell).collect(),
    };
    let mut filming_advice = context.capture_advice.to_vec();
    filming_advice.extend(cleaned(&model.filming_advice).filter(|it| !context.capture_advice.contains(it)));

    PublishedAnalysis {
        schema: SCHEMA.to_owned(),
        capture: review.capture(),
        stroke: StrokeSeen {
            declared: context.declared,
            observed: model.stroke.observed,
            certainty: model.stroke.certainty,
        },
        summary,
        elements,
        findings,
        metrics: review.cycles.metrics,
        cannot_tell,
        filming_advice,
        warnings: review.warnings,
        notes_answer: None,
        dropped: review.dropped,
        content_flag: model.content_flag,
        provenance: context.provenance.clone(),
    }
}

/// Publishes the answer to the swimmer's notes: the text, and of the frames those that the analysis cites,
/// since nothing else was shown to whoever answers.
pub fn review_notes(answer: &ModelNotesAnswer, analysis: &PublishedAnalysis) -> NotesAnswer {
    let of_elements = analysis.elements.iter().flat_map(|it| it.frames.iter().copied());
    let of_findings = analysis.findings.iter().flat_map(|it| it.evidence.iter().map(|it| it.frame));
    let of_metrics = analysis.metrics.iter().flat_map(|it| it.frames.iter().copied());
    let cited: BTreeSet<FrameNumber> = of_elements
        .chain(of_findings)
        .chain(of_metrics)
        .filter(|it| answer.frames.contains(&i64::from(it.get())))
        .collect();
    NotesAnswer { text: clean_long(&answer.text), frames: cited.into_iter().collect() }
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
            if element.visibility == Visibility::NotVisible {
                continue; // no claim
            }
            let visibility = self.visibility_at_most(element.element, None).max(element.visibility);
            if visibility == Visibility::NotVisible || self.not_visible.contains(&element.element) {
                self.dropped.outside_view += 1;
                continue;
            }
            if published.iter().any(|it| it.element == element.element) {
                self.dropped.repeated += 1;
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
        let known = self.fault(&finding.code);
        let element = known.map_or(finding.element, |it| it.element);
        let is_hidden = [element, finding.element].iter().any(|it| self.not_visible.contains(it));
        if is_hidden || self.visibility_at_most(element, known) == Visibility::NotVisible {
            self.dropped.outside_view += 1;
            return None;
        }
        // What works is no fault, whatever code the model gives it.
        let fault = known.filter(|_| finding.kind != FindingKind::Strength);
        let observation = said(&finding.observation, fault.map(|it| &it.seen_as));
        let evidence = self.evidence(&finding.evidence);
        if evidence.is_empty() || observation.is_empty() {
            self.dropped.no_evidence += 1;
            return None;
        }
        // The catalogue knows better than the model what is a matter of rules or of load.
        let kind = fault.map_or(finding.kind, |it| it.kind);
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
            observation,
            why_it_matters: worded(kind, &said(&finding.why_it_matters, fault.map(|it| &it.cost))),
            cue: said(&finding.cue, fault.map(|it| &it.cue)),
            drills: if kind == FindingKind::Strength { Vec::new() } else { self.drills(finding, fault) },
            agreement: None,
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
        let fits = |drill: &Drill| match (fault, self.stroke) {
            (Some(fault), _) => drill.targets.contains(&fault.code),
            (None, ObservedStroke::Medley | ObservedStroke::Unknown) => true,
            (None, stroke) => drill.strokes.contains(&stroke),
        };
        let mut drills: Vec<&Drill> = Vec::new();
        for id in &finding.drills {
            match catalog.drill(id).filter(|it| fits(it)) {
                None => self.dropped.unfit_drill += 1,
                Some(drill) if drills.iter().any(|it| it.id == drill.id) => {}
                Some(drill) => drills.push(drill),
            }
        }
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

    /// How well the view can show an element, or a fault of it, at most.
    fn visibility_at_most(&self, element: Element, fault: Option<&Fault>) -> Visibility {
        let (view, medium) = (self.capture.view, self.capture.medium);
        let by_view = match fault {
            Some(fault) => self.context.catalog.fault_visibility(fault, view, medium),
            None => self.context.catalog.element_visibility(element, view, medium),
        };
        match self.cycles.frames_per_cycle {
            _ if element != Element::Timing => by_view,
            Some(frames) if frames < MIN_FRAMES_PER_CYCLE => Visibility::NotVisible,
            Some(_) => by_view,
            // Nobody knows whether the frames are dense enough.
            None => by_view.max(Visibility::Partial),
        }
    }

    /// The model's summary where all that it may speak of stands; else one made from what stands.
    fn summary(&mut self, said: &str, findings: &[Finding]) -> String {
        let left_out = self.dropped.no_evidence + self.dropped.outside_view;
        if 0 < left_out {
            self.warn(
                "claims_left_out",
                &format!(
                    "Statements about technique that were left out, because no frame was cited for them or \
                     these frames cannot show them: {left_out}. The summary is made from what stands."
                ),
            );
        }
        let said = clean(said);
        if 0 < left_out || said.is_empty() { summary::of_what_stands(findings) } else { said }
    }

    fn capture(&self) -> Capture {
        Capture {
            view: self.capture.view,
            medium: self.capture.medium,
            segment: self.capture.segment,
            swimmer_visible: self.capture.swimmer_visible,
            swimmer_count: self.capture.swimmer_count,
            quality: self.capture.quality,
            frames_sent: number_of(self.context.frames.len()),
            frames_per_cycle: self.cycles.frames_per_cycle,
        }
    }
}

/// Whether what an answer says about technique may stand. Where it may not, the notes are not answered either:
/// nothing is published that an answer could go by.
pub fn is_fit_for_coaching(model: &ModelAnalysis) -> bool {
    unfit_for_coaching(model).is_none()
}

/// The same of what was published: whether it says something about technique, so that there is something to talk
/// about.
pub fn is_about_technique(analysis: &PublishedAnalysis) -> bool {
    let capture = &analysis.capture;
    analysis.content_flag == ContentFlag::None
        && !is_nobody_seen(capture.swimmer_visible, capture.swimmer_count)
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
        ContentFlag::None if is_nobody_seen(model.capture.swimmer_visible, model.capture.swimmer_count) => {
            Some("The swimmer cannot be seen in these frames, so nothing is said about technique.")
        }
        ContentFlag::None => None,
    }
}

/// Where the model sees the whole swimmer and counts none, it contradicts itself; that is told of, and each
/// claim stands or falls by the frames it cites.
fn is_nobody_seen(visible: Visible, count: SwimmerCount) -> bool {
    match visible {
        Visible::No => true,
        Visible::Partly => count == SwimmerCount::None,
        Visible::Yes => false,
    }
}

/// The model's words, else the catalogue's.
fn said(text: &str, catalog: Option<&String>) -> String {
    let text = clean(text);
    if text.is_empty() { catalog.cloned().unwrap_or_default() } else { text }
}

fn worded(kind: FindingKind, why: &str) -> String {
    let limit = match kind {
        FindingKind::RuleRisk => RULE_RISK,
        FindingKind::LoadRisk => LOAD_RISK,
        FindingKind::Fault | FindingKind::Strength => "",
    };
    format!("{why} {limit}").trim().to_owned()
}

fn elements_that(elements: &[ModelElement], is: impl Fn(&ModelElement) -> bool) -> BTreeSet<Element> {
    elements.iter().filter(|it| is(it)).map(|it| it.element).collect()
}

fn cleaned(texts: &[String]) -> impl Iterator<Item = String> {
    texts.iter().map(|it| clean(it)).filter(|it| !it.is_empty()).take(MAX_TEXTS)
}

fn number_of(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}
