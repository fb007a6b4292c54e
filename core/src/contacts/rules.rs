//! Which users a user may add or block.

use crate::error::Error;
use crate::ids::UserId;

/// Refuses users who add or block themselves.
pub(super) fn different_users(user: UserId, other: UserId, verb: &str) -> Result<(), Error> {
    if user == other {
        return Err(Error::Invalid(format!("users cannot {verb} themselves: name another user")));
    }
    Ok(())
}
