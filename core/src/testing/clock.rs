//! Time that only a test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::task::yield_now;
use crate::port::Clock;
use crate::time::Timestamp;

/// A clock that stands still. Clones share the moment.
///
/// `wait` moves the moment forward by the span and lets other tasks run once, so that a single task never hangs.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Where a new clock stands: 2026-01-01T00:00:00Z.
    pub const START: Timestamp = Timestamp(1_767_225_600_000);

    /// A clock at [`ManualClock::START`].
    pub fn new() -> Self {
        Self::at(Self::START)
    }

    /// A clock at this moment.
    pub fn at(moment: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(moment.0)))
    }

    /// Moves forward.
    pub fn advance(&self, span_ms: u64) {
        self.0.fetch_add(span_ms, Ordering::SeqCst);
    }

    /// Moves anywhere, also back.
    pub fn set(&self, moment: Timestamp) {
        self.0.store(moment.0, Ordering::SeqCst);
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
    fn waiting_moves_time_forward() {
        let clock = ManualClock::new();
        block_on(clock.wait(20));
        block_on(clock.wait(5_000));
        assert_eq!(clock.now(), ManualClock::START.plus(1_020));
    }
}
