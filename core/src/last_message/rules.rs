//! What is cached, how it is written, and how it is read back.

use crate::ids::ConversationId;
use crate::key::{Key, Owner};
use crate::limits::LAST_MESSAGE_TTL_MS;
use crate::port::{Check, LastMessage, Message, Mutation, Query, Text, Transaction};
use crate::store_answers;
use crate::time::Timestamp;

/// The conversation's sequence at which the cached state was true.
pub(super) const VERSION: &str = "version";
/// The only field of a hash that is being filled; readers take it for missing.
const FILLING: &str = "filling";
/// A filler that takes longer has to start over.
const FILLING_TTL_MS: u64 = 10_000;

/// The question that [`super::complete`] takes the answer of.
pub(crate) fn query(conversation: ConversationId) -> Query {
    Query::Fields(Key::last_message(conversation))
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MessageId, Seq, UserId};

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
