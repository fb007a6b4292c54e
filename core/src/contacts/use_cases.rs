//! Changes and lists the contacts and blocks of a user, and tells the user's devices, and both users what they may now
//! see of each other.

use super::rules::different_users;
use crate::announcing::{AnnounceAttempt, announce_twice, count_pending};
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

/// Announces the one change that a call has made, and confirms it. The call succeeds even if this is not possible,
/// because the records hold the change: it remains pending, and [`crate::messaging::recover`] announces it.
async fn announce_or_delay<W: World>(world: &W, user: UserId, other: UserId, before: Relation) {
    let announced = announce_since(world, (user, other), Some(before)).await;
    if !count_pending(world, &announced) {
        // A confirmation that is lost makes the announcement again, which is harmless.
        let _ = world.announced(vec![Confirmation::Contact(user, other, 1)]).await;
    }
}

/// Tells the user's devices whether the other user is a contact and whether blocked, and both users what they see of
/// each other. It is what the records say now, so that it may be told again.
pub async fn announce<W: World>(world: &W, user: UserId, other: UserId) -> Result<(), Error> {
    announce_since(world, (user, other), None).await
}

async fn announce_since<W: World>(world: &W, users: (UserId, UserId), before: Option<Relation>) -> Result<(), Error> {
    announce_twice(|| try_announce(world, users, before)).await
}

/// Two changes of the same contact may be announced in another order than they were stored. Therefore the records are
/// read again after each announcement, and what has changed in between is announced, too.
async fn try_announce<W: World>(
    world: &W,
    (user, other): (UserId, UserId),
    before: Option<Relation>,
) -> AnnounceAttempt {
    let mut is_published = false;
    let attempt = async {
        let mut relation = world.relation(user, other).await?;
        for _ in 0..TRIES_MAX {
            let update = event::contact_update(other, relation.contact, relation.blocked);
            let transaction = Transaction::new(Owner::User(user)).publish(update);
            is_published = true;
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
    };
    let outcome = attempt.await;
    (is_published, outcome)
}
