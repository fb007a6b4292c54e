//! What an outage of Redis costs and whom it concerns: a large call needs one pause or one load of the scripts, a cut
//! concerns the users of the cut connection, a server that accepts no writes says so, and protected sentinels are
//! asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roost::config::{RedisConfig, Secret};
use roost::store::redis::RedisStore;
use roost_core::ids::UserId;
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Bus, Check, KeyValue, Mutation, Outcome, Query, StoreError, Subscriber, Transaction, Value};
use roost_tests::certificate::SelfSigned;
use roost_tests::eventually::{eventually, eventually_true};
use roost_tests::redis::store::{RecordingSubscriber, config, durable, fresh_user, open, publish};
use roost_tests::redis::{Options, Protection, RedisCluster, RedisSentinel, RedisServer};

/// A transaction that needs the script.
fn count(user: UserId) -> Transaction {
    add(user, 1)
}

fn add(user: UserId, delta: i64) -> Transaction {
    let mutation = Mutation::Add { key: Key::of_user(Space::UnreadTotal, user), delta, floor: Some(0) };
    Transaction::new(Owner::User(user)).check(Check::Absent(Key::of_user(Space::Online, user))).mutate(mutation)
}

/// Transactions of as many users that add 1, 2, 3 and so on, so that each needs a call of the script of its own.
fn different_counts(users: i64) -> Vec<Transaction> {
    (1..=users).map(|delta| add(fresh_user(), delta)).collect()
}

/// Transactions such as those that announce a message to members who are away.
fn announcements(users: usize) -> Vec<Transaction> {
    let announcement = |_| {
        let user = fresh_user();
        let total = Key::of_user(Space::UnreadTotal, user);
        let add = Mutation::Add { key: total.clone(), delta: 1, floor: Some(0) };
        Transaction::new(Owner::User(user)).check(Check::PresentEither(total, Space::Followed)).mutate(add)
    };
    (0..users).map(announcement).collect()
}

async fn is_committed(store: &RedisStore, user: UserId) -> bool {
    matches!(store.commit(vec![count(user)]).await.as_deref(), Ok([Outcome::Committed(_)]))
}

/// How often a server has carried out a command, as `INFO commandstats` names it.
async fn calls_of(server: &RedisServer, command: &str) -> u64 {
    let stats = server.info(&format!("cmdstat_{command}")).await;
    let calls = stats.split(',').find_map(|part| part.strip_prefix("calls=")).expect("a number of calls");
    calls.parse().expect("a number")
}

#[tokio::test]
async fn scripts_that_are_gone_are_loaded_once_for_a_call_of_a_thousand_transactions() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    // Every script is loaded once when a connection opens, and there is one connection.
    let scripts = calls_of(&server, "script|load").await;
    server.ask::<()>("SCRIPT FLUSH").await;
    let outcomes = store.commit(different_counts(1_000)).await.unwrap();
    for (outcome, sum) in outcomes.into_iter().zip(1..) {
        assert_eq!(outcome, Outcome::Committed(vec![sum]));
    }
    assert_eq!(calls_of(&server, "script|load").await, 2 * scripts, "one load");
    assert_eq!(calls_of(&server, "evalsha").await, 2_000, "each transaction was sent twice");
}

/// The time that a call with these transactions takes until each of them has failed.
async fn time_until_refused(store: &RedisStore, transactions: Vec<Transaction>) -> Duration {
    let began = Instant::now();
    for outcome in store.commit(transactions).await.unwrap() {
        assert!(matches!(outcome, Outcome::Failed(StoreError::Unavailable { .. })), "{outcome:?}");
    }
    began.elapsed()
}

/// A thousand transactions wait no longer than one, but for the time that sending them takes: with a pause for each,
/// they would wait a thousand times as long.
fn assert_one_pause(one: Duration, thousand: Duration) {
    assert!(thousand < one * 20 + Duration::from_secs(2), "one: {one:?}, a thousand: {thousand:?}");
}

#[tokio::test]
async fn a_cluster_that_is_down_costs_a_call_of_a_thousand_transactions_one_pause_each_time() {
    let server = RedisServer::start_with(Options::new().set("cluster-enabled", &["yes"])).await;
    server.ask::<()>("CLUSTER ADDSLOTSRANGE 0 16383").await;
    eventually("a Cluster of one node", || async {
        server.ask::<String>("CLUSTER INFO").await.contains("cluster_state:ok")
    })
    .await;
    let store = open(&format!("redis+cluster://127.0.0.1:{}", server.port())).await;
    assert!(is_committed(&store, fresh_user()).await);
    server.ask::<()>("CLUSTER DELSLOTS 0").await;
    eventually("a Cluster that is down", || async {
        server.ask::<String>("CLUSTER INFO").await.contains("cluster_state:fail")
    })
    .await;
    let one = time_until_refused(&store, different_counts(1)).await;
    for thousand in [different_counts(1_000), announcements(1_000)] {
        assert_one_pause(one, time_until_refused(&store, thousand).await);
    }
    server.ask::<()>("CLUSTER ADDSLOTS 0").await;
    eventually("a Cluster that works again", || is_committed(&store, fresh_user())).await;
}

#[tokio::test]
async fn a_server_that_became_a_replica_costs_a_call_of_a_thousand_transactions_one_pause() {
    let (primary, server) = (RedisServer::start().await, RedisServer::start().await);
    let store = open(&server.url()).await;
    let mut times = Vec::new();
    for transactions in [different_counts(1), different_counts(1_000), announcements(1_000)] {
        eventually("a store that works", || is_committed(&store, fresh_user())).await;
        server.ask::<()>(&format!("REPLICAOF 127.0.0.1 {}", primary.port())).await;
        times.push(time_until_refused(&store, transactions).await);
        eventually("a store that names the reason", || async {
            store.ready().await.is_err_and(|message| message.contains("replica"))
        })
        .await;
        server.ask::<()>("REPLICAOF NO ONE").await;
    }
    times[1..].iter().for_each(|thousand| assert_one_pause(times[0], *thousand));
}

#[tokio::test]
async fn a_cut_concerns_only_the_users_of_the_cut_connection() {
    let cluster = RedisCluster::start_without_failovers().await;
    let store = open(&cluster.url()).await;
    let subscriber = Arc::new(RecordingSubscriber::default());
    let (mut concerned, mut others) = (Vec::new(), Vec::new());
    for user in (0..30).map(|_| fresh_user()) {
        let subscriber: Arc<dyn Subscriber> = subscriber.clone();
        store.join(user, subscriber).await.unwrap();
        let is_first = cluster.primary_of(&format!("{{{user}}}")).await == 0;
        if is_first { concerned.push(user) } else { others.push(user) }
    }
    assert!(!concerned.is_empty() && !others.is_empty());
    assert_eq!(cluster.nodes[0].kill_subscribers().await, 1, "one connection for all users of a node");
    eventually_true("word of the cut", || subscriber.interruptions() > 0).await;
    for user in &concerned {
        assert_eq!(subscriber.interruptions_of(*user), 1, "{user}");
    }
    for user in &others {
        assert_eq!(subscriber.interruptions_of(*user), 0, "{user}");
    }
    for user in concerned {
        publish(&store, user, durable("after")).await.unwrap();
        eventually_true("a live event", || subscriber.payloads(user) == ["after"]).await;
    }
}

#[tokio::test]
async fn a_full_server_refuses_writes_with_a_time_answers_reads_and_recovers() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    let user = fresh_user();
    assert!(is_committed(&store, user).await);
    let counter = || vec![Query::Counter(Key::of_user(Space::UnreadTotal, user))];
    let indexed =
        Query::IndexedCounters { index: Key::of_user(Space::UnreadSequence, user), space: Space::UnreadConversation };
    server.ask::<()>("CONFIG SET maxmemory-policy noeviction").await;
    server.ask::<()>("CONFIG SET maxmemory 1000").await;
    let full = StoreError::Unavailable { retry_after_ms: 5_000 };
    let plain = Transaction::new(Owner::User(user)).mutate(Mutation::Set(
        Key::of_user(Space::Online, user),
        b"1".to_vec(),
        Some(60_000),
    ));
    let refused = store.commit(vec![count(user), plain]).await.unwrap();
    assert_eq!(refused, [Outcome::Failed(full.clone()), Outcome::Failed(full.clone())]);
    assert_eq!(publish(&store, user, durable("1")).await, Err(full));
    let message = store.ready().await.unwrap_err();
    assert!(message.contains(&server.port().to_string()) && message.contains("raise its maxmemory"), "{message}");
    assert_eq!(store.read(counter()).await.unwrap(), [Value::Counter(1)], "reads go on, and nothing was written");
    assert_eq!(store.read(vec![indexed]).await.unwrap(), [Value::Counters(vec![])]);
    server.ask::<()>("CONFIG SET maxmemory 0").await;
    assert!(is_committed(&store, user).await);
    assert_eq!(store.ready().await, Ok(()));
    assert_eq!(store.read(counter()).await.unwrap(), [Value::Counter(2)]);
}

#[tokio::test]
async fn a_server_without_enough_replicas_names_the_remedy() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    server.ask::<()>("CONFIG SET min-replicas-to-write 1").await;
    assert!(!is_committed(&store, fresh_user()).await);
    let message = store.ready().await.unwrap_err();
    assert!(message.contains("min-replicas-to-write"), "{message}");
    server.ask::<()>("CONFIG SET min-replicas-to-write 0").await;
    assert!(is_committed(&store, fresh_user()).await);
    assert_eq!(store.ready().await, Ok(()));
}

#[tokio::test]
async fn protected_sentinels_are_asked_with_their_own_user_over_tls() {
    roost::app::install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let SelfSigned { certificate: authority, key, .. } = SelfSigned::write(folder.path(), "sentinel");
    let tls = [authority.clone(), key, authority.clone()];
    let pair = |user: &str, password: &str| (user.to_owned(), password.to_owned());
    let protection = Protection { tls, server: pair("roost", "se-cret"), sentinel: pair("watcher", "other-cret") };
    let sentinel = RedisSentinel::start_protected(protection).await;
    let right = RedisConfig {
        ca_file: Some(authority.into()),
        sentinel_username: Some("watcher".to_owned()),
        sentinel_password: Some(Secret("other-cret".to_owned())),
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(1),
        ..config(&sentinel.url())
    };
    let store = RedisStore::open(right.clone()).await.unwrap_or_else(|error| panic!("{error:#}"));
    let user = fresh_user();
    assert!(is_committed(&store, user).await);

    let refusal = async |config: RedisConfig| format!("{:#}", RedisStore::open(config).await.err().expect("a refusal"));
    let anonymous = RedisConfig { sentinel_username: None, sentinel_password: None, ..right.clone() };
    let wrong = RedisConfig { sentinel_password: Some(Secret("se-cret".to_owned())), ..right.clone() };
    for config in [anonymous, wrong] {
        let message = refusal(config).await;
        assert!(message.contains("store_sentinel_username") && !message.contains("-cret"), "{message}");
    }
    let plain = RedisConfig { sentinel_tls: Some(false), ..right };
    assert!(refusal(plain).await.contains("rediss+sentinel://127.0.0.1:"));

    sentinel.kill_primary().await;
    eventually("writes at the server that took over", || is_committed(&store, user)).await;
    eventually("readiness", || async { store.ready().await.is_ok() }).await;
}
