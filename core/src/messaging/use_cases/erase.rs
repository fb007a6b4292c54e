//! Erases a user from the records and from the live state. Only the user's messages remain, as deleted ones.

use super::announce::{announce_or_delay, confirm};
use super::membership::announce_removals;
use crate::announcing::{count_pending, count_untried};
use crate::contacts;
use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::{ERASE_MS_MAX, ERASED_TOGETHER};
use crate::messaging::rules::erasing;
use crate::port::{Confirmation, Erased, Mutation, Query, StoreError, Transaction, World};
use crate::store_answers;
use crate::store_calls::{commit_all, failure};
use crate::time::Timestamp;

/// Erases a user. Returns `true` if nothing is left, and `false` if the time of one call was over; then the next call
/// goes on where this one has stopped. Erasing a user of whom nothing is left changes nothing.
///
/// The order lets a repetition after a crash find what is left. Contacts and memberships are removed first, so that no
/// later event names the erased user. The live state is removed last, when nothing writes it any more.
pub async fn erase<W: World>(world: &W, user: UserId) -> Result<bool, Error> {
    let end = world.now().plus(ERASE_MS_MAX);
    loop {
        let step = world.erase_user(user, world.now()).await?;
        announce(world, user, &step, end).await;
        if step.done {
            forget(world, user).await?;
            return Ok(true);
        }
        if world.now() > end {
            return Ok(false);
        }
    }
}

/// Announces what a step has done, and confirms it. What cannot be announced now, or not before the time of the call is
/// over, stays pending: it must not stop the erasing.
async fn announce<W: World>(world: &W, user: UserId, step: &Erased, end: Timestamp) {
    let mut untried = 0;
    let mut confirmations = Vec::new();
    for other in &step.related {
        if world.now() > end {
            untried += 1;
        } else if !count_pending(world, &contacts::announce(world, *other, user).await) {
            confirmations.push(Confirmation::Contact(*other, user, 1));
        }
    }
    for conversations in step.left.chunks(ERASED_TOGETHER) {
        if world.now() > end {
            untried += conversations.len();
            continue;
        }
        let announced = announce_removals(world, user, conversations, end).await;
        confirmations.extend(announced.into_iter().map(|conversation| Confirmation::Membership(conversation, user, 1)));
    }
    confirm(world, confirmations).await;
    for changed in &step.deleted {
        if world.now() > end {
            untried += 1;
        } else {
            // The change that stays pending is counted.
            let _ = announce_or_delay(world, changed).await;
        }
    }
    count_untried(world, untried);
}

/// Removes the user from the live state: presence, devices, counters and the feed. The last event, `user.erased`, is
/// for the functions that keep something about the user.
async fn forget<W: World>(world: &W, user: UserId) -> Result<(), Error> {
    failure(&commit_all(world, erasing::forget(user)).await?).map_or(Ok(()), Err)?;
    let conversations = counted_conversations(world, user).await?;
    let outcomes = commit_all(world, erasing::forget_counters(user, &conversations)).await?;
    failure(&outcomes).map_or(Ok(()), Err)?;
    let ended = commit_all(world, vec![erasing::end_feed(user)]).await?;
    failure(&ended).map_or(Ok(()), Err)
}

/// The conversations that the positions name. Positions that cannot be read, such as a value of another type, name
/// none. They are removed at once: the user is erased all the same.
async fn counted_conversations<W: World>(world: &W, user: UserId) -> Result<Vec<ConversationId>, Error> {
    let key = Key::of_user(Space::UnreadSequence, user);
    let positions = match world.read(vec![Query::Fields(key.clone())]).await {
        Ok(values) => store_answers::positions(values.into_iter().next()),
        Err(error) => Err(error),
    };
    match positions {
        Ok(positions) => Ok(positions.into_keys().collect()),
        Err(StoreError::WrongType(_)) => {
            let removed = Transaction::new(Owner::User(user)).mutate(Mutation::Delete(key));
            failure(&commit_all(world, vec![removed]).await?).map_or_else(|| Ok(Vec::new()), Err)
        }
        Err(error) => Err(error.into()),
    }
}
