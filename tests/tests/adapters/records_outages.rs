//! Records that are away, hang, are slow or accept no changes: calls end with a time for a retry, later calls are
//! refused at once, nothing is connected again and again, and everything works again by itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use roost::config::{BackendConfig, PostgresConfig, RecordsUrl, Secret};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, UserId};
use roost_core::port::{Draft, HistoryQuery, NewConversation, PendingQuery, Records, RecordsError, UnreadRequest};
use roost_core::testing::FakeRecords;
use roost_core::time::Timestamp;
use roost_tests::backend::{Backend, url};
use roost_tests::eventually::eventually;
use roost_tests::postgres::PostgresServer;
use roost_tests::proxy::{NetworkCondition, Proxy};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::time::Instant;

const ANN: UserId = UserId::from_u128(1);
const BOB: UserId = UserId::from_u128(2);
const CONVERSATION: ConversationId = ConversationId::from_u128(3);
const AT: Timestamp = Timestamp(1_790_000_000_000);
/// An answer of records that are called slow.
const SLOW: Duration = Duration::from_millis(1_500);

async fn open(config: &PostgresConfig) -> RecordStore {
    let records = RecordStore::open(&RecordsUrl::Postgres(config.clone())).await.unwrap();
    let new = NewConversation { id: Some(CONVERSATION), creator: ANN, members: vec![BOB], at: AT };
    // On a busy machine the first connection may take longer than a call of a hasty host waits.
    eventually("the conversation is created", async || records.create_conversation(new.clone()).await.is_ok()).await;
    records
}

async fn send(records: &RecordStore) -> Result<(), RecordsError> {
    let content = "hello".to_owned();
    let draft = Draft { conversation: CONVERSATION, sender: ANN, id: None, kind: "text".into(), content, at: AT };
    records.append_message(draft).await.map(|_| ())
}

/// The time that a refusal names.
fn retry_after(answer: &Result<(), RecordsError>) -> Option<u32> {
    match answer {
        Err(RecordsError::Unavailable { retry_after_ms }) => Some(*retry_after_ms),
        _ => None,
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A database of the shared server, reached through a proxy.
async fn behind_a_proxy() -> (Proxy, PostgresConfig) {
    let server = PostgresServer::shared();
    let proxy = Proxy::before(address(server.port())).await;
    let config = server.fresh().await;
    let url = config.url.0.replace(&server.port().to_string(), &proxy.address.port().to_string());
    (proxy, PostgresConfig { url: Secret(url), ..config })
}

/// A server that hangs, and one that refuses connections.
#[tokio::test(flavor = "multi_thread")]
async fn calls_to_a_server_that_is_away_are_refused_at_once_until_a_probe_connects() {
    for away in [NetworkCondition::Held, NetworkCondition::Down] {
        let (proxy, config) = behind_a_proxy().await;
        let short = Duration::from_millis(500);
        let records = open(&PostgresConfig { acquire_timeout: short, statement_timeout: short, ..config }).await;
        proxy.set(away);
        // The first calls find out; they take as long as they may, and no longer.
        assert!(retry_after(&send(&records).await).is_some());
        eventually("the host is not ready", async || {
            records.readiness().await.is_err_and(|problem| problem.starts_with("the server cannot be reached: "))
        })
        .await;

        // From then on nobody waits, and nobody but the probe connects.
        let (began, before) = (Instant::now(), proxy.connections());
        let refused = join_all((0..200).map(|_| send(&records))).await;
        let took = began.elapsed();
        assert!(refused.iter().all(|answer| retry_after(answer).is_some_and(|after| (1..=2_000).contains(&after))));
        // Two hundred calls that wait for a connection, eight at a time, take more than ten seconds.
        assert!(took < 10 * short, "200 refusals took {took:?}");
        assert!(proxy.connections() <= before + 10, "{before} connections became {}", proxy.connections());

        proxy.set(NetworkCondition::Normal);
        eventually("messages are stored again", async || send(&records).await.is_ok()).await;
        eventually("the host is ready again", async || records.readiness().await.is_ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_a_lock_opens_no_circuit() {
    let config = PostgresServer::shared().fresh().await;
    // Others need a part of this on a busy machine.
    let short = Duration::from_secs(1);
    let records = open(&PostgresConfig { statement_timeout: short, ..config.clone() }).await;
    let mut holding = PgConnection::connect(&config.url.0).await.unwrap();
    holding.execute("BEGIN; SELECT 1 FROM conversations FOR UPDATE").await.unwrap();
    for refused in join_all((0..6).map(|_| send(&records))).await {
        assert!(retry_after(&refused).is_some());
    }
    // Everything else goes on meanwhile.
    for answer in join_all((0..20).map(|_| records.contacts(ANN))).await {
        answer.unwrap();
    }
    records.readiness().await.unwrap();
    holding.close().await.unwrap();
    eventually("messages are stored again", async || send(&records).await.is_ok()).await;
}

async fn alter(server: &PostgresServer, statements: &[&str]) {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    for statement in statements {
        connection.execute(AssertSqlSafe((*statement).to_owned())).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// The processes that serve the connections of hosts.
async fn backends(server: &PostgresServer) -> BTreeSet<i32> {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let rows = sqlx::raw_sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'roost'");
    let rows = rows.fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_turned_read_only_makes_the_host_unready_and_its_connections_are_replaced() {
    let server = PostgresServer::start();
    let records = open(&server.fresh().await).await;
    for answer in join_all((0..4).map(|_| send(&records))).await {
        answer.unwrap();
    }
    let before = backends(&server).await;
    let reload = "SELECT pg_reload_conf()";
    alter(&server, &["ALTER SYSTEM SET default_transaction_read_only = on", reload]).await;
    // The setting reaches each of the connections at a time of its own.
    let mut stored = 4;
    eventually("writes are refused", async || {
        let answer = send(&records).await;
        stored += usize::from(answer.is_ok());
        retry_after(&answer).is_some()
    })
    .await;
    let problem = records.readiness().await.unwrap_err();
    assert!(problem.contains("the server is read-only") && problem.contains("by itself"), "{problem}");
    // Reads are answered meanwhile.
    let query = HistoryQuery { user: ANN, conversation: CONVERSATION, before: None, limit: 10 };
    assert_eq!(records.history(query).await.unwrap().messages.len(), stored);

    eventually("every connection is replaced", async || {
        let _ = join_all((0..4).map(|_| send(&records))).await;
        backends(&server).await.is_disjoint(&before)
    })
    .await;
    alter(&server, &["ALTER SYSTEM RESET default_transaction_read_only", reload]).await;
    eventually("the host is ready again", async || records.readiness().await.is_ok()).await;
    eventually("messages are stored again", async || send(&records).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_server_makes_the_host_unready_and_is_used_again_once_it_is_promoted() {
    let server = PostgresServer::start();
    let records = open(&server.fresh().await).await;
    for answer in join_all((0..4).map(|_| send(&records))).await {
        answer.unwrap();
    }
    server.demote().await;
    eventually("the host is not ready", async || {
        records.readiness().await.is_err_and(|problem| problem.starts_with("the server is read-only: a standby"))
    })
    .await;
    assert!(retry_after(&send(&records).await).is_some());
    // Reads are answered meanwhile.
    let query = HistoryQuery { user: ANN, conversation: CONVERSATION, before: None, limit: 10 };
    assert_eq!(records.history(query).await.unwrap().messages.len(), 4);
    assert!(records.readiness().await.is_err(), "it is a standby until it is promoted");

    server.promote().await;
    eventually("the host is ready again", async || records.readiness().await.is_ok()).await;
    eventually("messages are stored again", async || send(&records).await.is_ok()).await;
    assert_eq!(records.history(query).await.unwrap().messages.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_every_session_costs_no_more_than_one_failure_for_each_connection() {
    let server = PostgresServer::start();
    let records = open(&server.fresh().await).await;
    for answer in join_all((0..4).map(|_| send(&records))).await {
        answer.unwrap();
    }
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'roost'";
    alter(&server, &[terminate]).await;
    let mut failures = 0;
    while send(&records).await.is_err() {
        failures += 1;
        assert!(failures <= 8, "{failures} failures with at most 8 connections");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_takes_a_second_and_a_half_for_an_answer_works() {
    let backend = Backend::start(FakeRecords::new(1)).await;
    let proxy = Proxy::before(backend.address).await;
    let http = |timeout| BackendConfig {
        url: format!("http://{}/chat/v1", proxy.address).parse().unwrap(),
        timeout,
        ..backend.config()
    };
    let records = RecordStore::open(&url(http(4 * SLOW))).await.unwrap();
    let hasty = RecordStore::open(&url(http(SLOW / 2))).await.unwrap();
    let new = NewConversation { id: Some(CONVERSATION), creator: ANN, members: vec![BOB], at: AT };
    records.create_conversation(new).await.unwrap();
    proxy.set(NetworkCondition::Delayed(SLOW / 2));
    // One after the other, these would take a minute and a half.
    let began = Instant::now();
    for sent in join_all((0..64).map(|_| send(&records))).await {
        sent.unwrap();
    }
    let everywhere = || vec![UnreadRequest::all(BOB)];
    assert_eq!(records.unread(everywhere()).await.unwrap()[0].counters[0].count, 64);
    let pending = records.pending(PendingQuery::untried(Timestamp(u64::MAX))).await.unwrap();
    assert_eq!(pending.items.len(), 65, "the messages and the creation of the conversation");
    assert!(began.elapsed() < 32 * SLOW, "{:?}", began.elapsed());

    // Slower than the timeout: every call ends with a time for a retry, and the next one is answered once it can be.
    for refused in join_all((0..64).map(|_| send(&hasty))).await {
        assert!(retry_after(&refused).is_some_and(|after| after > 0), "{refused:?}");
    }
    proxy.set(NetworkCondition::Normal);
    eventually("messages are stored again", async || send(&hasty).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_postgres_works_within_its_bounds_and_ends_calls_beyond_them() {
    let (proxy, config) = behind_a_proxy().await;
    let records = open(&config).await;
    let hasty = Duration::from_millis(400);
    let hasty = open(&PostgresConfig { acquire_timeout: hasty, statement_timeout: hasty, ..config }).await;
    for answer in join_all((0..8).map(|_| records.contacts(ANN))).await {
        answer.unwrap();
    }
    proxy.set(NetworkCondition::Delayed(SLOW / 2));
    let (patient, refused) =
        tokio::join!(join_all((0..8).map(|_| records.contacts(ANN))), join_all((0..8).map(|_| send(&hasty))),);
    for answer in patient {
        answer.unwrap();
    }
    assert!(refused.iter().all(|answer| retry_after(answer).is_some_and(|after| after > 0)), "{refused:?}");
    proxy.set(NetworkCondition::Normal);
    eventually("messages are stored again", async || send(&hasty).await.is_ok()).await;
}
