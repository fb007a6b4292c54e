//! Outages of Redis under connected users, for all hosts or for one of them: nobody is announced as offline because of
//! one, users of a host that died meanwhile are, a cut of the bus concerns only the users of the cut connection, and a
//! full server takes nobody offline.
//!
//! `ROOST_OUTAGE_SECONDS` sets the length of the outages; `tests/soak` runs 45 s, two minutes and ten minutes.

use std::time::Duration;

use roost_core::limits::PRESENCE_TTL_MS;
use roost_tests::eventually::{eventually, eventually_within};
use roost_tests::fleet::{Fleet, patient_settings_for, settings_for};
use roost_tests::metrics::Metrics;
use roost_tests::postgres::PostgresServer;
use roost_tests::proxy::{NetworkCondition, Proxy};
use roost_tests::redis::{RedisCluster, RedisServer};
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::{Value, json};
use uuid::Uuid;

/// The outage, if the environment names no other one: longer than sweeps may be missing.
const OUTAGE_S: u64 = 20;
/// The time for which one host is cut off, if the environment names no other one: longer than a device lives without
/// heartbeats, whenever the last one was.
const CUT_S: u64 = 90;
/// From the return of the store until a user of a dead host is announced as offline: a device that lives until then,
/// the hold, sweeps, and some reserve.
const GONE_WITHIN: Duration = Duration::from_secs(30 + 60 + 25);
/// How long connected clients answer pings between two checks.
const ATTENTION: Duration = Duration::from_millis(500);

/// The length of an outage, in seconds, unless the environment names another one.
fn span_or(seconds: u64) -> Duration {
    let named = std::env::var("ROOST_OUTAGE_SECONDS").ok();
    Duration::from_secs(named.map_or(seconds, |text| text.parse().expect("a number of seconds")))
}

/// The users whom the frames that a socket kept announce as offline.
fn offline(socket: &Socket) -> Vec<Uuid> {
    let announced = socket.pending_frames().filter(|frame| frame["type"] == "user.offline");
    announced.map(|frame| frame["payload"]["user"].as_str().unwrap().parse().unwrap()).collect()
}

/// Ages the last heartbeat of a user by so much that it expires during the outage, as if the next one had been due
/// then.
async fn age(redis: &RedisServer, user: Uuid) {
    for key in ["online", "devices"] {
        assert_eq!(redis.ask::<i64>(&format!("PEXPIRE {key}:{user} 4000")).await, 1, "{user} is online");
    }
    let (seconds, _): (u64, u64) = redis.ask("TIME").await;
    for shard in 0..16 {
        let due = format!("presence_due:{shard}");
        if redis.ask::<Option<f64>>(&format!("ZSCORE {due} {user}")).await.is_some() {
            redis.ask::<i64>(&format!("ZADD {due} {} {user}", (seconds + 4) * 1_000)).await;
        }
    }
}

#[tokio::test]
async fn a_paused_redis_is_nobodys_departure_but_the_users_of_a_host_that_died_go_offline() {
    let redis = RedisServer::start().await;
    let mut settings = settings_for(&redis.url(), &PostgresServer::shared().database().await);
    settings.push(("socket.beat_interval_ms".to_owned(), "30000".to_owned()));
    let mut fleet = Fleet::start_identical(2, &settings).await;
    let [ann_id, bob_id, cid_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    for (one, other) in [(ann_id, bob_id), (ann_id, cid_id), (bob_id, cid_id)] {
        fleet.host(0).befriend(one, other).await;
    }
    let (mut ann, mut bob) = (Socket::open(fleet.host(0), ann_id).await, Socket::open(fleet.host(0), bob_id).await);
    let _on_the_dying_host = Socket::open(fleet.host(1), cid_id).await;
    eventually("sweeps have begun", || async { redis.ask::<Vec<String>>("KEYS presence_sweep:*").await.len() == 16 })
        .await;
    for user in [ann_id, bob_id, cid_id] {
        age(&redis, user).await;
    }
    redis.pause();
    fleet.kill(1).await;
    let outage = span_or(OUTAGE_S);
    tokio::join!(ann.listen(outage), bob.listen(outage));
    redis.resume();
    eventually_within(GONE_WITHIN, "the user of the dead host is offline", async || {
        tokio::join!(ann.listen(ATTENTION), bob.listen(ATTENTION));
        offline(&ann).contains(&cid_id) && offline(&bob).contains(&cid_id)
    })
    .await;
    for socket in [&ann, &bob] {
        assert_eq!(offline(socket), [cid_id], "nobody else, and once");
    }
    let held = Metrics::of(&fleet.host(0).operator()).await;
    assert!(held.sum("roost_function_presence_swept_total", &["result=\"held\""]) > 0.0, "departures were held");
}

/// With the default interval of heartbeats. Ann and Bob are connected to the first host, Cid to the one that is cut
/// off, and Dan to one that dies.
#[tokio::test]
async fn users_of_a_host_that_is_cut_off_alone_do_not_depart_and_users_who_leave_do() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::before(([127, 0, 0, 1], redis.port()).into()).await;
    let records = PostgresServer::shared().database().await;
    let stores = [redis.url(), format!("redis://{}", proxy.address), redis.url()];
    let mut fleet = Fleet::start(stores.iter().map(|store| settings_for(store, &records)).collect()).await;
    let [ann_id, bob_id, cid_id, dan_id] = std::array::from_fn(|_| Uuid::new_v4());
    for contact in [bob_id, cid_id, dan_id] {
        fleet.host(0).befriend(ann_id, contact).await;
    }
    let (mut ann, bob) = (Socket::open(fleet.host(0), ann_id).await, Socket::open(fleet.host(0), bob_id).await);
    let mut cid = Socket::open(fleet.host(1), cid_id).await;
    let _on_the_dying_host = Socket::open(fleet.host(2), dan_id).await;
    eventually("sweeps have begun", || async { redis.ask::<Vec<String>>("KEYS presence_sweep:*").await.len() == 16 })
        .await;

    proxy.set(NetworkCondition::Down);
    fleet.kill(2).await;
    bob.close().await;
    let cut = span_or(CUT_S);
    tokio::join!(ann.listen(cut), cid.listen(cut));
    assert_eq!(offline(&ann), [bob_id], "the user who has left, and nobody else");
    let noted = Metrics::of(&fleet.host(1).operator()).await;
    assert!(noted.sum("roost_function_presence_cut_off_total", &["outcome=\"noted\""]) > 0.0, "the cut is noted");

    proxy.set(NetworkCondition::Normal);
    eventually("heartbeats that succeed again", async || {
        tokio::join!(ann.listen(ATTENTION), cid.listen(ATTENTION));
        redis.ask::<i64>(&format!("PTTL online:{cid_id}")).await > 55_000
    })
    .await;
    eventually_within(GONE_WITHIN, "the user of the dead host is offline", async || {
        tokio::join!(ann.listen(ATTENTION), cid.listen(ATTENTION));
        offline(&ann).contains(&dan_id)
    })
    .await;
    assert_eq!((offline(&ann), offline(&cid)), (vec![bob_id, dan_id], Vec::new()));
    if cut > Duration::from_millis(PRESENCE_TTL_MS) {
        let held = Metrics::of(&fleet.host(0).operator()).await;
        assert!(held.sum("roost_function_presence_swept_total", &["result=\"held\""]) > 0.0, "departures were held");
    }
}

#[tokio::test]
async fn a_cut_of_the_bus_refreshes_only_the_users_of_the_cut_connection() {
    let cluster = RedisCluster::start_without_failovers().await;
    let settings = patient_settings_for(&cluster.url(), &PostgresServer::shared().database().await);
    let fleet = Fleet::start_identical(1, &settings).await;
    let host = fleet.host(0);
    let (mut concerned, mut others) = (Vec::new(), Vec::new());
    while concerned.len() < 3 || others.len() < 3 {
        let user = Uuid::new_v4();
        let socket = Socket::open(host, user).await;
        let is_first = cluster.primary_of(&format!("{{{user}}}")).await == 0;
        if is_first { concerned.push((user, socket)) } else { others.push((user, socket)) }
    }
    let refreshes = async || Metrics::of(&host.operator()).await.sum("roost_refreshes_total", &[]);
    assert_eq!(refreshes().await, 0.0);
    // The host has another connection to each node, for announcements of deployments.
    assert!(cluster.nodes[0].kill_subscribers().await >= 1);
    for (_, socket) in &mut concerned {
        socket.expect("sync").await;
    }
    // The others are connected as before, and nothing but this message has reached them.
    for (user, socket) in &mut others {
        let conversation = host.user(*user).conversation(&[Uuid::new_v4()]).await;
        socket.ok("message.send", json!({ "conversation": conversation, "content": "hello" })).await;
        socket.expect("message.new").await;
        assert!(socket.pending_frames().all(|frame| frame["type"] != "sync"));
    }
    assert_eq!(refreshes().await, concerned.len() as f64);
}

async fn ready(host: &Server) -> (u16, Value) {
    let answer = host.operator().get("/readyz").await;
    (answer.status, serde_json::from_str(&answer.text).unwrap_or_default())
}

#[tokio::test]
async fn a_full_redis_refuses_writes_clearly_and_takes_nobody_offline() {
    let redis = RedisServer::start().await;
    let host = Server::start(&[("store_url", &redis.url()), ("socket.beat_interval_ms", "30000")]).await;
    let [ann_id, bob_id] = [Uuid::new_v4(), Uuid::new_v4()];
    host.befriend(ann_id, bob_id).await;
    let (mut ann, mut bob) = (Socket::open(&host, ann_id).await, Socket::open(&host, bob_id).await);
    ann.expect("user.online").await;
    let conversation = host.user(ann_id).conversation(&[bob_id]).await;
    eventually("sweeps have begun", || async { redis.ask::<Vec<String>>("KEYS presence_sweep:*").await.len() == 16 })
        .await;
    for user in [ann_id, bob_id] {
        age(&redis, user).await;
    }
    redis.ask::<()>("CONFIG SET maxmemory 1000").await;

    let refused = host.user(ann_id).post("/v1/presence", json!({})).await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.text.contains("store_unavailable"), "{}", refused.text);
    assert_eq!(refused.headers.get("retry-after").and_then(|value| value.to_str().ok()), Some("5"));
    let sent = ann.ok("message.send", json!({ "conversation": conversation, "content": "kept" })).await;
    assert_eq!(sent["delivery"], "delayed", "the message is stored: {sent}");
    let seen = host.user(ann_id).get(&format!("/v1/presence/{bob_id}")).await.json(200);
    assert_eq!(seen["online"], true, "reads go on: {seen}");
    let (status, parts) = ready(&host).await;
    assert!(status == 503 && parts.to_string().contains("raise its maxmemory"), "{parts}");
    let refusals = Metrics::of(&host.operator()).await.sum("roost_redis_refusals_total", &["reason=\"full\""]);
    assert!(refusals > 0.0);
    eventually("a log that says what to do", || async { host.log().contains("raise its maxmemory") }).await;

    // The heartbeats of both expire while nothing can be written.
    let while_full = Duration::from_secs(OUTAGE_S);
    tokio::join!(ann.listen(while_full), bob.listen(while_full));
    assert_eq!(redis.ask::<i64>(&format!("EXISTS online:{ann_id} online:{bob_id}")).await, 0);
    redis.ask::<()>("CONFIG SET maxmemory 0").await;
    eventually("a host that is ready", || async { ready(&host).await.0 == 200 }).await;
    ann.payload("message.new").await;
    eventually_within(GONE_WITHIN, "heartbeats that succeed again", async || {
        tokio::join!(ann.listen(ATTENTION), bob.listen(ATTENTION));
        redis.ask::<i64>(&format!("EXISTS online:{ann_id} online:{bob_id}")).await == 2
    })
    .await;
    tokio::join!(ann.listen(10 * ATTENTION), bob.listen(10 * ATTENTION));
    assert!(offline(&ann).is_empty(), "nobody departed: {:?}", offline(&ann));
    assert_eq!(host.user(bob_id).get("/v1/unread").await.json(200)["total"], 1, "announced after all");
}
