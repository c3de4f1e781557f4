//! Work that outlives the request that asked for it: bounded, fair between owners, one for each session,
//! cancellable.
//!
//! What the work is, and what becomes of it when it is cancelled, is its own affair; see
//! [`crate::coach`]. Everything here is lost with the process, so nothing here may be needed to be right:
//! whether an analysis runs is decided by its record.

use crate::session::{Owner, SessionId};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type BySession = HashMap<SessionId, Arc<CancellationToken>>;

/// Runs background work and waits for it at the end.
#[derive(Debug, Clone)]
pub struct Jobs {
    tracker: TaskTracker,
    line: Arc<Mutex<Line>>,
    /// Cancelled when nothing new is begun any more.
    closing: CancellationToken,
    /// Cancelled when everything must stop.
    stop: CancellationToken,
    by_session: Arc<Mutex<BySession>>,
}

/// How many jobs there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Jobs that run at one time.
    pub running: usize,
    /// Jobs that wait for their turn behind them.
    pub waiting: usize,
    /// Jobs of one owner that run or wait.
    pub of_owner: usize,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// All are taken, or the service stops.
    Full,
    /// The owner has as many as one may have.
    OfOwner,
}

/// A place in the line, taken before anything is recorded, so that what is recorded will run.
#[derive(Debug)]
pub struct Place {
    owner: Owner,
    line: Arc<Mutex<Line>>,
}

/// A job's turn, which it has for as long as it holds this.
#[derive(Debug)]
pub struct Turn(Arc<Mutex<Line>>);

/// What tells a job to end early.
#[derive(Debug, Clone)]
pub struct EarlyEnd {
    /// Cancelled when nobody wants its result any more.
    pub cancelled: CancellationToken,
    /// Cancelled when the process ends.
    pub stopped: CancellationToken,
}

impl Jobs {
    /// Room for so many jobs.
    pub fn new(places: Places) -> Self {
        Self {
            tracker: TaskTracker::new(),
            line: Arc::new(Mutex::new(Line::new(places))),
            closing: CancellationToken::new(),
            stop: CancellationToken::new(),
            by_session: Arc::default(),
        }
    }

    /// Takes a place for a job of the owner.
    pub fn place(&self, owner: &Owner) -> Result<Place, NoPlace> {
        lock(&self.line).take_place(owner)?;
        Ok(Place { owner: owner.clone(), line: Arc::clone(&self.line) })
    }

    /// Runs a job about a session. `work` is given what tells it to end early, and is always run, so that it can
    /// record that it was cancelled. It begins with waiting for its turn.
    pub fn run<F, Fut>(&self, place: Place, session: SessionId, work: F)
    where
        F: FnOnce(Arc<Place>, EarlyEnd) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let cancel = Arc::new(CancellationToken::new());
        let early_end = EarlyEnd { cancelled: (*cancel).clone(), stopped: self.stop.clone() };
        let place = Arc::new(place);
        let work = work(Arc::clone(&place), early_end);
        lock(&self.by_session).insert(session, Arc::clone(&cancel));
        let known = Known { by_session: Arc::clone(&self.by_session), session, cancel };
        self.tracker.spawn(async move {
            let _held = (place, known);
            work.await;
        });
    }

    /// Tells the job about a session to end, if there is one.
    pub fn cancel(&self, session: SessionId) {
        if let Some(cancel) = lock(&self.by_session).get(&session) {
            cancel.cancel();
        }
    }

    /// Runs work that must be finished once begun, whatever becomes of the connection that caused it.
    pub fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.tracker.spawn(work)
    }

    /// How many jobs have their turn, and how many wait for it.
    pub fn counts(&self) -> (usize, usize) {
        let line = lock(&self.line);
        (line.n_running, line.n_places().saturating_sub(line.n_running))
    }

    /// Cancelled when the service stops, so that work without an end knows that it must end.
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Cancelled when the process ends, so that what still runs is cut.
    pub fn stopped(&self) -> &CancellationToken {
        &self.stop
    }

    /// Lets no job begin that has not had its turn.
    pub fn begin_no_more(&self) {
        self.closing.cancel();
        // What would begin now would be paid for and then cut.
        lock(&self.line).close();
    }

    /// Lets no job begin that has not had its turn, waits up to `limit` for everything to end by itself, then
    /// stops the jobs and waits for them to record it. Returns whether everything ended.
    pub async fn shut_down(&self, limit: Duration) -> bool {
        const RECORDING: Duration = Duration::from_secs(5);
        self.tracker.close();
        self.begin_no_more();
        if tokio::time::timeout(limit, self.tracker.wait()).await.is_ok() {
            return true;
        }
        self.stop.cancel();
        tokio::time::timeout(RECORDING, self.tracker.wait()).await.is_ok()
    }
}

impl Place {
    /// Waits for the turn. `None` when none will come, since the service stops.
    pub async fn turn(&self) -> Option<Turn> {
        let come = {
            let mut line = lock(&self.line);
            if line.is_closed {
                return None;
            }
            line.join(&self.owner)
        };
        give_turns(&self.line);
        come.await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.line).leave_place(&self.owner);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.0).n_running -= 1;
        give_turns(&self.0);
    }
}

/// Gives every turn that is free to whoever is next.
fn give_turns(line: &Arc<Mutex<Line>>) {
    loop {
        let Some(next) = lock(line).next() else { return };
        // Whoever does not wait any more gives the turn back by dropping it.
        drop(next.send(Turn(Arc::clone(line))));
    }
}

/// Who has a place, and who is next: owners take turns, and the jobs of one come in their order.
#[derive(Debug)]
struct Line {
    places: Places,
    /// Places that are taken, by owner.
    taken: HashMap<Owner, usize>,
    n_running: usize,
    /// Owners with jobs that wait, the one whose turn is next first.
    waiting: VecDeque<(Owner, VecDeque<oneshot::Sender<Turn>>)>,
    is_closed: bool,
}

impl Line {
    fn new(places: Places) -> Self {
        Self { places, taken: HashMap::new(), n_running: 0, waiting: VecDeque::new(), is_closed: false }
    }

    fn n_places(&self) -> usize {
        self.taken.values().sum()
    }

    fn take_place(&mut self, owner: &Owner) -> Result<(), NoPlace> {
        if self.is_closed || self.places.running + self.places.waiting <= self.n_places() {
            return Err(NoPlace::Full);
        }
        if self.taken.get(owner).is_some_and(|it| self.places.of_owner <= *it) {
            return Err(NoPlace::OfOwner);
        }
        *self.taken.entry(owner.clone()).or_default() += 1;
        Ok(())
    }

    fn leave_place(&mut self, owner: &Owner) {
        if let Some(taken) = self.taken.get_mut(owner) {
            *taken -= 1;
            if *taken == 0 {
                self.taken.remove(owner);
            }
        }
    }

    /// Takes a job of the owner into the line.
    fn join(&mut self, owner: &Owner) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        match self.waiting.iter_mut().find(|(it, _)| it == owner) {
            Some((_, jobs)) => jobs.push_back(sender),
            None => self.waiting.push_back((owner.clone(), VecDeque::from([sender]))),
        }
        receiver
    }

    /// Takes a free turn for the job that is next, if there are both.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while self.n_running < self.places.running {
            let (owner, mut jobs) = self.waiting.pop_front()?;
            // One that was cancelled meanwhile must not cost its owner a turn.
            jobs.retain(|it| !it.is_closed());
            let Some(next) = jobs.pop_front() else { continue };
            if !jobs.is_empty() {
                self.waiting.push_back((owner, jobs));
            }
            self.n_running += 1;
            return Some(next);
        }
        None
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.waiting.clear();
    }
}

/// A job that can be cancelled by its session for as long as it lives.
struct Known {
    by_session: Arc<Mutex<BySession>>,
    session: SessionId,
    cancel: Arc<CancellationToken>,
}

impl Drop for Known {
    fn drop(&mut self) {
        let mut by_session = lock(&self.by_session);
        // The next job of the session may have come already.
        if by_session.get(&self.session).is_some_and(|it| Arc::ptr_eq(it, &self.cancel)) {
            by_session.remove(&self.session);
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is whole after every statement, so a panic elsewhere leaves it usable.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn jobs(running: usize, waiting: usize, of_owner: usize) -> Jobs {
        Jobs::new(Places { running, waiting, of_owner })
    }

    fn owner(name: &str) -> Owner {
        Owner::new(name)
    }

    /// Runs a job that does nothing but say its name when its turn comes.
    fn run(jobs: &Jobs, name: &'static str, told: &Arc<Mutex<Vec<&'static str>>>) {
        let place = jobs.place(&owner(name.trim_end_matches(char::is_numeric))).unwrap();
        let told = Arc::clone(told);
        jobs.run(place, SessionId::new(), |place, _| async move {
            if place.turn().await.is_some() {
                told.lock().unwrap().push(name);
                tokio::task::yield_now().await;
            }
        });
    }

    #[tokio::test]
    async fn owners_take_turns_and_the_jobs_of_one_come_in_their_order() {
        let jobs = jobs(1, 9, 9);
        let first = jobs.place(&owner("z")).unwrap();
        let running = first.turn().await.unwrap();
        let told = Arc::default();
        for name in ["a1", "a2", "a3", "b1", "a4", "b2", "c1"] {
            run(&jobs, name, &told);
            tokio::task::yield_now().await;
        }

        drop((running, first));
        assert!(jobs.shut_down_when_idle().await);

        assert_eq!(*told.lock().unwrap(), ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
    }

    #[tokio::test]
    async fn there_are_no_more_places_than_are_allowed_in_all_and_for_one_owner() {
        let jobs = jobs(1, 2, 2);
        let (a, b) = (owner("a"), owner("b"));

        let first = jobs.place(&a).unwrap();
        let _second = jobs.place(&a).unwrap();
        assert_eq!(jobs.place(&a).unwrap_err(), NoPlace::OfOwner);
        let _third = jobs.place(&b).unwrap();
        assert_eq!(jobs.place(&b).unwrap_err(), NoPlace::Full);
        assert_eq!(jobs.place(&a).unwrap_err(), NoPlace::Full);

        drop(first);
        jobs.place(&a).unwrap();
    }

    #[tokio::test]
    async fn jobs_that_run_and_jobs_that_wait_are_counted() {
        let jobs = jobs(1, 2, 3);
        let [one, other] = [jobs.place(&owner("a")).unwrap(), jobs.place(&owner("a")).unwrap()];
        assert_eq!(jobs.counts(), (0, 2));

        let turn = one.turn().await.unwrap();
        assert_eq!(jobs.counts(), (1, 1));
        assert!(other.turn().now_or_never().is_none());

        drop((turn, one));
        assert_eq!(jobs.counts(), (0, 1));
    }

    #[tokio::test]
    async fn a_turn_of_a_job_that_waits_no_more_goes_to_the_next() {
        let jobs = jobs(1, 3, 9);
        let [running, gone, next] = [(); 3].map(|()| jobs.place(&owner("a")).unwrap());
        let turn = running.turn().await.unwrap();
        assert!(gone.turn().now_or_never().is_none());
        let mut next_turn = Box::pin(next.turn());
        assert!(next_turn.as_mut().now_or_never().is_none());

        drop(turn);

        assert!(next_turn.now_or_never().unwrap().is_some());
    }

    #[tokio::test]
    async fn a_job_that_waits_no_more_costs_its_owner_no_turn() {
        let jobs = jobs(1, 4, 9);
        let place = |name| jobs.place(&owner(name)).unwrap();
        let [running, gone, of_the_same, of_another] = [place("z"), place("a"), place("a"), place("b")];
        let turn = running.turn().await.unwrap();
        let mut waits = Box::pin(gone.turn());
        assert!(waits.as_mut().now_or_never().is_none());
        let [mut next, mut last] = [Box::pin(of_the_same.turn()), Box::pin(of_another.turn())];
        assert!(next.as_mut().now_or_never().is_none());
        assert!(last.as_mut().now_or_never().is_none());

        drop(waits);
        drop(turn);

        let turn = next.now_or_never().unwrap();
        assert!(turn.is_some());
        assert!(last.as_mut().now_or_never().is_none());
        drop(turn);
        assert!(last.now_or_never().unwrap().is_some());
    }

    #[tokio::test]
    async fn once_it_is_shut_down_no_turn_comes_and_no_place_is_given() {
        let jobs = jobs(1, 3, 9);
        let [running, waiting] = [(); 2].map(|()| jobs.place(&owner("a")).unwrap());
        let _turn = running.turn().await.unwrap();
        let mut waits = Box::pin(waiting.turn());
        assert!(waits.as_mut().now_or_never().is_none());

        assert!(jobs.shut_down(Duration::ZERO).await);

        assert!(waits.now_or_never().unwrap().is_none());
        assert!(waiting.turn().await.is_none());
        assert_eq!(jobs.place(&owner("b")).unwrap_err(), NoPlace::Full);
    }

    impl Jobs {
        /// Waits until every job had its turn, then shuts down.
        async fn shut_down_when_idle(&self) -> bool {
            while self.counts() != (0, 0) {
                tokio::task::yield_now().await;
            }
            self.shut_down(Duration::ZERO).await
        }
    }
}
