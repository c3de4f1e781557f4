//! Uploading frames, and having them looked at.

use super::AppState;
use super::auth::{MayAsk, MayRead, MayUpload, NewToken};
use super::error::{ApiError, ProblemBody};
use super::extract::{self, ApiPath, OptionalJson};
use super::idempotency::{self, KeyedUpload, RequestId};
use super::sessions::SessionStatus;
use super::upload::{self, MAX_NOTES, PartsDigest, invalid};
use crate::analysis::Warning;
use crate::coach::{AnalysisRequest, CoachError, Estimated, RequestLease, Upload, UploadDetails};
use crate::config::UploadLimits;
use crate::consent::Consent;
use crate::session::{
    AnalysisId, AnalysisOptions, AnalysisStatus, Frame, FrameNumber, Owner, Session, SessionId, Stroke,
};
use crate::storage::FramePath;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
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
    /// JSON: whose pictures they are, who agreed, and to what, `{"subject":"adult","basis":"swimmer","purposes":["analysis","third_party_ai"]}`.
    consent: Option<String>,
    /// For how many days the session is kept, if for less than such a session may be.
    retention_days: Option<u32>,
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
    /// What was agreed to about the pictures.
    consent: Option<Consent>,
    /// Until when they are kept.
    expires_at: Option<DateTime<Utc>>,
    /// What the session belongs to where it was made without signing in; sent as `Authorization: Bearer` it opens it.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
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
    /// Independent looks at the same frames, each paid for; 1 when absent. With more than one, each finding says how
    /// many of them have it.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 5)]
    samples: Option<u64>,
    /// Whether frames that hardly differ from one before them are not sent; false when absent.
    #[serde(default)]
    leave_out_near_duplicates: Option<bool>,
}

impl AnalyzeBody {
    fn request(self) -> Result<AnalysisRequest, ApiError> {
        let user_notes = match self.user_notes {
            Some(notes) => upload::bounded(&notes, MAX_NOTES, "/user_notes")?,
            None => None,
        };
        let options = AnalysisOptions {
            samples: samples(self.samples.unwrap_or(1))?,
            leave_out_near_duplicates: self.leave_out_near_duplicates.unwrap_or_default(),
        };
        Ok(AnalysisRequest { id: None, stroke_type: self.stroke_type, user_notes, options })
    }
}

fn samples(samples: u64) -> Result<u8, ApiError> {
    const MAX: u8 = AnalysisOptions::MAX_SAMPLES;
    let number = u8::try_from(samples).ok().filter(|it| (1..=MAX).contains(it));
    number.ok_or_else(|| invalid("/samples", format!("samples is a whole number from 1 to {MAX}")))
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

/// An analysis that was told to stop.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CancelReply {
    /// The session.
    session_id: SessionId,
    /// The analysis.
    analysis_id: AnalysisId,
    /// `failed`, or `complete` where it came to its end before it was stopped.
    status: SessionStatus,
    /// A sentence for people.
    message: &'static str,
}

/// What the camera got right and wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CheckReply {
    /// The session.
    session_id: SessionId,
    /// Number of frames that were checked.
    frames: usize,
    /// Frames in a second by the median gap between their times; null where a time is missing or they do not increase.
    frames_per_second: Option<f64>,
    /// What limits an analysis of these frames.
    warnings: Vec<Warning>,
    /// How to film next time, in sentences for a swimmer.
    advice: Vec<String>,
}

/// What an analysis takes at the most.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EstimateReply {
    /// The session.
    session_id: SessionId,
    /// The model that would be asked, or `mock`.
    model: String,
    /// Number of frames that it would be sent.
    frames: usize,
    /// Looks at them.
    samples: u8,
    /// Requests to it: one for each look, and one more where there are notes to answer.
    requests: u32,
    /// Tokens that it would read, at the most.
    input_tokens: u64,
    /// Tokens that it may write, thinking included, at the most.
    output_tokens: u64,
    /// What that costs in USD, at the most; six decimals, rounded up.
    cost_usd_max: f64,
    /// The day of which the prices are; null where nobody is paid.
    prices_as_of: Option<NaiveDate>,
    /// A sentence for people.
    message: String,
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
    caller: Result<MayUpload, ApiError>,
    NewToken(token): NewToken,
    request: Request,
) -> Result<Response, ApiError> {
    let entered = enter(&app, caller, request.headers()).await;
    let (owner, room) = match entered {
        Ok(entered) => entered,
        Err(refusal) => {
            extract::drain(request).await;
            return Err(refusal);
        }
    };
    let limits = app.coach.upload_limits();
    let (parts, body) = request.into_parts();
    let keyed = idempotency::begin_upload(&app, &parts).await;
    let request = Request::from_parts(parts, body);
    let keyed = match keyed {
        Ok(keyed) => keyed,
        Err(refusal) => {
            extract::drain(request).await;
            return Err(refusal);
        }
    };
    match keyed {
        KeyedUpload::WithoutKey => {
            let upload = app.coach.start_session(&owner, room);
            let (upload, details) = receive(upload, request, limits, None).await?;
            Ok(created(&upload.commit(details).await?, token))
        }
        KeyedUpload::Answered(answer) => {
            let fingerprint = upload::read_away(request, limits).await?;
            if fingerprint == answer.fingerprint {
                idempotency::replay(answer)
            } else {
                Err(ApiError::IdempotencyMismatch)
            }
        }
        KeyedUpload::Mine(lease) => {
            // An earlier try came as far as its commit.
            let made = match lease.expected() {
                Some(_) => app.coach.made_by(&lease).await?,
                None => None,
            };
            if let Some(session) = made {
                let fingerprint = upload::read_away(request, limits).await?;
                if lease.expected() != Some(&fingerprint) {
                    lease.give_back().await;
                    return Err(ApiError::IdempotencyMismatch);
                }
                return Ok(idempotency::keep(&lease, fingerprint, created(&session, None)).await);
            }
            let upload = app.coach.start_session_once(&owner, room, Arc::clone(&lease));
            let mut parts = PartsDigest::default();
            let (upload, details) = receive(upload, request, limits, Some(&mut parts)).await?;
            let fingerprint = parts.finish();
            // From here on the session is made and the answer kept, whether or not the client waits.
            let made = app.coach.finish(async move {
                let session = commit_once(upload, details, &lease, &fingerprint).await?;
                Ok(idempotency::keep(&lease, fingerprint, created(&session, None)).await)
            });
            made.await.map_err(CoachError::from)?
        }
    }
}

/// Lets an upload in: its caller may upload and have one session more, and there is room for it in memory.
async fn enter(
    app: &AppState,
    caller: Result<MayUpload, ApiError>,
    headers: &HeaderMap,
) -> Result<(Owner, OwnedSemaphorePermit), ApiError> {
    let MayUpload(owner) = caller?;
    let room = app.uploads.enter(headers)?;
    app.coach.has_room(&owner, 1, 0).await?;
    Ok((owner, room))
}

/// Reads a whole upload, or undoes it.
async fn receive(
    mut upload: Upload,
    request: Request,
    limits: &UploadLimits,
    digest: Option<&mut PartsDigest>,
) -> Result<(Upload, UploadDetails), ApiError> {
    match upload::receive(&mut upload, request, limits, digest).await {
        Ok(details) => Ok((upload, details)),
        Err(refusal) => {
            upload.abort().await;
            Err(refusal)
        }
    }
}

/// Makes the session of an upload with a key, once it is recorded what its body is.
async fn commit_once(
    upload: Upload,
    details: UploadDetails,
    lease: &RequestLease,
    fingerprint: &str,
) -> Result<Session, ApiError> {
    let fixed = match lease.expected() {
        // Who tried before may still be about to make the session, so it must not be another.
        Some(expected) if expected != fingerprint => Err(ApiError::IdempotencyMismatch),
        _ => match lease.fix(fingerprint).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ApiError::RequestUnderWay),
            Err(error) => Err(error.into()),
        },
    };
    if let Err(refusal) = fixed {
        upload.abort().await;
        return Err(refusal);
    }
    Ok(upload.commit(details).await?)
}

/// The answer to an upload. Only one without a key can be a newcomer's, whose token no record may hold.
fn created(session: &Session, token: Option<SecretString>) -> Response {
    let location = [(header::LOCATION, format!("/api/v1/sessions/{}", session.id))];
    (StatusCode::CREATED, location, Json(reply(session, token))).into_response()
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
        (status = 402, body = ProblemBody, content_type = "application/problem+json", description = "there is no room for it in a budget of this month"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 408, body = ProblemBody, content_type = "application/problem+json", description = "the body took too long"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "the session has no frames"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "the body is too large"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json", description = "the body is not JSON"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "a field is not acceptable"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json", description = "the caller has as many analyses under way as one caller may"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down, or too many analyses are waiting"),
    ),
)]
pub(super) async fn analyze(
    State(app): State<AppState>,
    MayAsk(owner): MayAsk,
    ApiPath(id): ApiPath<SessionId>,
    RequestId(request): RequestId,
    OptionalJson(body): OptionalJson<AnalyzeBody>,
) -> Result<Response, ApiError> {
    let request = AnalysisRequest { id: request.map(AnalysisId::from), ..body.request()? };
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

/// Stops the analysis of the session that is under way. What the model was asked until then is paid for.
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{id}/cancel",
    tag = "analysis",
    params(("id" = SessionId, Path, description = "the session")),
    responses(
        (status = 200, body = CancelReply),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "no analysis of it is under way"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down"),
    ),
)]
pub(super) async fn cancel(
    State(app): State<AppState>,
    MayAsk(owner): MayAsk,
    ApiPath(id): ApiPath<SessionId>,
) -> Result<Json<CancelReply>, ApiError> {
    let analysis = app.coach.cancel(&owner, id).await?;
    let message = match analysis.status {
        AnalysisStatus::Complete => "The analysis came to its end before it was stopped.",
        _ => "The analysis was stopped; what the model was asked until then is paid for.",
    };
    let status = analysis.status.into();
    Ok(Json(CancelReply { session_id: id, analysis_id: analysis.id, status, message }))
}

/// Checks the frames for what a camera gets wrong, as an analysis does. No model is asked, and nothing is paid.
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{id}/check",
    tag = "analysis",
    params(("id" = SessionId, Path, description = "the session")),
    responses(
        (status = 200, body = CheckReply),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "the session has no frames, or a frame is not in storage as it was stored"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "storage or records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "storage or records are down, or too many frames are on their way"),
    ),
)]
pub(super) async fn check(
    State(app): State<AppState>,
    MayRead(owner): MayRead,
    ApiPath(id): ApiPath<SessionId>,
) -> Result<Json<CheckReply>, ApiError> {
    let frames = app.coach.frames(&owner, id).await?;
    // All of them are in memory at one time, since each is compared to the one before it.
    let _room = app.uploads.take(frames.iter().map(|it| it.size_bytes).sum())?;
    let report = app.coach.check_frames(id, &frames).await?;
    Ok(Json(CheckReply {
        session_id: id,
        frames: report.frames.len(),
        frames_per_second: report.frames_per_second,
        warnings: report.warnings,
        advice: report.advice,
    }))
}

/// What an analysis of the session takes at the most. Nobody is asked, and nothing is paid.
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{id}/estimate",
    tag = "analysis",
    params(("id" = SessionId, Path, description = "the session")),
    request_body(content = Option<AnalyzeBody>, description = "what the analysis would be asked for with"),
    responses(
        (status = 200, body = EstimateReply),
        (status = 400, body = ProblemBody, content_type = "application/problem+json", description = "the body broke off"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 408, body = ProblemBody, content_type = "application/problem+json", description = "the body took too long"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "the session has no frames"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "the body is too large"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json", description = "the body is not JSON"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "a field is not acceptable"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down"),
    ),
)]
pub(super) async fn estimate(
    State(app): State<AppState>,
    MayRead(owner): MayRead,
    ApiPath(id): ApiPath<SessionId>,
    OptionalJson(body): OptionalJson<AnalyzeBody>,
) -> Result<Json<EstimateReply>, ApiError> {
    let request = body.request()?;
    let samples = request.options.samples;
    let estimated = app.coach.estimate(&owner, id, request).await?;
    let Estimated { frames, estimate } = estimated;
    let message = match estimate.prices_as_of {
        Some(date) => format!(
            "An analysis costs {} at the most, by the prices of {date}. A request that breaks off and is made again \
             comes on top.",
            estimate.cost
        ),
        None => "An analysis costs nothing: this service runs without a model and calls nobody.".to_owned(),
    };
    Ok(Json(EstimateReply {
        session_id: id,
        model: app.coach.model().to_owned(),
        frames,
        samples,
        requests: estimate.requests,
        input_tokens: estimate.input_tokens,
        output_tokens: estimate.output_tokens,
        cost_usd_max: estimate.cost.usd(),
        prices_as_of: estimate.prices_as_of,
        message,
    }))
}

fn reply(session: &Session, token: Option<SecretString>) -> UploadReply {
    let frames: Vec<FrameReply> = session.frames.iter().map(|it| FrameReply::new(session.id, it)).collect();
    UploadReply {
        session_id: session.id,
        frames_received: frames.len(),
        storage_paths: frames.iter().map(|it| it.path.clone()).collect(),
        message: format!("{} frames are stored; ask for an analysis when you are ready.", frames.len()),
        frames,
        warnings: warnings(&session.frames),
        consent: session.consent.clone(),
        expires_at: session.expires_at,
        session_token: token.map(|it| it.expose_secret().to_owned()),
    }
}

/// What can be known at the door. The rest is told by the capture check of an analysis.
pub(super) fn warnings(frames: &[Frame]) -> Vec<Warning> {
    let untimed: Vec<FrameNumber> =
        frames.iter().filter(|it| it.timestamp_ms.is_none()).map(|it| it.number).collect();
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
