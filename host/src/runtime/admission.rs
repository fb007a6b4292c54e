//! Bounds how many calls of one function run at once, and how many may wait for one of them to end. A call beyond both
//! bounds is answered `Busy`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::call::CallError;

/// How long a caller that is refused is asked to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Admits the calls of one function.
#[derive(Debug)]
pub(super) struct CallAdmission {
    running: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
    wait_max: Duration,
}

impl CallAdmission {
    pub(super) fn new(running_max: usize, waiting_max: usize, wait_max: Duration) -> Self {
        Self {
            running: Semaphore::new(running_max.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            waiting_max,
            wait_max,
        }
    }

    /// Admits a call if it does not have to wait.
    pub(super) fn try_admit(&self) -> Option<SemaphorePermit<'_>> {
        self.running.try_acquire().ok()
    }

    /// Admits a call, at once or after a bounded wait.
    pub(super) async fn admit(&self) -> Result<SemaphorePermit<'_>, CallError> {
        if let Some(permit) = self.try_admit() {
            return Ok(permit);
        }
        let _waiting = Waiting::new(self).ok_or(BUSY)?;
        match tokio::time::timeout(self.wait_max, self.running.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(BUSY),
        }
    }
}

/// The answer to a call beyond the bounds.
pub(super) const BUSY: CallError = CallError::Busy { retry_after: RETRY_AFTER };

/// One place among the calls that wait; given back when it is dropped.
struct Waiting<'a>(&'a CallAdmission);

impl<'a> Waiting<'a> {
    fn new(admission: &'a CallAdmission) -> Option<Self> {
        let before = admission.waiting.fetch_add(1, Ordering::AcqRel);
        let waiting = Self(admission);
        (before < admission.waiting_max).then_some(waiting)
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
    async fn calls_beyond_the_queue_are_refused() {
        let admission = CallAdmission::new(1, 1, LONG);
        let inside = admission.admit().await.unwrap();
        let mut second = pin!(admission.admit());
        assert!(poll(second.as_mut()).is_pending());
        assert_eq!(admission.admit().await.unwrap_err(), BUSY);
        drop(inside);
        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn a_cancelled_wait_frees_its_place_in_the_queue() {
        let admission = CallAdmission::new(1, 1, LONG);
        let _inside = admission.admit().await.unwrap();
        {
            let mut cancelled = pin!(admission.admit());
            assert!(poll(cancelled.as_mut()).is_pending());
        }
        let mut next = pin!(admission.admit());
        assert!(poll(next.as_mut()).is_pending(), "the cancelled call still holds its place in the queue");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_busy_when_its_time_is_over() {
        let admission = CallAdmission::new(1, 1, Duration::from_millis(50));
        let _inside = admission.admit().await.unwrap();
        assert_eq!(admission.admit().await.unwrap_err(), BUSY);
    }
}
