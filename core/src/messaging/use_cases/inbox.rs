//! A page of a user's conversations, each with its members, its last message and its unread counter.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Space};
use crate::limits::{LIST_MAX, PAGE_BYTES_MAX, PAGE_DEFAULT, PAGE_MAX, SYNC_PART_BYTES_MAX};
use crate::messaging::rules::validation::validate_page;
use crate::port::{Conversation, ConversationQuery, LastMessage, Message, Query, RecordsError, Value, World};
use crate::source::{Source, Sourced, or_from_records};
use crate::time::Timestamp;
use crate::unread::{self, Target, Uncached, reconcile};
use crate::{json_size, last_message, store_answers, store_calls};

/// One conversation of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxEntry {
    /// The id of the conversation.
    pub id: ConversationId,
    /// The first members of the conversation, at most [`crate::limits::MEMBERS_SHOWN_MAX`].
    pub members: Vec<UserId>,
    /// The number of all members.
    pub member_count: u64,
    /// The read position of every member, if there are at most [`crate::limits::READS_SHOWN_MAX`].
    pub reads: BTreeMap<UserId, Seq>,
    /// The newest message that the user may see, if there is one.
    pub last_message: Option<Message>,
    /// The number of messages that the user has not read.
    pub unread: u64,
    /// The user's own read position.
    pub read: Seq,
    /// The time of the last change, or of the creation if there was none.
    pub updated_at: Timestamp,
}

impl InboxEntry {
    /// A conversation with nothing in it but what the records hold of it.
    pub fn of(conversation: Conversation) -> Self {
        Self {
            id: conversation.id,
            reads: conversation.members.iter().copied().zip(conversation.reads).collect(),
            members: conversation.members,
            member_count: conversation.member_count,
            last_message: None,
            unread: 0,
            read: conversation.read,
            updated_at: conversation.updated_at,
        }
    }

    /// A bound on the size of the entry as JSON.
    fn bytes(&self) -> usize {
        ENTRY_BYTES
            + self.members.len() * json_size::ID_BYTES
            + self.reads.len() * (json_size::ID_BYTES + json_size::NUMBER_BYTES)
            + self.last_message.as_ref().map_or(0, json_size::message_bytes)
    }
}

/// The largest size of everything of an entry but its members, their positions and its last message.
const ENTRY_BYTES: usize = 300;

/// One page of conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxPage {
    /// The conversations, newest activity first.
    pub conversations: Vec<InboxEntry>,
    /// The cursor of the next page; `None` if this was the last one.
    pub next: Option<String>,
}

/// The user's conversations; one round trip to the store if everything is cached. A page ends at its limit or at
/// [`PAGE_BYTES_MAX`] of JSON. Named conversations that do not fit are answered with the first page of all of them, whose
/// cursor goes on.
pub async fn inbox<W: World>(world: &W, user: UserId, query: ConversationQuery) -> Result<Sourced<InboxPage>, Error> {
    match query {
        ConversationQuery::Page { cursor, limit } => {
            validate_page(limit)?;
            page(world, user, (cursor, limit), PAGE_BYTES_MAX).await
        }
        ConversationQuery::Named(ids) => named(world, user, ids, PAGE_BYTES_MAX).await,
    }
}

/// The conversations in which a client missed events or, if those are unknown (`None`), the newest ones, in an answer that
/// has other parts. As with [`inbox`], a cursor goes on where they do not fit.
pub async fn sync<W: World>(
    world: &W,
    user: UserId,
    conversations: Option<Vec<ConversationId>>,
) -> Result<Sourced<InboxPage>, Error> {
    match conversations {
        Some(ids) => named(world, user, ids, SYNC_PART_BYTES_MAX).await,
        None => page(world, user, (None, PAGE_DEFAULT), SYNC_PART_BYTES_MAX).await,
    }
}

/// A page whose entries fit. The records know the cursor behind an entry only for the last one of a page, so that they are
/// asked again for the number of entries that fitted.
async fn page<W: World>(
    world: &W,
    user: UserId,
    (cursor, mut limit): (Option<String>, u32),
    bytes_max: usize,
) -> Result<Sourced<InboxPage>, Error> {
    loop {
        let query = ConversationQuery::Page { cursor: cursor.clone(), limit };
        let page = world.conversations(user, query).await?;
        let entries = entries(world, user, page.conversations).await?;
        let fitting = json_size::fitting(entries.value.iter().map(InboxEntry::bytes), bytes_max);
        if fitting >= entries.value.len() {
            return Ok(entries.map(|conversations| InboxPage { conversations, next: page.next }));
        }
        limit = u32::try_from(fitting).unwrap_or(PAGE_MAX);
    }
}

/// The named conversations if all of them fit, otherwise the first page.
async fn named<W: World>(
    world: &W,
    user: UserId,
    ids: Vec<ConversationId>,
    bytes_max: usize,
) -> Result<Sourced<InboxPage>, Error> {
    if ids.len() > LIST_MAX {
        let text = format!("at most {LIST_MAX} conversations at a time, not {}", ids.len());
        return Err(RecordsError::TooLarge(text).into());
    }
    let found = world.conversations(user, ConversationQuery::Named(ids)).await?.conversations;
    let mut source = Source::Store;
    let mut conversations = Vec::with_capacity(found.len());
    for chunk in found.chunks(PAGE_MAX as usize) {
        let entries = entries(world, user, chunk.to_vec()).await?;
        if entries.source == Source::Records {
            source = Source::Records;
        }
        conversations.extend(entries.value);
        let fitting = json_size::fitting(conversations.iter().map(InboxEntry::bytes), bytes_max);
        if fitting < conversations.len() {
            return page(world, user, (None, PAGE_DEFAULT), bytes_max).await;
        }
    }
    Ok(Sourced { value: InboxPage { conversations, next: None }, source })
}

/// The conversations with their counters and last messages; at most a page of them.
async fn entries<W: World>(
    world: &W,
    user: UserId,
    conversations: Vec<Conversation>,
) -> Result<Sourced<Vec<InboxEntry>>, Error> {
    let ids: Vec<_> = conversations.iter().map(|conversation| conversation.id).collect();
    let cached = cached(world, user, &ids).await;
    let known = or_from_records(world, "inbox", cached, recorded(world, user, &ids)).await?;
    Ok(known.map(|(counts, last)| {
        let entries = conversations.into_iter().zip(last).map(|(conversation, last)| {
            let unread = counts.get(&conversation.id).copied().unwrap_or(0);
            entry(conversation, last.message, unread)
        });
        entries.collect()
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
    let last_message = last.filter(|message| message.seq > conversation.joined);
    InboxEntry { last_message, unread, ..InboxEntry::of(conversation) }
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
