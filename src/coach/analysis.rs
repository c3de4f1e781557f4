//! An analysis in the background: frames, capture check, model, review, record.

use super::{Coach, CoachError, UndecodableFrame, interrupted, now};
use crate::analysis::{Provenance, PublishedAnalysis, Usage, Warning};
use crate::capture::{self, CaptureFrame, CaptureReport};
use crate::jobs::{Place, Turn};
use crate::review::{self, ReviewContext, SentFrame};
use crate::session::{Analysis, AnalysisStatus, Failure, Frame, FrameNumber, Session, Stroke};
use crate::storage::{Download, FramePath, StoredFrame};
use crate::upstream::{self, RetryPolicy, UpstreamError, UpstreamErrorKind};
use crate::vision::{Asking, Look, LookFrame, VisionError, VisionErrorKind};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use sha2::{Digest, Sha256};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use thiserror::Error;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How patiently a result that was paid for is written down: for as long as an operator needs to notice.
const KEEP_RESULT: RetryPolicy = RetryPolicy {
    attempts: 200,
    base_delay: Duration::from_millis(200),
    max_delay: Duration::from_secs(15),
    deadline: Duration::from_mins(30),
};

/// Why an analysis ends without a whole result.
#[derive(Debug, Error)]
enum AnalysisError {
    #[error("frame {0} is not in storage any more")]
    FrameMissing(FrameNumber),
    #[error("frame {0} in storage is not the one that was acknowledged")]
    FrameChanged(FrameNumber),
    #[error(transparent)]
    Undecodable(#[from] UndecodableFrame),
    #[error("frames could not be downloaded")]
    Download(#[from] UpstreamError),
    #[error("the model gave no whole answer")]
    Model(#[source] VisionErrorKind),
    #[error("the service is stopping")]
    Stopped,
    #[error("a task broke off")]
    Task(#[source] CoachError),
    #[error("a step panicked; standard error has what it said")]
    Panicked,
}

/// What an analysis has come to so far; kept where it fails, so that what was spent is counted.
#[derive(Debug, Default)]
struct Progress {
    usage: Usage,
    result: Option<PublishedAnalysis>,
}

impl Coach {
    /// Runs a recorded analysis to its end and records that, whatever it is.
    pub(super) fn run_analysis(&self, place: Place, session: Session, analysis: Analysis) {
        let coach = self.clone();
        self.jobs.run(place, session.id, |cancel: CancellationToken, turn: Turn| async move {
            let mut progress = Progress::default();
            // A bug in one of the steps must end the analysis, not leave it running in the records.
            let performed = AssertUnwindSafe(coach.perform(&session, &analysis, turn, &mut progress));
            let outcome = tokio::select! {
                // In this order, so that an answer that is there is not thrown away for a stop.
                biased;
                outcome = performed.catch_unwind() => outcome.unwrap_or(Err(AnalysisError::Panicked)),
                () = cancel.cancelled() => Err(AnalysisError::Stopped),
                never = coach.stay_alive(analysis.clone()) => match never {},
            };
            coach.record_end(analysis, progress, outcome).await;
        });
    }

    /// The steps of an analysis. What stands when one fails is in `progress`.
    async fn perform(
        &self,
        session: &Session,
        analysis: &Analysis,
        turn: Turn,
        progress: &mut Progress,
    ) -> Result<(), AnalysisError> {
        let _turn = turn.come().await.ok_or(AnalysisError::Stopped)?;
        let frames = self.download(session).await?;
        let (report, frames_sha256) = self.check_capture(session, &frames).await?;
        let look = look(session, analysis.stroke_type, frames);

        // The first look is blind: it never sees the notes.
        let answer = self.vision.look(&look, &Asking::default()).await.map_err(|it| spent(it, progress))?;
        progress.usage += answer.usage;
        let sent: Vec<SentFrame> = session.frames.iter().map(sent_frame).collect();
        let context = ReviewContext {
            declared: analysis.stroke_type,
            frames: &sent,
            capture_warnings: &report.warnings,
            capture_advice: &report.advice,
            catalog: &self.catalog,
            provenance: self.provenance(frames_sha256),
        };
        let mut result = review::review(&answer.value, &context);

        match &analysis.user_notes {
            None => {}
            // There is nothing to answer them from, so nothing is paid for an answer.
            Some(_) if !review::is_fit_for_coaching(&answer.value) => {
                result.warnings.push(notes_not_answered());
            }
            Some(notes) => {
                progress.result = Some(result.clone());
                let answer = self
                    .vision
                    .answer_notes(notes, &result, &Asking::default())
                    .await
                    .map_err(|it| spent(it, progress))?;
                progress.usage += answer.usage;
                result.notes_answer = Some(review::review_notes(&answer.value, &result));
            }
        }
        progress.result = Some(result);
        Ok(())
    }

    /// Every frame of the session as it was acknowledged, or an error: never silently fewer.
    async fn download(&self, session: &Session) -> Result<Vec<Bytes>, AnalysisError> {
        // Storage bounds how many requests are in flight.
        try_join_all(session.frames.iter().map(|frame| async move {
            let stored = StoredFrame {
                path: FramePath::new(session.id, frame.number),
                size_bytes: frame.size_bytes,
                etag: frame.etag.clone(),
            };
            match self.storage.download_frame(&stored).await? {
                Download::Frame(jpeg) => Ok(jpeg),
                Download::Changed => Err(AnalysisError::FrameChanged(frame.number)),
                Download::Missing => Err(AnalysisError::FrameMissing(frame.number)),
            }
        }))
        .await
    }

    /// Decodes every frame before anything is paid for, and tells the frames apart by their digests.
    async fn check_capture(
        &self,
        session: &Session,
        frames: &[Bytes],
    ) -> Result<(CaptureReport, String), AnalysisError> {
        let frames: Vec<CaptureFrame> = session
            .frames
            .iter()
            .zip(frames)
            .map(|(frame, jpeg)| CaptureFrame {
                number: frame.number,
                timestamp_ms: frame.timestamp_ms,
                jpeg: jpeg.clone(),
            })
            .collect();
        let checked = self.with_pixels(move || Ok((capture::check(&frames)?, digest_of_digests(&frames))));
        checked.await.map_err(AnalysisError::Task)?
    }

    fn provenance(&self, frames_sha256: String) -> Provenance {
        Provenance {
            model: self.vision.model().to_owned(),
            prompt_version: self.vision.prompt_version().to_owned(),
            catalog_version: self.catalog.version().to_owned(),
            frames_sha256,
            samples: None,
        }
    }

    /// Records again and again that the analysis runs, so that nobody takes it for interrupted.
    async fn stay_alive(&self, mut analysis: Analysis) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(self.stale_after / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await; // the first is at once, and the start is recorded already
        loop {
            ticks.tick().await;
            analysis.updated_at = now();
            if let Err(error) = self.sessions.record_analysis(&analysis).await {
                tracing::warn!(
                    analysis.id = %analysis.id, %error, cause = %error.source,
                    "could not record that the analysis {} still runs", analysis.id,
                );
            }
        }
    }

    async fn record_end(
        &self,
        mut analysis: Analysis,
        progress: Progress,
        outcome: Result<(), AnalysisError>,
    ) {
        analysis.usage = progress.usage;
        analysis.result = progress.result;
        match outcome {
            Ok(()) => analysis.status = AnalysisStatus::Complete,
            Err(error) => {
                analysis.status = AnalysisStatus::Failed;
                analysis.failure = Some(failure(&error, analysis.result.is_some()));
                log_failure(&analysis, &error);
            }
        }
        analysis.updated_at = now();
        self.metrics.count(&analysis);
        // Also a full disk or a token that has expired is noticed and mended by somebody.
        let is_worth_it = |kind: UpstreamErrorKind| !kind.blames_request();
        let record = || self.sessions.record_analysis(&analysis);
        let kept = upstream::retry_while(is_worth_it, &KEEP_RESULT, record).await;
        if let Err(error) = kept {
            tracing::error!(
                analysis.id = %analysis.id, %error, cause = %error.source,
                "the end of the analysis {} could not be recorded", analysis.id,
            );
        }
    }
}

/// Counts what a failed request cost.
fn spent(error: VisionError, progress: &mut Progress) -> AnalysisError {
    progress.usage += error.usage;
    AnalysisError::Model(error.kind)
}

/// What the model is shown of a session, with the pictures of its frames in order.
pub(super) fn look(session: &Session, stroke: Stroke, jpegs: impl IntoIterator<Item = Bytes>) -> Look {
    Look {
        stroke,
        view: session.view,
        frames: session.frames.iter().zip(jpegs).map(|(frame, jpeg)| look_frame(frame, jpeg)).collect(),
    }
}

fn look_frame(frame: &Frame, jpeg: Bytes) -> LookFrame {
    LookFrame {
        number: frame.number,
        timestamp_ms: frame.timestamp_ms,
        width: frame.width,
        height: frame.height,
        jpeg,
    }
}

fn sent_frame(frame: &Frame) -> SentFrame {
    SentFrame { number: frame.number, timestamp_ms: frame.timestamp_ms }
}

fn notes_not_answered() -> Warning {
    Warning {
        code: "notes_not_answered".to_owned(),
        detail: "Your notes were not answered, since nothing is said about technique.".to_owned(),
        frames: Vec::new(),
    }
}

fn digest_of_digests(frames: &[CaptureFrame]) -> String {
    let mut all = Sha256::new();
    for frame in frames {
        all.update(Sha256::digest(&frame.jpeg));
    }
    hex::encode(all.finalize())
}

fn log_failure(analysis: &Analysis, error: &AnalysisError) {
    let causes = upstream::chain(error);
    let code = analysis.failure.as_ref().map_or("", |it| it.code.as_str());
    tracing::warn!(
        analysis.id = %analysis.id, session.id = %analysis.session_id, code, causes,
        "analysis {} failed: {code}", analysis.id,
    );
}

/// The failure as the swimmer is told it.
fn failure(error: &AnalysisError, part_stands: bool) -> Failure {
    let (code, detail, can_resume) = words(error);
    let detail = if part_stands {
        format!("The technique analysis stands, but your notes were not answered. {detail}")
    } else {
        detail
    };
    Failure { code: code.to_owned(), detail, can_resume }
}

fn words(error: &AnalysisError) -> (&'static str, String, bool) {
    match error {
        AnalysisError::FrameMissing(frame) => (
            "frame_missing",
            format!("Frame {frame} is not in storage any more. Upload the frames again."),
            false,
        ),
        AnalysisError::FrameChanged(frame) => (
            "frame_changed",
            format!("Frame {frame} in storage is not the one that was uploaded. Upload the frames again."),
            false,
        ),
        AnalysisError::Undecodable(UndecodableFrame { number, .. }) => (
            "frame_undecodable",
            format!("Frame {number} is damaged inside and cannot be shown. Upload the frames again without it."),
            false,
        ),
        AnalysisError::Download(_) => (
            "storage_unavailable",
            "The frames could not be fetched from storage. They are safe: start the analysis again in a few minutes."
                .to_owned(),
            true,
        ),
        AnalysisError::Model(kind) => model_words(kind),
        AnalysisError::Stopped => {
            let failure = interrupted();
            ("interrupted", failure.detail, failure.can_resume)
        }
        AnalysisError::Task(_) | AnalysisError::Panicked => (
            "internal",
            "Something broke inside the service. Start the analysis again; if it happens twice, tell the operator."
                .to_owned(),
            true,
        ),
    }
}

fn model_words(kind: &VisionErrorKind) -> (&'static str, String, bool) {
    let (code, detail, can_resume) = match kind {
        VisionErrorKind::Upstream(error) => upstream_words(error.kind),
        VisionErrorKind::Refused { .. } => (
            "model_refused",
            "The model declined to look at these frames. Upload frames that show only the swimmer in the water.",
            true,
        ),
        VisionErrorKind::CutOff => (
            "model_cut_off",
            "The answer became too long and was cut off. Start the analysis again, or upload fewer frames.",
            true,
        ),
        VisionErrorKind::Malformed(_) => (
            "model_invalid_output",
            "The model's answer could not be read, so nothing of it is shown. Start the analysis again.",
            true,
        ),
        VisionErrorKind::OverAllowance => (
            "budget_spent",
            "The model broke off, and the budget of this month has no room to ask it again.",
            true,
        ),
        VisionErrorKind::TooLarge(why) => {
            let detail =
                format!("The frames are too much for one look: {why}. Upload fewer or smaller frames.");
            return ("frames_too_large", detail, false);
        }
    };
    (code, detail.to_owned(), can_resume)
}

fn upstream_words(kind: UpstreamErrorKind) -> (&'static str, &'static str, bool) {
    match kind {
        UpstreamErrorKind::Unavailable | UpstreamErrorKind::Timeout => (
            "model_unavailable",
            "The model could not be reached or broke off. Start the analysis again in a few minutes.",
            true,
        ),
        UpstreamErrorKind::RateLimited { .. } => (
            "model_busy",
            "The model has too much to do just now. Start the analysis again in a few minutes.",
            true,
        ),
        UpstreamErrorKind::Exhausted => (
            "model_exhausted",
            "The service's budget with the model is used up. Tell the operator; start the analysis again once it is raised.",
            true,
        ),
        UpstreamErrorKind::Unauthorized | UpstreamErrorKind::NotFound => (
            "model_misconfigured",
            "The service is not set up rightly to ask the model. Tell the operator; start the analysis again once it is mended.",
            true,
        ),
        UpstreamErrorKind::TooLarge | UpstreamErrorKind::Rejected | UpstreamErrorKind::InvalidResponse => (
            "model_rejected",
            "The model did not accept the request. Tell the operator, who finds the reason in the log.",
            true,
        ),
    }
}
