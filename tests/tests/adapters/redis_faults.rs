//! Faults of Redis and the behaviour of the store: it fails at once instead of hanging, recovers by itself, reports
//! when events may be missing, and never assigns a position twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use roost::config::RedisConfig;
use roost::store::redis::RedisStore;
use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{
    Bus, Feeds, KeyValue, Mutation, Outcome, Query, Replay, StoreError, Subscriber, Transaction, Value,
};
use roost_tests::eventually::eventually;
use roost_tests::redis::store::{RecordingSubscriber, config, durable, fresh_user, open, publish, wait_for_deliveries};
use roost_tests::redis::{Data, Options, RedisCluster, RedisSentinel, RedisServer};
use tokio::sync::Notify;

use crate::golden::Messages;

/// The configuration of a store with short timeouts.
fn hasty_config(url: &str) -> RedisConfig {
    RedisConfig {
        connect_timeout: Duration::from_millis(1_500),
        response_timeout: Duration::from_millis(300),
        ..config(url)
    }
}

/// A store that gives up soon.
async fn hasty(url: &str) -> RedisStore {
    RedisStore::open(hasty_config(url)).await.unwrap_or_else(|error| panic!("{error:#}"))
}

fn any_query() -> Vec<Query> {
    vec![Query::Presence(Key::of_user(Space::Online, UserId::from_u128(1)))]
}

async fn answers(store: &RedisStore) -> bool {
    store.read(any_query()).await.is_ok()
}

async fn join(store: &RedisStore, user: UserId) -> Arc<RecordingSubscriber> {
    let recorder = Arc::new(RecordingSubscriber::default());
    let subscriber: Arc<dyn Subscriber> = recorder.clone();
    store.join(user, subscriber).await.unwrap();
    recorder
}

async fn position(store: &RedisStore, user: UserId) -> Position {
    store.positions(&[user]).await.unwrap().remove(0)
}

async fn replayed(store: &RedisStore, user: UserId, since: &Position) -> Option<Vec<String>> {
    match store.replay(user, since).await.unwrap() {
        Replay::Events(events) => Some(events.iter().map(|event| event.payload.to_string()).collect()),
        Replay::Gap => None,
    }
}

#[tokio::test]
async fn a_hung_server_times_out_and_is_used_again_afterwards() {
    let server = RedisServer::start().await;
    let store = hasty(&server.url()).await;
    assert!(answers(&store).await && store.ready().await.is_ok());
    server.pause();
    eventually("a circuit that opens", || async { !answers(&store).await && store.ready().await.is_err() }).await;
    eventually("refusals at once", || async {
        let began = Instant::now();
        let refused = matches!(store.read(any_query()).await, Err(StoreError::Unavailable { retry_after_ms: 1.. }));
        refused && began.elapsed() < Duration::from_millis(100)
    })
    .await;
    let message = store.ready().await.unwrap_err();
    assert!(message.contains(&server.url()), "{message}");
    server.resume();
    eventually("an answer", || answers(&store)).await;
    eventually("readiness", || async { store.ready().await.is_ok() }).await;
}

#[tokio::test]
async fn a_killed_server_fails_calls_at_once_and_is_used_again_after_a_restart() {
    let server = RedisServer::start().await;
    let store = hasty(&server.url()).await;
    let user = fresh_user();
    let subscriber = join(&store, user).await;
    server.kill();
    eventually("a circuit that opens", || async { !answers(&store).await }).await;
    server.restart(Data::Empty).await;
    eventually("an answer", || answers(&store)).await;
    eventually("word of the interruption", || async { subscriber.interruptions() > 0 }).await;
    publish(&store, user, durable("after")).await.unwrap();
    eventually("a live event", || async { subscriber.payloads(user) == ["after"] }).await;
}

#[tokio::test]
async fn disconnected_subscribers_return_and_the_feed_has_what_they_missed() {
    let server = RedisServer::start().await;
    let store = Arc::new(open(&server.url()).await);
    let users: Vec<UserId> = (0..50).map(|_| fresh_user()).collect();
    let subscriber = Arc::new(RecordingSubscriber::default());
    for user in &users {
        let subscriber: Arc<dyn Subscriber> = subscriber.clone();
        store.join(*user, subscriber).await.unwrap();
        publish(&*store, *user, durable("0")).await.unwrap();
    }
    let starts = store.positions(&users).await.unwrap();
    let mut cuts = 0;
    for round in 1..=20 {
        for user in &users {
            publish(&*store, *user, durable(&round.to_string())).await.unwrap();
        }
        if round % 7 == 0 {
            assert_eq!(server.kill_subscribers().await, 1, "one connection for all users");
            cuts += 1;
            eventually("word of each cut", || async { subscriber.interruptions() == cuts }).await;
        }
    }
    wait_for_deliveries(&*store).await;
    let all: Vec<String> = (1..=20).map(|round| round.to_string()).collect();
    for (user, start) in users.iter().zip(&starts) {
        let deliveries = subscriber.payloads(*user);
        assert_eq!(deliveries.last().map(String::as_str), Some("20"), "live again");
        assert_eq!(replayed(&store, *user, start).await.as_ref(), Some(&all), "nothing is lost");
    }
}

#[tokio::test]
async fn an_older_snapshot_begins_a_new_epoch() {
    let server = RedisServer::start().await;
    let store = hasty(&server.url()).await;
    let (user, quiet) = (fresh_user(), fresh_user());
    publish(&store, user, durable("1")).await.unwrap();
    server.save().await;
    let nowhere = position(&store, quiet).await;
    for payload in ["2", "3"] {
        publish(&store, user, durable(payload)).await.unwrap();
    }
    publish(&store, quiet, durable("lost")).await.unwrap();
    let before = position(&store, user).await;
    assert_eq!(before.offset, 3);
    server.restart(Data::Snapshot).await;
    eventually("an answer", || answers(&store)).await;
    assert_eq!(server.ask::<usize>(&format!("XLEN feed:{user}")).await, 1, "the snapshot is older");
    assert!(position(&store, user).await.without_feed_since().is_some(), "another process's feed is none");
    let older = Position { offset: 1, ..before.clone() };
    for since in [&before, &older] {
        assert_eq!(replayed(&store, user, since).await, None, "{since}");
    }
    assert_eq!(replayed(&store, quiet, &nowhere).await, None, "its feed began and was lost");
    publish(&store, user, durable("2 again")).await.unwrap();
    let after = position(&store, user).await;
    assert_eq!((after.offset, after.epoch == before.epoch), (1, false));
    assert_eq!(replayed(&store, user, &before).await, None);
}

#[tokio::test]
async fn thousands_join_at_once_while_events_flow() {
    let server = RedisServer::start().await;
    let store = Arc::new(open(&server.url()).await);
    let first = fresh_user();
    let subscriber = join(&store, first).await;
    let users: Vec<UserId> = (0..5_000).map(|_| fresh_user()).collect();
    let joins = futures_util::future::join_all(users.iter().map(|user| {
        let subscriber: Arc<dyn Subscriber> = subscriber.clone();
        store.join(*user, subscriber)
    }));
    let flow = async {
        for number in 0..100 {
            publish(&*store, first, durable(&number.to_string())).await.unwrap();
        }
    };
    let (joined, ()) = tokio::join!(joins, flow);
    assert!(joined.iter().all(Result::is_ok));
    eventually("all events", || async { subscriber.payloads(first).len() == 100 }).await;
    let channels: Vec<String> = server.ask("PUBSUB CHANNELS chat:user:*").await;
    assert_eq!(channels.len(), 5_001);
    for user in &users {
        store.leave(*user).await;
    }
    eventually("channels that are left", || async { server.ask::<Vec<String>>("PUBSUB CHANNELS *").await.len() == 1 })
        .await;
}

#[tokio::test]
async fn the_clock_follows_the_store() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    let (before, (seconds, microseconds), after) = (store.now(), server.ask::<(u64, u64)>("TIME").await, store.now());
    let theirs = seconds * 1_000 + microseconds / 1_000;
    assert!(before.0 <= theirs + 100 && theirs <= after.0 + 100, "{before:?} {theirs} {after:?}");
}

/// Publishes an event and waits until it arrives.
async fn receives_next(store: &RedisStore, user: UserId, subscriber: &RecordingSubscriber) {
    let deliveries = subscriber.payloads(user).len();
    publish(store, user, durable("next")).await.unwrap();
    eventually("a live event", || async { subscriber.payloads(user).len() > deliveries }).await;
}

/// Waits until events arrive again, once the subscription has moved; meanwhile publishing continues to work.
async fn receives_again(store: &RedisStore, user: UserId, subscriber: &RecordingSubscriber) {
    let deliveries = subscriber.payloads(user).len();
    eventually("a live event", || async {
        assert!(increment(store, user).await);
        subscriber.payloads(user).len() > deliveries
    })
    .await;
}

/// Increments a counter and publishes it in one transaction, as long as the store accepts it.
async fn increment(store: &RedisStore, user: UserId) -> bool {
    let key = Key::of_user(Space::UnreadTotal, user);
    let add = Mutation::Add { key, delta: 1, floor: Some(0) };
    let follow = Mutation::Set(Key::followed(user), Vec::new(), Some(600_000));
    let transaction = Transaction::new(Owner::User(user)).mutate(add).mutate(follow).publish(durable("1"));
    matches!(store.commit(vec![transaction]).await.as_deref(), Ok([Outcome::Committed(_)]))
}

async fn total(store: &RedisStore, user: UserId) -> i64 {
    match store.read(vec![Query::Counter(Key::of_user(Space::UnreadTotal, user))]).await.unwrap()[0] {
        Value::Counter(number) => number,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cluster_failover_loses_and_repeats_nothing() {
    let cluster = RedisCluster::start().await;
    let store = Arc::new(open(&cluster.url()).await);
    let users: Vec<UserId> = (0..30).map(|_| fresh_user()).collect();
    let (mut listeners, mut moving, mut remaining) = (Vec::new(), Vec::new(), Vec::new());
    for user in &users {
        let subscriber = join(&store, *user).await;
        let is_moving = cluster.primary_of(&format!("{{{user}}}")).await < 2;
        let others_like_this = if is_moving { &mut moving } else { &mut remaining };
        others_like_this.push(subscriber.clone());
        listeners.push(subscriber);
    }
    assert!(!moving.is_empty() && !remaining.is_empty());
    // From before the first failover until after the second one.
    let (begun, have_moved) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let working = {
        let (store, users) = (store.clone(), users.clone());
        let (begun, have_moved) = (begun.clone(), have_moved.clone());
        tokio::spawn(async move {
            let mut done = vec![0_i64; users.len()];
            let mut unsure = vec![0_i64; users.len()];
            let mut rounds = 0;
            while rounds < 100 || !have_moved.load(Ordering::Relaxed) {
                rounds += 1;
                begun.notify_one();
                for (index, user) in users.iter().enumerate() {
                    if increment(&store, *user).await { done[index] += 1 } else { unsure[index] += 1 }
                }
            }
            (done, unsure)
        })
    };
    begun.notified().await;
    cluster.failover(0).await;
    cluster.failover(1).await;
    have_moved.store(true, Ordering::Relaxed);
    let (done, unsure) = working.await.unwrap();
    cluster.wait_until_healthy().await;
    for (index, user) in users.iter().enumerate() {
        let total = total(&store, *user).await;
        assert!((done[index]..=done[index] + unsure[index]).contains(&total), "{total}, {} sure", done[index]);
    }
    eventually("word of the move", || async { moving.iter().all(|subscriber| subscriber.interruptions() > 0) }).await;
    assert!(remaining.iter().all(|subscriber| subscriber.interruptions() == 0), "it does not concern the others");
    for (user, subscriber) in users.iter().zip(&listeners) {
        receives_next(&store, *user, subscriber).await;
    }
}

#[tokio::test]
async fn a_killed_cluster_primary_leads_to_new_epochs() {
    let cluster = RedisCluster::start().await;
    let store = open(&cluster.url()).await;
    let user = fresh_user();
    let subscriber = join(&store, user).await;
    assert!(increment(&store, user).await);
    let before = position(&store, user).await;
    let primary = cluster.primary_of(&format!("{{{user}}}")).await;
    cluster.kill_primary(primary).await;
    eventually("writes that get through", || increment(&store, user)).await;
    let after = position(&store, user).await;
    assert_ne!(after.epoch, before.epoch, "another process gives the offsets");
    assert_eq!(replayed(&store, user, &before).await, None);
    eventually("word of the loss", || async { subscriber.interruptions() > 0 }).await;
    receives_next(&store, user, &subscriber).await;
    eventually("readiness", || async { store.ready().await.is_ok() }).await;
}

#[tokio::test]
async fn a_slot_migration_is_followed_and_nothing_is_applied_twice() {
    let cluster = RedisCluster::start().await;
    let store = hasty(&cluster.url()).await;
    let user = fresh_user();
    let subscriber = join(&store, user).await;
    assert!(increment(&store, user).await);
    let key = format!("{{{user}}}");
    let (slot, from) = (cluster.slot_of(&key).await, cluster.primary_of(&key).await);
    let to = (from + 1) % 3;
    cluster.begin_move(slot, from, to).await;
    // All keys have moved already, and the old leader redirects every request.
    assert_eq!(total(&store, user).await, 1);
    assert!(increment(&store, user).await);
    // Keys that do not exist could be on either side: Redis asks clients to try again until the migration is over.
    let counter = Key::app(Owner::User(user), "new");
    let add = |key: &Key| Mutation::Add { key: key.clone(), delta: 1, floor: Some(0) };
    let total_key = Key::of_user(Space::UnreadTotal, user);
    let both = Transaction::new(Owner::User(user)).mutate(add(&total_key)).mutate(add(&counter));
    let refused = store.commit(vec![both.clone()]).await.unwrap();
    assert!(matches!(refused[0], Outcome::Failed(StoreError::Unavailable { .. })), "{refused:?}");
    assert_eq!(total(&store, user).await, 2, "nothing of it happened");
    cluster.end_move(slot, from, to).await;
    let done = store.commit(vec![both]).await.unwrap();
    assert_eq!(done[0], Outcome::Committed(vec![3, 1]));
    assert_eq!(cluster.primary_of(&key).await, to);
    receives_again(&store, user, &subscriber).await;
}

#[tokio::test]
async fn sentinels_name_the_server_that_took_over() {
    let sentinel = RedisSentinel::start().await;
    let store = hasty(&sentinel.url()).await;
    let user = fresh_user();
    let subscriber = join(&store, user).await;
    assert!(increment(&store, user).await);
    let before = position(&store, user).await;
    let [primary, replica] = &sentinel.nodes;
    let counter = format!("GET unread:total:{user}");
    eventually("a replica in step", || async { replica.ask::<Option<i64>>(&counter).await == Some(1) }).await;
    assert_eq!(primary.ask::<i64>(&counter).await, 1);
    sentinel.kill_primary().await;
    eventually("writes that get through", || increment(&store, user)).await;
    eventually("readiness", || async { store.ready().await.is_ok() }).await;
    assert_eq!(replica.ask::<i64>(&counter).await, total(&store, user).await);
    assert_eq!(replayed(&store, user, &before).await, None, "another process gives the offsets");
    receives_again(&store, user, &subscriber).await;
}

/// Why a store cannot be opened, with the ports replaced by a word.
async fn refusal(config: RedisConfig) -> String {
    let ports: Vec<u16> = config.url.nodes.iter().map(|(_, port)| *port).collect();
    let Err(error) = RedisStore::open(config).await else { panic!("the store is usable") };
    ports.iter().fold(format!("{error:#}"), |message, port| message.replace(&port.to_string(), "<port>"))
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_reports_why_and_what_to_do() {
    let plain = RedisServer::start().await;
    let locked = RedisServer::start_with(Options::new().password("right")).await;
    let clustered = RedisServer::start_with(Options::new().set("cluster-enabled", &["yes"])).await;
    let of = plain.port().to_string();
    let replica = RedisServer::start_with(Options::new().set("replicaof", &["127.0.0.1", &of])).await;
    let stopped = RedisServer::start().await;
    stopped.kill();
    let sentinel = RedisSentinel::start().await;
    let at = |scheme: &str, server: &RedisServer| format!("{scheme}://127.0.0.1:{}", server.port());
    let unknown_service = sentinel.url().replace("/roost", "/other");
    let unreadable = RedisConfig { ca_file: Some("no/such/file.pem".into()), ..config("rediss://127.0.0.1") };
    let cases = [
        ("Nothing listens there", hasty_config(&at("redis", &stopped))),
        ("No password, and the server wants one", hasty_config(&at("redis", &locked))),
        ("A wrong password", hasty_config(&locked.url().replace("right", "wrong"))),
        ("The URL of a single server, which is a node of a Cluster", hasty_config(&at("redis", &clustered))),
        ("The URL of a Cluster, which is a single server", hasty_config(&at("redis+cluster", &plain))),
        ("A Cluster without slots", hasty_config(&at("redis+cluster", &clustered))),
        ("A replica", hasty_config(&at("redis", &replica))),
        ("Sentinels that do not know the service", hasty_config(&unknown_service)),
        ("A file of certificates that is missing", unreadable),
    ];
    let refusals =
        futures_util::future::join_all(cases.map(async |(situation, config)| (situation, refusal(config).await)));
    let mut messages = Messages::new("Messages of the store");
    messages.group("Why Redis cannot be used at the start");
    for (situation, message) in refusals.await {
        messages.add(situation, message);
    }
    messages.check("store");
}
