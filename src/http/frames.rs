//! Frames one by one: put, listed, read, and put straight into storage.

#![expect(unused_qualifications, reason = "utoipa's macro writes them for query parameters")]

use super::AppState;
use super::analysis::{FrameReply, warnings};
use super::auth::{MayRead, MayUpload, NewToken};
use super::error::{ApiError, Problem, ProblemBody};
use super::extract::{self, ApiJson, ApiPath, ApiPaths, ApiQuery, OptionalJson};
use super::idempotency::RequestId;
use super::range::{Ranged, ranged};
use super::upload::{self, invalid};
use crate::analysis::{View, Warning};
use crate::coach::{Completed, DirectFrame, MAX_TIMESTAMP_MS, SentFrame, UploadDetails};
use crate::consent::Consent;
use crate::session::{Frame, FrameNumber, SessionId, Stroke};
use crate::storage::{CONTENT_TYPE, ExpectedFrame, PresignedPut};
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_extra::headers::{ContentRange, ETag, HeaderMapExt, IfNoneMatch, IfRange};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};

/// How long one frame may take to arrive.
const PATIENCE: Duration = Duration::from_mins(2);
/// Frames of one direct upload that are in memory at one time.
const AT_ONCE: u64 = 4;

/// A session to be made without frames.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionBody {
    /// The declared stroke; freestyle when absent.
    #[serde(default)]
    stroke_type: Stroke,
    /// What to look at, or a question; up to 2000 characters.
    #[serde(default)]
    user_notes: Option<String>,
    /// The declared view.
    #[serde(default)]
    view: Option<View>,
    /// A name for the session, up to 200 characters.
    #[serde(default)]
    title: Option<String>,
    /// What was agreed to about the pictures.
    #[serde(default)]
    consent: Option<Consent>,
    /// For how many days the session is kept; as long as such a session may be when absent.
    #[serde(default)]
    #[schema(minimum = 1)]
    retention_days: Option<u32>,
}

/// A session that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionReply {
    session_id: SessionId,
    created_at: DateTime<Utc>,
    /// A sentence for people.
    message: &'static str,
    /// What was agreed to about its pictures.
    consent: Option<Consent>,
    /// Until when it is kept.
    expires_at: Option<DateTime<Utc>>,
    /// The token that the session belongs to; only where it was made without signing in.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
}

/// What is said about a frame beside its bytes.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct FrameQuery {
    /// Its time in the clip in milliseconds.
    #[serde(default)]
    #[param(maximum = 86_400_000)]
    timestamp_ms: Option<u64>,
    /// SHA-256 of the body in hex, so that a frame that changed on its way is refused.
    #[serde(default)]
    sha256: Option<String>,
}

/// Whether URLs are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct UrlsQuery {
    /// Whether each frame comes with a URL that gives its bytes for five minutes to whoever holds it.
    #[serde(default)]
    urls: bool,
}

/// A frame that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FrameKeptReply {
    session_id: SessionId,
    frame: FrameReply,
    /// What will limit an analysis.
    warnings: Vec<Warning>,
}

/// The frames of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FramesReply {
    session_id: SessionId,
    /// In order of their numbers.
    frames: Vec<ListedFrame>,
}

/// A frame of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListedFrame {
    #[serde(flatten)]
    frame: FrameReply,
    /// Where its bytes are, for five minutes; there when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// Frames that are to be put into storage.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadsBody {
    /// Each once.
    frames: Vec<AnnouncedFrame>,
}

/// A frame that is to be put into storage.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AnnouncedFrame {
    /// Its place in the session.
    number: FrameNumber,
    /// Its exact size in bytes.
    #[schema(minimum = 1)]
    size_bytes: u64,
}

/// How to put frames into storage.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadsReply {
    session_id: SessionId,
    /// A request for each frame, to be sent as it stands.
    uploads: Vec<PutRequest>,
}

/// A request that puts one frame into storage.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PutRequest {
    /// Which frame.
    number: FrameNumber,
    /// Always `PUT`.
    method: &'static str,
    /// Where to.
    url: String,
    /// Headers that must be sent exactly so. Browsers set `content-length` by themselves.
    headers: BTreeMap<String, String>,
    /// When it stops working.
    expires_at: DateTime<Utc>,
}

/// Frames that were put into storage.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompleteBody {
    /// Which; all that wait when empty.
    #[serde(default)]
    frames: Vec<PutFrame>,
}

/// A frame that was put into storage.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutFrame {
    /// Its place in the session.
    number: FrameNumber,
    /// Its time in the clip in milliseconds.
    #[serde(default)]
    #[schema(maximum = 86_400_000)]
    timestamp_ms: Option<u64>,
}

/// What became of frames that were put into storage.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CompleteReply {
    session_id: SessionId,
    /// Each of them.
    frames: Vec<CompletedFrame>,
    /// What will limit an analysis.
    warnings: Vec<Warning>,
}

/// Whether a frame is one of the session now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum CompletedStatus {
    /// It is.
    Accepted,
    /// It is not, and what was put there is removed.
    Rejected,
}

/// What became of one frame that was put into storage.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CompletedFrame {
    /// Which frame.
    number: FrameNumber,
    /// What became of it.
    status: CompletedStatus,
    /// The frame, where it was accepted.
    frame: Option<FrameReply>,
    /// A stable word for why it was rejected.
    code: Option<Cow<'static, str>>,
    /// The same in a sentence that says what to do.
    detail: Option<String>,
}

/// Makes a session without frames, to put frames into one by one.
#[utoipa::path(
    post,
    path = "/api/v1/sessions",
    tag = "frames",
    request_body(content = Option<SessionBody>, description = "empty: freestyle, and nothing else said"),
    responses(
        (status = 201, body = SessionReply, headers(("Location" = String, description = "the session"))),
        (status = 400, body = ProblemBody, content_type = "application/problem+json", description = "the body broke off"),
        (status = 408, body = ProblemBody, content_type = "application/problem+json", description = "the body took too long"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "the body is too large"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json", description = "the body is not JSON"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "a field is not acceptable"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down"),
    ),
)]
pub(super) async fn create_session(
    State(app): State<AppState>,
    MayUpload(owner): MayUpload,
    NewToken(token): NewToken,
    RequestId(request): RequestId,
    OptionalJson(body): OptionalJson<SessionBody>,
) -> Result<Response, ApiError> {
    let id = request.map(SessionId::from);
    let session = app.coach.create_session(&owner, body.details()?, id).await?;
    let location = [(header::LOCATION, format!("/api/v1/sessions/{}", session.id))];
    let reply = SessionReply {
        session_id: session.id,
        created_at: session.created_at,
        message: "The session is there; put its frames into it, then ask for an analysis.",
        consent: session.consent,
        expires_at: session.expires_at,
        session_token: token.map(|it| it.expose_secret().to_owned()),
    };
    Ok((StatusCode::CREATED, location, Json(reply)).into_response())
}

impl SessionBody {
    fn details(self) -> Result<UploadDetails, ApiError> {
        let bounded = |text: Option<String>, max, pointer| match text {
            Some(text) => upload::bounded(&text, max, pointer),
            None => Ok(None),
        };
        Ok(UploadDetails {
            stroke_type: self.stroke_type,
            user_notes: bounded(self.user_notes, upload::MAX_NOTES, "/user_notes")?,
            title: bounded(self.title, upload::MAX_TITLE, "/title")?,
            view: self.view,
            consent: self.consent,
            retention_days: self.retention_days,
        })
    }
}

/// Puts one frame into a session, which may be sent again: the same bytes are kept already, others are refused.
#[utoipa::path(
    put,
    path = "/api/v1/sessions/{id}/frames/{number}",
    tag = "frames",
    params(
        ("id" = SessionId, Path, description = "the session"),
        ("number" = FrameNumber, Path, description = "the frame's place in it"),
        FrameQuery,
    ),
    request_body(content = Vec<u8>, content_type = "image/jpeg", description = "the file"),
    responses(
        (status = 201, body = FrameKeptReply, description = "it is kept", headers(("Location" = String, description = "the frame"))),
        (status = 200, body = FrameKeptReply, description = "it was kept already"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json", description = "the body broke off"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 408, body = ProblemBody, content_type = "application/problem+json", description = "the body took too long"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "another frame has the number, or an analysis was asked for"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "the frame is too large"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json", description = "the body is not said to be a JPEG"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "the frame, its number or a parameter is not acceptable"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "storage or records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "storage or records are down, or too many uploads are under way"),
    ),
)]
pub(super) async fn put(
    State(app): State<AppState>,
    MayUpload(owner): MayUpload,
    ApiPaths((id, number)): ApiPaths<SessionId, FrameNumber>,
    ApiQuery(query): ApiQuery<FrameQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let max_bytes = app.coach.upload_limits().max_frame_bytes;
    let admitted = query
        .checked()
        .and_then(|query| is_jpeg(request.headers()).map(|()| query))
        .and_then(|query| Ok((query, app.uploads.enter_frame(request.headers(), number, max_bytes)?)));
    let (query, room) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            extract::drain(request).await;
            return Err(refusal);
        }
    };
    let bytes = extract::read_frame(request, number, max_bytes, PATIENCE).await?;
    let sent = SentFrame { bytes, timestamp_ms: query.timestamp_ms, sha256: query.sha256 };
    let kept = app.coach.put_frame(&owner, id, number, sent, room).await?;
    let reply = Json(FrameKeptReply {
        session_id: id,
        warnings: warnings(std::slice::from_ref(&kept.frame)),
        frame: FrameReply::new(id, &kept.frame),
    });
    if !kept.is_new {
        return Ok(reply.into_response());
    }
    let location = [(header::LOCATION, format!("/api/v1/sessions/{id}/frames/{number}"))];
    Ok((StatusCode::CREATED, location, reply).into_response())
}

impl FrameQuery {
    fn checked(self) -> Result<Self, ApiError> {
        check_time(self.timestamp_ms, "/query/timestamp_ms")?;
        let is_digest = |it: &String| it.len() == 64 && it.bytes().all(|it| it.is_ascii_hexdigit());
        match &self.sha256 {
            Some(it) if !is_digest(it) => {
                Err(invalid("/query/sha256", "sha256 is 64 hexadecimal digits".to_owned()))
            }
            _ => Ok(self),
        }
    }
}

fn check_time(timestamp_ms: Option<u64>, pointer: &str) -> Result<(), ApiError> {
    match timestamp_ms {
        Some(it) if MAX_TIMESTAMP_MS < it => {
            Err(invalid(pointer, "timestamp_ms is more than a day; it is a time in the clip".to_owned()))
        }
        _ => Ok(()),
    }
}

fn is_jpeg(headers: &HeaderMap) -> Result<(), ApiError> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let said = said.split(';').next().unwrap_or_default().trim();
    if said.eq_ignore_ascii_case(CONTENT_TYPE) {
        Ok(())
    } else {
        Err(ApiError::NotImage(said.chars().take(40).collect()))
    }
}

/// The frames of a session. An upload that broke off is resumed by putting what is not among them.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}/frames",
    tag = "frames",
    params(("id" = SessionId, Path, description = "the session"), UrlsQuery),
    responses(
        (status = 200, body = FramesReply),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "urls is not acceptable"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down"),
    ),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    MayRead(owner): MayRead,
    ApiPath(id): ApiPath<SessionId>,
    ApiQuery(query): ApiQuery<UrlsQuery>,
) -> Result<Response, ApiError> {
    let frames = app.coach.frames(&owner, id).await?;
    let urls = if query.urls {
        app.coach.frame_urls(id, &frames).await?.into_iter().map(|it| Some(it.into())).collect()
    } else {
        vec![None; frames.len()]
    };
    let frames = frames.iter().zip(urls);
    let frames = frames.map(|(it, url)| ListedFrame { frame: FrameReply::new(id, it), url });
    let reply = FramesReply { session_id: id, frames: frames.collect() };
    Ok(([(header::CACHE_CONTROL, "private, no-store")], Json(reply)).into_response())
}

/// The bytes of a frame, as they are stored.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}/frames/{number}",
    tag = "frames",
    params(
        ("id" = SessionId, Path, description = "the session"),
        ("number" = FrameNumber, Path, description = "the frame's place in it"),
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "image/jpeg", headers(("ETag" = String, description = "of these bytes"))),
        (status = 206, body = Vec<u8>, content_type = "image/jpeg", description = "the one range that was asked for", headers(("Content-Range" = String, description = "which bytes"))),
        (status = 304, description = "the frame is the one of the given `If-None-Match`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session or frame"),
        (status = 416, body = ProblemBody, content_type = "application/problem+json", description = "the range begins behind the end", headers(("Content-Range" = String, description = "how many bytes there are"))),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "storage or records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "storage or records are down, or too many frames are on their way"),
    ),
)]
pub(super) async fn show(
    State(app): State<AppState>,
    MayRead(owner): MayRead,
    ApiPaths((id, number)): ApiPaths<SessionId, FrameNumber>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let frame = app.coach.frame(&owner, id, number).await?;
    let etag: ETag = format!("\"{}\"", frame.etag).parse().map_err(|_no_tag| ApiError::Untaggable)?;
    let mut response = Response::new(Body::empty());
    response.headers_mut().typed_insert(etag.clone());
    let fixed = [
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_DISPOSITION, format!("inline; filename=\"{id}-{:04}.jpg\"", number.get())),
    ];
    let head = (fixed, response).into_response();
    if headers.typed_get::<IfNoneMatch>().is_some_and(|it| !it.precondition_passes(&etag)) {
        return Ok((StatusCode::NOT_MODIFIED, head).into_response());
    }
    let is_current = |it: IfRange| !it.is_modified(Some(&etag), None);
    let asked = headers.get(header::RANGE).and_then(|it| it.to_str().ok());
    let asked = asked.filter(|_| headers.typed_get::<IfRange>().is_none_or(is_current));
    // A range of anything but a GET has no meaning.
    let asked = asked.filter(|_| method == Method::GET);
    let size = frame.size_bytes;
    let range = match asked.map_or(Ranged::Whole, |it| ranged(it, size)) {
        Ranged::Unsatisfiable => return Err(ApiError::BehindTheEnd { size }),
        Ranged::Part(range) => Some(range),
        Ranged::Whole => None,
    };
    let head = ([(header::CONTENT_TYPE, CONTENT_TYPE)], head).into_response();
    if method == Method::HEAD {
        return Ok(([(header::CONTENT_LENGTH, size.to_string())], head).into_response());
    }
    let bytes = read(&app, id, &frame).await?;
    let (mut parts, _) = head.into_parts();
    let Some(range) = range else { return Ok(Response::from_parts(parts, Body::from(bytes))) };
    parts.status = StatusCode::PARTIAL_CONTENT;
    if let Ok(content_range) = ContentRange::bytes(range.clone(), size) {
        parts.headers.typed_insert(content_range);
    }
    Ok(Response::from_parts(parts, Body::from(slice(&bytes, range))))
}

/// The bytes of a frame, which give their room back once nobody has them any more.
async fn read(app: &AppState, id: SessionId, frame: &Frame) -> Result<Bytes, ApiError> {
    struct Held {
        bytes: Bytes,
        _room: OwnedSemaphorePermit,
    }
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    let room = app.uploads.take(frame.size_bytes)?;
    let bytes = app.coach.frame_bytes(id, frame).await?;
    Ok(Bytes::from_owner(Held { bytes, _room: room }))
}

fn slice(bytes: &Bytes, range: std::ops::Range<u64>) -> Bytes {
    let at = |it: u64| usize::try_from(it).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(at(range.start)..at(range.end))
}

/// Gives out requests that put frames straight into storage. What is put there is no frame before it was completed.
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{id}/uploads",
    tag = "frames",
    params(("id" = SessionId, Path, description = "the session")),
    request_body = UploadsBody,
    responses(
        (status = 200, body = UploadsReply),
        (status = 400, body = ProblemBody, content_type = "application/problem+json", description = "the body broke off"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 408, body = ProblemBody, content_type = "application/problem+json", description = "the body took too long"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "a frame is there already, or an analysis was asked for"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "a frame or the body is too large"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json", description = "the body is not JSON"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "a field is not acceptable"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down"),
    ),
)]
pub(super) async fn begin_direct(
    State(app): State<AppState>,
    MayUpload(owner): MayUpload,
    ApiPath(id): ApiPath<SessionId>,
    ApiJson(body): ApiJson<UploadsBody>,
) -> Result<Response, ApiError> {
    each_once(&app, body.frames.iter().map(|it| it.number))?;
    if body.frames.is_empty() {
        return Err(invalid(
            "/frames",
            "frames is empty; name the frames that are to be put there".to_owned(),
        ));
    }
    if let Some(empty) = body.frames.iter().find(|it| it.size_bytes == 0) {
        let pointer = format!("/frames/{}/size_bytes", empty.number);
        return Err(invalid(&pointer, "size_bytes is at least 1".to_owned()));
    }
    let announced = body.frames.iter().map(|it| (it.number, ExpectedFrame { size_bytes: it.size_bytes }));
    let announced: Vec<_> = announced.collect();
    let uploads = app.coach.begin_direct(&owner, id, &announced).await?;
    let uploads = uploads.into_iter().map(|(number, it)| PutRequest::new(number, it)).collect();
    let reply = UploadsReply { session_id: id, uploads };
    Ok(([(header::CACHE_CONTROL, "private, no-store")], Json(reply)).into_response())
}

impl PutRequest {
    fn new(number: FrameNumber, put: PresignedPut) -> Self {
        let PresignedPut { url, headers, expires_at } = put;
        Self { number, method: "PUT", url: url.into(), headers: headers.into_iter().collect(), expires_at }
    }
}

/// Has frames that were put into storage checked like those of any upload, and accepted one by one. It may be asked for
/// again.
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{id}/uploads/complete",
    tag = "frames",
    params(("id" = SessionId, Path, description = "the session")),
    request_body(content = Option<CompleteBody>, description = "empty: all that wait, without times"),
    responses(
        (status = 200, body = CompleteReply, description = "each was accepted or rejected"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json", description = "the body broke off"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 408, body = ProblemBody, content_type = "application/problem+json", description = "the body took too long"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "the body is too large"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json", description = "the body is not JSON"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "a field is not acceptable"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "storage or records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "storage or records are down, or too many uploads are under way"),
    ),
)]
pub(super) async fn complete_direct(
    State(app): State<AppState>,
    MayUpload(owner): MayUpload,
    ApiPath(id): ApiPath<SessionId>,
    OptionalJson(body): OptionalJson<CompleteBody>,
) -> Result<Json<CompleteReply>, ApiError> {
    each_once(&app, body.frames.iter().map(|it| it.number))?;
    for frame in &body.frames {
        check_time(frame.timestamp_ms, &format!("/frames/{}/timestamp_ms", frame.number))?;
    }
    let limits = app.coach.upload_limits();
    let at_once = (limits.memory_bytes / limits.max_frame_bytes).clamp(1, AT_ONCE);
    let room = app.uploads.take(at_once * limits.max_frame_bytes)?;
    let named = body.frames.into_iter();
    let named = named.map(|it| DirectFrame { number: it.number, timestamp_ms: it.timestamp_ms }).collect();
    let at_once = usize::try_from(at_once).unwrap_or(1);
    let completed = app.coach.complete_direct(&owner, id, named, at_once, room).await?;
    let accepted: Vec<Frame> = completed.iter().filter_map(|it| it.outcome.as_ref().ok()).cloned().collect();
    let frames = completed.into_iter().map(|it| CompletedFrame::new(id, it)).collect();
    Ok(Json(CompleteReply { session_id: id, frames, warnings: warnings(&accepted) }))
}

impl CompletedFrame {
    fn new(session: SessionId, Completed { number, outcome }: Completed) -> Self {
        match outcome {
            Ok(frame) => Self {
                number,
                status: CompletedStatus::Accepted,
                frame: Some(FrameReply::new(session, &frame)),
                code: None,
                detail: None,
            },
            Err(error) => {
                let problem = Problem::from(&error);
                Self {
                    number,
                    status: CompletedStatus::Rejected,
                    frame: None,
                    code: Some(problem.code),
                    detail: Some(problem.detail),
                }
            }
        }
    }
}

fn each_once(app: &AppState, numbers: impl Iterator<Item = FrameNumber>) -> Result<(), ApiError> {
    let max = app.coach.upload_limits().max_frames;
    let mut seen = BTreeSet::new();
    for number in numbers {
        if !seen.insert(number) {
            return Err(invalid("/frames", format!("frame {number} is there twice")));
        }
        if usize::from(max) < seen.len() {
            return Err(invalid("/frames", format!("there are more than {max} frames; name fewer")));
        }
    }
    Ok(())
}
