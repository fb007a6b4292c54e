//! The live state, in memory or in Redis. Every operation's latency is measured, and every operation has a span.
//!
//! The rest of the host, and the imports of functions, use [`Store`] and do not depend on either technology.

mod clock;
pub mod memory;
mod outbox;
pub mod redis;

pub use self::clock::StepClock;

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::port::{
    Bus, Feeds, KeyValue, Outcome, PubSub, Publication, Query, Replay, StoreError, Subscriber, Transaction, Value,
};
use roost_core::time::Timestamp;
use tokio::sync::watch;
use tracing::Instrument;

use self::memory::MemoryStore;
use self::redis::RedisStore;
use crate::config::StoreUrl;
use crate::ops::latency::{self, Latency};
use crate::ops::trace;
use crate::runtime::deployments::ClusterDeployments;

/// The store that the configuration names. Clones share it.
#[derive(Clone)]
pub enum Store {
    /// In the memory of this process.
    Memory(Arc<MemoryStore>),
    /// In Redis, shared by several hosts.
    Redis(Arc<RedisStore>),
}

/// The size of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Keys, including those that expired and are not evicted yet.
    pub keys: u64,
    /// Users' feeds, including those that expired and are not evicted yet. In Redis they are counted among the keys.
    pub feeds: u64,
    /// Users whose events this host receives.
    pub subscriptions: u64,
    /// An estimate of the memory in use.
    pub bytes: u64,
    /// Keys and feeds that were removed because they had expired, since the start.
    pub evicted: u64,
}

impl Store {
    /// Opens the store that the configuration names.
    ///
    /// # Errors
    /// Why Redis cannot be used.
    pub async fn open(url: StoreUrl) -> anyhow::Result<Self> {
        match url {
            StoreUrl::Memory { bytes_max } => Ok(Self::memory_within(bytes_max)),
            StoreUrl::Redis(config) => Ok(Self::Redis(Arc::new(RedisStore::open(*config).await?))),
        }
    }

    /// Checks that the store can be asked.
    ///
    /// # Errors
    /// Why it cannot, for the operator.
    pub async fn ready(&self) -> Result<(), String> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(store) => store.ready().await,
        }
    }

    /// Changes when another server process holds the store, perhaps with an older copy. `None` for a store in memory,
    /// where that cannot happen.
    pub fn replaced(&self) -> Option<watch::Receiver<u64>> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(store) => Some(store.replaced()),
        }
    }

    /// What the hosts of a cluster share about deployments; `None` for a store in memory, which has one host.
    pub(crate) fn deployments(&self) -> Option<Arc<dyn ClusterDeployments>> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(store) => Some(store.clone()),
        }
    }

    /// An empty store in the memory of this process.
    pub fn memory() -> Self {
        Self::Memory(Arc::new(MemoryStore::new()))
    }

    /// An empty store in the memory of this process that takes nothing more when it has this size.
    pub(crate) fn memory_within(bytes_max: u64) -> Self {
        Self::Memory(Arc::new(MemoryStore::new().with_bytes_max(bytes_max)))
    }

    /// An empty store in the memory of this process, on a clock that its holder moves.
    pub(crate) fn memory_on(clock: StepClock) -> Self {
        Self::Memory(Arc::new(MemoryStore::with_step_clock(clock)))
    }

    /// Returns when this span has passed on the store's clock.
    pub async fn wait(&self, span: Duration) {
        match self {
            Self::Memory(store) => store.wait(span).await,
            Self::Redis(_) => tokio::time::sleep(span).await,
        }
    }

    /// The present time on the store's clock, which all deadlines refer to.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Memory(store) => store.now(),
            Self::Redis(store) => store.now(),
        }
    }

    /// The size of the store.
    pub fn stats(&self) -> StoreStats {
        match self {
            Self::Memory(store) => store.stats(),
            Self::Redis(store) => store.stats(),
        }
    }

    /// Runs the store's background maintenance until `shutdown`.
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
            Self::Memory(store) => measured(&OPERATIONS.read, store.read(queries)).await,
            Self::Redis(store) => measured(&OPERATIONS.read, store.read(queries)).await,
        }
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        match self {
            Self::Memory(store) => measured(&OPERATIONS.commit, store.commit(transactions)).await,
            Self::Redis(store) => measured(&OPERATIONS.commit, store.commit(transactions)).await,
        }
    }
}

impl PubSub for Store {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => measured(&OPERATIONS.publish, store.publish(publications)).await,
            Self::Redis(store) => measured(&OPERATIONS.publish, store.publish(publications)).await,
        }
    }
}

impl Bus for Store {
    async fn join(&self, user: UserId, subscriber: Arc<dyn Subscriber>) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => measured(&OPERATIONS.join, store.join(user, subscriber)).await,
            Self::Redis(store) => measured(&OPERATIONS.join, store.join(user, subscriber)).await,
        }
    }

    async fn leave(&self, user: UserId) {
        let left = async {
            match self {
                Self::Memory(store) => store.leave(user).await,
                Self::Redis(store) => store.leave(user).await,
            }
            Ok(())
        };
        // Leaving does not fail.
        let _ = measured(&OPERATIONS.leave, left).await;
    }
}

impl Feeds for Store {
    async fn follow(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        match self {
            Self::Memory(store) => measured(&OPERATIONS.follow, store.follow(users)).await,
            Self::Redis(store) => measured(&OPERATIONS.follow, store.follow(users)).await,
        }
    }

    async fn positions(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        match self {
            Self::Memory(store) => measured(&OPERATIONS.positions, store.positions(users)).await,
            Self::Redis(store) => measured(&OPERATIONS.positions, store.positions(users)).await,
        }
    }

    async fn replay(&self, user: UserId, since: &Position) -> Result<Replay, StoreError> {
        match self {
            Self::Memory(store) => measured(&OPERATIONS.replay, store.replay(user, since)).await,
            Self::Redis(store) => measured(&OPERATIONS.replay, store.replay(user, since)).await,
        }
    }
}

/// An operation: the name that metrics and spans have for it, and its histogram.
struct MeasuredOperation {
    name: &'static str,
    latency: Latency,
}

/// Every operation, its histogram `roost_store_seconds{operation}` looked up once.
struct MeasuredOperations {
    read: MeasuredOperation,
    commit: MeasuredOperation,
    publish: MeasuredOperation,
    join: MeasuredOperation,
    leave: MeasuredOperation,
    positions: MeasuredOperation,
    replay: MeasuredOperation,
    follow: MeasuredOperation,
}

static OPERATIONS: LazyLock<MeasuredOperations> = LazyLock::new(|| {
    let operation = |name| MeasuredOperation { name, latency: latency::of_store(name) };
    MeasuredOperations {
        read: operation("read"),
        commit: operation("commit"),
        publish: operation("publish"),
        join: operation("join"),
        leave: operation("leave"),
        positions: operation("positions"),
        replay: operation("replay"),
        follow: operation("follow"),
    }
});

/// Carries out an operation within its span and measures its latency.
async fn measured<T>(
    operation: &MeasuredOperation,
    work: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    let start = Instant::now();
    let span = trace::store_span(operation.name);
    // Pinned here, because `instrument` moves what it takes, and these futures are large.
    let answer = pin!(work).instrument(span.clone()).await;
    if matches!(answer, Err(StoreError::Unavailable { .. })) {
        trace::mark_unavailable(&span);
    }
    operation.latency.record(start.elapsed());
    answer
}
