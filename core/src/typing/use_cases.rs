//! Publishes that a member is typing.

use super::rules;
use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::port::World;

/// Tells the other members in one publish call. Refuses users who are not members, and refuses in a conversation of two
/// users if one has blocked the other.
pub async fn typing<W: World>(world: &W, user: UserId, conversation: ConversationId) -> Result<(), Error> {
    let membership = world.membership(conversation, user).await?;
    let publications = rules::publications(user, conversation, membership)?;
    if !publications.is_empty() {
        world.publish(publications).await?;
    }
    Ok(())
}
