//! Changes and lists a user's contacts and blocks.

use super::rules::somebody_else;
use crate::error::Error;
use crate::ids::UserId;
use crate::port::Records;

/// Those the user has added, in ascending order.
pub async fn list<R: Records>(records: &R, user: UserId) -> Result<Vec<UserId>, Error> {
    Ok(records.contacts(user).await?)
}

/// Adds a contact. Adding again changes nothing.
pub async fn add<R: Records>(records: &R, user: UserId, contact: UserId) -> Result<(), Error> {
    somebody_else(user, contact, "add")?;
    Ok(records.add_contact(user, contact).await?)
}

/// Removes a contact, if there is one.
pub async fn remove<R: Records>(records: &R, user: UserId, contact: UserId) -> Result<(), Error> {
    Ok(records.remove_contact(user, contact).await?)
}

/// Keeps somebody out: no presence either way, no messages between the two. Blocking again changes nothing.
pub async fn block<R: Records>(records: &R, user: UserId, blocked: UserId) -> Result<(), Error> {
    somebody_else(user, blocked, "block")?;
    Ok(records.block(user, blocked).await?)
}

/// Ends a block, if there is one.
pub async fn unblock<R: Records>(records: &R, user: UserId, blocked: UserId) -> Result<(), Error> {
    Ok(records.unblock(user, blocked).await?)
}
