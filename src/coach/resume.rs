//! Analyses whose process went away are taken up: by the scan of every process, and by whoever asks for them.

use super::recorder::later_than;
use super::words::{AnalysisError, failure};
use super::{Coach, CoachError, now};
use crate::events::Happening;
use crate::metadata::{Recorded, SessionRecord, StartedAnalysis};
use crate::session::{Analysis, AnalysisStatus, Owner, Session};
use crate::upstream::{self, UpstreamError};
use crate::vision::VisionErrorKind;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use uuid::Uuid;

/// How often an analysis is begun before it is given up: one that brings its process down must not do so for ever.
const MAX_ATTEMPTS: u32 = 5;
/// How long after it was asked for an analysis is still taken up. Later nobody waits for it any more.
const MAX_AGE: TimeDelta = TimeDelta::hours(24);
/// How long after its last state an analysis is still found, so that one that is too old is ended.
const MAX_SILENCE: TimeDelta = TimeDelta::hours(48);

impl Coach {
    /// Takes up what other processes left behind, now and for as long as the service runs.
    ///
    /// Where records are a warehouse that should go to sleep, they are asked again only while analyses run here, and
    /// once more when what was under way at the start would be stale.
    pub fn watch_for_left_behind(&self) {
        let coach = self.clone();
        self.jobs.finish(async move {
            let mut is_due = true;
            loop {
                let asked_at = Instant::now();
                if is_due || coach.scan_when_idle || 0 < coach.jobs.counts().0 {
                    is_due = coach.take_up_left_behind().await.unwrap_or_else(|error| {
                        tracing::warn!(%error, cause = %error.source, "could not look for analyses that were left behind");
                        true
                    });
                }
                tokio::select! {
                    () = tokio::time::sleep_until(asked_at + coach.stale_after) => {}
                    () = coach.jobs.closing().cancelled() => return,
                }
            }
        });
    }

    /// Takes up what other processes left behind, once. Whether there is more that may have been, so that it is worth
    /// looking again.
    pub async fn take_up_left_behind(&self) -> Result<bool, UpstreamError> {
        let mut is_more = false;
        for (owner, analysis) in self.sessions.unfinished_analyses(now() - MAX_SILENCE).await? {
            if self.is_under_way(&analysis) {
                is_more |= self.followed.here(analysis.session_id, analysis.id).is_none();
                continue;
            }
            // One that cannot be taken up must not keep the others from it.
            if let Err(error) = self.take_up_again(&owner, &analysis).await {
                log_waiting(&analysis, &error);
                is_more = true;
            }
        }
        Ok(is_more)
    }

    /// Takes up an analysis that was listed as left behind, by what its session's record says of it now.
    async fn take_up_again(&self, owner: &Owner, listed: &Analysis) -> Result<(), CoachError> {
        let Some(record) = self.sessions.session(owner, listed.session_id).await? else { return Ok(()) };
        let left = record.analyses.iter().find(|it| it.id == listed.id);
        let Some(left) = left.filter(|it| !it.has_ended() && !self.is_under_way(it)).cloned() else {
            return Ok(());
        };
        self.take_up(record, &left).await.map(drop)
    }

    /// Shows analyses whose process went away as what they are: under way where they may be taken up.
    pub(super) fn with_interrupted(&self, mut record: SessionRecord) -> SessionRecord {
        let latest = record.analyses.last().map(|it| it.id);
        for analysis in &mut record.analyses {
            if self.is_given_up(analysis, Some(analysis.id) == latest) {
                analysis.end(Some(failure(&AnalysisError::Interrupted, false)));
            }
        }
        record
    }

    /// Has the latest analysis of a session taken up in the background, if its process went away.
    pub(super) fn take_up_soon(&self, record: &SessionRecord) {
        let Some(left) = record.analyses.last().filter(|it| !it.has_ended() && !self.is_under_way(it)) else {
            return;
        };
        if !self.followed.begin_taking_up(left.id) {
            return;
        }
        let (coach, record, left) = (self.clone(), record.clone(), left.clone());
        self.jobs.finish(async move {
            let taken_up = coach.take_up(record, &left).await;
            coach.followed.end_taking_up(left.id);
            if let Err(error) = taken_up {
                log_waiting(&left, &error);
            }
        });
    }

    /// Takes up an analysis of a session whose process went away, or ends it where it was begun often enough;
    /// returns how it stands then.
    pub(super) async fn take_up(
        &self,
        record: SessionRecord,
        left: &Analysis,
    ) -> Result<Analysis, CoachError> {
        let SessionRecord { session, analyses, .. } = record;
        let is_latest = analyses.last().is_some_and(|it| it.id == left.id);
        if self.is_given_up(left, is_latest) {
            return self.end_left_behind(&session, left, &AnalysisError::Interrupted).await;
        }
        if self.has_expired(&session) {
            return Err(CoachError::NoSuchSession(session.id));
        }
        if self.may_be_shown(&session).is_err() {
            return self.end_left_behind(&session, left, &AnalysisError::NoConsent).await;
        }
        let place = self.take_place(&session.owner)?;
        if let Err(error) = self.reserve_analysis(&session, left).await {
            if matches!(error, CoachError::OverBudget { .. } | CoachError::EnoughToday { .. }) {
                let spent = AnalysisError::Model(VisionErrorKind::OverAllowance);
                self.end_left_behind(&session, left, &spent).await?;
            }
            return Err(error);
        }
        let mut next = Analysis {
            status: AnalysisStatus::Processing,
            attempt: left.attempt + 1,
            updated_at: later_than(left.updated_at),
            model: Some(self.vision.model().to_owned()),
            runner: Some(Uuid::new_v4()),
            ..left.clone()
        };
        next.tell(Happening::Resumed { attempt: next.attempt });
        match self.sessions.start_analysis(&next, self.stale_before()).await? {
            StartedAnalysis::Started => {
                tracing::info!(
                    analysis.id = %next.id, session.id = %session.id, attempt = next.attempt,
                    "took up the analysis {}", next.id,
                );
                self.metrics.count_resumed();
                self.run_analysis(place, session, next.clone());
                Ok(next)
            }
            StartedAnalysis::AlreadyRunning(other) | StartedAnalysis::HasEnded(other) => Ok(*other),
            StartedAnalysis::NoSession => Err(CoachError::NoSuchSession(session.id)),
        }
    }

    /// Records the end of an analysis that does not run here, and returns how it stands then: as it was ended
    /// elsewhere meanwhile, where it was.
    pub(super) async fn end_left_behind(
        &self,
        session: &Session,
        left: &Analysis,
        why: &AnalysisError,
    ) -> Result<Analysis, CoachError> {
        let mut ended = Analysis { updated_at: later_than(left.updated_at), ..left.clone() };
        ended.end_from_afar(failure(why, false));
        if self.sessions.record_analysis(&ended).await? == Recorded::Kept {
            self.metrics.count(&ended);
            self.settle_soon(session, &ended);
            return Ok(ended);
        }
        let gone = || CoachError::NoSuchSession(session.id);
        let record = self.sessions.session(&session.owner, session.id).await?.ok_or_else(gone)?;
        record.analyses.into_iter().find(|it| it.id == left.id).ok_or_else(gone)
    }

    /// Whether an analysis that has not ended runs, by its record or here.
    pub(super) fn is_under_way(&self, analysis: &Analysis) -> bool {
        let is_renewed =
            analysis.status == AnalysisStatus::Processing && self.stale_before() <= analysis.updated_at;
        is_renewed || self.followed.here(analysis.session_id, analysis.id).is_some()
    }

    /// Whether an analysis has not ended and is not taken up any more.
    pub(super) fn is_given_up(&self, analysis: &Analysis, is_latest: bool) -> bool {
        let may_go_on =
            is_latest && analysis.attempt < MAX_ATTEMPTS && now() - MAX_AGE <= analysis.requested_at;
        !analysis.has_ended() && !may_go_on && !self.is_under_way(analysis)
    }

    pub(super) fn stale_before(&self) -> DateTime<Utc> {
        now() - TimeDelta::from_std(self.stale_after).unwrap_or(TimeDelta::MAX)
    }
}

fn log_waiting(left: &Analysis, error: &CoachError) {
    let causes = upstream::chain(error);
    tracing::info!(analysis.id = %left.id, causes, "the analysis {} was left behind and waits", left.id);
}
