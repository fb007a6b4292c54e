//! Compares repeatedly until every difference is certain, explained, or has changed too often.

use super::compare::{PendingAnnouncements, compare};
use super::unannounced;
use crate::consistency::rules::{Judgement, Suspicion, judge};
use crate::consistency::{Finding, Report, Subjects};
use crate::error::Error;
use crate::port::World;

/// The number of comparisons after which a difference that keeps changing is reported as inconclusive.
const COMPARISONS_MAX: u32 = 6;
/// The pause between two comparisons: longer than an announcement takes normally.
const PAUSE_MS: u32 = 200;

/// Compares the subjects with the records: two round trips, and more for differences. At most
/// [`crate::limits::LIST_MAX`] subjects.
///
/// # Errors
/// The errors of the store and of the records: without both of them nothing can be compared.
pub async fn verify<W: World>(world: &W, subjects: &Subjects) -> Result<Report, Error> {
    if matches!(subjects, Subjects::Announcements) {
        return unannounced::list(world, false).await;
    }
    let first = compare(world, subjects).await?;
    let mut report = first.tally;
    let mut open = first.suspicions;
    for _ in 1..COMPARISONS_MAX {
        if open.is_empty() {
            return Ok(report);
        }
        // Read between two comparisons: what is confirmed by now must be in the store at the second one.
        let pending = PendingAnnouncements::read(world).await?;
        world.wait(PAUSE_MS).await;
        let findings: Vec<&Finding> = open.iter().map(|suspicion| &suspicion.finding).collect();
        let again = compare(world, &subjects.concerned(&findings)).await?;
        open = sort(&open, again.suspicions, &pending, &mut report);
    }
    report.inconclusive.extend(open.into_iter().map(|suspicion| suspicion.finding));
    Ok(report)
}

/// Adds the differences on which two comparisons agree to the report. Returns those that need another comparison.
fn sort(
    before: &[Suspicion],
    again: Vec<Suspicion>,
    pending: &PendingAnnouncements,
    report: &mut Report,
) -> Vec<Suspicion> {
    let mut open = Vec::new();
    for suspicion in again {
        let earlier = before.iter().find(|earlier| earlier.finding.is_about_the_same(&suspicion.finding));
        let finding = &suspicion.finding;
        let waits = pending.contains(finding.user, finding.conversation);
        let judgement =
            earlier.map_or(Judgement::Open, |earlier| judge(earlier, &suspicion, waits, pending.is_truncated()));
        match judgement {
            Judgement::Divergent => report.divergences.push(suspicion.finding),
            Judgement::Pending => report.pending += 1,
            Judgement::Open => open.push(suspicion),
        }
    }
    open
}
