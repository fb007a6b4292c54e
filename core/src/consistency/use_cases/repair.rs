//! Repairs divergences with the transactions of the live code: counters are deleted and filled again, and clients
//! load the state, because they may have been told wrong ones; a cached message is deleted if it has not changed, and
//! filled again. Pending announcements are left to recovery, which is made to try again what it has failed to announce.

use super::unannounced;
use super::verify::verify;
use crate::consistency::{Finding, Report, Subjects};
use crate::error::Error;
use crate::ids::UserId;
use crate::last_message;
use crate::port::World;
use crate::unread;

/// Compares, repairs what is found, and compares again; see [`Finding::repaired`].
pub async fn repair<W: World>(world: &W, subjects: &Subjects) -> Result<Report, Error> {
    if matches!(subjects, Subjects::Announcements) {
        return unannounced::list(world, true).await;
    }
    let mut report = verify(world, subjects).await?;
    if report.divergences.is_empty() {
        return Ok(report);
    }
    let found: Vec<&Finding> = report.divergences.iter().collect();
    let affected = subjects.concerned(&found);
    match &affected {
        Subjects::Users(users) => {
            for user in users {
                ignore_lasting(renew_counters(world, *user).await)?;
            }
        }
        Subjects::Conversations(conversations) => {
            for conversation in conversations {
                ignore_lasting(last_message::renew(world, *conversation).await)?;
            }
        }
        Subjects::Announcements => {}
    }
    let after = verify(world, &affected).await?;
    for finding in &mut report.divergences {
        let mut remaining = after.divergences.iter().chain(&after.inconclusive);
        finding.repaired = !remaining.any(|remaining| remaining.is_about_the_same(finding));
        if finding.repaired {
            world.count("repair", &[("what", finding.kind.name())], 1);
        }
    }
    Ok(report)
}

/// What cannot be repaired, because a key holds a value of another type, is found again and reported as not repaired.
/// It does not stop the others.
fn ignore_lasting(repaired: Result<(), Error>) -> Result<(), Error> {
    repaired.or_else(|error| if error.retry() { Err(error) } else { Ok(()) })
}

/// Deletes the counters of a user, and fills them again.
async fn renew_counters<W: World>(world: &W, user: UserId) -> Result<(), Error> {
    unread::repair(world, user).await?;
    unread::stored_totals(world, user).await.map(drop)
}
