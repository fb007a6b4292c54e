//! A clock that only a test advances.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::task::yield_now;
use crate::port::Clock;
use crate::time::Timestamp;

/// A clock that does not advance by itself. Clones share the time.
///
/// `wait` advances the clock by the span and lets other tasks run once, so that a single task never blocks.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// The time of a new clock: 2026-01-01T00:00:00Z.
    pub const START: Timestamp = Timestamp(1_767_225_600_000);

    /// A clock at [`ManualClock::START`].
    pub fn new() -> Self {
        Self::at(Self::START)
    }

    /// A clock at this time.
    pub fn at(start: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(start.0)))
    }

    /// Advances the clock.
    pub fn advance(&self, span_ms: u64) {
        self.0.fetch_add(span_ms, Ordering::SeqCst);
    }

    /// Sets the clock to any time, also an earlier one.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    async fn wait(&self, milliseconds: u32) {
        self.advance(u64::from(milliseconds.min(1_000)));
        yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;

    #[test]
    fn waiting_advances_the_clock_by_at_most_a_second() {
        let clock = ManualClock::new();
        block_on(clock.wait(20));
        block_on(clock.wait(5_000));
        assert_eq!(clock.now(), ManualClock::START.plus(1_020));
    }
}
