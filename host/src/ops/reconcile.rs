//! Mends the live state after another server process took over the store: a replica that lagged, or a restart from a
//! snapshot, holds counters of a moment ago that no later change need touch.
//!
//! Everybody's counters are compared with the records, page by page and gently, by the same consistency that `roost repair`
//! makes. What is cold is passed over, so that a store that came back empty costs little.

use std::time::Duration;

use roost_core::consistency::{Kind, Report};
use roost_core::limits::LIST_MAX;
use tokio::sync::watch;
use tokio::time::sleep;
use uuid::Uuid;

use crate::ops::consistency::{self, Order, World};

/// Announcements that were under way come first; they mend most of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two pages.
const PACE: Duration = Duration::from_millis(500);
/// After a page that could not be had.
const BACKOFF: Duration = Duration::from_secs(2);

/// Goes through everybody after each change, until it is dropped.
pub async fn run(world: World, mut replaced: watch::Receiver<u64>) {
    replaced.mark_unchanged();
    while replaced.changed().await.is_ok() {
        loop {
            sleep(PATIENCE).await;
            tracing::warn!("another process serves the store; counters are compared with the records");
            // A further change leaves its mark only on what was compared already: begin again.
            tokio::select! {
                report = everybody(&world) => {
                    let (users, drift, unsettled) = (report.users, report.drift.len(), report.unsettled.len());
                    tracing::info!(users, drift, unsettled, "counters are compared with the records");
                    break;
                }
                changed = replaced.changed() => if changed.is_err() { return },
            }
        }
    }
}

async fn everybody(world: &World) -> Report {
    let mut report = Report::default();
    for of in [Kind::Users, Kind::Conversations] {
        let mut after = None;
        while let Some(next) = page(world, of, after, &mut report).await {
            after = Some(next);
            sleep(PACE).await;
        }
    }
    report
}

/// Mends a page, as soon as it can be had. Answers where the next one begins.
async fn page(world: &World, of: Kind, after: Option<Uuid>, report: &mut Report) -> Option<Uuid> {
    let order = Order { of, named: None, after, limit: u32::try_from(LIST_MAX).ok(), repair: true };
    loop {
        match consistency::carry_out(world, &order).await {
            Ok(part) => {
                report.add(part.report);
                return part.next;
            }
            Err(error) if error.retry() => tracing::debug!(%error, "a page of the live state cannot be compared yet"),
            Err(error) => {
                tracing::error!(%error, "the live state cannot be compared with the records; `roost repair` says more");
                return None;
            }
        }
        sleep(BACKOFF).await;
    }
}
