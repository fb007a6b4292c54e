//! Admits refreshes: pushes of the current state to clients for whom the host may have missed events.
//!
//! After an interruption of the bus thousands of them are due at once. They begin one after the other at a steady rate,
//! and only a few run at the same time, so that the functions have room for what clients ask of them.
//!
//! A permit is taken when a refresh begins, and nobody queues for one: a session that waits for its client to read
//! would keep the permit that it is given meanwhile, and the clients of others would wait.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::config::Config;

/// The pause between the beginnings of two refreshes: 500 begin in a second.
const PAUSE: Duration = Duration::from_millis(2);
/// A refresh that finds too many others running is tried again after this time, or later if others wait.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// The most refreshes at the same time, however many calls a function takes.
const CONCURRENCY_MAX: usize = 16;
/// Refreshes take at most this part of the calls that a function takes at the same time.
const PART_OF_CALLS: usize = 4;

/// Held while a refresh runs.
#[derive(Debug)]
pub(crate) struct RefreshPermit {
    _permit: OwnedSemaphorePermit,
}

/// Admits the refreshes of this host. Clones share the gate.
#[derive(Clone, Debug)]
pub(crate) struct RefreshGate {
    permits: Arc<Semaphore>,
    /// When the next refresh may begin.
    next: Arc<Mutex<Instant>>,
}

impl RefreshGate {
    /// A gate that admits so many refreshes at the same time.
    pub(crate) fn new(concurrency_max: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(concurrency_max)), next: Arc::new(Mutex::new(Instant::now())) }
    }

    /// A gate that leaves most calls of every function to clients.
    pub(crate) fn for_functions(config: &Config) -> Self {
        let configured = config.functions.values().map(|function| function.concurrency_max);
        let calls_max = configured.fold(config.function_defaults.concurrency_max, usize::min);
        Self::new((calls_max / PART_OF_CALLS).clamp(1, CONCURRENCY_MAX))
    }

    /// The time at which a refresh may begin. It is given to no other refresh, whatever becomes of this one.
    pub(crate) fn reserve(&self) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = (*next).max(Instant::now());
        *next = begin + PAUSE;
        begin
    }

    /// Another time for a refresh that found too many others running.
    pub(crate) fn reserve_again(&self) -> Instant {
        self.reserve().max(Instant::now() + RETRY_PAUSE)
    }

    /// The permit of a refresh that begins now; `None` if too many others run.
    pub(crate) fn try_begin(&self) -> Option<RefreshPermit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(RefreshPermit { _permit: permit })
    }
}

/// Waits until a refresh may begin; for ever, if none is due.
pub(crate) async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[tokio::test(start_paused = true)]
    async fn refreshes_begin_one_after_the_other() {
        let gate = RefreshGate::new(1_000);
        let start = Instant::now();
        let times: Vec<Instant> = (0..500).map(|_| gate.reserve()).collect();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == PAUSE));
        assert_eq!((times[0], times[499]), (start, start + 499 * PAUSE));
        tokio::time::advance(1_000 * PAUSE).await;
        assert_eq!(gate.reserve(), Instant::now(), "times that nobody took are not saved up");
        assert_eq!(gate.reserve(), Instant::now() + PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bounded_number_runs_at_the_same_time_and_the_others_come_back() {
        let gate = RefreshGate::new(2);
        let (first, second) = (gate.try_begin(), gate.try_begin());
        assert!(first.is_some() && second.is_some() && gate.try_begin().is_none());
        assert_eq!(gate.reserve_again(), Instant::now() + RETRY_PAUSE);
        drop(first);
        assert!(gate.try_begin().is_some());
        let waiting = (0..1_000).map(|_| gate.reserve()).max().unwrap();
        assert_eq!(gate.reserve_again(), waiting + PAUSE, "those who wait already come first");
    }

    #[test]
    fn most_calls_of_every_function_are_left_to_clients() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _context = runtime.enter();
        for (concurrency_max, expected) in [("64", 16), ("8", 2), ("1", 1), ("1024", 16)] {
            let defaults = vec![("function.typing.concurrency_max", concurrency_max.to_owned())];
            let config = Sources { defaults, ..Sources::default() }.load().unwrap();
            assert_eq!(RefreshGate::for_functions(&config).permits.available_permits(), expected, "{concurrency_max}");
        }
    }
}
