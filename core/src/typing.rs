//! Somebody is typing: the other members hear it if they listen now. Nothing is stored.

use crate::error::Error;
use crate::event;
use crate::ids::{ConversationId, UserId};
use crate::port::{Publication, RecordsError, World};

/// Tells the other members, in one publish. Refuses who is no member, and two people of whom one has blocked
/// the other.
pub async fn typing<W: World>(world: &W, user: UserId, conversation: ConversationId) -> Result<(), Error> {
    let membership = world.membership(conversation, user).await?;
    if membership.blocked {
        return Err(RecordsError::Blocked.into());
    }
    let event = event::typing(conversation, user);
    let others = membership.members.into_iter().filter(|member| *member != user);
    let publications: Vec<Publication> =
        others.map(|member| Publication { user: member, event: event.clone() }).collect();
    if !publications.is_empty() {
        world.publish(publications).await?;
    }
    Ok(())
}
