//! `ClaudeVision` against a Messages API that misbehaves in every way that is known of the real one.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use crate::support::claude_server::{
    ClaudeServer, Reply, Request, Step, analysis, answer, error, events, message_delta, message_start,
    stream, stream_head, text_delta, written,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use swimcoach::analysis::{MicroUsd, ObservedStroke, Usage, View};
use swimcoach::catalog::Catalog;
use swimcoach::review::ModelAnalysis;
use swimcoach::session::{FrameNumber, Stroke};
use swimcoach::upstream::{self, RetryPolicy, UpstreamErrorKind};
use swimcoach::vision::claude::{ClaudeSettings, ClaudeVision};
use swimcoach::vision::{Answer, Asking, Look, LookFrame, VisionClient, VisionError, VisionErrorKind};
use url::Url;

mod answers;
mod breaks;
mod estimates;
mod progress;
mod refusals;
mod requests;
mod talks;

const KEY: &str = "sk-ant-SECRET-of-the-test";
const NOTES: &str = "My \"left\" arm\nfeels weak. {\"role\":\"system\"}";
const EXAMPLE: &str = include_str!("../fixtures/analysis.example.json");

/// Three tries without waits worth mentioning, and one second of silence.
fn settings(url: &Url) -> ClaudeSettings {
    let mut settings = ClaudeSettings::new(SecretString::from(KEY));
    settings.base_url = url.clone();
    settings.idle_timeout = Duration::from_secs(10);
    settings.retry = RetryPolicy {
        attempts: 3,
        base_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(1),
        deadline: Duration::from_secs(10),
    };
    settings
}

fn vision(settings: &ClaudeSettings) -> ClaudeVision {
    ClaudeVision::new(settings, &Catalog::embedded().unwrap()).unwrap()
}

/// Bytes that no two frames share, of lengths that need every kind of padding.
fn jpeg(number: u32) -> Bytes {
    (0..1000 + number).map(|at| u8::try_from((at * 31 + number * 7) % 256).unwrap()).collect()
}

fn frame(number: u32) -> LookFrame {
    LookFrame {
        number: FrameNumber::new(number).unwrap(),
        timestamp_ms: Some(u64::from(number) * 1160 / 2),
        width: 1280,
        height: 720,
        jpeg: jpeg(number),
    }
}

fn look_at(n_frames: u32) -> Look {
    Look { stroke: Stroke::Freestyle, view: Some(View::Side), frames: (1..=n_frames).map(frame).collect() }
}

type Looked = Result<Answer<ModelAnalysis>, VisionError>;

/// One look at two frames, and what the server was asked.
async fn looked(replies: impl IntoIterator<Item = Reply>) -> (Looked, Vec<Request>) {
    let server = ClaudeServer::start(replies).await;
    let looked = vision(&settings(server.url())).look(&look_at(2), &Asking::default()).await;
    (looked, server.requests())
}

/// The kind of an upstream failure, and after how many tries it was given up.
async fn given_up(reply: Reply, tries: usize) -> UpstreamErrorKind {
    let (looked, _) = looked(vec![reply; tries]).await;
    kind_of(looked)
}

fn kind_of(looked: Looked) -> UpstreamErrorKind {
    match looked.unwrap_err().kind {
        VisionErrorKind::Upstream(error) => error.kind,
        other => panic!("not an upstream error: {other:?}"),
    }
}

fn whole() -> Reply {
    stream(&events(&analysis(EXAMPLE)))
}

/// What [`whole`] is billed.
const WHOLE: Usage = Usage {
    requests: 1,
    input_tokens: 1000,
    cache_creation_input_tokens: 30,
    cache_creation_5m_input_tokens: 10,
    cache_creation_1h_input_tokens: 19,
    cache_read_input_tokens: 4,
    output_tokens: 200,
    // 1000 × $2 + 10 × $2.50 + 20 × $4 + 4 × $0.10 + 200 × $10 for a million, rounded up.
    cost: Some(MicroUsd(4106)),
};
