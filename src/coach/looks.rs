//! The looks of an analysis: asked for, told of while they are answered, kept once they are paid for.

use super::running::{Run, Shown};
use super::words::AnalysisError;
use crate::analysis::{MicroUsd, Provenance};
use crate::events::Stage;
use crate::review::{self, ModelAnalysis, ReviewContext};
use crate::session::AnalysisOptions;
use crate::vision::{Asking, Progress};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::SetOnce;

/// An answer that is paid for, as a record keeps it, and what it came from.
#[derive(Debug, Serialize, Deserialize)]
struct KeptLook {
    model: String,
    prompt_version: String,
    answer: ModelAnalysis,
}

impl Run<'_> {
    /// The looks that came through, and why not all of them did. The first is asked for alone until the model begins
    /// to answer it, so that the others find its frames in the cache.
    pub(super) async fn looks(
        &self,
        shown: &Shown,
        context: &ReviewContext<'_>,
    ) -> Result<(Vec<ModelAnalysis>, Option<AnalysisError>), AnalysisError> {
        let mut came = self.kept_looks(&shown.provenance);
        if let Some(first) = came.first() {
            self.tell_findings(first, context);
        }
        let mut numbers = (1..=self.samples()).skip(came.len());
        let Some(number) = numbers.next() else { return Ok((came, None)) };
        let has_begun = SetOnce::new();
        let first = async {
            let look = self.look(number, shown, context, &has_begun).await;
            // Where it failed before it began, the others are not asked for. It may have begun long ago.
            drop(has_begun.set(look.is_ok()));
            look
        };
        let others = async {
            if !*has_begun.wait().await {
                return Vec::new();
            }
            join_all(numbers.map(|it| self.look(it, shown, context, &has_begun))).await
        };
        let (first, others) = tokio::join!(first, others);

        let mut failed = None;
        for look in std::iter::once(first).chain(others) {
            match look {
                Ok(look) => came.push(look),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            None => Ok((came, None)),
            Some(error) if came.is_empty() => Err(error),
            Some(error) => {
                let (came_through, source) = (came.len(), Box::new(error));
                let asked = self.samples();
                Ok((came, Some(AnalysisError::LooksMissing { came: came_through, asked, source })))
            }
        }
    }

    /// Answers that an earlier attempt paid for, as far as they are what would be answered now.
    fn kept_looks(&self, now: &Provenance) -> Vec<ModelAnalysis> {
        let kept = self.started.looks.iter().filter_map(|it| KeptLook::deserialize(it).ok());
        let same = kept.filter(|it| it.model == now.model && it.prompt_version == now.prompt_version);
        same.map(|it| it.answer).take(self.samples().into()).collect()
    }

    /// One look, blind: it never sees the notes.
    async fn look(
        &self,
        number: u8,
        shown: &Shown,
        context: &ReviewContext<'_>,
        has_begun: &SetOnce<bool>,
    ) -> Result<ModelAnalysis, AnalysisError> {
        let vision = &self.coach.vision;
        let ask = |asking: Asking| async move { vision.look(&shown.look, &asking).await };
        let told = |progress: &Progress| {
            if let Some(stage) = progress.stage {
                self.tell_stage(stage, number);
                if Stage::Thinking <= stage {
                    // Only the first time counts.
                    drop(has_begun.set(true));
                }
            }
            if let Some(partial) = progress.analysis.as_ref().filter(|_| number == 1) {
                self.tell_findings(partial, context);
            }
        };
        let to_come = self.samples() - number;
        let to_come = MicroUsd(shown.look_cost.0.saturating_mul(to_come.into())) + shown.notes_cost;
        let answer = self.ask(shown.look_cost, to_come, ask, told).await?;
        if number == 1 {
            self.tell_findings(&answer, context);
        }
        self.keep(&answer, &shown.provenance);
        Ok(answer)
    }

    /// Keeps an answer that is paid for.
    fn keep(&self, answer: &ModelAnalysis, from: &Provenance) {
        let kept = KeptLook {
            model: from.model.clone(),
            prompt_version: from.prompt_version.clone(),
            answer: answer.clone(),
        };
        match serde_json::to_value(kept) {
            Ok(kept) => self.recorder.note_at_once(|it| it.looks.push(kept)),
            Err(error) => tracing::error!(%error, "a look cannot be kept"),
        }
    }

    /// How many looks were asked for.
    pub(super) fn samples(&self) -> u8 {
        self.started.options.samples.clamp(1, AnalysisOptions::MAX_SAMPLES)
    }

    /// Tells of what survives the rules of an answer, whole or not; nothing does of frames that are not fit.
    fn tell_findings(&self, model: &ModelAnalysis, context: &ReviewContext<'_>) {
        for finding in review::review(model, context).findings {
            self.recorder.note(|it| it.tell_finding(finding));
        }
    }
}
