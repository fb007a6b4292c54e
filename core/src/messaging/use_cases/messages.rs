//! Sending, editing and taking back messages; reading the history.

use super::announce::announce_or_delay;
use crate::error::Error;
use crate::ids::{ConversationId, MessageId, UserId};
use crate::messaging::rules::{validate_content, validate_kind, validate_page};
use crate::port::{Changed, Draft, Edit, HistoryPage, HistoryQuery, Message, World};

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

/// A page of messages, newest first.
pub async fn history<W: World>(world: &W, query: HistoryQuery) -> Result<HistoryPage, Error> {
    validate_page(query.limit)?;
    Ok(world.history(query).await?)
}
