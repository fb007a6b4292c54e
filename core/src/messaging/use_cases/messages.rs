//! Sends, edits and deletes messages, and reads the history.

use super::announce::announce_or_delay;
use crate::error::Error;
use crate::ids::{ConversationId, MessageId, UserId};
use crate::json_size;
use crate::limits::PAGE_BYTES_MAX;
use crate::messaging::rules::validation::{validate_content, validate_kind, validate_page};
use crate::port::{Changed, Draft, Edit, HistoryPage, HistoryQuery, Message, World};

/// A message after it was sent or edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// The message as the records hold it.
    pub message: Message,
    /// Whether the same request was carried out before, and nothing was changed now.
    pub repeated: bool,
    /// Whether the members, or some of them, will be told later, because the live state could not be changed now. The
    /// message is stored.
    pub delayed: bool,
}

/// The result of deleting a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletedMessage {
    /// Whether the members will be told later, as in [`StoredMessage::delayed`].
    pub delayed: bool,
}

/// Stores a message and announces it to every member. One round trip to the store for all cached members.
pub async fn send<W: World>(world: &W, draft: Draft) -> Result<StoredMessage, Error> {
    validate_content(&draft.content)?;
    validate_kind(&draft.kind)?;
    Ok(announce(world, world.append_message(draft).await?).await)
}

/// Changes the content of a message and announces this to every member that may see the message.
pub async fn edit<W: World>(world: &W, edit: Edit) -> Result<StoredMessage, Error> {
    validate_content(&edit.content)?;
    Ok(announce(world, world.edit_message(edit).await?).await)
}

async fn announce<W: World>(world: &W, changed: Changed) -> StoredMessage {
    let delayed = announce_or_delay(world, &changed).await;
    StoredMessage { message: changed.change.message, repeated: changed.repeated, delayed }
}

/// Deletes a message and announces this to every member that could see it. Counters that included the message go down.
/// `actor` is the user who deletes it; `None`: a service, which may delete every message.
pub async fn delete<W: World>(
    world: &W,
    actor: Option<UserId>,
    conversation: ConversationId,
    message: MessageId,
) -> Result<DeletedMessage, Error> {
    let changed = world.delete_message(conversation, message, actor, world.now()).await?;
    Ok(DeletedMessage { delayed: announce_or_delay(world, &changed).await })
}

/// A page of messages, newest first. It ends at its limit or at [`PAGE_BYTES_MAX`] of JSON.
pub async fn history<W: World>(world: &W, query: HistoryQuery) -> Result<HistoryPage, Error> {
    validate_page(query.limit)?;
    Ok(cut(world.history(query).await?))
}

fn cut(mut page: HistoryPage) -> HistoryPage {
    let fitting = json_size::fitting(page.messages.iter().map(json_size::message_bytes), PAGE_BYTES_MAX);
    if fitting < page.messages.len() {
        page.messages.truncate(fitting);
        page.next_before = page.messages.last().map(|message| message.seq);
    }
    page
}
