//! How many calls of one function run at once, and how many may wait: beyond that the answer is `Busy`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::call::CallError;

/// What a caller who was turned away is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The bounded entry of one function.
#[derive(Debug)]
pub(super) struct Gate {
    running: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
    wait_max: Duration,
}

impl Gate {
    pub(super) fn new(running_max: usize, waiting_max: usize, wait_max: Duration) -> Self {
        Self {
            running: Semaphore::new(running_max.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            waiting_max,
            wait_max,
        }
    }

    /// Lets one call in if it need not wait.
    pub(super) fn try_enter(&self) -> Option<SemaphorePermit<'_>> {
        self.running.try_acquire().ok()
    }

    /// Lets one call in, at once or after a bounded wait.
    pub(super) async fn enter(&self) -> Result<SemaphorePermit<'_>, CallError> {
        if let Some(permit) = self.try_enter() {
            return Ok(permit);
        }
        let _waiting = Waiting::new(self).ok_or(BUSY)?;
        match tokio::time::timeout(self.wait_max, self.running.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(BUSY),
        }
    }
}

/// The answer of a full function.
pub(super) const BUSY: CallError = CallError::Busy { retry_after: RETRY_AFTER };

struct Waiting<'a>(&'a Gate);

impl<'a> Waiting<'a> {
    fn new(gate: &'a Gate) -> Option<Self> {
        let before = gate.waiting.fetch_add(1, Ordering::AcqRel);
        let waiting = Self(gate);
        (before < gate.waiting_max).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    const LONG: Duration = Duration::from_secs(3_600);

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn a_full_function_lets_few_wait_and_turns_the_rest_away() {
        let gate = Gate::new(1, 1, LONG);
        let inside = gate.enter().await.unwrap();
        let mut second = pin!(gate.enter());
        assert!(poll(second.as_mut()).is_pending());
        assert_eq!(gate.enter().await.unwrap_err(), BUSY);
        drop(inside);
        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn a_caller_who_gives_up_leaves_the_queue() {
        let gate = Gate::new(1, 1, LONG);
        let _inside = gate.enter().await.unwrap();
        {
            let mut gives_up = pin!(gate.enter());
            assert!(poll(gives_up.as_mut()).is_pending());
        }
        let mut next = pin!(gate.enter());
        assert!(poll(next.as_mut()).is_pending(), "the place is free again");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_has_an_end() {
        let gate = Gate::new(1, 1, Duration::from_millis(50));
        let _inside = gate.enter().await.unwrap();
        assert_eq!(gate.enter().await.unwrap_err(), BUSY);
    }
}
