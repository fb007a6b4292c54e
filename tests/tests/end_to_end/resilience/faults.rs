//! The ledger with every fault that hosts, Redis, PostgreSQL and the network between them are known for. Each test
//! prints how many messages were sent, acknowledged, delivered and recovered.

use std::net::SocketAddr;
use std::time::Duration;

use roost_tests::eventually::eventually;
use roost_tests::fleet::{Fleet, patient_settings_for, settings_for};
use roost_tests::ledger::{Ledger, RedisCounters};
use roost_tests::postgres::PostgresServer;
use roost_tests::proxy::{Direction, NetworkCondition, Proxy};
use roost_tests::redis::{Data, RedisCluster, RedisServer};
use tokio::time::sleep;

/// How long a paused part stays away.
const PAUSE: Duration = Duration::from_secs(3);

/// Two hosts on this store and on a new database.
async fn pair(store: &str) -> Fleet {
    Fleet::start_identical(2, &settings_for(store, &PostgresServer::shared().database().await)).await
}

/// Waits until messages flow again and verifies every guarantee, including the counters in Redis.
async fn finish(ledger: Ledger, redis: &RedisServer) -> roost_tests::ledger::Tally {
    ledger.wait_for_flow().await;
    ledger.finish(&mut RedisCounters::standalone(redis.client().await)).await
}

#[tokio::test]
async fn one_host_with_everything_embedded_is_killed_and_restarted() {
    let mut fleet = Fleet::start_identical(1, &Vec::new()).await;
    let ledger = Ledger::open("one embedded host killed and restarted", fleet.addresses()).await;
    fleet.kill(0).await;
    fleet.revive(0).await;
    ledger.wait_for_flow().await;
    let tally = ledger.finish(&mut ()).await;
    // Whether a message was in flight at the kill is chance; the loss of the live state is certain.
    assert!(tally.resyncs > 0 && tally.reconnects > 0, "{tally}");
}

#[tokio::test]
async fn a_host_is_killed_and_restarted() {
    let redis = RedisServer::start().await;
    let settings = patient_settings_for(&redis.url(), &PostgresServer::shared().database().await);
    let mut fleet = Fleet::start_identical(2, &settings).await;
    let ledger = Ledger::open("a host killed and restarted", fleet.addresses()).await;
    fleet.kill(0).await;
    // Its clients continue on the other host.
    ledger.wait_for_flow().await;
    fleet.revive(0).await;
    fleet.kill(1).await;
    ledger.wait_for_flow().await;
    fleet.revive(1).await;
    let tally = finish(ledger, &redis).await;
    assert!(tally.reconnects > 0 && tally.resyncs == 0, "the feeds reach back far enough: {tally}");
}

#[tokio::test]
async fn redis_is_killed_and_restarted_empty() {
    let redis = RedisServer::start().await;
    let fleet = pair(&redis.url()).await;
    let ledger = Ledger::open("Redis killed and restarted empty", fleet.addresses()).await;
    redis.kill();
    // Sending needs only the records.
    ledger.wait_for_acknowledgements(20).await;
    redis.restart(Data::Empty).await;
    let tally = finish(ledger, &redis).await;
    // Whether a delivery was in flight at the kill, and so had to be recovered, is chance.
    assert!(tally.delayed > 0 && tally.resyncs > 0, "{tally}");
}

#[tokio::test]
async fn redis_is_restarted_from_an_older_snapshot() {
    let redis = RedisServer::start().await;
    let fleet = pair(&redis.url()).await;
    let ledger = Ledger::open("Redis restarted from an older snapshot", fleet.addresses()).await;
    redis.save().await;
    ledger.wait_for_flow().await;
    redis.restart(Data::Snapshot).await;
    let tally = finish(ledger, &redis).await;
    assert!(tally.resyncs > 0, "{tally}");
}

#[tokio::test]
async fn redis_is_paused() {
    let redis = RedisServer::start().await;
    let fleet = pair(&redis.url()).await;
    let ledger = Ledger::open("Redis paused", fleet.addresses()).await;
    redis.pause();
    sleep(PAUSE).await;
    redis.resume();
    finish(ledger, &redis).await;
}

#[tokio::test]
async fn subscribers_are_cut_off_under_load() {
    let redis = RedisServer::start().await;
    let settings = patient_settings_for(&redis.url(), &PostgresServer::shared().database().await);
    let fleet = Fleet::start_identical(2, &settings).await;
    let ledger = Ledger::open("subscribers cut off", fleet.addresses()).await;
    let mut cut = 0;
    for _ in 0..5 {
        cut += redis.kill_subscribers().await;
        ledger.wait_for_flow().await;
    }
    assert!(cut >= 5, "{cut} were cut");
    let tally = finish(ledger, &redis).await;
    assert_eq!(tally.reconnects, 0, "{tally}");
    // On a busy machine a host may be too slow to read the current state, and sends a `resync` that says so. It never
    // sends one because events are missing.
    for host in [fleet.host(0), fleet.host(1)] {
        let metrics = host.operator().get("/metrics").await.text;
        let gaps = metrics.lines().find(|line| line.starts_with(r#"roost_resyncs_total{reason="gap"}"#));
        assert!(gaps.is_none_or(|line| line.ends_with(" 0")), "holes are filled from the feeds: {tally}\n{metrics}");
    }
}

#[tokio::test]
async fn a_cluster_primary_is_replaced_and_another_killed() {
    let cluster = RedisCluster::start().await;
    let fleet = pair(&cluster.url()).await;
    let ledger = Ledger::open("Cluster primaries failed over and killed", fleet.addresses()).await;
    cluster.failover(0).await;
    ledger.wait_for_flow().await;
    cluster.kill_primary(1).await;
    ledger.wait_for_flow().await;
    ledger.finish(&mut RedisCounters::in_cluster(cluster.client().await)).await;
}

#[tokio::test]
async fn postgres_is_restarted_at_once() {
    let (redis, postgres) = (RedisServer::start().await, PostgresServer::start());
    let fleet = Fleet::start_identical(2, &settings_for(&redis.url(), &postgres.database().await)).await;
    let ledger = Ledger::open("PostgreSQL restarted", fleet.addresses()).await;
    postgres.stop_immediately();
    ledger.wait_for_tally("messages are sent again", |tally| tally.retried > 0).await;
    postgres.start_again();
    finish(ledger, &redis).await;
}

#[tokio::test]
async fn postgres_is_demoted_and_promoted_again() {
    let (redis, postgres) = (RedisServer::start().await, PostgresServer::start());
    let fleet = Fleet::start_identical(2, &settings_for(&redis.url(), &postgres.database().await)).await;
    let ledger = Ledger::open("PostgreSQL demoted", fleet.addresses()).await;
    postgres.demote().await;
    ledger.wait_for_tally("messages are sent again", |tally| tally.retried > 0).await;
    postgres.promote().await;
    finish(ledger, &redis).await;
}

/// Two hosts; the first one reaches Redis and PostgreSQL through proxies.
async fn behind_proxies(redis: &RedisServer) -> (Fleet, Proxy, Proxy) {
    let database = PostgresServer::shared().database().await;
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let (near_redis, near_postgres) = (at(redis.port()), at(PostgresServer::shared().port()));
    let (store, records) = (Proxy::before(near_redis).await, Proxy::before(near_postgres).await);
    let through = |url: &str, from: SocketAddr, to: &Proxy| {
        url.replace(&format!(":{}", from.port()), &format!(":{}", to.address.port()))
    };
    let first = settings_for(&through(&redis.url(), near_redis, &store), &through(&database, near_postgres, &records));
    (Fleet::start(vec![first, settings_for(&redis.url(), &database)]).await, store, records)
}

#[tokio::test]
async fn the_network_to_redis_is_cut_held_and_truncated() {
    let redis = RedisServer::start().await;
    let (fleet, network, _records) = behind_proxies(&redis).await;
    let ledger = Ledger::open("the network to Redis spoiled", fleet.addresses()).await;
    network.cut();
    ledger.wait_for_flow().await;
    assert!(network.cut_newest());
    ledger.wait_for_flow().await;
    network.set(NetworkCondition::TruncateNextAnswer);
    eventually("an answer was truncated", async || network.connections() == 0).await;
    network.set(NetworkCondition::Normal);
    ledger.wait_for_flow().await;
    for condition in [
        NetworkCondition::HeldOneWay(Direction::Requests),
        NetworkCondition::HeldOneWay(Direction::Answers),
        NetworkCondition::Held,
        NetworkCondition::Down,
    ] {
        network.set(condition);
        sleep(PAUSE).await;
        network.set(NetworkCondition::Normal);
        ledger.wait_for_flow().await;
    }
    finish(ledger, &redis).await;
}

#[tokio::test]
async fn the_network_to_both_is_slow_and_that_to_postgres_is_cut() {
    let redis = RedisServer::start().await;
    let (fleet, store, records) = behind_proxies(&redis).await;
    let ledger = Ledger::open("slow networks, and PostgreSQL cut off", fleet.addresses()).await;
    for network in [&store, &records] {
        network.set(NetworkCondition::Delayed(Duration::from_millis(15)));
    }
    ledger.wait_for_flow().await;
    records.cut();
    ledger.wait_for_flow().await;
    records.set(NetworkCondition::Down);
    sleep(PAUSE).await;
    for network in [&store, &records] {
        network.set(NetworkCondition::Normal);
    }
    let tally = finish(ledger, &redis).await;
    assert!(tally.retried > 0, "{tally}");
}
