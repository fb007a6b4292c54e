//! Every adapter of the records port keeps its contract: the fake, SQLite in a file and in memory, PostgreSQL, and a
//! backend behind HTTP.
//!
//! Beyond the suite: properties of databases only, such as reopening and several processes.

use std::future::Future;
use std::path::Path;

use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::key::Owner;
use roost_core::port::{
    ChangeRange, Confirmation, Document, DocumentKey, DocumentPut, Draft, HistoryQuery, NewConversation, PendingId,
    PendingQuery, Records, RecordsError, UnreadRequest,
};
use roost_core::testing::conformance::records::{
    Subject, announcing, blocks, bounds, changing, contacts, counting, creating, deleting, document_bytes, documents,
    erasing, finding, listing, members, moderating, paging, pairs, receipts, recovering, sending,
};
use roost_core::testing::{FakeRecords, block_on};
use roost_core::time::Timestamp;
use roost_tests::backend::{Backend, url};
use roost_tests::postgres::PostgresServer;
use tempfile::TempDir;

const ANN: UserId = UserId::from_u128(1);
const BOB: UserId = UserId::from_u128(2);
const CONVERSATION: ConversationId = ConversationId::from_u128(3);
pub(super) const AT: Timestamp = Timestamp(1_790_000_000_000);
pub(super) const LATER: Timestamp = Timestamp(253_402_300_799_999);

pub(super) async fn open(location: SqliteLocation) -> RecordStore {
    RecordStore::open(&RecordsUrl::Sqlite(location)).await.unwrap()
}

async fn in_file(folder: &Path) -> RecordStore {
    open(SqliteLocation::File(folder.join("data/records.db"))).await
}

pub(super) async fn on_postgres() -> RecordStore {
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

fn on_a_lent_database<F: Future<Output = ()>>(case: impl FnOnce(Subject<RecordStore>) -> F) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let database = PostgresServer::shared().lend().await;
        let config = PostgresServer::config(database.url.clone());
        let records = RecordStore::open(&RecordsUrl::Postgres(config)).await.unwrap();
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
                on_a_lent_database(async |subject| $module::$case(&subject).await);
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
    let put = DocumentPut::new(key.clone(), "{}".to_owned(), None);
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
    let all = [
        PendingId::Creation(CONVERSATION),
        PendingId::Change(CONVERSATION, Seq(2)),
        PendingId::Member(CONVERSATION, BOB),
        PendingId::Contact(ANN, BOB),
    ];
    for item in all {
        assert!(pending.contains(&item), "{item:?} of {pending:?}");
    }
    assert_eq!(pending.len(), all.len(), "{pending:?}");
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
