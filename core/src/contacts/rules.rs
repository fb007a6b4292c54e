//! Whom a user may add or block.

use crate::error::Error;
use crate::ids::UserId;

pub(super) fn somebody_else(user: UserId, other: UserId, verb: &str) -> Result<(), Error> {
    if user == other {
        return Err(Error::Invalid(format!("nobody can {verb} themselves")));
    }
    Ok(())
}
