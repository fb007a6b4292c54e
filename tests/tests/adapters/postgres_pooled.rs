//! PostgreSQL behind PgBouncer, in session and in transaction mode: the conformance suite of the records port, several
//! hosts at once, and that nothing of a call is left behind in a session that others get.

use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::join_all;
use roost::config::{PostgresConfig, RecordsUrl};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, UserId};
use roost_core::port::{Draft, NewConversation, Records, RecordsError, UnreadRequest};
use roost_core::testing::conformance::records::{
    Subject, announcing, blocks, bounds, changing, contacts, counting, creating, deleting, document_bytes, documents,
    erasing, finding, listing, members, moderating, paging, pairs, receipts, recovering, sending,
};
use roost_core::time::Timestamp;
use roost_tests::pgbouncer::{PgBouncer, PoolMode};
use roost_tests::postgres::PostgresServer;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row};

const ANN: UserId = UserId::from_u128(1);
const BOB: UserId = UserId::from_u128(2);
const CONVERSATION: ConversationId = ConversationId::from_u128(3);
const AT: Timestamp = Timestamp(1_790_000_000_000);
const MODES: [PoolMode; 2] = [PoolMode::Session, PoolMode::Transaction];

async fn open(config: &PostgresConfig) -> RecordStore {
    RecordStore::open(&RecordsUrl::Postgres(config.clone())).await.unwrap()
}

fn on<F: Future<Output = ()>>(mode: PoolMode, case: impl FnOnce(Subject<RecordStore>) -> F) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let database = PostgresServer::shared().lend().await;
        let records = open(&PgBouncer::shared(mode).config(database.url.clone())).await;
        case(Subject::new(records.clone(), |records| Box::pin(records.flush()))).await;
        records.close().await;
    });
}

macro_rules! behind_a_pooler {
    ($($module:ident::$case:ident),* $(,)?) => {
        mod in_session_mode {
            use super::*;
            $(#[test]
            fn $case() {
                on(PoolMode::Session, async |subject| $module::$case(&subject).await);
            })*
        }

        mod in_transaction_mode {
            use super::*;
            $(#[test]
            fn $case() {
                on(PoolMode::Transaction, async |subject| $module::$case(&subject).await);
            })*
        }
    };
}

roost_core::each_records_case!(behind_a_pooler);

async fn create(records: &RecordStore) {
    let new = NewConversation { id: Some(CONVERSATION), creator: ANN, members: vec![BOB], at: AT };
    records.create_conversation(new).await.unwrap();
}

fn draft() -> Draft {
    Draft { conversation: CONVERSATION, sender: ANN, id: None, kind: "text".into(), content: "hi".into(), at: AT }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_start_at_once_share_one_schema_and_leave_no_gap() {
    const EACH: u64 = 20;
    for mode in MODES {
        let pooler = PgBouncer::shared(mode);
        // Together they have no more connections than the pooler has in session mode.
        let config = PostgresConfig { connections_max: 2, ..pooler.fresh().await };
        let hosts = join_all((0..2).map(|_| open(&config))).await;
        create(&hosts[0]).await;
        let writing = hosts.iter().flat_map(|host| [host, host]).map(|host| {
            let host = host.clone();
            tokio::spawn(async move {
                let mut seqs = Vec::new();
                for _ in 0..EACH {
                    seqs.push(host.append_message(draft()).await.unwrap().change.seq.0);
                }
                seqs
            })
        });
        let mut seqs: Vec<u64> = join_all(writing).await.into_iter().flat_map(Result::unwrap).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, (1..=4 * EACH).collect::<Vec<_>>(), "{mode:?}");
        let counters = hosts[1].unread(vec![UnreadRequest::all(BOB)]).await.unwrap();
        assert_eq!(counters[0].counters[0].count, 4 * EACH);
        join_all(hosts.iter().map(RecordStore::close)).await;
        assert!(!pooler.log().contains("unsupported startup parameter"), "{}", pooler.log());
    }
}

/// A connection of no host, with an open transaction that holds the conversation.
async fn hold_the_conversation(url: &str) -> PgConnection {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute("BEGIN; SELECT 1 FROM conversations FOR UPDATE").await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_ends_in_both_modes() {
    for mode in MODES {
        let url = PostgresServer::shared().database().await;
        let config = PgBouncer::shared(mode).config(url.clone());
        let hasty = open(&PostgresConfig { statement_timeout: Duration::from_millis(300), ..config }).await;
        create(&hasty).await;
        let holding = hold_the_conversation(&url).await;
        let refused = hasty.append_message(draft()).await;
        assert!(matches!(refused, Err(RecordsError::Unavailable { .. })), "{mode:?}: {refused:?}");
        holding.close().await.unwrap();
        hasty.append_message(draft()).await.unwrap();
        hasty.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_call_is_left_in_a_session_that_another_client_gets() {
    let pooler = PgBouncer::start(PoolMode::Transaction, PostgresServer::shared());
    let config = pooler.fresh().await;
    // PgBouncer refuses a parameter that sqlx sends by default.
    let options = PgConnectOptions::from_str(&config.url.0).unwrap().extra_float_digits(None);
    let before = options.connect().await.unwrap();
    let records = open(&config).await;
    create(&records).await;
    for _ in 0..10 {
        records.append_message(draft()).await.unwrap();
        records.contacts(ANN).await.unwrap();
    }
    records.close().await;
    let mut other = before;
    for asked in [
        "SELECT count(*)::text FROM pg_prepared_statements",
        "SELECT count(*)::text FROM pg_locks JOIN pg_database ON oid = database
            WHERE locktype = 'advisory' AND datname = current_database()",
    ] {
        let left = sqlx::raw_sql(asked).fetch_one(&mut other).await.unwrap();
        assert_eq!(left.get::<String, _>(0), "0", "{asked}");
    }
    for setting in ["SHOW statement_timeout", "SHOW lock_timeout", "SHOW idle_in_transaction_session_timeout"] {
        let shown = sqlx::raw_sql(setting).fetch_one(&mut other).await.unwrap();
        assert_eq!(shown.get::<String, _>(0), "0", "{setting}");
    }
}
