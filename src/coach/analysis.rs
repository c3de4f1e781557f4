//! Analyses: asked for, told what they take, cancelled. What happens between is in `running`.

use super::look::unseen_look;
use super::words::AnalysisError;
use super::{AnalysisRequest, Coach, CoachError, Estimated, now};
use crate::analysis::{MicroUsd, Usage};
use crate::events::Happening;
use crate::jobs::{NoPlace, Place};
use crate::ledger::ChargeKind;
use crate::metadata::{SessionRecord, StartedAnalysis};
use crate::session::{Analysis, AnalysisId, AnalysisStatus, Owner, Session, SessionId};
use crate::upstream::{self, Service, UpstreamError, UpstreamErrorKind};
use crate::vision::VisionErrorKind;
use std::time::Duration;
use uuid::Uuid;

/// How long somebody who cancels an analysis waits until its end is recorded.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

impl Coach {
    /// Has the frames of a session looked at, in the background. One analysis of a session runs at a time:
    /// while one does, this returns it and starts nothing, and one whose process went away is taken up.
    pub async fn analyze(
        &self,
        owner: &Owner,
        id: SessionId,
        request: AnalysisRequest,
    ) -> Result<Analysis, CoachError> {
        let record = self.own(owner, id).await?;
        if record.session.frames.is_empty() {
            return Err(CoachError::NoFrames(id));
        }
        // An earlier try of the same request started it.
        let started = record.analyses.iter().find(|it| Some(it.id) == request.id && it.has_ended());
        if let Some(started) = started {
            return Ok(started.clone());
        }
        self.may_be_shown(&record.session)?;
        // The record and the job must not be parted by a client that hangs up between them.
        let coach = self.clone();
        self.jobs.finish(async move { coach.go_on_or_start(record, request).await }).await?
    }

    async fn go_on_or_start(
        &self,
        record: SessionRecord,
        request: AnalysisRequest,
    ) -> Result<Analysis, CoachError> {
        let Some(latest) = record.analyses.last().filter(|it| !it.has_ended()).cloned() else {
            return self.start(record, request).await;
        };
        if self.is_given_up(&latest, true) {
            self.end_left_behind(&record.session, &latest, &AnalysisError::Interrupted).await?;
            return self.start(record, request).await;
        }
        // A second click must not be told that the queue is full of its first.
        if self.is_under_way(&latest) {
            return Ok(latest);
        }
        match self.take_up(record, &latest).await {
            Err(CoachError::Busy | CoachError::CallerBusy { .. }) => Ok(latest),
            taken_up => taken_up,
        }
    }

    async fn start(&self, record: SessionRecord, request: AnalysisRequest) -> Result<Analysis, CoachError> {
        let SessionRecord { session, analyses, .. } = record;
        let place = self.take_place(&session.owner)?;
        let analysis = self.new_analysis(&session, request);
        self.reserve_analysis(&session, &analysis).await?;
        let started = match self.sessions.start_analysis(&analysis, self.stale_before()).await {
            Ok(started) => started,
            Err(error) => {
                // It may have been recorded. Nobody runs it here, and whoever takes it up reserves anew.
                self.hold_nothing(&session, &analysis).await;
                return Err(error.into());
            }
        };
        if started != StartedAnalysis::Started && self.budgets.are_set() {
            // Nothing came of what was reserved.
            self.settle_soon(&session, &analysis);
        }
        match started {
            StartedAnalysis::Started => {
                // From its first analysis on the frames of a session stay as they are.
                let session = if analyses.is_empty() {
                    self.with_all_frames(session, &analysis).await?
                } else {
                    session
                };
                self.run_analysis(place, session, analysis.clone());
                Ok(analysis)
            }
            StartedAnalysis::AlreadyRunning(other) | StartedAnalysis::HasEnded(other) => Ok(*other),
            StartedAnalysis::NoSession => Err(CoachError::NoSuchSession(session.id)),
        }
    }

    /// A session as its first analysis sees it: a frame may have been added between its reading and the start.
    async fn with_all_frames(&self, session: Session, started: &Analysis) -> Result<Session, CoachError> {
        let read = match self.sessions.session(&session.owner, session.id).await {
            Ok(read) => read.ok_or(CoachError::NoSuchSession(session.id))?.session,
            Err(error) => {
                // It was started, and whoever asked must run it. A frame that came in between is left out.
                tracing::warn!(session.id = %session.id, %error, cause = %error.source, "could not look for late frames");
                return Ok(session);
            }
        };
        if read.frames == session.frames {
            return Ok(read);
        }
        // What was reserved was for fewer frames.
        if let Err(error) = self.reserve_analysis(&read, started).await {
            let spent = AnalysisError::Model(VisionErrorKind::OverAllowance);
            self.end_left_behind(&read, started, &spent).await?;
            return Err(error);
        }
        Ok(read)
    }

    fn new_analysis(&self, session: &Session, request: AnalysisRequest) -> Analysis {
        let now = now();
        let (options, request_id) = (request.options, request.id);
        let (stroke_type, user_notes) = request.over(session);
        let mut analysis = Analysis {
            id: request_id.unwrap_or_else(AnalysisId::new),
            session_id: session.id,
            requested_at: now,
            updated_at: now,
            stroke_type,
            user_notes,
            status: AnalysisStatus::Processing,
            failure: None,
            result: None,
            usage: Usage::default(),
            options,
            attempt: 1,
            events: Vec::new(),
            looks: Vec::new(),
            left_out: Vec::new(),
            model: Some(self.vision.model().to_owned()),
            runner: Some(Uuid::new_v4()),
        };
        analysis.tell(Happening::Queued);
        analysis
    }

    /// Stops the analysis of a session that runs, and returns it as it ended. Asking the model stops at once.
    pub async fn cancel(&self, owner: &Owner, id: SessionId) -> Result<Analysis, CoachError> {
        let record = self.own(owner, id).await?;
        let latest = record.analyses.last().filter(|it| !it.has_ended()).cloned();
        let latest = latest.ok_or(CoachError::NothingRuns(id))?;
        if let Some(ended) = self.cancel_here(&latest).await? {
            return Ok(ended);
        }
        // Whoever runs it elsewhere stops when it records what comes next.
        let coach = self.clone();
        let ended = self.jobs.finish(async move {
            coach.end_left_behind(&record.session, &latest, &AnalysisError::Cancelled).await
        });
        ended.await?
    }

    /// Cancels an analysis that runs here, and waits until that is recorded; `None` when it does not.
    async fn cancel_here(&self, running: &Analysis) -> Result<Option<Analysis>, CoachError> {
        let Some(mut stored) = self.followed.here(running.session_id, running.id) else { return Ok(None) };
        self.jobs.cancel(running.session_id);
        let ended = tokio::time::timeout(CANCEL_PATIENCE, stored.wait_for(|it| it.has_ended())).await;
        match ended {
            Ok(Ok(ended)) => Ok(Some(Analysis::clone(&ended))),
            // It was given back before it could be cancelled.
            Ok(Err(_given_back)) => Ok(None),
            Err(elapsed) => {
                let kind = UpstreamErrorKind::Timeout;
                Err(UpstreamError::new(Service::Records, "record_analysis", kind, elapsed).into())
            }
        }
    }

    /// What [`Coach::analyze`] with the same request takes at the most. Nobody is asked, and nothing is paid.
    pub async fn estimate(
        &self,
        owner: &Owner,
        id: SessionId,
        request: AnalysisRequest,
    ) -> Result<Estimated, CoachError> {
        let SessionRecord { session, .. } = self.session(owner, id).await?;
        if session.frames.is_empty() {
            return Err(CoachError::NoFrames(id));
        }
        let samples = request.options.samples;
        let (stroke_type, notes) = request.over(&session);
        let look = unseen_look(&session, stroke_type);
        let estimate = self.vision.estimate(&look, notes.as_deref(), samples);
        Ok(Estimated { frames: look.frames.len(), estimate })
    }

    /// Takes a place for an analysis of the owner.
    pub(super) fn take_place(&self, owner: &Owner) -> Result<Place, CoachError> {
        self.jobs.place(owner).map_err(|no_place| match no_place {
            NoPlace::Full => CoachError::Busy,
            NoPlace::OfOwner => CoachError::CallerBusy { max: self.max_of_caller },
        })
    }

    /// Reserves what an analysis may cost beyond what it cost already. Where every look is kept nothing is: what is
    /// paid for is published in any case, and an answer to notes reserves for itself.
    pub(super) async fn reserve_analysis(
        &self,
        session: &Session,
        analysis: &Analysis,
    ) -> Result<(), CoachError> {
        if self.looks_to_come(analysis) == 0 {
            return Ok(());
        }
        self.reserve_for_analysis(session, analysis, self.cost_to_come(session, analysis)).await
    }

    /// What an analysis may cost beyond what it cost already.
    pub(super) fn cost_to_come(&self, session: &Session, analysis: &Analysis) -> MicroUsd {
        let look = unseen_look(session, analysis.stroke_type);
        let samples = self.looks_to_come(analysis);
        self.vision.estimate(&look, analysis.user_notes.as_deref(), samples).cost
    }

    async fn hold_nothing(&self, session: &Session, analysis: &Analysis) {
        if let Err(error) = self.reserve_for_analysis(session, analysis, MicroUsd(0)).await {
            let causes = upstream::chain(&error);
            tracing::warn!(analysis.id = %analysis.id, causes, "what was reserved for an analysis stays for a day");
        }
    }

    async fn reserve_for_analysis(
        &self,
        session: &Session,
        analysis: &Analysis,
        estimate: MicroUsd,
    ) -> Result<(), CoachError> {
        let (id, kind, at) = (analysis.id.into(), ChargeKind::Analysis, analysis.requested_at);
        self.reserve_for(&session.owner, id, kind, at, &analysis.usage, estimate).await.map(drop)
    }
}
