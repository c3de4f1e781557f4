//! What a failure of the S3 client means to us.

use crate::upstream::{self, Service, UpstreamError, UpstreamErrorKind};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::time::Duration;

/// A failure by its HTTP status first, since R2's codes differ from S3's and HEAD has none.
///
/// The source names status, code and request id only: R2's messages echo signed requests.
pub(super) fn failure<E: ProvideErrorMetadata>(
    operation: &'static str,
    error: &SdkError<E, HttpResponse>,
) -> UpstreamError {
    let failed = |kind, why: String| UpstreamError::new(Service::Storage, operation, kind, why);
    match error {
        SdkError::TimeoutError(_) => failed(UpstreamErrorKind::Timeout, "no answer in time".to_owned()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            failed(UpstreamErrorKind::Timeout, "no connection in time".to_owned())
        }
        SdkError::DispatchFailure(failure) => {
            let why =
                failure.as_connector_error().map_or_else(|| "no connection".to_owned(), |it| innermost(it));
            failed(UpstreamErrorKind::Unavailable, why)
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            failed(UpstreamErrorKind::Unavailable, format!("status {status} with a body that cannot be read"))
        }
        SdkError::ServiceError(refusal) => {
            let (response, code) = (refusal.raw(), refusal.err().code());
            failed(kind(response, code), in_words(response, code))
        }
        _ => failed(UpstreamErrorKind::Rejected, "the request could not be made".to_owned()),
    }
}

fn kind(response: &HttpResponse, code: Option<&str>) -> UpstreamErrorKind {
    let retry_after = retry_after(response);
    match response.status().as_u16() {
        429 => UpstreamErrorKind::RateLimited { retry_after },
        // A server that says when to come back is down on purpose.
        503 if retry_after.is_some() => UpstreamErrorKind::RateLimited { retry_after },
        // SlowDown comes with a 503, or inside a 200, where an error is known by its code alone.
        _ if code == Some("SlowDown") => UpstreamErrorKind::RateLimited { retry_after },
        200 if code.is_none() => UpstreamErrorKind::InvalidResponse,
        // S3's word for two conditional writes that met; the next try finds one of them done.
        409 if code == Some("ConditionalRequestConflict") => UpstreamErrorKind::Unavailable,
        401 | 403 => UpstreamErrorKind::Unauthorized,
        404 => UpstreamErrorKind::NotFound,
        // Not implemented, and a little later neither.
        501 => UpstreamErrorKind::Rejected,
        // 499 is how R2 calls a client that went away.
        200 | 408 | 499 | 500..=599 => UpstreamErrorKind::Unavailable,
        // A body that broke off on its way.
        400 if matches!(code, Some("IncompleteBody" | "ClientDisconnect" | "RequestTimeout")) => {
            UpstreamErrorKind::Unavailable
        }
        _ => UpstreamErrorKind::Rejected,
    }
}

fn retry_after(response: &HttpResponse) -> Option<Duration> {
    upstream::seconds(response.headers().get("retry-after")?)
}

fn in_words(response: &HttpResponse, code: Option<&str>) -> String {
    let header = |name| response.headers().get(name);
    let id = header("cf-ray").or_else(|| header("x-amz-request-id")).unwrap_or("none");
    format!("status {} {}, request id {id}", response.status().as_u16(), code.unwrap_or("without a code"))
}

/// The last cause: "connection refused" rather than "dispatch failure".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |it| it.source()).last().map(ToString::to_string).unwrap_or_default()
}
