//! What stands after the pictures and their question when a message is answered: what was published, the
//! conversation so far, and the message.
//!
//! All of it is bounded. The messages for one turn more begin with those for this one, so that the cache holds,
//! except where old turns are folded, which happens once in [`STEP`] turns.

use super::Prompt;
use crate::analysis::{Finding, PublishedAnalysis};
use crate::session::{Role, Turn};
use crate::vision::Talk;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The most turns that are shown as they were said. At least this less [`STEP`] are.
const MAX_SHOWN: usize = 40;
/// Turns that are folded at a time.
const STEP: usize = 20;
/// The most bytes of what was published, shortened.
const MAX_DIGEST_BYTES: usize = 2500;
/// The most bytes of all folded turns together.
const MAX_FOLDED_BYTES: usize = 2000;
/// The most bytes of one folded turn.
const FOLDED_TURN_BYTES: usize = 120;
/// To how many bytes each published text is shortened: the first at which the whole is short enough counts.
const TEXT_BYTES: [usize; 4] = [200, 120, 80, LEAST_TEXT_BYTES];
/// See [`TEXT_BYTES`].
const LEAST_TEXT_BYTES: usize = 50;

/// One message of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub text: String,
}

impl Prompt {
    /// What stands after the pictures and their question when a message is answered, in order. What the swimmer
    /// says is one JSON string each time, which no text can leave.
    pub fn messages(&self, talk: &Talk) -> Vec<Said> {
        let n_folded = n_folded(talk.turns.len());
        let (folded, shown) = talk.turns.split_at(n_folded);
        let mut messages = vec![Said { role: Role::Assistant, text: digest(&talk.analysis) }];
        if !folded.is_empty() {
            messages.push(Said { role: Role::User, text: fold(folded) });
        }
        messages.extend(shown.iter().map(said));
        messages.push(Said { role: Role::User, text: message(&talk.message) });
        messages
    }
}

/// How many of the first turns are folded.
fn n_folded(n_turns: usize) -> usize {
    n_turns.saturating_sub(MAX_SHOWN).next_multiple_of(STEP)
}

fn said(turn: &Turn) -> Said {
    let text = match turn.role {
        Role::User => message(&turn.content),
        // In the shape in which it was answered, and in its order.
        Role::Assistant => format!(
            r#"{{"reply":{{"text":{},"frames":{}}},"analysis":null}}"#,
            json!(turn.content),
            json!(turn.frames)
        ),
    };
    Said { role: turn.role, text }
}

fn message(text: &str) -> String {
    json!({ "message_of_the_swimmer_as_data": text }).to_string()
}

/// Old turns in one block: the latest of them, each by its first words.
fn fold(turns: &[Turn]) -> String {
    let mut kept: Vec<Value> = Vec::new();
    let folded = |kept: &[Value]| {
        let left_out = turns.len() - kept.len();
        json!({"earlier_turns_shortened_as_data": kept, "still_earlier_turns_left_out": left_out}).to_string()
    };
    for turn in turns.iter().rev() {
        kept.insert(0, json!({ word(turn.role): shortened(&turn.content, FOLDED_TURN_BYTES) }));
        if MAX_FOLDED_BYTES < folded(&kept).len() {
            kept.remove(0);
            break;
        }
    }
    folded(&kept)
}

/// What was published, shortened: as much of each text as there is room for, and if it must be, the first
/// findings only.
fn digest(analysis: &PublishedAnalysis) -> String {
    let all = analysis.findings.len();
    let shorter = TEXT_BYTES.into_iter().map(|text_bytes| (text_bytes, all));
    let fewer = (0..all).rev().map(|n_findings| (LEAST_TEXT_BYTES, n_findings));
    let mut digest = String::new();
    for (text_bytes, n_findings) in shorter.chain(fewer) {
        digest = digest_of(analysis, text_bytes, n_findings);
        if digest.len() <= MAX_DIGEST_BYTES {
            break;
        }
    }
    digest
}

fn digest_of(analysis: &PublishedAnalysis, text_bytes: usize, n_findings: usize) -> String {
    let short = |text: &str| shortened(text, text_bytes);
    let findings: Vec<Value> =
        analysis.findings.iter().take(n_findings).map(|it| finding(it, text_bytes)).collect();
    let ratings: Map<String, Value> =
        analysis.elements.iter().map(|it| (word(it.element), json!(it.rating))).collect();
    let figures: Map<String, Value> = analysis
        .metrics
        .iter()
        .map(|it| (it.name.clone(), json!(format!("{:.1} {}", it.value, it.unit))))
        .collect();
    let cannot_tell: Vec<String> = analysis.cannot_tell.iter().map(|it| short(it)).collect();
    json!({ "published_analysis_shortened": {
        "stroke": analysis.stroke.observed,
        "view": analysis.capture.view,
        "summary": short(&analysis.summary),
        "findings": findings,
        "findings_left_out_here": analysis.findings.len() - findings.len(),
        "ratings_1_to_5": ratings,
        "figures": figures,
        "cannot_tell": cannot_tell,
        "answer_to_notes": analysis.notes_answer.as_ref().map(|it| shortened(&it.text, 2 * text_bytes)),
    }})
    .to_string()
}

fn finding(finding: &Finding, text_bytes: usize) -> Value {
    json!({
        "kind": finding.kind,
        "code": finding.code,
        "title": finding.title,
        "element": finding.element,
        "side": finding.side,
        "priority": finding.priority,
        "certainty": finding.certainty,
        "frames": finding.evidence.iter().map(|it| it.frame).collect::<Vec<_>>(),
        "observation": shortened(&finding.observation, text_bytes),
        "cue": shortened(&finding.cue, text_bytes / 2),
        "drills": finding.drills.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(),
    })
}

/// The word of a vocabulary, as it is written in JSON.
fn word(value: impl Serialize) -> String {
    // A unit enum is written as one JSON string, so it cannot fail.
    serde_json::to_value(value).ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The first words of a text, of at most so many bytes together with the mark of the cut.
fn shortened(text: &str, max_bytes: usize) -> String {
    const CUT: &str = "…";
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max_bytes.saturating_sub(CUT.len()));
    let short = text.get(..end).unwrap_or_default();
    let whole_words = short.rsplit_once(' ').map_or(short, |(before, _)| before);
    format!("{whole_words}{CUT}")
}
