//! The embedded store: live state in this process's memory, gone with it.
//!
//! Owners are spread over shards, each behind one lock that is held for one owner's work and never while anything
//! waits. What has expired is never seen; a background task gives its memory back.

mod content;
mod expiry;
mod feed;
mod keys;
mod transaction;
mod name;
mod shard;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::key::Owner;
use roost_core::port::{
    Bus, Feeds, KeyValue, Mutation, Outcome, PubSub, Publication, Query, Replay, StoreError, Subscriber, Transaction,
    Value, validate_commit, validate_publish, validate_read,
};
use roost_core::time::Timestamp;

use self::feed::Epochs;
use self::shard::Shard;
use super::Stats;
use super::clock::{StoreClock, SystemClock};

/// A power of two; more than any machine has cores.
const SHARDS: usize = 64;
/// A shard's lock is held for so many evictions at a time.
const EVICTIONS_MAX: usize = 256;
const EVICTION_INTERVAL: Duration = Duration::from_millis(250);
/// The store's size is taken this often.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// When a store without room may be asked again.
const RETRY_AFTER_MS: u32 = 1_000;
/// Until the next look, when the last one left work behind.
const EVICTION_INTERVAL_BUSY: Duration = Duration::from_millis(5);

/// A store in memory.
pub struct MemoryStore {
    clock: StoreClock,
    epochs: Epochs,
    shards: [Mutex<Shard>; SHARDS],
    evicted: AtomicU64,
    bytes_max: u64,
    /// Larger than allowed when it was measured last: nothing may be added.
    full: AtomicBool,
}

impl MemoryStore {
    /// Empty, on the machine's clock.
    pub fn new() -> Self {
        Self::on(StoreClock::System(SystemClock::new()))
    }

    /// Empty, on a clock that never steps back.
    pub fn with_clock(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self::on(StoreClock::Injected(Box::new(now)))
    }

    fn on(clock: StoreClock) -> Self {
        let began = clock.now();
        Self {
            clock,
            epochs: Epochs::new(),
            shards: std::array::from_fn(|_| Mutex::new(Shard::beginning(began))),
            evicted: AtomicU64::new(0),
            bytes_max: u64::MAX,
            full: AtomicBool::new(false),
        }
    }

    /// Refuses whatever could make it larger while it is larger than this. Measured once a second, so that the bound can
    /// be passed by what one second brings.
    #[must_use]
    pub const fn with_bytes_max(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the store holds, what has expired since the last eviction among it. Looks at every key.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats { evicted: self.evicted.load(Ordering::Relaxed), ..Stats::default() };
        for shard in &self.shards {
            lock(shard).add_to(&mut stats);
        }
        stats
    }

    /// Sees whether the store is larger than allowed. Looks at every key.
    pub fn measure(&self) {
        let full = self.stats().bytes > self.bytes_max;
        if full != self.full.swap(full, Ordering::Relaxed) {
            match full {
                true => tracing::error!(bytes_max = self.bytes_max, "the store is full; it takes nothing more"),
                false => tracing::info!("the store has room again"),
            }
        }
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Gives the memory of expired keys and feeds back, and keeps the clock and the bound right, until `shutdown`.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        let mut pause = EVICTION_INTERVAL;
        let mut measured = Instant::now();
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(pause) => {}
            }
            self.clock.correct();
            pause = if self.evict() { EVICTION_INTERVAL } else { EVICTION_INTERVAL_BUSY };
            if measured.elapsed() >= MEASURE_INTERVAL {
                self.measure();
                measured = Instant::now();
            }
        }
    }

    /// Takes a bounded number of expired keys and feeds away. `false`: there are more.
    pub fn evict(&self) -> bool {
        let now = self.now().0;
        let mut finished = true;
        for shard in &self.shards {
            let (notes, evicted) = lock(shard).evict(now, EVICTIONS_MAX);
            finished &= notes < EVICTIONS_MAX;
            self.evicted.fetch_add(evicted as u64, Ordering::Relaxed);
        }
        finished
    }

    fn shard(&self, owner: Owner) -> MutexGuard<'_, Shard> {
        self.shard_at(shard_index(owner))
    }

    #[allow(clippy::indexing_slicing, reason = "a remainder of the length is below it")]
    fn shard_at(&self, index: usize) -> MutexGuard<'_, Shard> {
        lock(&self.shards[index % SHARDS])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A panic cannot leave half a change behind: changes are undone, not abandoned.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

const NO_ROOM: StoreError = StoreError::Unavailable { retry_after_ms: RETRY_AFTER_MS };

/// Whether a transaction could need memory.
fn grows(transaction: &Transaction) -> bool {
    let shrinks = |mutation: &Mutation| {
        matches!(
            mutation,
            Mutation::Delete(_)
                | Mutation::DeleteFields(_, _)
                | Mutation::OrderedRemove(_, _)
                | Mutation::Expire(_, _)
                | Mutation::Persist(_)
        )
    };
    !transaction.mutations.iter().all(shrinks) || transaction.publications.iter().any(|event| event.durable)
}

fn shard_index(owner: Owner) -> usize {
    let (kind, bits) = match owner {
        Owner::User(user) => (1, user.as_u128()),
        Owner::Conversation(conversation) => (2, conversation.as_u128()),
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
        // What is asked of one owner is answered under one lock, and the locks are taken one after the other.
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
        validate_commit(&transactions)?;
        let now = self.now().0;
        let full = self.is_full();
        let outcomes = transactions.iter().map(|each| match full && grows(each) {
            true => Outcome::Failed(NO_ROOM),
            false => self.shard(each.owner).carry_out(now, &self.epochs, each),
        });
        Ok(outcomes.collect())
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
            self.shard(Owner::User(*user)).tell(now, &self.epochs, *user, event);
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
    async fn positions(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        let now = self.now().0;
        Ok(users.iter().map(|user| self.shard(Owner::User(*user)).feeds.position(now, *user)).collect())
    }

    async fn replay(&self, user: UserId, since: &Position) -> Result<Replay, StoreError> {
        Ok(self.shard(Owner::User(user)).feeds.replay(self.now().0, user, since))
    }
}
