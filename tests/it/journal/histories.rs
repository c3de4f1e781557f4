//! Any history of writes and outages ends in the same records as the same writes without outages.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::Bench;
use crate::support::random::cases;
use crate::support::records::{
    analysis, at, charge, completed, given_back, new_owner, renewed, session, taken_up, turn,
};
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use std::time::Duration;
use swimcoach::analysis::MicroUsd;
use swimcoach::ledger::{Charge, Month};
use swimcoach::metadata::SessionStore;
use swimcoach::metadata::sqlite::SqliteSessionStore;
use swimcoach::session::{Analysis, Session};
use swimcoach::upstream::UpstreamErrorKind;

const N_SESSIONS: usize = 3;

/// Something that happens; sessions are told by their place.
#[derive(Debug, Clone)]
enum Event {
    Create(usize),
    Start(usize),
    TakeUp(usize),
    StayAlive(usize),
    GiveBack(usize),
    End(usize),
    Settle(usize),
    Say(usize, u32),
    Delete(usize),
    DeleteByAStranger(usize),
    Read(usize),
    Break(UpstreamErrorKind),
    FailNext(u32),
    LoseNextAnswers(u32),
    Mend,
    Pass(u64),
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let kinds = [
        UpstreamErrorKind::Unavailable,
        UpstreamErrorKind::Timeout,
        UpstreamErrorKind::RateLimited { retry_after: Some(Duration::from_secs(7)) },
        UpstreamErrorKind::Unauthorized,
        UpstreamErrorKind::Exhausted,
    ];
    let place = || 0..N_SESSIONS;
    let event = prop_oneof![
        3 => place().prop_map(Event::Create),
        3 => place().prop_map(Event::Start),
        2 => place().prop_map(Event::TakeUp),
        2 => place().prop_map(Event::StayAlive),
        1 => place().prop_map(Event::GiveBack),
        3 => place().prop_map(Event::End),
        2 => place().prop_map(Event::Settle),
        4 => (place(), 0..4_u32).prop_map(|(place, number)| Event::Say(place, number)),
        1 => place().prop_map(Event::Delete),
        1 => place().prop_map(Event::DeleteByAStranger),
        3 => place().prop_map(Event::Read),
        2 => prop::sample::select(kinds.to_vec()).prop_map(Event::Break),
        1 => (1..4_u32).prop_map(Event::FailNext),
        2 => (1..4_u32).prop_map(Event::LoseNextAnswers),
        2 => Just(Event::Mend),
        2 => (0..60_u64).prop_map(Event::Pass),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 1..40)
}

/// The store with its outages, and one beside it that has none.
struct Twins {
    bench: Bench,
    steady: SqliteSessionStore,
    sessions: Vec<Session>,
    /// Which of them were created. That happens once, and nothing is said about a session before.
    created: [bool; N_SESSIONS],
    /// The attempt of each session that was started last.
    analyses: Vec<Option<Analysis>>,
    /// One of each session.
    charges: Vec<Charge>,
    /// Milliseconds that have passed, one for each event.
    clock: i64,
}

impl Twins {
    async fn new() -> Self {
        let owner = new_owner();
        Self {
            bench: Bench::new().await,
            steady: SqliteSessionStore::in_memory().unwrap(),
            sessions: (0..N_SESSIONS).map(|_| session(&owner, 2)).collect(),
            charges: (0..N_SESSIONS).map(|_| charge(&owner, 0)).collect(),
            created: [false; N_SESSIONS],
            analyses: vec![None; N_SESSIONS],
            clock: 0,
        }
    }

    async fn happen(mut self, event: Event) -> Self {
        self.clock += 1;
        match event {
            Event::Create(place) if !self.created[place] => {
                self.created[place] = true;
                for store in [&self.bench.store as &dyn SessionStore, &self.steady] {
                    store.create_session(&self.sessions[place]).await.unwrap();
                }
            }
            Event::Start(place) => {
                let started = renewed(&analysis(&self.sessions[place]), self.clock);
                self.start(place, started, at(-1)).await;
            }
            Event::TakeUp(place) => {
                if let Some(abandoned) = &self.analyses[place] {
                    let next = taken_up(abandoned, self.clock);
                    self.start(place, next, at(self.clock)).await;
                }
            }
            Event::StayAlive(place) => self.record(place, renewed).await,
            Event::GiveBack(place) => self.record(place, given_back).await,
            Event::Settle(place) => {
                let usage = completed(&analysis(&self.sessions[place]), 0).usage;
                let amount = MicroUsd(self.clock.unsigned_abs());
                let charge = Charge { amount, usage, ..self.charges[place].clone() };
                for store in [&self.bench.store as &dyn SessionStore, &self.steady] {
                    store.settle(&charge).await.unwrap();
                }
            }
            Event::End(place) => self.record(place, completed).await,
            Event::Say(place, number) if self.created[place] => {
                let turns = [turn(number, &format!("said at {}", self.clock))];
                for store in [&self.bench.store as &dyn SessionStore, &self.steady] {
                    store.append_turns(self.sessions[place].id, &turns).await.unwrap();
                }
            }
            Event::Delete(place) if self.created[place] => {
                let Session { owner, id, .. } = &self.sessions[place];
                for store in [&self.bench.store as &dyn SessionStore, &self.steady] {
                    store.delete_session(owner, *id).await.unwrap();
                }
            }
            Event::DeleteByAStranger(place) => {
                for store in [&self.bench.store as &dyn SessionStore, &self.steady] {
                    store.delete_session(&new_owner(), self.sessions[place].id).await.unwrap();
                }
            }
            Event::Create(_) | Event::Say(..) | Event::Delete(_) => {}
            Event::Read(place) => self.read(place).await,
            Event::Break(kind) => self.bench.records.fail_all(kind),
            Event::FailNext(n) => self.bench.records.fail_next(n, UpstreamErrorKind::Unavailable),
            Event::LoseNextAnswers(n) => self.bench.records.lose_next_answers(n),
            Event::Mend => self.bench.records.mend(),
            Event::Pass(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            Event::Restart => self.bench = self.bench.restart().await,
        }
        self
    }

    /// Starts an attempt where the store allows it. A start that failed may have happened.
    async fn start(&mut self, place: usize, started: Analysis, stale_before: DateTime<Utc>) {
        let Session { owner, id, .. } = &self.sessions[place];
        let answer = self.bench.store.start_analysis(&started, stale_before).await;
        let record = self.bench.records.unbroken().session(owner, *id).await.unwrap();
        let has_started = record.is_some_and(|it| it.analyses.contains(&started));
        if answer.is_ok() || has_started {
            let outcome = self.steady.start_analysis(&started, stale_before).await.unwrap();
            assert!(answer.is_err() || answer.unwrap() == outcome);
        }
        if has_started {
            self.analyses[place] = Some(started);
        }
    }

    async fn record(&self, place: usize, state: fn(&Analysis, i64) -> Analysis) {
        let Some(analysis) = &self.analyses[place] else { return };
        let state = state(analysis, self.clock);
        for store in [&self.bench.store as &dyn SessionStore, &self.steady] {
            store.record_analysis(&state).await.unwrap();
        }
    }

    /// What is read during an outage is right, or not told at all.
    async fn read(&self, place: usize) {
        let Session { owner, id, .. } = &self.sessions[place];
        let expected = self.steady.session(owner, *id).await.unwrap();
        if let Ok(record) = self.bench.store.session(owner, *id).await {
            assert_eq!(record, expected);
        }
        if let Ok(listed) = self.bench.store.list_sessions(owner, None, 10).await {
            assert_eq!(listed, self.steady.list_sessions(owner, None, 10).await.unwrap());
        }
    }

    async fn end(self) {
        self.bench.records.mend();
        self.bench.drained().await;
        let owner = &self.sessions[0].owner;
        let expected = self.steady.list_sessions(owner, None, 10).await.unwrap();
        assert_eq!(self.bench.records.unbroken().list_sessions(owner, None, 10).await.unwrap(), expected);
        assert_eq!(self.bench.store.list_sessions(owner, None, 10).await.unwrap(), expected);
        let expected = self.steady.month_usage(owner, Month::of(at(0))).await.unwrap();
        assert_eq!(self.bench.store.month_usage(owner, Month::of(at(0))).await.unwrap(), expected);
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn every_history_with_outages_ends_like_the_same_history_without(events in events()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
            let mut twins = Twins::new().await;
            for event in events {
                twins = twins.happen(event).await;
            }
            twins.end().await;
        });
    }
}
