//! Admits refreshes: pushes of the current state to clients for whom the host may have missed events.
//!
//! After an interruption of the bus thousands of them are due at once. They begin one after the other at a steady rate,
//! and only a few run at the same time, so that the functions have room for what clients ask of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::config::Config;

/// The pause between the beginnings of two refreshes: 500 begin in a second.
const PAUSE: Duration = Duration::from_millis(2);
/// The most refreshes at the same time, however many calls a function takes.
const CONCURRENCY_MAX: usize = 16;
/// Refreshes take at most this part of the calls that a function takes at the same time.
const PART_OF_CALLS: usize = 4;

/// Held while a refresh runs.
#[derive(Debug)]
pub(crate) struct RefreshPermit {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Resolves when a refresh may begin.
pub(crate) type RefreshAdmission = Pin<Box<dyn Future<Output = RefreshPermit> + Send>>;

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

    /// Queues a refresh. If the future is dropped, its time of beginning is not given to another refresh.
    pub(crate) fn admit(&self) -> RefreshAdmission {
        let begin = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = (*next).max(Instant::now());
            *next = begin + PAUSE;
            begin
        };
        let permits = self.permits.clone();
        Box::pin(async move {
            sleep_until(begin).await;
            // The semaphore is never closed.
            RefreshPermit { _permit: permits.acquire_owned().await.ok() }
        })
    }
}

/// Waits for an admission; for ever, if there is none.
pub(crate) async fn admitted(admission: &mut Option<RefreshAdmission>) -> RefreshPermit {
    match admission {
        Some(admission) => admission.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::config::Sources;

    #[tokio::test(start_paused = true)]
    async fn refreshes_begin_one_after_the_other() {
        let gate = RefreshGate::new(1_000);
        let start = Instant::now();
        let admissions: Vec<RefreshAdmission> = (0..500).map(|_| gate.admit()).collect();
        let permits = futures_util::future::join_all(admissions).await;
        assert_eq!(permits.len(), 500);
        assert!(start.elapsed() >= 499 * PAUSE && start.elapsed() < 500 * PAUSE, "{:?}", start.elapsed());
        assert!(gate.admit().now_or_never().is_none(), "the next one waits for its turn");
        tokio::time::sleep(PAUSE).await;
        assert!(gate.admit().now_or_never().is_none(), "a refresh whose client is gone keeps its time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bounded_number_runs_at_the_same_time() {
        let gate = RefreshGate::new(2);
        let (first, second) = (gate.admit().await, gate.admit().await);
        let mut third = gate.admit();
        assert!(tokio::time::timeout(Duration::from_secs(60), &mut third).await.is_err());
        drop(first);
        third.await;
        drop(second);
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
