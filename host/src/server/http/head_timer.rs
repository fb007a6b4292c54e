//! The timer for the head of a connection's next request. One timer of the runtime serves the whole life of a
//! connection: to set and remove one for each request would take a lock of the runtime twice.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time;

/// The timer of one connection. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadTimer(Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>);

/// Sleeps until a point in time. The shared timer may fire earlier, and is then set anew.
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
            // A timer that is set for later than this is left over from an earlier sleep.
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
    async fn each_sleep_ends_at_its_own_time() {
        let timer = HeadTimer::default();
        let began = time::Instant::now();
        let first = timer.sleep(SPAN);
        assert!(time::timeout(SPAN / 2, first).await.is_err(), "the sleep was dropped half-way");
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
