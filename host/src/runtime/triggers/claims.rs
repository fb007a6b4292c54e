//! Claims calls from the queue of a function; counts and logs those that were removed without being made.

use roost_core::error::Error;
use roost_core::trigger::{self, ClaimedTrigger, DropReason, DroppedTrigger, QueueClaim};

use crate::ops::metrics;
use crate::store::Store;

/// Claims up to `limit` calls that are due now, each for `lease_ms`.
pub(super) async fn claim(
    store: &Store,
    function: &str,
    (limit, lease_ms): (u32, u64),
) -> Result<Vec<ClaimedTrigger>, Error> {
    let QueueClaim { calls, dropped } = trigger::claim(store, function, (limit, lease_ms), store.now()).await?;
    for call in &dropped {
        metrics::TRIGGERS.of([function, "dropped"]).inc();
        log_dropped(function, call);
    }
    Ok(calls)
}

fn log_dropped(function: &str, DroppedTrigger { id, reason }: &DroppedTrigger) {
    match reason {
        DropReason::Unreadable => {
            tracing::warn!(function, id, "an entry in the queue of a function cannot be read and is removed");
        }
        DropReason::AttemptsUsedUp => tracing::error!(
            function,
            id,
            "a call for a publication is given up: the host of its last attempt ended before the call did"
        ),
    }
}
