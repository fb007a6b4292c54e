//! Deletes a user's cached counters.

use crate::error::Error;
use crate::event;
use crate::ids::UserId;
use crate::key::{Key, Space};
use crate::limits::TRIES_MAX;
use crate::port::{Outcome, Publication, Query, World};
use crate::unread::rules;
use crate::{store_answers, store_calls};

/// Deletes cached counters that were found to be wrong. Clients may have been told them, so they load the state.
pub async fn repair<W: World>(world: &W, user: UserId) -> Result<(), Error> {
    forget(world, user).await?;
    Ok(world.publish(vec![Publication { user, event: event::resync() }]).await?)
}

/// Deletes the cached counters; the next read rebuilds them. The positions up to which changes were published stay, so
/// that nothing is published twice.
pub async fn forget<W: World>(world: &W, user: UserId) -> Result<(), Error> {
    let total = Key::of_user(Space::UnreadTotal, user);
    let positions = Key::of_user(Space::UnreadSequence, user);
    let token = world.now().to_string().into_bytes();
    for _ in 0..TRIES_MAX {
        let mut values =
            world.read(vec![Query::Counter(total.clone()), Query::Fields(positions.clone())]).await?.into_iter();
        let Some(found) = store_answers::counter(values.next())? else { return Ok(()) };
        let names = store_answers::fields(values.next())?;
        let conversations: Vec<_> = names.iter().filter_map(|(name, _)| name.parse().ok()).collect();
        let plan = rules::forget(user, found, &conversations, &token);
        match store_calls::commit_one(world, plan.first).await? {
            Outcome::Committed(_) => {
                let mut outcomes = store_calls::commit_all(world, plan.chunks).await?;
                if let Some(last) = plan.last {
                    outcomes.push(store_calls::commit_one(world, last).await?);
                }
                return store_calls::failure(&outcomes).map_or(Ok(()), Err);
            }
            Outcome::Refused(_) => {}
            Outcome::Failed(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}
