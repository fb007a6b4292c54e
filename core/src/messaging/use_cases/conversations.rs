//! Creating conversations and changing their members.

use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::limits::MEMBERS_MAX;
use crate::port::{Created, MemberChange, NewConversation, RecordsError, World};
use crate::unread::{Cold, Target, settle};

/// Creates a conversation; with the same id and members again it answers the one that is there.
pub async fn create<W: World>(world: &W, conversation: NewConversation) -> Result<Created, Error> {
    if conversation.members.len() > MEMBERS_MAX {
        return Err(RecordsError::TooLarge(format!("a conversation has at most {MEMBERS_MAX} members")).into());
    }
    let created = world.create_conversation(conversation).await?;
    let id = created.conversation.id;
    standing_moved(world, id, &created.conversation.members).await?;
    Ok(created)
}

/// Adds a member, who sees what comes after; answers the members afterwards.
pub async fn add_member<W: World>(world: &W, change: MemberChange) -> Result<Vec<UserId>, Error> {
    let members = world.add_member(change).await?;
    standing_moved(world, change.conversation, &[change.user]).await?;
    Ok(members)
}

/// Removes a member, whose counters forget the conversation; answers the members that remain.
pub async fn remove_member<W: World>(world: &W, change: MemberChange) -> Result<Vec<UserId>, Error> {
    let members = world.remove_member(change).await?;
    standing_moved(world, change.conversation, &[change.user]).await?;
    Ok(members)
}

/// Brings members' counters in line with a membership that changed.
///
/// Nothing is confirmed: whether anything moved here, or something else of the same member is still pending, only the
/// records know. [`super::recover`] looks once more and confirms.
async fn standing_moved<W: World>(world: &W, conversation: ConversationId, users: &[UserId]) -> Result<(), Error> {
    let targets = users.iter().map(|user| Target::any(*user, conversation)).collect();
    match settle(world, targets, Cold::Leave).await {
        Err(error) if !error.retry() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
