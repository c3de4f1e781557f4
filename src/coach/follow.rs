//! Following an analysis while it runs, on whatever replica it does.
//!
//! One that runs here is followed without asking records. Of others the record is read every two seconds, once for
//! all who follow the session, and no more when nobody does.

use super::{Coach, CoachError};
use crate::events::AnalysisEvent;
use crate::metrics::OneMore;
use crate::session::{Analysis, AnalysisId, InvalidId, Owner, SessionId};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How often the record of an analysis is read that runs elsewhere.
const POLL: Duration = Duration::from_secs(2);

/// A place in the log of an analysis, written `{analysis_id}:{number}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventCursor {
    /// Whose log.
    pub analysis: AnalysisId,
    /// The number of the last event that is known; 0 for none.
    pub number: u32,
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.analysis, self.number)
    }
}

impl FromStr for EventCursor {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (analysis, number) = text.split_once(':').ok_or(InvalidId)?;
        Ok(Self { analysis: analysis.parse()?, number: number.parse().map_err(|_no_number| InvalidId)? })
    }
}

/// An analysis as it is known at one time, as often as it changes. The sender is dropped when it changes no more
/// here; `None` once it is gone.
type Changes = watch::Receiver<Option<Arc<Analysis>>>;

/// The analyses that can be followed without asking records again: those that run here, and those that somebody
/// follows already.
#[derive(Debug, Clone, Default)]
pub(super) struct Followed(Arc<Mutex<Sources>>);

#[derive(Debug, Default)]
struct Sources {
    here: HashMap<SessionId, watch::Receiver<Arc<Analysis>>>,
    polled: HashMap<AnalysisId, watch::Sender<Option<Arc<Analysis>>>>,
    /// Those that are being taken up because somebody asked for them.
    taken_up: HashSet<AnalysisId>,
}

impl Followed {
    /// Makes the analysis of a session that runs here known, for as long as the result lives.
    pub(super) fn runs_here(&self, session: SessionId, stored: watch::Receiver<Arc<Analysis>>) -> Here {
        self.sources().here.insert(session, stored.clone());
        Here { followed: self.clone(), session, stored }
    }

    /// The analysis of a session, if it runs here.
    pub(super) fn here(&self, session: SessionId, id: AnalysisId) -> Option<watch::Receiver<Arc<Analysis>>> {
        self.sources().here.get(&session).filter(|it| it.borrow().id == id).cloned()
    }

    /// Whether nobody takes this analysis up already.
    pub(super) fn begin_taking_up(&self, id: AnalysisId) -> bool {
        self.sources().taken_up.insert(id)
    }

    /// Whoever took this analysis up is done.
    pub(super) fn end_taking_up(&self, id: AnalysisId) {
        self.sources().taken_up.remove(&id);
    }

    /// Tells those who follow an analysis how it stands.
    fn publish(&self, id: AnalysisId, latest: Option<Analysis>) {
        if let Some(polled) = self.sources().polled.get(&id) {
            polled.send_if_modified(|it| {
                let is_new = it.as_deref() != latest.as_ref();
                if is_new {
                    *it = latest.map(Arc::new);
                }
                is_new
            });
        }
    }

    /// Forgets an analysis that nobody follows; whether that is so.
    fn forget_unfollowed(&self, id: AnalysisId) -> bool {
        let mut sources = self.sources();
        let is_followed = sources.polled.get(&id).is_some_and(|it| 0 < it.receiver_count());
        if !is_followed {
            sources.polled.remove(&id);
        }
        !is_followed
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        // The maps are whole after every statement, so a panic elsewhere leaves them usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An analysis that runs here.
#[derive(Debug)]
pub(super) struct Here {
    followed: Followed,
    session: SessionId,
    stored: watch::Receiver<Arc<Analysis>>,
}

impl Drop for Here {
    fn drop(&mut self) {
        let mut sources = self.followed.sources();
        // The next analysis of the session may have come already.
        if sources.here.get(&self.session).is_some_and(|it| it.same_channel(&self.stored)) {
            sources.here.remove(&self.session);
        }
    }
}

/// The events of an analysis as they are stored, from a place on.
#[derive(Debug)]
pub struct Follow {
    coach: Coach,
    owner: Owner,
    session: SessionId,
    analysis: AnalysisId,
    /// The number of the last event that was given out or was known before.
    given: u32,
    /// Whether the last event of all was given out or was known before.
    is_over: bool,
    source: Source,
    /// Counts whoever follows.
    _listens: OneMore,
}

/// Where the states of an analysis come from.
#[derive(Debug)]
enum Source {
    Here(watch::Receiver<Arc<Analysis>>),
    Polled(Changes),
}

impl Source {
    /// The latest state; `None` when the analysis is gone.
    fn latest(&mut self) -> Option<Arc<Analysis>> {
        match self {
            Self::Here(stored) => Some(Arc::clone(&stored.borrow_and_update())),
            Self::Polled(polled) => polled.borrow_and_update().clone(),
        }
    }

    /// Waits for another state; `false` when none will come from here.
    async fn changes(&mut self) -> bool {
        match self {
            Self::Here(stored) => stored.changed().await.is_ok(),
            Self::Polled(polled) => polled.changed().await.is_ok(),
        }
    }
}

impl Follow {
    /// Whose events they are.
    pub fn analysis(&self) -> AnalysisId {
        self.analysis
    }

    /// The next events, at least one; `None` when there are no more: the analysis has ended and its last event was
    /// given out, or its session is gone, or the service stops.
    pub async fn next(&mut self) -> Option<Vec<AnalysisEvent>> {
        while !self.is_over {
            let latest = self.source.latest()?;
            let news = self.news(&latest);
            if !news.is_empty() {
                return Some(news);
            }
            if latest.has_ended() {
                return None;
            }
            if self.source.changes().await {
                continue;
            }
            if self.coach.jobs.closing().is_cancelled() {
                return None;
            }
            // It may go on elsewhere, or here again.
            self.source = self.coach.source(&self.owner, self.session, latest);
        }
        None
    }

    /// The events that were not given out yet. Where others ended the analysis, its log may be shorter than what was
    /// given out already; its last event is given out in any case.
    fn news(&mut self, latest: &Analysis) -> Vec<AnalysisEvent> {
        let is_new = |it: &&AnalysisEvent| self.given < it.number || it.what.is_last();
        let news: Vec<AnalysisEvent> = latest.events.iter().filter(is_new).cloned().collect();
        if let Some(last) = news.last() {
            self.given = last.number;
            self.is_over = last.what.is_last();
        }
        news
    }
}

impl Coach {
    /// The events of an analysis of a session after a known one; without one, or where its analysis is not known, all
    /// of the latest analysis.
    pub async fn follow(
        &self,
        owner: &Owner,
        id: SessionId,
        after: Option<EventCursor>,
    ) -> Result<Follow, CoachError> {
        let record = self.session(owner, id).await?;
        let known = after.and_then(|after| {
            let analysis = record.analyses.iter().find(|it| it.id == after.analysis)?;
            Some((analysis, after.number))
        });
        let (analysis, given) = match known {
            Some(known) => known,
            None => (record.analyses.last().ok_or(CoachError::NotAsked(id))?, 0),
        };
        let last = analysis.events.last().filter(|it| it.what.is_last());
        let is_over = last.map_or(analysis.has_ended(), |it| it.number == given);
        let source = self.source(owner, id, Arc::new(analysis.clone()));
        Ok(Follow {
            coach: self.clone(),
            owner: owner.clone(),
            session: id,
            analysis: analysis.id,
            given,
            is_over,
            source,
            _listens: self.metrics.listening(),
        })
    }

    /// Where the states of an analysis come from that is known as `latest`.
    fn source(&self, owner: &Owner, session: SessionId, latest: Arc<Analysis>) -> Source {
        if let Some(here) = self.followed.here(session, latest.id) {
            return Source::Here(here);
        }
        let has_ended = latest.has_ended();
        let id = latest.id;
        let mut sources = self.followed.sources();
        if let Some(polled) = sources.polled.get(&id) {
            return Source::Polled(polled.subscribe());
        }
        let (sender, receiver) = watch::channel(Some(latest));
        if !has_ended {
            sources.polled.insert(id, sender);
            tokio::spawn(self.clone().poll(owner.clone(), session, id));
        }
        Source::Polled(receiver)
    }

    /// Reads the record of an analysis again and again for those who follow it, until it has ended, is gone, or runs
    /// here, or nobody follows it any more.
    async fn poll(self, owner: Owner, session: SessionId, id: AnalysisId) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = self.jobs.closing().cancelled() => break,
            }
            if self.followed.forget_unfollowed(id) || self.followed.here(session, id).is_some() {
                break;
            }
            // What the log says of a record that cannot be read is said by whoever else reads it.
            let latest = match self.session(&owner, session).await {
                Ok(record) => record.analyses.into_iter().find(|it| it.id == id),
                Err(CoachError::NoSuchSession(_)) => None,
                Err(_later) => continue,
            };
            let is_over = latest.as_ref().is_none_or(Analysis::has_ended);
            self.followed.publish(id, latest);
            if is_over {
                break;
            }
        }
        self.followed.sources().polled.remove(&id);
    }
}
