//! Requests with an `Idempotency-Key`: done once, and answered again with the first answer.
//!
//! [`once`] is laid around every route that takes JSON and creates or pays. An upload, whose body is far too large to be
//! held, does the same by itself: what tells it from others is known when its last part was read.

use super::AppState;
use super::error::{ApiError, FieldProblem, Problem};
use super::extract::{self, MAX_JSON_BYTES};
use super::upload::invalid;
use crate::access::Caller;
use crate::coach::{Begun, KeptAnswer, KeyedRequest, RequestLease};
use crate::session::{Owner, SessionId};
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::response::Parts as ResponseParts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::panic::resume_unwind;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// What a client names a request by, to be able to repeat it.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The most bytes of a key.
const MAX_KEY: usize = 255;
/// The content type of an answer that is a stream.
const EVENT_STREAM: &str = "text/event-stream";
/// Pieces of a stream that wait for a slow client.
const PIECES_WAITING: usize = 16;

/// The headers that belong to what was done, and not to the one answer.
const KEPT_HEADERS: [HeaderName; 5] =
    [header::CONTENT_TYPE, header::LOCATION, header::ETAG, header::RETRY_AFTER, header::CACHE_CONTROL];

/// The UUID under which a request with a key is done; none where it has no key.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestId(pub(super) Option<Uuid>);

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(None)))
    }
}

/// Has a request with a key done once, whether or not its client waits for the answer.
pub(super) async fn once(State(app): State<AppState>, request: Request, next: Next) -> Response {
    done_once(app, request, next).await.unwrap_or_else(ApiError::into_response)
}

async fn done_once(app: AppState, request: Request, next: Next) -> Result<Response, ApiError> {
    let (owner, key) = match key(request.headers(), request.extensions().get()) {
        Ok(Some(key)) => key,
        Ok(None) => return Ok(next.run(request).await),
        Err(refusal) => {
            extract::drain(request).await;
            return Err(refusal);
        }
    };
    let (mut parts, body) = request.into_parts();
    let body = extract::read(body, MAX_JSON_BYTES).await?;
    let fingerprint = hex::encode(Sha256::digest(&body));
    let asked = KeyedRequest {
        owner,
        key,
        target: target(&parts),
        fingerprint: Some(fingerprint.clone()),
        session: session(&parts),
    };
    let lease = match app.coach.begin_request(&asked).await? {
        Begun::Mine(lease) => lease,
        Begun::Answered(answer) => return replay(answer),
        Begun::UnderWay => return Err(ApiError::RequestUnderWay),
        Begun::Other => return Err(ApiError::IdempotencyMismatch),
    };
    parts.extensions.insert(RequestId(Some(lease.id())));
    let request = Request::from_parts(parts, Body::from(body));
    let (answered, answer) = oneshot::channel();
    let work = app.coach.finish(async move {
        let response = next.run(request).await;
        if content_type(&response).starts_with(EVENT_STREAM) {
            tell(&lease, fingerprint, response, answered).await;
        } else {
            // Whoever asked may have gone.
            drop(answered.send(keep(&lease, fingerprint, response).await));
        }
    });
    match answer.await {
        Ok(response) => Ok(response),
        Err(_broke_off) => match work.await {
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            _ => Err(ApiError::Panic),
        },
    }
}

/// How an upload begins.
#[derive(Debug)]
pub(super) enum KeyedUpload {
    /// It carries no key.
    WithoutKey,
    /// It is this one's to do.
    Mine(Arc<RequestLease>),
    /// It was answered, if its body is the same.
    Answered(KeptAnswer),
}

/// Begins an upload, before its body is read.
pub(super) async fn begin_upload(app: &AppState, parts: &Parts) -> Result<KeyedUpload, ApiError> {
    let Some((owner, key)) = key(&parts.headers, parts.extensions.get())? else {
        return Ok(KeyedUpload::WithoutKey);
    };
    let asked = KeyedRequest { owner, key, target: target(parts), fingerprint: None, session: None };
    match app.coach.begin_request(&asked).await? {
        Begun::Mine(lease) => Ok(KeyedUpload::Mine(lease)),
        Begun::Answered(answer) => Ok(KeyedUpload::Answered(answer)),
        Begun::UnderWay => Err(ApiError::RequestUnderWay),
        Begun::Other => Err(ApiError::IdempotencyMismatch),
    }
}

/// Keeps an answer that says what was done, or why it never will be; after any other the key is free again.
pub(super) async fn keep(lease: &RequestLease, fingerprint: String, response: Response) -> Response {
    if !is_definite(response.status()) {
        lease.give_back().await;
        return response;
    }
    if let Some(problem) = response.extensions().get::<Problem>() {
        let kept = KeptProblem {
            code: problem.code.to_string(),
            detail: problem.detail.clone(),
            errors: problem.errors.clone(),
        };
        lease.answer(kept.answer(fingerprint, problem.status.as_u16())).await;
        return response;
    }
    let (parts, body) = response.into_parts();
    // What a handler wrote is in memory, so reading it cannot fail.
    let Ok(body) = to_bytes(body, usize::MAX).await else { return ApiError::Panic.into_response() };
    let text = String::from_utf8(body.to_vec()).ok();
    lease.answer(answer(fingerprint, &parts, text)).await;
    Response::from_parts(parts, Body::from(body))
}

/// Hands a stream on while it is written, and keeps what it came to, whether or not its client stays.
async fn tell(
    lease: &RequestLease,
    fingerprint: String,
    response: Response,
    answered: oneshot::Sender<Response>,
) {
    let (parts, body) = response.into_parts();
    let (to_client, from_here) = mpsc::channel::<Result<Bytes, axum::Error>>(PIECES_WAITING);
    let pieces = stream::unfold(from_here, |mut it| async move { it.recv().await.map(|piece| (piece, it)) });
    // Whoever asked may have gone.
    drop(answered.send(Response::from_parts(parts.clone(), Body::from_stream(pieces))));
    let mut last = Bytes::new();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        // A piece is an event, or a comment that keeps the connection open.
        if let Ok(piece) = &piece
            && !piece.starts_with(b":")
        {
            last = piece.clone();
        }
        drop(to_client.send(piece).await);
    }
    match Ended::read(&last) {
        Some(Ended::Done(data)) => {
            let body = finished(&data);
            lease.answer(answer(fingerprint, &parts, Some(body))).await;
        }
        Some(Ended::Refused(status, problem)) if is_definite(status) => {
            lease.answer(problem.answer(fingerprint, status.as_u16())).await;
        }
        Some(Ended::Refused(..)) | None => lease.give_back().await,
    }
}

/// How a stream ended.
enum Ended {
    Done(Value),
    Refused(StatusCode, KeptProblem),
}

impl Ended {
    fn read(event: &[u8]) -> Option<Self> {
        let (name, data) = std::str::from_utf8(event).ok()?.trim().split_once('\n')?;
        let data: Value = serde_json::from_str(data.strip_prefix("data: ")?).ok()?;
        match name {
            "event: done" => Some(Self::Done(data)),
            "event: error" => {
                let status = u16::try_from(data.get("status")?.as_u64()?).ok()?;
                let status = StatusCode::from_u16(status).ok()?;
                serde_json::from_value(data).ok().map(|it| Self::Refused(status, it))
            }
            _ => None,
        }
    }
}

/// The stream of an answer that is whole.
fn finished(done: &Value) -> String {
    let delta = json!({"text": done.get("assistant_message")});
    format!("event: delta\ndata: {delta}\n\nevent: done\ndata: {done}\n\n")
}

/// A refusal without what belongs to the one request that it answers.
#[derive(Debug, Serialize, Deserialize)]
struct KeptProblem {
    code: String,
    detail: String,
    #[serde(default)]
    errors: Vec<FieldProblem>,
}

impl KeptProblem {
    fn answer(&self, fingerprint: String, status: u16) -> KeptAnswer {
        let body = serde_json::to_string(self).ok();
        let headers = vec![(header::CONTENT_TYPE.to_string(), super::error::PROBLEM_JSON.to_owned())];
        KeptAnswer { fingerprint, status, headers, body }
    }
}

fn answer(fingerprint: String, parts: &ResponseParts, body: Option<String>) -> KeptAnswer {
    let kept =
        |name: &HeaderName| Some((name.to_string(), parts.headers.get(name)?.to_str().ok()?.to_owned()));
    let headers = KEPT_HEADERS.iter().filter_map(kept).collect();
    KeptAnswer { fingerprint, status: parts.status.as_u16(), headers, body }
}

/// Gives an answer again.
pub(super) fn replay(answer: KeptAnswer) -> Result<Response, ApiError> {
    let Some(body) = answer.body else { return Err(ApiError::AnswerNotKept) };
    let status = StatusCode::from_u16(answer.status).map_err(|_never_written| ApiError::AnswerNotKept)?;
    let mut response = if status.is_success() {
        let mut response = (status, body).into_response();
        for (name, value) in &answer.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    } else {
        let kept = serde_json::from_str(&body).map_err(|_never_written| ApiError::AnswerNotKept)?;
        let KeptProblem { code, detail, errors } = kept;
        Problem { status, code: code.into(), detail, errors, retry_after: None, cause: None }.into_response()
    };
    response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// Whether the same request would never be answered otherwise. What can change meanwhile, such as a budget, the rights of
/// the caller or what else is under way, is not kept: nothing was done, so the key is free for another try.
fn is_definite(status: StatusCode) -> bool {
    use StatusCode as S;
    status.is_success()
        || [S::NOT_FOUND, S::GONE, S::PAYLOAD_TOO_LARGE, S::UNSUPPORTED_MEDIA_TYPE, S::UNPROCESSABLE_ENTITY]
            .contains(&status)
}

/// The key of a request and whose it is. Somebody new has none: the token that would name them comes with the answer, so
/// nobody can repeat the request in the same name.
fn key(headers: &HeaderMap, caller: Option<&Caller>) -> Result<Option<(Owner, String)>, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let is_key = |it: &&str| (1..=MAX_KEY).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_graphic());
    let key = value.to_str().ok().filter(is_key).filter(|_| values.next().is_none());
    let Some(key) = key else {
        let detail = format!("Idempotency-Key is one key of 1 to {MAX_KEY} visible ASCII characters");
        return Err(invalid("/headers/Idempotency-Key", detail));
    };
    let caller = caller.filter(|it| it.new_token.is_none());
    Ok(caller.map(|it| (it.owner.clone(), key.to_owned())))
}

fn target(parts: &Parts) -> String {
    format!("{} {}", parts.method, parts.uri)
}

/// The session that a path names.
fn session(parts: &Parts) -> Option<SessionId> {
    parts.uri.path().split('/').find_map(|it| it.parse().ok())
}

fn content_type(response: &Response) -> &str {
    let value = response.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    value.unwrap_or_default()
}
