//! Which messages are being answered in this process, and how far each is.

use super::words::Unanswered;
use super::{Answered, FollowUp};
use crate::coach::CoachError;
use crate::session::SessionId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// How far a message is.
#[derive(Debug, Clone)]
pub(in crate::coach) enum Stage {
    /// It is not certain yet that it is answered here.
    Beginning,
    /// The answer is being made.
    Answering,
    /// The answer is stored, or there will be none.
    Ended(Arc<Result<Answered, Unanswered>>),
}

/// The messages that are being answered, one of a session at a time and a bounded number in all.
#[derive(Debug, Clone)]
pub(in crate::coach) struct Answers {
    room: Arc<Semaphore>,
    by_session: Arc<Mutex<HashMap<SessionId, UnderWay>>>,
}

#[derive(Debug)]
struct UnderWay {
    message_sha256: String,
    text: watch::Receiver<String>,
    stage: watch::Receiver<Stage>,
    cut: CancellationToken,
}

/// What became of the wish to answer a message.
#[derive(Debug)]
pub(super) enum Entered {
    /// It is the caller's to answer.
    First(Place),
    /// It is being answered already.
    Joined(FollowUp),
}

impl Answers {
    /// Room for so many at one time.
    pub(in crate::coach) fn new(max: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(max)), by_session: Arc::default() }
    }

    /// Takes the place of the message that is answered about a session, or joins the same one.
    pub(super) fn enter(&self, session: SessionId, message_sha256: &str) -> Result<Entered, CoachError> {
        let mut by_session = self.lock();
        if let Some(it) = by_session.get(&session) {
            if it.message_sha256 != message_sha256 {
                return Err(CoachError::AnswerUnderWay);
            }
            let follow_up = FollowUp { text: it.text.clone(), stage: it.stage.clone() };
            return Ok(Entered::Joined(follow_up));
        }
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_none| CoachError::Busy)?;
        let place = Place {
            answers: self.clone(),
            session,
            text: watch::Sender::default(),
            stage: watch::Sender::new(Stage::Beginning),
            cut: CancellationToken::new(),
            _room: room,
        };
        let under_way = UnderWay {
            message_sha256: message_sha256.to_owned(),
            text: place.text.subscribe(),
            stage: place.stage.subscribe(),
            cut: place.cut.clone(),
        };
        by_session.insert(session, under_way);
        Ok(Entered::First(place))
    }

    /// Tells the answer about a session to end, if there is one.
    pub(in crate::coach) fn cut(&self, session: SessionId) {
        if let Some(it) = self.lock().get(&session) {
            it.cut.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, UnderWay>> {
        // The map is whole after every statement, so a panic elsewhere leaves it usable.
        self.by_session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of the message that is answered about a session, free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    answers: Answers,
    session: SessionId,
    text: watch::Sender<String>,
    stage: watch::Sender<Stage>,
    cut: CancellationToken,
    _room: OwnedSemaphorePermit,
}

impl Place {
    pub(super) fn follow_up(&self) -> FollowUp {
        FollowUp { text: self.text.subscribe(), stage: self.stage.subscribe() }
    }

    /// From now on the message is answered here, or fails.
    pub(super) fn begin(&self) {
        self.stage.send_replace(Stage::Answering);
    }

    /// Tells the answer's text so far.
    pub(super) fn tell(&self, text: String) {
        self.text.send_if_modified(|it| {
            let is_news = *it != text;
            *it = text;
            is_news
        });
    }

    /// Waits until the answer is wanted no more.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }

    /// Frees the place, then tells everybody who waits what became of the message, so that whoever hears it can send
    /// the next one.
    pub(super) fn end(self, outcome: Result<Answered, Unanswered>) {
        let stage = self.stage.clone();
        drop(self);
        stage.send_replace(Stage::Ended(Arc::new(outcome)));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.answers.lock().remove(&self.session);
    }
}
