//! The form of a cached last message: how it is written and how it is parsed. Pure functions on plain values.

use crate::ids::ConversationId;
use crate::key::{Key, Owner};
use crate::limits::LAST_MESSAGE_TTL_MS;
use crate::port::{Check, LastMessage, Message, Mutation, Query, Text, Transaction};
use crate::store_answers;
use crate::time::Timestamp;

/// The field with the conversation's sequence number at which the cached state was read.
pub(super) const VERSION: &str = "version";
/// The only field of a placeholder. Readers treat a placeholder as a missing entry.
pub(super) const FILLING: &str = "filling";
/// The time to live of a placeholder. A caller that needs more time to fill it has to start again.
const FILLING_TTL_MS: u64 = 10_000;

/// The query whose answer [`parse`] and [`super::complete`] take.
pub(crate) fn query(conversation: ConversationId) -> Query {
    Query::Fields(Key::last_message(conversation))
}

/// Writes a placeholder if nothing is cached.
pub(super) fn placeholder(conversation: ConversationId) -> Transaction {
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
        fields.extend(message.edited_at.map(|edited_at| ("edited_at".into(), edited_at.to_string().into())));
    }
    Transaction::new(Owner::Conversation(last.conversation))
        .check(Check::FieldBelow(key.clone(), VERSION.into(), version))
        .mutate(Mutation::Delete(key.clone()))
        .mutate(Mutation::SetFields(key.clone(), fields))
        .mutate(Mutation::Expire(key, LAST_MESSAGE_TTL_MS))
}

/// Parses a cached state; `None` if nothing is cached, or if it cannot be parsed.
pub(crate) fn parse(conversation: ConversationId, fields: &[(String, String)]) -> Option<LastMessage> {
    let field = |name: &str| fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let version = store_answers::seq(field(VERSION)?).ok()?;
    let Some(id) = field("id") else { return Some(LastMessage { conversation, version, message: None }) };
    let message = Message {
        id: id.parse().ok()?,
        conversation,
        seq: store_answers::seq(field("seq")?).ok()?,
        sender: field("sender_id")?.parse().ok()?,
        kind: field("type")?.to_owned(),
        content: field("content")?.to_owned(),
        created_at: Timestamp::parse_rfc3339(field("created_at")?)?,
        edited_at: field("edited_at").and_then(Timestamp::parse_rfc3339),
        deleted: false,
    };
    Some(LastMessage { conversation, version, message: Some(message) })
}
