//! A page of a user's conversations, each with its members, its last message and its unread counter.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::event::{ConversationView, MessageView};
use crate::ids::{ConversationId, Seq, UserId};
use crate::insertion::CollectByInsertion as _;
use crate::key::{Key, Space};
use crate::limits::{LIST_MAX, PAGE_BYTES_MAX, PAGE_DEFAULT, PAGE_MAX, SYNC_PART_BYTES_MAX};
use crate::messaging::rules::validation::validate_page;
use crate::port::{
    Conversation, ConversationQuery, Counter, LastMessage, Message, Query, RecordsError, StoreError, Value, World,
};
use crate::source::{Source, Sourced, or_from_records};
use crate::store_calls::GroupAnswer;
use crate::time::Timestamp;
use crate::unread::{self, Target, Uncached, reconcile};
use crate::{json_size, last_message, store_answers, store_calls};

/// One conversation of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxEntry {
    /// The id of the conversation.
    pub id: ConversationId,
    /// Whether this is the pair of two users.
    pub direct: bool,
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
    /// The changes up to this sequence number are included in `unread`.
    pub seq: Seq,
    /// The user's own read position.
    pub read: Seq,
    /// The time of the newest message that was sent, or of the creation.
    pub updated_at: Timestamp,
}

impl InboxEntry {
    /// A conversation with nothing in it but what the records hold of it.
    pub fn of(conversation: Conversation) -> Self {
        Self {
            id: conversation.id,
            direct: conversation.direct,
            reads: conversation.members.iter().copied().zip(conversation.reads).collect_by_insertion(),
            members: conversation.members,
            member_count: conversation.member_count,
            last_message: None,
            unread: 0,
            seq: Seq::ZERO,
            read: conversation.read,
            updated_at: conversation.updated_at,
        }
    }

    /// The entry on the wire.
    pub fn view(&self) -> ConversationView<'_> {
        ConversationView {
            id: self.id,
            direct: self.direct,
            members: &self.members,
            member_count: self.member_count,
            reads: self.reads.clone(),
            last_message: self.last_message.as_ref().map(MessageView::from),
            unread: self.unread,
            seq: self.seq,
            read: self.read,
            updated_at: self.updated_at,
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
    /// The conversations, newest message first.
    pub conversations: Vec<InboxEntry>,
    /// The cursor of the next page; `None` if this was the last one.
    pub next: Option<String>,
}

/// The user's conversations; one round trip to the store if everything is cached. A page ends at its limit or at
/// [`PAGE_BYTES_MAX`] of JSON. Named conversations that do not fit are answered with the first page of all of them,
/// whose cursor goes on.
pub async fn inbox<W: World>(world: &W, user: UserId, query: ConversationQuery) -> Result<Sourced<InboxPage>, Error> {
    match query {
        ConversationQuery::Page { cursor, limit } => {
            validate_page(limit)?;
            page(world, user, (cursor, limit), PAGE_BYTES_MAX).await
        }
        ConversationQuery::Named(ids) => named(world, user, ids, PAGE_BYTES_MAX).await,
    }
}

/// One of the user's conversations.
///
/// # Errors
/// [`RecordsError::NotAMember`] if the user is no member, also of a conversation that does not exist.
pub async fn conversation<W: World>(world: &W, user: UserId, id: ConversationId) -> Result<Sourced<InboxEntry>, Error> {
    let found = world.conversations(user, ConversationQuery::Named(vec![id])).await?.conversations;
    let (Sourced { value, source }, _) = entries(world, user, found).await?;
    let value = value.into_iter().next().ok_or(RecordsError::NotAMember)?;
    Ok(Sourced { value, source })
}

/// The conversations in which a client missed events or, if those are unknown (`None`), the newest ones, in an answer
/// that has other parts. As with [`inbox`], a cursor goes on where they do not fit.
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

/// A page whose entries fit. The records know the cursor behind an entry only for the last one of a page, so that they
/// are asked again for the number of entries that fitted.
///
/// They are also asked again if the counters were filled after the page was read. A user who was never cached is not
/// told which conversations a fill finds, so one that was created in between would be in no page and in no event.
async fn page<W: World>(
    world: &W,
    user: UserId,
    (cursor, mut limit): (Option<String>, u32),
    bytes_max: usize,
) -> Result<Sourced<InboxPage>, Error> {
    // A new conversation is on the first page.
    let mut may_lack_one = cursor.is_none();
    loop {
        let query = ConversationQuery::Page { cursor: cursor.clone(), limit };
        let page = world.conversations(user, query).await?;
        let (entries, was_cached) = entries(world, user, page.conversations).await?;
        if may_lack_one && !was_cached {
            may_lack_one = false;
            continue;
        }
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
        let (entries, _) = entries(world, user, chunk.to_vec()).await?;
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

/// The conversations with their counters and last messages, at most a page of them; and whether no counter was missing.
async fn entries<W: World>(
    world: &W,
    user: UserId,
    conversations: Vec<Conversation>,
) -> Result<(Sourced<Vec<InboxEntry>>, bool), Error> {
    let ids: Vec<_> = conversations.iter().map(|conversation| conversation.id).collect();
    let cached = cached(world, user, &ids).await;
    let known = or_from_records(world, "inbox", cached, recorded(world, user, &ids)).await?;
    let Sourced { value: ((counts, last), was_cached), source } = known;
    let entries = conversations.into_iter().zip(last).map(|(conversation, last)| {
        let (unread, seq) = counts.get(&conversation.id).copied().unwrap_or_default();
        entry(conversation, last.message, (unread, seq))
    });
    Ok((Sourced { value: entries.collect(), source }, was_cached))
}

/// Unread counters by conversation, and the sequence numbers up to which they are counted.
type CountsById = BTreeMap<ConversationId, (u64, Seq)>;

/// The answer of the store, and whether no counter was missing.
async fn cached<W: World>(
    world: &W,
    user: UserId,
    ids: &[ConversationId],
) -> Result<((CountsById, Vec<LastMessage>), bool), Error> {
    let answer = look_up(world, user, ids).await;
    unread::count_lookup(world, &answer);
    if answer.as_ref().is_err_and(Error::is_store_unavailable) {
        last_message::count_lookups(world, "away", ids.len());
    }
    let ((counts, messages), was_cached) = answer?;
    Ok(((counts, last_message::complete(world, ids, messages).await?), was_cached))
}

/// The counters, filled where they were missing, and the cached messages as they were read; and whether no counter was
/// missing.
async fn look_up<W: World>(
    world: &W,
    user: UserId,
    ids: &[ConversationId],
) -> Result<((CountsById, Vec<GroupAnswer>), bool), Error> {
    let mut queries = vec![Query::Counter(Key::of_user(Space::UnreadTotal, user))];
    if !ids.is_empty() {
        let names = ids.iter().map(ConversationId::to_string).collect();
        queries.push(Query::NamedFields(Key::of_user(Space::UnreadSequence, user), names));
    }
    queries.extend(ids.iter().map(|id| Query::Counter(Key::unread_conversation(user, *id))));
    let messages = ids.iter().map(|id| last_message::query(*id)).collect();
    let (values, messages) = read_together(world, queries, messages).await?;
    let (counts, found) = counts(world, user, ids, values).await?;
    Ok(((counts, messages), found))
}

/// Reads the counters of a user and the cached messages in one round trip, and in more if a key holds a value of
/// another type. A message is shared by all members, so that its key is the failure of this message alone.
async fn read_together<W: World>(
    world: &W,
    counters: Vec<Query>,
    messages: Vec<Query>,
) -> Result<(Vec<Value>, Vec<GroupAnswer>), Error> {
    let all = [counters.as_slice(), messages.as_slice()].concat();
    match store_calls::read_all(world, all, 1).await {
        Ok(mut values) => {
            let messages = values.split_off(counters.len().min(values.len()));
            Ok((values, messages.into_iter().map(|value| Ok(vec![value])).collect()))
        }
        Err(Error::Store(StoreError::WrongType(_))) => {
            let values = store_calls::read_all(world, counters, 1).await?;
            Ok((values, store_calls::read_each(world, messages, 1).await?))
        }
        Err(error) => Err(error),
    }
}

/// The answer of the records, in which no counter is missing.
async fn recorded<W: World>(
    world: &W,
    user: UserId,
    ids: &[ConversationId],
) -> Result<((CountsById, Vec<LastMessage>), bool), Error> {
    let counters = unread::recorded(world, user, Some(ids.to_vec())).await?;
    let count = |counter: Counter| (counter.conversation, (counter.count, counter.seq));
    let counts = counters.into_iter().map(count).collect_by_insertion();
    Ok(((counts, world.last_messages(ids.to_vec()).await?), true))
}

fn entry(conversation: Conversation, last: Option<Message>, (unread, seq): (u64, Seq)) -> InboxEntry {
    let last_message = last.filter(|message| message.seq > conversation.joined);
    InboxEntry { last_message, unread, seq, ..InboxEntry::of(conversation) }
}

/// The counters that were read if the user is cached and none is missing, otherwise the counters after filling them;
/// and whether nothing had to be filled.
async fn counts<W: World>(
    world: &W,
    user: UserId,
    ids: &[ConversationId],
    values: Vec<Value>,
) -> Result<(CountsById, bool), Error> {
    let mut values = values.into_iter();
    if store_answers::counter(values.next())?.is_none() {
        unread::stored_totals(world, user).await?;
        let (counts, missing) = stored_counts(world, user, ids).await?;
        return Ok((reconciled(world, user, counts, missing).await?, false));
    }
    if ids.is_empty() {
        return Ok((CountsById::new(), true));
    }
    let positions = store_answers::seq_fields(values.next())?;
    let (mut counts, mut missing) = (CountsById::new(), Vec::new());
    for ((id, position), value) in ids.iter().zip(positions).zip(values) {
        match (store_answers::counter(Some(value))?, position) {
            (Some(count), Some(position)) => drop(counts.insert(*id, (count.unsigned_abs(), position))),
            _ => missing.push(*id),
        }
    }
    let found = missing.is_empty();
    Ok((reconciled(world, user, counts, missing).await?, found))
}

/// The counters that the store has now, and the conversations of which it has none.
async fn stored_counts<W: World>(
    world: &W,
    user: UserId,
    ids: &[ConversationId],
) -> Result<(CountsById, Vec<ConversationId>), Error> {
    let states = unread::read_states(world, ids.iter().map(|id| (user, *id))).await?;
    let (mut counts, mut missing) = (CountsById::new(), Vec::new());
    for (id, state) in ids.iter().zip(states) {
        let state = state?;
        match (state.count, state.seq) {
            (Some(count), Some(seq)) => drop(counts.insert(*id, (count.unsigned_abs(), seq))),
            _ => missing.push(*id),
        }
    }
    Ok((counts, missing))
}

/// The counters after those that are missing were written: of conversations whose new member is not told yet. Those
/// that the user has just left remain missing.
async fn reconciled<W: World>(
    world: &W,
    user: UserId,
    mut counts: CountsById,
    missing: Vec<ConversationId>,
) -> Result<CountsById, Error> {
    if !missing.is_empty() {
        let targets = missing.iter().map(|id| Target::latest(user, *id)).collect();
        reconcile(world, targets, Uncached::Fill).await?;
        counts.extend(stored_counts(world, user, &missing).await?.0);
    }
    Ok(counts)
}
