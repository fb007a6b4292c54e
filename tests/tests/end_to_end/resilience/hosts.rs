//! Several real hosts on one Redis and one PostgreSQL: users on one host receive what happens on another, and the crash
//! of a host is noticed by exactly the users it concerns.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use roost_tests::eventually::eventually_within;
use roost_tests::fleet::{Fleet, patient_settings_for};
use roost_tests::ledger::{Ledger, RedisCounters};
use roost_tests::postgres::PostgresServer;
use roost_tests::redis::{RedisCluster, RedisServer};
use roost_tests::server::command;
use roost_tests::socket::Socket;
use serde_json::{Value, json};
use uuid::Uuid;

/// The lifetime of a device without a heartbeat, a sweep, and some reserve for a busy machine.
const GONE_WITHIN: Duration = Duration::from_secs(60 + 2 + 25);

/// How long connected clients answer pings between two checks of the crashed host's users.
const ATTENTION: Duration = Duration::from_millis(500);

/// Hosts that wait long for their servers: nothing in these tests is a fault of a server, and the machine may be busy.
async fn fleet(hosts: usize, store: &str) -> Fleet {
    let mut settings = patient_settings_for(store, &PostgresServer::shared().database().await);
    settings.push(("store_response_timeout_ms".to_owned(), "5000".to_owned()));
    Fleet::start_identical(hosts, &settings).await
}

/// Exchanges messages, receipts and counters between two users, one of whom has a device on every host.
async fn chat(fleet: &Fleet, hosts: usize) {
    let (ann_id, bob_id) = (Uuid::new_v4(), Uuid::new_v4());
    let mut ann = Socket::open(fleet.host(0), ann_id).await;
    let mut bobs = Vec::new();
    for host in 0..hosts {
        bobs.push(Socket::open(fleet.host(host), bob_id).await);
    }
    let conversation = fleet.host(0).user(ann_id).conversation(&[bob_id]).await;
    let sent = ann.ok("message.send", json!({ "conversation": conversation, "content": "hello" })).await;
    for bob in &mut bobs {
        assert_eq!(bob.payload("message.new").await, sent);
    }
    for host in 0..hosts {
        let counted = fleet.host(host).user(bob_id).get("/v1/unread").await.json(200);
        assert_eq!(counted, json!({ "total": 1, "conversations": { conversation.as_str(): 1 } }), "host {host}");
    }
    ann.ok("typing", json!({ "conversation": conversation })).await;
    for bob in &mut bobs {
        assert_eq!(bob.payload("typing").await, json!({ "conversation": conversation, "user": ann_id }));
    }
    let reader = bobs.last_mut().unwrap();
    let read = reader.ok("conversation.read", json!({ "conversation": conversation })).await;
    assert_eq!(read, json!({ "conversation": conversation, "unread": 0, "total": 0, "up_to": 1 }));
    let receipt = json!({ "conversation": conversation, "reader": bob_id, "up_to": 1 });
    assert_eq!(ann.payload("message.read_update").await, receipt);
    for bob in &mut bobs {
        let update = bob.payload("unread.update").await;
        let expected = json!({ "conversation": conversation, "unread": 0, "total": 0, "read": 1, "seq": 1 });
        assert_eq!(update, expected);
    }
    for host in 0..hosts {
        let counted = fleet.host(host).user(bob_id).get("/v1/unread").await.json(200);
        assert_eq!(counted["total"], 0, "host {host}: {counted}");
    }
}

#[tokio::test]
async fn messages_receipts_and_counters_reach_every_device_on_every_host() {
    let redis = RedisServer::start().await;
    let fleet = fleet(3, &redis.url()).await;
    chat(&fleet, 3).await;
    let ledger = Ledger::open("three hosts in peace", fleet.addresses()).await;
    ledger.wait_for_flow().await;
    let tally = ledger.finish(&mut RedisCounters::standalone(redis.client().await)).await;
    assert!(tally.is_undisturbed(), "{tally}");
}

#[tokio::test]
async fn messages_receipts_and_counters_cross_hosts_over_a_cluster_too() {
    let cluster = RedisCluster::start_without_failovers().await;
    let fleet = fleet(2, &cluster.url()).await;
    chat(&fleet, 2).await;
    let ledger = Ledger::open("two hosts over a Cluster in peace", fleet.addresses()).await;
    ledger.wait_for_flow().await;
    let tally = ledger.finish(&mut RedisCounters::in_cluster(cluster.client().await)).await;
    assert!(tally.is_undisturbed(), "{tally}");
}

/// The content of a presence event: user, online or not, generation.
fn presence(frame: &Value) -> Option<(Uuid, bool, u64)> {
    let name = frame["type"].as_str()?;
    let payload = &frame["payload"];
    let online = match name {
        "user.online" => true,
        "user.offline" => false,
        _ => return None,
    };
    Some((payload["user"].as_str()?.parse().ok()?, online, payload["generation"].as_u64()?))
}

#[tokio::test]
async fn users_of_a_crashed_host_go_offline_and_only_their_contacts_are_notified_once() {
    let redis = RedisServer::start().await;
    let mut fleet = fleet(3, &redis.url()).await;
    let [ann_id, bob_id, cid_id, eve_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    for contact in [bob_id, cid_id] {
        fleet.host(0).befriend(ann_id, contact).await;
    }
    let (mut ann, mut eve) = (Socket::open(fleet.host(0), ann_id).await, Socket::open(fleet.host(2), eve_id).await);
    let _on_crashed_host = Socket::open(fleet.host(1), bob_id).await;
    let (_also_on_crashed_host, mut left) =
        (Socket::open(fleet.host(1), cid_id).await, Socket::open(fleet.host(2), cid_id).await);
    let mut online = BTreeSet::new();
    while online.len() < 2 {
        let (user, is_online, generation) = presence(&ann.next().await).unwrap();
        assert!(is_online && online.insert((user, generation)), "{user} {generation}");
    }

    fleet.kill(1).await;
    let seen = format!("/v1/presence/{bob_id}");
    let asked = fleet.host(2).user(ann_id);
    eventually_within(GONE_WITHIN, "Bob is offline", async || {
        tokio::join!(ann.listen(ATTENTION), eve.listen(ATTENTION), left.listen(ATTENTION));
        asked.get(&seen).await.json(200)["online"] == false
    })
    .await;
    let event = presence(&ann.expect("user.offline").await).unwrap();
    let born = online.iter().find(|(user, _)| *user == bob_id).unwrap().1;
    assert_eq!((event.0, event.2), (bob_id, born + 1), "the next transition of the same presence record");

    fleet.revive(1).await;
    let mut bob = Socket::open(fleet.host(1), bob_id).await;
    let event = presence(&ann.expect("user.online").await).unwrap();
    assert_eq!((event.0, event.2), (bob_id, born + 2));
    // A wrong or repeated notification would have arrived before this event.
    let conversation = fleet.host(2).user(ann_id).conversation(&[bob_id, cid_id, eve_id]).await;
    bob.ok("message.send", json!({ "conversation": conversation, "content": "back" })).await;
    for socket in [&mut ann, &mut eve] {
        socket.expect("message.new").await;
        assert_eq!(
            socket.pending_frames().filter_map(presence).count(),
            0,
            "{:?}",
            socket.pending_frames().collect::<Vec<_>>()
        );
    }
    let cid = fleet.host(0).user(ann_id).get(&format!("/v1/presence/{cid_id}")).await.json(200);
    assert_eq!(cid["online"], true, "he is still online on another host: {cid}");
}

#[tokio::test]
async fn the_sample_deployment_files_are_accepted() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploy");
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    let secrets = std::fs::read_to_string(files.join("roost.env")).unwrap();
    for line in secrets.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.split_once('=').unwrap();
        // The samples themselves are refused.
        assert!(value.contains("change-this"), "{name}");
        command.env(name, value.replace("change-this", "generated-for-a-test"));
    }
    // The sample file sets these keys, so the variables of other tests must not.
    command.env_remove("ROOST_LISTEN").env_remove("ROOST_ADMIN_LISTEN").env_remove("ROOST_DRAIN_SPREAD_MS");
    let checked = command.arg("check-config").arg("--config").arg(files.join("roost.toml")).output().await.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
