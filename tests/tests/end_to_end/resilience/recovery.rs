//! Recovery in the real binary: announcements that cannot be made delay no others, and operators see them; and a
//! PostgreSQL that turned read-only, or was demoted, makes the host unready.

use redis::AsyncCommands;
use roost::config::{Pooling, PostgresConfig, RecordsUrl, Secret, SqliteLocation};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, UserId};
use roost_core::port::{Draft, NewConversation, PendingId, PendingQuery, Postponement, Records};
use roost_core::time::Timestamp;
use roost_tests::eventually::{DEADLINE, eventually, eventually_within};
use roost_tests::pgbouncer::{PgBouncer, PoolMode};
use roost_tests::postgres::PostgresServer;
use roost_tests::redis::RedisServer;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

/// The time of what is stored past the host: long ago, so that recovery announces it at its next tick.
const AT: Timestamp = Timestamp(1_700_000_000_000);
const STUCK: u128 = 300;

fn user(id: Uuid) -> UserId {
    UserId::from_u128(id.as_u128())
}

/// Stores a message past the host, so that nobody announces it but recovery.
async fn store_unannounced(records: &RecordStore, number: u128, (sender, to): (Uuid, Uuid), at: Timestamp) {
    let (id, sender) = (ConversationId::from_u128(number), user(sender));
    let new = NewConversation { id: Some(id), creator: sender, members: vec![user(to)], at };
    records.create_conversation(new).await.unwrap();
    let content = format!("message {number}");
    let draft = Draft { conversation: id, sender, id: None, kind: "text".into(), content, at };
    records.append_message(draft).await.unwrap();
}

async fn beside(server: &Server) -> RecordStore {
    let file = SqliteLocation::File(server.data().join("records.db"));
    RecordStore::open(&RecordsUrl::Sqlite(file)).await.unwrap()
}

#[tokio::test]
async fn hundreds_of_announcements_that_cannot_be_made_delay_no_others() {
    let redis = RedisServer::start().await;
    let server = Server::start(&[("store_url", &redis.url())]).await;
    let (ann, ben, broken) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let mut socket = Socket::open(&server, ben).await;
    server.user(broken).get("/v1/unread").await.json(200);
    let positions = format!("unread:seq:{broken}");
    let mut client = redis.client().await;
    let _: () = client.set(&positions, "no hash").await.unwrap();

    let records = beside(&server).await;
    for number in 0..STUCK {
        store_unannounced(&records, 1_000 + number, (ann, broken), AT).await;
    }
    let count = async |outcome: &str| {
        let text = server.operator().get("/metrics").await.text;
        let series = format!("roost_function_announcements_total{{function=\"messaging\",outcome=\"{outcome}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.and_then(|count| count.parse::<u128>().ok()).unwrap_or(0)
    };
    for number in 0..5 {
        store_unannounced(&records, 100 + number, (ann, ben), AT.plus(3_600_000)).await;
        let new = socket.payload("message.new").await;
        assert_eq!(new["content"], format!("message {}", 100 + number));
    }
    assert!(count("failed").await >= STUCK, "they are older, so recovery had to pass all of them");

    // Once the reason is removed they are announced, however many there are.
    let _: () = client.del(&positions).await.unwrap();
    let forever = Timestamp(u64::MAX);
    eventually_within(5 * DEADLINE, "the outbox is empty", async || {
        let pages = [PendingQuery::untried(forever), PendingQuery::tried(forever)];
        let [untried, tried] = pages.map(|query| records.pending(query));
        untried.await.unwrap().items.is_empty() && tried.await.unwrap().items.is_empty()
    })
    .await;
    let unread = server.user(broken).get("/v1/unread").await.json(200);
    assert_eq!(unread["total"], u64::try_from(STUCK).unwrap());
    records.close().await;
    server.stop().await;
}

#[tokio::test]
async fn operators_see_what_cannot_be_announced_and_let_it_be_tried_at_once() {
    let server = Server::start(&[]).await;
    let (ann, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let mut socket = Socket::open(&server, ben).await;
    let records = beside(&server).await;
    // Stored in the future, so that recovery leaves it to the test.
    let (id, sender) = (ConversationId::from_u128(7), user(ann));
    let at = Timestamp(4_000_000_000_000);
    let new = NewConversation { id: Some(id), creator: sender, members: vec![user(ben)], at };
    records.create_conversation(new).await.unwrap();
    let draft = Draft { conversation: id, sender, id: None, kind: "text".into(), content: "late".into(), at };
    let change = records.append_message(draft).await.unwrap().change;
    let item = PendingId::Change(id, change.seq);
    records.postpone(vec![Postponement { item, attempts: 4, next_time: at }]).await.unwrap();

    let run = async |command: &'static str| {
        let output = server.command(&[command]).output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, printed) = run("verify").await;
    let line = format!("cannot be announced  change  conversation {id}  number 1");
    assert!(code == Some(1) && printed.contains(&line) && printed.contains("4 attempts"), "{code:?} {printed}");
    assert!(printed.contains("1 announcements keep failing"), "{printed}");
    let (code, printed) = run("repair").await;
    assert!(code == Some(1) && printed.contains("tried again at once"), "{code:?} {printed}");
    assert_eq!(socket.payload("message.new").await["content"], "late");
    eventually("nothing is left", async || run("verify").await.0 == Some(0)).await;
    records.close().await;
    server.stop().await;
}

#[tokio::test]
async fn a_host_whose_postgres_turned_read_only_is_not_ready_and_comes_back_by_itself() {
    let postgres = PostgresServer::start();
    let server = Server::start(&[("records_url", &postgres.database().await)]).await;
    let (ann, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ann).conversation(&[ben]).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    let post = async || server.user(ann).post(&path, json!({ "content": "hello" })).await;
    let ready = async || server.operator().get("/readyz").await;
    post().await.json(201);
    assert_eq!(ready().await.status, 200);

    let alter = async |statement: &str| {
        let mut connection = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
        connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
        connection.execute("SELECT pg_reload_conf()").await.unwrap();
        connection.close().await.unwrap();
    };
    alter("ALTER SYSTEM SET default_transaction_read_only = on").await;
    eventually("the host is not ready", async || {
        let answer = ready().await;
        answer.status == 503 && answer.text.contains("the server is read-only")
    })
    .await;
    let refused = post().await;
    let problem = refused.problem(503, "records_unavailable");
    assert!(problem["retry"] == true && refused.headers.contains_key("retry-after"), "{problem}");
    // What is stored can be read.
    let read = server.user(ben).get(&path).await.json(200);
    assert_eq!(read["messages"].as_array().unwrap().len(), 1);

    alter("ALTER SYSTEM RESET default_transaction_read_only").await;
    eventually("the host is ready again", async || ready().await.status == 200).await;
    eventually("messages are stored again", async || post().await.status == 201).await;
    server.stop().await;
}

#[tokio::test]
async fn a_host_whose_postgres_was_demoted_is_not_ready_until_the_promotion_and_loses_no_message() {
    let postgres = PostgresServer::start();
    let server = Server::start(&[("records_url", &postgres.database().await)]).await;
    let (ann, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ann).conversation(&[ben]).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    let post = async |id: Uuid| server.user(ann).post(&path, json!({ "id": id, "content": "hello" })).await;
    let ready = async || server.operator().get("/readyz").await;
    let history = async || {
        let read = server.user(ben).get(&path).await.json(200);
        read["messages"].as_array().unwrap().iter().map(|message| message["id"].clone()).collect::<Vec<_>>()
    };
    let [before, refused, after] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    post(before).await.json(201);

    postgres.demote().await;
    eventually("the host is not ready", async || {
        let answer = ready().await;
        answer.status == 503 && answer.json(503)["parts"]["records"].as_str().unwrap().contains("a standby")
    })
    .await;
    let problem = post(refused).await.problem(503, "records_unavailable");
    assert_eq!(problem["retry"], true, "{problem}");
    assert_eq!(history().await, [json!(before)], "what is stored can be read");

    postgres.promote().await;
    eventually("the host is ready again", async || ready().await.status == 200).await;
    // The same server goes on, over the same connections, so that nobody has to wait for anything else.
    post(refused).await.json(201);
    post(after).await.json(201);
    assert_eq!(history().await, [json!(after), json!(refused), json!(before)]);
    server.stop().await;
}

#[tokio::test]
async fn a_host_serves_behind_pgbouncer_in_both_modes() {
    for mode in [PoolMode::Session, PoolMode::Transaction] {
        let PostgresConfig { url: Secret(url), pooling, .. } = PgBouncer::shared(mode).fresh().await;
        assert_eq!(pooling, Pooling::Auto, "nothing has to be configured");
        let settings = [("records_url", url.as_str()), ("postgres.connections_max", "4")];
        let server = Server::start(&settings).await;
        let (ann, ben) = (Uuid::new_v4(), Uuid::new_v4());
        let mut socket = Socket::open(&server, ben).await;
        let conversation = server.user(ann).conversation(&[ben]).await;
        for number in 0..10 {
            let draft = json!({ "content": number.to_string() });
            server.user(ann).post(&format!("/v1/conversations/{conversation}/messages"), draft).await.json(201);
            assert_eq!(socket.payload("message.new").await["content"], number.to_string());
        }
        assert_eq!(server.operator().get("/readyz").await.status, 200);
        server.stop().await;
    }
}
