//! The whole flow over real HTTP, on whatever the environment's settings point at: memory, a file,
//! stand-ins, or accounts. Costs one analysis.
//!
//! ```sh
//! cargo test --features live --test live
//! ```

#![expect(clippy::unwrap_used, reason = "clippy allows it in test functions but not in what they call")]

mod conversation;
mod service;

#[expect(dead_code, reason = "most of its pictures are bad ones, for other tests")]
#[path = "../it/support/pictures.rs"]
mod pictures;

use self::service::Service;
use bytes::Bytes;
use chrono::Utc;
use reqwest::StatusCode;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use swimcoach::config::{RecordSettings, Settings, StorageSettings};
use swimcoach::session::{FrameNumber, SessionId};
use swimcoach::storage::{FrameMetadata, FramePath};

/// Frames of the session: few enough to be cheap, enough for a stroke cycle.
const N_FRAMES: u32 = 15;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swimmer_uploads_asks_reads_and_deletes_and_a_restart_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Arc::new(settings(folder.path()));
    let sent: Vec<Bytes> = (1..=N_FRAMES).map(|it| pictures::jpeg(640, 360, it).into()).collect();
    let orphan = SessionId::new();
    let mut service = Service::start(&settings).await;

    let id = service.upload(&sent).await;
    frames_are_in_storage(&service, id, &sent).await;
    let estimate = service.estimate(id).await;
    let analyzed = service.analyze(id).await;
    the_estimate_was_enough_and_not_far_off(&estimate, &analyzed["usage"]);
    only_sent_frames_are_named(&analyzed, service.coach.model());
    a_sweep_would_remove_orphans_only(&service, orphan, id).await;

    let is_kept = !matches!(settings.records, RecordSettings::InMemory);
    if is_kept {
        service.stop().await;
        service = Service::start(&settings).await;
        assert_eq!(service.session(id).await, analyzed);
    }
    assert!(service.lists(id).await);

    let deleted = service.delete(id).await;
    // What is kept in memory is lost with the process that held it.
    let are_frames_lost = is_kept && matches!(settings.storage, StorageSettings::Mock);
    assert_eq!(deleted["frames_deleted"], if are_frames_lost { 0 } else { N_FRAMES });
    assert_eq!(service.get(id).await.status(), StatusCode::NOT_FOUND);
    assert!(!service.lists(id).await);
    assert!(service.storage.list_frames(id).await.unwrap().is_empty());
    service.stop().await;
}

/// What the environment says, but with a journal in this folder, and on a port that nobody else reaches.
fn settings(folder: &Path) -> Settings {
    let mut settings = Settings::load(&|name| std::env::var(name).ok())
        .unwrap_or_else(|error| panic!("set the services to run on, see .env.template; {error}"));
    settings.journal.path = Some(folder.join("journal.db"));
    settings.server.host = Ipv4Addr::LOCALHOST.into();
    settings.server.port = 0;
    settings.server.public_url = None;
    settings
}

/// Each frame is there byte for byte, and whoever holds a presigned URL gets it without more.
async fn frames_are_in_storage(service: &Service, id: SessionId, sent: &[Bytes]) {
    let storage = &service.storage;
    let stored = storage.list_frames(id).await.unwrap();
    assert_eq!(stored.len(), sent.len());
    for (frame, jpeg) in stored.iter().zip(sent) {
        assert_eq!(frame.size_bytes, jpeg.len() as u64, "{}", frame.path);
        let url = storage.presigned_get(&frame.path, Duration::from_mins(1)).await.unwrap();
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", frame.path);
        assert_eq!(answer.headers()["content-type"], "image/jpeg", "{}", frame.path);
        assert!(answer.bytes().await.unwrap() == *jpeg, "{}", frame.path);
    }
}

/// Whatever was found, and by whichever model, every frame it cites is one of the session.
fn only_sent_frames_are_named(session: &Value, model: &str) {
    assert_eq!(session["status"], "complete", "{} {}", session["error_code"], session["error"]);
    let analysis = &session["analysis"];
    assert_eq!(analysis["provenance"]["model"], model);
    assert_eq!(analysis["capture"]["frames_sent"], N_FRAMES);
    let asked = session["usage"]["requests"].as_u64().unwrap();
    assert_eq!(asked == 0, model == "mock", "{asked} requests to {model}");
    for finding in analysis["findings"].as_array().unwrap() {
        let evidence = finding["evidence"].as_array().unwrap();
        assert!(!evidence.is_empty() || finding["kind"] == "strength", "{finding}");
        assert!(evidence.iter().all(|it| is_sent(&it["frame"])), "{finding}");
    }
    for cited in ["elements", "metrics", "warnings"] {
        for item in analysis[cited].as_array().unwrap() {
            assert!(item["frames"].as_array().unwrap().iter().all(is_sent), "{item}");
        }
    }
}

/// What was estimated is at least what was read and paid, and of what was read not half as much again. Without a
/// model both are nothing. Tries that broke off were read and paid on top, so they are left out of this.
fn the_estimate_was_enough_and_not_far_off(estimate: &Value, usage: &Value) {
    if usage["requests"] != estimate["requests"] {
        return;
    }
    let figure = |of: &Value, name: &str| of[name].as_u64().unwrap();
    let kinds = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
    let read: u64 = kinds.iter().map(|it| figure(usage, it)).sum();
    let estimated = figure(estimate, "input_tokens");
    assert!(read <= estimated, "{read} tokens were read and {estimated} estimated");
    assert!(estimated <= read + read / 2, "{read} tokens were read and {estimated} estimated");
    assert!(figure(usage, "output_tokens") <= figure(estimate, "output_tokens"));
    assert!(usage["cost_usd"].as_f64() <= estimate["cost_usd_max"].as_f64());
}

fn is_sent(frame: &Value) -> bool {
    frame.as_u64().is_some_and(|it| (1..=u64::from(N_FRAMES)).contains(&it))
}

/// A sweep finds the frames that no record knows, and those only, and removes nothing.
async fn a_sweep_would_remove_orphans_only(service: &Service, orphan: SessionId, id: SessionId) {
    let storage = &service.storage;
    let path = FramePath::new(orphan, FrameNumber::FIRST);
    let jpeg = pictures::jpeg(320, 240, 99);
    let metadata = FrameMetadata { width: 320, height: 240 };
    storage.upload_frame(&path, jpeg.into(), &metadata).await.unwrap();

    let found = service.coach.find_orphans(Utc::now()).await.unwrap().sessions;

    let left = storage.delete_frames(orphan).await.unwrap();
    assert_eq!(left.frames, 1);
    assert!(found.contains(&orphan));
    assert!(!found.contains(&id));
}
