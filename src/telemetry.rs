//! Logs: where they go and in which shape.
//!
//! No image byte, prompt, chat text, key or presigned URL is ever logged.

use crate::config::LogSettings;
use std::io::{self, IsTerminal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Sends log lines to standard error, as text or as one JSON object a line. Text has colors where it goes to a
/// terminal and `NO_COLOR` is not set. Later calls do nothing.
pub fn start(settings: &LogSettings) {
    // The level was checked when the settings were read.
    let filter: Targets = settings.level.parse().unwrap_or_default();
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
    let lines = if settings.json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    // Fails only when a subscriber is set already, as in a test.
    let _already_started = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}
