//! The clock of the store in memory: Unix milliseconds that never step back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roost_core::time::Timestamp;

/// The source of a store's time, which never steps back.
pub(super) enum StoreClock {
    /// The clock of this machine.
    System(SystemClock),
    /// The clock of a test.
    Injected(Box<dyn Fn() -> Timestamp + Send + Sync>),
    /// A clock that is moved by whoever holds it.
    Stepped(StepClock),
}

impl StoreClock {
    pub(super) fn now(&self) -> Timestamp {
        match self {
            Self::System(clock) => clock.now(),
            Self::Injected(now) => now(),
            Self::Stepped(clock) => clock.now(),
        }
    }

    /// Returns when this span has passed on the clock.
    pub(super) async fn wait(&self, span: Duration) {
        match self {
            Self::System(_) | Self::Injected(_) => tokio::time::sleep(span).await,
            Self::Stepped(clock) => {
                clock.advance(span);
                tokio::task::yield_now().await;
            }
        }
    }

    /// Catches up with the machine's clock if that was set forward.
    pub(super) fn correct(&self) {
        if let Self::System(clock) = self {
            clock.correct();
        }
    }
}

/// A clock that moves only when it is told to, so that what a function does after thirty days can be tried at once.
/// Clones share the time. A function that waits moves the clock by the time that it waits for.
#[derive(Clone, Debug)]
pub struct StepClock(Arc<AtomicU64>);

impl StepClock {
    /// A clock that shows this time.
    pub fn at(start: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(start.0)))
    }

    /// The time that the clock shows.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Duration) {
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        // A time beyond the range of the clock would step back.
        let later = |now: u64| Some(now.saturating_add(span_ms));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }
}

/// The monotonic clock, set to the wall clock at the start. When the wall clock steps back, this clock does not follow,
/// because leases and deadlines would stop; when the wall clock steps forward, for example after the machine slept,
/// this clock follows at the next correction.
pub(super) struct SystemClock {
    start: Instant,
    start_unix_ms: AtomicU64,
}

impl SystemClock {
    pub(super) fn new() -> Self {
        let clock = Self { start: Instant::now(), start_unix_ms: AtomicU64::new(0) };
        clock.correct();
        clock
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.start_unix_ms.load(Ordering::Relaxed) + self.elapsed_ms())
    }

    fn correct(&self) {
        let elapsed_ms = self.elapsed_ms();
        // A wall clock before 1970 is behind this clock.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start_unix_ms = (unix.as_millis() as u64).saturating_sub(elapsed_ms);
        self.start_unix_ms.fetch_max(start_unix_ms, Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_steps_back_is_not_followed() {
        let clock = SystemClock::new();
        clock.start_unix_ms.fetch_add(3_600_000, Ordering::Relaxed);
        let before = clock.now();
        clock.correct();
        assert!(clock.now() >= before);
    }

    #[tokio::test]
    async fn a_stepped_clock_moves_only_when_it_is_moved_or_waited_for() {
        let held = StepClock::at(Timestamp(1_000));
        let clock = StoreClock::Stepped(held.clone());
        clock.correct();
        assert_eq!(clock.now(), Timestamp(1_000));
        held.advance(Duration::from_secs(3_600));
        clock.wait(Duration::from_millis(20)).await;
        assert_eq!(clock.now(), Timestamp(3_601_020));
        held.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp(u64::MAX), "the clock never steps back");
    }

    #[test]
    fn a_wall_clock_that_steps_forward_is_followed() {
        let clock = SystemClock::new();
        let before = clock.now();
        clock.start_unix_ms.fetch_sub(3_600_000, Ordering::Relaxed);
        clock.correct();
        assert!(clock.now() >= before);
    }
}
