//! Disconnects one device.

use crate::error::{Error, FirstFailure};
use crate::ids::{ConnectionId, UserId};
use crate::key::{Key, Space};
use crate::limits::{PRESENCE_TTL_MS, TRIES_MAX};
use crate::port::{Outcome, Query, StoreError, Value, World};
use crate::presence::rules::disconnect::{self as rule, DisconnectDecision, RemainingDevices};
use crate::store_answers::{fields, unexpected};
use crate::store_calls::{commit_all, commit_one, read_all};

/// Removes a device. If it was the user's last one, contacts are told after the grace period, unless a device connects.
/// Disconnecting a device again, or one that never sent a heartbeat, changes nothing.
pub async fn disconnect<W: World>(world: &W, user: UserId, connection: &ConnectionId) -> Result<(), Error> {
    committed(commit_one(world, rule::remove(user, connection)).await?)?;
    for _ in 0..TRIES_MAX {
        let remaining = remaining_devices(world, user).await?;
        let now = world.now();
        match rule::decide(&remaining, now) {
            DisconnectDecision::Done => return Ok(()),
            DisconnectDecision::Prune(stale) => {
                committed(commit_one(world, rule::prune(user, &stale, now)).await?)?;
            }
            DisconnectDecision::Grace(grace_ms) => {
                let mut failures = FirstFailure::default();
                failures.keep_all(commit_all(world, rule::grace(user, grace_ms, now)).await?);
                return failures.report();
            }
        }
    }
    Err(Error::Contended)
}

/// Removes devices of crashed hosts, so that the hash of a user who is always online does not grow.
pub(super) async fn prune<W: World>(world: &W, user: UserId) -> Result<(), Error> {
    let devices = remaining_devices(world, user).await?.devices;
    let now = world.now();
    let stale = rule::stale(&devices, now);
    if !stale.is_empty() {
        committed(commit_one(world, rule::prune(user, &stale, now)).await?)?;
    }
    Ok(())
}

pub(super) async fn remaining_devices<W: World>(world: &W, user: UserId) -> Result<RemainingDevices, Error> {
    let key = |space| Key::of_user(space, user);
    let queries = vec![Query::Fields(key(Space::Devices)), Query::TimeToLive(key(Space::Online))];
    let mut values = read_all(world, queries, 2).await?.into_iter();
    Ok(RemainingDevices { devices: fields(values.next())?, online_ms: online_ttl_ms(values.next().as_ref())? })
}

/// The remaining time to live of an `online` key; `None` if the key is missing.
pub(super) fn online_ttl_ms(value: Option<&Value>) -> Result<Option<u64>, StoreError> {
    match value {
        Some(Value::Missing) => Ok(None),
        // The key is never written without a time to live. If another program wrote it, it counts as just written.
        Some(Value::TimeToLive(ttl_ms)) => Ok(Some(ttl_ms.unwrap_or(PRESENCE_TTL_MS))),
        _ => Err(unexpected("a time to live")),
    }
}

/// Treats a refusal as success: it means that a heartbeat came first.
pub(super) fn committed(outcome: Outcome) -> Result<(), Error> {
    match outcome {
        Outcome::Committed(_) | Outcome::Refused(_) => Ok(()),
        Outcome::Failed(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_online_key_without_an_expiry_counts_as_just_written() {
        assert_eq!(online_ttl_ms(Some(&Value::TimeToLive(Some(7)))), Ok(Some(7)));
        assert_eq!(online_ttl_ms(Some(&Value::TimeToLive(None))), Ok(Some(PRESENCE_TTL_MS)));
        assert_eq!(online_ttl_ms(Some(&Value::Missing)), Ok(None));
        assert!(online_ttl_ms(Some(&Value::Counter(1))).is_err());
        assert!(online_ttl_ms(None).is_err());
    }

    #[test]
    fn a_refusal_is_no_failure() {
        assert_eq!(committed(Outcome::Committed(vec![])), Ok(()));
        assert_eq!(committed(Outcome::Refused(0)), Ok(()));
        let error = StoreError::Unavailable { retry_after_ms: 1 };
        assert_eq!(committed(Outcome::Failed(error.clone())), Err(error.into()));
    }
}
