//! The bound on the conversations of a user, in SQLite and PostgreSQL, when several callers reach it at once; and the
//! locks that it takes.

use futures_util::future::join_all;
use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, UserId};
use roost_core::limits::CONVERSATIONS_MAX;
use roost_core::port::{Created, MemberChange, NewConversation, Records, RecordsError};
use roost_core::time::Timestamp;
use roost_tests::eventually::eventually;
use roost_tests::postgres::{PostgresServer, waiting_for_locks};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

const ANN: UserId = UserId::from_u128(1);
const BOB: UserId = UserId::from_u128(2);
const AT: Timestamp = Timestamp(1_790_000_000_000);

async fn create(records: &RecordStore, creator: UserId, members: &[UserId]) -> Result<Created, RecordsError> {
    records.create_conversation(NewConversation { id: None, creator, members: members.to_vec(), at: AT }).await
}

/// Bob and each of these users are in a conversation; nobody but Bob is in several.
async fn prepare(records: &RecordStore) -> Vec<ConversationId> {
    let mut conversations = Vec::new();
    for number in 10..18 {
        let created = create(records, UserId::from_u128(number), &[BOB]).await.unwrap();
        conversations.push(created.conversation.id);
    }
    create(records, ANN, &[]).await.unwrap();
    conversations
}

/// The statement that puts a user one below the bound.
fn set_one_below(user: &str) -> String {
    format!("UPDATE user_conversations SET conversations = {} WHERE {user}", CONVERSATIONS_MAX - 1)
}

/// Ann is one below the bound: of sixteen callers one may put her into a conversation.
async fn one_of_many_callers_passes(records: &RecordStore, conversations: &[ConversationId]) {
    let add = |conversation: &ConversationId| {
        let change = MemberChange { conversation: *conversation, actor: None, user: ANN, at: AT };
        async move { records.add_member(change).await.map(|_| ()) }
    };
    let creations = (0..8).map(|number| {
        let others = [ANN, UserId::from_u128(100 + number)];
        async move { create(records, BOB, &others).await.map(|_| ()) }
    });
    let (added, created) = tokio::join!(join_all(conversations.iter().map(add)), join_all(creations));
    let outcomes: Vec<_> = added.into_iter().chain(created).collect();
    let passed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(passed, 1, "{outcomes:?}");
    let refused = |outcome: &Result<(), RecordsError>| matches!(outcome, Err(RecordsError::TooManyConversations(_)));
    assert_eq!(outcomes.iter().filter(|outcome| refused(outcome)).count(), 15, "{outcomes:?}");
    create(records, BOB, &[UserId::from_u128(7)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_callers_at_the_bound_one_passes_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.db");
    let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::File(file.clone()))).await.unwrap();
    let conversations = prepare(&records).await;
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let update = set_one_below("user = unhex('00000000000000000000000000000001')");
    connection.execute(AssertSqlSafe(update)).await.unwrap();
    one_of_many_callers_passes(&records, &conversations).await;
    records.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_callers_at_the_bound_one_passes_in_postgresql() {
    let config = PostgresServer::shared().fresh().await;
    let records = RecordStore::open(&RecordsUrl::Postgres(config.clone())).await.unwrap();
    let conversations = prepare(&records).await;
    let mut connection = PgConnection::connect(&config.url.0).await.unwrap();
    let update = set_one_below("user_id = '00000000-0000-0000-0000-000000000001'");
    connection.execute(AssertSqlSafe(update)).await.unwrap();
    one_of_many_callers_passes(&records, &conversations).await;
}

/// Whichever comes first: afterwards the block holds, and nobody has waited for another in a circle.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_and_creations_at_once_do_not_fail_in_postgresql() {
    let records = RecordStore::open(&RecordsUrl::Postgres(PostgresServer::shared().fresh().await)).await.unwrap();
    for round in 0..10_u128 {
        let user = |number: u128| UserId::from_u128((round << 64) | number);
        let creations = (0..6).map(|number| {
            let members = [user(1), user(2), user(10 + number)];
            let records = &records;
            async move { create(records, user(20 + number), &members).await.map(|_| ()) }
        });
        let blocks = [(1, 2), (2, 1), (10, 1), (11, 2)].map(|(one, other)| records.block(user(one), user(other)));
        let (created, blocked) = tokio::join!(join_all(creations), join_all(blocks));
        assert!(blocked.iter().all(Result::is_ok), "{blocked:?}");
        assert!(created.iter().all(|answer| matches!(answer, Ok(()) | Err(RecordsError::Blocked))), "{created:?}");
        assert_eq!(create(&records, user(3), &[user(1), user(2)]).await, Err(RecordsError::Blocked));
    }
}

/// Whoever joins locks the count and then the outbox. Whoever leaves in the other order would wait in a circle.
#[tokio::test(flavor = "multi_thread")]
async fn members_leave_in_the_order_of_locks_in_which_they_join_in_postgresql() {
    let config = PostgresServer::shared().fresh().await;
    let records = RecordStore::open(&RecordsUrl::Postgres(config.clone())).await.unwrap();
    let conversation = create(&records, BOB, &[]).await.unwrap().conversation.id;
    let change = MemberChange { conversation, actor: None, user: ANN, at: AT };
    let mut observer = PgConnection::connect(&config.url.0).await.unwrap();
    for is_erased in [false, true] {
        records.add_member(change).await.unwrap();
        let mut joining = PgConnection::connect(&config.url.0).await.unwrap();
        // Shorter than the server needs to find a circle.
        let count = "SET lock_timeout = 300; BEGIN; UPDATE user_conversations SET conversations = conversations
            WHERE user_id = '00000000-0000-0000-0000-000000000001'";
        joining.execute(count).await.unwrap();
        let host = records.clone();
        let leaving = tokio::spawn(async move {
            if is_erased {
                host.erase_user(ANN, AT).await.map(|_| ())
            } else {
                host.remove_member(change).await.map(|_| ())
            }
        });
        eventually("the count is waited for", async || waiting_for_locks(&mut observer).await == 1).await;
        let outbox = "UPDATE unannounced_moves SET moves = moves
            WHERE kind = 1 AND second = '00000000-0000-0000-0000-000000000001'";
        assert_eq!(joining.execute(outbox).await.unwrap().rows_affected(), 1);
        joining.execute("COMMIT").await.unwrap();
        leaving.await.unwrap().unwrap();
        assert_eq!(records.membership(conversation, ANN).await, Err(RecordsError::NotAMember));
    }
}
