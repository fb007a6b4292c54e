//! Waiting for an outcome, with a deadline: the opposite of sleeping and hoping.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often an outcome is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until there is an answer; `Err` says what was seen instead when the time was over.
///
/// # Errors
/// What the last look said.
pub async fn look<T, E>(within: Duration, mut look: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + within;
    loop {
        match look().await {
            Err(_) if Instant::now() < deadline => sleep(LOOK_EVERY).await,
            answer => return answer,
        }
    }
}

/// Waits until something holds.
///
/// # Panics
/// When it does not within this time.
pub async fn until(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let seen = look(within, async || if holds().await { Ok(()) } else { Err(()) }).await;
    assert!(seen.is_ok(), "after {within:?} still not: {what}");
}
