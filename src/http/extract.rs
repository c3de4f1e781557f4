//! Extractors whose refusals are problems like all others.
#![expect(clippy::disallowed_types, reason = "this is the file that wraps `Path`")]

use super::error::ApiError;
use crate::coach::{CoachError, UploadError};
use crate::session::FrameNumber;
use crate::upstream;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http_body::Body as _;
use serde::de::DeserializeOwned;
use std::str::FromStr;
use std::time::Duration;

/// How long a small body may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// No JSON body of the contract comes near this.
pub(super) const MAX_JSON_BYTES: usize = 64 * 1024;
/// How long the rest of a refused body is read, so that the client gets to read the answer.
pub(super) const DRAIN: Duration = Duration::from_secs(10);

/// A path parameter. One that cannot be read names nothing, so the answer is 404. It is read as its type writes
/// it: an id in another spelling is another path.
#[derive(Debug)]
pub(super) struct ApiPath<T>(pub(super) T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(ApiError::NotFound);
        };
        text.parse().map(Self).map_err(|_names_nothing| ApiError::NotFound)
    }
}

/// Two path parameters, each as with [`ApiPath`].
#[derive(Debug)]
pub(super) struct ApiPaths<A, B>(pub(super) (A, B));

impl<A: FromStr, B: FromStr, S: Send + Sync> FromRequestParts<S> for ApiPaths<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Ok(Path((one, other))) = Path::<(String, String)>::from_request_parts(parts, state).await else {
            return Err(ApiError::NotFound);
        };
        let parsed = one.parse().ok().zip(other.parse().ok());
        parsed.map(Self).ok_or(ApiError::NotFound)
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
                Err(ApiError::InvalidParameter { pointer: "/query".to_owned(), detail: refusal.body_text() })
            }
        }
    }
}

/// A JSON body; an empty one stands for all defaults.
#[derive(Debug)]
pub(super) struct OptionalJson<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Self::Rejection> {
        let is_json = is_json(request.headers());
        let body = read(request.into_body(), MAX_JSON_BYTES).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        if is_json { parse_object(&body).map(Self) } else { Err(ApiError::NotJson) }
    }
}

/// A JSON body.
#[derive(Debug)]
pub(super) struct ApiJson<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Self::Rejection> {
        let is_json = is_json(request.headers());
        let body = read(request.into_body(), MAX_JSON_BYTES).await?;
        if is_json { parse_object(&body).map(Self) } else { Err(ApiError::NotJson) }
    }
}

fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // A list of values in the order of the fields would pass as well, and nobody would know what it says.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::InvalidJson("it must be an object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| ApiError::InvalidJson(error.to_string()))
}

/// Reads a whole body of at most `max_bytes` within [`PATIENCE`].
pub(super) async fn read(body: Body, max_bytes: usize) -> Result<Bytes, ApiError> {
    read_within(body, max_bytes, BytesMut::new(), PATIENCE).await
}

/// Reads a request that is one frame. What it may take of memory is taken at once, since its room was.
pub(super) async fn read_frame(
    request: Request,
    number: FrameNumber,
    max_bytes: u64,
    patience: Duration,
) -> Result<Bytes, ApiError> {
    let max = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let body = request.into_body();
    let announced = body.size_hint().exact().and_then(|it| usize::try_from(it).ok()).unwrap_or(max);
    let read = read_within(body, max, BytesMut::with_capacity(announced.min(max)), patience).await;
    read.map_err(|error| match error {
        ApiError::RequestTooLarge { .. } => {
            CoachError::from(UploadError::FrameTooLarge { number: number.get(), max_bytes }).into()
        }
        error => error,
    })
}

async fn read_within(
    body: Body,
    max_bytes: usize,
    mut bytes: BytesMut,
    patience: Duration,
) -> Result<Bytes, ApiError> {
    let mut chunks = body.into_data_stream();
    let read = async {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|broken| ApiError::BrokenBody(upstream::chain(&broken)))?;
            if max_bytes < bytes.len() + chunk.len() {
                return Err(ApiError::RequestTooLarge { max_bytes: max_bytes as u64 });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    };
    tokio::time::timeout(patience, read).await.unwrap_or(Err(ApiError::SlowBody(patience)))
}

/// Reads the body of a refused request away, for as long as that may take: a client that is still sending when
/// the connection closes may never see the answer. One that asks before it sends is spared the sending.
pub(super) async fn drain(request: Request) {
    if request.headers().contains_key(header::EXPECT) {
        return;
    }
    let mut chunks = request.into_body().into_data_stream();
    let all = async { while let Some(Ok(_)) = chunks.next().await {} };
    // How it ends makes no difference.
    let _drained = tokio::time::timeout(DRAIN, all).await;
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case("application/json"))
}
