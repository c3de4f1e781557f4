//! Every refusal as RFC 9457 `application/problem+json`, made in one place from what went wrong.
//!
//! The client hears what to do; the log hears why. No other file names a status code of a refusal.

use crate::access::Scope;
use crate::coach::{CoachError, TermsError, UploadError};
use crate::identity::IdentityError;
use crate::session::Failure;
use crate::storage::mock::RedeemError;
use crate::upstream::{self, Service, UpstreamError, UpstreamErrorKind};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_extra::headers::{ContentRange, HeaderMapExt};
use chrono::{Days, NaiveTime, Utc};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::borrow::Cow;
use std::time::Duration;
use thiserror::Error;
use utoipa::ToSchema;

/// The content type of a problem.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// How long a client waits before it returns to something that is down.
const COME_BACK: Duration = Duration::from_secs(5);

/// Everything that a request can fail with.
#[derive(Debug, Error)]
pub(super) enum ApiError {
    #[error(transparent)]
    Coach(#[from] CoachError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("this key may not do that: it lacks the scope {}", .0.as_str())]
    MissingScope(Scope),
    #[error("requests come too often; come back in {} seconds", .wait.as_secs_f64().ceil())]
    TooOften { wait: Duration },
    #[error(
        "this service does not answer under the host that the request names; use its own name, which PUBLIC_URL tells it"
    )]
    WrongHost,
    #[error("there is nothing at this path")]
    NotFound,
    #[error("this path does not know this method")]
    MethodNotAllowed,
    #[error("{detail}")]
    InvalidParameter { pointer: String, detail: String },
    #[error("the body is not JSON of the expected shape: {0}")]
    InvalidJson(String),
    #[error("the body broke off; send the request again")]
    BrokenBody(String),
    #[error("send the body as application/json")]
    NotJson,
    #[error("a frame is a JPEG, and the body is said to be {0:?}; send it as image/jpeg")]
    NotImage(String),
    #[error("the frame has {size} bytes, and the range has none of them")]
    BehindTheEnd { size: u64 },
    #[error("something broke inside the service; it has been logged under this request's id")]
    Untaggable,
    #[error("send the body as multipart/form-data with frames as parts named frames")]
    NotMultipart,
    #[error("the multipart body is broken: {0}; nothing was kept, send the upload again")]
    MalformedMultipart(String),
    #[error("the request has more than {max_bytes} bytes; send fewer or smaller frames")]
    RequestTooLarge { max_bytes: u64 },
    #[error("nothing came for {} seconds; nothing was kept, send the upload again", .0.as_secs())]
    SlowBody(Duration),
    #[error("the upload took more than {} minutes; nothing was kept, send fewer or smaller frames", .0.as_secs() / 60)]
    SlowUpload(Duration),
    #[error("too many frames are on their way; try again in a few seconds")]
    TooManyUploads,
    #[error("a presigned request was refused")]
    Redeem(#[from] RedeemError),
    #[error(
        "the same request, or another with its Idempotency-Key, is under way; try again in a few seconds"
    )]
    RequestUnderWay,
    #[error("this Idempotency-Key was used for another request; take a new key for each request")]
    IdempotencyMismatch,
    #[error("this request was done, but its answer was too long to be kept; read what it made")]
    AnswerNotKept,
    #[error("something broke inside the service; it has been logged under this request's id")]
    Unwritable(#[source] serde_json::Error),
    #[error("something broke inside the service; it has been logged under this request's id")]
    Panic,
}

/// A problem before the request's id and path are known; [`super::layers::observe`] adds them.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) detail: String,
    pub(super) errors: Vec<FieldProblem>,
    pub(super) retry_after: Option<Duration>,
    /// What exactly happened; for the log.
    pub(super) cause: Option<String>,
}

/// A problem as RFC 9457 writes it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProblemBody {
    /// `urn:swimcoach:problem:` and the code.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// The status in words.
    pub(super) title: &'static str,
    /// The status code.
    pub(super) status: u16,
    /// What happened and what to do, in a sentence.
    pub(super) detail: String,
    /// The path of the request.
    pub(super) instance: String,
    /// A stable word for programs.
    pub(super) code: Cow<'static, str>,
    /// The id under which the log speaks of this request.
    pub(super) request_id: String,
    /// Which parts of the request are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<FieldProblem>,
}

/// What is wrong with one part of a request.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct FieldProblem {
    /// Which part, as a JSON pointer; frames count from 1, as in their numbers.
    pub(super) pointer: String,
    /// What is wrong with it.
    pub(super) detail: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Problem::from(&self).into_response();
        if let Self::BehindTheEnd { size } = self {
            response.headers_mut().typed_insert(ContentRange::unsatisfied_bytes(size));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs_f64().ceil().max(1.0);
            if let Ok(value) = HeaderValue::from_str(&format!("{seconds:.0}")) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<&ApiError> for Problem {
    fn from(error: &ApiError) -> Self {
        use StatusCode as S;
        match error {
            ApiError::Coach(error) => Self::from(error),
            ApiError::Identity(error) => Self::from(error),
            ApiError::MissingScope(_) => Self::new(S::FORBIDDEN, "scope_missing", error),
            ApiError::TooOften { wait } => {
                Self::new(S::TOO_MANY_REQUESTS, "too_often", error).come_back(*wait)
            }
            ApiError::WrongHost => Self::new(S::MISDIRECTED_REQUEST, "wrong_host", error),
            ApiError::NotFound => Self::new(S::NOT_FOUND, "not_found", error),
            ApiError::MethodNotAllowed => Self::new(S::METHOD_NOT_ALLOWED, "method_not_allowed", error),
            ApiError::InvalidParameter { pointer, .. } => {
                Self::new(S::UNPROCESSABLE_ENTITY, "validation", error).at(pointer.clone())
            }
            ApiError::InvalidJson(_) => Self::new(S::UNPROCESSABLE_ENTITY, "validation", error),
            ApiError::BrokenBody(cause) => {
                Self { cause: Some(cause.clone()), ..Self::new(S::BAD_REQUEST, "broken_body", error) }
            }
            ApiError::BehindTheEnd { .. } => {
                Self::new(S::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", error)
            }
            ApiError::Untaggable => Self {
                cause: Some("an entity tag of storage is none of HTTP".to_owned()),
                ..Self::from(&ApiError::Panic)
            },
            ApiError::NotJson | ApiError::NotMultipart | ApiError::NotImage(_) => {
                Self::new(S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", error)
            }
            ApiError::MalformedMultipart(_) => Self::new(S::BAD_REQUEST, "malformed_multipart", error),
            ApiError::RequestTooLarge { .. } => Self::new(S::PAYLOAD_TOO_LARGE, "request_too_large", error),
            ApiError::SlowBody(_) | ApiError::SlowUpload(_) => {
                Self::new(S::REQUEST_TIMEOUT, "slow_body", error)
            }
            ApiError::TooManyUploads => {
                Self::new(S::SERVICE_UNAVAILABLE, "too_many_uploads", error).come_back(COME_BACK)
            }
            ApiError::Redeem(error) => Self::from(error),
            ApiError::RequestUnderWay => {
                Self::new(S::CONFLICT, "request_under_way", error).come_back(COME_BACK)
            }
            ApiError::IdempotencyMismatch => {
                Self::new(S::UNPROCESSABLE_ENTITY, "idempotency_mismatch", error)
            }
            ApiError::AnswerNotKept => Self::new(S::CONFLICT, "answer_not_kept", error),
            ApiError::Unwritable(_) => {
                Self { cause: Some(upstream::chain(error)), ..Self::from(&ApiError::Panic) }
            }
            ApiError::Panic => Self::new(S::INTERNAL_SERVER_ERROR, "internal", error),
        }
    }
}

impl From<&IdentityError> for Problem {
    fn from(error: &IdentityError) -> Self {
        use StatusCode as S;
        match error {
            IdentityError::Missing => Self::new(S::UNAUTHORIZED, "unauthenticated", error),
            IdentityError::Invalid(why) => Self {
                cause: Some((*why).to_owned()),
                ..Self::new(S::UNAUTHORIZED, "unauthenticated", error)
            },
            IdentityError::MayNotImpersonate => Self::new(S::FORBIDDEN, "scope_missing", error),
            IdentityError::InvalidUser => Self::new(S::BAD_REQUEST, "invalid_user", error),
            IdentityError::Upstream(error) => Self::from(error),
        }
    }
}

impl From<&CoachError> for Problem {
    fn from(error: &CoachError) -> Self {
        use StatusCode as S;
        match error {
            CoachError::NoSuchSession(_) => Self::new(S::NOT_FOUND, "session_not_found", error),
            CoachError::NoSuchFrame(_) => Self::new(S::NOT_FOUND, "frame_not_found", error),
            CoachError::FrameLost(_) => Self::new(S::NOT_FOUND, "frame_missing", error),
            CoachError::FrameExists(_) => Self::new(S::CONFLICT, "frame_exists", error),
            CoachError::NotPut(_) => Self::new(S::CONFLICT, "frame_not_put", error),
            CoachError::Closed(_) => Self::new(S::CONFLICT, "session_closed", error),
            CoachError::NoFrames(_) => Self::new(S::CONFLICT, "no_frames", error),
            CoachError::NoConsent(_) => Self::new(S::FORBIDDEN, "consent_missing", error),
            CoachError::Terms(error) => Self::from(error),
            CoachError::NotAsked(_) | CoachError::NotAnalyzed(_) => {
                Self::new(S::CONFLICT, "not_analyzed", error)
            }
            CoachError::NothingToTalkAbout(_) => Self::new(S::CONFLICT, "nothing_to_talk_about", error),
            CoachError::NothingRuns(_) => Self::new(S::CONFLICT, "nothing_runs", error),
            CoachError::AnswerUnderWay => {
                Self::new(S::CONFLICT, "answer_under_way", error).come_back(COME_BACK)
            }
            CoachError::ConversationFull { .. } => Self::new(S::CONFLICT, "conversation_full", error),
            CoachError::NotAnswered(failure) | CoachError::NotChecked(failure) => Self::failed(failure),
            CoachError::OverBudget { .. } => Self::new(S::PAYMENT_REQUIRED, "budget_spent", error),
            CoachError::EnoughToday { .. } => {
                Self::new(S::TOO_MANY_REQUESTS, "enough_analyses_today", error).come_back(until_tomorrow())
            }
            CoachError::Quota(error) => Self::new(S::TOO_MANY_REQUESTS, "quota_reached", error),
            CoachError::CallerBusy { .. } => {
                Self::new(S::TOO_MANY_REQUESTS, "too_many_analyses_of_caller", error)
                    .come_back(Duration::from_mins(1))
            }
            CoachError::Busy => Self::new(S::SERVICE_UNAVAILABLE, "too_many_analyses", error)
                .come_back(Duration::from_mins(1)),
            CoachError::Upload(error) => Self::from(error),
            CoachError::Upstream(error) => Self::from(error),
            CoachError::Task(_) => {
                Self { cause: Some(upstream::chain(error)), ..Self::from(&ApiError::Panic) }
            }
        }
    }
}

impl From<&TermsError> for Problem {
    fn from(error: &TermsError) -> Self {
        let (code, pointer) = match error {
            TermsError::ConsentMissing => ("consent_missing", "/consent"),
            TermsError::MinorAgreed | TermsError::NoAnalysis => ("validation", "/consent"),
            TermsError::Retention { .. } => ("validation", "/retention_days"),
            TermsError::Widened => ("validation", "/purposes"),
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, error).at(pointer.to_owned())
    }
}

impl From<&UploadError> for Problem {
    fn from(error: &UploadError) -> Self {
        use StatusCode as S;
        match error {
            UploadError::Frame { number, source } => {
                Self::new(S::UNPROCESSABLE_ENTITY, source.code(), error).at(format!("/frames/{number}"))
            }
            UploadError::FrameTooLarge { number, .. } => {
                Self::new(S::PAYLOAD_TOO_LARGE, "frame_too_many_bytes", error).at(format!("/frames/{number}"))
            }
            UploadError::DigestMismatch { number } => {
                Self::new(S::UNPROCESSABLE_ENTITY, "digest_mismatch", error).at(format!("/frames/{number}"))
            }
            UploadError::Refused { number, .. } => {
                Self::new(S::UNPROCESSABLE_ENTITY, "frame_refused", error).at(format!("/frames/{number}"))
            }
            UploadError::NoFrames => {
                Self::new(S::UNPROCESSABLE_ENTITY, "no_frames", error).at("/frames".to_owned())
            }
            UploadError::TooManyFrames { .. } => {
                Self::new(S::UNPROCESSABLE_ENTITY, "too_many_frames", error).at("/frames".to_owned())
            }
            UploadError::NumberTooLarge { number, .. } => {
                Self::new(S::UNPROCESSABLE_ENTITY, "too_many_frames", error).at(format!("/frames/{number}"))
            }
            UploadError::Manifest(_) => {
                Self::new(S::UNPROCESSABLE_ENTITY, "validation", error).at("/manifest".to_owned())
            }
        }
    }
}

impl From<&RedeemError> for Problem {
    fn from(error: &RedeemError) -> Self {
        use StatusCode as S;
        match error {
            RedeemError::SignatureMismatch => Self::new(S::FORBIDDEN, "signature_mismatch", error),
            RedeemError::Expired => Self::new(S::FORBIDDEN, "url_expired", error),
            RedeemError::NotFound => Self::new(S::NOT_FOUND, "not_found", error),
            RedeemError::AlreadyExists => Self::new(S::PRECONDITION_FAILED, "frame_exists", error),
            RedeemError::Full => Self::new(S::SERVICE_UNAVAILABLE, "storage_full", error),
        }
    }
}

impl From<&UpstreamError> for Problem {
    fn from(error: &UpstreamError) -> Self {
        let (code, what) = match error.service {
            Service::Storage => ("storage_unavailable", "frames cannot be stored or read just now"),
            Service::Records => ("records_unavailable", "records cannot be written or read just now"),
            Service::Model => ("model_unavailable", "the model cannot be asked just now"),
            Service::Provider => ("sign_in_unavailable", "it cannot be checked just now who you are"),
            Service::Moderation => (
                "moderation_unavailable",
                "frames cannot be let in just now, since nobody says whether they may be",
            ),
        };
        let (status, retry_after) = match error.kind {
            UpstreamErrorKind::RateLimited { retry_after } => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(retry_after.unwrap_or(COME_BACK)))
            }
            UpstreamErrorKind::Unavailable | UpstreamErrorKind::Timeout => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(COME_BACK))
            }
            UpstreamErrorKind::Unauthorized | UpstreamErrorKind::NotFound | UpstreamErrorKind::Exhausted => {
                (StatusCode::SERVICE_UNAVAILABLE, None)
            }
            UpstreamErrorKind::TooLarge
            | UpstreamErrorKind::Rejected
            | UpstreamErrorKind::InvalidResponse => (StatusCode::BAD_GATEWAY, None),
        };
        let advice = match retry_after {
            Some(_) => "try again in a few seconds",
            None => "tell the operator, who finds the reason in the log",
        };
        Self {
            status,
            code: code.into(),
            detail: format!("{what}; {advice}"),
            errors: Vec::new(),
            retry_after,
            cause: Some(upstream::chain(error)),
        }
    }
}

/// The time until the next day begins in UTC.
fn until_tomorrow() -> Duration {
    let now = Utc::now();
    let tomorrow = (now.date_naive() + Days::new(1)).and_time(NaiveTime::MIN).and_utc();
    (tomorrow - now).to_std().unwrap_or_default()
}

/// In which ways a message can stay unanswered, or frames unchecked: the code of the failure, the status, and whether
/// it is worth coming back soon.
const FAILURES: [(&str, StatusCode, bool); 17] = [
    ("budget_spent", StatusCode::PAYMENT_REQUIRED, false),
    ("consent_missing", StatusCode::FORBIDDEN, false),
    ("frame_missing", StatusCode::CONFLICT, false),
    ("frame_changed", StatusCode::CONFLICT, false),
    ("frame_undecodable", StatusCode::CONFLICT, false),
    ("frames_too_large", StatusCode::CONFLICT, false),
    ("model_refused", StatusCode::UNPROCESSABLE_ENTITY, false),
    ("model_cut_off", StatusCode::BAD_GATEWAY, false),
    ("model_invalid_output", StatusCode::BAD_GATEWAY, false),
    ("model_rejected", StatusCode::BAD_GATEWAY, false),
    ("model_unavailable", StatusCode::SERVICE_UNAVAILABLE, true),
    ("model_busy", StatusCode::SERVICE_UNAVAILABLE, true),
    ("model_exhausted", StatusCode::SERVICE_UNAVAILABLE, false),
    ("model_misconfigured", StatusCode::SERVICE_UNAVAILABLE, false),
    ("storage_unavailable", StatusCode::SERVICE_UNAVAILABLE, true),
    ("records_unavailable", StatusCode::SERVICE_UNAVAILABLE, true),
    ("interrupted", StatusCode::SERVICE_UNAVAILABLE, true),
];

impl Problem {
    /// What was not done, in the words of the failure.
    fn failed(failure: &Failure) -> Self {
        let known = FAILURES.iter().find(|(code, ..)| *code == failure.code);
        let (code, status, is_passing) =
            *known.unwrap_or(&("internal", StatusCode::INTERNAL_SERVER_ERROR, false));
        Self {
            status,
            code: code.into(),
            detail: failure.detail.clone(),
            errors: Vec::new(),
            retry_after: is_passing.then_some(COME_BACK),
            cause: None,
        }
    }

    fn new(status: StatusCode, code: &'static str, error: &dyn std::error::Error) -> Self {
        Self {
            status,
            code: code.into(),
            detail: error.to_string(),
            errors: Vec::new(),
            retry_after: None,
            cause: None,
        }
    }

    /// A refusal that a library made without us.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let detail =
            format!("the request was refused: {}", status.canonical_reason().unwrap_or("no reason given"));
        Self { status, code: "refused".into(), detail, errors: Vec::new(), retry_after: None, cause: None }
    }

    fn at(mut self, pointer: String) -> Self {
        self.errors.push(FieldProblem { pointer, detail: self.detail.clone() });
        self
    }

    fn come_back(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The problem as it is written, once the request is known.
    pub(super) fn body(self, request_id: String, instance: String) -> ProblemBody {
        ProblemBody {
            kind: format!("urn:swimcoach:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.detail,
            instance,
            code: self.code,
            request_id,
            errors: self.errors,
        }
    }
}

/// Answers for paths that are not in the table.
pub(super) async fn not_found() -> ApiError {
    ApiError::NotFound
}

/// Answers for methods that are not in the table.
pub(super) async fn method_not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}

/// Answers for a handler that panicked. What it said stays in the log.
#[expect(clippy::needless_pass_by_value, reason = "the layer that catches panics hands it over")]
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    let problem = Problem { cause: said.map(|it| format!("panic: {it}")), ..Problem::from(&ApiError::Panic) };
    problem.into_response()
}

/// The header that carries the request's id.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
