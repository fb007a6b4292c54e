//! Announces transitions to contacts, many at a time, and records that they were announced.
//!
//! After a crash the announcement is still due; the next heartbeat or sweep of the user repeats it. If the store has
//! lost the record meanwhile, nothing is due any more, and what was published is taken back.

use crate::error::{Error, FirstFailure};
use crate::limits::CALL_ITEMS_MAX;
use crate::port::{ContactAudience, Outcome, Publication, World};
use crate::presence::rules::record::{PresenceAnnouncement, PresenceRecord, Status};
use crate::store_calls::{commit_all, read_each};

/// Publishes each transition to the contacts that may see the user, then confirms its generation.
pub(super) async fn announce<W: World>(world: &W, announcements: Vec<PresenceAnnouncement>) -> Result<(), Error> {
    if announcements.is_empty() {
        return Ok(());
    }
    let users = announcements.iter().map(|announcement| announcement.user).collect();
    let audiences = world.audience(users).await?;
    publish(world, &announcements, &audiences).await?;
    for announcement in &announcements {
        let kind = if announcement.repeated { "repetition" } else { "transition" };
        world.count("presence_announced", &[("state", announcement.status.name()), ("kind", kind)], 1);
    }
    let confirmations = announcements.iter().map(PresenceAnnouncement::confirmation).collect();
    let outcomes = commit_all(world, confirmations).await?;
    let refused = announcements.into_iter().zip(audiences).zip(&outcomes);
    let refused = refused.filter_map(|(sent, outcome)| matches!(outcome, Outcome::Refused(_)).then_some(sent));
    take_back_forgotten(world, refused.collect()).await?;
    let mut failures = FirstFailure::default();
    failures.keep_all(outcomes);
    failures.report()
}

/// Shows users as offline again whose records are gone: the store restarted empty after they were read, and contacts
/// may have loaded the state since, in which nobody is online. Whoever connects again gets a higher generation.
pub(super) async fn take_back_forgotten<W: World>(
    world: &W,
    sent: Vec<(PresenceAnnouncement, ContactAudience)>,
) -> Result<(), Error> {
    let online: Vec<_> = sent.into_iter().filter(|(announcement, _)| announcement.status == Status::Online).collect();
    if online.is_empty() {
        return Ok(());
    }
    let queries = online.iter().map(|(announcement, _)| PresenceRecord::query(announcement.user)).collect();
    let answers = read_each(world, queries, 1).await?;
    let forgotten = online.into_iter().zip(answers).filter(|(_, answer)| {
        let record = answer.as_ref().ok().and_then(|values| PresenceRecord::parse(values.first()?).ok());
        record.is_some_and(|record| record.generation.is_none())
    });
    let (announcements, audiences): (Vec<_>, Vec<_>) =
        forgotten.map(|((announcement, audience), _)| (announcement.taken_back(), audience)).unzip();
    publish(world, &announcements, &audiences).await
}

async fn publish<W: World>(
    world: &W,
    announcements: &[PresenceAnnouncement],
    audiences: &[ContactAudience],
) -> Result<(), Error> {
    let mut publications = Vec::new();
    for (announcement, audience) in announcements.iter().zip(audiences) {
        let event = announcement.event();
        for contact in &audience.visible {
            publications.push(Publication { user: *contact, event: event.clone() });
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
