//! Changes and lists the contacts and blocks of a user, and tells the user's devices, and both users what they may now see
//! of each other.

use super::rules::different_users;
use crate::error::Error;
use crate::event;
use crate::ids::UserId;
use crate::key::Owner;
use crate::limits::TRIES_MAX;
use crate::port::{Confirmation, Records, Relation, Transaction, World};
use crate::presence;
use crate::store_calls;

/// The contacts that the user has added, in ascending order.
pub async fn list<R: Records>(records: &R, user: UserId) -> Result<Vec<UserId>, Error> {
    Ok(records.contacts(user).await?)
}

/// The users that the user has blocked, in ascending order.
pub async fn blocked<R: Records>(records: &R, user: UserId) -> Result<Vec<UserId>, Error> {
    Ok(records.blocks(user).await?)
}

/// Adds a contact. Adding the same contact again changes nothing.
pub async fn add<W: World>(world: &W, user: UserId, contact: UserId) -> Result<(), Error> {
    different_users(user, contact, "add")?;
    let before = world.relation(user, contact).await?;
    world.add_contact(user, contact).await?;
    if !before.contact {
        announce_or_delay(world, user, contact, before).await;
    }
    Ok(())
}

/// Removes a contact. Removing a user who is no contact changes nothing.
pub async fn remove<W: World>(world: &W, user: UserId, contact: UserId) -> Result<(), Error> {
    let before = world.relation(user, contact).await?;
    world.remove_contact(user, contact).await?;
    if before.contact {
        announce_or_delay(world, user, contact, before).await;
    }
    Ok(())
}

/// Blocks a user: neither sees the other's presence, and neither can write to the other in a conversation of the two.
/// Blocking the same user again changes nothing.
pub async fn block<W: World>(world: &W, user: UserId, blocked: UserId) -> Result<(), Error> {
    different_users(user, blocked, "block")?;
    let before = world.relation(user, blocked).await?;
    world.block(user, blocked).await?;
    if !before.blocked {
        announce_or_delay(world, user, blocked, before).await;
    }
    Ok(())
}

/// Ends a block. Unblocking a user who is not blocked changes nothing.
pub async fn unblock<W: World>(world: &W, user: UserId, blocked: UserId) -> Result<(), Error> {
    let before = world.relation(user, blocked).await?;
    world.unblock(user, blocked).await?;
    if before.blocked {
        announce_or_delay(world, user, blocked, before).await;
    }
    Ok(())
}

/// Announces the one change that a call has made, and confirms it. What cannot be announced now stays pending in the
/// records, and [`crate::messaging::recover`] announces it. It also reports a failure that lasts. The call succeeds
/// in both cases, because the records hold the change.
async fn announce_or_delay<W: World>(world: &W, user: UserId, other: UserId, before: Relation) {
    match announce_since(world, (user, other), Some(before)).await {
        Ok(()) => {
            // A confirmation that is lost makes the announcement again, which is harmless.
            let _ = world.announced(vec![Confirmation::Contact(user, other, 1)]).await;
        }
        Err(error) if error.retry() => {}
        Err(_) => world.count("announcements", &[("outcome", "failed")], 1),
    }
}

/// Tells the user's devices whether the other user is a contact and whether blocked, and both users what they see of each
/// other. It is what the records say now, so that it may be told again.
pub async fn announce<W: World>(world: &W, user: UserId, other: UserId) -> Result<(), Error> {
    announce_since(world, (user, other), None).await
}

/// Tries once more at once if the store or the records fail after something was told. What was told may hold no more,
/// and whoever else announces the same change, a call or another round of recovery, may confirm it; then nobody would
/// correct it.
async fn announce_since<W: World>(world: &W, users: (UserId, UserId), before: Option<Relation>) -> Result<(), Error> {
    let mut is_published = false;
    match try_announce(world, users, before, &mut is_published).await {
        Err(error) if is_published && error.is_unavailable() => {
            try_announce(world, users, before, &mut is_published).await
        }
        outcome => outcome,
    }
}

/// Two changes of the same contact may be announced in another order than they were stored. Therefore the records are read
/// again after each announcement, and what has changed in between is announced, too. `is_published` becomes `true` as soon
/// as the user's devices may have been told something.
async fn try_announce<W: World>(
    world: &W,
    (user, other): (UserId, UserId),
    before: Option<Relation>,
    is_published: &mut bool,
) -> Result<(), Error> {
    let mut relation = world.relation(user, other).await?;
    for _ in 0..TRIES_MAX {
        let update = event::contact_update(other, relation.contact, relation.blocked);
        let transaction = Transaction::new(Owner::User(user)).publish(update);
        *is_published = true;
        if let Some(error) = store_calls::failure(&[store_calls::commit_one(world, transaction).await?]) {
            return Err(error);
        }
        presence::show_change(world, (user, other), before).await?;
        let after = world.relation(user, other).await?;
        if (after.contact, after.blocked) == (relation.contact, relation.blocked) {
            return Ok(());
        }
        relation = after;
    }
    Err(Error::Contended)
}
