//! The summary that is published when the model's own may speak of what was dropped, or of what ranks otherwise.

use crate::analysis::{Finding, FindingKind, Priority};

const NOTHING: &str = "Nothing can be said about technique from these frames.";

/// What works and what to work on first, in the words of the findings that stand.
pub(super) fn of_what_stands(findings: &[Finding]) -> String {
    let works = findings.iter().find(|it| it.kind == FindingKind::Strength);
    // Findings are ranked: the first that is no strength is the primary one, if there is one.
    let focus = findings.iter().find(|it| it.kind != FindingKind::Strength);
    let works = works.map(|it| sentence("What works", &it.observation));
    let focus = focus.map(|it| match it.priority {
        Priority::Primary => sentence("To work on first", &it.observation),
        Priority::Secondary | Priority::Refinement => {
            sentence("Seen, but not by most looks", &it.observation)
        }
    });
    let summary: Vec<String> = works.into_iter().chain(focus).collect();
    if summary.is_empty() { NOTHING.to_owned() } else { summary.join(" ") }
}

fn sentence(about: &str, observation: &str) -> String {
    let end = if observation.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    format!("{about}: {observation}{end}")
}
