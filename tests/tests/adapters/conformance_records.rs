//! Every adapter of the records port keeps its contract: the fake, SQLite in a file and in memory, PostgreSQL, and a
//! backend behind HTTP.
//!
//! Beyond the suite: properties of databases only (reopening, several processes), and random operations on the fake and
//! on each database, compared answer by answer.

use std::future::Future;
use std::path::Path;

use proptest::prelude::*;
use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::key::Owner;
use roost_core::port::{
    ChangeRange, Confirmation, ConversationQuery, Document, DocumentKey, DocumentPut, DocumentScope, Draft, Edit,
    HistoryQuery, MemberChange, MessagesQuery, NewConversation, PendingId, PendingQuery, Postponement, Records,
    RecordsError, UnreadRequest,
};
use roost_core::testing::conformance::records::{
    Subject, announcing, blocks, bounds, changing, contacts, counting, creating, deleting, documents, finding, listing,
    members, paging, receipts, recovering, sending,
};
use roost_core::testing::{FakeRecords, block_on};
use roost_core::time::Timestamp;
use roost_tests::backend::{Backend, url};
use roost_tests::postgres::PostgresServer;
use tempfile::TempDir;

const ANN: UserId = UserId::from_u128(1);
const BOB: UserId = UserId::from_u128(2);
const CONVERSATION: ConversationId = ConversationId::from_u128(3);
const AT: Timestamp = Timestamp(1_790_000_000_000);
const LATER: Timestamp = Timestamp(253_402_300_799_999);

async fn open(location: SqliteLocation) -> RecordStore {
    RecordStore::open(&RecordsUrl::Sqlite(location)).await.unwrap()
}

async fn in_file(folder: &Path) -> RecordStore {
    open(SqliteLocation::File(folder.join("data/records.db"))).await
}

async fn on_postgres() -> RecordStore {
    RecordStore::open(&RecordsUrl::Postgres(PostgresServer::shared().fresh().await)).await.unwrap()
}

fn on<F: Future<Output = ()>>(
    opening: impl Future<Output = RecordStore>,
    case: impl FnOnce(Subject<RecordStore>) -> F,
) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let records = opening.await;
        case(Subject::new(records.clone(), |records| Box::pin(records.flush()))).await;
        records.close().await;
    });
}

/// Runs a case on a sample backend that answers from the fake.
fn on_a_backend<F: Future<Output = ()>>(case: impl FnOnce(Subject<RecordStore>) -> F) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let backend = Backend::start(FakeRecords::new(7)).await;
        let records = RecordStore::open(&url(backend.config())).await.unwrap();
        case(Subject::new(records, |records| Box::pin(records.flush()))).await;
    });
}

macro_rules! on_every_adapter {
    ($($module:ident::$case:ident),* $(,)?) => {
        mod fake {
            use super::*;
            $(#[test]
            fn $case() {
                block_on($module::$case(&Subject::new(FakeRecords::new(7), |_| Box::pin(async {}))));
            })*
        }

        mod sqlite_in_a_file {
            use super::*;
            $(#[test]
            fn $case() {
                let folder = TempDir::new().unwrap();
                let file = SqliteLocation::File(folder.path().join("records.db"));
                on(open(file), async |subject| $module::$case(&subject).await);
            })*
        }

        mod sqlite_in_memory {
            use super::*;
            $(#[test]
            fn $case() {
                on(open(SqliteLocation::Memory), async |subject| $module::$case(&subject).await);
            })*
        }

        mod postgres {
            use super::*;
            $(#[test]
            fn $case() {
                on(on_postgres(), async |subject| $module::$case(&subject).await);
            })*
        }

        mod a_backend_behind_http {
            use super::*;
            $(#[test]
            fn $case() {
                on_a_backend(async |subject| $module::$case(&subject).await);
            })*
        }
    };
}

roost_core::each_records_case!(on_every_adapter);

fn draft(sender: UserId, id: Option<u128>, content: &str) -> Draft {
    let id = id.map(MessageId::from_u128);
    Draft { conversation: CONVERSATION, sender, id, kind: "text".into(), content: content.into(), at: AT }
}

async fn create(records: &RecordStore) {
    let new = NewConversation { id: Some(CONVERSATION), creator: ANN, members: vec![BOB], at: AT };
    records.create_conversation(new).await.unwrap();
}

#[tokio::test]
async fn all_data_is_present_after_reopening() {
    let folder = TempDir::new().unwrap();
    let records = in_file(folder.path()).await;
    create(&records).await;
    let first = records.append_message(draft(ANN, Some(1), "one")).await.unwrap().change;
    records.append_message(draft(ANN, Some(2), "two")).await.unwrap();
    records.mark_read(BOB, CONVERSATION, Some(Seq(1))).await.unwrap();
    records.announced(vec![Confirmation::Change(CONVERSATION, Seq(1))]).await.unwrap();
    records.add_contact(ANN, BOB).await.unwrap();
    let key = DocumentKey::new(Owner::User(ANN), "settings");
    let put = DocumentPut { key: key.clone(), json: "{}".to_owned(), expected: None };
    records.put_document(put).await.unwrap();
    records.close().await;

    let records = in_file(folder.path()).await;
    let everywhere = vec![UnreadRequest::all(BOB)];
    let counter = records.unread(everywhere).await.unwrap()[0].counters[0];
    assert_eq!((counter.count, counter.read, counter.seq, counter.announced), (1, Seq(1), Seq(2), Seq(1)));
    let history = HistoryQuery { user: BOB, conversation: CONVERSATION, before: Some(Seq(2)), limit: 10 };
    assert_eq!(records.history(history).await.unwrap().messages, [first.message]);
    assert_eq!(records.contacts(ANN).await.unwrap(), [BOB]);
    let document = Some(Document { version: 1, json: "{}".to_owned() });
    assert_eq!(records.read_documents(vec![key]).await.unwrap(), [document]);
    let pending = records.pending(PendingQuery::untried(LATER)).await.unwrap().items;
    let pending: Vec<PendingId> = pending.iter().map(|item| PendingId::from(&item.pending)).collect();
    assert_eq!(pending, [PendingId::Change(CONVERSATION, Seq(2)), PendingId::Member(CONVERSATION, BOB)]);
    assert_eq!(records.append_message(draft(BOB, None, "three")).await.unwrap().change.seq, Seq(3));
}

#[tokio::test]
async fn a_write_that_was_acknowledged_survives_without_closing() {
    let folder = TempDir::new().unwrap();
    let records = in_file(folder.path()).await;
    create(&records).await;
    records.append_message(draft(ANN, Some(1), "one")).await.unwrap();
    drop(records);
    let records = in_file(folder.path()).await;
    assert!(records.append_message(draft(ANN, Some(1), "one")).await.unwrap().repeated);
}

/// Four stores on one file contend as four processes do: they share only the file.
#[tokio::test(flavor = "multi_thread")]
async fn several_writers_of_one_file_leave_no_gap() {
    const EACH: u64 = 50;
    let folder = TempDir::new().unwrap();
    let stores = [
        in_file(folder.path()).await,
        in_file(folder.path()).await,
        in_file(folder.path()).await,
        in_file(folder.path()).await,
    ];
    create(&stores[0]).await;
    let writers = stores.clone().map(|records| {
        tokio::spawn(async move {
            let mut seqs = Vec::new();
            for _ in 0..EACH {
                seqs.push(records.append_message(draft(ANN, None, "at once")).await.unwrap().change.seq.0);
            }
            seqs
        })
    });
    let mut seqs = Vec::new();
    for writer in writers {
        seqs.extend(writer.await.unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=4 * EACH).collect::<Vec<_>>());
    let counter = stores[3].unread(vec![UnreadRequest::all(BOB)]).await.unwrap();
    assert_eq!(counter[0].counters[0].count, 4 * EACH);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_stores_may_create_the_file_at_once() {
    let folder = TempDir::new().unwrap();
    let opening = [(); 4].map(|()| in_file(folder.path()));
    for store in futures_util::future::join_all(opening).await {
        store.ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_leaves_the_store_usable() {
    let folder = TempDir::new().unwrap();
    for records in [in_file(folder.path()).await, on_postgres().await] {
        drop_calls(&records).await;
    }
}

async fn drop_calls(records: &RecordStore) {
    create(records).await;
    for polls in 1..40 {
        let mut append = Box::pin(records.append_message(draft(ANN, None, "half")));
        let mut polled = 0;
        std::future::poll_fn(|context| {
            polled += 1;
            match append.as_mut().poll(context) {
                std::task::Poll::Pending if polled < polls => std::task::Poll::Pending,
                _ => std::task::Poll::Ready(()),
            }
        })
        .await;
        drop(append);
    }
    let last = records.append_message(draft(ANN, None, "whole")).await.unwrap().change.seq.0;
    let range = ChangeRange { conversation: CONVERSATION, after: Seq::ZERO, up_to: Seq(last) };
    assert_eq!(records.changes(vec![range]).await.unwrap()[0].len() as u64, last);
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let folder = TempDir::new().unwrap();
    for records in [in_file(folder.path()).await, open(SqliteLocation::Memory).await, on_postgres().await] {
        create(&records).await;
        records.ready().await.unwrap();
        records.close().await;
        let answers = [
            records.append_message(draft(ANN, None, "late")).await.map(|_| ()),
            records.contacts(ANN).await.map(|_| ()),
            records.ready().await,
        ];
        assert!(answers.iter().all(|answer| matches!(answer, Err(RecordsError::Unavailable { .. }))), "{answers:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_refused_with_its_path() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("records.db");
    std::fs::write(&file, "this is no database, but long enough to be looked at as one".repeat(100)).unwrap();
    let below = file.join("records.db");
    for location in [file, below] {
        let url = RecordsUrl::Sqlite(SqliteLocation::File(location));
        let error = RecordStore::open(&url).await.unwrap_err().to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }
}

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
    Put { owner: u32, name: u8, json: u8, expected: Option<u64> },
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
        4 => (0_u32..2, 0_u8..3, any::<u8>(), prop::option::of(0_u64..4)).prop_map(
            |(owner, name, json, expected)| RecordsOperation::Put { owner, name, json, expected }),
        1 => (0_u32..2, 0_u8..3, 0_u64..4).prop_map(
            |(owner, name, expected)| RecordsOperation::DeleteDocument { owner, name, expected }),
    ]
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
            answer_text(records.delete_message(conversation_id(conversation), message, user(actor), at(delay)).await)
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
        RecordsOperation::Contact { user: one, other, there: true } => {
            answer_text(records.add_contact(user(one), user(other)).await)
        }
        RecordsOperation::Contact { user: one, other, there: false } => {
            answer_text(records.remove_contact(user(one), user(other)).await)
        }
        RecordsOperation::Block { user: one, other, there: true } => {
            answer_text(records.block(user(one), user(other)).await)
        }
        RecordsOperation::Block { user: one, other, there: false } => {
            answer_text(records.unblock(user(one), user(other)).await)
        }
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
        RecordsOperation::Put { owner, name, json, expected } => {
            let (key, json) = (document_key(owner, name), json.to_string());
            answer_text(records.put_document(DocumentPut { key, json, expected }).await)
        }
        RecordsOperation::DeleteDocument { owner, name, expected } => {
            answer_text(records.delete_document(document_key(owner, name), expected).await)
        }
    }
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
