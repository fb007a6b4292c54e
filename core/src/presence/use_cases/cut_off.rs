//! The note of hosts that are cut off from the store: written after heartbeats that failed, read before departures.

use crate::error::Error;
use crate::port::{Answer, RecordsError, World};
use crate::presence::rules::cut_off::{self as rule, CutOffNote};
use crate::time::Timestamp;

/// Notes that nobody departs for a while, if heartbeats failed because the store is unavailable. What the records
/// answer changes nothing for the caller: the heartbeats have failed, and their next failure tries it again.
pub(super) async fn note_after<W: World>(world: &W, written: &Result<(), Error>) {
    if !written.as_ref().is_err_and(Error::is_store_unavailable) {
        return;
    }
    let outcome = match renew(world).await {
        Ok(true) => "noted",
        Ok(false) => return,
        Err(_) => "failed",
    };
    world.count("presence_cut_off", &[("outcome", outcome)], 1);
}

/// The time before which users do not depart who may be connected to a host that is cut off; `None` if they may depart
/// now.
pub(super) async fn held_until<W: World>(world: &W, now: Timestamp) -> Option<Timestamp> {
    rule::held_until(&read(world).await, now)
}

/// Renews the note, unless it lasts long enough. Returns whether it was renewed.
async fn renew<W: World>(world: &W) -> Answer<bool> {
    let Some(put) = read(world).await?.renew(world.now()) else { return Ok(false) };
    match world.put_document(put).await {
        Ok(_) => Ok(true),
        // Another host has renewed it meanwhile, which comes to the same.
        Err(RecordsError::VersionMismatch { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn read<W: World>(world: &W) -> Answer<CutOffNote> {
    let found = world.read_documents(vec![rule::document()]).await?;
    Ok(CutOffNote::parse(found.first().and_then(Option::as_ref)))
}
