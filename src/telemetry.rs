//! Logs: where they go and in which shape.
//!
//! No image byte, prompt, chat text, key or presigned URL is ever logged.

use crate::audit;
use crate::config::LogSettings;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Mutex;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Sends log lines to standard error, as text or as one JSON object a line. Text has colors where it goes to a
/// terminal and `NO_COLOR` is not set. Lines of the audit go to a file of their own where there is one, as JSON. Later
/// calls do nothing.
///
/// # Errors
/// The file cannot be made or written.
pub fn start(settings: &LogSettings) -> io::Result<()> {
    // The level was checked when the settings were read.
    let mut filter: Targets = settings.level.parse().unwrap_or_default();
    let audit = settings.audit.as_deref().map(open).transpose()?;
    let audit = audit.map(|file| {
        let lines = fmt::layer().json().flatten_event(true).with_writer(Mutex::new(file));
        lines.with_filter(Targets::new().with_target(audit::TARGET, Level::INFO))
    });
    if audit.is_some() {
        filter = filter.with_target(audit::TARGET, LevelFilter::OFF);
    }
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
    let lines = if settings.json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    // Fails only when a subscriber is set already, as in a test.
    let _already_started =
        tracing_subscriber::registry().with(lines.with_filter(filter)).with(audit).try_init();
    Ok(())
}

/// Opens a file to append to, for its owner only where it is made.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("AUDIT_LOG={}: {error}", path.display()));
    options.open(path).map_err(named)
}
