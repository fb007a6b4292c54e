//! Repairs the live state after another server process has taken over the store: a replica that lagged behind, or a
//! restart from a snapshot, holds old counters, and no later change may correct them.
//!
//! All users and conversations are compared with the records, page by page with pauses, by the same check that `roost
//! repair` makes. Uncached users are skipped, so that a store that came back empty costs little.

use std::time::Duration;

use roost_core::consistency::{Report, SubjectKind, Subjects};
use roost_core::error::Error;
use roost_core::limits::LIST_MAX;
use tokio::sync::watch;
use tokio::time::sleep;
use uuid::Uuid;

use crate::ops::consistency;
use crate::runtime::HostWorld;

/// The pause before the check. Announcements that are in progress correct most counters in this time.
const START_DELAY: Duration = Duration::from_secs(2);
/// The number of users or conversations of a page.
const PAGE_LENGTH: u32 = LIST_MAX as u32;
/// The pause between two pages.
const PAGE_PAUSE: Duration = Duration::from_millis(500);
/// The pause after a page that could not be compared.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Compares everything after each change of the server process; returns when no further change can come.
pub async fn run(world: HostWorld, mut replaced: watch::Receiver<u64>) {
    replaced.mark_unchanged();
    while replaced.changed().await.is_ok() {
        loop {
            sleep(START_DELAY).await;
            tracing::warn!(
                "another server process serves the store, perhaps with older data; all counters are compared with the records"
            );
            // What was compared before a further change may be old again.
            tokio::select! {
                report = compare_all(&world) => {
                    let (users, divergent, inconclusive) = (report.users, report.divergences.len(), report.inconclusive.len());
                    tracing::info!(users, divergent, inconclusive, "all counters were compared with the records and repaired");
                    break;
                }
                changed = replaced.changed() => if changed.is_err() { return },
            }
        }
    }
}

async fn compare_all(world: &HostWorld) -> Report {
    let mut report = Report::default();
    for of in [SubjectKind::Users, SubjectKind::Conversations] {
        let mut after = None;
        while let Some(next) = compare_page(world, of, after, &mut report).await {
            after = Some(next);
            sleep(PAGE_PAUSE).await;
        }
    }
    report
}

/// Compares and repairs one page, again and again until the store and the records answer. Returns where the next page
/// begins.
async fn compare_page(world: &HostWorld, of: SubjectKind, after: Option<Uuid>, report: &mut Report) -> Option<Uuid> {
    loop {
        match try_page(world, of, after, report).await {
            Ok(next) => return next,
            Err(error) if error.retry() => {
                tracing::debug!(%error, "a page of the live state cannot be compared yet; trying again")
            }
            Err(error) => {
                tracing::error!(%error, "the records cannot list what to compare; run `roost repair` for details");
                return None;
            }
        }
        sleep(RETRY_PAUSE).await;
    }
}

/// As [`compare_page`], once. A page that cannot be compared for a reason that lasts is left out.
async fn try_page(
    world: &HostWorld,
    of: SubjectKind,
    after: Option<Uuid>,
    report: &mut Report,
) -> Result<Option<Uuid>, Error> {
    let (subjects, next) = Subjects::page(world, of, after, PAGE_LENGTH).await?;
    match consistency::check_subjects(world, &subjects, true).await {
        Ok(part) => report.add(part),
        Err(error) if error.retry() => return Err(error),
        Err(error) => tracing::error!(
            %error,
            "a page of the live state cannot be compared with the records and is left out; run `roost repair` for details"
        ),
    }
    Ok(next)
}
