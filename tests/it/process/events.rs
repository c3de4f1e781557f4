//! The events of an analysis over real connections that break.

use super::Service;
use super::durable::Bench;
use crate::support::claude_server::{Step, analysis, events, stream_head, written};
use crate::support::event_stream::SentEvent;
use crate::support::form::Form;
use reqwest::StatusCode;
use std::sync::Arc;
use tokio::sync::Semaphore;

const LOOK: &str = include_str!("../fixtures/analysis.example.json");

#[tokio::test]
async fn a_stream_that_is_cut_at_every_event_and_resumed_on_any_process_tells_what_an_uncut_one_does() {
    let gate = Arc::new(Semaphore::new(0));
    let mut reply = vec![stream_head()];
    for piece in events(&analysis(LOOK)).chunks(20) {
        reply.extend([Step::Hold(Arc::clone(&gate)), Step::Write(written(piece))]);
    }
    let bench = Bench::answering([reply]).await;
    let processes = [bench.start().await, bench.start().await];
    let id = processes[0].upload(Form::frames(15)).await;
    processes[0].analyze(&id).await;

    let (uncut, cut) = tokio::join!(processes[0].told(&id), told_in_pieces(&processes, &id, &gate));

    assert_eq!(cut, uncut);
    let names: Vec<&str> = cut.iter().map(|it| it.name.as_str()).collect();
    assert_eq!((names.first(), names.last()), (Some(&"queued"), Some(&"done")), "{names:?}");
    assert!(names.contains(&"finding") && names.contains(&"progress"), "{names:?}");
    let (analysis, _) = cut[0].id.split_once(':').unwrap();
    let ids: Vec<String> = (1..=cut.len()).map(|it| format!("{analysis}:{it}")).collect();
    assert_eq!(cut.iter().map(|it| it.id.clone()).collect::<Vec<_>>(), ids);
}

/// Events of a session's analysis, each over a connection of its own to another process than the one before.
async fn told_in_pieces(processes: &[Service], session: &str, gate: &Semaphore) -> Vec<SentEvent> {
    let mut told: Vec<SentEvent> = Vec::new();
    for process in processes.iter().cycle() {
        let mut stream = process.events(session, told.last()).await;
        if stream.status == StatusCode::NO_CONTENT {
            break;
        }
        // The model goes on as events are read, so that most are cut while it writes.
        gate.add_permits(5);
        told.extend(stream.next().await);
    }
    told
}
