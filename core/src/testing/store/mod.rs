//! The model of a store: plain maps behind one lock. Real adapters are compared with it.
//!
//! It never fails by itself; the simulation wraps it to inject failures.

mod data;
mod feed;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use data::StoredValue;

use self::data::KeyModel;
use super::ManualClock;
use crate::feed::Position;
use crate::ids::UserId;
use crate::key::{Key, Owner};
use crate::port::{
    Bus, Clock, Delivery, Event, Feeds, KeyValue, Outcome, PubSub, Publication, Query, Replay, ScreenedCall,
    StoreError, Subscriber, Transaction, Value, validate_publish, validate_read,
};

/// The number of calls of each operation, that is of round trips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Calls of [`KeyValue::read`].
    pub reads: u64,
    /// Calls of [`KeyValue::commit`].
    pub commits: u64,
    /// Calls of [`PubSub::publish`].
    pub publishes: u64,
}

/// A store for tests, on manual time.
#[derive(Debug, Default)]
pub struct FakeStore {
    clock: ManualClock,
    state: Mutex<StoreState>,
}

#[derive(Default)]
struct StoreState {
    keys: KeyModel,
    feeds: feed::FeedModel,
    subscribers: BTreeMap<UserId, Arc<dyn Subscriber>>,
    published: Vec<(UserId, Delivery)>,
    calls: Calls,
}

impl std::fmt::Debug for StoreState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreState").field("keys", &self.keys).field("feeds", &self.feeds).finish_non_exhaustive()
    }
}

impl FakeStore {
    /// An empty store on this clock.
    pub fn new(clock: ManualClock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Restarts the store without data: all keys and feeds are lost, new feeds have new epochs, and every subscriber is
    /// told about the interruption. Subscriptions continue.
    pub fn wipe(&self) {
        let mut state = self.state();
        state.keys.clear();
        let now = state.keys.now();
        state.feeds.clear(now);
        state.interrupt(|_| true);
    }

    /// Loses all feeds, as a server does that takes over with an older copy; new feeds have new epochs. Nobody is told.
    pub fn wipe_feeds(&self) {
        let mut state = self.state();
        let now = state.keys.now();
        state.feeds.clear(now);
    }

    /// Tells every subscriber about an interruption; nothing else happens.
    pub fn interrupt(&self) {
        self.state().interrupt(|_| true);
    }

    /// Tells the subscribers of these users that their events may be missing from now on.
    pub fn suspend_users(&self, users: &[UserId]) {
        self.state().notify(|user| users.contains(&user), |subscriber, users| subscriber.suspended(users));
    }

    /// Tells the subscribers of these users about an interruption that concerns no others.
    pub fn interrupt_users(&self, users: &[UserId]) {
        self.state().interrupt(|user| users.contains(&user));
    }

    /// Removes one key, as a store that evicts keys does.
    pub fn evict(&self, key: &Key) {
        self.state().keys.remove(key);
    }

    /// Replaces the value of a key by a text, as another program may do. No rule expects it, so the key cannot be read.
    pub fn overwrite(&self, key: Key) {
        self.state().keys.overwrite(key);
    }

    /// All values by key.
    pub fn entries(&self) -> BTreeMap<Key, StoredValue> {
        self.state().keys.all()
    }

    /// The value of one key.
    pub fn entry(&self, key: &Key) -> Option<StoredValue> {
        self.entries().remove(key)
    }

    /// All values by physical key.
    pub fn dump(&self) -> BTreeMap<String, StoredValue> {
        let entries = self.entries().into_iter();
        entries.map(|(key, stored)| (key.physical(), stored)).collect()
    }

    /// Everything published since [`FakeStore::take_published`] was last called, in order, with or without a
    /// subscriber.
    pub fn published(&self) -> Vec<(UserId, Delivery)> {
        self.state().published.clone()
    }

    /// Everything published since this was last called, in order.
    pub fn take_published(&self) -> Vec<(UserId, Delivery)> {
        std::mem::take(&mut self.state().published)
    }

    /// The number of round trips since [`FakeStore::take_calls`] was last called.
    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    /// The number of round trips since this was last called.
    pub fn take_calls(&self) -> Calls {
        std::mem::take(&mut self.state().calls)
    }

    /// The state at the present time.
    fn state(&self) -> MutexGuard<'_, StoreState> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.keys.advance_to(self.clock.now());
        state
    }
}

impl StoreState {
    fn execute(&mut self, transaction: &Transaction) -> Outcome {
        for (index, check) in (0..).zip(&transaction.checks) {
            match self.keys.holds(check) {
                Ok(true) => {}
                Ok(false) => return Outcome::Refused(index),
                Err(error) => return Outcome::Failed(error),
            }
        }
        let results = match self.keys.apply(transaction) {
            Ok(results) => results,
            Err(error) => return Outcome::Failed(error),
        };
        if let Owner::User(user) = transaction.owner {
            for event in &*transaction.completed_publications(&results) {
                self.publish(user, event);
            }
        }
        for mut addressed in transaction.addressed.iter().cloned() {
            addressed.deduplicate_users();
            addressed.users.iter().for_each(|user| self.publish(*user, &addressed.event));
        }
        Outcome::Committed(results)
    }

    fn publish(&mut self, user: UserId, event: &Event) {
        let delivery = self.feeds.publish((self.keys.now(), self.keys.followed_ms(user)), user, event);
        if let Some(subscriber) = self.subscribers.get(&user) {
            subscriber.deliver(user, delivery.clone());
        }
        self.published.push((user, delivery));
    }

    fn interrupt(&self, concerned: impl Fn(UserId) -> bool) {
        self.notify(concerned, |subscriber, users| subscriber.interrupted(users));
    }

    fn notify(&self, concerned: impl Fn(UserId) -> bool, tell: impl Fn(&dyn Subscriber, &[UserId])) {
        let mut interrupted: Vec<(&Arc<dyn Subscriber>, Vec<UserId>)> = Vec::new();
        for (user, subscriber) in self.subscribers.iter().filter(|(user, _)| concerned(**user)) {
            match interrupted.iter_mut().find(|(other, _)| Arc::ptr_eq(other, subscriber)) {
                Some((_, users)) => users.push(*user),
                None => interrupted.push((subscriber, vec![*user])),
            }
        }
        for (subscriber, users) in interrupted {
            tell(subscriber.as_ref(), &users);
        }
    }
}

impl KeyValue for FakeStore {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        let mut state = self.state();
        state.calls.reads += 1;
        validate_read(&queries)?;
        queries.iter().map(|query| state.keys.answer(query)).collect()
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let mut state = self.state();
        state.calls.commits += 1;
        let mut call = ScreenedCall::of(transactions)?;
        let outcomes = call.take_accepted().iter().map(|each| state.execute(each)).collect();
        Ok(call.outcomes(outcomes))
    }
}

impl PubSub for FakeStore {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        let mut state = self.state();
        state.calls.publishes += 1;
        validate_publish(&publications)?;
        for publication in &publications {
            state.publish(publication.user, &publication.event);
        }
        Ok(())
    }
}

impl Bus for FakeStore {
    async fn join(&self, user: UserId, subscriber: Arc<dyn Subscriber>) -> Result<(), StoreError> {
        self.state().subscribers.insert(user, subscriber);
        Ok(())
    }

    async fn leave(&self, user: UserId) {
        self.state().subscribers.remove(&user);
    }
}

impl Feeds for FakeStore {
    async fn follow(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        let mut state = self.state();
        users.iter().for_each(|user| state.keys.follow(*user));
        let now = state.keys.now();
        Ok(users.iter().map(|user| state.feeds.position(now, *user)).collect())
    }

    async fn positions(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        let state = self.state();
        let now = state.keys.now();
        let positions = users.iter().map(|user| state.feeds.position(now, *user));
        Ok(positions.collect())
    }

    async fn replay(&self, user: UserId, since: &Position) -> Result<Replay, StoreError> {
        let state = self.state();
        Ok(state.feeds.replay(state.keys.now(), user, since))
    }
}

#[cfg(test)]
mod tests;
