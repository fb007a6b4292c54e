//! Every value of the records port survives its wire form: as JSON and back it is the same.

use std::fmt::Debug;

use proptest::prelude::*;
use roost::records::wire;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::key::Owner;
use roost_core::port::*;
use roost_core::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The last millisecond of the year 9999.
const TIMESTAMP_MAX: u64 = 253_402_300_799_999;

fn user() -> impl Strategy<Value = UserId> {
    any::<u128>().prop_map(UserId::from_u128)
}

fn conversation_id() -> impl Strategy<Value = ConversationId> {
    any::<u128>().prop_map(ConversationId::from_u128)
}

fn message_id() -> impl Strategy<Value = MessageId> {
    any::<u128>().prop_map(MessageId::from_u128)
}

fn seq() -> impl Strategy<Value = Seq> {
    any::<u64>().prop_map(Seq)
}

fn at() -> impl Strategy<Value = Timestamp> {
    (0..=TIMESTAMP_MAX).prop_map(Timestamp)
}

/// Users in ascending order without duplicates, as the port requires.
fn users() -> impl Strategy<Value = Vec<UserId>> {
    prop::collection::btree_set(user(), 0..5).prop_map(|users| users.into_iter().collect())
}

fn few<T: Debug>(item: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(item, 0..4)
}

fn maybe<T: Debug>(item: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(item)
}

prop_compose! {
    fn message()(
        id in message_id(), conversation in conversation_id(), seq in seq(), sender in user(), kind in "[a-z]{1,32}",
        content in ".{0,64}", created_at in at(), edited_at in maybe(at()), deleted in any::<bool>(),
    ) -> Message {
        Message { id, conversation, seq, sender, kind, content, created_at, edited_at, deleted }
    }
}

prop_compose! {
    fn change()(
        seq in seq(), kind in prop::sample::select(vec![ChangeKind::Sent, ChangeKind::Edited, ChangeKind::Deleted]),
        message in message(),
    ) -> Change {
        Change { seq, kind, message }
    }
}

prop_compose! {
    fn read_position()(user in user(), joined in seq(), read in seq()) -> ReadPosition {
        ReadPosition { user, joined, read }
    }
}

prop_compose! {
    fn last_message()(conversation in conversation_id(), version in seq(), message in maybe(message())) -> LastMessage {
        LastMessage { conversation, version, message }
    }
}

prop_compose! {
    fn changed()(
        change in change(), members in users(), repeated in any::<bool>(), positions in few(read_position()),
        last in maybe(last_message()),
    ) -> Changed {
        Changed { change, members, repeated, positions, last }
    }
}

prop_compose! {
    fn counter()(
        conversation in conversation_id(), count in any::<u64>(), seq in seq(), joined in seq(), read in seq(), announced in seq(),
    ) -> Counter {
        Counter { conversation, count, seq, joined, read, announced }
    }
}

prop_compose! {
    fn conversation()(
        id in conversation_id(), members in users(), reads in prop::collection::vec(seq(), 5), others in 0..9_u64,
        (read, joined) in (seq(), seq()), updated_at in at(), direct in any::<bool>(),
    ) -> Conversation {
        // Shown for all members or for none.
        let reads = if others == 0 { reads.into_iter().take(members.len()).collect() } else { Vec::new() };
        let member_count = members.len() as u64 + others;
        Conversation { id, direct, member_count, members, reads, read, joined, updated_at }
    }
}

fn query() -> impl Strategy<Value = ConversationQuery> {
    prop_oneof![
        few(conversation_id()).prop_map(ConversationQuery::Named),
        (maybe(".{0,16}"), any::<u32>()).prop_map(|(cursor, limit)| ConversationQuery::Page { cursor, limit }),
    ]
}

fn pending() -> impl Strategy<Value = Pending> {
    prop_oneof![
        changed().prop_map(Pending::Change),
        (conversation_id(), user(), any::<u64>())
            .prop_map(|(conversation, user, moves)| { Pending::Member(conversation, user, moves) }),
        (conversation_id(), user(), any::<u64>())
            .prop_map(|(conversation, user, moves)| { Pending::Membership(conversation, user, moves) }),
        (conversation_id(), any::<u64>()).prop_map(|(conversation, moves)| Pending::Creation(conversation, moves)),
        (user(), user(), any::<u64>()).prop_map(|(user, other, moves)| Pending::Contact(user, other, moves)),
    ]
}

fn confirmation() -> impl Strategy<Value = Confirmation> {
    prop_oneof![
        (conversation_id(), seq()).prop_map(|(conversation, seq)| Confirmation::Change(conversation, seq)),
        (conversation_id(), user(), any::<u64>())
            .prop_map(|(conversation, user, moves)| { Confirmation::Member(conversation, user, moves) }),
        (conversation_id(), user(), any::<u64>())
            .prop_map(|(conversation, user, moves)| { Confirmation::Membership(conversation, user, moves) }),
        (conversation_id(), any::<u64>()).prop_map(|(conversation, moves)| Confirmation::Creation(conversation, moves)),
        (user(), user(), any::<u64>()).prop_map(|(user, other, moves)| Confirmation::Contact(user, other, moves)),
    ]
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        user().prop_map(Owner::User),
        conversation_id().prop_map(Owner::Conversation),
        (conversation_id(), any::<u128>())
            .prop_map(|(conversation, bits)| Owner::Message { conversation, message: MessageId::from_u128(bits) }),
        any::<u32>().prop_map(Owner::Shard),
    ]
}

prop_compose! {
    fn document_key()(function in "[a-z0-9-]{0,64}", owner in owner(), name in "\\PC{1,32}") -> DocumentKey {
        DocumentKey { scope: DocumentScope { function, owner }, name }
    }
}

#[track_caller]
fn survives<W, D>(value: D)
where
    W: From<D> + Into<D> + Serialize + DeserializeOwned,
    D: Clone + Debug + PartialEq,
{
    let text = serde_json::to_string(&W::from(value.clone())).unwrap();
    let back: W = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(back.into(), value, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_survive(changed in changed(), version in seq(), last in maybe(message()), id in maybe(message_id())) {
        let Message { conversation, sender, kind, content, created_at: at, .. } = changed.change.message.clone();
        survives::<wire::EditMessage, _>(Edit {
            conversation, message: changed.change.message.id, editor: sender, content: content.clone(), at,
        });
        survives::<wire::AppendMessage, _>(Draft { conversation, sender, id, kind, content, at });
        survives::<wire::LastMessage, _>(LastMessage { conversation, version, message: last });
        survives::<wire::Changed, _>(changed);
    }

    #[test]
    fn counter_states_survive(
        counters in few(counter()), one in counter(), moved in any::<bool>(), audience in users(), user in user(),
        member_count in any::<u32>(),
        conversations in maybe(few(conversation_id())), after in maybe(conversation_id()),
    ) {
        let mut counters = counters;
        counters.sort_by_key(|counter| counter.conversation);
        survives::<wire::UnreadSnapshot, _>(UnreadSnapshot { user, counters, more: moved });
        survives::<wire::ReadMark, _>(ReadMark { counter: one, moved, member_count, audience });
        survives::<wire::UnreadRequest, _>(UnreadRequest { user, conversations, after });
        survives::<wire::ChangeRange, _>(ChangeRange { conversation: one.conversation, after: one.read, up_to: one.seq });
    }

    #[test]
    fn conversations_survive(
        list in few(conversation()), next in maybe(".{0,16}"), one in conversation(), flag in any::<bool>(),
        query in query(), user in user(), id in maybe(conversation_id()), members in few(user()),
    ) {
        survives::<wire::Membership, _>(Membership { joined: one.joined, members: one.members.clone(), blocked: flag });
        survives::<wire::CreateConversation, _>(NewConversation { id, creator: user, members, at: one.updated_at });
        let member = Member { user, joined: one.joined, read: one.read };
        survives::<wire::MembersPage, _>(MembersPage { members: vec![member], next: id.map(|_| user) });
        let listed = MembersQuery { conversation: one.id, actor: id.map(|_| user), after: Some(user), limit: 7 };
        survives::<wire::ListMembers, _>(listed);
        survives::<wire::Created, _>(Created { conversation: one, repeated: flag });
        survives::<wire::ConversationPage, _>(ConversationPage { conversations: list, next });
        survives::<wire::ListConversations, _>((user, query));
    }

    #[test]
    fn history_and_members_survive(
        messages in few(message()), before in maybe(seq()), limit in any::<u32>(), user in user(), actor in maybe(user()),
        conversation in conversation_id(), at in at(), visible in users(),
    ) {
        let asked = messages.iter().map(|message| message.id).collect();
        survives::<wire::ReadMessages, _>(MessagesQuery { user, conversation, messages: asked });
        survives::<wire::HistoryPage, _>(HistoryPage { messages, next_before: before });
        survives::<wire::ReadHistory, _>(HistoryQuery { user, conversation, before, limit });
        survives::<wire::MemberChange, _>(MemberChange { conversation, actor, user, at });
        survives::<wire::CreateDirect, _>(DirectRequest { user, other: user, may_create: before.is_some(), at });
        survives::<wire::Audience, _>(ContactAudience { user, visible });
    }

    #[test]
    fn erasing_survives(left in few(conversation_id()), deleted in few(changed()), related in users(), done in any::<bool>()) {
        survives::<wire::Erased, _>(Erased { left, deleted, related, done });
    }

    #[test]
    fn the_outbox_survives(pending in pending(), confirmation in confirmation()) {
        survives::<wire::Pending, _>(pending);
        survives::<wire::Confirmation, _>(confirmation);
    }

    #[test]
    fn documents_survive(
        key in document_key(), text in ".{0,64}", version in any::<u64>(), expected in maybe(any::<u64>()),
        bytes_max in maybe(any::<u64>()),
    ) {
        let json = serde_json::to_string(&text).unwrap();
        survives::<wire::Document, _>(Document { version, json: json.clone() });
        survives::<wire::DocumentKey, _>(key.clone());
        survives::<wire::DocumentScope, _>(key.scope.clone());
        survives::<wire::PutDocument, _>(DocumentPut { key, json, expected, bytes_max });
    }

    #[test]
    fn users_may_come_in_any_order_and_twice(users in users()) {
        let shuffled: Vec<_> = users.iter().rev().chain(&users).collect();
        let text = serde_json::json!({ "members": shuffled }).to_string();
        let read: wire::Members = serde_json::from_str(&text).unwrap();
        assert_eq!(read.members, users);
    }
}
