//! Waiting for what happens in the background.

use std::time::Duration;

/// How long it may take at most. Only what never happens takes so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks. Under paused time this is what moves the clock.
const PAUSE: Duration = Duration::from_millis(2);

/// What `look` finds once it finds something; fails when it never does.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, PAUSE, what, look).await
}

/// The same with as much patience, and such pauses, as what is waited for needs.
pub(crate) async fn within<T>(
    patience: Duration,
    pause: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(pause).await;
        }
    };
    tokio::time::timeout(patience, found).await.unwrap_or_else(|_elapsed| panic!("never: {what}"))
}
