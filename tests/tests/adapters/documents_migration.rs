//! A database with documents that were stored before their bytes were counted: the migration counts them, so that the
//! bound on the documents of a function holds from the first put.

use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, UserId};
use roost_core::key::Owner;
use roost_core::port::{DocumentKey, DocumentPut, DocumentScope, Records, RecordsError};
use roost_tests::postgres::PostgresServer;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

/// Takes back the migration that counts documents.
const BACK: &str = "DROP TABLE function_documents; DELETE FROM _sqlx_migrations WHERE version = 6";
const OWNERS: [Owner; 3] =
    [Owner::User(UserId::from_u128(1)), Owner::Conversation(ConversationId::from_u128(2)), Owner::Shard(0)];
/// Has seven characters and ten bytes.
const NAME: &str = "Lunch 🍜";
const NAME_BYTES: u64 = 10;

fn key(function: &str, owner: Owner) -> DocumentKey {
    DocumentKey { scope: DocumentScope { function: function.to_owned(), owner }, name: NAME.to_owned() }
}

fn put(function: &str, owner: Owner, json: &str) -> DocumentPut {
    DocumentPut::new(key(function, owner), json.to_owned(), None)
}

/// The put is stored if all documents of the function have exactly so many bytes with it, and not with one byte less
/// room.
async fn has_room_for_exactly(records: &RecordStore, put: DocumentPut, after: u64) {
    let within = |bytes_max| DocumentPut { bytes_max: Some(bytes_max), ..put.clone() };
    let refused = records.put_document(within(after - 1)).await;
    let Err(RecordsError::QuotaExceeded(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains(&format!("would take {after} bytes")), "{text}");
    assert_eq!(records.put_document(within(after)).await, Ok(1));
}

async fn counts_what_exists(url: RecordsUrl, take_back: impl AsyncFnOnce()) {
    let records = RecordStore::open(&url).await.unwrap();
    for owner in OWNERS {
        records.put_document(put("polls", owner, "\"é\"")).await.unwrap();
    }
    records.put_document(put("reminders", OWNERS[0], "null")).await.unwrap();
    records.delete_document(key("polls", OWNERS[2]), 1).await.unwrap();
    records.close().await;
    take_back().await;

    let records = RecordStore::open(&url).await.unwrap();
    let polls = 2 * (512 + NAME_BYTES + 4);
    has_room_for_exactly(&records, put("polls", OWNERS[2], "[]"), polls + 512 + NAME_BYTES + 2).await;
    let reminders = 512 + NAME_BYTES + 4;
    has_room_for_exactly(&records, put("reminders", OWNERS[1], "7"), reminders + 512 + NAME_BYTES + 1).await;
    has_room_for_exactly(&records, put("new", OWNERS[1], "7"), 512 + NAME_BYTES + 1).await;
    records.close().await;
}

#[tokio::test]
async fn documents_of_an_old_sqlite_file_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.db");
    let address = format!("sqlite://{}", file.display());
    counts_what_exists(RecordsUrl::Sqlite(SqliteLocation::File(file)), async || {
        let mut connection = SqliteConnection::connect(&address).await.unwrap();
        connection.execute(BACK).await.unwrap();
        connection.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn documents_of_an_old_postgres_database_are_counted() {
    let config = PostgresServer::shared().fresh().await;
    let address = config.url.0.clone();
    counts_what_exists(RecordsUrl::Postgres(config), async || {
        let mut connection = PgConnection::connect(&address).await.unwrap();
        connection.execute(BACK).await.unwrap();
        connection.close().await.unwrap();
    })
    .await;
}
