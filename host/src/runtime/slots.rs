//! The slots of repeated work of this host: claims them in the store under the host's name.

use std::future::Future;

use roost_core::error::Error;
use roost_core::slot::{self, ClaimedSlot, RepeatedWork, SlotClaim};
use roost_core::time::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::store::Store;

/// How many letters of a schedule's digest are in the name of its slots.
const DIGEST_LETTERS: usize = 16;

/// Claims slots. Unit tests use other stores.
pub(crate) trait SlotClaims: Send + Sync + 'static {
    /// The time on the store's clock, which divides time into slots.
    fn now(&self) -> Timestamp;

    /// Claims the present slot; `None` if it is another host's. This host must not be doing the work now.
    fn claim(&self, work: &RepeatedWork) -> impl Future<Output = Result<Option<ClaimedSlot>, Error>> + Send;

    /// Ends the lease of a slot whose work is done.
    fn release(&self, work: &RepeatedWork, slot: &ClaimedSlot) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Claims slots in the store of this host.
pub(crate) struct StoreSlots {
    store: Store,
    /// Differs for every process.
    holder: String,
}

impl StoreSlots {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, holder: Uuid::new_v4().to_string() }
    }
}

impl SlotClaims for StoreSlots {
    fn now(&self) -> Timestamp {
        self.store.now()
    }

    async fn claim(&self, work: &RepeatedWork) -> Result<Option<ClaimedSlot>, Error> {
        Ok(match slot::claim(&self.store, work, &self.holder, self.now()).await? {
            SlotClaim::Claimed(slot) => Some(slot),
            SlotClaim::Elsewhere => None,
        })
    }

    async fn release(&self, work: &RepeatedWork, slot: &ClaimedSlot) -> Result<(), Error> {
        slot::release(&self.store, work, slot, &self.holder).await
    }
}

/// The name of repeated work in the cluster.
pub(crate) struct SlotName(String);

impl SlotName {
    /// The ticks of a shard. A schedule's name may have letters that a key must not have, so its digest stands for it.
    pub(crate) fn of_tick(function: &str, schedule: &str, shard: u32) -> Self {
        let mut digest: String = Sha256::digest(schedule).iter().map(|byte| format!("{byte:02x}")).collect();
        digest.truncate(DIGEST_LETTERS);
        Self(format!("tick.{function}.{digest}.{shard}"))
    }
}

impl From<SlotName> for String {
    fn from(name: SlotName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_names_of_a_tick_make_a_valid_key() {
        let name = SlotName::of_tick(&"f".repeat(64), &"S \u{20ac}".repeat(12), 63).into();
        let work = RepeatedWork { name, every_ms: 86_400_000, lease_ms: 1_000 };
        let (one, other) = (StoreSlots::new(Store::memory()), StoreSlots::new(Store::memory()));
        let slot = one.claim(&work).await.unwrap().expect("nobody else has it");
        assert_eq!(one.claim(&work).await, Ok(None), "the slot is used");
        one.release(&work, &slot).await.unwrap();
        assert!(other.claim(&work).await.unwrap().is_some(), "another store is another cluster");
    }
}
