//! An analysis in the background: frames, capture check, model, review.
//!
//! What happens goes to the [`Recorder`], which writes it down beside the work. Answers that are paid for are kept
//! there, so that whoever takes the analysis up after this process does not pay for them again.

use super::Coach;
use super::asking::Spending;
use super::look::{Fetched, unseen_look};
use super::recorder::{Lost, Recorder};
use super::spending::cost_at_most;
use super::words::{AnalysisError, failure};
use crate::analysis::{MicroUsd, Provenance, PublishedAnalysis, Usage, Warning};
use crate::capture::CaptureReport;
use crate::events::{Happening, Stage};
use crate::jobs::{EarlyEnd, Place};
use crate::ledger::{Charge, ChargeKind, StorageUse};
use crate::metrics::OneMore;
use crate::review::{self, ReviewContext, SentFrame};
use crate::session::{Analysis, AnalysisStatus, FrameNumber, Session};
use crate::upstream;
use crate::vision::{Asking, Look};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

impl Coach {
    /// Runs an analysis whose start is recorded to its end and records that, whatever it is.
    pub(super) fn run_analysis(&self, place: Place, session: Session, started: Analysis) {
        let coach = self.clone();
        let recorder = Recorder::new(Arc::clone(&self.sessions), self.stale_after, started);
        let here = self.followed.runs_here(session.id, recorder.stored());
        self.jobs.run(place, session.id, |place, early_end| async move {
            let _here = here;
            let run = Run::new(&coach, &session, &recorder);
            tokio::join!(run.to_its_end(&place, &early_end), recorder.keep_up());
        });
    }

    /// Settles what an analysis came to, without keeping anybody waiting for it.
    pub(super) fn settle_soon(&self, session: &Session, analysis: &Analysis) {
        let (coach, charge) = (self.clone(), self.charge_of(session, analysis));
        self.jobs.finish(async move { coach.settle_charge(&charge).await });
    }

    /// What an analysis came to, all of its attempts.
    pub(super) fn charge_of(&self, session: &Session, analysis: &Analysis) -> Charge {
        let is_fetching = |it: &Happening| matches!(it, Happening::Progress { stage: Stage::Fetching, .. });
        let fetched = analysis.events.iter().filter(|it| is_fetching(&it.what)).count();
        let class_b = (fetched * session.frames.len()) as u64;
        Charge {
            id: analysis.id.into(),
            owner: session.owner.clone(),
            kind: ChargeKind::Analysis,
            model: analysis.model.clone(),
            at: analysis.requested_at,
            is_settled: true,
            amount: analysis.usage.cost.unwrap_or_else(|| self.cost_at_most(session, analysis)),
            usage: analysis.usage,
            storage: StorageUse { class_b, ..StorageUse::default() },
        }
    }

    /// What all attempts at an analysis may have come to, where that is not known.
    fn cost_at_most(&self, session: &Session, analysis: &Analysis) -> MicroUsd {
        let look = unseen_look(session, analysis.stroke_type);
        let (notes, samples) = (analysis.user_notes.as_deref(), analysis.options.samples);
        let one = self.vision.estimate(&look, notes, samples).cost;
        MicroUsd(one.0.saturating_mul(analysis.attempt.into()))
    }
}

/// How the work on an analysis came to its end here.
#[derive(Debug)]
enum Outcome {
    /// The analysis has ended.
    Ended(Result<(), AnalysisError>),
    /// Another process, or this one, may take it up.
    GivenBack,
    /// It is not to be recorded here any more.
    Superseded,
}

/// What every look is shown, and what its answer is reviewed by.
pub(super) struct Shown {
    pub(super) look: Look,
    pub(super) sent: Vec<SentFrame>,
    pub(super) report: CaptureReport,
    pub(super) provenance: Provenance,
    /// The most that one look costs.
    pub(super) look_cost: MicroUsd,
    /// The most that an answer to the notes costs.
    pub(super) notes_cost: MicroUsd,
}

/// One run of an analysis.
pub(super) struct Run<'a> {
    pub(super) coach: &'a Coach,
    pub(super) session: &'a Session,
    pub(super) recorder: &'a Recorder,
    /// The analysis as it was started.
    pub(super) started: Analysis,
    pub(super) spending: Spending,
    /// What is held for it in the budgets, what it cost before included.
    pub(super) held: tokio::sync::Mutex<MicroUsd>,
    /// What stands so far, though something may be missing.
    result: Mutex<Option<PublishedAnalysis>>,
}

impl<'a> Run<'a> {
    fn new(coach: &'a Coach, session: &'a Session, recorder: &'a Recorder) -> Self {
        let started = recorder.noted();
        let spending = Spending::after(started.usage);
        let before = cost_at_most(&started.usage, MicroUsd::default());
        let to_come = match coach.looks_to_come(&started) {
            0 => MicroUsd::default(),
            _ => coach.cost_to_come(session, &started),
        };
        let held = tokio::sync::Mutex::new(before + to_come);
        Self { coach, session, recorder, started, spending, held, result: Mutex::default() }
    }

    async fn to_its_end(&self, place: &Place, early_end: &EarlyEnd) {
        let outcome = tokio::select! {
            // In this order, so that an answer that is there is not thrown away for a stop.
            biased;
            outcome = self.in_turn(place) => outcome,
            () = early_end.cancelled.cancelled() => Outcome::Ended(Err(AnalysisError::Cancelled)),
            () = early_end.stopped.cancelled() => Outcome::GivenBack,
            lost = self.recorder.lost() => match lost {
                Lost::Lease => Outcome::GivenBack,
                Lost::Superseded => Outcome::Superseded,
            },
        };
        match outcome {
            Outcome::Ended(outcome) => self.end(outcome).await,
            Outcome::GivenBack => self.recorder.note_at_once(|it| {
                it.usage = self.spending.total();
                it.status = AnalysisStatus::Queued;
            }),
            Outcome::Superseded => self.settle_superseded().await,
        }
    }

    async fn in_turn(&self, place: &Place) -> Outcome {
        let jobs = &self.coach.metrics.jobs;
        let waits = OneMore::of(&jobs.waiting);
        let Some(_turn) = place.turn().await else { return Outcome::GivenBack };
        drop(waits);
        let _runs = OneMore::of(&jobs.running);
        // A bug in one of the steps must end the analysis, not leave it running in the records.
        let performed = AssertUnwindSafe(self.perform()).catch_unwind().await;
        Outcome::Ended(performed.unwrap_or(Err(AnalysisError::Panicked)))
    }

    /// The steps of an analysis. What stands when one fails is in `result`.
    async fn perform(&self) -> Result<(), AnalysisError> {
        let shown = self.prepare().await?;
        let context = self.context(&shown);
        let (looks, missing) = self.looks(&shown, &context).await?;
        let reviewed: Vec<PublishedAnalysis> = looks.iter().map(|it| review::review(it, &context)).collect();
        let Some(mut result) = review::agree(reviewed) else {
            return missing.map_or(Ok(()), Err);
        };
        self.stands(&result);
        if let Some(error) = missing {
            return Err(error);
        }
        match &self.started.user_notes {
            None => {}
            // There is nothing to answer them from, so nothing is paid for an answer.
            Some(_) if !review::is_about_technique(&result) => result.warnings.push(notes_not_answered()),
            Some(notes) => {
                if self.coach.looks_to_come(&self.started) == 0 {
                    self.reserve_more(shown.notes_cost).await?;
                }
                self.tell_stage(Stage::AnsweringNotes, self.samples());
                let vision = &self.coach.vision;
                let ask = |asking: Asking| {
                    let result = &result;
                    async move { vision.answer_notes(notes, result, &asking).await }
                };
                let answer = self.ask(shown.notes_cost, ask, |_| {}).await?;
                result.notes_answer = Some(review::review_notes(&answer, &result));
            }
        }
        self.stands(&result);
        Ok(())
    }

    /// Fetches the frames and checks them, before anything is paid for.
    async fn prepare(&self) -> Result<Shown, AnalysisError> {
        self.tell_stage(Stage::Fetching, 1);
        let mut fetched = self.coach.fetch(self.session.id, self.session.frames.iter()).await?;
        let mut report = self.coach.check_capture(&fetched).await?;
        self.tell_stage(Stage::Checked, 1);
        if self.started.options.leave_out_near_duplicates {
            self.leave_out_near_duplicates(&mut fetched, &mut report);
        }
        self.tell_warnings(&report.warnings);

        let sent = fetched
            .iter()
            .map(|(it, _)| SentFrame { number: it.number, timestamp_ms: it.timestamp_ms })
            .collect();
        let frames_sha256 = self.coach.digest(&fetched).await?;
        let look = self.coach.sized(self.session, self.started.stroke_type, fetched).await?;
        let vision = &self.coach.vision;
        let look_cost = vision.estimate(&look, None, 1).cost;
        let with_notes = vision.estimate(&look, self.started.user_notes.as_deref(), 1).cost;
        let provenance = Provenance {
            model: vision.model().to_owned(),
            prompt_version: vision.prompt_version().to_owned(),
            catalog_version: self.coach.catalog.version().to_owned(),
            frames_sha256,
            samples: None,
        };
        let notes_cost = MicroUsd(with_notes.0.saturating_sub(look_cost.0));
        Ok(Shown { look, sent, report, provenance, look_cost, notes_cost })
    }

    fn leave_out_near_duplicates(&self, fetched: &mut Vec<Fetched<'_>>, report: &mut CaptureReport) {
        let repeats = report.frames.iter().filter(|it| it.repeats.is_some());
        let left_out: Vec<FrameNumber> = repeats.map(|it| it.number).collect();
        if left_out.is_empty() {
            return;
        }
        fetched.retain(|(it, _)| !left_out.contains(&it.number));
        report.warnings.push(near_duplicates_left_out(left_out.clone()));
        self.recorder.note(|it| {
            it.left_out = left_out;
            true
        });
    }

    fn context<'b>(&'b self, shown: &'b Shown) -> ReviewContext<'b> {
        ReviewContext {
            declared: self.started.stroke_type,
            frames: &shown.sent,
            capture_warnings: &shown.report.warnings,
            capture_advice: &shown.report.advice,
            catalog: &self.coach.catalog,
            provenance: shown.provenance.clone(),
        }
    }

    /// Remembers what stands, and tells what limits it.
    fn stands(&self, result: &PublishedAnalysis) {
        self.tell_warnings(&result.warnings);
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result.clone());
    }

    /// Tells of a stage of a look, once in a row.
    pub(super) fn tell_stage(&self, stage: Stage, look: u8) {
        self.recorder.note(|it| it.tell_stage(stage, look));
    }

    fn tell_warnings(&self, warnings: &[Warning]) {
        for warning in warnings {
            self.recorder.note(|it| it.tell_warning(warning));
        }
    }

    async fn end(&self, outcome: Result<(), AnalysisError>) {
        let usage = self.spending.total();
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        let failed = outcome.as_ref().err().map(|it| failure(it, result.is_some()));
        let is_settled = self.settle_before_the_end(usage).await;
        self.recorder.note_at_once(|it| {
            (it.usage, it.result) = (usage, result);
            it.end(failed);
        });
        let ended = self.recorder.noted();
        if let Err(error) = outcome {
            log_failure(&ended, &error);
        }
        self.coach.metrics.count(&ended);
        if !is_settled {
            self.coach.settle_soon(self.session, &ended);
        }
    }

    /// Settles what the analysis came to before its end is recorded, since nobody settles it after that if the process
    /// dies between. Tried once: the end does not wait for it. Whether it was settled.
    async fn settle_before_the_end(&self, usage: Usage) -> bool {
        let came_to = Analysis { usage, ..self.recorder.noted() };
        let charge = self.coach.charge_of(self.session, &came_to);
        self.coach.sessions.settle(&charge).await.is_ok()
    }

    /// Settles what was spent here, unless the analysis goes on elsewhere.
    async fn settle_superseded(&self) {
        let Analysis { id, .. } = self.started;
        let goes_on = match self.coach.sessions.session(&self.session.owner, self.session.id).await {
            Ok(Some(record)) => record.analyses.iter().any(|it| it.id == id && !it.has_ended()),
            Ok(None) => false,
            // Whoever ended it has settled what was known of it.
            Err(_unknown) => true,
        };
        tracing::info!(analysis.id = %id, goes_on, "the analysis {id} was ended or taken up elsewhere");
        if !goes_on {
            self.recorder.note(|it| {
                it.usage = self.spending.total();
                true
            });
            self.coach.settle_soon(self.session, &self.recorder.noted());
        }
    }
}

fn notes_not_answered() -> Warning {
    Warning {
        code: "notes_not_answered".to_owned(),
        detail: "Your notes were not answered, since nothing is said about technique.".to_owned(),
        frames: Vec::new(),
    }
}

fn near_duplicates_left_out(frames: Vec<FrameNumber>) -> Warning {
    Warning {
        code: "near_duplicates_left_out".to_owned(),
        detail: "Frames that hardly differ from one before them were not shown to the model, as was asked."
            .to_owned(),
        frames,
    }
}

fn log_failure(analysis: &Analysis, error: &AnalysisError) {
    let causes = upstream::chain(error);
    let code = analysis.failure.as_ref().map_or("", |it| it.code.as_str());
    tracing::warn!(
        analysis.id = %analysis.id, session.id = %analysis.session_id, code, causes,
        "analysis {} failed: {code}", analysis.id,
    );
}
