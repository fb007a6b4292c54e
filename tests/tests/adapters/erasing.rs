//! Erasing a user of 20,000 conversations and 2,000 messages, in SQLite and PostgreSQL, while others write in the same
//! conversations; and what happens to the user at the same time in PostgreSQL.

use futures_util::future::join_all;
use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::{RecordStore, postgres_statements};
use roost_core::ids::{ConversationId, UserId};
use roost_core::key::Owner;
use roost_core::limits::{CONVERSATIONS_MAX, ERASED_CONVERSATIONS, ERASED_MESSAGES};
use roost_core::port::{
    ConversationQuery, DocumentKey, DocumentPut, DocumentScope, Draft, Erased, HistoryQuery, MemberChange,
    NewConversation, Records, RecordsError, UnreadRequest,
};
use roost_core::time::Timestamp;
use roost_tests::eventually::eventually;
use roost_tests::postgres::{PostgresServer, waiting_for_locks};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection};
use uuid::Uuid;

/// The user who is erased, a member of every conversation.
const ANN: UserId = UserId::from_u128(1);
/// The creator of every conversation.
const BOB: UserId = UserId::from_u128(2);
const AT: Timestamp = Timestamp(1_790_000_000_000);

/// Of so many conversations Ann has written in one.
const WRITTEN_EVERY: usize = 10;

fn conversation(number: u128) -> ConversationId {
    ConversationId::from_u128((7 << 64) | number)
}

/// The statements that fill a database; `id` writes an id of a kind (7 conversations, 9 messages) and a number `n`,
/// `numbers` a table `n(n)` of so many numbers.
fn load(
    user_column: &str,
    user: impl Fn(u128) -> String,
    id: impl Fn(u8) -> String,
    numbers: impl Fn(usize) -> String,
) -> String {
    let (ann, bob, count) = (user(1), user(2), CONVERSATIONS_MAX);
    let numbers = numbers(count);
    let (conversation, message) = (id(7), id(9));
    let written_in = format!("n % {WRITTEN_EVERY} = 0");
    let message_column =
        if user_column == "user" { "(SELECT number FROM messages m WHERE m.id = x.message)" } else { "x.message" };
    format!(
        "INSERT INTO conversations (id, creator, seq, updated_at, sent)
            SELECT {conversation}, {bob}, CASE WHEN {written_in} THEN 1 ELSE 0 END, n, CASE WHEN {written_in} THEN 1 ELSE 0 END
            FROM ({numbers}) AS numbers;
        INSERT INTO members (conversation, {user_column}, joined, read) SELECT {conversation}, {ann}, 0, 0 FROM ({numbers}) AS numbers;
        INSERT INTO members (conversation, {user_column}, joined, read) SELECT {conversation}, {bob}, 0, 0 FROM ({numbers}) AS numbers;
        INSERT INTO messages (id, conversation, seq, sender, kind, content, created_at, changed, sender_ordinal)
            SELECT {message}, {conversation}, 1, {ann}, 'text', 'of Ann', n, 1, 1 FROM ({numbers}) AS numbers WHERE {written_in};
        INSERT INTO changes (conversation, seq, kind, message, sent)
            SELECT x.conversation, 1, 0, {message_column}, 1
            FROM (SELECT {conversation} AS conversation, {message} AS message FROM ({numbers}) AS numbers WHERE {written_in}) AS x;
        INSERT INTO user_conversations ({user_column}, conversations) VALUES ({ann}, {count}), ({bob}, {count})"
    )
}

/// Erases Ann to the end. Answers the steps.
async fn erase(records: &RecordStore) -> Vec<Erased> {
    let mut steps = Vec::new();
    loop {
        let step = records.erase_user(ANN, AT).await.unwrap();
        let done = step.done;
        steps.push(step);
        assert!(steps.len() < 2_000, "the erasing does not end");
        if done {
            return steps;
        }
    }
}

/// Bob writes in some of the conversations while Ann is erased.
async fn writes_meanwhile(records: &RecordStore) {
    let send = |number: u128| {
        let (kind, content) = ("text".to_owned(), "of Bob".to_owned());
        let draft = Draft { conversation: conversation(number), sender: BOB, id: None, kind, content, at: AT };
        async move { records.append_message(draft).await.map(|_| ()) }
    };
    for round in 0..20_u128 {
        let sent = join_all((1..=8).map(|number| send(round * 80 + number * 10))).await;
        assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    }
}

async fn is_erased_in_bounded_steps(records: &RecordStore) {
    let (steps, ()) = tokio::join!(erase(records), writes_meanwhile(records));
    assert!(steps.iter().all(|step| step.left.len() <= ERASED_CONVERSATIONS && step.deleted.len() <= ERASED_MESSAGES));
    assert_eq!(steps.iter().map(|step| step.left.len()).sum::<usize>(), CONVERSATIONS_MAX);
    assert_eq!(steps.iter().map(|step| step.deleted.len()).sum::<usize>(), CONVERSATIONS_MAX / WRITTEN_EVERY);
    let page = records.conversations(ANN, ConversationQuery::Page { cursor: None, limit: 100 }).await.unwrap();
    assert!(page.conversations.is_empty());
    let one = conversation(10);
    assert_eq!(records.membership(one, ANN).await, Err(RecordsError::NotAMember));
    let history = HistoryQuery { user: BOB, conversation: one, before: None, limit: 100 };
    let messages = records.history(history).await.unwrap().messages;
    assert!(!messages.is_empty() && messages.iter().all(|message| message.content == "of Bob"), "{messages:?}");
    let counters = records.unread(vec![UnreadRequest::named(BOB, vec![one])]).await.unwrap().remove(0).counters;
    assert_eq!(counters[0].count, 0, "Bob's own messages, and one that is deleted");
    assert_eq!(records.erase_user(ANN, AT).await, Ok(Erased { done: true, ..Erased::default() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_20000_conversations_is_erased_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.db");
    let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::File(file.clone()))).await.unwrap();
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let text = load(
        "user",
        |number| format!("x'{number:032x}'"),
        |kind| format!("unhex(printf('%016x%016x', {kind}, n))"),
        |count| {
            format!("WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count}) SELECT n FROM n")
        },
    );
    connection.execute(AssertSqlSafe(text)).await.unwrap();
    is_erased_in_bounded_steps(&records).await;
    records.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_20000_conversations_is_erased_in_postgresql() {
    let config = PostgresServer::shared().fresh().await;
    let records = RecordStore::open(&RecordsUrl::Postgres(config.clone())).await.unwrap();
    let mut connection = PgConnection::connect(&config.url.0).await.unwrap();
    let text = load(
        "user_id",
        |number| format!("'{number:032x}'::uuid"),
        |kind| format!("(lpad(to_hex({kind}), 16, '0') || lpad(to_hex(n), 16, '0'))::uuid"),
        |count| format!("SELECT n FROM generate_series(1, {count}) AS n"),
    );
    connection.execute(AssertSqlSafe(text)).await.unwrap();
    is_erased_in_bounded_steps(&records).await;
    records.close().await;
}

/// The number that a query without parameters answers.
async fn number(connection: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::raw_sql(query).fetch_one(connection).await.unwrap().get(0)
}

/// Two calls erase Ann, and a service removes her from some of the same conversations: each that she leaves counts
/// once.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_erased_twice_at_once_leaves_every_conversation_once() {
    const COUNT: u128 = 3 * ERASED_CONVERSATIONS as u128;
    let config = PostgresServer::shared().fresh().await;
    let records = RecordStore::open(&RecordsUrl::Postgres(config.clone())).await.unwrap();
    for number in 0..COUNT {
        let new = NewConversation { id: Some(conversation(number)), creator: BOB, members: vec![ANN], at: AT };
        records.create_conversation(new).await.unwrap();
    }
    let remove = |number| MemberChange { conversation: conversation(number), actor: None, user: ANN, at: AT };
    let removals = join_all((0..10).map(|number| records.remove_member(remove(number * 10))));
    let (one, other, removed) = tokio::join!(records.erase_user(ANN, AT), records.erase_user(ANN, AT), removals);
    assert!(removed.iter().all(Result::is_ok), "{removed:?}");
    let mut left = [one.unwrap().left, other.unwrap().left].concat();
    left.sort_unstable();
    assert!(left.is_sorted_by(|one, other| one < other), "one was left twice: {left:?}");

    let mut connection = PgConnection::connect(&config.url.0).await.unwrap();
    let of_ann = "SELECT count(*) FROM members WHERE user_id = '00000000-0000-0000-0000-000000000001'";
    let counted = "SELECT conversations FROM user_conversations WHERE user_id = '00000000-0000-0000-0000-000000000001'";
    assert_eq!(number(&mut connection, counted).await, number(&mut connection, of_ann).await);
}

/// The version that the caller expects is gone, and its bytes are given back once.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_waits_for_an_erasing_finds_no_document() {
    let config = PostgresServer::shared().fresh().await;
    let records = RecordStore::open(&RecordsUrl::Postgres(config.clone())).await.unwrap();
    let scope = DocumentScope { function: "polls".to_owned(), owner: Owner::User(ANN) };
    let key = DocumentKey { scope, name: "settings".to_owned() };
    let put = |json: &str, expected| DocumentPut::new(key.clone(), json.to_owned(), expected);
    assert_eq!(records.put_document(put("\"the first one\"", None)).await, Ok(1));

    let mut erasing = PgConnection::connect(&config.url.0).await.unwrap();
    erasing.execute("BEGIN").await.unwrap();
    let erase = sqlx::query(postgres_statements().erase_documents).bind(0_i64).bind(Uuid::from_u128(ANN.as_u128()));
    erase.execute(&mut erasing).await.unwrap();
    let (host, second) = (records.clone(), put("\"the second one\"", Some(1)));
    let waiting = tokio::spawn(async move { host.put_document(second).await });
    let mut observer = PgConnection::connect(&config.url.0).await.unwrap();
    eventually("the put waits", async || waiting_for_locks(&mut observer).await == 1).await;
    erasing.execute("COMMIT").await.unwrap();
    assert_eq!(waiting.await.unwrap(), Err(RecordsError::VersionMismatch { present: None }));

    assert_eq!(records.put_document(put("{}", None)).await, Ok(1));
    let difference = "SELECT bytes - (SELECT sum(512 + octet_length(name) + octet_length(json)) FROM documents)
        FROM function_documents";
    assert_eq!(number(&mut observer, difference).await, 0);
}

/// Ann and Bob have added and blocked each other. Whoever of them is erased locks what Ann has said first, and holds
/// nothing that the other one waits for.
#[tokio::test(flavor = "multi_thread")]
async fn two_who_have_added_each_other_are_erased_at_once() {
    let config = PostgresServer::shared().fresh().await;
    let records = RecordStore::open(&RecordsUrl::Postgres(config.clone())).await.unwrap();
    for (user, other) in [(ANN, BOB), (BOB, ANN)] {
        records.add_contact(user, other).await.unwrap();
        records.block(user, other).await.unwrap();
    }
    let mut holding = PgConnection::connect(&config.url.0).await.unwrap();
    let hold = "BEGIN; SELECT 1 FROM contacts WHERE user_id = '00000000-0000-0000-0000-000000000001' FOR UPDATE";
    holding.execute(hold).await.unwrap();
    let erasing = [ANN, BOB].map(|user| {
        let records = records.clone();
        tokio::spawn(async move { records.erase_user(user, AT).await })
    });
    let mut observer = PgConnection::connect(&config.url.0).await.unwrap();
    eventually("both wait", async || waiting_for_locks(&mut observer).await == 2).await;
    let free = "SELECT count(*) FROM (SELECT 1 FROM contacts
        WHERE user_id = '00000000-0000-0000-0000-000000000002' FOR UPDATE SKIP LOCKED) AS free";
    assert_eq!(number(&mut observer, free).await, 1);
    holding.execute("COMMIT").await.unwrap();
    for erased in join_all(erasing).await {
        erased.unwrap().unwrap();
    }
    for user in [ANN, BOB] {
        assert_eq!((records.contacts(user).await.unwrap(), records.blocks(user).await.unwrap()), (vec![], vec![]));
    }
}
