//! A clean goodbye of one device.

use crate::error::Error;
use crate::ids::{ConnectionId, UserId};
use crate::key::{Key, Space};
use crate::limits::{PRESENCE_TTL_MS, TRIES_MAX};
use crate::port::{Outcome, Query, StoreError, Value, World};
use crate::presence::rules::disconnect::{self as rule, Disconnection, Remains};
use crate::presence::use_cases::Failures;
use crate::store_answers::{fields, unexpected};
use crate::store_calls::{commit_all, commit_one, read_all};

/// The device is gone. If it was the user's last, contacts are told after the grace, unless one comes back.
/// Leaving again, or without a heartbeat, changes nothing.
pub async fn disconnect<W: World>(world: &W, user: UserId, connection: &ConnectionId) -> Result<(), Error> {
    committed(commit_one(world, rule::remove(user, connection)).await?)?;
    for _ in 0..TRIES_MAX {
        let remains = remains(world, user).await?;
        let now = world.now();
        match rule::decide(&remains, now) {
            Disconnection::Done => return Ok(()),
            Disconnection::Prune(stale) => {
                committed(commit_one(world, rule::prune(user, &stale)).await?)?;
            }
            Disconnection::Grace(grace_ms) => {
                let mut failures = Failures::default();
                failures.keep_all(commit_all(world, rule::grace(user, grace_ms, now)).await?);
                return failures.report();
            }
        }
    }
    Err(Error::Contended)
}

/// Removes what dead hosts left among the user's devices, so that the hash of somebody who is always online
/// does not grow.
pub(super) async fn prune<W: World>(world: &W, user: UserId) -> Result<(), Error> {
    let stale = rule::stale(&remains(world, user).await?.devices, world.now());
    if !stale.is_empty() {
        committed(commit_one(world, rule::prune(user, &stale)).await?)?;
    }
    Ok(())
}

async fn remains<W: World>(world: &W, user: UserId) -> Result<Remains, Error> {
    let key = |space| Key::of_user(space, user);
    let queries = vec![Query::Fields(key(Space::Devices)), Query::TimeToLive(key(Space::Online))];
    let mut values = read_all(world, queries, 2).await?.into_iter();
    Ok(Remains { devices: fields(values.next())?, online_ms: life_ms(values.next().as_ref())? })
}

/// The life left of an `online` key; `None`: there is none.
pub(super) fn life_ms(value: Option<&Value>) -> Result<Option<u64>, StoreError> {
    match value {
        Some(Value::Missing) => Ok(None),
        // Never written without a life; somebody else's key counts as one just written.
        Some(Value::TimeToLive(life_ms)) => Ok(Some(life_ms.unwrap_or(PRESENCE_TTL_MS))),
        _ => Err(unexpected("a time to live")),
    }
}

/// A refusal means that a heartbeat came first: that is fine.
fn committed(outcome: Outcome) -> Result<(), Error> {
    match outcome {
        Outcome::Committed(_) | Outcome::Refused(_) => Ok(()),
        Outcome::Failed(error) => Err(error.into()),
    }
}
