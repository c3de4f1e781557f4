//! One answer, from the claim on its place in the conversation to the charge for it.

use super::under_way::Place;
use super::words::{AnswerError, Unanswered, failure};
use super::{Answered, TalkedAbout};
use crate::analysis::{MicroUsd, Usage};
use crate::coach::asking::{ASKINGS, Spending};
use crate::coach::look::unseen_look;
use crate::coach::spending::{cost_at_most, keep_paid};
use crate::coach::{Coach, CoachError, now};
use crate::ledger::{Charge, ChargeId, ChargeKind, StorageUse};
use crate::metadata::{ClaimedAnswer, SessionRecord};
use crate::review::{self, ModelReply, PublishedReply};
use crate::session::{AnswerClaim, FrameNumber, Role, Session, Turn};
use crate::upstream;
use crate::vision::{Asking, Progress, Talk, VisionErrorKind};
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// How the beginning of an answer came out.
#[derive(Debug)]
pub(super) enum Began {
    /// It is claimed and there is room for it, so it is made.
    Answering,
    /// It is not answered here, and nothing was spent.
    Refused(CoachError),
    /// The conversation has gone on since it was read.
    WentOn,
}

/// An answer that is to be made, and what it needs.
#[derive(Debug)]
pub(super) struct Answering {
    coach: Coach,
    session: Session,
    /// Frames that the analysis was not shown either.
    left_out: Vec<FrameNumber>,
    /// What is talked about; its look has no pictures yet.
    talk: Talk,
    claim: AnswerClaim,
    charge: ChargeId,
    asked_at: DateTime<Utc>,
    /// The request with an idempotency key that brings the message.
    request: Option<Uuid>,
    /// The most that one asking costs.
    estimate: MicroUsd,
    /// Until when nobody else can have taken the claim.
    held_until: Mutex<Instant>,
    /// Frames that storage was asked for.
    n_read: AtomicU64,
}

impl Answering {
    /// An answer to a message about this result of the session; nothing is asked of anybody yet.
    pub(super) fn new(
        coach: &Coach,
        record: SessionRecord,
        talked_about: TalkedAbout,
        message: String,
        message_sha256: String,
        request: Option<Uuid>,
    ) -> Self {
        let SessionRecord { session, turns, .. } = record;
        let TalkedAbout { result, stroke_type, left_out } = talked_about;
        let mut look = unseen_look(&session, stroke_type);
        look.frames.retain(|it| !left_out.contains(&it.number));
        let number = turns.last().map_or(0, |it| it.number + 1);
        let talk = Talk { look, analysis: result, turns, message };
        let asked_at = now();
        let claim = AnswerClaim {
            session: session.id,
            id: Uuid::now_v7(),
            number,
            message_sha256,
            renewed_at: asked_at,
        };
        let estimate = coach.vision.estimate_follow_up(&talk).cost;
        Self {
            coach: coach.clone(),
            session,
            left_out,
            talk,
            claim,
            charge: ChargeId::new(),
            asked_at,
            request,
            estimate,
            held_until: Mutex::new(Instant::now() + coach.stale_after),
            n_read: AtomicU64::new(0),
        }
    }

    /// Answers the message and stores both turns, or neither; whatever becomes of it, what it cost is recorded.
    pub(super) async fn run(self, place: Place, began: oneshot::Sender<Began>) {
        let allowance = match self.begin().await {
            Ok(allowance) => allowance,
            Err(ended) => {
                drop(place);
                drop(began.send(ended));
                return;
            }
        };
        place.begin();
        // Whoever asked may have gone.
        drop(began.send(Began::Answering));

        let spending = Spending::after(Usage::default());
        // A bug in one of the steps must end the answer, not leave it claimed and reserved.
        let answer = AssertUnwindSafe(self.answer(allowance, &place, &spending)).catch_unwind().await;
        let answer = answer.unwrap_or(Err(AnswerError::Panicked));
        let usage = spending.total();
        let is_answered = answer.is_ok();
        let outcome = match answer {
            Ok(answered) => {
                place.tell(answered.assistant.content.clone());
                Ok(answered)
            }
            Err(error) => {
                self.release().await;
                Err(self.unanswered(&error))
            }
        };
        self.count(&outcome, &usage);
        place.end(outcome);
        if !is_answered {
            self.coach.settle_charge(&self.settled(usage)).await;
        }
    }

    /// Takes the right to answer and holds what that may cost; returns what the asking may cost.
    async fn begin(&self) -> Result<MicroUsd, Began> {
        match self.coach.sessions.claim_answer(&self.claim, self.coach.stale_before()).await {
            Ok(ClaimedAnswer::Claimed) => {}
            Ok(ClaimedAnswer::Taken(_)) => return Err(Began::Refused(CoachError::AnswerUnderWay)),
            Ok(ClaimedAnswer::Answered) => return Err(Began::WentOn),
            Ok(ClaimedAnswer::NoSession) => {
                return Err(Began::Refused(CoachError::NoSuchSession(self.session.id)));
            }
            Err(error) => {
                // It may have been taken all the same.
                self.release().await;
                return Err(Began::Refused(error.into()));
            }
        }
        match self.reserve(&Usage::default()).await {
            Ok(allowance) => Ok(allowance),
            Err(error) => {
                self.release().await;
                if let CoachError::Upstream(_) = error {
                    // It may be held all the same.
                    let (coach, nothing) = (self.coach.clone(), self.settled(Usage::default()));
                    self.coach.jobs.finish(async move { coach.settle_charge(&nothing).await });
                }
                Err(Began::Refused(error))
            }
        }
    }

    async fn reserve(&self, spent: &Usage) -> Result<MicroUsd, CoachError> {
        let (owner, kind) = (&self.session.owner, ChargeKind::Answer);
        self.coach.reserve_for(owner, self.charge, kind, self.asked_at, spent, self.estimate).await
    }

    /// Makes the answer and stores it.
    async fn answer(
        &self,
        allowance: MicroUsd,
        place: &Place,
        spending: &Spending,
    ) -> Result<Answered, AnswerError> {
        let reply = tokio::select! {
            // In this order, so that an answer that is there is not thrown away for a stop.
            biased;
            reply = self.ask(allowance, place, spending) => reply?,
            () = place.cut() => return Err(AnswerError::Deleted),
            () = self.coach.jobs.stopped().cancelled() => return Err(AnswerError::Stopped),
            lost = self.hold_claim() => return Err(lost),
        };
        let usage = spending.total();
        self.settle_before_it_is_stored(usage).await;
        self.store(reply, usage).await
    }

    /// Settles what the answer came to before it is stored, since nobody settles it after that if the process dies
    /// between. The answer waits for one try, and no longer.
    async fn settle_before_it_is_stored(&self, usage: Usage) {
        let charge = self.settled(usage);
        if self.coach.sessions.settle(&charge).await.is_err() {
            let coach = self.coach.clone();
            self.coach.jobs.finish(async move { coach.settle_charge(&charge).await });
        }
    }

    /// Shows the model what the analysis was shown, and asks it.
    async fn ask(
        &self,
        mut allowance: MicroUsd,
        place: &Place,
        spending: &Spending,
    ) -> Result<PublishedReply, AnswerError> {
        self.n_read.store(self.talk.look.frames.len() as u64, Ordering::Relaxed);
        let look = self.coach.prepare_look(&self.session, self.talk.look.stroke, &self.left_out).await?;
        let talk = Talk { look, ..self.talk.clone() };
        for asked in 1..=ASKINGS {
            match self.ask_once(&talk, allowance, place, spending).await {
                Ok(reply) => {
                    let sent: Vec<FrameNumber> = talk.look.frames.iter().map(|it| it.number).collect();
                    let reply = review::review_reply(&reply, &sent);
                    return if reply.text.is_empty() { Err(AnswerError::NothingSaid) } else { Ok(reply) };
                }
                Err(VisionErrorKind::OverAllowance) if asked < ASKINGS => {
                    let reserved = self.reserve(&spending.total()).await;
                    allowance = reserved.map_err(AnswerError::NotReserved)?;
                }
                Err(VisionErrorKind::OverAllowance) => break,
                Err(kind) => return Err(AnswerError::Model(kind)),
            }
        }
        Err(AnswerError::BrokeOff)
    }

    async fn ask_once(
        &self,
        talk: &Talk,
        allowance: MicroUsd,
        place: &Place,
        spending: &Spending,
    ) -> Result<ModelReply, VisionErrorKind> {
        let asking = Asking::within(allowance);
        let call = spending.begin(asking.progress.subscribe());
        let answer = tokio::select! {
            biased;
            answer = self.coach.vision.follow_up(talk, &asking) => answer,
            never = tell(asking.progress.subscribe(), place) => match never {},
        };
        let (reply, usage) = match answer {
            Ok(answer) => (Ok(answer.value), answer.usage),
            Err(error) => (Err(error.kind), error.usage),
        };
        spending.end(call, usage);
        reply
    }

    /// Renews the claim again and again, so that nobody takes it for left behind; returns once it is lost, or could
    /// not be renewed for so long that another process may have taken it.
    async fn hold_claim(&self) -> AnswerError {
        let mut claim = self.claim.clone();
        loop {
            let due = Instant::now() + self.coach.stale_after / 3;
            tokio::time::sleep_until(due.min(self.held_until())).await;
            let held_from = Instant::now();
            if self.held_until() <= held_from {
                return AnswerError::ClaimLost;
            }
            claim.renewed_at = now();
            let renewing = self.coach.sessions.claim_answer(&claim, self.coach.stale_before());
            match tokio::time::timeout_at(self.held_until(), renewing).await {
                Ok(Ok(ClaimedAnswer::Claimed)) => {
                    let held_until = held_from + self.coach.stale_after;
                    *self.held_until.lock().unwrap_or_else(PoisonError::into_inner) = held_until;
                }
                Ok(Ok(ClaimedAnswer::NoSession)) => return AnswerError::Deleted,
                Ok(Ok(ClaimedAnswer::Taken(_) | ClaimedAnswer::Answered)) | Err(_) => {
                    return AnswerError::ClaimLost;
                }
                Ok(Err(error)) => tracing::warn!(
                    session.id = %self.session.id, %error, cause = %error.source,
                    "could not record that a message about the session {} is still being answered", self.session.id,
                ),
            }
        }
    }

    fn held_until(&self) -> Instant {
        *self.held_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores both turns in one write, which also ends the claim.
    async fn store(&self, reply: PublishedReply, usage: Usage) -> Result<Answered, AnswerError> {
        let number = self.claim.number;
        let user = Turn {
            number,
            role: Role::User,
            content: self.talk.message.clone(),
            created_at: self.asked_at,
            frames: Vec::new(),
            usage: None,
            request: self.request,
        };
        let assistant = Turn {
            number: number + 1,
            role: Role::Assistant,
            content: reply.text,
            created_at: now(),
            frames: reply.frames,
            usage: Some(usage),
            request: None,
        };
        let (id, turns) = (self.session.id, [user, assistant]);
        let sessions = &self.coach.sessions;
        keep_paid(|| sessions.append_turns(id, &turns)).await.map_err(AnswerError::NotKept)?;
        // Another process may have taken the place while this one could not write. What is there then is not this.
        if self.held_until() <= Instant::now() {
            let read = keep_paid(|| sessions.session(&self.session.owner, id)).await;
            let record = read.map_err(AnswerError::NotKept)?.ok_or(AnswerError::Deleted)?;
            if !turns.iter().all(|it| record.turns.contains(it)) {
                return Err(AnswerError::ClaimLost);
            }
        }
        let [user, assistant] = turns;
        Ok(Answered { user, assistant, message_count: self.talk.turns.len() + 2 })
    }

    /// Gives the claim back, so that the next message need not wait until it counts as left behind.
    async fn release(&self) {
        if let Err(error) = self.coach.sessions.release_answer(&self.claim).await {
            tracing::warn!(
                session.id = %self.session.id, %error, cause = %error.source,
                "could not record that no message about the session {} is being answered any more", self.session.id,
            );
        }
    }

    /// What everybody who waits is told, once the log has the causes.
    fn unanswered(&self, error: &AnswerError) -> Unanswered {
        let (id, failure, causes) = (self.session.id, failure(error), upstream::chain(error));
        tracing::warn!(
            session.id = %id, code = failure.code, causes,
            "a message about the session {id} was not answered: {}", failure.code,
        );
        match error {
            AnswerError::Deleted => Unanswered::Gone(id),
            _ => Unanswered::Failed(failure),
        }
    }

    fn count(&self, outcome: &Result<Answered, Unanswered>, usage: &Usage) {
        let outcome = match outcome {
            Ok(_) => "complete",
            Err(Unanswered::Gone(_)) => "deleted",
            Err(Unanswered::Failed(failure)) => &failure.code,
        };
        let took = (Utc::now() - self.asked_at).to_std().unwrap_or_default();
        self.coach.metrics.count_answer(outcome, usage, took);
    }

    /// What the answer came to: the model, and reads of storage.
    fn settled(&self, usage: Usage) -> Charge {
        Charge {
            id: self.charge,
            owner: self.session.owner.clone(),
            kind: ChargeKind::Answer,
            model: Some(self.coach.vision.model().to_owned()),
            at: self.asked_at,
            is_settled: true,
            amount: cost_at_most(&usage, self.estimate),
            usage,
            storage: StorageUse { class_b: self.n_read.load(Ordering::Relaxed), ..StorageUse::default() },
        }
    }
}

/// Tells how far the answer's text is, for as long as the model tells.
async fn tell(mut progress: watch::Receiver<Progress>, place: &Place) -> Infallible {
    while progress.changed().await.is_ok() {
        let so_far = review::reply_so_far(&progress.borrow_and_update().text);
        place.tell(so_far);
    }
    std::future::pending().await
}
