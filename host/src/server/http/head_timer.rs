//! How long a connection waits for the head of its next request, with one timer of the runtime for the connection's whole
//! life: setting and removing one for each request takes a lock of the runtime twice.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time;

/// A connection's timer. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadTimer(Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>);

/// Until this moment; the timer that is shared may ring before, and is set anew then.
struct HeadSleep {
    until: time::Instant,
    timer: HeadTimer,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HeadSleep { until: deadline.into(), timer: self.clone() })
    }

    fn now(&self) -> Instant {
        time::Instant::now().into()
    }
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sleep = timer.get_or_insert_with(|| Box::pin(time::sleep_until(self.until)));
        loop {
            // A timer that is set for later than this belongs to nobody any more.
            if sleep.deadline() > self.until {
                sleep.as_mut().reset(self.until);
            }
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= self.until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(self.until);
        }
    }
}

impl Sleep for HeadSleep {}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn each_sleep_ends_at_its_own_moment() {
        let timer = HeadTimer::default();
        let began = time::Instant::now();
        let first = timer.sleep(SPAN);
        assert!(time::timeout(SPAN / 2, first).await.is_err(), "given up half-way");
        timer.sleep(SPAN).await;
        assert_eq!(began.elapsed().as_secs(), 15);
        timer.sleep(SPAN * 10).await;
        assert_eq!(began.elapsed().as_secs(), 115);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_sleep_does_not_wait_for_a_longer_one_before_it() {
        let timer = HeadTimer::default();
        assert!(time::timeout(SPAN, timer.sleep(SPAN * 10)).await.is_err());
        let began = time::Instant::now();
        timer.sleep(SPAN).await;
        assert_eq!(began.elapsed().as_secs(), 10);
    }
}
