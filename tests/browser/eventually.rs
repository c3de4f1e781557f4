//! Waiting for what happens on the page.

use super::waiting::within;
use std::time::Duration;

/// How long it may take at most, on a machine that does much else. Only what never happens takes so long.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks. A browser that is asked without a pause gets nothing else done.
const PAUSE: Duration = Duration::from_millis(50);

/// What `look` finds once it finds something; fails when it never does.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, PAUSE, what, look).await
}
