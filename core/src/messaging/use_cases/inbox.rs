//! A page of a user's conversations, each with its members, its last message and its unread counter.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::key::{Key, Space};
use crate::last_message;
use crate::limits::LIST_MAX;
use crate::messaging::rules::validation::validate_page;
use crate::port::{Conversation, ConversationQuery, LastMessage, Message, Query, RecordsError, Value, World};
use crate::source::{Sourced, or_from_records};
use crate::time::Timestamp;
use crate::unread::{self, Target, Uncached, reconcile};
use crate::{store_answers, store_calls};

/// One conversation of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxEntry {
    /// The id of the conversation.
    pub id: ConversationId,
    /// All members of the conversation.
    pub members: Vec<UserId>,
    /// The newest message that the user may see, if there is one.
    pub last_message: Option<Message>,
    /// The number of messages that the user has not read.
    pub unread: u64,
    /// The time of the last change, or of the creation if there was none.
    pub updated_at: Timestamp,
}

/// One page of conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxPage {
    /// The conversations, newest activity first.
    pub conversations: Vec<InboxEntry>,
    /// The cursor of the next page; `None` if this was the last one.
    pub next: Option<String>,
}

/// The user's conversations; one round trip to the store if everything is cached.
pub async fn inbox<W: World>(world: &W, user: UserId, query: ConversationQuery) -> Result<Sourced<InboxPage>, Error> {
    match &query {
        ConversationQuery::Page { limit, .. } => validate_page(*limit)?,
        ConversationQuery::Named(ids) if ids.len() > LIST_MAX => {
            let text = format!("at most {LIST_MAX} conversations at a time, not {}", ids.len());
            return Err(RecordsError::TooLarge(text).into());
        }
        ConversationQuery::Named(_) => {}
    }
    let page = world.conversations(user, query).await?;
    let ids: Vec<_> = page.conversations.iter().map(|conversation| conversation.id).collect();
    let cached = cached(world, user, &ids).await;
    let known = or_from_records(world, "inbox", cached, recorded(world, user, &ids)).await?;
    Ok(known.map(|(counts, last)| {
        let conversations = page.conversations.into_iter().zip(last).map(|(conversation, last)| {
            let unread = counts.get(&conversation.id).copied().unwrap_or(0);
            entry(conversation, last.message, unread)
        });
        InboxPage { conversations: conversations.collect(), next: page.next }
    }))
}

/// Unread counters by conversation.
type CountsById = BTreeMap<ConversationId, u64>;

async fn cached<W: World>(
    world: &W,
    user: UserId,
    ids: &[ConversationId],
) -> Result<(CountsById, Vec<LastMessage>), Error> {
    let answer = look_up(world, user, ids).await;
    unread::count_lookup(world, &answer);
    if answer.as_ref().is_err_and(Error::is_store_unavailable) {
        last_message::count_lookups(world, "away", ids.len());
    }
    let ((counts, messages), _) = answer?;
    Ok((counts, last_message::complete(world, ids, messages).await?))
}

/// The counters, filled where they were missing, and the cached messages as they were read; and whether no counter was
/// missing.
async fn look_up<W: World>(
    world: &W,
    user: UserId,
    ids: &[ConversationId],
) -> Result<((CountsById, Vec<Value>), bool), Error> {
    let mut queries = vec![Query::Counter(Key::of_user(Space::UnreadTotal, user))];
    queries.extend(ids.iter().map(|id| Query::Counter(Key::unread_conversation(user, *id))));
    queries.extend(ids.iter().map(|id| last_message::query(*id)));
    let mut values = store_calls::read_all(world, queries, 1).await?;
    let messages = values.split_off((ids.len() + 1).min(values.len()));
    let (counts, found) = counts(world, user, ids, values).await?;
    Ok(((counts, messages), found))
}

async fn recorded<W: World>(
    world: &W,
    user: UserId,
    ids: &[ConversationId],
) -> Result<(CountsById, Vec<LastMessage>), Error> {
    let counters = unread::recorded(world, user, Some(ids.to_vec())).await?;
    let counts = counters.into_iter().map(|counter| (counter.conversation, counter.count)).collect();
    Ok((counts, world.last_messages(ids.to_vec()).await?))
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

/// The counters that were read if the user is cached and none is missing, otherwise the counters after filling them; and
/// whether nothing had to be filled.
async fn counts<W: World>(
    world: &W,
    user: UserId,
    ids: &[ConversationId],
    values: Vec<Value>,
) -> Result<(CountsById, bool), Error> {
    let mut values = values.into_iter();
    if store_answers::counter(values.next())?.is_none() {
        let (totals, _) = unread::stored_totals(world, user).await?;
        return Ok((totals.conversations, false));
    }
    let mut counts = CountsById::new();
    let mut missing = Vec::new();
    for (id, value) in ids.iter().zip(values) {
        match store_answers::counter(Some(value))? {
            Some(count) => drop(counts.insert(*id, count.unsigned_abs())),
            None => missing.push(*id),
        }
    }
    if missing.is_empty() {
        return Ok((counts, true));
    }
    // Conversations without a message since the user joined them, and those that the user has just left.
    let targets = missing.iter().map(|id| Target::latest(user, *id)).collect();
    reconcile(world, targets, Uncached::Fill).await?;
    let states = unread::read_states(world, missing.iter().map(|id| (user, *id))).await?;
    let counted = missing.into_iter().zip(states);
    counts.extend(counted.map(|(id, state)| (id, state.count.unwrap_or(0).unsigned_abs())));
    Ok((counts, false))
}
