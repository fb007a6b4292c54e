//! The users with a connection on this host: who receives their events, and at which server each is subscribed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_core::ids::UserId;
use roost_core::port::{Delivery, Subscriber};

use crate::store::redis::connections::Address;

/// The users are spread over so many locks.
const SHARDS: usize = 64;

struct UserListener {
    subscriber: Arc<dyn Subscriber>,
    /// The server that confirmed the subscription; `None`: none has yet.
    server: Option<Address>,
}

/// The listeners of all users.
pub(super) struct Listeners {
    shards: [Mutex<HashMap<UserId, UserListener>>; SHARDS],
}

impl Listeners {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Adds or replaces the subscriber of a user. Returns whether the user is subscribed already.
    pub(super) fn add(&self, user: UserId, subscriber: Arc<dyn Subscriber>) -> bool {
        let mut shard = self.shard(user);
        let server = shard.get(&user).and_then(|listener| listener.server.clone());
        let is_subscribed = server.is_some();
        shard.insert(user, UserListener { subscriber, server });
        is_subscribed
    }

    /// Notes that this server confirmed the subscription. Returns whether the user still has a listener.
    pub(super) fn confirm(&self, user: UserId, server: &Address) -> bool {
        let mut shard = self.shard(user);
        let listener = shard.get_mut(&user);
        let is_present = listener.is_some();
        if let Some(listener) = listener {
            listener.server = Some(server.clone());
        }
        is_present
    }

    /// Removes the listener of a user. Returns whether there was one.
    pub(super) fn remove(&self, user: UserId) -> bool {
        self.shard(user).remove(&user).is_some()
    }

    pub(super) fn contains(&self, user: UserId) -> bool {
        self.shard(user).contains_key(&user)
    }

    /// Every user with a confirmed subscription, and the server that confirmed it.
    pub(super) fn subscribed(&self) -> Vec<(UserId, Address)> {
        let subscribed = self.shards.iter().flat_map(|shard| {
            let shard = lock(shard);
            let confirmed = shard.iter().filter_map(|(user, listener)| Some((*user, listener.server.clone()?)));
            confirmed.collect::<Vec<_>>()
        });
        subscribed.collect()
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub(super) fn deliver(&self, user: UserId, delivery: Delivery) {
        let subscriber = self.shard(user).get(&user).map(|listener| listener.subscriber.clone());
        if let Some(subscriber) = subscriber {
            subscriber.deliver(user, delivery);
        }
    }

    /// Notifies the subscribers of these users, each once, that it may miss their events from now on.
    pub(super) fn notify_suspended(&self, users: &[UserId]) {
        self.notify(users, |subscriber, users| subscriber.suspended(users));
    }

    /// Notifies the subscribers of these users, each once, that it may have missed their events.
    pub(super) fn notify_interrupted(&self, users: &[UserId]) {
        self.notify(users, |subscriber, users| subscriber.interrupted(users));
    }

    fn notify(&self, users: &[UserId], tell: impl Fn(&dyn Subscriber, &[UserId])) {
        let mut notified: Vec<(Arc<dyn Subscriber>, Vec<UserId>)> = Vec::new();
        for user in users {
            let subscriber = self.shard(*user).get(user).map(|listener| listener.subscriber.clone());
            let Some(subscriber) = subscriber else { continue };
            match notified.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &subscriber)) {
                Some((_, users)) => users.push(*user),
                None => notified.push((subscriber, vec![*user])),
            }
        }
        notified.iter().for_each(|(subscriber, users)| tell(subscriber.as_ref(), users));
    }

    #[allow(clippy::indexing_slicing, reason = "a remainder of the length is below it")]
    fn shard(&self, user: UserId) -> MutexGuard<'_, HashMap<UserId, UserListener>> {
        let bits = user.as_u128();
        let mixed = ((bits ^ (bits >> 64)) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        lock(&self.shards[(mixed >> 32) as usize % SHARDS])
    }
}

fn lock(shard: &Mutex<HashMap<UserId, UserListener>>) -> MutexGuard<'_, HashMap<UserId, UserListener>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
