//! Which members are told that a member is typing.

use crate::error::Error;
use crate::event;
use crate::ids::{ConversationId, UserId};
use crate::port::{Membership, Publication, RecordsError};

/// One publication for each of the other members. Refused in a conversation of two users if one has blocked the other.
pub(super) fn publications(
    user: UserId,
    conversation: ConversationId,
    membership: Membership,
) -> Result<Vec<Publication>, Error> {
    if membership.blocked {
        return Err(RecordsError::Blocked.into());
    }
    let event = event::typing(conversation, user);
    let others = membership.members.into_iter().filter(|member| *member != user);
    Ok(others.map(|member| Publication { user: member, event: event.clone() }).collect())
}
