//! Random operations on the fake and on each database, compared answer by answer.

use std::future::Future;

use proptest::prelude::*;
use roost::config::SqliteLocation;
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::key::Owner;
use roost_core::port::{
    ChangeRange, Confirmation, ConversationQuery, DocumentKey, DocumentPut, DocumentScope, Draft, Edit, HistoryQuery,
    MemberChange, MessagesQuery, NewConversation, PendingId, PendingQuery, Postponement, Records, RecordsError,
    UnreadRequest,
};
use roost_core::testing::FakeRecords;

use super::conformance_records::{AT, LATER, on_postgres, open};

/// One random operation. There are few users, conversations and messages, so that operations concern the same ones.
#[derive(Clone, Debug)]
enum RecordsOperation {
    Append { conversation: u128, sender: u128, id: u128, content: u8, delay: u64 },
    Edit { conversation: u128, editor: u128, message: u128, content: u8, delay: u64 },
    Delete { conversation: u128, actor: u128, message: u128, delay: u64 },
    MarkRead { user: u128, conversation: u128, up_to: Option<u64> },
    Create { id: u128, creator: u128, members: Vec<u128>, delay: u64 },
    Add { conversation: u128, actor: Option<u128>, user: u128, delay: u64 },
    Remove { conversation: u128, actor: Option<u128>, user: u128, delay: u64 },
    Contact { user: u128, other: u128, there: bool },
    Block { user: u128, other: u128, there: bool },
    Announce { conversation: u128, seq: u64, user: u128 },
    Postpone { conversation: u128, seq: u64, user: u128, attempts: u32 },
    Put { owner: u32, name: u8, json: u8, expected: Option<u64>, bytes_max: Option<u64> },
    DeleteDocument { owner: u32, name: u8, expected: u64 },
}

fn operation() -> impl Strategy<Value = RecordsOperation> {
    let user = || 1_u128..5;
    let conversation = || 1_u128..4;
    let message = || 1_u128..8;
    let delay = || 0_u64..50;
    let actor = || prop::option::weighted(0.8, 1_u128..5);
    prop_oneof![
        8 => (conversation(), user(), message(), 0_u8..3, delay()).prop_map(
            |(conversation, sender, id, content, delay)| RecordsOperation::Append { conversation, sender, id, content, delay }),
        4 => (conversation(), user(), message(), 0_u8..3, delay()).prop_map(
            |(conversation, editor, message, content, delay)| RecordsOperation::Edit { conversation, editor, message, content, delay }),
        3 => (conversation(), user(), message(), delay()).prop_map(
            |(conversation, actor, message, delay)| RecordsOperation::Delete { conversation, actor, message, delay }),
        4 => (user(), conversation(), prop::option::of(0_u64..12)).prop_map(
            |(user, conversation, up_to)| RecordsOperation::MarkRead { user, conversation, up_to }),
        4 => (conversation(), user(), prop::collection::vec(user(), 0..4), delay()).prop_map(
            |(id, creator, members, delay)| RecordsOperation::Create { id, creator, members, delay }),
        2 => (conversation(), actor(), user(), delay()).prop_map(
            |(conversation, actor, user, delay)| RecordsOperation::Add { conversation, actor, user, delay }),
        2 => (conversation(), actor(), user(), delay()).prop_map(
            |(conversation, actor, user, delay)| RecordsOperation::Remove { conversation, actor, user, delay }),
        2 => (user(), user(), any::<bool>()).prop_map(|(user, other, there)| RecordsOperation::Contact { user, other, there }),
        1 => (user(), user(), prop::bool::weighted(0.4)).prop_map(
            |(user, other, there)| RecordsOperation::Block { user, other, there }),
        2 => (conversation(), 1_u64..12, user()).prop_map(
            |(conversation, seq, user)| RecordsOperation::Announce { conversation, seq, user }),
        2 => (conversation(), 1_u64..12, user(), 0_u32..3).prop_map(
            |(conversation, seq, user, attempts)| RecordsOperation::Postpone { conversation, seq, user, attempts }),
        4 => (0_u32..2, 0_u8..3, any::<u8>(), prop::option::of(0_u64..4), bytes_max()).prop_map(
            |(owner, name, json, expected, bytes_max)| RecordsOperation::Put { owner, name, json, expected, bytes_max }),
        1 => (0_u32..2, 0_u8..3, 0_u64..4).prop_map(
            |(owner, name, expected)| RecordsOperation::DeleteDocument { owner, name, expected }),
    ]
}

/// Bounds on the documents of the function: none, and for one, two and three documents of at most 516 bytes.
fn bytes_max() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(prop::sample::select(vec![514, 1_030, 1_546]))
}

fn document_key(owner: u32, name: u8) -> DocumentKey {
    DocumentKey::new(Owner::Shard(owner), name.to_string())
}

/// The answer as text, without the text of an error, which each adapter chooses.
fn answer_text<T: std::fmt::Debug>(answer: Result<T, RecordsError>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("{:?}", std::mem::discriminant(&error)),
    }
}

async fn perform<R: Records>(records: &R, operation: RecordsOperation) -> String {
    let user = UserId::from_u128;
    let conversation_id = ConversationId::from_u128;
    let at = |delay| AT.plus(delay);
    match operation {
        RecordsOperation::Append { conversation, sender, id, content, delay } => {
            let id = Some(MessageId::from_u128(id));
            let content = content.to_string();
            let (conversation, sender, kind) = (conversation_id(conversation), user(sender), "text".to_owned());
            answer_text(records.append_message(Draft { conversation, sender, id, kind, content, at: at(delay) }).await)
        }
        RecordsOperation::Edit { conversation, editor, message, content, delay } => {
            let (conversation, message) = (conversation_id(conversation), MessageId::from_u128(message));
            let content = content.to_string();
            let edit = Edit { conversation, message, editor: user(editor), content, at: at(delay) };
            answer_text(records.edit_message(edit).await)
        }
        RecordsOperation::Delete { conversation, actor, message, delay } => {
            let message = MessageId::from_u128(message);
            answer_text(
                records.delete_message(conversation_id(conversation), message, Some(user(actor)), at(delay)).await,
            )
        }
        RecordsOperation::MarkRead { user: reader, conversation, up_to } => {
            answer_text(records.mark_read(user(reader), conversation_id(conversation), up_to.map(Seq)).await)
        }
        RecordsOperation::Create { id, creator, members, delay } => {
            let members = members.into_iter().map(user).collect();
            let new = NewConversation { id: Some(conversation_id(id)), creator: user(creator), members, at: at(delay) };
            answer_text(records.create_conversation(new).await)
        }
        RecordsOperation::Add { conversation, actor, user: whom, delay } => {
            let (conversation, actor) = (conversation_id(conversation), actor.map(user));
            answer_text(records.add_member(MemberChange { conversation, actor, user: user(whom), at: at(delay) }).await)
        }
        RecordsOperation::Remove { conversation, actor, user: whom, delay } => {
            let (conversation, actor) = (conversation_id(conversation), actor.map(user));
            answer_text(
                records.remove_member(MemberChange { conversation, actor, user: user(whom), at: at(delay) }).await,
            )
        }
        RecordsOperation::Contact { user: one, other, there } => relate(records, (one, other), false, there).await,
        RecordsOperation::Block { user: one, other, there } => relate(records, (one, other), true, there).await,
        RecordsOperation::Announce { conversation, seq, user: whom } => {
            let change = Confirmation::Change(conversation_id(conversation), Seq(seq));
            let member = Confirmation::Member(conversation_id(conversation), user(whom), 1 + seq % 2);
            answer_text(records.announced(vec![change, member]).await)
        }
        RecordsOperation::Postpone { conversation, seq, user: whom, attempts } => {
            let conversation = conversation_id(conversation);
            let items = [PendingId::Change(conversation, Seq(seq)), PendingId::Member(conversation, user(whom))];
            let postponement = |item| Postponement { item, attempts, next_time: at(seq) };
            answer_text(records.postpone(items.map(postponement).into()).await)
        }
        RecordsOperation::Put { owner, name, json, expected, bytes_max } => {
            let (key, json) = (document_key(owner, name), json.to_string());
            answer_text(records.put_document(DocumentPut { key, json, expected, bytes_max }).await)
        }
        RecordsOperation::DeleteDocument { owner, name, expected } => {
            answer_text(records.delete_document(document_key(owner, name), expected).await)
        }
    }
}

/// Adds or removes a contact, or a block.
async fn relate<R: Records>(records: &R, (one, other): (u128, u128), is_block: bool, there: bool) -> String {
    let (one, other) = (UserId::from_u128(one), UserId::from_u128(other));
    answer_text(match (is_block, there) {
        (false, true) => records.add_contact(one, other).await,
        (false, false) => records.remove_contact(one, other).await,
        (true, true) => records.block(one, other).await,
        (true, false) => records.unblock(one, other).await,
    })
}

/// All answers that the records can give. Pending entries are sorted, because each adapter dates read marks itself.
async fn read_everything<R: Records>(records: &R) -> Vec<String> {
    let users: Vec<UserId> = (1..5).map(UserId::from_u128).collect();
    let conversations: Vec<ConversationId> = (1..4).map(ConversationId::from_u128).collect();
    let mut answers = Vec::new();
    for &user in &users {
        let everywhere = UnreadRequest::all(user);
        let named = UnreadRequest::named(user, conversations.clone());
        answers.push(answer_text(records.unread(vec![everywhere, named]).await));
        answers.push(answer_text(records.contacts(user).await));
        answers.push(answer_text(records.blocks(user).await));
        let first = records.conversations(user, ConversationQuery::Page { cursor: None, limit: 2 }).await.unwrap();
        if let Some(cursor) = first.next {
            let second = ConversationQuery::Page { cursor: Some(cursor), limit: 2 };
            answers.push(answer_text(records.conversations(user, second).await.map(|page| page.conversations)));
        }
        answers.push(format!("{:?}", first.conversations));
        answers.push(answer_text(records.conversations(user, ConversationQuery::Named(conversations.clone())).await));
        for &conversation in &conversations {
            answers.push(answer_text(records.membership(conversation, user).await));
            let query = HistoryQuery { user, conversation, before: None, limit: 3 };
            let page = records.history(query).await;
            // The ids that a member sees, asked for by everybody.
            let shown = records.history(HistoryQuery { user: users[0], ..query }).await;
            let messages = shown.map(|page| page.messages.iter().map(|message| message.id).collect());
            let query = MessagesQuery { user, conversation, messages: messages.unwrap_or_default() };
            answers.push(answer_text(page));
            answers.push(answer_text(records.messages(query).await));
        }
    }
    let range = |&conversation| ChangeRange { conversation, after: Seq(1), up_to: Seq(u64::MAX) };
    answers.push(answer_text(records.changes(conversations.iter().map(range).collect()).await));
    answers.push(answer_text(records.last_messages(conversations).await));
    answers.push(answer_text(records.audience(users).await));
    let keys = (0..2).flat_map(|owner| (0..3).map(move |name| document_key(owner, name)));
    answers.push(answer_text(records.read_documents(keys.collect()).await));
    answers.push(answer_text(records.document_names(DocumentScope::new(Owner::Shard(1))).await));
    for query in [PendingQuery::untried(LATER), PendingQuery::tried(LATER)] {
        let items = records.pending(query).await.unwrap().items.into_iter();
        let mut pending: Vec<String> = items.map(|item| format!("{:?} {}", item.pending, item.attempts)).collect();
        pending.sort();
        answers.extend(pending);
    }
    answers
}

/// Performs the operations on both, and compares every answer after each operation.
fn answers_as_the_fake_does(opening: impl Future<Output = RecordStore>, operations: Vec<RecordsOperation>) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let fake = FakeRecords::new(1);
        let records = opening.await;
        for operation in operations {
            assert_eq!(
                perform(&records, operation.clone()).await,
                perform(&fake, operation.clone()).await,
                "{operation:?}"
            );
            records.flush().await;
            assert_eq!(read_everything(&records).await, read_everything(&fake).await, "after {operation:?}");
        }
        records.close().await;
    });
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn sqlite_answers_as_the_fake_does(operations in prop::collection::vec(operation(), 1..60)) {
        answers_as_the_fake_does(open(SqliteLocation::Memory), operations);
    }
}

proptest! {
    // The server needs a round trip for each of the dozens of queries after an operation.
    #![proptest_config(cases(6))]

    #[test]
    fn postgres_answers_as_the_fake_does(operations in prop::collection::vec(operation(), 1..60)) {
        answers_as_the_fake_does(on_postgres(), operations);
    }
}
