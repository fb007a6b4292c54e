//! Creates conversations, lists and changes their members.

use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::messaging::rules::validation::validate_page;
use crate::port::{Created, MemberChange, MembersPage, MembersQuery, NewConversation, World, records_bounds};
use crate::unread::{Target, Uncached, reconcile};

/// Creates a conversation. With the id and the members of an existing one, the existing conversation is returned.
pub async fn create<W: World>(world: &W, conversation: NewConversation) -> Result<Created, Error> {
    let members = records_bounds::members(&conversation)?;
    let created = world.create_conversation(conversation).await?;
    reconcile_members(world, created.conversation.id, &members).await?;
    Ok(created)
}

/// A page of a conversation's members.
pub async fn members<W: World>(world: &W, query: MembersQuery) -> Result<MembersPage, Error> {
    validate_page(query.limit)?;
    Ok(world.members(query).await?)
}

/// Adds a member, who sees the messages sent from now on. Returns all members.
pub async fn add_member<W: World>(world: &W, change: MemberChange) -> Result<Vec<UserId>, Error> {
    let members = world.add_member(change).await?;
    reconcile_members(world, change.conversation, &[change.user]).await?;
    Ok(members)
}

/// Removes a member and the member's counters of the conversation. Returns the remaining members.
pub async fn remove_member<W: World>(world: &W, change: MemberChange) -> Result<Vec<UserId>, Error> {
    let members = world.remove_member(change).await?;
    reconcile_members(world, change.conversation, &[change.user]).await?;
    Ok(members)
}

/// Reconciles the counters of users whose membership has changed.
///
/// The change is not confirmed to the records: only they know whether another change of the same member is still pending.
/// [`super::recover`] reconciles once more and confirms.
async fn reconcile_members<W: World>(world: &W, conversation: ConversationId, users: &[UserId]) -> Result<(), Error> {
    let targets = users.iter().map(|user| Target::latest(*user, conversation)).collect();
    match reconcile(world, targets, Uncached::Skip).await {
        Err(error) if !error.retry() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
