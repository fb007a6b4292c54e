//! The cache of each conversation's newest message: an hour long, and never replaced by something older.
//!
//! The cached hash carries the conversation's sequence at which it was true, its `version`; only a higher version
//! replaces it. So an edit or a deletion of the newest message wins over a reader that looked before it.

use crate::drive;
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Owner};
use crate::limits::LAST_MESSAGE_TTL_MS;
use crate::port::{Check, LastMessage, Message, Mutation, Outcome, Query, Telemetry, Text, Transaction, Value, World};
use crate::source::{Sourced, or_records};
use crate::time::Timestamp;

/// The conversation's sequence at which the cached state was true.
const VERSION: &str = "version";
/// The only field of a hash that is being filled; readers take it for missing.
const FILLING: &str = "filling";
/// A filler that takes longer has to start over.
const FILLING_TTL_MS: u64 = 10_000;

/// The newest message that the member may see; one round trip to the store when it is cached.
///
/// # Errors
/// [`Error::NoMessage`] when there is none; `not_a_member` for everybody else.
pub async fn get<W: World>(world: &W, user: UserId, conversation: ConversationId) -> Result<Sourced<Message>, Error> {
    let membership = world.membership(conversation, user).await?;
    let recorded = async { Ok(world.last_messages(vec![conversation]).await?) };
    let last = or_records(world, "last_message", cached(world, &[conversation]).await, recorded).await?;
    let message = last.value.into_iter().next().and_then(|last| last.message);
    let visible = message.filter(|message| message.seq > membership.joined).ok_or(Error::NoMessage)?;
    Ok(Sourced { value: visible, source: last.source })
}

/// The newest message of each conversation, in the order asked; misses are filled in one go.
async fn cached<W: World>(world: &W, conversations: &[ConversationId]) -> Result<Vec<LastMessage>, Error> {
    let queries = conversations.iter().map(|conversation| query(*conversation)).collect();
    match drive::read_all(world, queries, 1).await {
        Ok(values) => complete(world, conversations, values).await,
        Err(error) => {
            if error.store_is_away() {
                count_looks(world, "away", conversations.len());
            }
            Err(error)
        }
    }
}

/// Questions to the cache, by what came of them: hit, miss, or away when the store could not be asked.
pub(crate) fn count_looks(world: &impl Telemetry, outcome: &'static str, looks: usize) {
    if looks > 0 {
        world.count("cache", &[("cache", "last_message"), ("outcome", outcome)], looks as u64);
    }
}

/// The question that [`complete`] takes the answer of.
pub(crate) fn query(conversation: ConversationId) -> Query {
    Query::Fields(Key::last_message(conversation))
}

/// Reads what the cache answered and fills what it did not hold.
pub(crate) async fn complete<W: World>(
    world: &W,
    conversations: &[ConversationId],
    values: Vec<Value>,
) -> Result<Vec<LastMessage>, Error> {
    let mut found = Vec::with_capacity(conversations.len());
    for (conversation, value) in conversations.iter().zip(values) {
        found.push(parse(*conversation, &drive::fields(Some(value))?));
    }
    let missing: Vec<_> =
        conversations.iter().zip(&found).filter(|(_, last)| last.is_none()).map(|(id, _)| *id).collect();
    count_looks(world, "hit", found.len() - missing.len());
    count_looks(world, "miss", missing.len());
    if missing.is_empty() {
        return Ok(found.into_iter().flatten().collect());
    }
    let mut filled = fill(world, missing).await?.into_iter();
    Ok(found.into_iter().filter_map(|last| last.or_else(|| filled.next())).collect())
}

/// Puts what the records say now, where it is newer than what is cached; at most [`crate::limits::LIST_MAX`].
pub(crate) async fn refresh<W: World>(world: &W, conversations: Vec<ConversationId>) -> Result<(), Error> {
    fill(world, conversations).await.map(|_| ())
}

/// Drops what is cached, unless it changes meanwhile, and caches what the records say now.
pub(crate) async fn renew<W: World>(world: &W, conversation: ConversationId) -> Result<(), Error> {
    let key = Key::last_message(conversation);
    let version = Query::NamedFields(key.clone(), [VERSION.to_owned()].into());
    let found = drive::seq_field(world.read(vec![version]).await?.into_iter().next())?.map(|seq| seq.to_string());
    let dropped = Transaction::new(Owner::Conversation(conversation))
        .check(Check::FieldEquals(key.clone(), VERSION.into(), found.map(Into::into)))
        .mutate(Mutation::Delete(key));
    match drive::commit_one(world, dropped).await? {
        Outcome::Failed(error) => Err(error.into()),
        Outcome::Committed(_) | Outcome::Refused(_) => refresh(world, vec![conversation]).await,
    }
}

/// Caches what the records say now, and answers it.
///
/// A placeholder comes first and the state goes only where something stands: whatever is announced after the
/// placeholder writes through it and wins, and a store that restarts in between has lost the placeholder. So a
/// slow filler never leaves something old behind.
async fn fill<W: World>(world: &W, conversations: Vec<ConversationId>) -> Result<Vec<LastMessage>, Error> {
    let placeholders = conversations.iter().map(|conversation| placeholder(*conversation)).collect();
    let outcomes = drive::commit_all(world, placeholders).await?;
    drive::failure(&outcomes).map_or(Ok(()), Err)?;
    let found = world.last_messages(conversations).await?;
    let states = found.iter().filter(|last| last.version > Seq::ZERO);
    let states = states.map(|last| put(last).check(Check::Present(Key::last_message(last.conversation))));
    // A newer version may stand there by now: then this one is refused, and still a true answer of its moment.
    let outcomes = drive::commit_all(world, states.collect()).await?;
    drive::failure(&outcomes).map_or(Ok(found), Err)
}

fn placeholder(conversation: ConversationId) -> Transaction {
    let key = Key::last_message(conversation);
    Transaction::new(Owner::Conversation(conversation))
        .check(Check::Absent(key.clone()))
        .mutate(Mutation::SetFields(key.clone(), vec![(FILLING.into(), "1".into())]))
        .mutate(Mutation::Expire(key, FILLING_TTL_MS))
}

/// Caches a state of the conversation, unless the same or a newer one is cached.
pub(crate) fn put(last: &LastMessage) -> Transaction {
    let key = Key::last_message(last.conversation);
    let version = i64::try_from(last.version.0).unwrap_or(i64::MAX);
    let mut fields: Vec<(Text, Text)> = vec![(VERSION.into(), last.version.to_string().into())];
    if let Some(message) = &last.message {
        fields.extend(
            [
                ("id", message.id.to_string()),
                ("sender_id", message.sender.to_string()),
                ("content", message.content.clone()),
                ("type", message.kind.clone()),
                ("created_at", message.created_at.to_string()),
                ("seq", message.seq.to_string()),
            ]
            .map(|(name, value)| (name.into(), value.into())),
        );
        fields.extend(message.edited_at.map(|moment| ("edited_at".into(), moment.to_string().into())));
    }
    Transaction::new(Owner::Conversation(last.conversation))
        .check(Check::FieldBelow(key.clone(), VERSION.into(), version))
        .mutate(Mutation::Delete(key.clone()))
        .mutate(Mutation::SetFields(key.clone(), fields))
        .mutate(Mutation::Expire(key, LAST_MESSAGE_TTL_MS))
}

/// A cached state; `None` when nothing is cached, or nothing that can be understood.
pub(crate) fn parse(conversation: ConversationId, fields: &[(String, String)]) -> Option<LastMessage> {
    let field = |name: &str| fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let version = drive::seq(field(VERSION)?).ok()?;
    let Some(id) = field("id") else { return Some(LastMessage { conversation, version, message: None }) };
    let message = Message {
        id: id.parse().ok()?,
        conversation,
        seq: drive::seq(field("seq")?).ok()?,
        sender: field("sender_id")?.parse().ok()?,
        kind: field("type")?.to_owned(),
        content: field("content")?.to_owned(),
        created_at: Timestamp::parse_rfc3339(field("created_at")?)?,
        edited_at: field("edited_at").and_then(Timestamp::parse_rfc3339),
        deleted: false,
    };
    Some(LastMessage { conversation, version, message: Some(message) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MessageId;

    fn cached(last: &LastMessage) -> Vec<(String, String)> {
        let transaction = put(last);
        let fields = transaction.mutations.into_iter().find_map(|mutation| match mutation {
            Mutation::SetFields(_, fields) => Some(fields),
            _ => None,
        });
        fields.unwrap().into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn a_message_survives_the_cache() {
        let conversation = ConversationId::from_u128(7);
        let message = Message {
            id: MessageId::from_u128(1),
            conversation,
            seq: Seq(4),
            sender: UserId::from_u128(2),
            kind: "text".into(),
            content: "dinner at \"eight\"?\n".into(),
            created_at: Timestamp(1_790_000_000_123),
            edited_at: Some(Timestamp(1_790_000_009_000)),
            deleted: false,
        };
        for message in [Some(message.clone()), Some(Message { edited_at: None, ..message }), None] {
            let last = LastMessage { conversation, version: Seq(6), message };
            assert_eq!(parse(conversation, &cached(&last)), Some(last));
        }
    }

    #[test]
    fn what_cannot_be_understood_counts_as_missing() {
        let conversation = ConversationId::from_u128(7);
        let fields =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        assert_eq!(parse(conversation, &[]), None);
        assert_eq!(parse(conversation, &fields(&[("version", "x")])), None);
        assert_eq!(parse(conversation, &fields(&[("version", "3"), ("id", "nobody")])), None);
    }
}
