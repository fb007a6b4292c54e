//! Conversations and messages: what is stored in the records and announced to everybody it concerns.
//!
//! The records decide who may do what and number every change; the announcement follows. A change whose
//! announcement fails is stored all the same, stays pending in the records, and is announced by [`recover`].

mod announce;
mod inbox;
mod read;
mod recover;
mod turn;

pub use inbox::{InboxEntry, InboxPage, inbox};
pub use read::{ReadReply, mark_read};
pub use recover::recover;

use announce::announce_or_delay;

use crate::error::Error;
use crate::ids::{ConversationId, MessageId, UserId};
use crate::limits::{CONTENT_BYTES_MAX, KIND_BYTES_MAX, MEMBERS_MAX, PAGE_MAX};
use crate::port::{
    Changed, Created, Draft, Edit, HistoryPage, HistoryQuery, MemberChange, Message, NewConversation, RecordsError,
    World,
};
use crate::unread::{Cold, Target, settle};

/// A message that is stored, as it was sent or edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// As it is stored.
    pub message: Message,
    /// It was stored before, under the same id or with the same content; nothing was changed now.
    pub repeated: bool,
    /// It is safe, but the members will be told later: the live state could not be changed now.
    pub delayed: bool,
}

/// A message that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// As [`Sent::delayed`].
    pub delayed: bool,
}

/// Stores a message and tells every member. One round trip to the store for all warm members.
pub async fn send<W: World>(world: &W, draft: Draft) -> Result<Sent, Error> {
    validate_content(&draft.content)?;
    validate_kind(&draft.kind)?;
    tell(world, world.append_message(draft).await?).await
}

/// Changes a message's content and tells every member that may see it.
pub async fn edit<W: World>(world: &W, edit: Edit) -> Result<Sent, Error> {
    validate_content(&edit.content)?;
    tell(world, world.edit_message(edit).await?).await
}

async fn tell<W: World>(world: &W, changed: Changed) -> Result<Sent, Error> {
    let delayed = announce_or_delay(world, &changed).await?;
    Ok(Sent { message: changed.change.message, repeated: changed.repeated, delayed })
}

/// Takes a message back and tells every member that could see it; counters that held it go down.
pub async fn delete<W: World>(
    world: &W,
    user: UserId,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Deleted, Error> {
    let changed = world.delete_message(conversation, message, user, world.now()).await?;
    Ok(Deleted { delayed: announce_or_delay(world, &changed).await? })
}

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

/// A page of messages, newest first.
pub async fn history<W: World>(world: &W, query: HistoryQuery) -> Result<HistoryPage, Error> {
    validate_page(query.limit)?;
    Ok(world.history(query).await?)
}

/// Brings members' counters in line with a membership that changed.
///
/// Nothing is confirmed: whether anything moved here, or something else of the same member is still pending, only the
/// records know. [`recover`] looks once more and confirms.
async fn standing_moved<W: World>(world: &W, conversation: ConversationId, users: &[UserId]) -> Result<(), Error> {
    let targets = users.iter().map(|user| Target::any(*user, conversation)).collect();
    match settle(world, targets, Cold::Leave).await {
        Err(error) if !error.retry() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn validate_content(content: &str) -> Result<(), Error> {
    match content.len() {
        0 => Err(Error::Invalid("a message's content is 1 byte to 16 KiB; it is empty".to_owned())),
        length if length > CONTENT_BYTES_MAX => Err(RecordsError::TooLarge(format!(
            "a message's content is at most {CONTENT_BYTES_MAX} bytes, not {length}"
        ))
        .into()),
        _ => Ok(()),
    }
}

fn validate_kind(kind: &str) -> Result<(), Error> {
    let clean = kind.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'));
    if kind.is_empty() || kind.len() > KIND_BYTES_MAX || !clean {
        return Err(Error::Invalid(format!(
            "a message's type is 1 to {KIND_BYTES_MAX} bytes of letters, digits, '.', '_', '-' and '/'"
        )));
    }
    Ok(())
}

fn validate_page(limit: u32) -> Result<(), Error> {
    if limit == 0 || limit > PAGE_MAX {
        return Err(Error::Invalid(format!("a page's limit is 1 to {PAGE_MAX}, not {limit}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
