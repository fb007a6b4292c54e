//! The ledger through every fault that hosts, Redis, PostgreSQL and the network between them are known for. Each test
//! prints what was sent, acknowledged, delivered and recovered.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test")]

use std::net::SocketAddr;
use std::time::Duration;

use roost_tests::fleet::{Fleet, over};
use roost_tests::ledger::{Ledger, Stored};
use roost_tests::patience::until;
use roost_tests::postgres::Postgres;
use roost_tests::proxy::{Line, Proxy, Way};
use roost_tests::redis::{Data, RedisCluster, RedisServer};
use tokio::time::sleep;

/// How long something is away that comes back by itself.
const PAUSE: Duration = Duration::from_secs(3);
const CUT_WITHIN: Duration = Duration::from_secs(20);

/// Two hosts over this store and a database of their own.
async fn pair(store: &str) -> Fleet {
    Fleet::alike(2, &over(store, &Postgres::shared().database().await)).await
}

/// The message flow survived; what the store holds is right.
async fn settle(ledger: Ledger, redis: &RedisServer) -> roost_tests::ledger::Tally {
    ledger.flows().await;
    ledger.settle(&mut Stored::alone(redis.client().await)).await
}

#[tokio::test]
async fn one_host_with_everything_embedded_is_killed_and_restarted() {
    let mut fleet = Fleet::alike(1, &Vec::new()).await;
    let ledger = Ledger::open("one embedded host killed and restarted", fleet.addresses()).await;
    fleet.kill(0).await;
    fleet.revive(0).await;
    ledger.flows().await;
    let tally = ledger.settle(&mut ()).await;
    // Whether anything was under way when it was killed is chance; that the live state is lost is not.
    assert!(tally.resyncs > 0 && tally.reconnects > 0, "{tally}");
}

#[tokio::test]
async fn a_host_is_killed_and_restarted() {
    let redis = RedisServer::start().await;
    let mut fleet = pair(&redis.url()).await;
    let ledger = Ledger::open("a host killed and restarted", fleet.addresses()).await;
    fleet.kill(0).await;
    // Its clients go on at the other one.
    ledger.flows().await;
    fleet.revive(0).await;
    fleet.kill(1).await;
    ledger.flows().await;
    fleet.revive(1).await;
    let tally = settle(ledger, &redis).await;
    assert!(tally.reconnects > 0 && tally.resyncs == 0, "feeds reach back: {tally}");
}

#[tokio::test]
async fn redis_is_killed_and_restarted_empty() {
    let redis = RedisServer::start().await;
    let fleet = pair(&redis.url()).await;
    let ledger = Ledger::open("Redis killed and restarted empty", fleet.addresses()).await;
    redis.kill();
    // The records are all that sending needs.
    ledger.acknowledges(20).await;
    redis.restart(Data::Empty).await;
    let tally = settle(ledger, &redis).await;
    assert!(tally.delayed > 0 && tally.resyncs > 0 && tally.recovered > 0, "{tally}");
}

#[tokio::test]
async fn redis_is_restarted_from_an_older_snapshot() {
    let redis = RedisServer::start().await;
    let fleet = pair(&redis.url()).await;
    let ledger = Ledger::open("Redis restarted from an older snapshot", fleet.addresses()).await;
    redis.save().await;
    ledger.flows().await;
    redis.restart(Data::Snapshot).await;
    let tally = settle(ledger, &redis).await;
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
    settle(ledger, &redis).await;
}

#[tokio::test]
async fn subscribers_are_cut_off_under_load() {
    let redis = RedisServer::start().await;
    let fleet = pair(&redis.url()).await;
    let ledger = Ledger::open("subscribers cut off", fleet.addresses()).await;
    let mut cut = 0;
    for _ in 0..5 {
        cut += redis.kill_subscribers().await;
        ledger.flows().await;
    }
    assert!(cut >= 5, "{cut} were cut");
    let tally = settle(ledger, &redis).await;
    assert_eq!((tally.resyncs, tally.reconnects), (0, 0), "holes are filled from the feeds: {tally}");
}

#[tokio::test]
async fn a_cluster_primary_is_replaced_and_another_killed() {
    let cluster = RedisCluster::start().await;
    let fleet = pair(&cluster.url()).await;
    let ledger = Ledger::open("Cluster primaries failed over and killed", fleet.addresses()).await;
    cluster.failover(0).await;
    ledger.flows().await;
    cluster.kill_primary(1).await;
    ledger.flows().await;
    ledger.settle(&mut Stored::in_cluster(cluster.client().await)).await;
}

#[tokio::test]
async fn postgres_is_restarted_at_once() {
    let (redis, postgres) = (RedisServer::start().await, Postgres::start());
    let fleet = Fleet::alike(2, &over(&redis.url(), &postgres.database().await)).await;
    let ledger = Ledger::open("PostgreSQL restarted", fleet.addresses()).await;
    postgres.stop_immediately();
    ledger.shows("letters are tried again", |tally| tally.retried > 0).await;
    postgres.start_again();
    settle(ledger, &redis).await;
}

/// Two hosts, the first behind proxies of its own.
async fn behind_proxies(redis: &RedisServer) -> (Fleet, Proxy, Proxy) {
    let database = Postgres::shared().database().await;
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let (near_redis, near_postgres) = (at(redis.port()), at(Postgres::shared().port()));
    let (store, records) = (Proxy::before(near_redis).await, Proxy::before(near_postgres).await);
    let through = |url: &str, from: SocketAddr, to: &Proxy| {
        url.replace(&format!(":{}", from.port()), &format!(":{}", to.address.port()))
    };
    let first = over(&through(&redis.url(), near_redis, &store), &through(&database, near_postgres, &records));
    (Fleet::start(vec![first, over(&redis.url(), &database)]).await, store, records)
}

#[tokio::test]
async fn the_network_to_redis_is_cut_held_and_halved() {
    let redis = RedisServer::start().await;
    let (fleet, network, _records) = behind_proxies(&redis).await;
    let ledger = Ledger::open("the network to Redis spoiled", fleet.addresses()).await;
    network.cut();
    ledger.flows().await;
    assert!(network.cut_newest());
    ledger.flows().await;
    network.set(Line::Halved);
    until("answers were halved", CUT_WITHIN, async || network.connections() == 0).await;
    network.set(Line::Open);
    ledger.flows().await;
    for line in [Line::HalfHeld(Way::Requests), Line::HalfHeld(Way::Answers), Line::Held, Line::Down] {
        network.set(line);
        sleep(PAUSE).await;
        network.set(Line::Open);
        ledger.flows().await;
    }
    settle(ledger, &redis).await;
}

#[tokio::test]
async fn the_network_to_both_is_slow_and_that_to_postgres_is_cut() {
    let redis = RedisServer::start().await;
    let (fleet, store, records) = behind_proxies(&redis).await;
    let ledger = Ledger::open("slow networks, and PostgreSQL cut off", fleet.addresses()).await;
    for network in [&store, &records] {
        network.set(Line::Late(Duration::from_millis(15)));
    }
    ledger.flows().await;
    records.cut();
    ledger.flows().await;
    records.set(Line::Down);
    sleep(PAUSE).await;
    for network in [&store, &records] {
        network.set(Line::Open);
    }
    let tally = settle(ledger, &redis).await;
    assert!(tally.retried > 0, "{tally}");
}
