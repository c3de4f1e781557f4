//! How long analyses, their stages and answers take.

use crate::events::{AnalysisEvent, Happening, Stage};
use crate::session::Analysis;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::fmt::{self, Debug};
use std::time::Duration;

/// The bounds between which durations are counted, in seconds: from a capture check to an analysis with thinking.
const BUCKETS: [f64; 12] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0];

/// A histogram for each value of one label.
type HistogramByLabel = Family<[(&'static str, &'static str); 1], Histogram, fn() -> Histogram>;

/// How long things take. Clones count together.
#[derive(Clone)]
pub(super) struct Durations {
    analyses: Histogram,
    stages: HistogramByLabel,
    answers: Histogram,
}

impl Durations {
    /// Counts how long an analysis took that ended, and each of its stages.
    pub(super) fn analysis(&self, analysis: &Analysis) {
        let took = (analysis.updated_at - analysis.requested_at).to_std().unwrap_or_default();
        self.analyses.observe(took.as_secs_f64());
        // Of several looks side by side the log does not tell when each came to an end.
        if analysis.options.samples == 1 {
            for (stage, took) in stages(&analysis.events) {
                self.stages.get_or_create(&[("stage", stage.as_str())]).observe(took.as_secs_f64());
            }
        }
    }

    /// Counts how long an answer took.
    pub(super) fn answer(&self, took: Duration) {
        self.answers.observe(took.as_secs_f64());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "analysis_duration",
            "From the request for an analysis to its end, waiting included",
            Unit::Seconds,
            self.analyses.clone(),
        );
        registry.register_with_unit(
            "analysis_stage_duration",
            "How long the stages of analyses of one look lasted",
            Unit::Seconds,
            self.stages.clone(),
        );
        registry.register_with_unit(
            "answer_duration",
            "From a message to its answer",
            Unit::Seconds,
            self.answers.clone(),
        );
    }
}

impl Default for Durations {
    fn default() -> Self {
        let seconds = || Histogram::new(BUCKETS);
        Self { analyses: seconds(), stages: Family::new_with_constructor(seconds), answers: seconds() }
    }
}

/// Without what was measured, since a histogram cannot be shown.
impl Debug for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durations").finish_non_exhaustive()
    }
}

/// How long each stage lasted that the log tells the end of.
fn stages(events: &[AnalysisEvent]) -> Vec<(Stage, Duration)> {
    let mut lasted = Vec::new();
    let mut current = None;
    for event in events {
        let next = match &event.what {
            Happening::Queued => Some(Stage::Queued),
            Happening::Progress { stage, .. } => Some(*stage),
            Happening::Resumed { .. } => {
                // Nobody knows when the process went away, so what it was at has no end.
                current = Some((Stage::Queued, event.at));
                continue;
            }
            Happening::Done | Happening::Failed(_) => None,
            Happening::Finding(_) | Happening::Warning(_) | Happening::Usage(_) => continue,
        };
        if let Some((stage, since)) = current {
            lasted.push((stage, (event.at - since).to_std().unwrap_or_default()));
        }
        current = next.map(|stage| (stage, event.at));
    }
    lasted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Usage;
    use chrono::{DateTime, TimeDelta};

    /// A log of what happened at which second.
    fn log(happenings: Vec<(i64, Happening)>) -> Vec<AnalysisEvent> {
        let event = |(number, (second, what))| AnalysisEvent {
            number,
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
            what,
        };
        (1..).zip(happenings).map(event).collect()
    }

    fn progress(stage: Stage) -> Happening {
        Happening::Progress { stage, look: 1 }
    }

    fn seconds(stages: Vec<(Stage, Duration)>) -> Vec<(Stage, u64)> {
        stages.into_iter().map(|(stage, took)| (stage, took.as_secs())).collect()
    }

    #[test]
    fn a_stage_lasts_until_the_next_begins_whatever_is_told_meanwhile() {
        let events = log(vec![
            (0, Happening::Queued),
            (3, progress(Stage::Fetching)),
            (4, progress(Stage::Writing)),
            (7, Happening::Usage(Usage::default())),
            (9, Happening::Done),
        ]);

        assert_eq!(seconds(stages(&events)), [(Stage::Queued, 3), (Stage::Fetching, 1), (Stage::Writing, 5)]);
    }

    #[test]
    fn a_stage_in_which_the_process_went_away_is_not_measured() {
        let events = log(vec![
            (0, Happening::Queued),
            (1, progress(Stage::Writing)),
            (600, Happening::Resumed { attempt: 2 }),
            (602, progress(Stage::Fetching)),
        ]);

        assert_eq!(seconds(stages(&events)), [(Stage::Queued, 1), (Stage::Queued, 2)]);
    }
}
