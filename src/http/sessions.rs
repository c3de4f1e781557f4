//! Reading and deleting sessions.

#![expect(unused_qualifications, reason = "utoipa's macro writes them for query parameters")]

use super::AppState;
use super::analysis::FrameReply;
use super::auth::{MayClaim, MayDelete, MayRead, MayUpload};
use super::chat::Message;
use super::error::{ApiError, ProblemBody};
use super::events::ProgressReply;
use super::extract::{ApiJson, ApiPath, ApiQuery};
use super::upload::invalid;
use super::usage::UsageReply;
use crate::analysis::{PublishedAnalysis, Usage};
use crate::coach::TermsRequest;
use crate::consent::{Consent, Purpose};
use crate::metadata::SessionRecord;
use crate::review::{self, Feedback};
use crate::session::{AnalysisId, AnalysisStatus, SessionId, Stroke};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::{IntoParams, ToSchema};
use xxhash_rust::xxh3::xxh3_128;

/// Sessions on a page unless asked otherwise.
const PAGE: u32 = 20;
/// The most that may be asked for.
const MAX_PAGE: u32 = 100;

/// Where a session stands, as the front end knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SessionStatus {
    /// No analysis was asked for.
    Pending,
    /// One is under way.
    Processing,
    /// The latest one is whole.
    Complete,
    /// The latest one ended without a whole result.
    Failed,
}

/// A session with everything known about it.
#[expect(clippy::struct_excessive_bools, reason = "the front end of the first version reads them by name")]
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionDetail {
    session_id: SessionId,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Always false: frames are taken, videos are not.
    has_video: bool,
    /// Always null.
    video_filename: Option<String>,
    /// Whether a whole analysis is there.
    is_analyzed: bool,
    status: SessionStatus,
    /// Why the latest analysis failed and what to do, in sentences.
    error: Option<String>,
    /// A stable word for the same.
    error_code: Option<String>,
    stroke_type: Stroke,
    title: Option<String>,
    user_notes: Option<String>,
    summary: Option<String>,
    /// What to work on, in the shape of the first version.
    feedback: Vec<Feedback>,
    /// Whether the latest analysis failed with a part that stands.
    partial: bool,
    /// Whether asking for the analysis again may help.
    can_resume: bool,
    /// How far the analysis is that is under way.
    progress: Option<ProgressReply>,
    message_count: usize,
    messages: Vec<Message>,
    frame_count: usize,
    frames: Vec<FrameReply>,
    /// The latest result there is; an earlier one while a later analysis is under way or failed.
    analysis: Option<AnalysisReply>,
    /// What all analyses of the session and all answers took, failed analyses included.
    usage: UsageReply,
    /// What was agreed to about the pictures; null in sessions that are older than this.
    consent: Option<Consent>,
    /// Until when the session is kept; null in sessions that are older than this.
    expires_at: Option<DateTime<Utc>>,
}

/// A published analysis with its id.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AnalysisReply {
    analysis_id: AnalysisId,
    #[serde(flatten)]
    published: PublishedAnalysis,
    /// What this analysis took.
    usage: UsageReply,
}

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeleteReply {
    session_id: SessionId,
    /// Objects removed from storage.
    frames_deleted: u64,
    /// Their sizes in bytes, added up.
    bytes_deleted: u64,
    /// Records removed.
    records_deleted: u64,
}

/// What is changed about the terms of a session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TermsBody {
    /// For how many days since it was made the session is kept; fewer than so far.
    #[serde(default)]
    #[schema(minimum = 1)]
    retention_days: Option<u32>,
    /// What is still agreed to, out of what was.
    #[serde(default)]
    purposes: Option<BTreeSet<Purpose>>,
}

/// An anonymous session that is the caller's now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClaimReply {
    session_id: SessionId,
    /// Whose it is: the key's owner, the user that the key acts for, or the subject of the token.
    user_id: String,
    /// A sentence for people.
    message: &'static str,
}

/// Which page of sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Sessions on the page.
    #[serde(default)]
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// Where the page begins, from the `Link` header of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

/// The caller's sessions, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    tag = "sessions",
    params(PageQuery),
    responses(
        (status = 200, body = Vec<SessionDetail>, headers(("Link" = String, description = "the next page, when there is one"))),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "limit or cursor is not acceptable"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down"),
    ),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    MayRead(owner): MayRead,
    ApiQuery(page): ApiQuery<PageQuery>,
) -> Result<Response, ApiError> {
    let limit = page.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(invalid("/query/limit", format!("limit is a whole number from 1 to {MAX_PAGE}")));
    }
    let before = match page.cursor.as_deref().map(str::parse) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => {
            let detail = "cursor is not one that this service gave out; begin without one".to_owned();
            return Err(invalid("/query/cursor", detail));
        }
    };
    // One more than the page shows whether there is a next one.
    let mut records = app.coach.list_sessions(&owner, before, limit + 1).await?;
    let has_next = (limit as usize) < records.len();
    records.truncate(limit as usize);
    let last = records.last().filter(|_| has_next).map(|it| it.session.id);
    let details: Vec<SessionDetail> = records.into_iter().map(SessionDetail::from).collect();
    let page = Json(details).into_response();
    Ok(match last {
        Some(last) => ([(header::LINK, next_link(last, limit))], page).into_response(),
        None => page,
    })
}

/// A session with everything known about it.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}",
    tag = "sessions",
    params(("id" = SessionId, Path, description = "the session")),
    responses(
        (status = 200, body = SessionDetail, headers(("ETag" = String, description = "changes with the answer"))),
        (status = 304, description = "nothing changed since the given `If-None-Match`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down"),
    ),
)]
pub(super) async fn show(
    State(app): State<AppState>,
    MayRead(owner): MayRead,
    ApiPath(id): ApiPath<SessionId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let detail = SessionDetail::from(app.coach.session(&owner, id).await?);
    let body = serde_json::to_vec(&detail).map_err(ApiError::Unwritable)?;
    let etag = format!("\"{:032x}\"", xxh3_128(&body));
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|it| it.to_str().ok());
    // A proxy that compresses the answer makes the tag a weak one; it stands for the same state.
    let mut known = known.flat_map(|it| it.split(',')).map(|it| it.trim().trim_start_matches("W/"));
    let is_known = known.any(|it| it == etag || it == "*");
    let fresh = [(header::ETAG, etag), (header::CACHE_CONTROL, "private, no-cache".to_owned())];
    Ok(if is_known {
        (StatusCode::NOT_MODIFIED, fresh).into_response()
    } else {
        (fresh, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    })
}

/// Removes a session: its frames, then its records.
#[utoipa::path(
    delete,
    path = "/api/v1/sessions/{id}",
    tag = "sessions",
    params(("id" = SessionId, Path, description = "the session")),
    responses(
        (status = 200, body = DeleteReply),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "storage or records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "storage or records are down; the deletion can be repeated"),
    ),
)]
pub(super) async fn delete(
    State(app): State<AppState>,
    MayDelete(owner): MayDelete,
    ApiPath(id): ApiPath<SessionId>,
) -> Result<Json<DeleteReply>, ApiError> {
    let deleted = app.coach.delete_session(&owner, id).await?;
    Ok(Json(DeleteReply {
        session_id: id,
        frames_deleted: deleted.frames.frames,
        bytes_deleted: deleted.frames.bytes,
        records_deleted: deleted.records,
    }))
}

/// Takes back consent to a purpose, or has a session kept for a shorter time.
#[utoipa::path(
    patch,
    path = "/api/v1/sessions/{id}",
    tag = "sessions",
    params(("id" = SessionId, Path, description = "the session")),
    request_body(content = TermsBody),
    responses(
        (status = 200, body = SessionDetail),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 408, body = ProblemBody, content_type = "application/problem+json", description = "the body took too long"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "the body is too large"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json", description = "the body is not JSON"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "the session would be kept longer, or more would be allowed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down"),
    ),
)]
pub(super) async fn amend(
    State(app): State<AppState>,
    MayUpload(owner): MayUpload,
    ApiPath(id): ApiPath<SessionId>,
    ApiJson(body): ApiJson<TermsBody>,
) -> Result<Json<SessionDetail>, ApiError> {
    let TermsBody { retention_days, purposes } = body;
    let amended = app.coach.amend_session(&owner, id, TermsRequest { retention_days, purposes }).await?;
    Ok(Json(SessionDetail::from(amended)))
}

/// Makes an anonymous session the caller's. Its token comes as `X-Session-Token`; what is the caller's already needs none.
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{id}/claim",
    tag = "sessions",
    params(
        ("id" = SessionId, Path, description = "the session"),
        ("X-Session-Token" = Option<String>, Header, description = "the token that was given out with the session"),
    ),
    responses(
        (status = 200, body = ClaimReply),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session of that token, and none of the caller's"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down"),
    ),
)]
pub(super) async fn claim(
    State(app): State<AppState>,
    MayClaim { caller, from }: MayClaim,
    ApiPath(id): ApiPath<SessionId>,
) -> Result<Json<ClaimReply>, ApiError> {
    app.coach.claim_session(&caller.owner, &from, id).await?;
    let message = "The session is yours; the token of the anonymous session opens it no more.";
    Ok(Json(ClaimReply { session_id: id, user_id: caller.user_id, message }))
}

impl SessionDetail {
    /// When anything about the session was changed last.
    pub(super) fn updated_at(&self) -> DateTime<Utc> {
        self.updated_at
    }
}

impl From<SessionRecord> for SessionDetail {
    fn from(record: SessionRecord) -> Self {
        let SessionRecord { session, analyses, turns } = record;
        let latest = analyses.last();
        let failure = latest.and_then(|it| it.failure.clone());
        let shown = analyses.iter().rev().find(|it| it.result.is_some());
        let published = shown.and_then(|it| it.result.clone());
        let changes = analyses.iter().map(|it| it.updated_at).chain(turns.iter().map(|it| it.created_at));
        let usages = analyses.iter().map(|it| it.usage).chain(turns.iter().filter_map(|it| it.usage));
        Self {
            session_id: session.id,
            created_at: session.created_at,
            updated_at: changes.fold(session.created_at, DateTime::max),
            has_video: false,
            video_filename: None,
            is_analyzed: analyses.iter().any(|it| it.status == AnalysisStatus::Complete),
            status: latest.map_or(SessionStatus::Pending, |it| it.status.into()),
            error: failure.as_ref().map(|it| it.detail.clone()),
            error_code: failure.as_ref().map(|it| it.code.clone()),
            stroke_type: latest.map_or(session.stroke_type, |it| it.stroke_type),
            title: session.title,
            consent: session.consent,
            expires_at: session.expires_at,
            user_notes: session.user_notes,
            summary: published.as_ref().map(|it| it.summary.clone()),
            feedback: published.as_ref().map(review::feedback).unwrap_or_default(),
            partial: latest.is_some_and(|it| it.status == AnalysisStatus::Failed && it.result.is_some()),
            can_resume: failure.is_some_and(|it| it.can_resume),
            progress: latest.and_then(ProgressReply::of),
            message_count: turns.len(),
            frame_count: session.frames.len(),
            frames: session.frames.iter().map(|it| FrameReply::new(session.id, it)).collect(),
            analysis: shown.zip(published).map(|(it, published)| AnalysisReply {
                analysis_id: it.id,
                published,
                usage: it.usage.into(),
            }),
            usage: usages
                .fold(Usage::default(), |mut sum, it| {
                    sum += it;
                    sum
                })
                .into(),
            messages: turns.into_iter().map(Message::from).collect(),
        }
    }
}

impl From<AnalysisStatus> for SessionStatus {
    fn from(status: AnalysisStatus) -> Self {
        match status {
            AnalysisStatus::Processing | AnalysisStatus::Queued => Self::Processing,
            AnalysisStatus::Complete => Self::Complete,
            AnalysisStatus::Failed => Self::Failed,
        }
    }
}

fn next_link(last: SessionId, limit: u32) -> String {
    format!("</api/v1/sessions?cursor={last}&limit={limit}>; rel=\"next\"")
}
