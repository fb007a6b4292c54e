//! Changes and lists the contacts and blocks of a user.

use super::rules::different_users;
use crate::error::Error;
use crate::ids::UserId;
use crate::port::Records;

/// The contacts that the user has added, in ascending order.
pub async fn list<R: Records>(records: &R, user: UserId) -> Result<Vec<UserId>, Error> {
    Ok(records.contacts(user).await?)
}

/// Adds a contact. Adding the same contact again changes nothing.
pub async fn add<R: Records>(records: &R, user: UserId, contact: UserId) -> Result<(), Error> {
    different_users(user, contact, "add")?;
    Ok(records.add_contact(user, contact).await?)
}

/// Removes a contact. Removing a user who is no contact changes nothing.
pub async fn remove<R: Records>(records: &R, user: UserId, contact: UserId) -> Result<(), Error> {
    Ok(records.remove_contact(user, contact).await?)
}

/// Blocks a user: neither sees the other's presence, and neither can write to the other in a conversation of the two.
/// Blocking the same user again changes nothing.
pub async fn block<R: Records>(records: &R, user: UserId, blocked: UserId) -> Result<(), Error> {
    different_users(user, blocked, "block")?;
    Ok(records.block(user, blocked).await?)
}

/// Ends a block. Unblocking a user who is not blocked changes nothing.
pub async fn unblock<R: Records>(records: &R, user: UserId, blocked: UserId) -> Result<(), Error> {
    Ok(records.unblock(user, blocked).await?)
}
