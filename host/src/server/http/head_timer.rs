//! The timer for the head of a connection's next request: a kept connection may wait long for the first byte, and from
//! then on the head must arrive in time. One timer of the runtime serves the whole life of a connection: to set and
//! remove one for each request would take a lock of the runtime twice.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time;

use super::connection_state::ConnectionState;

/// The timer of one connection. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct HeadTimer {
    sleep: Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>,
    state: Arc<ConnectionState>,
    head_timeout: Duration,
    /// Set with the first head, which must arrive in time from the beginning of the connection.
    used: Arc<AtomicBool>,
}

/// Waits for a head until a point in time, which moves once when the first byte arrives. The shared timer may fire
/// earlier, and is then set anew.
struct HeadSleep {
    until: time::Instant,
    begun: bool,
    timer: HeadTimer,
}

impl HeadTimer {
    pub(super) fn new(head_timeout: Duration, state: Arc<ConnectionState>) -> Self {
        Self { sleep: Arc::default(), state, head_timeout, used: Arc::default() }
    }

    fn head_deadline(&self) -> time::Instant {
        time::Instant::now() + self.head_timeout
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    /// `deadline` is that of an idle connection.
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.state.wait_for_bytes();
        let begun = !self.used.swap(true, Ordering::Relaxed);
        let until = if begun { self.head_deadline() } else { deadline.into() };
        Box::pin(HeadSleep { until, begun, timer: self.clone() })
    }

    fn now(&self) -> Instant {
        time::Instant::now().into()
    }
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.begun && self.timer.state.bytes_arrived() {
            self.begun = true;
            self.until = self.timer.head_deadline();
        }
        let until = self.until;
        let mut timer = self.timer.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        let sleep = timer.get_or_insert_with(|| Box::pin(time::sleep_until(until)));
        loop {
            // A timer that is set for later than this is left over from an earlier sleep.
            if sleep.deadline() > until {
                sleep.as_mut().reset(until);
            }
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
    }
}

impl Sleep for HeadSleep {}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);

    fn timer() -> (HeadTimer, Arc<ConnectionState>) {
        let state = Arc::<ConnectionState>::default();
        (HeadTimer::new(HEAD, state.clone()), state)
    }

    /// The seconds until this sleep ends, if it does within an hour.
    async fn seconds(sleep: Pin<Box<dyn Sleep>>) -> u64 {
        let began = time::Instant::now();
        time::timeout(Duration::from_secs(3_600), sleep).await.unwrap();
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_must_arrive_in_time() {
        let (timer, _) = timer();
        assert_eq!(seconds(timer.sleep(IDLE)).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_may_wait_longer_for_the_next_head() {
        let (timer, _) = timer();
        drop(timer.sleep(IDLE));
        assert_eq!(seconds(timer.sleep(IDLE)).await, 75);
        assert_eq!(seconds(timer.sleep(IDLE)).await, 75, "a timer that fired is set anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_has_begun_must_arrive_in_time() {
        let (timer, state) = timer();
        drop(timer.sleep(IDLE));
        let mut sleep = timer.sleep(IDLE);
        assert!(time::timeout(Duration::from_secs(40), sleep.as_mut()).await.is_err());
        state.note_bytes();
        assert_eq!(seconds(sleep).await, 10);
        assert_eq!(seconds(timer.sleep(IDLE)).await, 75, "the bytes of one head do not belong to the next");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_sleep_does_not_wait_for_a_longer_one_before_it() {
        let (timer, _) = timer();
        drop(timer.sleep(IDLE));
        assert!(time::timeout(HEAD, timer.sleep(IDLE * 10)).await.is_err());
        assert_eq!(seconds(timer.sleep(IDLE)).await, 75);
    }
}
