//! Fills holes from the feed, checks every user's position now and then, and leaves the bus for users who are gone.
//!
//! The bus is lossy; the feed is not. Everything here asks the store and may wait for it.

use std::sync::Arc;
use std::time::Duration;

use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::limits::CALL_ITEMS_MAX;
use roost_core::port::{Bus, Feeds, Replay, StoreError};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::registry::{ConnectionRegistry, Work};
use super::user::User;

/// Holes filled at the same time.
const REPAIRS_MAX: usize = 64;
/// An event that is still under way after this is missing.
const PATIENCE: Duration = Duration::from_millis(500);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Does the hub's work that takes the store, until its task is aborted.
pub(super) struct Repair<S> {
    store: Arc<S>,
    board: Arc<ConnectionRegistry>,
    /// Bounds how many feeds are read at once.
    room: Arc<Semaphore>,
}

impl<S> Clone for Repair<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), board: self.board.clone(), room: self.room.clone() }
    }
}

impl<S: Bus + Feeds + 'static> Repair<S> {
    pub(super) fn new(store: Arc<S>, board: Arc<ConnectionRegistry>) -> Self {
        Self { store, board, room: Arc::new(Semaphore::new(REPAIRS_MAX)) }
    }

    /// Works until it is dropped.
    pub(super) async fn run(self, mut work: mpsc::UnboundedReceiver<Work>, check_every: Duration) {
        let mut tasks = JoinSet::new();
        let mut checks = interval_at(Instant::now() + check_every, check_every);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let task = self.clone();
            tokio::select! {
                Some(work) = work.recv() => match work {
                    Work::Repair(user) => drop(tasks.spawn(async move { task.fill(&user).await })),
                    Work::Leave(user) => drop(tasks.spawn(async move { task.leave(&user).await })),
                    Work::RecheckAll => drop(tasks.spawn(async move { task.recheck_all().await })),
                },
                _ = checks.tick() => drop(tasks.spawn(async move { task.check_all().await })),
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            }
        }
    }

    /// Replays from the user's cursor until nothing is missing.
    async fn fill(&self, user: &Arc<User>) {
        let Ok(_room) = self.room.acquire().await else { return };
        metrics::counter!("roost_holes_total").increment(1);
        let mut backoff = BACKOFF_MIN;
        // Not only while there are connections: whoever comes back before the bus is left relies on this.
        while self.board.seats(user).is_some() {
            match self.fill_once(user).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(user = %user.id, %error, "a feed could not be read; trying again");
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    async fn fill_once(&self, user: &User) -> Result<bool, StoreError> {
        let Some(cursor) = user.begin_replay() else { return Ok(true) };
        if let Replay::Events(events) = self.store.replay(user.id, &cursor).await?
            && let Some(done) = user.apply(events)
        {
            return Ok(done);
        }
        // The position first, the resync after it: what happens in between is told live.
        let position = self.position(user.id).await?;
        Ok(user.resync(position))
    }

    async fn position(&self, user: UserId) -> Result<Position, StoreError> {
        let positions = self.store.positions(&[user]).await?;
        positions.into_iter().next().ok_or(StoreError::Unavailable { retry_after_ms: 1_000 })
    }

    /// After an interruption: whoever missed nothing goes on, the others' holes are filled.
    async fn recheck_all(&self) {
        for users in self.board.users().chunks(CALL_ITEMS_MAX) {
            let mut backoff = BACKOFF_MIN;
            let positions = loop {
                match self.positions(users).await {
                    Ok(positions) => break positions,
                    Err(error) => tracing::warn!(%error, "feeds could not be checked; trying again"),
                }
                sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            };
            for (user, position) in users.iter().zip(&positions) {
                if user.settle(position) {
                    self.board.ask(Work::Repair(user.clone()));
                }
            }
        }
    }

    /// Whoever is behind their feed for longer than a delivery takes has a hole.
    async fn check_all(&self) {
        for users in self.board.users().chunks(CALL_ITEMS_MAX) {
            let Ok(positions) = self.positions(users).await else { return };
            let behind = users.iter().zip(positions).filter(|(user, position)| user.lags(position));
            let behind: Vec<_> = behind.collect();
            if behind.is_empty() {
                continue;
            }
            sleep(PATIENCE).await;
            for (user, position) in behind {
                if user.hold_if_lagging(&position) {
                    self.board.ask(Work::Repair(user.clone()));
                }
            }
        }
    }

    async fn positions(&self, users: &[Arc<User>]) -> Result<Vec<Position>, StoreError> {
        let ids: Vec<UserId> = users.iter().map(|user| user.id).collect();
        self.store.positions(&ids).await
    }

    /// Leaves the bus, unless somebody took a seat meanwhile. Whoever wants to join waits for this.
    async fn leave(&self, user: &Arc<User>) {
        let mut joined = user.membership.lock().await;
        if self.board.seats(user) != Some(0) {
            return;
        }
        self.store.leave(user.id).await;
        *joined = false;
        self.board.forget_deserted(user);
    }
}
