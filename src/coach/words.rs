//! Why an analysis ends without a whole result, and how the swimmer is told.

use super::CoachError;
use crate::capture::UndecodableFrame;
use crate::jpeg::JpegError;
use crate::session::{Failure, FrameNumber};
use crate::upstream::{UpstreamError, UpstreamErrorKind};
use crate::vision::VisionErrorKind;
use thiserror::Error;

/// Why an analysis ends without a whole result.
#[derive(Debug, Error)]
pub(super) enum AnalysisError {
    #[error("frame {0} is not in storage any more")]
    FrameMissing(FrameNumber),
    #[error("frame {0} in storage is not the one that was acknowledged")]
    FrameChanged(FrameNumber),
    #[error(transparent)]
    Undecodable(#[from] UndecodableFrame),
    #[error("frame {number} cannot be scaled")]
    Unscalable {
        number: FrameNumber,
        #[source]
        source: JpegError,
    },
    #[error("frames could not be downloaded")]
    Download(#[from] UpstreamError),
    #[error("the model gave no whole answer")]
    Model(#[source] VisionErrorKind),
    #[error("the model broke off again and again, each time after it had cost what was reserved")]
    BrokeOff,
    #[error("nothing more could be reserved for asking the model again")]
    NotReserved(#[source] CoachError),
    #[error("only {came} of {asked} looks came through")]
    LooksMissing {
        came: usize,
        asked: u8,
        #[source]
        source: Box<AnalysisError>,
    },
    #[error("nobody agreed that the frames are shown to a model of another company")]
    NoConsent,
    #[error("it was cancelled")]
    Cancelled,
    #[error("the processes that ran it went away again and again, or too long ago")]
    Interrupted,
    #[error("a task broke off")]
    Task(#[source] CoachError),
    #[error("a step panicked; standard error has what it said")]
    Panicked,
}

const NO_CONSENT: &str = "Nobody agreed that the frames are shown to a model that another company runs, so they were not. \
                          Upload them again with that consent.";

/// The failure as the swimmer is told it.
pub(super) fn failure(error: &AnalysisError, part_stands: bool) -> Failure {
    let (code, detail, can_resume) = words(error);
    let detail = match error {
        AnalysisError::LooksMissing { .. } => detail,
        _ if part_stands => {
            format!("The technique analysis stands, but your notes were not answered. {detail}")
        }
        _ => detail,
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
        AnalysisError::Undecodable(UndecodableFrame { number, .. })
        | AnalysisError::Unscalable { number, .. } => (
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
        AnalysisError::BrokeOff => upstream_words(UpstreamErrorKind::Unavailable),
        AnalysisError::NotReserved(CoachError::OverBudget { .. } | CoachError::EnoughToday { .. }) => model_words(&VisionErrorKind::OverAllowance),
        AnalysisError::NotReserved(_) => (
            "records_unavailable",
            "The records could not be reached, so that nothing more was asked of the model. Start the analysis again in \
             a few minutes."
                .to_owned(),
            true,
        ),
        AnalysisError::LooksMissing { came, asked, source } => {
            let (code, detail, can_resume) = words(source);
            let detail = format!("Only {came} of {asked} looks came through, and what they show stands. {detail}");
            (code, detail, can_resume)
        }
        AnalysisError::NoConsent => ("consent_missing", NO_CONSENT.to_owned(), false),
        AnalysisError::Cancelled => (
            "cancelled",
            "The analysis was cancelled. The frames are safe: start it again when you like.".to_owned(),
            true,
        ),
        AnalysisError::Interrupted => (
            "interrupted",
            "The service was stopped while it looked at the frames. They are safe: start the analysis again."
                .to_owned(),
            true,
        ),
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
        VisionErrorKind::Upstream(error) => return upstream_words(error.kind),
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

fn upstream_words(kind: UpstreamErrorKind) -> (&'static str, String, bool) {
    let (code, what) = model_failure(kind);
    let how = match kind {
        UpstreamErrorKind::Unavailable
        | UpstreamErrorKind::Timeout
        | UpstreamErrorKind::RateLimited { .. } => "Start the analysis again in a few minutes.",
        UpstreamErrorKind::Exhausted => "Tell the operator; start the analysis again once it is raised.",
        UpstreamErrorKind::Unauthorized | UpstreamErrorKind::NotFound => {
            "Tell the operator; start the analysis again once it is mended."
        }
        UpstreamErrorKind::TooLarge | UpstreamErrorKind::Rejected | UpstreamErrorKind::InvalidResponse => {
            "Tell the operator, who finds the reason in the log."
        }
    };
    (code, format!("{what} {how}"), true)
}

/// A word for programs, and what happened, where the model could not be asked.
pub(super) fn model_failure(kind: UpstreamErrorKind) -> (&'static str, &'static str) {
    match kind {
        UpstreamErrorKind::Unavailable | UpstreamErrorKind::Timeout => {
            ("model_unavailable", "The model could not be reached or broke off.")
        }
        UpstreamErrorKind::RateLimited { .. } => ("model_busy", "The model has too much to do just now."),
        UpstreamErrorKind::Exhausted => {
            ("model_exhausted", "The service's budget with the model is used up.")
        }
        UpstreamErrorKind::Unauthorized | UpstreamErrorKind::NotFound => {
            ("model_misconfigured", "The service is not set up rightly to ask the model.")
        }
        UpstreamErrorKind::TooLarge | UpstreamErrorKind::Rejected | UpstreamErrorKind::InvalidResponse => {
            ("model_rejected", "The model did not accept the request.")
        }
    }
}
