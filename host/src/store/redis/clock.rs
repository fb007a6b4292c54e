//! The time of the store, known without asking for it: its difference to this machine's monotonic clock is measured at
//! intervals.
//!
//! The measurement with the shortest round trip is the most exact, so it is the one that counts. The time never steps
//! back and never stands still: when it is ahead of the store's, it runs slower until the store has caught up.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use roost_core::time::Timestamp;

/// The number of measurements that are compared.
const SAMPLES_MAX: usize = 8;
/// The speed of time while it is ahead of the store.
const SLOW_RATE: f64 = 0.5;

/// One measurement of the difference between the store's clock and the time since the start.
#[derive(Clone, Copy, Debug)]
struct ClockSample {
    offset_ms: f64,
    round_trip: Duration,
}

/// How time goes on from a measurement.
#[derive(Clone, Copy, Debug)]
struct ClockCourse {
    /// The time since the start at which this course begins.
    from: Duration,
    /// The store's time at `from`.
    at_ms: f64,
    /// The time since the start until which time runs slower.
    slow_until: Duration,
}

impl ClockCourse {
    fn at(&self, elapsed: Duration) -> f64 {
        let slow = elapsed.min(self.slow_until).saturating_sub(self.from);
        let rest = elapsed.saturating_sub(self.from.max(self.slow_until));
        self.at_ms + ms(slow) * SLOW_RATE + ms(rest)
    }
}

/// The clock of the store.
pub(super) struct RedisClock {
    start: Instant,
    samples: Mutex<VecDeque<ClockSample>>,
    course: ArcSwap<ClockCourse>,
    /// The latest time that was returned.
    newest_ms: AtomicU64,
}

impl RedisClock {
    pub(super) fn new() -> Self {
        let course = ClockCourse { from: Duration::ZERO, at_ms: 0.0, slow_until: Duration::ZERO };
        Self {
            start: Instant::now(),
            samples: Mutex::default(),
            course: ArcSwap::from_pointee(course),
            newest_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        let now_ms = self.course.load().at(self.start.elapsed()) as u64;
        Timestamp(self.newest_ms.fetch_max(now_ms, Ordering::Relaxed).max(now_ms))
    }

    /// Takes a measurement: the store's clock showed `store_us` between the two instants.
    pub(super) fn measured(&self, store_us: u64, asked: Instant, answered: Instant) {
        let round_trip = answered.saturating_duration_since(asked);
        let middle = asked.saturating_duration_since(self.start) + round_trip / 2;
        let sample = ClockSample { offset_ms: store_us as f64 / 1_000.0 - ms(middle), round_trip };
        self.adjust(sample, self.start.elapsed());
    }

    fn adjust(&self, sample: ClockSample, elapsed: Duration) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let is_sudden = samples.back().is_some_and(|last| {
            let uncertain_ms = ms(last.round_trip + sample.round_trip) + 1_000.0;
            (last.offset_ms - sample.offset_ms).abs() > uncertain_ms
        });
        // The store's clock was set, or another server answered: earlier measurements are worthless.
        if is_sudden {
            samples.clear();
        }
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
        let Some(best) = samples.iter().min_by_key(|sample| sample.round_trip) else { return };
        let store_ms = ms(elapsed) + best.offset_ms;
        let ahead_ms = self.course.load().at(elapsed) - store_ms;
        let course = if ahead_ms <= 0.0 {
            ClockCourse { from: elapsed, at_ms: store_ms, slow_until: elapsed }
        } else {
            let slow = Duration::from_secs_f64(ahead_ms / (1.0 - SLOW_RATE) / 1_000.0);
            ClockCourse { from: elapsed, at_ms: store_ms + ahead_ms, slow_until: elapsed + slow }
        };
        self.course.store(std::sync::Arc::new(course));
    }
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(offset_ms: f64, round_trip_ms: u64) -> ClockSample {
        ClockSample { offset_ms, round_trip: Duration::from_millis(round_trip_ms) }
    }

    fn at(time: &RedisClock, second: u64) -> f64 {
        time.course.load().at(Duration::from_secs(second))
    }

    #[test]
    fn the_measurement_with_the_shortest_round_trip_counts() {
        let time = RedisClock::new();
        for (second, (offset_ms, round_trip_ms)) in (1..).zip([(1_040.0, 80), (1_001.0, 2), (1_060.0, 120)]) {
            time.adjust(sample(offset_ms, round_trip_ms), Duration::from_secs(second));
        }
        assert!((at(&time, 1_000) - 1_001_001.0).abs() < 0.001, "{}", at(&time, 1_000));
    }

    #[test]
    fn time_that_is_ahead_runs_slower_and_never_back() {
        let time = RedisClock::new();
        time.adjust(sample(10_000.0, 1), Duration::from_secs(1));
        let ahead = at(&time, 2);
        time.adjust(sample(6_000.0, 1), Duration::from_secs(2));
        assert!((at(&time, 2) - ahead).abs() < 0.001);
        assert!((at(&time, 4) - ahead - 1_000.0).abs() < 0.001, "half as fast");
        assert!((at(&time, 20) - 26_000.0).abs() < 0.001, "in step again: {}", at(&time, 20));
    }

    #[test]
    fn a_store_clock_that_was_set_forward_is_followed_immediately() {
        let time = RedisClock::new();
        time.adjust(sample(0.0, 1), Duration::from_secs(1));
        time.adjust(sample(3_600_000.0, 50), Duration::from_secs(2));
        assert!((at(&time, 3) - 3_603_000.0).abs() < 0.001);
    }
}
