//! Repairs gaps: replays missed events from the feeds, compares every user's position with their feed at intervals, and
//! leaves the bus for users without connections.
//!
//! The bus may lose events; the feed does not. Everything here asks the store and may wait for it.

use std::sync::Arc;
use std::time::Duration;

use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::limits::{CALL_ITEMS_MAX, FOLLOWED_TTL_MS};
use roost_core::port::{Bus, Feeds, Replay, StoreError};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::registry::{ConnectionRegistry, RepairRequest};
use super::user_feed::UserFeed;
use crate::ops::metrics;
use crate::ops::supervisor::propagate_panic;

/// How many gaps are filled at the same time.
const REPAIRS_MAX: usize = 64;
/// An event that has not arrived this long after it was in the feed is missing.
const DELIVERY_TIMEOUT: Duration = Duration::from_millis(500);
/// How often it is renewed that the events of connected users are kept, also of those whose clients send no heartbeats.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(FOLLOWED_TTL_MS / 4);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The requests of the hub. They outlive a run of the task that panics.
pub(super) type SharedRequests = Arc<Mutex<mpsc::UnboundedReceiver<RepairRequest>>>;

/// Does the work of the hub that needs the store, until its task is aborted.
pub(super) struct GapRepair<S> {
    store: Arc<S>,
    registry: Arc<ConnectionRegistry>,
    /// Bounds how many feeds are read at once.
    permits: Arc<Semaphore>,
}

impl<S> Clone for GapRepair<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), registry: self.registry.clone(), permits: self.permits.clone() }
    }
}

impl<S: Bus + Feeds + 'static> GapRepair<S> {
    pub(super) fn new(store: Arc<S>, registry: Arc<ConnectionRegistry>) -> Self {
        Self { store, registry, permits: Arc::new(Semaphore::new(REPAIRS_MAX)) }
    }

    /// Handles requests, and compares all positions at every interval, until it is dropped.
    pub(super) async fn run(self, requests: SharedRequests, check_interval: Duration) {
        let mut requests = requests.lock().await;
        self.request_unfinished();
        let mut tasks = JoinSet::new();
        let mut checks = interval_at(Instant::now() + check_interval, check_interval);
        let mut follow_at = Instant::now() + FOLLOW_INTERVAL;
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let task = self.clone();
            tokio::select! {
                Some(request) = requests.recv() => drop(tasks.spawn(async move { task.handle(request).await })),
                now = checks.tick() => {
                    let is_due = now >= follow_at;
                    if is_due {
                        follow_at = now + FOLLOW_INTERVAL;
                    }
                    drop(tasks.spawn(async move { task.check_all(is_due).await }));
                }
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => propagate_panic(ended),
            }
        }
    }

    /// Requests again what an earlier run of this task left unfinished when it panicked. Before the first connection
    /// there is nothing to request.
    fn request_unfinished(&self) {
        let feeds = self.registry.feeds();
        for feed in &feeds {
            feed.forget_repair_request();
            if self.registry.registrations(feed) == Some(0) {
                self.registry.request(RepairRequest::LeaveBus(feed.clone()));
            }
        }
        if !feeds.is_empty() {
            self.registry.request(RepairRequest::Recheck(feeds));
        }
    }

    async fn handle(&self, request: RepairRequest) {
        match request {
            RepairRequest::FillGap(feed) => self.fill_gap(&feed).await,
            RepairRequest::LeaveBus(feed) => self.leave_bus(&feed).await,
            RepairRequest::Recheck(feeds) => self.recheck(&feeds).await,
        }
    }

    /// Replays from the user's position until nothing is missing.
    async fn fill_gap(&self, feed: &Arc<UserFeed>) {
        let Ok(_permit) = self.permits.acquire().await else { return };
        metrics::HOLES.inc();
        let mut backoff = BACKOFF_MIN;
        // Also while there is no connection: one that registers before the bus is left relies on this.
        while self.registry.registrations(feed).is_some() {
            match self.replay_once(feed).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(user = %feed.user, %error, "a feed could not be read; trying again");
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    async fn replay_once(&self, feed: &UserFeed) -> Result<bool, StoreError> {
        let Some(position) = feed.begin_replay() else { return Ok(true) };
        if let Replay::Events(events) = self.store.replay(feed.user, &position).await?
            && let Some(done) = feed.apply_replay(events)
        {
            return Ok(done);
        }
        // The position is read before the resync: events in between are delivered live.
        let position = self.position(feed.user).await?;
        Ok(feed.resync(position))
    }

    /// The position from which the clients go on; the events after it are kept.
    async fn position(&self, user: UserId) -> Result<Position, StoreError> {
        let positions = self.store.follow(&[user]).await?;
        positions.into_iter().next().ok_or(StoreError::Unavailable { retry_after_ms: 1_000 })
    }

    /// After an interruption of the bus: users who missed nothing resume; the gaps of the others are filled.
    async fn recheck(&self, interrupted: &[Arc<UserFeed>]) {
        for feeds in interrupted.chunks(CALL_ITEMS_MAX) {
            let mut backoff = BACKOFF_MIN;
            let positions = loop {
                match self.positions(feeds).await {
                    Ok(positions) => break positions,
                    Err(error) => tracing::warn!(%error, "the feeds could not be checked; trying again"),
                }
                sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            };
            for (feed, position) in feeds.iter().zip(&positions) {
                if feed.resume_or_need_repair(position) {
                    self.registry.request(RepairRequest::FillGap(feed.clone()));
                }
            }
        }
    }

    /// A user who stays behind their feed for longer than a delivery takes has a gap. If `follow` is set, the events of
    /// all these users are kept for longer.
    async fn check_all(&self, follow: bool) {
        for feeds in self.registry.feeds().chunks(CALL_ITEMS_MAX) {
            let positions = if follow { self.follow(feeds).await } else { self.positions(feeds).await };
            let Ok(positions) = positions else { return };
            let behind: Vec<_> =
                feeds.iter().zip(positions).filter(|(feed, position)| feed.is_behind(position)).collect();
            if behind.is_empty() {
                continue;
            }
            sleep(DELIVERY_TIMEOUT).await;
            for (feed, position) in behind {
                if feed.pause_if_behind(&position) {
                    self.registry.request(RepairRequest::FillGap(feed.clone()));
                }
            }
        }
        // A user whom no server of the bus has taken over is served from the feed, late.
        let mut suspended = self.registry.feeds();
        suspended.retain(|feed| feed.remains_suspended());
        self.recheck(&suspended).await;
    }

    async fn follow(&self, feeds: &[Arc<UserFeed>]) -> Result<Vec<Position>, StoreError> {
        let users: Vec<UserId> = feeds.iter().map(|feed| feed.user).collect();
        self.store.follow(&users).await
    }

    async fn positions(&self, feeds: &[Arc<UserFeed>]) -> Result<Vec<Position>, StoreError> {
        let users: Vec<UserId> = feeds.iter().map(|feed| feed.user).collect();
        self.store.positions(&users).await
    }

    /// Leaves the bus, unless a connection was registered meanwhile. A connection that wants to join waits for this.
    async fn leave_bus(&self, feed: &Arc<UserFeed>) {
        let mut joined = feed.bus_joined.lock().await;
        if self.registry.registrations(feed) != Some(0) {
            return;
        }
        self.store.leave(feed.user).await;
        *joined = false;
        self.registry.remove_if_unused(feed);
    }
}
