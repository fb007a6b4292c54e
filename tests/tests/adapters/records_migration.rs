//! A database with messages that was written before counters were differences: the migration fills in what is missing,
//! so that every counter is what it was, and what comes later counts on from there. One from before the outbox kept
//! every kind of move: what was pending stays pending.

use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::port::{
    Draft, Edit, MemberChange, NewConversation, Pending, PendingQuery, Records, UnreadRequest, UnreadSnapshot,
};
use roost_core::testing::FakeRecords;
use roost_core::time::Timestamp;
use roost_tests::postgres::PostgresServer;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

const USERS: [UserId; 3] = [UserId::from_u128(1), UserId::from_u128(2), UserId::from_u128(3)];
const CONVERSATIONS: [ConversationId; 2] = [ConversationId::from_u128(10), ConversationId::from_u128(11)];
const AT: Timestamp = Timestamp(1_790_000_000_000);

/// Takes back the second migration of an SQLite database.
const SQLITE_BACK: &str = "DROP TABLE deleted_ranges; DROP TABLE deleted_ranges_of_senders;
    DROP INDEX messages_of_sender; DROP INDEX messages_deleted;
    ALTER TABLE conversations DROP COLUMN sent; ALTER TABLE conversations DROP COLUMN last_deleted;
    ALTER TABLE changes DROP COLUMN sent; ALTER TABLE messages DROP COLUMN sender_ordinal;
    ALTER TABLE members DROP COLUMN read_sent; ALTER TABLE members DROP COLUMN read_own;
    DELETE FROM _sqlx_migrations WHERE version = 2";

/// Takes back the second migration of a PostgreSQL database.
const POSTGRES_BACK: &str = "DROP TABLE deleted_ranges, deleted_ranges_of_senders;
    DROP INDEX messages_of_sender, messages_deleted;
    ALTER TABLE conversations DROP COLUMN sent, DROP COLUMN last_deleted;
    ALTER TABLE changes DROP COLUMN sent; ALTER TABLE messages DROP COLUMN sender_ordinal;
    ALTER TABLE members DROP COLUMN read_sent, DROP COLUMN read_own;
    DELETE FROM _sqlx_migrations WHERE version = 2";

/// Takes back the seventh migration of an SQLite database.
const SQLITE_MOVES_BACK: &str = "CREATE TABLE unannounced_members (
        conversation BLOB NOT NULL, user BLOB NOT NULL, since INTEGER NOT NULL, moves INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0, next_time INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (conversation, user));
    INSERT INTO unannounced_members (conversation, user, since, moves)
        SELECT first, second, since, moves FROM unannounced_moves WHERE kind = 0;
    DROP TABLE unannounced_moves;
    DELETE FROM _sqlx_migrations WHERE version = 7";

/// Takes back the seventh migration of a PostgreSQL database.
const POSTGRES_MOVES_BACK: &str = "CREATE TABLE unannounced_members (
        conversation uuid NOT NULL, user_id uuid NOT NULL, since bigint NOT NULL, moves bigint NOT NULL,
        attempts bigint NOT NULL DEFAULT 0, next_time bigint NOT NULL DEFAULT 0, PRIMARY KEY (conversation, user_id));
    INSERT INTO unannounced_members (conversation, user_id, since, moves)
        SELECT first, second, since, moves FROM unannounced_moves WHERE kind = 0;
    DROP TABLE unannounced_moves;
    DELETE FROM _sqlx_migrations WHERE version = 7";

/// Messages, edits and deletions of three users, who read, leave and come back.
async fn write<R: Records>(records: &R, first: u128) {
    for (number, conversation) in (first..first + 90).zip(CONVERSATIONS.into_iter().cycle()) {
        let sender = USERS[(number % 3) as usize];
        let message = MessageId::from_u128(number);
        let draft =
            Draft { conversation, sender, id: Some(message), kind: "text".into(), content: "one".into(), at: AT };
        records.append_message(draft).await.unwrap();
        if number % 5 == 0 {
            let edit = Edit { conversation, message, editor: sender, content: "two".into(), at: AT };
            records.edit_message(edit).await.unwrap();
        }
        if number % 4 < 2 {
            records.delete_message(conversation, message, Some(sender), AT).await.unwrap();
        }
        if number % 37 == 0 {
            let reader = USERS[((number / 2) % 3) as usize];
            records.mark_read(reader, conversation, Some(Seq((number as u64) / 4))).await.unwrap();
        }
    }
    let rejoining = MemberChange { conversation: CONVERSATIONS[0], actor: None, user: USERS[2], at: AT };
    records.remove_member(rejoining).await.unwrap();
    records.add_member(rejoining).await.unwrap();
}

async fn begin<R: Records>(records: &R) {
    for id in CONVERSATIONS {
        let new = NewConversation { id: Some(id), creator: USERS[0], members: USERS.to_vec(), at: AT };
        records.create_conversation(new).await.unwrap();
    }
    write(records, 1_000).await;
}

async fn counters<R: Records>(records: &R) -> Vec<UnreadSnapshot> {
    let request = |user| UnreadRequest::all(user);
    records.unread(USERS.map(request).to_vec()).await.unwrap()
}

/// Compares every counter at every position that is left, from the present ones to the newest.
async fn same_at_every_position(records: &RecordStore, fake: &FakeRecords) {
    for user in USERS {
        for conversation in CONVERSATIONS {
            for up_to in (0..400).step_by(7).map(|up_to| Some(Seq(up_to))).chain([None]) {
                let marked = records.mark_read(user, conversation, up_to).await.unwrap();
                assert_eq!(marked, fake.mark_read(user, conversation, up_to).await.unwrap(), "{user} at {up_to:?}");
            }
        }
    }
}

async fn counts_on(url: RecordsUrl, take_back: impl AsyncFnOnce()) {
    let fake = FakeRecords::new(1);
    begin(&fake).await;
    let records = RecordStore::open(&url).await.unwrap();
    begin(&records).await;
    let before = counters(&records).await;
    let unread: u64 = before.iter().flat_map(|snapshot| &snapshot.counters).map(|counter| counter.count).sum();
    assert!(unread > 50, "{before:?}");
    assert_eq!(before, counters(&fake).await);
    records.close().await;
    take_back().await;

    let records = RecordStore::open(&url).await.unwrap();
    assert_eq!(counters(&records).await, before);
    write(&records, 2_000).await;
    write(&fake, 2_000).await;
    assert_eq!(counters(&records).await, counters(&fake).await);
    same_at_every_position(&records, &fake).await;
    records.close().await;
}

#[tokio::test]
async fn counters_of_an_old_sqlite_file_count_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.db");
    let address = format!("sqlite://{}", file.display());
    counts_on(RecordsUrl::Sqlite(SqliteLocation::File(file)), async || {
        let mut connection = SqliteConnection::connect(&address).await.unwrap();
        connection.execute(SQLITE_BACK).await.unwrap();
        connection.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn counters_of_an_old_postgres_database_count_on() {
    let config = PostgresServer::shared().fresh().await;
    let address = config.url.0.clone();
    counts_on(RecordsUrl::Postgres(config), async || {
        let mut connection = PgConnection::connect(&address).await.unwrap();
        connection.execute(POSTGRES_BACK).await.unwrap();
        connection.close().await.unwrap();
    })
    .await;
}

/// A member that moved may have joined or left, or have read: both are announced.
async fn remains_pending(url: RecordsUrl, take_back: impl AsyncFnOnce()) {
    let (conversation, [sender, reader, _]) = (CONVERSATIONS[0], USERS);
    let records = RecordStore::open(&url).await.unwrap();
    let new = NewConversation { id: Some(conversation), creator: sender, members: vec![reader], at: AT };
    records.create_conversation(new).await.unwrap();
    let draft = Draft { conversation, sender, id: None, kind: "text".into(), content: "one".into(), at: AT };
    for seq in 1..=2 {
        records.append_message(draft.clone()).await.unwrap();
        records.mark_read(reader, conversation, Some(Seq(seq))).await.unwrap();
    }
    records.close().await;
    take_back().await;

    let records = RecordStore::open(&url).await.unwrap();
    let items = records.pending(PendingQuery::untried(Timestamp(253_402_300_799_999))).await.unwrap().items;
    let moves: Vec<Pending> = items.into_iter().map(|item| item.pending).collect();
    for expected in [Pending::Member(conversation, reader, 2), Pending::Membership(conversation, reader, 2)] {
        assert!(moves.contains(&expected), "{expected:?} of {moves:?}");
    }
    assert_eq!(moves.len(), 4, "two messages and the moves: {moves:?}");
    records.close().await;
}

#[tokio::test]
async fn what_was_pending_in_an_old_sqlite_file_remains_pending() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.db");
    let address = format!("sqlite://{}", file.display());
    remains_pending(RecordsUrl::Sqlite(SqliteLocation::File(file)), async || {
        let mut connection = SqliteConnection::connect(&address).await.unwrap();
        connection.execute(SQLITE_MOVES_BACK).await.unwrap();
        connection.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_was_pending_in_an_old_postgres_database_remains_pending() {
    let config = PostgresServer::shared().fresh().await;
    let address = config.url.0.clone();
    remains_pending(RecordsUrl::Postgres(config), async || {
        let mut connection = PgConnection::connect(&address).await.unwrap();
        connection.execute(POSTGRES_MOVES_BACK).await.unwrap();
        connection.close().await.unwrap();
    })
    .await;
}
