//! What happens to an analysis: event by event for whoever listens, and how far it is for whoever looks.

use super::AppState;
use super::auth::MayRead;
use super::error::{ApiError, ProblemBody};
use super::extract::ApiPath;
use super::sessions::SessionStatus;
use super::upload::invalid;
use super::usage::UsageReply;
use crate::analysis::{Finding, Warning};
use crate::coach::{EventCursor, Follow};
use crate::events::{AnalysisEvent, Happening, Stage};
use crate::session::{Analysis, AnalysisId, Failure, SessionId};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// The header that names the last event that a client knows.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// After how long a client comes back whose stream ended early.
const RETRY: Duration = Duration::from_secs(3);
/// How often a silent stream says that it is there, so that nothing between here and the client takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// An event of an analysis. It is written as Server-Sent Events are: its name after `event:`, its data as JSON in one
/// line after `data:`, and after `id:` the place in the log that `Last-Event-ID` takes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub(super) enum AnalysisEventBody {
    /// The analysis was taken on, and waits for its turn.
    Queued(QueuedData),
    /// Another process took the analysis up. Findings that were told before are void.
    Resumed(ResumedData),
    /// It came to a new stage.
    Progress(ProgressData),
    /// A finding that stands, while the model still writes. Its priority and its id are settled at the end.
    Finding(Box<Finding>),
    /// Something that limits the result.
    Warning(Warning),
    /// What was asked of the model so far.
    Usage(UsageReply),
    /// The whole result is there; read the session. Nothing comes after it.
    Done(DoneData),
    /// The analysis ended without a whole result. Nothing comes after it.
    Error(ErrorData),
}

/// An analysis was taken on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QueuedData {
    analysis_id: AnalysisId,
    at: DateTime<Utc>,
}

/// An analysis was taken up by another process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ResumedData {
    /// The how many-th attempt begins, from 2.
    attempt: u32,
    at: DateTime<Utc>,
}

/// An analysis came to a new stage.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProgressData {
    stage: Stage,
    /// The how many-th of the looks that were asked for, from 1.
    look: u8,
    at: DateTime<Utc>,
}

/// An analysis has a whole result.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DoneData {
    analysis_id: AnalysisId,
    /// Always `complete`.
    status: SessionStatus,
    at: DateTime<Utc>,
}

/// An analysis ended without a whole result.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorData {
    analysis_id: AnalysisId,
    /// A stable word for programs.
    code: String,
    /// What happened and what to do, in sentences.
    detail: String,
    /// Whether asking for the analysis again may help.
    can_resume: bool,
    at: DateTime<Utc>,
}

impl AnalysisEventBody {
    fn new(analysis_id: AnalysisId, event: AnalysisEvent) -> Self {
        let at = event.at;
        match event.what {
            Happening::Queued => Self::Queued(QueuedData { analysis_id, at }),
            Happening::Resumed { attempt } => Self::Resumed(ResumedData { attempt, at }),
            Happening::Progress { stage, look } => Self::Progress(ProgressData { stage, look, at }),
            Happening::Finding(finding) => Self::Finding(finding),
            Happening::Warning(warning) => Self::Warning(warning),
            Happening::Usage(usage) => Self::Usage(usage.into()),
            Happening::Done => Self::Done(DoneData { analysis_id, status: SessionStatus::Complete, at }),
            Happening::Failed(Failure { code, detail, can_resume }) => {
                Self::Error(ErrorData { analysis_id, code, detail, can_resume, at })
            }
        }
    }

    fn write(&self, place: EventCursor) -> Result<Event, axum::Error> {
        let named = |name| Event::default().id(place.to_string()).event(name);
        match self {
            Self::Queued(data) => named("queued").json_data(data),
            Self::Resumed(data) => named("resumed").json_data(data),
            Self::Progress(data) => named("progress").json_data(data),
            Self::Finding(data) => named("finding").json_data(data),
            Self::Warning(data) => named("warning").json_data(data),
            Self::Usage(data) => named("usage").json_data(data),
            Self::Done(data) => named("done").json_data(data),
            Self::Error(data) => named("error").json_data(data),
        }
    }
}

/// How far an analysis is that has not ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProgressReply {
    stage: Stage,
    /// The how many-th of the looks that were asked for, from 1.
    look: u8,
    /// How many looks were asked for.
    samples: u8,
    /// The how many-th attempt it is, from 1; one more each time a process took it up after another went away.
    attempt: u32,
    /// Findings that stand so far.
    findings: usize,
    /// When it came there.
    at: DateTime<Utc>,
}

impl ProgressReply {
    /// How far it is by its events; `None` once it has ended.
    pub(super) fn of(analysis: &Analysis) -> Option<Self> {
        if analysis.has_ended() {
            return None;
        }
        let start = Self {
            stage: Stage::Queued,
            look: 1,
            samples: analysis.options.samples,
            attempt: analysis.attempt,
            findings: 0,
            at: analysis.requested_at,
        };
        Some(analysis.events.iter().fold(start, |so_far, event| match &event.what {
            Happening::Queued | Happening::Resumed { .. } => {
                Self { stage: Stage::Queued, look: 1, findings: 0, at: event.at, ..so_far }
            }
            Happening::Progress { stage, look } => {
                Self { stage: *stage, look: *look, at: event.at, ..so_far }
            }
            Happening::Finding(_) => Self { findings: so_far.findings + 1, ..so_far },
            Happening::Warning(_) | Happening::Usage(_) | Happening::Done | Happening::Failed(_) => so_far,
        }))
    }
}

/// Tells what happens to an analysis of the session, from its beginning or from a known event on, until it has ended.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}/events",
    tag = "sessions",
    params(
        ("id" = SessionId, Path, description = "the session"),
        ("Last-Event-ID" = Option<String>, Header, description = "the last event that is known; of the latest analysis all are told without it"),
    ),
    responses(
        (status = 200, body = AnalysisEventBody, content_type = "text/event-stream", description = "each event as it is stored; the stream ends after `done` or `error`, and when the service stops"),
        (status = 204, description = "the analysis has ended, and nothing of it came after the known event: do not come back"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "no analysis of it was asked for"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`Last-Event-ID` is not the id of an event"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "records are down"),
    ),
)]
pub(super) async fn listen(
    State(app): State<AppState>,
    MayRead(owner): MayRead,
    ApiPath(id): ApiPath<SessionId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let follow = app.coach.follow(&owner, id, last_event(&headers)?).await?;
    let mut events = Box::pin(told(follow));
    // What is stored already comes at once, and so does the news that nothing more will; a stop is no such news.
    let first = match events.next().now_or_never() {
        Some(None) if !app.draining.is_cancelled() => return Ok(StatusCode::NO_CONTENT.into_response()),
        first => first.flatten(),
    };
    // The first bytes are sent in any case, so that the client knows that it is heard.
    let retry = Ok(Event::default().retry(RETRY));
    let events = stream::iter(first).chain(events).take_until(app.draining.cancelled_owned());
    Ok(event_stream(stream::iter([retry]).chain(events)))
}

/// An answer that is a stream of events, which nothing on its way should hold back.
pub(super) fn event_stream(
    events: impl Stream<Item = Result<Event, axum::Error>> + Send + 'static,
) -> Response {
    let stream = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    let mut response = stream.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// The events as they are stored, each as it is written.
fn told(follow: Follow) -> impl Stream<Item = Result<Event, axum::Error>> {
    let batches = stream::unfold(follow, |mut follow| async move {
        let events = follow.next().await?;
        let analysis = follow.analysis();
        Some((stream::iter(events.into_iter().map(move |it| write(analysis, it))), follow))
    });
    batches.flatten()
}

fn write(analysis: AnalysisId, event: AnalysisEvent) -> Result<Event, axum::Error> {
    let place = EventCursor { analysis, number: event.number };
    AnalysisEventBody::new(analysis, event).write(place)
}

/// The event that the client knows already.
fn last_event(headers: &HeaderMap) -> Result<Option<EventCursor>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let cursor = value.to_str().ok().and_then(|it| it.parse().ok());
    let wrong = || {
        let detail = "Last-Event-ID is not the id of an event: it is an analysis's id, a colon and a number, as the \
                      stream gives it after id:; leave it out to hear all from the beginning";
        invalid("/headers/last-event-id", detail.to_owned())
    };
    cursor.map(Some).ok_or_else(wrong)
}
