//! The looks of an analysis: asked for, told of while they are answered, kept once they are paid for.

use super::Coach;
use super::running::{Run, Shown};
use super::words::AnalysisError;
use crate::analysis::Provenance;
use crate::events::Stage;
use crate::review::{self, ModelAnalysis, ReviewContext};
use crate::session::{Analysis, AnalysisOptions};
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

/// Answers that an earlier attempt paid for, as far as they are what this model would be asked now.
fn kept_looks<'a>(
    analysis: &'a Analysis,
    model: &'a str,
    prompt_version: &'a str,
) -> impl Iterator<Item = ModelAnalysis> + 'a {
    let kept = analysis.looks.iter().filter_map(|it| KeptLook::deserialize(it).ok());
    let same = kept.filter(move |it| it.model == model && it.prompt_version == prompt_version);
    same.map(|it| it.answer).take(samples(analysis).into())
}

/// How many looks were asked for.
fn samples(analysis: &Analysis) -> u8 {
    analysis.options.samples.clamp(1, AnalysisOptions::MAX_SAMPLES)
}

impl Coach {
    /// How many looks are still to be paid for.
    pub(super) fn looks_to_come(&self, analysis: &Analysis) -> u8 {
        let kept = kept_looks(analysis, self.vision.model(), self.vision.prompt_version()).count();
        samples(analysis).saturating_sub(u8::try_from(kept).unwrap_or(u8::MAX))
    }
}

impl Run<'_> {
    /// The looks that came through, and why not all of them did. The first is asked for alone until the model begins
    /// to answer it, so that the others find its frames in the cache.
    pub(super) async fn looks(
        &self,
        shown: &Shown,
        context: &ReviewContext<'_>,
    ) -> Result<(Vec<ModelAnalysis>, Option<AnalysisError>), AnalysisError> {
        let now = &shown.provenance;
        let mut came: Vec<_> = kept_looks(&self.started, &now.model, &now.prompt_version).collect();
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
        let answer = self.ask(shown.look_cost, ask, told).await?;
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
        samples(&self.started)
    }

    /// Tells of what survives the rules of an answer, whole or not; nothing does of frames that are not fit.
    fn tell_findings(&self, model: &ModelAnalysis, context: &ReviewContext<'_>) {
        for finding in review::review(model, context).findings {
            self.recorder.note(|it| it.tell_finding(finding));
        }
    }
}
