//! A host that can fail: a world whose port calls fail, or yield to another task, where a test says so.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::key::Owner;
use crate::port::*;
use crate::testing::{FakeWorld, yield_now};
use crate::time::Timestamp;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The call is not carried out.
    Before,
    /// The call is carried out, and its answer is lost.
    After,
    /// Only the even (0) or the odd (1) transactions of a commit are carried out, and its answer is lost.
    Half(usize),
    /// The partitions of shards are unreachable; those of users are not.
    Shards,
    /// The partitions of users are unreachable; those of shards are not.
    Users,
}

/// Every kind of fault.
pub(super) const FAULTS: [Fault; 6] =
    [Fault::Before, Fault::After, Fault::Half(0), Fault::Half(1), Fault::Shards, Fault::Users];

/// A host in a world that it shares with other hosts.
pub(super) struct FaultyHost {
    world: FakeWorld,
    calls: AtomicU64,
    fault: Option<(u64, Fault)>,
    /// After the fault, every further call fails too.
    dies: bool,
    /// Other tasks can run before every call.
    yields: bool,
}

impl FaultyHost {
    /// A host that yields to other tasks before every call.
    pub(super) fn yielding(world: &FakeWorld) -> Self {
        Self { yields: true, ..Self::failing(world, u64::MAX, Fault::Before) }
    }

    /// A host whose call with this number, counted from 0, fails.
    pub(super) fn failing(world: &FakeWorld, at: u64, fault: Fault) -> Self {
        let world = world.clone();
        Self { world, calls: AtomicU64::new(0), fault: Some((at, fault)), dies: false, yields: false }
    }

    /// A host that fails at this call and at every later one.
    pub(super) fn dying(world: &FakeWorld, at: u64, fault: Fault) -> Self {
        Self { dies: true, ..Self::failing(world, at, fault) }
    }

    /// The number of calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// The fault of this call, if it has one.
    async fn next(&self) -> Option<Fault> {
        if self.yields {
            yield_now().await;
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let (at, fault) = self.fault?;
        match call {
            call if call == at => Some(fault),
            call if call > at && self.dies => Some(Fault::Before),
            _ => None,
        }
    }

    async fn call<T, E>(&self, effect: impl Future<Output = Result<T, E>>, lost: E) -> Result<T, E> {
        match self.next().await {
            None => effect.await,
            Some(Fault::Before | Fault::Shards | Fault::Users) => Err(lost),
            Some(Fault::After | Fault::Half(_)) => effect.await.and(Err(lost)),
        }
    }
}

/// Commits the transactions whose owner is reachable. The others fail.
async fn commit_some(
    world: &FakeWorld,
    transactions: Vec<Transaction>,
    reachable: impl Fn(Owner) -> bool,
) -> Result<Vec<Outcome>, StoreError> {
    let mut outcomes = Vec::new();
    for transaction in transactions {
        if reachable(transaction.owner) {
            outcomes.append(&mut world.commit(vec![transaction]).await?);
        } else {
            outcomes.push(Outcome::Failed(STORE_LOST));
        }
    }
    Ok(outcomes)
}

const STORE_LOST: StoreError = StoreError::Unavailable { retry_after_ms: 1 };
const RECORDS_LOST: RecordsError = RecordsError::Unavailable { retry_after_ms: 1 };

impl KeyValue for FaultyHost {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        self.call(self.world.read(queries), STORE_LOST).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        match self.next().await {
            None => self.world.commit(transactions).await,
            Some(Fault::Before) => Err(STORE_LOST),
            Some(Fault::After) => self.world.commit(transactions).await.and(Err(STORE_LOST)),
            Some(Fault::Shards) => {
                commit_some(&self.world, transactions, |owner| !matches!(owner, Owner::Shard(_))).await
            }
            Some(Fault::Users) => {
                commit_some(&self.world, transactions, |owner| matches!(owner, Owner::Shard(_))).await
            }
            Some(Fault::Half(half)) => {
                let some = transactions.into_iter().enumerate().filter(|(index, _)| index % 2 == half);
                self.world.commit(some.map(|(_, transaction)| transaction).collect()).await.and(Err(STORE_LOST))
            }
        }
    }
}

impl PubSub for FaultyHost {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.call(self.world.publish(publications), STORE_LOST).await
    }
}

impl Clock for FaultyHost {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    async fn wait(&self, milliseconds: u32) {
        self.world.wait(milliseconds).await;
    }
}

impl Telemetry for FaultyHost {
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], amount: u64) {
        self.world.count(name, labels, amount);
    }
}

/// Implements [`Records`]: every operation may fail, and otherwise goes to the world's records.
macro_rules! delegate {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Records for FaultyHost {
            $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
                self.call(self.world.$method($($argument),*), RECORDS_LOST).await
            })*
        }
    };
}

crate::records_operations!(delegate);
