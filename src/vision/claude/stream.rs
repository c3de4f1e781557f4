//! Reading a streamed message until it is whole.
//!
//! A stream that ends without `message_stop` is broken, even when the connection closes in order. Events
//! and deltas of unknown kinds are ignored, as the API asks.

use super::error::{self, ErrorBody};
use super::events::Events;
use super::telling::Telling;
use crate::analysis::Usage;
use crate::events::Stage;
use crate::upstream::{Service, UpstreamError, UpstreamErrorKind};
use reqwest::Response;
use serde::Deserialize;
use serde_json::Value;

const WHAT: &str = "POST /v1/messages";
/// The most text of an answer; 128,000 tokens are far below.
const MAX_TEXT_BYTES: usize = 4 << 20;
/// The most bytes of one event, which holds a few words.
const MAX_EVENT_BYTES: usize = 4 << 20;
/// The most bytes of a whole stream, so that endless pings end too.
const MAX_STREAM_BYTES: usize = 64 << 20;

/// A whole message.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// The text blocks, joined. Thinking is left out.
    pub(super) text: String,
    /// Why it ended.
    pub(super) stop_reason: Option<String>,
    /// The reason of a refusal, when one is given.
    pub(super) refusal_category: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: MessageStart,
    },
    ContentBlockStart {
        #[serde(default)]
        content_block: Value,
    },
    ContentBlockDelta {
        delta: Value,
    },
    MessageDelta {
        delta: MessageDelta,
        usage: Option<Value>,
    },
    MessageStop,
    Error(ErrorBody),
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
struct MessageStart {
    usage: Value,
}

#[derive(Debug, Deserialize)]
struct MessageDelta {
    stop_reason: Option<String>,
    #[serde(default)]
    stop_details: Option<StopDetails>,
}

#[derive(Debug, Deserialize)]
struct StopDetails {
    #[serde(default)]
    category: Option<String>,
}

/// Reads a stream to its `message_stop`, and tells of it while it comes.
pub(super) async fn read(
    mut response: Response,
    telling: &mut Telling<'_>,
) -> Result<Message, UpstreamError> {
    let mut received = 0;
    let mut events = Events::default();
    let mut message = Message::default();
    while let Some(chunk) = response.chunk().await.map_err(|it| error::transport(WHAT, it))? {
        received += chunk.len();
        events.push(&chunk);
        while let Some(event) = events.next() {
            // Half an event: what comes after it cannot be trusted either.
            let event =
                serde_json::from_slice(&event).map_err(|_half| broken("an event that is not JSON"))?;
            if take(event, &mut message, telling)? {
                return Ok(message);
            }
        }
        if MAX_STREAM_BYTES < received || MAX_EVENT_BYTES < events.pending() {
            return Err(invalid("the stream does not end"));
        }
    }
    Err(broken("the stream ended before the message did"))
}

/// Adds an event to the message; says whether the message is whole.
fn take(event: Event, message: &mut Message, telling: &mut Telling<'_>) -> Result<bool, UpstreamError> {
    match event {
        Event::MessageStart { message } => {
            telling.usage.requests = 1;
            take_usage(&mut telling.usage, &message.usage);
            telling.used();
        }
        Event::ContentBlockStart { content_block } => {
            if matches!(word(&content_block, "type"), "thinking" | "redacted_thinking") {
                telling.reached(Stage::Thinking);
            }
        }
        Event::ContentBlockDelta { delta } => {
            telling.heard(word(&delta, "thinking").len() + word(&delta, "text").len());
            if word(&delta, "type") == "text_delta" {
                message.text.push_str(word(&delta, "text"));
                if MAX_TEXT_BYTES < message.text.len() {
                    return Err(invalid("the answer does not end"));
                }
                telling.wrote(&message.text);
            }
        }
        Event::MessageDelta { delta, usage: used } => {
            message.stop_reason = delta.stop_reason;
            message.refusal_category = delta.stop_details.and_then(|it| it.category);
            take_usage(&mut telling.usage, &used.unwrap_or_default());
            telling.used();
        }
        Event::MessageStop => return Ok(true),
        Event::Error(body) => return Err(error::in_stream(&body.error)),
        Event::Unknown => {}
    }
    Ok(false)
}

fn word<'a>(of: &'a Value, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Figures are cumulative: the last word on each counts.
fn take_usage(usage: &mut Usage, said: &Value) {
    let fields = [
        ("input_tokens", &mut usage.input_tokens),
        ("cache_creation_input_tokens", &mut usage.cache_creation_input_tokens),
        ("cache_read_input_tokens", &mut usage.cache_read_input_tokens),
        ("output_tokens", &mut usage.output_tokens),
    ];
    take_figures(said, fields);
    if let Some(written) = said.get("cache_creation") {
        let fields = [
            ("ephemeral_5m_input_tokens", &mut usage.cache_creation_5m_input_tokens),
            ("ephemeral_1h_input_tokens", &mut usage.cache_creation_1h_input_tokens),
        ];
        take_figures(written, fields);
    }
}

fn take_figures<const N: usize>(said: &Value, fields: [(&str, &mut u64); N]) {
    for (name, field) in fields {
        if let Some(value) = said.get(name).and_then(Value::as_u64) {
            *field = value;
        }
    }
}

fn broken(why: &'static str) -> UpstreamError {
    UpstreamError::new(Service::Model, WHAT, UpstreamErrorKind::Unavailable, why)
}

fn invalid(why: &'static str) -> UpstreamError {
    UpstreamError::new(Service::Model, WHAT, UpstreamErrorKind::InvalidResponse, why)
}
