//! What analyses and answers count: how they end, and what they cost.

use super::durations::Durations;
use crate::analysis::{Dropped, Usage};
use crate::ledger::BudgetScope;
use crate::session::Analysis;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::time::Duration;

/// A counter for each value of one label.
type ByLabel = Family<[(&'static str, String); 1], Counter>;

/// A counter for each pair of values of two labels.
type ByLabels = Family<[(&'static str, &'static str); 2], Counter>;

/// What analyses and answers count. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct AnalysisMetrics {
    /// What runs and what waits for its turn.
    pub jobs: JobMetrics,
    ended: ByLabel,
    resumed: Counter,
    answers: ByLabel,
    refused: ByLabel,
    tokens: ByLabels,
    cost: Family<[(&'static str, &'static str); 1], Counter>,
    dropped: ByLabel,
    listeners: Gauge,
    durations: Durations,
}

/// How many analyses run and wait in this process. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct JobMetrics {
    /// Those that have their turn.
    pub running: Gauge,
    /// Those that wait for it.
    pub waiting: Gauge,
}

/// One more in a gauge, for as long as this lives.
#[derive(Debug)]
pub struct OneMore(Gauge);

impl OneMore {
    /// Counts one more.
    pub fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What the model was asked for.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Analysis,
    Answer,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Analysis => "analysis",
            Self::Answer => "answer",
        }
    }
}

impl AnalysisMetrics {
    /// Counts an analysis that ended: how, after how long, and what all of its attempts took.
    pub fn count(&self, analysis: &Analysis) {
        let outcome = analysis.failure.as_ref().map_or("complete", |it| it.code.as_str());
        add(&self.ended, "outcome", outcome, 1);
        self.count_usage(Purpose::Analysis, &analysis.usage);
        if let Some(result) = &analysis.result {
            self.count_dropped(&result.dropped);
        }
        self.durations.analysis(analysis);
    }

    /// Counts an analysis that a process took up after another went away.
    pub fn count_resumed(&self) {
        self.resumed.inc();
    }

    /// Counts an answer in a conversation: `complete` or the code of its failure, what it took of the model, and how
    /// long.
    pub fn count_answer(&self, outcome: &str, usage: &Usage, took: Duration) {
        add(&self.answers, "outcome", outcome, 1);
        self.count_usage(Purpose::Answer, usage);
        self.durations.answer(took);
    }

    /// Counts a request that was refused because a budget had no room for it.
    pub fn count_refused(&self, scope: BudgetScope) {
        let scope = match scope {
            BudgetScope::Caller => "caller",
            BudgetScope::Service => "service",
        };
        add(&self.refused, "scope", scope, 1);
    }

    /// Counts somebody who follows the events of an analysis, for as long as the result lives.
    pub fn listening(&self) -> OneMore {
        OneMore::of(&self.listeners)
    }

    fn count_usage(&self, purpose: Purpose, usage: &Usage) {
        let written_for = usage.cache_creation_5m_input_tokens + usage.cache_creation_1h_input_tokens;
        for (kind, tokens) in [
            ("input", usage.input_tokens),
            ("cache_write_5m", usage.cache_creation_5m_input_tokens),
            ("cache_write_1h", usage.cache_creation_1h_input_tokens),
            ("cache_write_other", usage.cache_creation_input_tokens.saturating_sub(written_for)),
            ("cache_read", usage.cache_read_input_tokens),
            ("output", usage.output_tokens),
        ] {
            let labels = [("kind", kind), ("for", purpose.as_str())];
            self.tokens.get_or_create(&labels).inc_by(tokens);
        }
        let cost = self.cost.get_or_create(&[("for", purpose.as_str())]);
        cost.inc_by(usage.cost.unwrap_or_default().0);
    }

    fn count_dropped(&self, dropped: &Dropped) {
        for (reason, n) in [
            ("no_evidence", dropped.no_evidence),
            ("unknown_frame", dropped.unknown_frame),
            ("outside_view", dropped.outside_view),
            ("repeated", dropped.repeated),
            ("unknown_code", dropped.unknown_code),
            ("unfit_drill", dropped.unfit_drill),
            ("priority_lowered", dropped.priority_lowered),
            ("unused_event", dropped.unused_event),
            ("not_shared", dropped.not_shared),
        ] {
            add(&self.dropped, "reason", reason, n.into());
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "analyses",
            "Analyses that ended, complete or with which failure",
            self.ended.clone(),
        );
        registry.register(
            "analyses_resumed",
            "Analyses that were taken up after the process that ran them went away",
            self.resumed.clone(),
        );
        registry.register("analyses_running", "Analyses that run in this process", self.jobs.running.clone());
        registry.register(
            "analyses_waiting",
            "Analyses that wait in this process for their turn",
            self.jobs.waiting.clone(),
        );
        registry.register(
            "answers",
            "Answers in conversations, complete or with which failure",
            self.answers.clone(),
        );
        registry.register(
            "budget_refusals",
            "Requests that a budget had no room for, by whose budget",
            self.refused.clone(),
        );
        registry.register(
            "event_listeners",
            "Connections that follow the events of an analysis",
            self.listeners.clone(),
        );
        registry.register(
            "model_tokens",
            "Tokens that the model read and wrote, of failed analyses and answers too",
            self.tokens.clone(),
        );
        registry.register(
            "model_cost_micro_usd",
            "What the model was paid by the prices of then, in millionths of a USD",
            self.cost.clone(),
        );
        registry.register(
            "dropped_claims",
            "What was left out of or corrected in the model's answers",
            self.dropped.clone(),
        );
        self.durations.register(registry);
    }
}

fn add(counters: &ByLabel, label: &'static str, value: &str, n: u64) {
    counters.get_or_create(&[(label, value.to_owned())]).inc_by(n);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_counts_what_lives() {
        let metrics = AnalysisMetrics::default();

        let first = metrics.listening();
        let second = metrics.clone().listening();
        drop(first);

        assert_eq!(metrics.listeners.get(), 1);
        drop(second);
        assert_eq!(metrics.listeners.get(), 0);
    }
}
