//! The live state behind one name: whichever technology holds it, with its latencies measured.
//!
//! The rest of the host and the functions' imports use [`Store`] and know no technology.

mod clock;
pub mod memory;
pub mod redis;

use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::port::{
    Bus, Feeds, KeyValue, Outcome, PubSub, Publication, Query, Replay, StoreError, Subscriber, Transaction, Value,
};
use roost_core::time::Timestamp;
use tokio::sync::watch;

use self::memory::MemoryStore;
use self::redis::RedisStore;
use crate::config::StoreUrl;
use crate::ops::latency::{self, Latency};

/// The store that the configuration names. Clones share it.
#[derive(Clone)]
pub enum Store {
    /// In this process.
    Memory(Arc<MemoryStore>),
    /// In Redis.
    Redis(Arc<RedisStore>),
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys, those that expired a moment ago among them.
    pub keys: u64,
    /// Users' feeds, likewise.
    pub feeds: u64,
    /// Users that this host listens to.
    pub subscriptions: u64,
    /// Memory, roughly.
    pub bytes: u64,
    /// Keys and feeds whose time was over, since the start.
    pub evicted: u64,
}

impl Store {
    /// The store of the configuration; Redis must answer.
    pub async fn open(url: StoreUrl) -> anyhow::Result<Self> {
        match url {
            StoreUrl::Memory { bytes_max } => Ok(Self::memory_within(bytes_max)),
            StoreUrl::Redis(config) => Ok(Self::Redis(Arc::new(RedisStore::open(config).await?))),
        }
    }

    /// Whether the store can be asked; otherwise why not, in words for the operator.
    pub async fn ready(&self) -> Result<(), String> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(store) => store.ready().await,
        }
    }

    /// Changes when another server process holds the store, perhaps with an older copy; `None`: that cannot be.
    pub fn replaced(&self) -> Option<watch::Receiver<u64>> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(store) => Some(store.replaced()),
        }
    }

    /// An empty store in this process's memory.
    pub fn memory() -> Self {
        Self::Memory(Arc::new(MemoryStore::new()))
    }

    /// The same, for so many bytes at most.
    pub fn memory_within(bytes_max: u64) -> Self {
        Self::Memory(Arc::new(MemoryStore::new().with_bytes_max(bytes_max)))
    }

    /// The store's clock: deadlines are meant by it.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Memory(store) => store.now(),
            Self::Redis(store) => store.now(),
        }
    }

    /// What the store holds. Takes time in proportion to that.
    pub fn stats(&self) -> Stats {
        match self {
            Self::Memory(store) => store.stats(),
            Self::Redis(store) => store.stats(),
        }
    }

    /// The store's own housekeeping, until `shutdown`.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) {
        match self {
            Self::Memory(store) => store.run(shutdown).await,
            Self::Redis(store) => store.run(shutdown).await,
        }
    }
}

impl KeyValue for Store {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        match self {
            Self::Memory(store) => timed(&TIMES.read, store.read(queries)).await,
            Self::Redis(store) => timed(&TIMES.read, store.read(queries)).await,
        }
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        match self {
            Self::Memory(store) => timed(&TIMES.commit, store.commit(transactions)).await,
            Self::Redis(store) => timed(&TIMES.commit, store.commit(transactions)).await,
        }
    }
}

impl PubSub for Store {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => timed(&TIMES.publish, store.publish(publications)).await,
            Self::Redis(store) => timed(&TIMES.publish, store.publish(publications)).await,
        }
    }
}

impl Bus for Store {
    async fn join(&self, user: UserId, subscriber: Arc<dyn Subscriber>) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => timed(&TIMES.join, store.join(user, subscriber)).await,
            Self::Redis(store) => timed(&TIMES.join, store.join(user, subscriber)).await,
        }
    }

    async fn leave(&self, user: UserId) {
        match self {
            Self::Memory(store) => timed(&TIMES.leave, store.leave(user)).await,
            Self::Redis(store) => timed(&TIMES.leave, store.leave(user)).await,
        }
    }
}

impl Feeds for Store {
    async fn positions(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        match self {
            Self::Memory(store) => timed(&TIMES.positions, store.positions(users)).await,
            Self::Redis(store) => timed(&TIMES.positions, store.positions(users)).await,
        }
    }

    async fn replay(&self, user: UserId, since: &Position) -> Result<Replay, StoreError> {
        match self {
            Self::Memory(store) => timed(&TIMES.replay, store.replay(user, since)).await,
            Self::Redis(store) => timed(&TIMES.replay, store.replay(user, since)).await,
        }
    }
}

/// `roost_store_seconds{operation}`, each looked up once.
struct Times {
    read: Latency,
    commit: Latency,
    publish: Latency,
    join: Latency,
    leave: Latency,
    positions: Latency,
    replay: Latency,
}

static TIMES: LazyLock<Times> = LazyLock::new(|| {
    let latency = latency::of_store;
    Times {
        read: latency("read"),
        commit: latency("commit"),
        publish: latency("publish"),
        join: latency("join"),
        leave: latency("leave"),
        positions: latency("positions"),
        replay: latency("replay"),
    }
});

async fn timed<T>(latency: &Latency, operation: impl Future<Output = T> + Send) -> T {
    let start = Instant::now();
    let output = operation.await;
    latency.record(start.elapsed());
    output
}
