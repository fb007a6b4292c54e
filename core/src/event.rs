//! Events for clients in their wire form. No other module of the core writes JSON for clients.
//!
//! Functions make events of their own with [`Event::durable`] and [`Event::ephemeral`]; the other functions here are
//! the events of Roost itself.

mod conversation_view;
mod payload;

use std::fmt::{self, Write};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

pub use self::conversation_view::ConversationView;
use self::payload::CountedPositionPayload;
pub use self::payload::{
    ContactPayload, DeletedPayload, ErasedPayload, MembersPayload, PresencePayload, PublishedResyncReason,
    ReadUpdatePayload, RemovedPayload, ResyncPayload, TypingPayload, UnreadUpdatePayload,
};
use crate::error::Error;
use crate::ids::{ConversationId, MessageId, Seq, UUID_BYTES, UserId};
use crate::port::{Change, ChangeKind, Event, Message, Transaction};
use crate::time::Timestamp;

/// A message on the wire.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct MessageView<'a> {
    /// The message's id.
    pub id: MessageId,
    /// The conversation that the message belongs to.
    pub conversation: ConversationId,
    /// The sequence number under which the message was sent. An edit keeps it.
    pub seq: Seq,
    /// The user who sent the message.
    pub sender_id: UserId,
    /// The kind of content, such as `text`. The server does not interpret it.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The text of the message, of up to 16 KiB.
    pub content: &'a str,
    /// The time at which the message was stored.
    pub created_at: Timestamp,
    /// The time of the last edit. Absent if the message was never edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Timestamp")]
    pub edited_at: Option<Timestamp>,
    /// `true` if the message was deleted; its content is empty then. Absent otherwise. Only the answer to a message
    /// that is sent again shows a deleted message.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

impl<'a> From<&'a Message> for MessageView<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            id: message.id,
            conversation: message.conversation,
            seq: message.seq,
            sender_id: message.sender,
            kind: &message.kind,
            content: &message.content,
            created_at: message.created_at,
            edited_at: message.edited_at,
            deleted: message.deleted,
        }
    }
}

/// Presence of one user on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct PresenceView {
    /// The user whose presence this is.
    pub user: UserId,
    /// Whether the user has at least one live device.
    pub online: bool,
    /// The time of the last heartbeat. `null` if the user was never seen.
    pub last_seen: Option<Timestamp>,
    /// The number of the transition to this state. A transition with the same or a lower number is older and can be
    /// dropped. Zero if no transition is known.
    pub generation: u64,
}

impl PresenceView {
    /// Writes the same JSON as `Serialize`. Nothing in it needs escaping, and lists of hundreds of users are requested
    /// often: searching for characters to escape took a third of such a call. Fails for a timestamp after the year
    /// 9999.
    fn write_json(&self, json: &mut String) -> fmt::Result {
        json.push_str("{\"user\":\"");
        json.push_str(self.user.format_into(&mut [0; UUID_BYTES]));
        json.push_str(if self.online { "\",\"online\":true," } else { "\",\"online\":false," });
        if let Some(last_seen) = self.last_seen {
            json.push_str("\"last_seen\":\"");
            json.push_str(&last_seen.rfc3339().ok_or(fmt::Error)?);
            json.push_str("\",\"generation\":");
        } else {
            json.push_str("\"last_seen\":null,\"generation\":");
        }
        write!(json, "{}}}", self.generation)
    }
}

/// The JSON `{"presence":[…]}`: the answer to a presence query, and a part of `hello` and of the answer to `sync`.
pub fn presence_list(views: &[PresenceView]) -> Result<String, fmt::Error> {
    const VIEW_BYTES: usize = 136;
    let mut json = String::with_capacity(16 + views.len() * VIEW_BYTES);
    json.push_str("{\"presence\":[");
    for (index, view) in views.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        view.write_json(&mut json)?;
    }
    json.push_str("]}");
    Ok(json)
}

/// The first parts of the names of all frames and events of Roost itself. Clients trust what such an event tells, so
/// only the functions that come with Roost publish them.
const RESERVED: [&str; 13] = [
    "contact",
    "conversation",
    "error",
    "hello",
    "message",
    "ok",
    "presence",
    "resync",
    "server",
    "token",
    "typing",
    "unread",
    "user",
];

/// Whether only functions that come with Roost publish events of this name: its part before the first dot is reserved.
pub fn is_reserved(name: &str) -> bool {
    name.split('.').next().is_some_and(|first| RESERVED.contains(&first))
}

/// The names of the events about changes of conversations, which [`change`] makes.
pub const CHANGES: [&str; 3] = ["message.new", "message.updated", "message.deleted"];

/// The event for every member: `message.new`, `message.updated` or `message.deleted`.
///
/// `None` for a message that has been deleted since it was sent or edited: only its deletion is announced.
pub fn change(change: &Change) -> Option<Event> {
    let message = &change.message;
    match change.kind {
        ChangeKind::Sent if !message.deleted => Some(durable("message.new", &MessageView::from(message))),
        ChangeKind::Edited if !message.deleted => Some(durable("message.updated", &MessageView::from(message))),
        ChangeKind::Sent | ChangeKind::Edited => None,
        ChangeKind::Deleted => Some(durable(
            "message.deleted",
            &DeletedPayload { conversation: message.conversation, id: message.id, seq: message.seq },
        )),
    }
}

/// The event for the other members: a member has read up to this sequence number.
pub fn read_update(conversation: ConversationId, reader: UserId, up_to: Seq) -> Event {
    durable("message.read_update", &ReadUpdatePayload { conversation, reader, up_to })
}

/// The event for a user's own devices when a counter moved by anything but a `message.new` that the client counts
/// itself.
pub fn unread_update(update: &UnreadUpdatePayload) -> Event {
    durable(UNREAD_UPDATE, update)
}

/// As [`unread_update`], for a transaction that moves the counters itself: `unread` and `total` are the places of the
/// new counters among its results. `read` and `seq` are the positions of the counter of the conversation.
pub fn publish_unread_update(
    transaction: Transaction,
    (conversation, read, seq): (ConversationId, Seq, Seq),
    (unread, total): (u32, u32),
) -> Transaction {
    let update = durable(UNREAD_UPDATE, &CountedPositionPayload { conversation, read, seq });
    transaction.publish(update).with_result("unread", unread).with_result("total", total)
}

/// The name of the event that [`unread_update`] makes.
pub const UNREAD_UPDATE: &str = "unread.update";

/// The event for whoever became a member.
pub fn conversation_added(conversation: &ConversationView<'_>) -> Event {
    durable(CONVERSATION_ADDED, conversation)
}

/// The name of the event that [`conversation_added`] makes.
pub const CONVERSATION_ADDED: &str = "conversation.added";

/// The event for the other members: users became members, or are members no more.
pub fn conversation_members(
    conversation: ConversationId,
    added: &[UserId],
    removed: &[UserId],
    member_count: u64,
) -> Event {
    durable("conversation.members", &MembersPayload { conversation, added, removed, member_count })
}

/// The event for whoever is no member any more. The total is the one without this conversation.
pub fn conversation_removed(conversation: ConversationId, total: u64) -> Event {
    durable("conversation.removed", &RemovedPayload { conversation, total })
}

/// The event for a user's own devices: what the user has said about another user.
pub fn contact_update(user: UserId, contact: bool, blocked: bool) -> Event {
    durable("contact.update", &ContactPayload { user, contact, blocked })
}

/// The event for the devices of a user who is erased, and for the functions that keep something about users.
pub fn user_erased(user: UserId) -> Event {
    durable("user.erased", &ErasedPayload { user })
}

/// The event for a user who missed too many events to receive them all: the clients load the present state and continue
/// from there.
pub fn resync() -> Event {
    durable("resync", &ResyncPayload { reason: PublishedResyncReason::Behind })
}

/// The event for contacts: `user.online` or `user.offline`.
pub fn presence(user: UserId, online: bool, last_seen: Option<Timestamp>, generation: u64) -> Event {
    ephemeral(if online { "user.online" } else { "user.offline" }, &PresencePayload { user, last_seen, generation })
}

/// The event for the other members: a member is typing.
pub fn typing(conversation: ConversationId, user: UserId) -> Event {
    ephemeral("typing", &TypingPayload { conversation, user })
}

impl Event {
    /// An event that takes the next offset of each user's feed and can be replayed: for what a client must not miss.
    ///
    /// The name is 1 to [`EVENT_NAME_BYTES_MAX`](crate::limits::EVENT_NAME_BYTES_MAX) bytes of `a-z`, `0-9`, `.`, `_`
    /// and `-`, such as `reaction.changed`. The store refuses any other name, and a payload of more than
    /// [`PAYLOAD_BYTES_MAX`](crate::limits::PAYLOAD_BYTES_MAX) bytes. A function that does not come with Roost is
    /// denied names that [`is_reserved`].
    ///
    /// # Errors
    /// [`Error::Encoding`] for a payload that JSON cannot express, such as a map whose keys are lists.
    pub fn durable(name: &str, payload: &impl Serialize) -> Result<Self, Error> {
        Self::encoded(name, payload, true)
    }

    /// An event that reaches only the clients that are connected at this time: for what is soon out of date, such as
    /// that somebody is typing. Otherwise as [`Event::durable`].
    ///
    /// # Errors
    /// As [`Event::durable`].
    pub fn ephemeral(name: &str, payload: &impl Serialize) -> Result<Self, Error> {
        Self::encoded(name, payload, false)
    }

    fn encoded(name: &str, payload: &impl Serialize, durable: bool) -> Result<Self, Error> {
        let payload = serde_json::to_string(payload).map_err(|error| Error::Encoding(error.to_string()))?;
        Ok(Self { name: name.into(), payload: payload.into(), durable })
    }
}

fn durable(name: &str, payload: &impl Serialize) -> Event {
    Event { name: name.into(), payload: encode(payload), durable: true }
}

fn ephemeral(name: &str, payload: &impl Serialize) -> Event {
    Event { name: name.into(), payload: encode(payload), durable: false }
}

fn encode(payload: &impl Serialize) -> Arc<str> {
    // Ids, numbers and strings can always be encoded; only a timestamp after the year 9999 cannot.
    serde_json::to_string(payload).map_or_else(|_| "null".into(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Owner;

    #[test]
    fn a_presence_list_is_the_same_json_as_serde_writes() {
        #[derive(Serialize)]
        struct PresenceList<'a> {
            presence: &'a [PresenceView],
        }
        let user = UserId::from_u128(0x6f1c_1fd4_3c5b_4a8e_9d1a_0c6a_2f1b_7e55);
        let here =
            PresenceView { user, online: true, last_seen: Some(Timestamp(1_790_000_000_123)), generation: u64::MAX };
        let never = PresenceView { user: UserId::from_u128(0), online: false, last_seen: None, generation: 0 };
        for views in [&[][..], &[here], &[never, here, never]] {
            assert_eq!(
                presence_list(views).unwrap(),
                serde_json::to_string(&PresenceList { presence: views }).unwrap()
            );
        }
    }

    #[test]
    fn the_names_of_all_events_of_roost_are_reserved_and_no_others() {
        let (conversation, user) = (ConversationId::from_u128(1), UserId::from_u128(2));
        let events = [
            read_update(conversation, user, Seq(1)),
            unread_update(&UnreadUpdatePayload { conversation, unread: 1, total: 1, read: Seq(1), seq: Seq(1) }),
            conversation_members(conversation, &[user], &[], 2),
            conversation_removed(conversation, 0),
            contact_update(user, true, false),
            user_erased(user),
            resync(),
            presence(user, true, None, 1),
            presence(user, false, None, 2),
            typing(conversation, user),
        ];
        let made = events.iter().map(|event| event.name.as_ref());
        let of_the_host = ["hello", "ok", "error", "presence.beat", "server.draining", "conversation.added", "token"];
        for name in made.chain(CHANGES).chain(of_the_host) {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["votes.changed", "messages.new", "message-new", "my.message.new", "reaction.changed", "typing2"] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn counters_that_are_results_make_the_same_event() {
        let (conversation, user) = (ConversationId::from_u128(1), UserId::from_u128(2));
        let transaction = Transaction::new(Owner::User(user));
        let publishing = publish_unread_update(transaction, (conversation, Seq(3), Seq(4)), (1, 0));
        let expected =
            unread_update(&UnreadUpdatePayload { conversation, unread: 5, total: 6, read: Seq(3), seq: Seq(4) });
        let published = publishing.completed_publications(&[6, 5]);
        let parts = |event: &Event| {
            let members: serde_json::Value = serde_json::from_str(&event.payload).unwrap();
            (event.name.to_string(), members, event.durable)
        };
        assert_eq!(parts(&published[0]), parts(&expected));
    }

    #[test]
    fn a_timestamp_without_a_wire_form_is_an_error() {
        let late = PresenceView {
            user: UserId::from_u128(7),
            online: true,
            last_seen: Some(Timestamp(u64::MAX)),
            generation: 1,
        };
        assert!(presence_list(&[late]).is_err());
        assert!(serde_json::to_string(&late).is_err());
    }

    #[test]
    fn an_event_of_a_function_carries_its_payload_as_json() {
        let event = Event::durable("reaction.changed", &[1, 2]).unwrap();
        assert_eq!((&*event.name, &*event.payload, event.durable), ("reaction.changed", "[1,2]", true));
        assert!(!Event::ephemeral("looking", &()).unwrap().durable);
        let keys_that_are_lists = std::collections::BTreeMap::from([(vec![1], 2)]);
        assert!(matches!(Event::durable("odd", &keys_that_are_lists), Err(Error::Encoding(_))));
    }

    #[test]
    fn a_deleted_message_is_announced_only_by_its_deletion() {
        let message = |deleted| Message {
            id: MessageId::from_u128(1),
            conversation: ConversationId::from_u128(2),
            seq: Seq(3),
            sender: UserId::from_u128(4),
            kind: "text".into(),
            content: "hello".into(),
            created_at: Timestamp(5),
            edited_at: None,
            deleted,
        };
        let name = |kind, deleted| {
            change(&Change { seq: Seq(3), kind, message: message(deleted) }).map(|event| event.name.to_string())
        };
        let all = [(ChangeKind::Sent, false), (ChangeKind::Edited, false), (ChangeKind::Deleted, true)];
        assert_eq!(all.map(|(kind, deleted)| name(kind, deleted).unwrap()), CHANGES);
        assert_eq!(name(ChangeKind::Sent, false).as_deref(), Some("message.new"));
        assert_eq!(name(ChangeKind::Edited, false).as_deref(), Some("message.updated"));
        assert_eq!(name(ChangeKind::Deleted, true).as_deref(), Some("message.deleted"));
        assert_eq!((name(ChangeKind::Sent, true), name(ChangeKind::Edited, true)), (None, None));
    }
}
