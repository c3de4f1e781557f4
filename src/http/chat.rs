//! The conversation about an analysis: one message, and its answer whole or as it is written.

use super::AppState;
use super::auth::MayAsk;
use super::error::{ApiError, Problem, ProblemBody};
use super::events::event_stream;
use super::extract::{ApiJson, ApiPath};
use super::idempotency::RequestId;
use super::layers::Named;
use super::upload::invalid;
use super::usage::UsageReply;
use crate::coach::{Answered, CoachError, FollowUp};
use crate::session::{FrameNumber, Role, SessionId, Turn};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::watch;
use utoipa::ToSchema;

/// The most characters of a message.
const MAX_MESSAGE: usize = 2000;
/// How long a stream waits for its first event before it begins without one. What goes wrong within it is told by the
/// status, like anything else that goes wrong.
const FIRST_EVENT: Duration = Duration::from_secs(10);

/// A message about the latest result.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChatBody {
    /// What is asked or said; from 1 to 2000 characters, space around it not counted.
    #[schema(min_length = 1)]
    message: String,
}

impl ChatBody {
    fn message(&self) -> Result<String, ApiError> {
        let message = self.message.trim();
        match message.chars().count() {
            0 => Err(invalid("/message", "message is empty; say or ask something".to_owned())),
            1..=MAX_MESSAGE => Ok(message.to_owned()),
            _ => {
                let detail = format!("message has more than {MAX_MESSAGE} characters; make it shorter");
                Err(invalid("/message", detail))
            }
        }
    }
}

/// A message and its answer, both stored.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChatReply {
    /// The session.
    session_id: SessionId,
    /// The message as it is stored.
    user_message: String,
    /// The answer.
    assistant_message: String,
    /// Messages in the conversation, these two included.
    message_count: usize,
    /// The frames that the answer speaks of.
    frames: Vec<FrameNumber>,
    /// What the answer took.
    usage: Option<UsageReply>,
}

impl ChatReply {
    fn new(session_id: SessionId, answered: Answered) -> Self {
        let Answered { user, assistant, message_count } = answered;
        Self {
            session_id,
            user_message: user.content,
            assistant_message: assistant.content,
            message_count,
            frames: assistant.frames,
            usage: assistant.usage.map(UsageReply::from),
        }
    }
}

/// An event of an answer that is being written. It is written as Server-Sent Events are: its name after `event:`, its
/// data as JSON in one line after `data:`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub(super) enum ChatEventBody {
    /// The answer goes on.
    Delta(DeltaData),
    /// The answer begins anew: what was told of it so far is void.
    Reset(ResetData),
    /// The answer is whole and stored; what was told of it is `assistant_message`. Nothing comes after it.
    Done(ChatReply),
    /// There is no answer, and nothing is stored. Nothing comes after it.
    Error(ProblemBody),
}

/// More of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeltaData {
    /// What follows on what was told before.
    text: String,
}

/// An answer that begins anew.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ResetData {}

impl ChatEventBody {
    fn write(&self) -> Result<Event, axum::Error> {
        let named = |name| Event::default().event(name);
        match self {
            Self::Delta(data) => named("delta").json_data(data),
            Self::Reset(data) => named("reset").json_data(data),
            Self::Done(data) => named("done").json_data(data),
            Self::Error(data) => named("error").json_data(data),
        }
    }
}

/// A turn of the conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Message {
    role: Role,
    content: String,
    timestamp: DateTime<Utc>,
    /// The frames that it speaks of; empty in what the swimmer says.
    frames: Vec<FrameNumber>,
    /// What it took; null in what the swimmer says.
    usage: Option<UsageReply>,
}

impl From<Turn> for Message {
    fn from(turn: Turn) -> Self {
        Self {
            role: turn.role,
            content: turn.content,
            timestamp: turn.created_at,
            frames: turn.frames,
            usage: turn.usage.map(UsageReply::from),
        }
    }
}

/// Has a message about the latest result answered, with the frames at hand. It is answered and stored whether or not
/// the client waits; of a message that is not answered nothing is stored.
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{id}/chat",
    tag = "sessions",
    params(
        ("id" = SessionId, Path, description = "the session"),
        ("Accept" = Option<String>, Header, description = "`text/event-stream` for the answer as it is written"),
    ),
    request_body = ChatBody,
    responses(
        (status = 200, content((ChatReply = "application/json"), (ChatEventBody = "text/event-stream"))),
        (status = 400, body = ProblemBody, content_type = "application/problem+json", description = "the body broke off"),
        (status = 402, body = ProblemBody, content_type = "application/problem+json", description = "there is no room for it in a budget of this month"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "there is no such session"),
        (status = 408, body = ProblemBody, content_type = "application/problem+json", description = "the body took too long"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "there is no result yet, another message is being answered, the conversation is full, or the frames cannot be shown"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "the body is too large"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json", description = "the body is not JSON"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "the message is not acceptable, or the model declined to answer it"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "the model, storage or records gave an answer that makes no sense"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "the model, storage or records are down"),
    ),
)]
pub(super) async fn ask(
    State(app): State<AppState>,
    MayAsk(owner): MayAsk,
    ApiPath(id): ApiPath<SessionId>,
    Extension(named): Extension<Named>,
    RequestId(request): RequestId,
    headers: HeaderMap,
    ApiJson(body): ApiJson<ChatBody>,
) -> Result<Response, ApiError> {
    let follow_up = app.coach.follow_up_once(&owner, id, body.message()?, request).await?;
    if !wants_events(&headers) {
        return Ok(Json(ChatReply::new(id, follow_up.answered().await?)).into_response());
    }
    let mut events = Box::pin(told(Telling::new(id, follow_up)));
    let first = match tokio::time::timeout(FIRST_EVENT, events.next()).await {
        Ok(Some(Err(error))) => return Err(error.into()),
        Ok(first) => first,
        Err(_too_late) => None,
    };
    let events = stream::iter(first).chain(events);
    let events = events.map(move |it| it.unwrap_or_else(|error| unanswered(error, &named)).write());
    Ok(event_stream(events))
}

/// Whether the client asks for the answer as it is written.
fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok());
    let mut types = accepted.flat_map(|it| it.split(',')).filter_map(|it| it.split(';').next());
    types.any(|it| it.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// An answer that is told as it is written.
struct Telling {
    session: SessionId,
    text: watch::Receiver<String>,
    /// What becomes of it, until that is told.
    outcome: Option<BoxFuture<'static, Result<Answered, CoachError>>>,
    /// What of the text the client knows.
    told: String,
}

impl Telling {
    fn new(session: SessionId, follow_up: FollowUp) -> Self {
        let mut text = follow_up.text.clone();
        // Who joins an answer that is being written is told what there is of it.
        text.mark_changed();
        Self { session, text, outcome: Some(follow_up.answered().boxed()), told: String::new() }
    }

    /// The next events, at least one, or why there is no answer; `None` once the end was told.
    async fn next(&mut self) -> Option<Result<Vec<ChatEventBody>, CoachError>> {
        let outcome = self.outcome.as_mut()?;
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.text.changed() => {
                    let events = tell(&mut self.told, &self.text.borrow_and_update());
                    if !events.is_empty() {
                        return Some(Ok(events));
                    }
                }
                outcome = &mut *outcome => {
                    self.outcome = None;
                    return Some(outcome.map(|answered| {
                        let mut events = tell(&mut self.told, &answered.assistant.content);
                        events.push(ChatEventBody::Done(ChatReply::new(self.session, answered)));
                        events
                    }));
                }
            }
        }
    }
}

/// What must be told so that a client which knows `told` knows `text`.
fn tell(told: &mut String, text: &str) -> Vec<ChatEventBody> {
    let mut events = Vec::new();
    if !text.starts_with(told.as_str()) {
        events.push(ChatEventBody::Reset(ResetData {}));
        told.clear();
    }
    let (_, new) = text.split_at(told.len());
    if !new.is_empty() {
        told.push_str(new);
        events.push(ChatEventBody::Delta(DeltaData { text: new.to_owned() }));
    }
    events
}

/// The events as they come, or why there is no answer.
fn told(telling: Telling) -> impl Stream<Item = Result<ChatEventBody, CoachError>> {
    let batches = stream::unfold(telling, |mut telling| async move {
        let events = match telling.next().await? {
            Ok(events) => events.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        Some((stream::iter(events), telling))
    });
    batches.flatten()
}

/// Why there is no answer, told to a client whose stream has begun, and to the log.
fn unanswered(error: CoachError, named: &Named) -> ChatEventBody {
    let Named { request_id, path } = named;
    let problem = Problem::from(&ApiError::from(error));
    if let Some(cause) = &problem.cause {
        tracing::error!(request_id, path, cause, "{path} could not be answered to the end");
    }
    ChatEventBody::Error(problem.body(request_id.clone(), path.clone()))
}
