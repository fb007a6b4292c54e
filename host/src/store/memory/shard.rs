//! One shard of the memory store: everything that belongs to some of the owners, behind one lock.

use std::sync::Arc;

use foldhash::HashMap;
use roost_core::ids::UserId;
use roost_core::key::Owner;
use roost_core::port::{Event, Outcome, Subscriber, Transaction};
use roost_core::time::Timestamp;

use super::app_usage::AppUsage;
use super::feed::{FeedParts, ShardFeeds};
use super::keys::ShardKeys;
use super::transaction::MutationRun;
use crate::store::StoreStats;

/// The keys, feeds and subscribers of some owners.
#[derive(Default)]
pub(super) struct StoreShard {
    pub(super) keys: ShardKeys,
    pub(super) feeds: ShardFeeds,
    pub(super) subscribers: HashMap<UserId, Arc<dyn Subscriber>>,
}

impl StoreShard {
    /// An empty shard of a store that is made at this time.
    pub(super) fn new(created_at: Timestamp, app_usage: AppUsage) -> Self {
        Self { keys: ShardKeys::new(app_usage), feeds: ShardFeeds::new(created_at), ..Self::default() }
    }

    /// Carries out a valid transaction of one of this shard's owners.
    pub(super) fn carry_out(&mut self, now: u64, parts: &FeedParts, transaction: &Transaction) -> Outcome {
        for (index, check) in (0..).zip(&transaction.checks) {
            match self.keys.holds(now, check) {
                Ok(true) => {}
                Ok(false) => return Outcome::Refused(index),
                Err(error) => return Outcome::Failed(error),
            }
        }
        let results = match MutationRun::new(&mut self.keys, now).carry_out(transaction) {
            Ok(results) => results,
            Err(error) => return Outcome::Failed(error),
        };
        if let Owner::User(user) = transaction.owner {
            for event in &*transaction.completed_publications(&results) {
                self.publish(now, parts, user, event);
            }
        }
        Outcome::Committed(results)
    }

    /// Appends the event to the feed if it is durable and the user is followed, and delivers it. This happens under the
    /// shard's lock, so that subscribers receive the events of a user in their order.
    pub(super) fn publish(&mut self, now: u64, parts: &FeedParts, user: UserId, event: &Event) {
        let followed_ms = if event.durable { self.keys.followed_ms(now, user) } else { None };
        let delivery = self.feeds.publish((now, followed_ms), parts, user, event);
        if let Some(subscriber) = self.subscribers.get(&user) {
            subscriber.deliver(user, delivery);
        }
    }

    /// Checks up to `checks_max` keys and as many feeds, and removes those that are expired. Returns the larger number
    /// of checks, and how many keys and feeds were removed.
    pub(super) fn evict(&mut self, now: u64, checks_max: usize) -> (usize, usize) {
        let (key_checks, keys) = self.keys.evict(now, checks_max);
        let (feed_checks, feeds) = self.feeds.evict(now, checks_max);
        (key_checks.max(feed_checks), keys + feeds)
    }

    /// An estimate of the bytes that the shard takes beside the payloads of events. Takes constant time.
    pub(super) fn bytes(&self) -> u64 {
        (self.keys.bytes() + self.feeds.bytes()) as u64
    }

    pub(super) fn add_to(&self, stats: &mut StoreStats) {
        stats.keys += self.keys.len() as u64;
        stats.feeds += self.feeds.len() as u64;
        stats.subscriptions += self.subscribers.len() as u64;
        stats.bytes += self.bytes();
    }
}
