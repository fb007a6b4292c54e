//! The clock of the store in memory: Unix milliseconds that never step back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use roost_core::time::Timestamp;

/// The source of a store's time, which never steps back.
pub(super) enum StoreClock {
    /// The clock of this machine.
    System(SystemClock),
    /// The clock of a test.
    Injected(Box<dyn Fn() -> Timestamp + Send + Sync>),
}

impl StoreClock {
    pub(super) fn now(&self) -> Timestamp {
        match self {
            Self::System(clock) => clock.now(),
            Self::Injected(now) => now(),
        }
    }

    /// Catches up with the machine's clock if that was set forward.
    pub(super) fn correct(&self) {
        if let Self::System(clock) = self {
            clock.correct();
        }
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

    #[test]
    fn a_wall_clock_that_steps_forward_is_followed() {
        let clock = SystemClock::new();
        let before = clock.now();
        clock.start_unix_ms.fetch_sub(3_600_000, Ordering::Relaxed);
        clock.correct();
        assert!(clock.now() >= before);
    }
}
