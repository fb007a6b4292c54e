//! Waits for an outcome with a deadline, instead of sleeping for a fixed time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long any single outcome may take before a test fails, unless the test names another time. On a busy machine,
/// compiling six functions takes longest.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// The pause between two checks of an outcome.
const CHECK_EVERY: Duration = Duration::from_millis(15);

/// Repeats an attempt until it succeeds or the time is over.
///
/// # Errors
/// The error of the last attempt.
pub async fn retry_until_ok<T, E>(within: Duration, mut attempt: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + within;
    loop {
        match attempt().await {
            Err(_) if Instant::now() < deadline => sleep(CHECK_EVERY).await,
            answer => return answer,
        }
    }
}

/// Waits until a condition holds, at most for [`DEADLINE`]; `what` names the condition.
///
/// # Panics
/// If the condition does not hold in time.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    eventually_within(DEADLINE, what, holds).await;
}

/// Waits until a condition holds, at most for this time; `what` names the condition.
///
/// # Panics
/// If the condition does not hold in time.
pub async fn eventually_within(within: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = retry_until_ok(within, async || if holds().await { Ok(()) } else { Err(()) }).await;
    assert!(held.is_ok(), "not reached within {within:?}: {what}");
}

/// Waits until a condition holds that can be checked without waiting; otherwise as [`eventually`].
///
/// # Panics
/// If the condition does not hold in time.
pub async fn eventually_true(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not reached within {DEADLINE:?}: {what}");
        sleep(CHECK_EVERY).await;
    }
}
