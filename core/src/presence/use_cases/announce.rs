//! Announces transitions to contacts, many at a time, and records that they were announced.
//!
//! After a crash the announcement is still due; the next heartbeat or sweep of the user repeats it.

use crate::error::{Error, FirstFailure};
use crate::limits::CALL_ITEMS_MAX;
use crate::port::{ContactAudience, Publication, World};
use crate::presence::rules::record::PresenceAnnouncement;
use crate::store_calls::commit_all;

/// Publishes each transition to the contacts that may see the user, then confirms its generation.
pub(super) async fn announce<W: World>(world: &W, announcements: Vec<PresenceAnnouncement>) -> Result<(), Error> {
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
    let confirmations = announcements.iter().map(PresenceAnnouncement::confirmation).collect();
    let mut failures = FirstFailure::default();
    failures.keep_all(commit_all(world, confirmations).await?);
    failures.report()
}

async fn publish<W: World>(
    world: &W,
    announcements: &[PresenceAnnouncement],
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
