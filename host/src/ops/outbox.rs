//! Recovery of the outbox: goes on with events and calls whose host has died before it delivered them.
//!
//! One host of the cluster does this at a time. It looks at every shard of the outbox, and usually finds nothing.

use std::sync::Arc;
use std::time::Duration;

use roost_core::error::Error;
use roost_core::outbox::{OutboxRecovery, due_shards, recover};
use roost_core::slot::RepeatedWork;
use tokio::time::sleep;

use crate::ops::metrics;
use crate::runtime::HostWorld;
use crate::runtime::slots::{SlotClaims, StoreSlots};

/// How often the outbox is looked at, by one host of the cluster.
const INTERVAL_MS: u64 = 2_000;
/// A round takes at most about a second for each shard; a host that dies blocks recovery for this time.
const LEASE_MS: u64 = 20_000;
/// A host claims a slot after a random part of this time, so that all hosts share the work.
const DELAY_MAX: Duration = Duration::from_millis(200);

/// Recovers for ever.
pub(crate) async fn run(world: HostWorld, slots: Arc<StoreSlots>) {
    let work = RepeatedWork { name: "outbox".to_owned(), every_ms: INTERVAL_MS, lease_ms: LEASE_MS };
    loop {
        let next = Duration::from_millis(work.next_slot_in_ms(slots.now()));
        sleep(next + DELAY_MAX.mul_f64(rand::random_range(0.0..1.0))).await;
        if let Err(error) = recover_in_slot(&world, &slots, &work).await {
            tracing::debug!(%error, "the outbox cannot be recovered now; trying again");
        }
    }
}

async fn recover_in_slot(world: &HostWorld, slots: &StoreSlots, work: &RepeatedWork) -> Result<(), Error> {
    let Some(slot) = slots.claim(work).await? else { return Ok(()) };
    if let Some(error) = recover_all(world).await {
        tracing::warn!(%error, "a part of the outbox cannot be recovered now; trying again");
    }
    slots.release(work, &slot).await
}

/// Recovers what can be reached. Returns the first error.
async fn recover_all(world: &HostWorld) -> Option<Error> {
    let due = due_shards(&world.outbox()).await;
    let mut first_error = due.error;
    for shard in due.shards {
        let OutboxRecovery { delivered, voided, postponed, error, .. } = recover(&world.outbox(), shard).await;
        for (outcome, entries) in [("delivered", delivered), ("voided", voided), ("postponed", postponed)] {
            metrics::OUTBOX.of([outcome]).inc_by(entries);
        }
        if delivered + postponed > 0 {
            tracing::info!(delivered, postponed, "events of transactions were left undelivered by a host; recovering");
        }
        first_error = first_error.or(error);
    }
    first_error
}
