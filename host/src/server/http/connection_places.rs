//! How many connections a listener serves. Beyond the bound, idle connections are closed to make room, and new ones are
//! refused with a time to come back; beyond a few of those, they are closed at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::ops::metrics::{self, GaugeGuard};

/// How many connections are refused with an answer at the same time.
const REFUSED_MAX: usize = 64;
/// Idle connections are closed at most this often: to ask every connection takes time.
const SHED_INTERVAL: Duration = Duration::from_secs(1);

/// The places for connections of one listener.
pub(super) struct ConnectionPlaces {
    served: Arc<Semaphore>,
    refused: Arc<Semaphore>,
    /// Tells every connection to close if it is idle.
    pub(super) idle_shed: watch::Sender<()>,
    shed_at: Mutex<Option<Instant>>,
}

/// The place of one connection; given back when it is dropped.
pub(super) struct ConnectionPlace {
    /// Whether the connection is there only to be refused.
    pub(super) refuses: bool,
    _permit: OwnedSemaphorePermit,
    _open: GaugeGuard,
}

impl ConnectionPlaces {
    pub(super) fn new(connections_max: usize) -> Self {
        Self {
            served: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            refused: Arc::new(Semaphore::new(REFUSED_MAX)),
            idle_shed: watch::Sender::new(()),
            shed_at: Mutex::new(None),
        }
    }

    /// A place for a new connection; `None`: it is to be closed at once.
    pub(super) fn take(&self) -> Option<ConnectionPlace> {
        if let Ok(permit) = Arc::clone(&self.served).try_acquire_owned() {
            return Some(ConnectionPlace {
                refuses: false,
                _permit: permit,
                _open: GaugeGuard::new(&metrics::HTTP_CONNECTIONS),
            });
        }
        self.shed_idle();
        metrics::HTTP_CONNECTIONS_CLOSED.of(["refused"]).inc();
        let permit = Arc::clone(&self.refused).try_acquire_owned().ok()?;
        Some(ConnectionPlace { refuses: true, _permit: permit, _open: GaugeGuard::new(&metrics::HTTP_CONNECTIONS) })
    }

    fn shed_idle(&self) {
        let now = Instant::now();
        let mut shed_at = self.shed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if shed_at.is_none_or(|at| now >= at + SHED_INTERVAL) {
            *shed_at = Some(now);
            self.idle_shed.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_beyond_the_bound_are_refused_and_idle_ones_asked_to_close() {
        let places = ConnectionPlaces::new(1);
        let mut asked = places.idle_shed.subscribe();
        let first = places.take().unwrap();
        assert!(!first.refuses && !asked.has_changed().unwrap());
        let refused: Vec<_> = (0..REFUSED_MAX).map(|_| places.take().unwrap()).collect();
        assert!(refused.iter().all(|place| place.refuses) && places.take().is_none());
        assert!(asked.has_changed().unwrap());
        asked.mark_unchanged();
        places.take();
        assert!(!asked.has_changed().unwrap(), "every connection is asked at most once a second");
        tokio::time::advance(SHED_INTERVAL).await;
        places.take();
        assert!(asked.has_changed().unwrap());
        drop(first);
        assert!(places.take().is_some_and(|place| !place.refuses));
    }
}
