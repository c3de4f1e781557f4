//! Extractors whose refusals are problems like all others.
#![expect(clippy::disallowed_types, reason = "this is the file that wraps `Path`")]

use super::error::ApiError;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;

/// A path parameter. One that cannot be read names nothing, so the answer is 404.
#[derive(Debug)]
pub(super) struct ApiPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_) => Err(ApiError::NotFound),
        }
    }
}

/// The query string.
#[derive(Debug)]
pub(super) struct ApiQuery<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(refusal) => {
                Err(ApiError::InvalidParameter { pointer: "/query", detail: refusal.body_text() })
            }
        }
    }
}

/// A JSON body; an empty one stands for all defaults.
#[derive(Debug)]
pub(super) struct OptionalJson<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        /// No JSON body of the contract comes near this.
        const MAX_BYTES: usize = 64 * 1024;
        let is_json = is_json(request.headers());
        let body = match Bytes::from_request(request, state).await {
            Ok(body) if body.len() <= MAX_BYTES => body,
            Ok(_) => return Err(ApiError::RequestTooLarge { max_bytes: MAX_BYTES as u64 }),
            Err(refusal) => return Err(ApiError::InvalidJson(refusal.body_text())),
        };
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        if !is_json {
            return Err(ApiError::NotJson);
        }
        serde_json::from_slice(&body).map(Self).map_err(|error| ApiError::InvalidJson(error.to_string()))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case("application/json"))
}
