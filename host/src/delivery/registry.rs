//! Who is connected here: every user's connections, and the bus's way to them.
//!
//! Calls never block and never ask the store: the bus makes them while it holds its locks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_core::ids::UserId;
use roost_core::port::{Delivery, Subscriber};
use tokio::sync::mpsc;

use super::user::User;
use crate::server::problem::{ApiError, Code};

const SHARDS: usize = 64;

/// What the board cannot do itself, because it takes the store.
#[derive(Debug)]
pub(super) enum Work {
    /// A hole must be filled.
    Repair(Arc<User>),
    /// The last connection is gone.
    Leave(Arc<User>),
    /// The bus was cut off.
    RecheckAll,
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) per_user: usize,
}

/// Every user with a connection here.
#[derive(Debug)]
pub(super) struct ConnectionRegistry {
    shards: Vec<Mutex<HashMap<UserId, Entry>>>,
    connections: AtomicUsize,
    limits: Limits,
    /// Bounded by the users: each stands in it at most once for each kind of work.
    work: mpsc::UnboundedSender<Work>,
}

#[derive(Debug)]
struct Entry {
    user: Arc<User>,
    /// Connections, and those about to be one.
    seats: usize,
}

impl ConnectionRegistry {
    pub(super) fn new(limits: Limits, work: mpsc::UnboundedSender<Work>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, connections: AtomicUsize::new(0), limits, work }
    }

    /// Takes a seat beside the user's others, if the bounds allow one more.
    pub(super) fn sit(&self, id: UserId) -> Result<Arc<User>, ApiError> {
        if self.connections.fetch_add(1, Ordering::AcqRel) >= self.limits.connections {
            self.connections.fetch_sub(1, Ordering::AcqRel);
            return Err(ApiError::from(Code::TooManyConnections).after(super::hub::RETRY_AFTER));
        }
        let mut shard = self.shard(id);
        let entry = shard.entry(id).or_insert_with(|| Entry { user: Arc::new(User::new(id)), seats: 0 });
        if entry.seats >= self.limits.per_user {
            self.connections.fetch_sub(1, Ordering::AcqRel);
            let allowed = self.limits.per_user;
            let detail = format!("a user may have {allowed} connections to one host; close one first");
            return Err(ApiError::new(Code::TooManyConnectionsOfUser, detail));
        }
        entry.seats += 1;
        Ok(entry.user.clone())
    }

    /// Gives a seat back; after the last one the bus is left.
    pub(super) fn stand_up(&self, user: &Arc<User>) {
        self.connections.fetch_sub(1, Ordering::AcqRel);
        let mut shard = self.shard(user.id);
        let Some(entry) = shard.get_mut(&user.id) else { return };
        entry.seats = entry.seats.saturating_sub(1);
        if entry.seats == 0 {
            self.ask(Work::Leave(user.clone()));
        }
    }

    /// Seats taken, or about to be; `None`: the bus was left and the user forgotten.
    pub(super) fn seats(&self, user: &Arc<User>) -> Option<usize> {
        let shard = self.shard(user.id);
        let entry = shard.get(&user.id).filter(|entry| Arc::ptr_eq(&entry.user, user));
        entry.map(|entry| entry.seats)
    }

    /// Forgets a user whom nobody took a seat of meanwhile.
    pub(super) fn forget_deserted(&self, user: &Arc<User>) {
        let mut shard = self.shard(user.id);
        if shard.get(&user.id).is_some_and(|entry| entry.seats == 0 && Arc::ptr_eq(&entry.user, user)) {
            shard.remove(&user.id);
        }
    }

    pub(super) fn ask(&self, work: Work) {
        // Without a receiver the hub is gone, and its connections with it.
        let _ = self.work.send(work);
    }

    pub(super) fn users(&self) -> Vec<Arc<User>> {
        let each = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values().map(|entry| entry.user.clone()).collect::<Vec<_>>()
        });
        each.flatten().collect()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    fn user(&self, id: UserId) -> Option<Arc<User>> {
        self.shard(id).get(&id).map(|entry| entry.user.clone())
    }

    #[allow(clippy::indexing_slicing, reason = "the remainder is below the number of shards, which never changes")]
    fn shard(&self, id: UserId) -> MutexGuard<'_, HashMap<UserId, Entry>> {
        let bits = id.as_u128();
        let mixed = ((bits ^ (bits >> 64)) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let index = (mixed >> 32) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for ConnectionRegistry {
    fn deliver(&self, user: UserId, delivery: Delivery) {
        if let Some(user) = self.user(user)
            && user.deliver(delivery)
        {
            self.ask(Work::Repair(user));
        }
    }

    fn interrupted(&self) {
        tracing::warn!("the bus was cut off; every user's feed is checked");
        for user in self.users() {
            user.interrupt();
        }
        self.ask(Work::RecheckAll);
    }
}
