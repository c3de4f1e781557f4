//! Why a message was not answered, and how the swimmer is told.

use crate::capture::UndecodableFrame;
use crate::coach::CoachError;
use crate::coach::words::{AnalysisError, model_failure};
use crate::session::{Failure, SessionId};
use crate::upstream::{UpstreamError, UpstreamErrorKind};
use crate::vision::VisionErrorKind;
use thiserror::Error;

/// What everybody who waits for an answer is told where there is none.
#[derive(Debug, Clone)]
pub(in crate::coach) enum Unanswered {
    /// The session was deleted meanwhile.
    Gone(SessionId),
    /// It failed.
    Failed(Failure),
}

/// Why a message is not answered.
#[derive(Debug, Error)]
pub(super) enum AnswerError {
    #[error("the frames could not be shown again")]
    Look(#[from] AnalysisError),
    #[error("the model gave no whole answer")]
    Model(#[source] VisionErrorKind),
    #[error("the model broke off again and again, each time after it had cost what was reserved")]
    BrokeOff,
    #[error("nothing more could be reserved for asking the model again")]
    NotReserved(#[source] CoachError),
    #[error("nothing of the answer may be published")]
    NothingSaid,
    #[error("the turns could not be written down")]
    NotKept(#[source] UpstreamError),
    #[error("the right to answer was lost to another process")]
    ClaimLost,
    #[error("the session was deleted")]
    Deleted,
    #[error("the service is stopping")]
    Stopped,
    #[error("a step panicked; standard error has what it said")]
    Panicked,
}

/// The failure for everything that is a bug.
pub(super) fn internal() -> Failure {
    failure(&AnswerError::Panicked)
}

/// The failure as the swimmer is told it: what happened, that nothing was kept, and what to do.
pub(super) fn failure(error: &AnswerError) -> Failure {
    let (code, what, how, can_resume) = words(error);
    let detail = match error {
        // A write that failed may have happened.
        AnswerError::NotKept(_) => format!("{what} {how}"),
        _ => format!("{what} Nothing of your message was kept: {how}"),
    };
    Failure { code: code.to_owned(), detail, can_resume }
}

/// A word for programs, what happened, what to do, and whether sending it again may help.
type Words = (&'static str, String, &'static str, bool);

const LATER: &str = "send it again in a few minutes.";
const AGAIN: &str = "send it again.";
const UPLOAD: &str = "upload the frames again to talk about them.";

fn words(error: &AnswerError) -> Words {
    let (code, what, how, can_resume) = match error {
        AnswerError::Look(error) => return look_words(error),
        AnswerError::Model(kind) => return model_words(kind),
        AnswerError::BrokeOff => return upstream_words(UpstreamErrorKind::Unavailable),
        AnswerError::NotReserved(CoachError::OverBudget { .. } | CoachError::EnoughToday { .. }) => {
            return model_words(&VisionErrorKind::OverAllowance);
        }
        AnswerError::NotReserved(_) => (
            "records_unavailable",
            "The records could not be reached, so that the model was not asked again.",
            LATER,
            true,
        ),
        AnswerError::NothingSaid => {
            ("model_invalid_output", "Nothing of the model's answer can be shown.", AGAIN, true)
        }
        AnswerError::NotKept(_) => (
            "records_unavailable",
            "The answer could not be written down.",
            "Look whether your message is in the conversation, and send it again if it is not.",
            true,
        ),
        AnswerError::ClaimLost | AnswerError::Stopped | AnswerError::Deleted => {
            ("interrupted", "The service was interrupted while it answered.", AGAIN, true)
        }
        AnswerError::Panicked => (
            "internal",
            "Something broke inside the service.",
            "send it again; if it happens twice, tell the operator.",
            true,
        ),
    };
    (code, what.to_owned(), how, can_resume)
}

fn look_words(error: &AnalysisError) -> Words {
    match error {
        AnalysisError::FrameMissing(frame) => {
            ("frame_missing", format!("Frame {frame} is not in storage any more."), UPLOAD, false)
        }
        AnalysisError::FrameChanged(frame) => (
            "frame_changed",
            format!("Frame {frame} in storage is not the one that was uploaded."),
            UPLOAD,
            false,
        ),
        AnalysisError::Undecodable(UndecodableFrame { number, .. })
        | AnalysisError::Unscalable { number, .. } => (
            "frame_undecodable",
            format!("Frame {number} is damaged inside and cannot be shown."),
            UPLOAD,
            false,
        ),
        AnalysisError::Download(_) => (
            "storage_unavailable",
            "The frames could not be fetched from storage; they are safe.".to_owned(),
            LATER,
            true,
        ),
        _ => words(&AnswerError::Panicked),
    }
}

fn model_words(kind: &VisionErrorKind) -> Words {
    let (code, what, how, can_resume) = match kind {
        VisionErrorKind::Upstream(error) => return upstream_words(error.kind),
        VisionErrorKind::Refused { .. } => (
            "model_refused",
            "The model declined to answer this message.",
            "ask about the swimming, in other words.",
            true,
        ),
        VisionErrorKind::CutOff => (
            "model_cut_off",
            "The answer became too long and was cut off.",
            "ask for less in one message.",
            true,
        ),
        VisionErrorKind::Malformed(_) => {
            ("model_invalid_output", "The model's answer could not be read.", AGAIN, true)
        }
        VisionErrorKind::OverAllowance => (
            "budget_spent",
            "The model broke off, and the budget of this month has no room to ask it again.",
            "send it again next month, or ask the operator to raise the budget.",
            true,
        ),
        VisionErrorKind::TooLarge(why) => {
            let what = format!("The frames and the conversation are too much for one request: {why}.");
            return ("frames_too_large", what, "upload fewer or smaller frames to talk about.", false);
        }
    };
    (code, what.to_owned(), how, can_resume)
}

fn upstream_words(kind: UpstreamErrorKind) -> Words {
    let (code, what) = model_failure(kind);
    let how = match kind {
        UpstreamErrorKind::Unavailable
        | UpstreamErrorKind::Timeout
        | UpstreamErrorKind::RateLimited { .. } => LATER,
        UpstreamErrorKind::Exhausted => "tell the operator, and send it again once it is raised.",
        UpstreamErrorKind::Unauthorized | UpstreamErrorKind::NotFound => {
            "tell the operator, and send it again once it is mended."
        }
        UpstreamErrorKind::TooLarge | UpstreamErrorKind::Rejected | UpstreamErrorKind::InvalidResponse => {
            "tell the operator, who finds the reason in the log."
        }
    };
    (code, what.to_owned(), how, true)
}
