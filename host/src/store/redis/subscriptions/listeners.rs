//! Who listens on this host, and on which server's line each is subscribed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_core::ids::UserId;
use roost_core::port::{Delivery, Subscriber};

use crate::store::redis::connections::Address;

const SHARDS: usize = 64;

/// A listener.
struct Seat {
    subscriber: Arc<dyn Subscriber>,
    /// The confirmed subscription's server; `None`: not yet.
    line: Option<Address>,
}

/// All listeners, by user.
pub(super) struct Seats {
    shards: [Mutex<HashMap<UserId, Seat>>; SHARDS],
}

impl Seats {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Seats a listener in place of another; answers whether the subscription stands already.
    pub(super) fn sit(&self, user: UserId, subscriber: Arc<dyn Subscriber>) -> bool {
        let mut shard = self.shard(user);
        let line = shard.get(&user).and_then(|seat| seat.line.clone());
        let is_subscribed = line.is_some();
        shard.insert(user, Seat { subscriber, line });
        is_subscribed
    }

    /// The subscription stands at this server. `false`: the listener is gone.
    pub(super) fn confirm(&self, user: UserId, line: &Address) -> bool {
        let mut shard = self.shard(user);
        let seat = shard.get_mut(&user);
        let is_there = seat.is_some();
        if let Some(seat) = seat {
            seat.line = Some(line.clone());
        }
        is_there
    }

    /// Takes a listener away; answers whether there was one.
    pub(super) fn stand_up(&self, user: UserId) -> bool {
        self.shard(user).remove(&user).is_some()
    }

    pub(super) fn is_taken(&self, user: UserId) -> bool {
        self.shard(user).contains_key(&user)
    }

    /// Everybody with a confirmed subscription, and where.
    pub(super) fn lines(&self) -> Vec<(UserId, Address)> {
        let seats = self.shards.iter().flat_map(|shard| {
            let shard = lock(shard);
            shard.iter().filter_map(|(user, seat)| Some((*user, seat.line.clone()?))).collect::<Vec<_>>()
        });
        seats.collect()
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub(super) fn deliver(&self, user: UserId, delivery: Delivery) {
        let subscriber = self.shard(user).get(&user).map(|seat| seat.subscriber.clone());
        if let Some(subscriber) = subscriber {
            subscriber.deliver(user, delivery);
        }
    }

    /// Tells every subscriber once that events may have been missed.
    pub(super) fn interrupted(&self) {
        let mut told: Vec<Arc<dyn Subscriber>> = Vec::new();
        for shard in &self.shards {
            for seat in lock(shard).values() {
                if !told.iter().any(|known| Arc::ptr_eq(known, &seat.subscriber)) {
                    told.push(seat.subscriber.clone());
                }
            }
        }
        told.iter().for_each(|subscriber| subscriber.interrupted());
    }

    #[allow(clippy::indexing_slicing, reason = "a remainder of the length is below it")]
    fn shard(&self, user: UserId) -> MutexGuard<'_, HashMap<UserId, Seat>> {
        let bits = user.as_u128();
        let mixed = ((bits ^ (bits >> 64)) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        lock(&self.shards[(mixed >> 32) as usize % SHARDS])
    }
}

fn lock(shard: &Mutex<HashMap<UserId, Seat>>) -> MutexGuard<'_, HashMap<UserId, Seat>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
