//! The connection registry: every user with a connection to this host. The bus delivers events through it.
//!
//! No call blocks or asks the store, because the bus calls while it holds its own locks. What needs the store is
//! requested from the gap repair.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_core::ids::UserId;
use roost_core::port::{Delivery, Subscriber};
use tokio::sync::mpsc;

use super::disconnect::{DISCONNECT, DisconnectReason};
use super::user_feed::UserFeed;
use crate::server::problem::{ApiError, ErrorCode};

const SHARDS: usize = 64;

/// Work that needs the store, requested from the gap repair.
#[derive(Debug)]
pub(super) enum RepairRequest {
    /// Fill a gap in the user's events.
    FillGap(Arc<UserFeed>),
    /// Leave the bus: the user's last connection is gone.
    LeaveBus(Arc<UserFeed>),
    /// Compare these users with their feeds: the bus was interrupted for them.
    Recheck(Vec<Arc<UserFeed>>),
}

/// How many connections the host accepts.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    pub(super) total: usize,
    pub(super) per_user: usize,
}

/// Every user with a registered connection.
#[derive(Debug)]
pub(super) struct ConnectionRegistry {
    shards: Vec<Mutex<HashMap<UserId, RegisteredUser>>>,
    connections: AtomicUsize,
    limits: ConnectionLimits,
    /// Bounded by the number of users: each has at most one request of each kind in the channel.
    requests: mpsc::UnboundedSender<RepairRequest>,
}

#[derive(Debug)]
struct RegisteredUser {
    feed: Arc<UserFeed>,
    /// Open connections, and those that are about to open.
    registrations: usize,
}

impl ConnectionRegistry {
    pub(super) fn new(limits: ConnectionLimits, requests: mpsc::UnboundedSender<RepairRequest>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, connections: AtomicUsize::new(0), limits, requests }
    }

    /// Takes a place among all connections, for one of a user who may not be known yet.
    pub(super) fn take_place(&self) -> Result<(), ApiError> {
        if self.connections.fetch_add(1, Ordering::AcqRel) >= self.limits.total {
            self.connections.fetch_sub(1, Ordering::AcqRel);
            let detail = format!("this host has its {} connections already; connect again later", self.limits.total);
            return Err(ApiError::new(ErrorCode::TooManyConnections, detail).after(super::hub::RETRY_AFTER));
        }
        Ok(())
    }

    /// Gives a place back that [`ConnectionRegistry::take_place`] has taken.
    pub(super) fn give_place_back(&self) {
        self.connections.fetch_sub(1, Ordering::AcqRel);
    }

    /// Registers one more connection of a user, if the limits allow it.
    pub(super) fn register(&self, id: UserId) -> Result<Arc<UserFeed>, ApiError> {
        self.take_place()?;
        let mut shard = self.shard(id);
        let new = || RegisteredUser { feed: Arc::new(UserFeed::new(id)), registrations: 0 };
        let user = shard.entry(id).or_insert_with(new);
        if user.registrations >= self.limits.per_user {
            self.give_place_back();
            let allowed = self.limits.per_user;
            let detail = format!("a user may have {allowed} connections to one host; close one first");
            let error = ApiError::new(ErrorCode::TooManyConnectionsOfUser, detail);
            return Err(error.after(super::hub::RETRY_AFTER_OF_USER));
        }
        user.registrations += 1;
        Ok(user.feed.clone())
    }

    /// Removes one registration. After a user's last one, leaving the bus is requested.
    pub(super) fn unregister(&self, feed: &Arc<UserFeed>) {
        self.give_place_back();
        let mut shard = self.shard(feed.user);
        let Some(user) = shard.get_mut(&feed.user) else { return };
        user.registrations = user.registrations.saturating_sub(1);
        if user.registrations == 0 {
            self.request(RepairRequest::LeaveBus(feed.clone()));
        }
    }

    /// The number of a user's registrations; `None` if the bus was left and the user removed.
    pub(super) fn registrations(&self, feed: &Arc<UserFeed>) -> Option<usize> {
        let shard = self.shard(feed.user);
        let user = shard.get(&feed.user).filter(|user| Arc::ptr_eq(&user.feed, feed));
        user.map(|user| user.registrations)
    }

    /// Removes a user, unless a connection was registered meanwhile.
    pub(super) fn remove_if_unused(&self, feed: &Arc<UserFeed>) {
        let mut shard = self.shard(feed.user);
        if shard.get(&feed.user).is_some_and(|user| user.registrations == 0 && Arc::ptr_eq(&user.feed, feed)) {
            shard.remove(&feed.user);
        }
    }

    pub(super) fn request(&self, request: RepairRequest) {
        // Without a receiver the hub is gone, and its connections with it.
        let _ = self.requests.send(request);
    }

    pub(super) fn feeds(&self) -> Vec<Arc<UserFeed>> {
        let each = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values().map(|user| user.feed.clone()).collect::<Vec<_>>()
        });
        each.flatten().collect()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    pub(super) fn feed(&self, id: UserId) -> Option<Arc<UserFeed>> {
        self.shard(id).get(&id).map(|user| user.feed.clone())
    }

    #[allow(clippy::indexing_slicing, reason = "the remainder is below the number of shards, which never changes")]
    fn shard(&self, id: UserId) -> MutexGuard<'_, HashMap<UserId, RegisteredUser>> {
        let bits = id.as_u128();
        let mixed = ((bits ^ (bits >> 64)) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let index = (mixed >> 32) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for ConnectionRegistry {
    fn deliver(&self, user: UserId, delivery: Delivery) {
        let Some(feed) = self.feed(user) else { return };
        if *delivery.name == *DISCONNECT {
            feed.disconnect(&DisconnectReason::of_payload(&delivery.payload));
        } else if feed.deliver(delivery) {
            self.request(RepairRequest::FillGap(feed));
        }
    }

    fn suspended(&self, users: &[UserId]) {
        for feed in users.iter().filter_map(|user| self.feed(*user)) {
            feed.interrupt();
        }
    }

    fn interrupted(&self, users: &[UserId]) {
        let feeds: Vec<Arc<UserFeed>> = users.iter().filter_map(|user| self.feed(*user)).collect();
        tracing::warn!(users = feeds.len(), "the bus was interrupted; the host compares positions with the feeds");
        feeds.iter().for_each(|feed| feed.interrupt());
        if !feeds.is_empty() {
            self.request(RepairRequest::Recheck(feeds));
        }
    }
}
