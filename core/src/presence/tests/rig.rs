//! A host that can be interrupted: a world whose port calls fail or give way to another task, where a test says.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::key::Owner;
use crate::port::*;
use crate::testing::{FakeWorld, yield_now};
use crate::time::Timestamp;

/// What happens to the call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It never arrives.
    Before,
    /// It takes effect, and its answer is lost.
    After,
    /// A commit takes effect for its even (0) or odd (1) transactions only, and its answer is lost.
    Half(usize),
    /// The shards do not answer, users do.
    Shards,
    /// Users do not answer, the shards do.
    Users,
}

/// Every way to lose a call.
pub(super) const FAULTS: [Fault; 6] =
    [Fault::Before, Fault::After, Fault::Half(0), Fault::Half(1), Fault::Shards, Fault::Users];

/// A host in a world that it shares with others.
pub(super) struct Rig {
    world: FakeWorld,
    calls: AtomicU64,
    fault: Option<(u64, Fault)>,
    /// After the fault every further call fails too.
    dies: bool,
    /// Other tasks may run before every call.
    takes_turns: bool,
}

impl Rig {
    /// A host whose calls each give way to another task first.
    pub(super) fn taking_turns(world: &FakeWorld) -> Self {
        Self { takes_turns: true, ..Self::failing(world, u64::MAX, Fault::Before) }
    }

    /// A host whose call of this number, from 0, fails.
    pub(super) fn failing(world: &FakeWorld, at: u64, fault: Fault) -> Self {
        let world = world.clone();
        Self { world, calls: AtomicU64::new(0), fault: Some((at, fault)), dies: false, takes_turns: false }
    }

    /// The same, and then it is dead.
    pub(super) fn dying(world: &FakeWorld, at: u64, fault: Fault) -> Self {
        Self { dies: true, ..Self::failing(world, at, fault) }
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Whether this call fails, and how.
    async fn next(&self) -> Option<Fault> {
        if self.takes_turns {
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

/// Carries out what `reachable` answers for, and fails the rest alone.
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

impl KeyValue for Rig {
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

impl PubSub for Rig {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.call(self.world.publish(publications), STORE_LOST).await
    }
}

impl Clock for Rig {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    async fn wait(&self, milliseconds: u32) {
        self.world.wait(milliseconds).await;
    }
}

impl Telemetry for Rig {
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], amount: u64) {
        self.world.count(name, labels, amount);
    }
}

/// Implements [`Records`]: every operation may fail, and otherwise goes to the world's records.
macro_rules! delegate {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Records for Rig {
            $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
                self.call(self.world.$method($($argument),*), RECORDS_LOST).await
            })*
        }
    };
}

crate::records_operations!(delegate);
