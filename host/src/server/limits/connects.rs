//! The admission of clients that connect: a bounded rate, and a bounded number at the same time. A client waits for its
//! turn if that comes soon, and otherwise is told when to come back.
//!
//! The times that refused clients are told are as far apart as the turns, so that those who come back find their turn.
//! No place is kept for them: they may as well come back to another host.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::ConnectsConfig;
use crate::ops::metrics::{self, GaugeGuard};
use crate::server::problem::{ApiError, ErrorCode};

/// No client is told to come back later than after this time. A herd that is larger comes back in several rounds.
const RETURN_MAX: Duration = Duration::from_secs(60);

/// Admits clients that connect.
pub(crate) struct ConnectAdmission {
    schedule: Mutex<ConnectSchedule>,
    places: Semaphore,
    wait_max: Duration,
}

/// When the next client is admitted, and when the next one that is refused should come back.
#[derive(Debug)]
struct ConnectSchedule {
    interval: Duration,
    wait_max: Duration,
    next_turn: Instant,
    next_return: Instant,
}

/// What a client that connects is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectTurn {
    /// The client is admitted at this time.
    At(Instant),
    /// The client is refused, and should come back after this time.
    Later(Duration),
}

impl ConnectSchedule {
    fn new(config: &ConnectsConfig, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / config.per_second_max.max(1);
        Self { interval, wait_max: config.wait_max, next_turn: now, next_return: now }
    }

    fn ask(&mut self, now: Instant) -> ConnectTurn {
        let turn = self.next_turn.max(now);
        if turn <= now + self.wait_max {
            self.next_turn = turn + self.interval;
            return ConnectTurn::At(turn);
        }
        // Whoever comes back earlier finds those who wait already.
        let comes_back = self.next_return.max(turn).min(now + RETURN_MAX);
        self.next_return = comes_back + self.interval;
        ConnectTurn::Later(comes_back - now)
    }
}

impl ConnectAdmission {
    pub(crate) fn new(config: &ConnectsConfig) -> Self {
        Self {
            schedule: Mutex::new(ConnectSchedule::new(config, Instant::now())),
            places: Semaphore::new(config.at_once_max),
            wait_max: config.wait_max,
        }
    }

    /// Waits for the client's turn. Meanwhile it has nothing that others need.
    pub(crate) async fn turn(&self) -> Result<(), ApiError> {
        let turn = self.schedule.lock().unwrap_or_else(PoisonError::into_inner).ask(Instant::now());
        match turn {
            ConnectTurn::At(at) if at <= Instant::now() => Ok(()),
            ConnectTurn::At(at) => {
                let _waiting = GaugeGuard::new(&metrics::CONNECTS_WAITING);
                sleep_until(at).await;
                Ok(())
            }
            ConnectTurn::Later(span) => Err(ApiError::from(ErrorCode::TooManyConnects).after(span)),
        }
    }

    /// A place among the clients that are being connected at the same time.
    pub(crate) async fn place(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        let _waiting = GaugeGuard::new(&metrics::CONNECTS_WAITING);
        match timeout(self.wait_max, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            // Connecting takes longer than it should: nobody gets a place sooner than those who wait.
            _ => Err(ApiError::from(ErrorCode::TooManyConnects).after(self.wait_max)),
        }
    }
}

/// Counts a client that was refused, by its code.
pub(crate) fn counted(error: ApiError) -> ApiError {
    metrics::CONNECTS.of([&error.code]).inc();
    error
}

/// Counts a client that was connected.
pub(crate) fn count_opened() {
    metrics::CONNECTS.of(["opened"]).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(per_second_max: u32, wait_max: Duration) -> ConnectsConfig {
        ConnectsConfig { per_second_max, at_once_max: 1, wait_max, replays_max: 1, replay_bytes_max: 1 }
    }

    fn schedule() -> (ConnectSchedule, Instant) {
        let now = Instant::now();
        (ConnectSchedule::new(&config(10, Duration::from_secs(1)), now), now)
    }

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[tokio::test]
    async fn a_quiet_host_admits_at_once() {
        let (mut schedule, now) = schedule();
        assert_eq!(schedule.ask(now), ConnectTurn::At(now));
        let later = now + ms(5_000);
        assert_eq!(schedule.ask(later), ConnectTurn::At(later), "turns that nobody took are not saved up");
        assert_eq!(schedule.ask(later), ConnectTurn::At(later + ms(100)));
    }

    #[tokio::test]
    async fn nobody_in_a_herd_waits_longer_than_the_herd_divided_by_the_rate() {
        let (mut schedule, began) = schedule();
        const HERD: u64 = 200;
        let mut waiting: Vec<Instant> = vec![began; HERD as usize];
        let mut admitted = Vec::new();
        while !waiting.is_empty() {
            waiting.sort();
            let now = waiting.remove(0);
            match schedule.ask(now) {
                ConnectTurn::At(at) => admitted.push(at),
                ConnectTurn::Later(span) => waiting.push(now + span),
            }
        }
        let longest = *admitted.iter().max().unwrap() - began;
        assert!(longest <= ms(100) * HERD as u32, "{longest:?}");
        admitted.sort();
        assert!(admitted.windows(2).all(|pair| pair[1] - pair[0] >= ms(100)), "the rate is kept");
    }

    #[tokio::test]
    async fn no_return_is_later_than_in_a_minute() {
        let (mut schedule, now) = schedule();
        let mut longest = Duration::ZERO;
        for _ in 0..5_000 {
            if let ConnectTurn::Later(span) = schedule.ask(now) {
                longest = longest.max(span);
            }
        }
        assert_eq!(longest, RETURN_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_without_a_place_is_refused_with_a_time() {
        let admission = ConnectAdmission::new(&config(10, Duration::from_secs(1)));
        let place = admission.place().await.unwrap();
        let error = admission.place().await.unwrap_err();
        assert!(error.is(ErrorCode::TooManyConnects) && error.retry);
        assert_eq!(error.retry_after, Some(Duration::from_secs(1)));
        drop(place);
        assert!(admission.place().await.is_ok());
    }
}
