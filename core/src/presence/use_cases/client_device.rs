//! Heartbeats of clients without a socket, which choose the ids of their devices: no user has more than so many
//! devices.
//!
//! A device that is known costs one round trip, as every heartbeat. Only a new one is counted.

use super::cut_off;
use super::disconnect::{committed, remaining_devices};
use super::heartbeat::write_heartbeats;
use crate::error::{Error, FirstFailure};
use crate::ids::{ConnectionId, UserId};
use crate::port::{Outcome, World};
use crate::presence::rules::devices::{self as rule, Renewal};
use crate::presence::rules::disconnect;
use crate::store_calls::{commit_all, commit_one};

/// Writes the heartbeat of a device whose id the client has chosen.
///
/// # Errors
/// [`Error::TooManyDevices`] if the device is new and the user has too many others; the heartbeat does not count then.
pub async fn client_heartbeat<W: World>(world: &W, user: UserId, connection: &ConnectionId) -> Result<(), Error> {
    let written = write_heartbeat(world, user, connection).await;
    cut_off::note_after(world, &written).await;
    written
}

async fn write_heartbeat<W: World>(world: &W, user: UserId, connection: &ConnectionId) -> Result<(), Error> {
    match renew(world, user, connection).await? {
        Renewal::Known => return Ok(()),
        Renewal::New => {}
        Renewal::Offline => write_heartbeats(world, &[(user, connection.clone())]).await?,
    }
    count(world, user, connection).await
}

/// Renews the heartbeat of a user who is online.
async fn renew<W: World>(world: &W, user: UserId, connection: &ConnectionId) -> Result<Renewal, Error> {
    let mut outcomes = commit_all(world, rule::renew(user, connection, world.now())).await?.into_iter();
    let Some(own) = outcomes.next() else { return Ok(Renewal::Offline) };
    let mut failures = FirstFailure::default();
    failures.keep_all(outcomes.collect());
    failures.report()?;
    match own {
        Outcome::Committed(results) => Ok(rule::renewal(&results)),
        Outcome::Refused(_) => Ok(Renewal::Offline),
        Outcome::Failed(error) => Err(error.into()),
    }
}

/// Removes devices that are gone. If there are still too many, the new one is removed.
async fn count<W: World>(world: &W, user: UserId, connection: &ConnectionId) -> Result<(), Error> {
    let devices = remaining_devices(world, user).await?.devices;
    let now = world.now();
    let stale = disconnect::stale(&devices, now);
    if !stale.is_empty() {
        committed(commit_one(world, disconnect::prune(user, &stale, now)).await?)?;
    }
    if rule::are_too_many(devices.len() - stale.len()) {
        committed(commit_one(world, disconnect::remove(user, connection)).await?)?;
        world.count("devices_refused", &[], 1);
        return Err(Error::TooManyDevices);
    }
    Ok(())
}
