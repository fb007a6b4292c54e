//! Removes from the store what it holds of users who have been idle for `store_idle_days`. One host of the cluster does
//! this at a time, shard by shard; without that key nobody does.

use std::sync::Arc;
use std::time::Duration;

use roost_core::error::Error;
use roost_core::idle::{self, IdleSummary};
use roost_core::limits::ACTIVITY_SHARDS;
use roost_core::slot::RepeatedWork;
use tokio::time::sleep;

use crate::ops::metrics;
use crate::runtime::HostWorld;
use crate::runtime::slots::{SlotClaims, StoreSlots};

/// How often idle users are looked for, by one host of the cluster.
const INTERVAL_MS: u64 = 60_000;
/// A host that dies blocks the work for this time. A round begins no shard after half of it; should
/// the last shard take longer, another host may begin meanwhile, which is harmless.
const LEASE_MS: u64 = 60_000;
/// A round looks at no further shard after this time; the next round goes on. A shard that fails is left to its next
/// turn.
const ROUND_MS_MAX: u64 = 30_000;
/// A host claims a slot after a random part of this time, so that all hosts share the work.
const DELAY_MAX: Duration = Duration::from_millis(500);

/// Removes idle users for ever; `idle` is how long they have been idle.
pub(crate) async fn run(world: HostWorld, slots: Arc<StoreSlots>, idle: Duration) {
    let work = RepeatedWork { name: "idle".to_owned(), every_ms: INTERVAL_MS, lease_ms: LEASE_MS };
    let mut next_shard = 0;
    loop {
        let next = Duration::from_millis(work.next_slot_in_ms(slots.now()));
        sleep(next + DELAY_MAX.mul_f64(rand::random_range(0.0..1.0))).await;
        if let Err(error) = sweep_in_slot(&world, (&slots, &work), idle, &mut next_shard).await {
            tracing::warn!(%error, "idle users cannot be removed from the store now; trying again");
        }
    }
}

async fn sweep_in_slot(
    world: &HostWorld,
    (slots, work): (&StoreSlots, &RepeatedWork),
    idle: Duration,
    next_shard: &mut u32,
) -> Result<(), Error> {
    let Some(slot) = slots.claim(work).await? else { return Ok(()) };
    let swept = sweep_shards(world, idle, next_shard).await;
    slots.release(work, &slot).await?;
    swept
}

async fn sweep_shards(world: &HostWorld, idle: Duration, next_shard: &mut u32) -> Result<(), Error> {
    let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
    let began = world.store.now();
    for _ in 0..ACTIVITY_SHARDS {
        let now = world.store.now();
        if now > began.plus(ROUND_MS_MAX) {
            return Ok(());
        }
        let shard = *next_shard;
        *next_shard = (shard + 1) % ACTIVITY_SHARDS;
        let IdleSummary { removed, kept, failed } = idle::sweep(&world.store, shard, (now, idle_ms)).await?;
        for (outcome, users) in [("removed", removed), ("kept", kept), ("failed", failed)] {
            metrics::IDLE_USERS.of([outcome]).inc_by(users as u64);
        }
        if failed > 0 {
            tracing::warn!(
                failed,
                shard,
                "some idle users cannot be removed from the store; another program may have overwritten a key"
            );
        }
    }
    Ok(())
}
