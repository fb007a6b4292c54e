//! Mends what disagrees, through the transactions of the live code: counters are forgotten and filled anew, a cached
//! message is dropped if it is still the wrong one and filled anew. Announcements that are pending are not touched.

use super::verify::verify;
use crate::consistency::{Finding, Report, Subjects};
use crate::error::Error;
use crate::last_message;
use crate::port::World;
use crate::unread;

/// Compares, mends what is found, and looks again; see [`Finding::repaired`].
pub async fn repair<W: World>(world: &W, subjects: &Subjects) -> Result<Report, Error> {
    let mut report = verify(world, subjects).await?;
    if report.drift.is_empty() {
        return Ok(report);
    }
    let found: Vec<&Finding> = report.drift.iter().collect();
    let broken = subjects.concerned(&found);
    match &broken {
        Subjects::Users(users) => {
            for user in users {
                unread::forget(world, *user).await?;
                unread::warm_totals(world, *user).await?;
            }
        }
        Subjects::Conversations(conversations) => {
            for conversation in conversations {
                last_message::renew(world, *conversation).await?;
            }
        }
    }
    let after = verify(world, &broken).await?;
    for finding in &mut report.drift {
        let mut left = after.drift.iter().chain(&after.unsettled);
        finding.repaired = !left.any(|left| left.is_about_the_same(finding));
        if finding.repaired {
            world.count("repair", &[("what", finding.what.name())], 1);
        }
    }
    Ok(report)
}
