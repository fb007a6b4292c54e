//! A page of a user's conversations, each with its members, last message and unread count.

use std::collections::BTreeMap;

use super::validate_page;
use crate::drive;
use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::key::{Key, Space};
use crate::last_message;
use crate::limits::LIST_MAX;
use crate::port::{Conversation, ConversationQuery, Message, Query, RecordsError, Value, World};
use crate::time::Timestamp;
use crate::unread;

/// One conversation of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxEntry {
    /// Which one.
    pub id: ConversationId,
    /// Everybody in it.
    pub members: Vec<UserId>,
    /// The newest message that the member may see.
    pub last_message: Option<Message>,
    /// Unread messages.
    pub unread: u64,
    /// The last change's moment, or the creation's.
    pub updated_at: Timestamp,
}

/// A page, newest activity first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxPage {
    /// Newest activity first.
    pub conversations: Vec<InboxEntry>,
    /// For the next page; `None`: this was the last.
    pub next: Option<String>,
}

/// The user's conversations; one round trip to the store when everything is cached.
pub async fn inbox<W: World>(world: &W, user: UserId, query: ConversationQuery) -> Result<InboxPage, Error> {
    match &query {
        ConversationQuery::Page { limit, .. } => validate_page(*limit)?,
        ConversationQuery::Named(ids) if ids.len() > LIST_MAX => {
            return Err(RecordsError::TooLarge(format!("at most {LIST_MAX} conversations at a time")).into());
        }
        ConversationQuery::Named(_) => {}
    }
    let page = world.conversations(user, query).await?;
    let ids: Vec<_> = page.conversations.iter().map(|conversation| conversation.id).collect();
    let mut queries = vec![Query::Counter(Key::of_user(Space::UnreadTotal, user))];
    queries.extend(ids.iter().map(|id| Query::Counter(Key::unread_conversation(user, *id))));
    queries.extend(ids.iter().map(|id| last_message::query(*id)));
    let mut values = drive::read_all(world, queries, 1).await?.into_iter();
    let counted: Vec<_> = values.by_ref().take(ids.len() + 1).collect();
    let counts = counts(world, user, &ids, counted).await?;
    let last = last_message::complete(world, &ids, values.collect()).await?;
    let conversations = page.conversations.into_iter().zip(last).map(|(conversation, last)| {
        let unread = counts.get(&conversation.id).copied().unwrap_or(0);
        entry(conversation, last.message, unread)
    });
    Ok(InboxPage { conversations: conversations.collect(), next: page.next })
}

fn entry(conversation: Conversation, last: Option<Message>, unread: u64) -> InboxEntry {
    InboxEntry {
        id: conversation.id,
        last_message: last.filter(|message| message.seq > conversation.joined),
        members: conversation.members,
        unread,
        updated_at: conversation.updated_at,
    }
}

/// The counters that were read, if the user is warm and none is missing; otherwise after filling them.
async fn counts<W: World>(
    world: &W,
    user: UserId,
    ids: &[ConversationId],
    values: Vec<Value>,
) -> Result<BTreeMap<ConversationId, u64>, Error> {
    let mut values = values.into_iter();
    if drive::counter(values.next())?.is_none() {
        return Ok(unread::totals(world, user).await?.conversations);
    }
    let mut counts = BTreeMap::new();
    for (id, value) in ids.iter().zip(values) {
        let count = match drive::counter(Some(value))? {
            Some(count) => count.unsigned_abs(),
            // A conversation that nobody has written to since the user joined it, or one just left.
            None => match unread::of_conversation(world, user, *id).await {
                Err(Error::Records(RecordsError::NotAMember)) => 0,
                answer => answer?,
            },
        };
        counts.insert(*id, count);
    }
    Ok(counts)
}
