//! What the model is told: the texts of `prompt/`, with the catalogue written out behind them.
//!
//! The same catalogue gives the same bytes, so that the prompt cache holds. No clock and no id is in them.

mod talk;

use super::{Look, LookFrame};
use crate::analysis::{FindingKind, PublishedAnalysis};
use crate::catalog::{Catalog, Fault};
use crate::session::Stroke;
use serde::de::IgnoredAny;
use serde_json::Value;
use thiserror::Error;

pub use talk::Said;

const ANALYSIS: &str = include_str!("../../prompt/analysis.md");
const NOTES: &str = include_str!("../../prompt/notes.md");
const ANALYSIS_SCHEMA: &str = include_str!("../../prompt/analysis.schema.json");
const REPLY_SCHEMA: &str = include_str!("../../prompt/reply.schema.json");
const NOTES_SCHEMA: &str = include_str!("../../prompt/notes.schema.json");

/// What is wrong with the files of `prompt/`.
#[derive(Debug, Error)]
pub enum PromptError {
    /// The first line does not give the version.
    #[error("prompt/analysis.md must begin with a line such as `version: 2026-11-24.1`")]
    Version,
    /// A schema is not JSON.
    #[error("prompt/{file} is not JSON")]
    Schema {
        /// Which file.
        file: &'static str,
        /// Where and what.
        #[source]
        source: serde_json::Error,
    },
}

/// The texts and schemas of all passes.
///
/// Looks and follow-ups have one system text and one schema, since a change of either misses the cache, pictures
/// included. Schemas are kept as text: the order of their fields is the order in which an answer is written, and
/// the flag that forbids findings must come before them.
#[derive(Debug)]
pub struct Prompt {
    version: String,
    system: String,
    answer_schema: String,
    notes_schema: String,
}

impl Prompt {
    /// The prompt that was built in, with this catalogue.
    pub fn embedded(catalog: &Catalog) -> Result<Self, PromptError> {
        let (version, text) = ANALYSIS.split_once('\n').ok_or(PromptError::Version)?;
        let version = version.strip_prefix("version: ").ok_or(PromptError::Version)?;
        let reply = schema("reply.schema.json", REPLY_SCHEMA)?;
        let analysis = schema("analysis.schema.json", ANALYSIS_SCHEMA)?;
        Ok(Self {
            version: version.trim().to_owned(),
            system: format!("{}\n\n{}", text.trim(), written_out(catalog)),
            answer_schema: format!(
                r#"{{"type":"object","additionalProperties":false,"required":["reply","analysis"],"properties":{{"reply":{{"anyOf":[{reply},{{"type":"null"}}]}},"analysis":{{"anyOf":[{analysis},{{"type":"null"}}]}}}}}}"#
            ),
            notes_schema: schema("notes.schema.json", NOTES_SCHEMA)?,
        })
    }

    /// The version of the prompt, which changes with its text.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The system text of looks and follow-ups.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The system text of the pass that answers notes.
    pub fn notes_system(&self) -> &'static str {
        NOTES.trim_ascii_end()
    }

    /// The shape of an answer to a look or a follow-up, as JSON: a reply or null, and an analysis or null.
    pub fn answer_schema(&self) -> &str {
        &self.answer_schema
    }

    /// The shape of the answer to notes, as JSON.
    pub fn notes_schema(&self) -> &str {
        &self.notes_schema
    }

    /// What stands before a picture: `Frame 7 · t=3.480 s`.
    pub fn label(frame: &LookFrame) -> String {
        match frame.timestamp_ms {
            Some(ms) => format!("Frame {} · t={}.{:03} s", frame.number, ms / 1000, ms % 1000),
            None => format!("Frame {} · time unknown", frame.number),
        }
    }

    /// What stands after the last picture. The swimmer's notes are not in it: the first look is blind.
    pub fn question(&self, look: &Look) -> String {
        let stroke = match look.stroke {
            Stroke::Mixed => "more than one stroke".to_owned(),
            stroke => stroke.as_str().to_owned(),
        };
        // A unit enum is written as one JSON string, so it cannot fail; the fallback is as true.
        let view = look.view.and_then(|it| serde_json::to_value(it).ok());
        let view = view.as_ref().and_then(Value::as_str).unwrap_or("not declared");
        format!(
            "These were {} frames of one clip. Declared stroke: {stroke}. Declared view: {view}. Analyse the technique \
             as you were told: give analysis, and null as reply.",
            look.frames.len()
        )
    }

    /// The message of the pass that answers notes. The notes are one JSON string, which no text can leave.
    pub fn notes_question(&self, notes: &str, analysis: &PublishedAnalysis) -> String {
        serde_json::json!({
            "published_analysis": analysis,
            "notes_of_the_swimmer_as_data": notes,
        })
        .to_string()
    }
}

/// A schema of `prompt/` on one line.
fn schema(file: &'static str, text: &str) -> Result<String, PromptError> {
    let _checked: IgnoredAny =
        serde_json::from_str(text).map_err(|source| PromptError::Schema { file, source })?;
    // No string of JSON goes over the end of a line.
    Ok(text.lines().map(str::trim).collect())
}

fn written_out(catalog: &Catalog) -> String {
    use crate::analysis::ObservedStroke as S;
    let mut text = String::new();
    for (title, stroke) in [
        ("Freestyle", Some(S::Freestyle)),
        ("Backstroke", Some(S::Backstroke)),
        ("Breaststroke", Some(S::Breaststroke)),
        ("Butterfly", Some(S::Butterfly)),
        ("Starts, underwater, breakouts and turns, in any stroke", None),
    ] {
        text.extend(["## ", title, "\n\n"]);
        for fault in catalog.faults_for(S::Unknown).filter(|it| it.stroke == stroke) {
            text.push_str(&line(fault));
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

fn line(fault: &Fault) -> String {
    let mark = match fault.kind {
        FindingKind::RuleRisk => " (rule_risk)",
        FindingKind::LoadRisk => " (load_risk)",
        FindingKind::Fault | FindingKind::Strength => "",
    };
    format!(
        "- {}{mark}: {}. Costs: {}. Cue: {}. Drills: {}.\n",
        fault.code,
        fault.seen_as,
        fault.cost,
        fault.cue,
        fault.drills.join(", ")
    )
}
