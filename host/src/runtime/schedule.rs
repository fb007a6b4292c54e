//! Runs the schedules of the functions. Each shard of a schedule has slots as long as the interval, and at most one
//! host of the cluster ticks in a slot: the one that claims it in the store. A bounded number of ticks runs on a host
//! at a time. When the functions change, the schedules are read again.
//!
//! A tick is an ordinary call, to which the limits and metrics of the function apply. A claim is a lease that covers
//! the longest time that a tick can take. If a host dies during a tick, the shard ticks again after this time; if the
//! store does not answer, no host ticks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roost_core::slot::{ClaimedSlot, RepeatedWork};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ops::log::milliseconds;
use crate::ops::supervisor::propagate_panic;
use crate::ops::{metrics, trace};
use crate::runtime::dispatcher::Scheduled;
use crate::runtime::slots::{SlotClaims, tick_name};
use crate::runtime::{Caller, Invocation, Request, Schedule};

/// How many ticks of all functions together run on this host at a time.
const TICKS_MAX: usize = 8;
/// A host claims a slot after a random part of it, at most this one, so that all hosts share the work.
const DELAY_PART: f64 = 0.1;
/// The longest such delay.
const DELAY_MAX: Duration = Duration::from_millis(500);

/// The function, the schedule and the shard. Revisions of a function share its shards.
type ShardKey = (String, String, u32);

/// Ticks until `stop` is cancelled, then waits for the ticks that run.
pub(crate) async fn run<F: Scheduled, C: SlotClaims>(functions: Arc<F>, claims: Arc<C>, stop: CancellationToken) {
    let mut changes = functions.changes();
    let permits = Arc::new(Semaphore::new(TICKS_MAX));
    let mut locks: HashMap<ShardKey, Arc<Mutex<()>>> = HashMap::new();
    let mut running = JoinSet::new();
    while !stop.is_cancelled() {
        changes.mark_unchanged();
        let round = stop.child_token();
        for (target, schedule) in functions.schedules() {
            for shard in 0..schedule.shards {
                let key = (F::name(&target).to_owned(), schedule.name.clone(), shard);
                let shard = ShardTicker {
                    functions: functions.clone(),
                    claims: claims.clone(),
                    work: work::<F>(&target, &schedule, shard),
                    target: target.clone(),
                    schedule: schedule.clone(),
                    shard,
                    lock: locks.entry(key).or_default().clone(),
                    permits: permits.clone(),
                };
                running.spawn(shard.run(round.clone()));
            }
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = changes.changed() => break,
                // Shards of an earlier round end here, and those that panicked.
                Some(ended) = running.join_next(), if !running.is_empty() => propagate_panic(ended),
            }
        }
        round.cancel();
        while let Some(ended) = running.try_join_next() {
            propagate_panic(ended);
        }
        // A lock that no tick uses is made again when it is needed.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
    }
    while let Some(ended) = running.join_next().await {
        propagate_panic(ended);
    }
}

/// The work of a shard, as the store knows it.
fn work<F: Scheduled>(target: &F::Target, schedule: &Schedule, shard: u32) -> RepeatedWork {
    RepeatedWork {
        name: tick_name(F::name(target), &schedule.name, shard),
        every_ms: milliseconds(schedule.every),
        lease_ms: F::lease_ms(target),
    }
}

/// Ticks one shard of a schedule, for one revision of the function.
struct ShardTicker<F: Scheduled, C: SlotClaims> {
    functions: Arc<F>,
    claims: Arc<C>,
    work: RepeatedWork,
    target: F::Target,
    schedule: Schedule,
    shard: u32,
    /// Held during a tick of this shard, by whichever revision.
    lock: Arc<Mutex<()>>,
    permits: Arc<Semaphore>,
}

impl<F: Scheduled, C: SlotClaims> ShardTicker<F, C> {
    async fn run(self, stop: CancellationToken) {
        loop {
            let due = async {
                tokio::time::sleep(self.until_next_slot()).await;
                (self.lock.lock().await, self.permits.acquire().await)
            };
            let (_lock, _permit) = tokio::select! {
                () = stop.cancelled() => return,
                due = due => due,
            };
            self.tick_if_claimed().await;
        }
    }

    /// The time until this host tries to claim the next slot.
    fn until_next_slot(&self) -> Duration {
        let next = Duration::from_millis(self.work.next_slot_in_ms(self.claims.now()));
        let delay = self.schedule.every.mul_f64(rand::random_range(0.0..DELAY_PART));
        next + delay.min(DELAY_MAX)
    }

    async fn tick_if_claimed(&self) {
        let outcome = match self.claims.claim(&self.work).await {
            Ok(Some(slot)) => {
                let outcome = if self.fits(&slot) { self.tick().await } else { "late" };
                if let Err(error) = self.claims.release(&self.work, &slot).await {
                    self.log_store_error(&error, "the lease of a tick ends by itself");
                }
                outcome
            }
            Ok(None) => "elsewhere",
            Err(error) => {
                self.log_store_error(&error, "a slot cannot be claimed, so nobody ticks in it");
                "unclaimed"
            }
        };
        metrics::TICKS.of([F::name(&self.target), &self.schedule.name, outcome]).inc();
    }

    /// Whether a tick that begins now ends before the lease, however long it takes.
    fn fits(&self, slot: &ClaimedSlot) -> bool {
        self.claims.now().plus(milliseconds(F::call_time_max(&self.target))) <= slot.until()
    }

    fn log_store_error(&self, error: &roost_core::error::Error, what: &str) {
        let (function, schedule, shard) = (F::name(&self.target), &self.schedule.name, self.shard);
        tracing::debug!(function, schedule, shard, %error, "{what}");
    }

    async fn tick(&self) -> &'static str {
        let (function, schedule, shard) = (F::name(&self.target), &self.schedule.name, self.shard);
        let trace = trace::new_id();
        let request = Request::Tick { schedule: schedule.clone(), shard };
        let invocation = Invocation { caller: Caller::Host, trace: trace.as_str().into(), request };
        match self.functions.call(&self.target, invocation).await {
            Ok(_) => "ok",
            Err(error) => {
                tracing::warn!(function, schedule, shard, trace, %error, "a tick failed; the next tick tries again");
                "error"
            }
        }
    }
}

#[cfg(test)]
mod tests;
