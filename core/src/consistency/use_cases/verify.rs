//! Looks again until every disagreement is certain, explained, or has moved too often to tell.

use super::snapshot::{Outbox, look};
use crate::consistency::rules::{Doubt, Suspicion};
use crate::consistency::{Finding, Report, Subjects};
use crate::error::Error;
use crate::port::World;

/// After so many looks at a suspicion that keeps changing it is reported as unsettled.
const LOOKS_MAX: u32 = 6;
/// Between two looks: longer than an announcement takes when nothing is wrong.
const LOOK_WAIT_MS: u32 = 200;

/// Compares; two round trips, and some more where something is suspicious. At most [`crate::limits::LIST_MAX`].
///
/// # Errors
/// The store's or the records': whoever cannot look has found nothing.
pub async fn verify<W: World>(world: &W, subjects: &Subjects) -> Result<Report, Error> {
    let first = look(world, subjects).await?;
    let mut report = first.tally;
    let mut open = first.suspicions;
    for _ in 1..LOOKS_MAX {
        if open.is_empty() {
            return Ok(report);
        }
        // Between the looks: what is confirmed by then must be there at the second.
        let outbox = Outbox::read(world).await?;
        world.wait(LOOK_WAIT_MS).await;
        let findings: Vec<&Finding> = open.iter().map(|suspicion| &suspicion.finding).collect();
        let again = look(world, &subjects.concerned(&findings)).await?;
        open = sort(&open, again.suspicions, &outbox, &mut report);
    }
    report.unsettled.extend(open.into_iter().map(|suspicion| suspicion.finding));
    Ok(report)
}

/// Puts what two looks agree on into the report; answers what needs another.
fn sort(before: &[Suspicion], again: Vec<Suspicion>, outbox: &Outbox, report: &mut Report) -> Vec<Suspicion> {
    let mut open = Vec::new();
    for suspicion in again {
        let earlier = before.iter().find(|earlier| earlier.finding.is_about_the_same(&suspicion.finding));
        match earlier.map_or(Verdict::Open, |earlier| judge(earlier, &suspicion, outbox)) {
            Verdict::Drift => report.drift.push(suspicion.finding),
            Verdict::Pending => report.pending += 1,
            Verdict::Open => open.push(suspicion),
        }
    }
    open
}

enum Verdict {
    Drift,
    Pending,
    Open,
}

fn judge(earlier: &Suspicion, now: &Suspicion, outbox: &Outbox) -> Verdict {
    let (old, new) = (&earlier.finding, &now.finding);
    match now.doubt {
        Doubt::None if earlier.doubt == Doubt::None => Verdict::Drift,
        // The records were read after the store had been seen ahead of them, and have not caught up.
        Doubt::Ahead if earlier.doubt == Doubt::Ahead && new.records < old.stored => Verdict::Drift,
        Doubt::Behind if outbox.holds(new.user, new.conversation) => Verdict::Pending,
        // Confirmed before the second look, and still not there.
        Doubt::Behind if earlier.doubt == Doubt::Behind && !outbox.is_cut() && old.stored == new.stored => {
            Verdict::Drift
        }
        _ => Verdict::Open,
    }
}
