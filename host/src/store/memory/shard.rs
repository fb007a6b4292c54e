//! One shard of the memory store: all that some owners have, changed under one lock.

use std::sync::Arc;

use foldhash::HashMap;
use roost_core::ids::UserId;
use roost_core::key::Owner;
use roost_core::port::{Event, Outcome, Subscriber, Transaction};
use roost_core::time::Timestamp;

use super::feed::{Epochs, Feeds};
use super::keys::Keys;
use super::transaction::Work;
use crate::store::Stats;

/// Keys, feeds and listeners of some owners.
#[derive(Default)]
pub(super) struct Shard {
    pub(super) keys: Keys,
    pub(super) feeds: Feeds,
    pub(super) subscribers: HashMap<UserId, Arc<dyn Subscriber>>,
}

impl Shard {
    /// Of a store that begins at this moment.
    pub(super) fn beginning(began: Timestamp) -> Self {
        Self { feeds: Feeds::beginning(began), ..Self::default() }
    }

    /// A valid transaction of one of this shard's owners.
    pub(super) fn carry_out(&mut self, now: u64, epochs: &Epochs, transaction: &Transaction) -> Outcome {
        for (index, check) in (0..).zip(&transaction.checks) {
            match self.keys.holds(now, check) {
                Ok(true) => {}
                Ok(false) => return Outcome::Refused(index),
                Err(error) => return Outcome::Failed(error),
            }
        }
        let results = match Work::new(&mut self.keys, now).carry_out(&transaction.mutations) {
            Ok(results) => results,
            Err(error) => return Outcome::Failed(error),
        };
        if let Owner::User(user) = transaction.owner {
            for event in &transaction.publications {
                self.tell(now, epochs, user, event);
            }
        }
        Outcome::Committed(results)
    }

    /// Under the lock, so that listeners hear one user's events in their order.
    pub(super) fn tell(&mut self, now: u64, epochs: &Epochs, user: UserId, event: &Event) {
        let delivery = self.feeds.publish(now, epochs, user, event);
        if let Some(subscriber) = self.subscribers.get(&user) {
            subscriber.deliver(user, delivery);
        }
    }

    /// Looks at up to `notes_max` keys and as many feeds; answers the larger number, and how many are gone.
    pub(super) fn evict(&mut self, now: u64, notes_max: usize) -> (usize, usize) {
        let (key_notes, keys) = self.keys.evict(now, notes_max);
        let (feed_notes, feeds) = self.feeds.evict(now, notes_max);
        (key_notes.max(feed_notes), keys + feeds)
    }

    pub(super) fn add_to(&self, stats: &mut Stats) {
        stats.keys += self.keys.len() as u64;
        stats.feeds += self.feeds.len() as u64;
        stats.subscriptions += self.subscribers.len() as u64;
        stats.bytes += (self.keys.bytes() + self.feeds.bytes()) as u64;
    }
}
