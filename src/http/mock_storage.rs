//! Presigned URLs of the in-memory storage, as a browser opens them. Mounted only where it is in use.

use super::AppState;
use super::error::ApiError;
use super::extract::{self, ApiPath};
use crate::storage::CONTENT_TYPE;
use crate::storage::mock::PresentedPut;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

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
    body: Body,
) -> Result<Response, ApiError> {
    let Some(storage) = &app.mock_storage else { return Err(ApiError::NotFound) };
    let max_bytes = usize::try_from(app.coach.upload_limits().max_frame_bytes).unwrap_or(usize::MAX);
    let jpeg = extract::read(body, max_bytes).await?;
    let text = |name: HeaderName| headers.get(name).and_then(|it| it.to_str().ok());
    let put = PresentedPut {
        content_type: text(header::CONTENT_TYPE),
        if_none_match: text(header::IF_NONE_MATCH),
        jpeg,
    };
    let stored = storage.redeem_put(&key, &query.unwrap_or_default(), put)?;
    Ok((StatusCode::OK, [(header::ETAG, format!("\"{}\"", stored.etag))]).into_response())
}
