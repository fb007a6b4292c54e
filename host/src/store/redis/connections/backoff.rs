//! How long to wait before the next attempt: longer each time, and never the same for two hosts.

use std::time::Duration;

const MIN: Duration = Duration::from_millis(25);
const MAX: Duration = Duration::from_secs(2);

/// Waits that double, each shortened by up to a half at random.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self(MIN)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(MAX);
        wait.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let mut backoff = Backoff::new();
        let waits: Vec<Duration> = (0..12).map(|_| backoff.next()).collect();
        assert!(waits[0] <= MIN && waits[11] >= MAX / 2 && waits.iter().all(|wait| *wait <= MAX), "{waits:?}");
        assert!(waits[8..].windows(2).any(|pair| pair[0] != pair[1]), "{waits:?}");
    }
}
