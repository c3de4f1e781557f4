//! Whether analyses survive the death of the process that runs them: kills the service at random moments, starts it
//! again on the same bucket and file of records, and counts results, and calls of the model against what the kills
//! explain. The seed is printed, and another run takes it.
//!
//! ```sh
//! cargo bench --bench kills
//! cargo bench --bench kills -- seed=7 kills=50 model=http://127.0.0.1:8199
//! ```
//!
//! Without `model=` the model is a stand-in in this process. One that is named must take the key `sk-ant-test` and tell
//! at `/__log` what it was asked.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "what fails here should stop and say where")]

#[expect(dead_code, reason = "most of it misbehaves, for tests")]
#[path = "../tests/it/support/claude_server.rs"]
mod claude_server;
#[expect(dead_code, reason = "it can do more, for tests")]
#[path = "../tests/it/support/event_stream.rs"]
mod event_stream;
#[path = "../tests/it/support/eventually.rs"]
mod eventually;
#[expect(dead_code, reason = "it can do more, for tests")]
#[path = "../tests/it/support/s3_server.rs"]
mod s3_server;

mod kills {
    pub(super) mod model;
    pub(super) mod service;
}

use self::event_stream::SentEvent;
use self::kills::model::Model;
use self::kills::service::{Service, Stores};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

/// Analyses that are asked for at once, of which one waits while the other runs.
const AT_ONCE: usize = 2;
/// How long after the start a process is killed at the most: longer than an analysis takes.
const MAX_LIFE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let seed = argument("seed").map_or_else(rand::random, |it| it.parse().unwrap());
    let kills = argument("kills").map_or(50, |it| it.parse().unwrap());
    println!("seed={seed} kills={kills}");
    let mut random = StdRng::seed_from_u64(seed);
    let model = Model::start(argument("model")).await;
    let stores = Stores::start(model.url()).await;
    let mut service = Service::start(&stores).await;
    let mut tally = Tally::default();

    while tally.kills < kills {
        let mut sessions = Vec::new();
        for number in 0..AT_ONCE {
            let notes = (number % 2 == 0).then_some("Why does my left arm feel weak?");
            sessions.push(service.asked_for(notes).await);
        }
        // Now and then the process that takes them up is killed as well. More often would use up their attempts.
        for _ in 0..random.random_range(1..=2).min(kills - tally.kills) {
            tokio::time::sleep(MAX_LIFE.mul_f64(random.random())).await;
            service.kill().await;
            tally.kills += 1;
            service = Service::start(&stores).await;
        }
        for (number, session) in sessions.iter().enumerate() {
            let events = service.events_of_the_whole(session).await;
            tally.count(&events, if number % 2 == 0 { 2 } else { 1 });
        }
        println!("{} kills, {} results", tally.kills, tally.results);
    }
    tally.tell(model.calls().await);
}

/// `name=value` among the arguments.
fn argument(name: &str) -> Option<String> {
    env::args().find_map(|it| it.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

/// What came of it all.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    results: u32,
    taken_up: usize,
    /// Calls of the model that the results need.
    needed: usize,
    /// How often an analysis was at which stage when its process was killed.
    killed_at: BTreeMap<String, u32>,
}

impl Tally {
    /// Counts an analysis by its events, which ended whole after so many calls of the model at the least.
    fn count(&mut self, events: &[SentEvent], needed: usize) {
        let mut stage = "queued".to_owned();
        for event in events {
            match event.name.as_str() {
                "progress" => {
                    event.data["stage"].as_str().unwrap().clone_into(&mut stage);
                }
                "resumed" => {
                    self.taken_up += 1;
                    *self.killed_at.entry(std::mem::replace(&mut stage, "queued".to_owned())).or_default() +=
                        1;
                }
                _ => {}
            }
        }
        self.results += 1;
        self.needed += needed;
    }

    /// Says what was counted. Each time an analysis is taken up, one call of the model may have been lost.
    fn tell(&self, calls: usize) {
        println!(
            "{} kills; {} analyses, as many results, none lost and none stuck",
            self.kills, self.results
        );
        println!("taken up {} times, after a kill while {:?}", self.taken_up, self.killed_at);
        println!("{calls} calls of the model: {} needed, {} again", self.needed, calls - self.needed);
        let explained = self.needed + self.taken_up;
        assert!(calls <= explained, "{calls} calls, and only {explained} are explained");
    }
}
