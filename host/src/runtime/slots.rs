//! The slots of repeated work of this host: claims them in the store under the host's name.

use std::future::Future;

use roost_core::error::Error;
use roost_core::slot::{self, ClaimedSlot, RepeatedWork};
use roost_core::time::Timestamp;
use uuid::Uuid;

use crate::runtime::loader::digest;
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
    /// Differs for every host.
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
        slot::claim(&self.store, work, &self.holder, self.now()).await
    }

    async fn release(&self, work: &RepeatedWork, slot: &ClaimedSlot) -> Result<(), Error> {
        slot::release(&self.store, work, slot, &self.holder).await
    }
}

/// The name of the ticks of a shard in the cluster. A schedule's name may have letters that a key must not have, so its
/// digest stands for it.
pub(super) fn tick_name(function: &str, schedule: &str, shard: u32) -> String {
    let digest = digest(schedule.as_bytes());
    format!("tick.{function}.{}.{shard}", digest.get(..DIGEST_LETTERS).unwrap_or(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_names_of_a_tick_make_a_valid_key() {
        let name = tick_name(&"f".repeat(64), &"S \u{20ac}".repeat(12), 63);
        let work = RepeatedWork { name, every_ms: 86_400_000, lease_ms: 1_000 };
        let store = Store::memory();
        let (one, other) = (StoreSlots::new(store.clone()), StoreSlots::new(store));
        let slot = one.claim(&work).await.unwrap().expect("nobody else has it");
        assert_eq!(other.claim(&work).await, Ok(None), "another host works");
        one.release(&work, &slot).await.unwrap();
        assert_eq!(other.claim(&work).await, Ok(None), "the slot is used");
    }
}
