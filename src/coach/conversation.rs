//! The conversation about an analysis: one message at a time, both turns stored together.
//!
//! A message is answered and its answer stored whether or not the client stays. What is not answered leaves no turn
//! behind, so that it can be sent again. The record says who answers: a claim has one holder over all replicas, and
//! what this process remembers (`under_way`) only lets the same message sent twice wait for one answer.

mod answer;
mod under_way;
mod words;

pub(super) use under_way::Answers;

use super::{Coach, CoachError};
use crate::analysis::PublishedAnalysis;
use crate::metadata::SessionRecord;
use crate::review;
use crate::session::{FrameNumber, Owner, SessionId, Stroke, Turn};
use answer::{Answering, Began};
use chrono::{TimeDelta, Utc};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use under_way::{Entered, Stage};
use uuid::Uuid;
use words::{Unanswered, internal};

/// The most turns that one conversation has.
const MAX_TURNS: usize = 400;

/// How often a message is tried to begin where the conversation goes on meanwhile.
const ROUNDS: u32 = 3;

/// For how long after its answer was stored the same message is taken for the same click.
const REPEATED_WITHIN: TimeDelta = TimeDelta::seconds(10);

/// A message that is being answered, or was a moment ago.
#[derive(Debug)]
pub struct FollowUp {
    /// The answer's text so far, as it may be published. It may begin anew, when the model broke off and is asked
    /// again.
    pub text: watch::Receiver<String>,
    stage: watch::Receiver<Stage>,
}

/// A message and its answer, stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// What was asked.
    pub user: Turn,
    /// What was answered.
    pub assistant: Turn,
    /// Turns in the conversation, these included.
    pub message_count: usize,
}

impl FollowUp {
    /// One whose answer is stored already.
    fn stored(answered: Answered) -> Self {
        let text = watch::Sender::new(answered.assistant.content.clone()).subscribe();
        let stage = watch::Sender::new(Stage::Ended(Arc::new(Ok(answered)))).subscribe();
        Self { text, stage }
    }

    /// Waits until the answer is begun; `None` where it never is, and its place is free again.
    async fn begun(mut self) -> Option<Self> {
        let is_begun = self.stage.wait_for(|it| !matches!(it, Stage::Beginning)).await.is_ok();
        is_begun.then_some(self)
    }

    /// Waits for what becomes of the message.
    pub async fn answered(mut self) -> Result<Answered, CoachError> {
        let ended = self.stage.wait_for(|it| matches!(it, Stage::Ended(_))).await;
        match ended.as_deref() {
            Ok(Stage::Ended(outcome)) => outcome.as_ref().clone().map_err(CoachError::from),
            Ok(Stage::Beginning | Stage::Answering) | Err(_) => Err(CoachError::NotAnswered(internal())),
        }
    }
}

impl Coach {
    /// Has a message about the latest result of a session answered. One message of a conversation is answered at a
    /// time; the same one again while it is, in this process, waits for the same answer, and the same one again a
    /// moment later is given the stored one.
    pub async fn follow_up(
        &self,
        owner: &Owner,
        id: SessionId,
        message: String,
    ) -> Result<FollowUp, CoachError> {
        self.follow_up_once(owner, id, message, None).await
    }

    /// The same for a request with an idempotency key, by its UUID. Where an earlier try of it was answered, that is
    /// the answer.
    pub async fn follow_up_once(
        &self,
        owner: &Owner,
        id: SessionId,
        message: String,
        request: Option<Uuid>,
    ) -> Result<FollowUp, CoachError> {
        let message_sha256 = hex::encode(Sha256::digest(&message));
        // After each round somebody else has answered, or has failed to begin.
        for _ in 0..ROUNDS {
            let record = self.session(owner, id).await?;
            let answered = answered_to(&record.turns, request);
            if let Some(answered) = answered.or_else(|| just_answered(&record.turns, &message)) {
                return Ok(FollowUp::stored(answered));
            }
            let talked_about = talked_about(&record)?;
            self.may_be_shown(&record.session)?;
            match self.answers.enter(id, &message_sha256)? {
                Entered::Joined(follow_up) => {
                    if let Some(follow_up) = follow_up.begun().await {
                        return Ok(follow_up);
                    }
                }
                Entered::First(place) => {
                    let follow_up = place.follow_up();
                    let answering = Answering::new(
                        self,
                        record,
                        talked_about,
                        message.clone(),
                        message_sha256.clone(),
                        request,
                    );
                    // A client that hangs up must not part the claim from the answer.
                    let (began, beginning) = oneshot::channel();
                    self.jobs.finish(answering.run(place, began));
                    match beginning.await {
                        Ok(Began::Answering) => return Ok(follow_up),
                        Ok(Began::Refused(error)) => return Err(error),
                        Ok(Began::WentOn) => {}
                        Err(_gone) => return Err(CoachError::NotAnswered(internal())),
                    }
                }
            }
        }
        Err(CoachError::AnswerUnderWay)
    }
}

/// The result that is talked about, and what it was made from.
#[derive(Debug)]
struct TalkedAbout {
    result: PublishedAnalysis,
    stroke_type: Stroke,
    left_out: Vec<FrameNumber>,
}

/// What is talked about is what is shown: an earlier result while a later analysis runs, or after it failed.
fn talked_about(record: &SessionRecord) -> Result<TalkedAbout, CoachError> {
    let id = record.session.id;
    let shown = record.analyses.iter().rev().find_map(|it| it.result.clone().map(|result| (it, result)));
    let (analysis, result) = shown.ok_or(CoachError::NotAnalyzed(id))?;
    if !review::is_about_technique(&result) {
        return Err(CoachError::NothingToTalkAbout(id));
    }
    if MAX_TURNS < record.turns.len() + 2 {
        return Err(CoachError::ConversationFull { max: MAX_TURNS });
    }
    Ok(TalkedAbout { result, stroke_type: analysis.stroke_type, left_out: analysis.left_out.clone() })
}

/// The message that this request brought, with its answer.
fn answered_to(turns: &[Turn], request: Option<Uuid>) -> Option<Answered> {
    let request = request?;
    let place = turns.iter().position(|it| it.request == Some(request))?;
    let [user, assistant] = turns.get(place..place + 2)? else { return None };
    Some(Answered { user: user.clone(), assistant: assistant.clone(), message_count: place + 2 })
}

/// The last message with its answer, if it is this one and was answered a moment ago.
fn just_answered(turns: &[Turn], message: &str) -> Option<Answered> {
    let [.., user, assistant] = turns else { return None };
    let is_recent = Utc::now() - assistant.created_at < REPEATED_WITHIN;
    (is_recent && user.content == message).then(|| Answered {
        user: user.clone(),
        assistant: assistant.clone(),
        message_count: turns.len(),
    })
}

impl From<Unanswered> for CoachError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Gone(id) => Self::NoSuchSession(id),
            Unanswered::Failed(failure) => Self::NotAnswered(failure),
        }
    }
}
