//! Analyses that outlive the process that ran them: killed at each stage, stopped, or asked for in two at once.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{Service, Stores, output};
use crate::support::claude_server::{
    ClaudeServer, Reply, Step, analysis, events, message_start, stream, stream_head, written,
};
use crate::support::event_stream::SentEvent;
use crate::support::form::Form;
use crate::support::snowflake_stub::SnowflakeStub;
use futures_util::future::join_all;
use rusqlite::Connection;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the model says of the frames.
const LOOK: &str = include_str!("../fixtures/analysis.example.json");
/// What it says to the notes.
const NOTES: &str = r#"{"text": "The right hand presses down first.", "frames": [8]}"#;

/// After how many minutes without a sign of life an analysis counts as left behind: three seconds.
const STALE_MINUTES: &str = "0.05";

/// A bucket, a file of records and a model, for any number of processes.
pub(super) struct Bench {
    stores: Stores,
    pub(super) claude: ClaudeServer,
}

impl Bench {
    /// With a model that answers so and is asked exactly as often.
    pub(super) async fn answering(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self { stores: Stores::start().await, claude: ClaudeServer::start(replies).await }
    }

    pub(super) async fn start(&self) -> Service {
        self.start_with(&[]).await
    }

    async fn start_with(&self, more: &[(&str, &str)]) -> Service {
        let model = self.claude.url().to_string();
        let mut settings = self.stores.settings();
        settings.retain(|(name, _)| *name != "ANTHROPIC_MOCK_MODE");
        settings.extend([
            ("ANTHROPIC_API_KEY", "secret-anthropic"),
            ("ANTHROPIC_BASE_URL", &*model),
            ("STALE_JOB_THRESHOLD_MINUTES", STALE_MINUTES),
        ]);
        settings.extend(more);
        Service::start(&settings).await
    }

    /// Keeps every process from writing records until the result is dropped.
    fn bar_records(&self) -> Connection {
        let (_, url) = self.stores.settings().into_iter().find(|it| it.0 == "DATABASE_URL").unwrap();
        let records = Connection::open(url.strip_prefix("sqlite://").unwrap()).unwrap();
        records.execute_batch("BEGIN IMMEDIATE").unwrap();
        records
    }
}

/// The whole answer of one look.
pub(super) fn whole() -> Reply {
    stream(&events(&analysis(LOOK)))
}

/// A stream that breaks off after some of its text, when the client goes away.
fn half() -> Reply {
    let events = events(&analysis(LOOK));
    vec![stream_head(), Step::Write(written(&events[..events.len() / 2])), Step::WaitUntilGone]
}

/// A model that thinks until the client goes away.
fn thinking() -> Reply {
    vec![stream_head(), Step::Write(written(&[message_start(1000)])), Step::WaitUntilGone]
}

async fn kill(mut service: Service) {
    service.signal("KILL");
    service.ended().await;
}

async fn complete(service: &Service, session: &str) -> Value {
    let detail = service.session_until(session, |it| it["status"] != "processing").await;
    assert_eq!(detail["status"], "complete", "{}", detail["error"]);
    detail
}

/// How often something of this name is among the events.
fn count(events: &[SentEvent], name: &str) -> usize {
    events.iter().filter(|it| it.name == name).count()
}

/// The analysis was taken up once and has one result.
async fn was_taken_up_once(service: &Service, session: &str) {
    complete(service, session).await;
    let events = service.told(session).await;
    assert_eq!((count(&events, "resumed"), count(&events, "done")), (1, 1), "{events:#?}");
    assert_eq!(events.last().unwrap().name, "done");
}

#[tokio::test]
async fn a_process_that_is_killed_while_an_analysis_waits_leaves_it_to_the_next() {
    let bench = Bench::answering([thinking(), whole(), whole()]).await;
    let one_at_a_time = [("MAX_RUNNING_ANALYSES", "1")];
    let service = bench.start_with(&one_at_a_time).await;
    let running = service.upload(Form::frames(15)).await;
    let waiting = service.upload(Form::frames(15)).await;
    service.analyze(&running).await;
    bench.claude.asked().await;
    service.analyze(&waiting).await;

    kill(service).await;
    let next = bench.start_with(&one_at_a_time).await;

    was_taken_up_once(&next, &running).await;
    was_taken_up_once(&next, &waiting).await;
    assert_eq!(bench.claude.requests().len(), 3);
}

#[tokio::test]
async fn a_process_that_is_killed_while_frames_are_fetched_has_paid_nothing() {
    let bench = Bench::answering([whole()]).await;
    let service = bench.start().await;
    let id = service.upload(Form::frames(15)).await;
    bench.stores.bucket.hold_downloads(true);
    service.analyze(&id).await;
    bench.stores.bucket.is_asked_for_a_frame().await;

    kill(service).await;
    bench.stores.bucket.hold_downloads(false);
    let next = bench.start().await;

    was_taken_up_once(&next, &id).await;
    assert_eq!(bench.claude.requests().len(), 1);
}

#[tokio::test]
async fn a_process_that_is_killed_half_way_through_the_model_s_answer_loses_that_one_request() {
    let bench = Bench::answering([half(), whole()]).await;
    let service = bench.start().await;
    let id = service.upload(Form::frames(15)).await;
    service.analyze(&id).await;
    service.session_until(&id, |it| it["progress"]["stage"] == "writing").await;

    kill(service).await;
    let next = bench.start().await;

    was_taken_up_once(&next, &id).await;
    assert_eq!(bench.claude.requests().len(), 2);
}

#[tokio::test]
async fn a_process_that_is_killed_right_before_the_result_is_stored_loses_that_one_request() {
    let gate = Arc::new(Semaphore::new(0));
    let events = events(&analysis(LOOK));
    let (first, last) = events.split_at(events.len() - 1);
    let held = vec![
        stream_head(),
        Step::Write(written(first)),
        Step::Hold(Arc::clone(&gate)),
        Step::Write(written(last)),
        Step::WaitUntilGone,
    ];
    let mut bench = Bench::answering([held, whole()]).await;
    let service = bench.start().await;
    let id = service.upload(Form::frames(15)).await;
    service.analyze(&id).await;
    service.session_until(&id, |it| it["progress"]["stage"] == "writing").await;

    let barred = bench.bar_records();
    gate.add_permits(1);
    // The client hangs up because the answer is whole.
    bench.claude.client_gone().await;
    kill(service).await;
    drop(barred);
    let next = bench.start().await;

    was_taken_up_once(&next, &id).await;
    assert_eq!(bench.claude.requests().len(), 2);
}

#[tokio::test]
async fn a_look_that_is_paid_for_is_not_paid_for_again_after_a_kill() {
    let bench = Bench::answering([whole(), thinking(), stream(&events(NOTES))]).await;
    let service = bench.start().await;
    let id = service.upload(Form::frames(15).text("user_notes", "Why?")).await;
    service.analyze(&id).await;
    service.session_until(&id, |it| it["progress"]["stage"] == "answering_notes").await;
    bench.claude.asked_times(2).await;

    kill(service).await;
    let next = bench.start().await;

    was_taken_up_once(&next, &id).await;
    let requests = bench.claude.requests();
    let has_pictures: Vec<bool> =
        requests.iter().map(|it| it.json().to_string().contains("\"image\"")).collect();
    assert_eq!(has_pictures, [true, false, false]);
}

#[tokio::test]
async fn a_process_that_is_stopped_hands_what_it_runs_to_the_next() {
    let bench = Bench::answering([thinking(), whole()]).await;
    let mut service = bench.start_with(&[("SHUTDOWN_TIMEOUT_SECONDS", "1")]).await;
    let other = bench.start().await;
    let id = service.upload(Form::frames(15)).await;
    service.analyze(&id).await;
    bench.claude.asked().await;

    service.signal("TERM");

    assert_eq!(service.ended().await.code(), Some(0));
    was_taken_up_once(&other, &id).await;
    assert_eq!(bench.claude.requests().len(), 2);
}

#[tokio::test]
async fn two_processes_on_one_file_that_are_asked_at_once_ask_the_model_once_for_each_analysis() {
    let gate = Arc::new(Semaphore::new(0));
    let bench = Bench::answering(vec![held(&gate); AT_ONCE]).await;
    let processes = [bench.start().await, bench.start().await];

    both_are_asked_for_all(&processes, &gate).await;

    assert_eq!(bench.claude.requests().len(), AT_ONCE);
}

#[tokio::test]
async fn two_processes_on_one_snowflake_that_are_asked_at_once_ask_the_model_once_for_each_analysis() {
    let gate = Arc::new(Semaphore::new(0));
    let bench = Bench::answering(vec![held(&gate); AT_ONCE]).await;
    let snowflake = SnowflakeStub::start().await;
    let records = snowflake.settings();
    let mut settings = vec![("DATABASE_URL", "")];
    settings.extend(records.iter().map(|(name, value)| (*name, value.as_str())));
    let without_the_rest = [("R2_MOCK_MODE", "true"), ("ANTHROPIC_MOCK_MODE", "true")];
    let migrated = output(&["migrate"], &[&settings[..], &without_the_rest].concat()).await;
    assert!(migrated.status.success(), "{migrated:?}");
    let folder = tempfile::tempdir().unwrap();
    let journals = ["one", "other"].map(|it| folder.path().join(it).display().to_string());
    let with_journal = |at: usize| [&settings[..], &[("SNOWFLAKE_JOURNAL", &*journals[at])]].concat();
    let processes = [bench.start_with(&with_journal(0)).await, bench.start_with(&with_journal(1)).await];

    both_are_asked_for_all(&processes, &gate).await;

    assert_eq!(bench.claude.requests().len(), AT_ONCE);
    let recorded = snowflake.rows("SELECT DISTINCT analysis_id FROM analysis_states");
    assert_eq!(recorded.len(), AT_ONCE);
}

/// Analyses that two processes are asked for at once.
const AT_ONCE: usize = 12;

/// A whole answer that begins when the gate opens for it.
fn held(gate: &Arc<Semaphore>) -> Reply {
    [vec![Step::Hold(Arc::clone(gate))], whole()].concat()
}

/// Asks each process for the analysis of every session, all at once, and sees all of them end whole at either.
async fn both_are_asked_for_all(processes: &[Service; 2], gate: &Semaphore) {
    let sessions = join_all((0..AT_ONCE).map(|_| processes[0].upload(Form::frames(3)))).await;

    let asked = sessions.iter().flat_map(|id| processes.iter().map(move |it| it.analyze(id)));
    let analyses = join_all(asked).await;
    // None has ended before all were asked for.
    gate.add_permits(AT_ONCE);

    for (id, asked) in sessions.iter().zip(analyses.chunks(2)) {
        assert_eq!(asked[0], asked[1]);
        for process in processes {
            complete(process, id).await;
        }
    }
}
