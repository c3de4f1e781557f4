//! Requests that carry an idempotency key: begun once over all replicas, and answered twice with one answer.
//!
//! The record of a key is a lease. Whoever has it makes what is asked for, and renews it meanwhile; a lease that was not
//! renewed for long is taken over. The record also holds a UUID, made when the key was first seen, under which the work
//! is done: whoever takes a lease over finds by it what was made before the answer was recorded.

use super::sweep::REQUESTS_KEPT;
use super::{Coach, CoachError, now};
use crate::metadata::{Entry, EntryKind, Exchanged};
use crate::session::{Owner, Session, SessionId};
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The most bytes of a record of a key; a store takes no more.
const MAX_BYTES: usize = 256 * 1024;

/// Keys in use at one time in one process.
const MAX_IN_USE: usize = 10_000;

/// How often a key is looked at again that changed meanwhile.
const ROUNDS: u32 = 3;

/// A request with a key, as it comes in.
#[derive(Debug, Clone)]
pub struct KeyedRequest {
    /// Whose request it is. The same key of somebody else is another key.
    pub owner: Owner,
    /// The key.
    pub key: String,
    /// What is asked for: method and path.
    pub target: String,
    /// What tells its body from others; `None` where the body is still to be read.
    pub fingerprint: Option<String>,
    /// The session that it is about; `None` where it makes one, whose id is the UUID of the request.
    pub session: Option<SessionId>,
}

/// How the beginning of a request came out.
#[derive(Debug)]
pub enum Begun {
    /// It is the caller's to do.
    Mine(Arc<RequestLease>),
    /// It was answered.
    Answered(KeptAnswer),
    /// Somebody is at it.
    UnderWay,
    /// The key was used for something else.
    Other,
}

/// The answer of a request that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// What tells the body of the request from others.
    pub fingerprint: String,
    /// The status.
    pub status: u16,
    /// The headers that belong to what was done.
    pub headers: Vec<(String, String)>,
    /// The body; `None` where it was too long to be kept.
    pub body: Option<String>,
}

/// What is recorded of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The UUID under which the request is done.
    id: Uuid,
    target: String,
    /// Set before anything is made that lasts. Without it nothing was.
    fingerprint: Option<String>,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Somebody is at it.
    UnderWay {
        /// Who, by a UUID made for this try.
        runner: Uuid,
        renewed_at: DateTime<Utc>,
    },
    /// Nobody is. What was made of it, if anything, is found by its UUID.
    GivenBack,
    Answered(KeptAnswer),
}

/// What follows from what is recorded of a key.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing was made under this key, but what an earlier try may have left behind.
    Begin {
        left_behind: Option<Uuid>,
    },
    /// An earlier try may have made something.
    TakeOver {
        id: Uuid,
        fingerprint: String,
    },
    Answered(KeptAnswer),
    UnderWay,
    Other,
}

impl Record {
    fn step(self, recorded_at: DateTime<Utc>, asked: &KeyedRequest, stale_before: DateTime<Utc>) -> Step {
        if recorded_at < now() - REQUESTS_KEPT {
            return Step::Begin { left_behind: None };
        }
        let differs = |it: &String| asked.fingerprint.as_ref().is_some_and(|asked| asked != it);
        let is_other = self.target != asked.target || self.fingerprint.as_ref().is_some_and(differs);
        match (self.state, self.fingerprint) {
            // Nothing came of it, so the key is free for anything.
            (State::GivenBack, _) if is_other => Step::Begin { left_behind: None },
            _ if is_other => Step::Other,
            (State::Answered(answer), _) => Step::Answered(answer),
            (State::UnderWay { renewed_at, .. }, _) if stale_before <= renewed_at => Step::UnderWay,
            (_, Some(fingerprint)) => Step::TakeOver { id: self.id, fingerprint },
            (_, None) => Step::Begin { left_behind: Some(self.id) },
        }
    }
}

/// The right to do a request, held until it is answered, forgotten or given back. Dropped before, it is given back.
#[derive(Debug)]
pub struct RequestLease {
    coach: Coach,
    /// The record, without its value.
    entry: Entry,
    runner: Uuid,
    id: Uuid,
    target: String,
    /// What the body must be, where an earlier try got so far that it may have made something.
    expected: Option<String>,
    held: Arc<tokio::sync::Mutex<Held>>,
    is_over: CancellationToken,
    _in_use: InUse,
}

/// What is recorded, as far as the holder knows.
#[derive(Debug)]
struct Held {
    seen: String,
    fingerprint: Option<String>,
    is_settled: bool,
}

impl RequestLease {
    /// The UUID under which the request is done.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What the body must be, where an earlier try got so far that it may have made something.
    pub fn expected(&self) -> Option<&str> {
        self.expected.as_deref()
    }

    /// Records what the body is, before anything is made that lasts; `false` where somebody else has the request now.
    pub async fn fix(&self, fingerprint: &str) -> Result<bool, CoachError> {
        let mut held = self.held.lock().await;
        let earlier = held.fingerprint.replace(fingerprint.to_owned());
        let fixed = self.put(&mut held, Self::under_way).await;
        if !matches!(fixed, Ok(true)) {
            held.fingerprint = earlier;
        }
        Ok(fixed?)
    }

    /// Records that what was made is being removed; `false` where somebody else has the request, and with it what was
    /// made, or where that is not known.
    pub(super) async fn unfix(&self) -> bool {
        let mut held = self.held.lock().await;
        if held.fingerprint.is_none() {
            return true;
        }
        let fingerprint = held.fingerprint.take();
        let unfixed = matches!(self.put(&mut held, Self::under_way).await, Ok(true));
        if !unfixed {
            held.fingerprint = fingerprint;
        }
        unfixed
    }

    /// Keeps the answer. Where that fails the request is taken over by whoever repeats it, and what was made is found.
    pub async fn answer(&self, answer: KeptAnswer) {
        let mut held = self.held.lock().await;
        let mut answer = answer;
        if self.value(&held, State::Answered(answer.clone())).is_ok_and(|it| MAX_BYTES < it.len()) {
            answer.body = None;
        }
        let kept = self.put(&mut held, |_| State::Answered(answer.clone())).await;
        self.settle(
            &mut held,
            "could not keep the answer of a request that carries an idempotency key",
            kept,
        );
    }

    /// Gives the request back: the key is free, and who repeats the request finds what was made of it.
    pub async fn give_back(&self) {
        let mut held = self.held.lock().await;
        if held.is_settled {
            return;
        }
        let given = self.put(&mut held, |_| State::GivenBack).await;
        self.settle(&mut held, "could not give a request back that carries an idempotency key", given);
    }

    /// Removes the record of a request that left nothing behind.
    pub async fn forget(&self) {
        let mut held = self.held.lock().await;
        if held.is_settled {
            return;
        }
        let (sessions, entry) = (&self.coach.sessions, &self.entry);
        let removed = sessions.remove_entry(entry.kind, &entry.name, &held.seen).await;
        self.settle(&mut held, "could not forget a request that carries an idempotency key", removed);
    }

    fn settle(&self, held: &mut Held, failed: &str, outcome: Result<bool, UpstreamError>) {
        held.is_settled = true;
        self.is_over.cancel();
        if let Err(error) = outcome {
            // The lease becomes stale.
            tracing::warn!(request = %self.id, %error, cause = %error.source, "{failed}");
        }
    }

    fn under_way(&self) -> State {
        State::UnderWay { runner: self.runner, renewed_at: now() }
    }

    fn value(&self, held: &Held, state: State) -> Result<String, UpstreamError> {
        let (target, fingerprint) = (self.target.clone(), held.fingerprint.clone());
        write(&Record { id: self.id, target, fingerprint, state })
    }

    /// Puts a state in the place of the one before; `false` where another try has taken the request over, or the
    /// session is deleted and all with it.
    async fn put(&self, held: &mut Held, state: impl Fn(&Self) -> State) -> Result<bool, UpstreamError> {
        for _ in 0..ROUNDS {
            let value = self.value(held, state(self))?;
            let entry = Entry { value, recorded_at: now(), ..self.entry.clone() };
            match self.coach.exchange(Some(&held.seen), &entry).await? {
                Exchanged::Put => {
                    held.seen = entry.value;
                    return Ok(true);
                }
                // A renewal whose answer was lost.
                Exchanged::Changed(Some(there)) if self.is_mine(&there) => held.seen = there.value,
                Exchanged::Changed(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    fn is_mine(&self, there: &Entry) -> bool {
        let mine = |it: Record| matches!(it.state, State::UnderWay { runner, .. } if runner == self.runner);
        read(&there.value).is_ok_and(mine)
    }

    /// Renews a lease until it is over or lost. In between it is not held, also not before this runs for the first time.
    async fn renew(lease: Weak<Self>, is_over: CancellationToken, pause: Duration) {
        while is_over.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let Some(lease) = lease.upgrade() else { return };
            let mut held = lease.held.lock().await;
            if held.is_settled {
                return;
            }
            match lease.put(&mut held, Self::under_way).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(
                    request = %lease.id, %error, cause = %error.source,
                    "could not record that a request with an idempotency key is still under way",
                ),
            }
        }
    }
}

impl Drop for RequestLease {
    fn drop(&mut self) {
        self.is_over.cancel();
        let held = Arc::clone(&self.held);
        // Whoever renews it holds the lease itself, so nobody has the lock.
        let Ok(held) = held.try_lock_owned() else { return };
        if held.is_settled {
            return;
        }
        // What was written before can be written again.
        let Ok(value) = self.value(&held, State::GivenBack) else { return };
        let entry = Entry { value, recorded_at: now(), ..self.entry.clone() };
        let (coach, id) = (self.coach.clone(), self.id);
        self.coach.jobs.finish(async move {
            if let Err(error) = coach.sessions.exchange_entry(Some(&held.seen), &entry).await {
                tracing::warn!(
                    request = %id, %error, cause = %error.source,
                    "could not give a request back that carries an idempotency key",
                );
            }
        });
    }
}

/// The keys that are in use in this process, so that a request which is sent many times at once asks the store once.
#[derive(Debug, Clone, Default)]
pub(super) struct KeysInUse(Arc<Mutex<HashSet<String>>>);

impl KeysInUse {
    /// Takes a key; `None` where it is in use.
    fn take(&self, name: &str) -> Result<Option<InUse>, CoachError> {
        let mut names = self.lock();
        if names.contains(name) {
            return Ok(None);
        }
        if MAX_IN_USE <= names.len() {
            return Err(CoachError::Busy);
        }
        names.insert(name.to_owned());
        Ok(Some(InUse { keys: self.clone(), name: name.to_owned() }))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        // The set is whole after every statement, so a panic elsewhere leaves it usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key that is in use in this process until this is dropped.
#[derive(Debug)]
struct InUse {
    keys: KeysInUse,
    name: String,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.keys.lock().remove(&self.name);
    }
}

impl Coach {
    /// Begins a request that carries an idempotency key. Of any number of the same at once, at any replica, one is
    /// the caller's to do.
    pub async fn begin_request(&self, asked: &KeyedRequest) -> Result<Begun, CoachError> {
        let name = name(&asked.owner, &asked.key);
        let Some(in_use) = self.keys_in_use.take(&name)? else { return Ok(Begun::UnderWay) };
        let mut there = self.sessions.entry(EntryKind::Request, &name).await?;
        for _ in 0..ROUNDS {
            let step = match &there {
                None => Step::Begin { left_behind: None },
                Some(entry) => read(&entry.value)?.step(entry.recorded_at, asked, self.stale_before()),
            };
            let (id, expected, left_behind) = match step {
                Step::Begin { left_behind } => (Uuid::now_v7(), None, left_behind),
                Step::TakeOver { id, fingerprint } => (id, Some(fingerprint), None),
                Step::Answered(answer) => return Ok(Begun::Answered(answer)),
                Step::UnderWay => return Ok(Begun::UnderWay),
                Step::Other => return Ok(Begun::Other),
            };
            let runner = Uuid::new_v4();
            let fingerprint = asked.fingerprint.clone().or_else(|| expected.clone());
            let state = State::UnderWay { runner, renewed_at: now() };
            let record = Record { id, target: asked.target.clone(), fingerprint: fingerprint.clone(), state };
            let entry = Entry {
                kind: EntryKind::Request,
                name: name.clone(),
                owner: Some(asked.owner.clone()),
                session: Some(asked.session.unwrap_or(SessionId::from(id))),
                value: write(&record)?,
                recorded_at: now(),
            };
            match self.take_request(there.as_ref(), &entry).await? {
                Exchanged::Put => {}
                Exchanged::Changed(other) => {
                    there = other;
                    continue;
                }
            }
            if let Some(left) = left_behind.filter(|_| asked.session.is_none()) {
                // What an earlier try left that never came to its commit, or was undoing it.
                let (coach, owner) = (self.clone(), asked.owner.clone());
                self.jobs.finish(async move { coach.undo_upload(&owner, left.into(), true).await });
            }
            let held = Held { seen: entry.value.clone(), fingerprint, is_settled: false };
            let lease = Arc::new(RequestLease {
                coach: self.clone(),
                entry: Entry { value: String::new(), ..entry },
                runner,
                id,
                target: asked.target.clone(),
                expected,
                held: Arc::new(tokio::sync::Mutex::new(held)),
                is_over: CancellationToken::new(),
                _in_use: in_use,
            });
            let (is_over, pause) = (lease.is_over.clone(), self.stale_after / 3);
            tokio::spawn(RequestLease::renew(Arc::downgrade(&lease), is_over, pause));
            return Ok(Begun::Mine(lease));
        }
        Ok(Begun::UnderWay)
    }

    /// Exchanges once more where the answer was lost, which makes no difference where it was not.
    async fn exchange(&self, seen: Option<&str>, entry: &Entry) -> Result<Exchanged, UpstreamError> {
        match self.sessions.exchange_entry(seen, entry).await {
            Err(_lost) => self.sessions.exchange_entry(seen, entry).await,
            exchanged => exchanged,
        }
    }

    /// Puts the record of a request, or takes it back where it is not known whether it is there.
    async fn take_request(&self, there: Option<&Entry>, entry: &Entry) -> Result<Exchanged, UpstreamError> {
        let seen = there.map(|it| it.value.as_str());
        let taken = self.exchange(seen, entry).await;
        if taken.is_err() && there.is_none() {
            let (coach, entry) = (self.clone(), entry.clone());
            self.jobs.finish(async move {
                let removed = coach.sessions.remove_entry(entry.kind, &entry.name, &entry.value).await;
                if let Err(error) = removed {
                    tracing::warn!(%error, cause = %error.source, "an idempotency key may be taken until its lease is stale");
                }
            });
        }
        taken
    }

    /// The session that an earlier try of a request made.
    pub async fn made_by(&self, request: &RequestLease) -> Result<Option<Session>, CoachError> {
        let Some(owner) = &request.entry.owner else { return Ok(None) };
        let record = self.sessions.session(owner, request.id.into()).await?;
        Ok(record.map(|it| it.session))
    }

    /// Runs work that must be finished once begun, whatever becomes of the connection that caused it.
    pub fn finish<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.jobs.finish(work)
    }
}

/// The name under which the record of a key is kept. It tells neither the key nor whose it is.
fn name(owner: &Owner, key: &str) -> String {
    let owner = Sha256::digest(owner.as_str());
    hex::encode(Sha256::new().chain_update(owner).chain_update(key).finalize())
}

fn write(record: &Record) -> Result<String, UpstreamError> {
    let kind = UpstreamErrorKind::Rejected;
    serde_json::to_string(record)
        .map_err(|error| UpstreamError::new(Service::Records, "exchange_entry", kind, error))
}

fn read(value: &str) -> Result<Record, UpstreamError> {
    let kind = UpstreamErrorKind::InvalidResponse;
    serde_json::from_str(value).map_err(|error| UpstreamError::new(Service::Records, "entry", kind, error))
}
