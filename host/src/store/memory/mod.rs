//! The store in memory: live state that ends with this process.
//!
//! Owners are spread over shards. Each shard is behind one lock, which is held for the work of one owner and never
//! while that work waits. An expired key or feed is never visible; a background task releases its memory.

mod app_usage;
mod content;
mod expiry;
mod feed;
mod growth;
mod keys;
mod payloads;
mod shard;
#[cfg(test)]
mod tests;
mod transaction;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::key::Owner;
use roost_core::port::{
    Bus, Feeds, KeyValue, Outcome, PubSub, Publication, Query, Replay, ScreenedCall, StoreError, Subscriber,
    Transaction, Value, validate_publish, validate_read,
};
use roost_core::time::Timestamp;

use self::app_usage::AppUsage;
use self::feed::FeedParts;
use self::growth::may_grow;
use self::shard::StoreShard;
use super::StoreStats;
use super::clock::{StepClock, StoreClock, SystemClock};
use super::outbox::{self, PlainStore};

/// A power of two; more than any machine has cores.
const SHARDS: usize = 64;
/// A shard's lock is held for so many evictions at a time.
const EVICTIONS_MAX: usize = 256;
/// How often expired keys are evicted and the size is compared with the bound.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(250);
/// The interval after an eviction that left expired keys behind.
const MAINTENANCE_INTERVAL_BUSY: Duration = Duration::from_millis(5);
/// When a caller may repeat a change that a full store refused.
const RETRY_AFTER_MS: u32 = 1_000;

/// A store in memory.
pub struct MemoryStore {
    clock: StoreClock,
    feeds: FeedParts,
    shards: [Mutex<StoreShard>; SHARDS],
    evicted: AtomicU64,
    bytes_max: u64,
    /// Whether the store was larger than allowed at the last comparison, so that nothing may be added.
    is_full: AtomicBool,
}

impl MemoryStore {
    /// An empty store on the clock of this machine.
    pub fn new() -> Self {
        Self::on(StoreClock::System(SystemClock::new()))
    }

    /// An empty store on another clock, which must never step back.
    pub fn with_clock(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self::on(StoreClock::Injected(Box::new(now)))
    }

    /// An empty store on a clock that its holder moves.
    pub(crate) fn with_step_clock(clock: StepClock) -> Self {
        Self::on(StoreClock::Stepped(clock))
    }

    fn on(clock: StoreClock) -> Self {
        let created_at = clock.now();
        let app_usage = AppUsage::default();
        Self {
            clock,
            feeds: FeedParts::new(),
            shards: std::array::from_fn(|_| Mutex::new(StoreShard::new(created_at, app_usage.clone()))),
            evicted: AtomicU64::new(0),
            bytes_max: u64::MAX,
            is_full: AtomicBool::new(false),
        }
    }

    /// Refuses every change that could make the store larger while it is larger than this. The size is compared with
    /// the bound four times a second, so the store can exceed the bound by what is added between two comparisons.
    #[must_use]
    pub(crate) const fn with_bytes_max(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns when this span has passed on the clock of the store.
    pub async fn wait(&self, span: Duration) {
        self.clock.wait(span).await;
    }

    /// The size of the store, including what has expired since the last eviction. Takes the same time for any size.
    pub fn stats(&self) -> StoreStats {
        let (evicted, bytes) = (self.evicted.load(Ordering::Relaxed), self.feeds.payloads.bytes() as u64);
        let mut stats = StoreStats { evicted, bytes, ..StoreStats::default() };
        for shard in &self.shards {
            lock(shard).add_to(&mut stats);
        }
        stats
    }

    /// Compares the size of the store with its bound.
    pub(crate) fn check_size(&self) {
        let bytes = self.stats().bytes;
        let is_full = bytes > self.bytes_max;
        if is_full == self.is_full.swap(is_full, Ordering::Relaxed) {
            return;
        }
        if is_full {
            tracing::error!(bytes, bytes_max = self.bytes_max, "the store in memory is full and refuses to grow");
        } else {
            tracing::info!(bytes, bytes_max = self.bytes_max, "the store in memory has room again");
        }
    }

    fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Evicts expired keys and feeds, corrects the clock and checks the size, until `shutdown`.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        let mut pause = MAINTENANCE_INTERVAL;
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(pause) => {}
            }
            self.clock.correct();
            pause = if self.evict() { MAINTENANCE_INTERVAL } else { MAINTENANCE_INTERVAL_BUSY };
            self.check_size();
        }
    }

    /// Removes a bounded number of expired keys and feeds. Returns whether those were all.
    pub fn evict(&self) -> bool {
        let now = self.now().0;
        let mut finished = true;
        for shard in &self.shards {
            let (checks, evicted) = lock(shard).evict(now, EVICTIONS_MAX);
            finished &= checks < EVICTIONS_MAX;
            self.evicted.fetch_add(evicted as u64, Ordering::Relaxed);
        }
        finished
    }

    /// Carries out a valid transaction. Before it is refused because the items of a function take too much, those that
    /// have expired are evicted.
    fn carry_out(&self, now: u64, transaction: &Transaction) -> Outcome {
        let outcome = self.shard(transaction.owner).carry_out(now, &self.feeds, transaction);
        match outcome {
            Outcome::Failed(StoreError::QuotaExceeded(_)) => {
                while !self.evict() {}
                self.shard(transaction.owner).carry_out(now, &self.feeds, transaction)
            }
            outcome => outcome,
        }
    }

    fn shard(&self, owner: Owner) -> MutexGuard<'_, StoreShard> {
        self.shard_at(shard_index(owner))
    }

    #[allow(clippy::indexing_slicing, reason = "a remainder of the length is below it")]
    fn shard_at(&self, index: usize) -> MutexGuard<'_, StoreShard> {
        lock(&self.shards[index % SHARDS])
    }
}

fn lock(shard: &Mutex<StoreShard>) -> MutexGuard<'_, StoreShard> {
    // A panic in another thread left no change half done: a transaction that fails is undone.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

const NO_ROOM: StoreError = StoreError::Unavailable { retry_after_ms: RETRY_AFTER_MS };

fn shard_index(owner: Owner) -> usize {
    let (kind, bits) = match owner {
        Owner::User(user) => (1, user.as_u128()),
        Owner::Conversation(conversation) | Owner::Message { conversation, .. } => (2, conversation.as_u128()),
        Owner::Shard(shard) => (3, u128::from(shard)),
    };
    let mixed = (bits ^ (bits >> 64)) as u64 ^ kind;
    (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % SHARDS
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyValue for MemoryStore {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        validate_read(&queries)?;
        let now = self.now().0;
        // All queries about the owners of one shard are answered under its lock, one shard after the other.
        let mut order: Vec<(usize, usize)> =
            queries.iter().enumerate().map(|(index, query)| (shard_index(query.key().owner), index)).collect();
        order.sort_unstable();
        let mut answers: Vec<Result<Value, StoreError>> = queries.iter().map(|_| Ok(Value::Missing)).collect();
        for group in order.chunk_by(|one, other| one.0 == other.0) {
            let Some((shard, _)) = group.first() else { continue };
            let shard = self.shard_at(*shard);
            for (_, index) in group {
                if let (Some(query), Some(answer)) = (queries.get(*index), answers.get_mut(*index)) {
                    *answer = shard.keys.answer(now, query);
                }
            }
        }
        answers.into_iter().collect()
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        outbox::commit(self, transactions).await
    }
}

impl PlainStore for MemoryStore {
    fn time(&self) -> Timestamp {
        self.now()
    }

    async fn commit_plain(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let mut call = ScreenedCall::of(transactions)?;
        let now = self.now().0;
        let is_full = self.is_full();
        let accepted = call.take_accepted();
        let outcomes = accepted.iter().map(|each| match is_full && may_grow(each) {
            true => Outcome::Failed(NO_ROOM),
            false => self.carry_out(now, each),
        });
        Ok(call.outcomes(outcomes.collect()))
    }
}

impl PubSub for MemoryStore {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        validate_publish(&publications)?;
        if self.is_full() && publications.iter().any(|publication| publication.event.durable) {
            return Err(NO_ROOM);
        }
        let now = self.now().0;
        for Publication { user, event } in &publications {
            self.shard(Owner::User(*user)).publish(now, &self.feeds, *user, event);
        }
        Ok(())
    }
}

impl Bus for MemoryStore {
    async fn join(&self, user: UserId, subscriber: Arc<dyn Subscriber>) -> Result<(), StoreError> {
        self.shard(Owner::User(user)).subscribers.insert(user, subscriber);
        Ok(())
    }

    async fn leave(&self, user: UserId) {
        self.shard(Owner::User(user)).subscribers.remove(&user);
    }
}

impl Feeds for MemoryStore {
    async fn follow(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        let now = self.now().0;
        let is_full = self.is_full();
        let follow = |user: &UserId| {
            let mut shard = self.shard(Owner::User(*user));
            // A position that nothing is kept after would hide what is missed.
            if is_full && shard.keys.followed_ms(now, *user).is_none() {
                return Err(NO_ROOM);
            }
            shard.keys.follow(now, *user);
            Ok(shard.feeds.position(now, *user))
        };
        // A user who is refused does not keep the others from being renewed.
        let positions: Vec<_> = users.iter().map(follow).collect();
        positions.into_iter().collect()
    }

    async fn positions(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        let now = self.now().0;
        Ok(users.iter().map(|user| self.shard(Owner::User(*user)).feeds.position(now, *user)).collect())
    }

    async fn replay(&self, user: UserId, since: &Position) -> Result<Replay, StoreError> {
        Ok(self.shard(Owner::User(user)).feeds.replay(self.now().0, user, since))
    }
}
