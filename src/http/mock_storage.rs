//! Presigned URLs of the in-memory storage, as a browser opens them. Mounted only where it is in use.

use super::AppState;
use super::error::ApiError;
use super::extract::ApiPath;
use crate::storage::CONTENT_TYPE;
use crate::storage::mock::PresentedPut;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

/// The bytes behind a presigned GET.
pub(super) async fn download(
    State(app): State<AppState>,
    ApiPath(key): ApiPath<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let Some(storage) = &app.mock_storage else { return Err(ApiError::NotFound) };
    let (jpeg, etag) = storage.redeem_get(&key, &query.unwrap_or_default())?;
    let headers = [
        (header::CONTENT_TYPE, CONTENT_TYPE.to_owned()),
        (header::ETAG, format!("\"{etag}\"")),
        (header::CACHE_CONTROL, "private".to_owned()),
    ];
    Ok((headers, jpeg).into_response())
}

/// Stores what a presigned PUT brings.
pub(super) async fn upload(
    State(app): State<AppState>,
    ApiPath(key): ApiPath<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    jpeg: Bytes,
) -> Result<Response, ApiError> {
    let Some(storage) = &app.mock_storage else { return Err(ApiError::NotFound) };
    let text = |name: HeaderName| headers.get(name).and_then(|it| it.to_str().ok());
    let put = PresentedPut {
        content_type: text(header::CONTENT_TYPE),
        if_none_match: text(header::IF_NONE_MATCH),
        jpeg,
    };
    let stored = storage.redeem_put(&key, &query.unwrap_or_default(), put)?;
    Ok((StatusCode::OK, [(header::ETAG, format!("\"{}\"", stored.etag))]).into_response())
}
