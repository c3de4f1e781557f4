//! The verbs: what happens, in order, when somebody uploads, analyzes, reads or deletes.
//!
//! # What must stay true
//! - The record is the commit point: written after the frames, deleted after the frames.
//! - Every method takes the owner in whose name it acts; what is another's does not exist.
//! - What was begun and must not be left half-done (a commit, an undo, a paid analysis) outlives the
//!   connection that asked for it.

mod analysis;
mod asking;
mod conversation;
mod door;
mod erasure;
mod follow;
mod frames;
mod log;
mod look;
mod looks;
mod privacy;
mod quota;
mod recorder;
mod requests;
mod resume;
mod running;
mod spending;
mod sweep;
mod upload;
mod words;

pub use conversation::{Answered, FollowUp};
pub use erasure::Erased;
pub use follow::{EventCursor, Follow};
pub use frames::{Completed, DirectFrame, KeptFrame, SentFrame};
pub use privacy::{TermsError, TermsRequest};
pub use quota::QuotaError;
pub use requests::{Begun, KeptAnswer, KeyedRequest, RequestLease};
pub use spending::CallersMonth;
pub use sweep::{REQUESTS_KEPT, SweepError, SweepRequest, Swept};
pub use upload::{FrameEntry, MAX_TIMESTAMP_MS, Upload, UploadDetails, UploadError};

use crate::analysis::{MicroUsd, Usage};
use crate::catalog::Catalog;
use crate::config::{Limits, PrivacySettings, Quotas, UploadLimits};
use crate::jobs::{Jobs, Places};
use crate::ledger::{BudgetScope, Budgets, Charge, ChargeKind, StorageUse};
use crate::metadata::{SessionRecord, SessionStore, StoreHealth};
use crate::metrics::AnalysisMetrics;
use crate::moderation::Moderation;
use crate::session::{AnalysisId, AnalysisOptions, Failure, FrameNumber, Owner, Session, SessionId, Stroke};
use crate::storage::{DeletedFrames, StorageClient};
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use crate::vision::{Estimate, VisionClient};
use chrono::{DateTime, SubsecRound, Utc};
use conversation::Answers;
use follow::Followed;
use requests::KeysInUse;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What everything is done with: the three seams, the catalogue, and the limits.
#[derive(Debug, Clone)]
pub struct Coach {
    storage: Arc<dyn StorageClient>,
    sessions: Arc<dyn SessionStore>,
    vision: Arc<dyn VisionClient>,
    moderation: Option<Arc<Moderation>>,
    catalog: Arc<Catalog>,
    uploads: UploadLimits,
    privacy: Arc<PrivacySettings>,
    budgets: Budgets,
    quotas: Quotas,
    stale_after: Duration,
    scan_when_idle: bool,
    max_of_caller: usize,
    jobs: Jobs,
    answers: Answers,
    keys_in_use: KeysInUse,
    followed: Followed,
    metrics: AnalysisMetrics,
    /// Bounds how many threads decode pixels at one time, and with them the memory that pixels take.
    pixels: Arc<Semaphore>,
}

/// What the service does not do, told so that the caller knows what to do instead.
#[derive(Debug, Error)]
pub enum CoachError {
    /// There is no such session, or it is another's.
    #[error("there is no session {0}")]
    NoSuchSession(SessionId),
    /// The session has no frame of this number.
    #[error("there is no frame {0} in this session")]
    NoSuchFrame(FrameNumber),
    /// Storage does not have the frame as it was stored.
    #[error(
        "frame {0} is not in storage any more as it was stored; delete the session and upload its frames again"
    )]
    FrameLost(FrameNumber),
    /// Another frame has the number.
    #[error("there is another frame {0} in this session; send this one under another number")]
    FrameExists(FrameNumber),
    /// Nothing was put into storage for the frame.
    #[error(
        "frame {0} was not put into storage; ask where to put it, put it there, and then complete the upload"
    )]
    NotPut(FrameNumber),
    /// An analysis of the session was asked for, so no frame can be added.
    #[error("an analysis of session {0} was asked for, so its frames stay as they are; make another session")]
    Closed(SessionId),
    /// A session without frames cannot be analyzed.
    #[error("session {0} has no frames to look at; upload some first")]
    NoFrames(SessionId),
    /// Nobody agreed that the frames are shown to a model of another company.
    #[error(
        "nobody agreed that the frames of session {0} are sent to a model that another company runs, so none is; upload \
         them again with third_party_ai among the purposes of the consent"
    )]
    NoConsent(SessionId),
    /// The terms of a session make no sense.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// No analysis of the session was ever asked for.
    #[error("no analysis of session {0} was asked for; ask for one first")]
    NotAsked(SessionId),
    /// The session has no result to talk about.
    #[error("session {0} has no result yet to talk about; ask for an analysis and wait for its end")]
    NotAnalyzed(SessionId),
    /// The result says nothing about technique, since its frames are not fit for that.
    #[error(
        "the result of session {0} says nothing about technique, and why; upload other frames to talk about"
    )]
    NothingToTalkAbout(SessionId),
    /// No analysis of the session runs.
    #[error("no analysis of session {0} is running, so there is nothing to cancel")]
    NothingRuns(SessionId),
    /// All places for analyses or answers are taken.
    #[error("too many analyses or answers are under way; try again in a minute")]
    Busy,
    /// One caller has taken as many places as one caller may.
    #[error(
        "you have {max} analyses waiting, which is as many as one caller may have; try again when one has ended"
    )]
    CallerBusy {
        /// How many one caller may have.
        max: usize,
    },
    /// Another message of the conversation is being answered.
    #[error("another message of this conversation is being answered; send this one when the answer is there")]
    AnswerUnderWay,
    /// The conversation is as long as one may be.
    #[error(
        "this conversation has {max} messages, which is as long as one may be; upload the frames again to start another"
    )]
    ConversationFull {
        /// How many turns one may have.
        max: usize,
    },
    /// The message was not answered, and nothing of it is stored.
    #[error("{}", .0.detail)]
    NotAnswered(Failure),
    /// The frames could not be checked as they were stored.
    #[error("{}", .0.detail)]
    NotChecked(Failure),
    /// The caller has had as many analyses today as one may have in a day.
    #[error(
        "you have had {limit} analyses today, which is as many as one caller may have in a day; try again tomorrow"
    )]
    EnoughToday {
        /// How many that are.
        limit: u32,
    },
    /// The caller has as much as one may have.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// There is no room for it in a budget.
    #[error("{}, and this may cost {needed}; try again next month, or ask the operator to raise it", taken_of(*scope, *budget, *taken))]
    OverBudget {
        /// Whose budget.
        scope: BudgetScope,
        /// The budget.
        budget: MicroUsd,
        /// What is spent or held of it.
        taken: MicroUsd,
        /// What this may cost.
        needed: MicroUsd,
    },
    /// An upload was refused.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// Something remote failed.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// Work in the background broke off.
    #[error("a task broke off")]
    Task(#[from] tokio::task::JoinError),
}

impl CoachError {
    /// Whether it is one frame that is at fault, so that the same frame is never taken.
    fn is_about_frame(&self) -> bool {
        matches!(
            self,
            Self::FrameExists(_) | Self::FrameLost(_) | Self::NotPut(_) | Self::Closed(_) | Self::Upload(_)
        )
    }
}

/// How much of a budget is taken. What others spent is nobody's affair, so of the service's there are no figures.
fn taken_of(scope: BudgetScope, budget: MicroUsd, taken: MicroUsd) -> String {
    match scope {
        BudgetScope::Caller => format!("your budget of {budget} for this month has {taken} spent or held"),
        BudgetScope::Service => "the service's budget for this month has no room for more".to_owned(),
    }
}

/// What an analysis may be told beyond what the upload said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnalysisRequest {
    /// The id that it gets: that of the request that asks for it. A new one when absent.
    pub id: Option<AnalysisId>,
    /// Counts instead of the session's stroke.
    pub stroke_type: Option<Stroke>,
    /// Counts instead of the session's notes.
    pub user_notes: Option<String>,
    /// What else is asked for.
    pub options: AnalysisOptions,
}

/// What an analysis of a session takes at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimated {
    /// Number of frames that would be sent.
    pub frames: usize,
    /// What the model would take.
    pub estimate: Estimate,
}

impl AnalysisRequest {
    /// The stroke and the notes that count: what the upload said, unless this says otherwise.
    fn over(self, session: &Session) -> (Stroke, Option<String>) {
        let notes = self.user_notes.or_else(|| session.user_notes.clone());
        (self.stroke_type.unwrap_or(session.stroke_type), notes)
    }
}

/// How much a deletion removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// From storage.
    pub frames: DeletedFrames,
    /// From the records.
    pub records: u64,
}

/// Sessions in storage that no record knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Their ids.
    pub sessions: Vec<SessionId>,
    /// How many sessions in storage the records do know. None at all is a sign of the wrong records.
    pub known: usize,
}

/// Whether each dependency can do its part.
#[derive(Debug)]
pub struct Checks {
    /// Where frames are kept.
    pub storage: Result<(), UpstreamError>,
    /// Where records are kept.
    pub records: Result<StoreHealth, UpstreamError>,
    /// What looks at frames.
    pub model: Result<(), UpstreamError>,
}

impl Coach {
    /// Puts the parts together. Nothing is asked of them yet.
    pub fn new(
        storage: Arc<dyn StorageClient>,
        sessions: Arc<dyn SessionStore>,
        vision: Arc<dyn VisionClient>,
        catalog: Arc<Catalog>,
        limits: &Limits,
        metrics: AnalysisMetrics,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            storage,
            sessions,
            vision,
            moderation: None,
            catalog,
            uploads: limits.uploads,
            privacy: Arc::new(limits.privacy.clone()),
            budgets: limits.budgets,
            quotas: limits.quotas,
            stale_after: limits.jobs.stale_after,
            scan_when_idle: limits.jobs.scan_when_idle,
            max_of_caller: limits.jobs.max_of_caller,
            jobs: Jobs::new(Places {
                running: limits.jobs.max_running,
                waiting: limits.jobs.max_waiting,
                of_owner: limits.jobs.max_of_caller,
            }),
            answers: Answers::new(limits.jobs.max_running),
            keys_in_use: KeysInUse::default(),
            followed: Followed::default(),
            metrics,
            pixels: Arc::new(Semaphore::new(cores)),
        }
    }

    /// The same, with somebody who looks at every frame before it is stored.
    #[must_use]
    pub fn with_moderation(self, moderation: Option<Arc<Moderation>>) -> Self {
        Self { moderation, ..self }
    }

    /// Begins an upload: frames are stored as they come, and count once they are committed. `room` is held
    /// for as long as a frame of it is in memory.
    pub fn start_session(&self, owner: &Owner, room: OwnedSemaphorePermit) -> Upload {
        Upload::begin(self.clone(), owner.clone(), room, None)
    }

    /// Begins an upload that a request with an idempotency key asks for: the session gets the request's UUID, and the
    /// key is free again once an upload that came to nothing is undone.
    pub fn start_session_once(
        &self,
        owner: &Owner,
        room: OwnedSemaphorePermit,
        request: Arc<RequestLease>,
    ) -> Upload {
        Upload::begin(self.clone(), owner.clone(), room, Some(request))
    }

    /// A session with everything known about it. Where its analysis was left behind by a process that went away, it
    /// is taken up.
    pub async fn session(&self, owner: &Owner, id: SessionId) -> Result<SessionRecord, CoachError> {
        let record = self.own(owner, id).await?;
        self.take_up_soon(&record);
        Ok(self.with_interrupted(record))
    }

    /// Up to `limit` sessions, newest first, all older than `before`.
    pub async fn list_sessions(
        &self,
        owner: &Owner,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionRecord>, CoachError> {
        let (mut listed, mut before) = (Vec::new(), before);
        // What has expired is not told, and is there until the next sweep at the longest.
        loop {
            let wanted = limit.saturating_sub(u32::try_from(listed.len()).unwrap_or(limit));
            let page = self.sessions.list_sessions(owner, before, wanted).await?;
            let is_last = page.len() < wanted as usize;
            before = page.last().map(|it| it.session.id);
            let kept = page.into_iter().filter(|it| !self.has_expired(&it.session));
            listed.extend(kept.map(|it| self.with_interrupted(it)));
            if is_last || limit as usize <= listed.len() {
                return Ok(listed);
            }
        }
    }

    /// Removes a session: its frames and what is pending, then its record, so that a deletion that failed half-way can
    /// be repeated. What runs about it ends once its frames are gone, and not before: a deletion that storage did not
    /// take must not cost an analysis that is paid for.
    pub async fn delete_session(&self, owner: &Owner, id: SessionId) -> Result<Deleted, CoachError> {
        let record = self.sessions.session(owner, id).await?.ok_or(CoachError::NoSuchSession(id))?;
        let frames = self.remove_stored(id).await?;
        self.jobs.cancel(id);
        self.answers.cut(id);
        // What the record was counted from goes with it.
        self.sessions.settle(&upload_charge(&record.session)).await?;
        for left in record.analyses.iter().filter(|it| !it.has_ended()) {
            // Nobody takes it up any more. Whoever runs it settles more, if it cost more.
            self.sessions.settle(&self.charge_of(&record.session, left)).await?;
        }
        let records = self.sessions.delete_session(owner, id).await?;
        tracing::info!(session.id = %id, frames = frames.frames, records, "deleted session {id}");
        Ok(Deleted { frames, records })
    }

    /// Makes a session of `from` the owner's. What is the owner's already stays so.
    pub async fn claim_session(&self, owner: &Owner, from: &Owner, id: SessionId) -> Result<(), CoachError> {
        if !self.sessions.claim_session(id, from, owner).await? {
            return Err(CoachError::NoSuchSession(id));
        }
        tracing::info!(session.id = %id, "the session {id} was claimed");
        Ok(())
    }

    /// Finds frames that no record knows: what uploads left behind that could not be undone. Those of uploads
    /// that began later than `horizon` are left out, since they may be under way.
    pub async fn find_orphans(&self, horizon: DateTime<Utc>) -> Result<Orphans, UpstreamError> {
        let mut orphans = Orphans::default();
        let mut after = None;
        loop {
            let page = self.storage.list_sessions(after).await?;
            let Some(last) = page.last().copied() else { return Ok(orphans) };
            after = Some(last);
            let known = self.sessions.existing_sessions(&page).await?;
            orphans.known += known.len();
            let is_old = |it: &SessionId| it.created_at().is_none_or(|at| at < horizon);
            orphans.sessions.extend(page.into_iter().filter(|it| is_old(it) && !known.contains(it)));
        }
    }

    /// Removes the frames of a session that [`Coach::find_orphans`] found.
    pub async fn remove_orphan(&self, session: SessionId) -> Result<(), UpstreamError> {
        self.remove_stored(session).await.map(drop)
    }

    /// Removes the frames of a session and what is pending; how many frames that were.
    async fn remove_stored(&self, session: SessionId) -> Result<DeletedFrames, UpstreamError> {
        let frames = self.storage.delete_frames(session).await?;
        self.storage.delete_pending(session).await?;
        Ok(frames)
    }

    /// Begins nothing any more that would be paid for and then cut: what waits for its turn is given back.
    pub fn begin_no_more(&self) {
        self.jobs.begin_no_more();
    }

    /// Ends everything that runs in the background, see [`Jobs::shut_down`].
    pub async fn shut_down(&self, limit: Duration) -> bool {
        self.jobs.shut_down(limit).await
    }

    /// The limits on uploads.
    pub fn upload_limits(&self) -> &UploadLimits {
        &self.uploads
    }

    /// What looks at frames: the model's id, or `mock`.
    pub fn model(&self) -> &str {
        self.vision.model()
    }

    /// What may be said about technique.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Whether frames are shown to a model that another company runs.
    pub fn has_third_party_model(&self) -> bool {
        self.vision.is_third_party()
    }

    /// Asks storage, records and the model whether they can do their part; each has `patience` to answer.
    pub async fn check(&self, patience: Duration) -> Checks {
        let (storage, records, model) = tokio::join!(
            within(patience, Service::Storage, self.storage.check()),
            within(patience, Service::Records, self.sessions.check()),
            within(patience, Service::Model, self.vision.check()),
        );
        Checks { storage, records, model }
    }
}

/// What the frames of a session took of storage until they were deleted: the deletion lists them once, and once what
/// is pending.
fn upload_charge(session: &Session) -> Charge {
    let mut storage = StorageUse::of_upload(session);
    storage.class_a += 2;
    Charge {
        id: session.id.into(),
        owner: session.owner.clone(),
        kind: ChargeKind::Upload,
        model: None,
        at: session.created_at,
        is_settled: true,
        amount: MicroUsd::default(),
        usage: Usage::default(),
        storage,
    }
}

async fn within<T>(
    patience: Duration,
    service: Service,
    check: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    tokio::time::timeout(patience, check).await.unwrap_or_else(|silent| {
        Err(UpstreamError::new(service, "check", UpstreamErrorKind::Timeout, silent))
    })
}

/// Now, as precisely as records keep it.
fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}
