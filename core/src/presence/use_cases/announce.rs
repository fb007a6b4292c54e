//! Tells contacts of transitions, in bulk, and remembers that they were told.
//!
//! A crash anywhere in between leaves the announcement due; whoever meets the user next repeats it.

use super::Failures;
use crate::error::Error;
use crate::limits::CALL_ITEMS_MAX;
use crate::port::{ContactAudience, Publication, World};
use crate::presence::rules::record::Announcement;
use crate::store_calls::commit_all;

/// Publishes each to the user's mutual contacts without a block, then confirms it under its generation.
pub(super) async fn announce<W: World>(world: &W, announcements: Vec<Announcement>) -> Result<(), Error> {
    if announcements.is_empty() {
        return Ok(());
    }
    let users = announcements.iter().map(|announcement| announcement.user).collect();
    let audiences = world.audience(users).await?;
    publish(world, &announcements, audiences).await?;
    for announcement in &announcements {
        let kind = if announcement.repeated { "repetition" } else { "transition" };
        world.count("presence_announced", &[("state", announcement.status.name()), ("kind", kind)], 1);
    }
    let confirmations = announcements.iter().map(Announcement::confirmation).collect();
    let mut failures = Failures::default();
    failures.keep_all(commit_all(world, confirmations).await?);
    failures.report()
}

async fn publish<W: World>(
    world: &W,
    announcements: &[Announcement],
    audiences: Vec<ContactAudience>,
) -> Result<(), Error> {
    let mut publications = Vec::new();
    for (announcement, audience) in announcements.iter().zip(audiences) {
        let event = announcement.event();
        for contact in audience.visible {
            publications.push(Publication { user: contact, event: event.clone() });
            if publications.len() == CALL_ITEMS_MAX {
                world.publish(std::mem::take(&mut publications)).await?;
            }
        }
    }
    if !publications.is_empty() {
        world.publish(publications).await?;
    }
    Ok(())
}
