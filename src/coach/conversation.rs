//! The conversation about an analysis: one message at a time, both turns stored together.

use super::{Coach, CoachError};
use crate::session::{Owner, SessionId, Turn};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A message that is being answered. It is answered and stored whether or not anybody waits.
#[derive(Debug)]
pub struct FollowUp {
    /// The answer's text so far. It may begin anew, when the model broke off and is asked again.
    pub text: watch::Receiver<String>,
    /// What becomes of it.
    pub outcome: JoinHandle<Result<Answered, CoachError>>,
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
    /// Waits for what becomes of it.
    pub async fn answered(self) -> Result<Answered, CoachError> {
        self.outcome.await?
    }
}

impl Coach {
    /// Has a message about the latest result of a session answered.
    pub async fn follow_up(
        &self,
        owner: &Owner,
        id: SessionId,
        message: String,
    ) -> Result<FollowUp, CoachError> {
        let _record = self.session(owner, id).await?;
        drop(message);
        Err(CoachError::NotAnalyzed(id))
    }
}
