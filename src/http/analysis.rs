//! Uploading frames, and having them looked at.

use super::AppState;
use super::auth::Caller;
use super::error::{ApiError, ProblemBody};
use super::extract::{self, ApiPath, OptionalJson};
use super::upload::{self, MAX_NOTES};
use crate::analysis::Warning;
use crate::coach::AnalysisRequest;
use crate::session::{AnalysisId, Frame, FrameNumber, Session, SessionId, Stroke};
use crate::storage::FramePath;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How often a client should look whether an analysis is done, in seconds.
const POLL_SECONDS: &str = "3";

/// A multipart upload, for the description of the API; it is read part by part.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct UploadForm {
    /// The frames, one part each, in order.
    #[schema(value_type = Vec<String>, format = Binary, content_media_type = "image/jpeg")]
    frames: Vec<Vec<u8>>,
    /// The stroke; `freestyle` when absent.
    stroke_type: Option<Stroke>,
    /// What the swimmer asks or says, up to 2000 characters.
    user_notes: Option<String>,
    /// JSON: `[{"number":1,"timestamp_ms":0,"sha256":"…"}]`; before the frames when it has digests.
    manifest: Option<String>,
    /// From where the camera looks.
    view: Option<crate::analysis::View>,
    /// A name for the session, up to 200 characters.
    title: Option<String>,
}

/// What was stored.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadReply {
    /// The new session.
    session_id: SessionId,
    /// Number of frames stored.
    frames_received: usize,
    /// Their keys, in order.
    storage_paths: Vec<String>,
    /// A sentence for people.
    message: String,
    /// The frames, in order.
    frames: Vec<FrameReply>,
    /// What will limit an analysis.
    warnings: Vec<Warning>,
}

/// A stored frame.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FrameReply {
    /// Its place, from 1.
    number: FrameNumber,
    /// Its key.
    path: String,
    /// Size of the stored JPEG in bytes.
    size_bytes: u64,
    /// Width in pixels.
    width: u32,
    /// Height in pixels.
    height: u32,
    /// Time in the clip in milliseconds, when known.
    timestamp_ms: Option<u64>,
    /// Its entity tag in storage.
    etag: String,
}

impl FrameReply {
    pub(super) fn new(session: SessionId, frame: &Frame) -> Self {
        Self {
            number: frame.number,
            path: FramePath::new(session, frame.number).to_string(),
            size_bytes: frame.size_bytes,
            width: frame.width,
            height: frame.height,
            timestamp_ms: frame.timestamp_ms,
            etag: frame.etag.clone(),
        }
    }
}

/// What an analysis is told beyond what the upload said.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AnalyzeBody {
    /// Counts instead of the upload's.
    #[serde(default)]
    stroke_type: Option<Stroke>,
    /// Counts instead of the upload's; up to 2000 characters.
    #[serde(default)]
    user_notes: Option<String>,
}

/// An analysis that was taken on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AnalyzeReply {
    /// The session.
    session_id: SessionId,
    /// Always `processing`.
    status: &'static str,
    /// A sentence for people.
    message: &'static str,
    /// The analysis.
    analysis_id: AnalysisId,
}

/// Stores the frames of a clip as a new session: all of them or none.
#[utoipa::path(
    post,
    path = "/api/v1/analysis/upload",
    tag = "analysis",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 201, body = UploadReply, headers(("Location" = String, description = "the session"))),
        (status = 400, body = ProblemBody, content_type = "application/problem+json", description = "the multipart body is broken"),
        (status = 408, body = ProblemBody, content_type = "application/problem+json", description = "nothing came for too long"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "a frame or the request is too large"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json", description = "no multipart body"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "a part is not acceptable; frames are named by number"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "storage or records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "storage or records are down, or too many uploads are under way"),
    ),
)]
pub(super) async fn upload(
    State(app): State<AppState>,
    Caller(owner): Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let room = match app.uploads.enter(request.headers()) {
        Ok(room) => room,
        Err(refusal) => {
            extract::drain(request).await;
            return Err(refusal);
        }
    };
    let mut upload = app.coach.start_session(&owner, room);
    let details = match upload::receive(&mut upload, request, app.coach.upload_limits()).await {
        Ok(details) => details,
        Err(refusal) => {
            upload.abort().await;
            return Err(refusal);
        }
    };
    let session = upload.commit(details).await?;
    let location = [(header::LOCATION, format!("/api/v1/sessions/{}", session.id))];
    Ok((StatusCode::CREATED, location, Json(reply(&session))).into_response())
}

/// Has the frames of a session looked at, in the background.
#[utoipa::path(
    post,
    path = "/api/v1/analysis/{id}/analyze",
    tag = "analysis",
    params(("id" = SessionId, Path, description = "the session")),
    request_body(content = Option<AnalyzeBody>, description = "empty: what the upload said counts"),
    responses(
        (status = 202, body = AnalyzeReply, headers(
            ("Location" = String, description = "where the result will be"),
            ("Retry-After" = u32, description = "how often to look, in seconds"),
        )),
        (status = 400, body = ProblemBody, content_type = "application/problem+json", description = "the body broke off"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 408, body = ProblemBody, content_type = "application/problem+json", description = "the body took too long"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "the session has no frames"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "the body is too large"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json", description = "the body is not JSON"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "a field is not acceptable"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down, or too many analyses are waiting"),
    ),
)]
pub(super) async fn analyze(
    State(app): State<AppState>,
    Caller(owner): Caller,
    ApiPath(id): ApiPath<SessionId>,
    OptionalJson(body): OptionalJson<AnalyzeBody>,
) -> Result<Response, ApiError> {
    let user_notes = match body.user_notes {
        Some(notes) => upload::bounded(&notes, MAX_NOTES, "/user_notes")?,
        None => None,
    };
    let request = AnalysisRequest { stroke_type: body.stroke_type, user_notes };
    let analysis = app.coach.analyze(&owner, id, request).await?;
    let reply = AnalyzeReply {
        session_id: id,
        status: "processing",
        message: "The frames are being looked at; read the session to see the result.",
        analysis_id: analysis.id,
    };
    let headers = [
        (header::LOCATION, format!("/api/v1/sessions/{id}")),
        (header::RETRY_AFTER, POLL_SECONDS.to_owned()),
    ];
    Ok((StatusCode::ACCEPTED, headers, Json(reply)).into_response())
}

fn reply(session: &Session) -> UploadReply {
    let frames: Vec<FrameReply> = session.frames.iter().map(|it| FrameReply::new(session.id, it)).collect();
    UploadReply {
        session_id: session.id,
        frames_received: frames.len(),
        storage_paths: frames.iter().map(|it| it.path.clone()).collect(),
        message: format!("{} frames are stored; ask for an analysis when you are ready.", frames.len()),
        frames,
        warnings: warnings(session),
    }
}

/// What can be known at the door. The rest is told by the capture check of an analysis.
fn warnings(session: &Session) -> Vec<Warning> {
    let untimed: Vec<FrameNumber> =
        session.frames.iter().filter(|it| it.timestamp_ms.is_none()).map(|it| it.number).collect();
    if untimed.is_empty() {
        return Vec::new();
    }
    vec![Warning {
        code: "timestamps_missing".to_owned(),
        detail: "Frames came without their time in the clip, so stroke rate and cycle time cannot be computed. Send \
                 them in the manifest."
            .to_owned(),
        frames: untimed,
    }]
}
