//! What a failure of the Messages API means to us.

use crate::upstream::{self, Service, UpstreamError, UpstreamErrorKind};
use chrono::{DateTime, Utc};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use std::time::Duration;

/// The most of an error's body that is read; more is a page of a gateway.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// `{"type":"error","error":{…}}`, in a body and in a stream alike.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorBody {
    pub(super) error: ErrorDetail,
}

/// What went wrong. Messages are for people and change; nothing is decided by them.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorDetail {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    details: Option<ErrorCode>,
}

#[derive(Debug, Deserialize)]
struct ErrorCode {
    #[serde(default)]
    error_code: Option<String>,
}

/// A request that did not come through, or an answer that broke off.
pub(super) fn transport(operation: &'static str, error: reqwest::Error) -> UpstreamError {
    upstream::transport(Service::Model, operation, error)
}

/// A status that says no.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: UpstreamError,
    /// The other side says that the same request is not to be tried again, whatever the kind of the error. The
    /// kind stays, since it has the words for the swimmer.
    pub(super) is_final: bool,
}

/// The response where it is a success, otherwise what its status and body mean.
pub(super) async fn refused(operation: &'static str, response: Response) -> Result<Response, Refusal> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let header = |name: &str| response.headers().get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
    let request_id = header("request-id").unwrap_or_else(|| "none".to_owned());
    let should_retry = header("x-should-retry").and_then(|it| it.parse::<bool>().ok());
    let retry_after = retry_after(header("retry-after-ms").as_deref(), header("retry-after").as_deref());
    let detail = detail(response).await;

    let kind = match (kind(status, detail.as_ref(), retry_after), should_retry) {
        (kind, Some(true)) if !kind.is_transient() => UpstreamErrorKind::Unavailable,
        (kind, _) => kind,
    };
    let word = detail.map_or_else(|| "no JSON body".to_owned(), |it| it.kind);
    let why = format!("status {}, {word}, request id {request_id}", status.as_u16());
    let error = UpstreamError::new(Service::Model, operation, kind, why);
    Err(Refusal { error, is_final: should_retry == Some(false) })
}

/// An error event within a stream whose status was 200.
pub(super) fn in_stream(detail: &ErrorDetail) -> UpstreamError {
    let kind = match detail.kind.as_str() {
        "rate_limit_error" => UpstreamErrorKind::RateLimited { retry_after: None },
        "authentication_error" | "permission_error" => UpstreamErrorKind::Unauthorized,
        "billing_error" => UpstreamErrorKind::Exhausted,
        "not_found_error" => UpstreamErrorKind::NotFound,
        "request_too_large" => UpstreamErrorKind::TooLarge,
        "invalid_request_error" => UpstreamErrorKind::Rejected,
        // overloaded_error, api_error, timeout_error, and what is yet to be invented.
        _ => UpstreamErrorKind::Unavailable,
    };
    let why = format!("{} within the stream", detail.kind);
    UpstreamError::new(Service::Model, "POST /v1/messages", kind, why)
}

fn kind(
    status: StatusCode,
    detail: Option<&ErrorDetail>,
    retry_after: Option<Duration>,
) -> UpstreamErrorKind {
    let code = detail.and_then(|it| it.details.as_ref()?.error_code.as_deref());
    match status.as_u16() {
        401 | 403 => UpstreamErrorKind::Unauthorized,
        402 => UpstreamErrorKind::Exhausted,
        404 => UpstreamErrorKind::NotFound,
        // A limit of money does not pass by itself, a limit of pace does.
        429 if code.is_some_and(|it| it.ends_with("spend_limit_reached")) => UpstreamErrorKind::Exhausted,
        429 => UpstreamErrorKind::RateLimited { retry_after },
        // A gateway on the way may find that before Claude does.
        413 => UpstreamErrorKind::TooLarge,
        408 | 500..=599 => UpstreamErrorKind::Unavailable,
        _ => UpstreamErrorKind::Rejected,
    }
}

/// How long the other side asks us to wait: milliseconds, else seconds, else a date (RFC 9110).
fn retry_after(milliseconds: Option<&str>, seconds_or_date: Option<&str>) -> Option<Duration> {
    let number = |it: &str| it.trim().parse::<f64>().ok();
    let seconds = milliseconds.and_then(number).map(|it| it / 1000.0);
    if let Some(seconds) = seconds.or_else(|| seconds_or_date.and_then(number)) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = DateTime::parse_from_rfc2822(seconds_or_date?.trim()).ok()?;
    Some((date.to_utc() - Utc::now()).to_std().unwrap_or_default()) // a date that has passed is now
}

async fn detail(mut response: Response) -> Option<ErrorDetail> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if MAX_ERROR_BYTES < body.len() {
            return None;
        }
    }
    serde_json::from_slice(&body).map(|it: ErrorBody| it.error).ok()
}
