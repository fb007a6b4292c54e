//! Functions are replaced while they are busy: no call fails, no socket closes, no event is lost, and a component that
//! cannot serve leaves the current one in service.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use roost_tests::deployment::{folder_of_components, stamped};
use roost_tests::eventually::{DEADLINE, eventually, eventually_within};
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use roost_tests::{components, guests};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

const PAIRS: usize = 6;
const SWAPS: usize = 20;
/// Rounds that the pairs must complete between one swap and the next.
const ROUNDS_BETWEEN: usize = 6;
/// The pace of a pair. At full speed they would leave no core to the threads that compile.
const ROUND_EVERY: Duration = Duration::from_millis(100);

/// Puts a component in place as `roost build` does: atomically.
fn put_component(folder: &Path, name: &str, bytes: &[u8]) {
    let unfinished = folder.join(format!(".{name}.unfinished"));
    fs::write(&unfinished, bytes).unwrap();
    fs::rename(unfinished, folder.join(format!("{name}.wasm"))).unwrap();
}

/// The digest of each serving function.
async fn digests(server: &Server) -> BTreeMap<String, String> {
    let answer = server.operator().get("/functions").await.json(200);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let functions = answer["functions"].as_array().unwrap().iter();
    functions.map(|function| (text(&function["name"]), text(&function["digest"]))).collect()
}

/// Waits until another component of this function serves; returns its digest.
async fn swapped(server: &Server, name: &str, before: &str) -> String {
    let mut digest = None;
    eventually_within(4 * DEADLINE, &format!("a new {name}\n{}", server.log()), async || {
        digest = digests(server).await.remove(name).filter(|digest| digest != before);
        digest.is_some()
    })
    .await;
    digest.unwrap()
}

/// Two users with a socket each, who write, read and count until they are stopped.
struct Pair {
    from: Socket,
    to: Socket,
    reader: roost_tests::client::Client,
    conversation: String,
}

impl Pair {
    async fn meet(server: &Server) -> Self {
        let (ann, ben) = (Uuid::new_v4(), Uuid::new_v4());
        let conversation = server.user(ann).conversation(&[ann, ben]).await;
        let (from, to) = (Socket::open(server, ann).await, Socket::open(server, ben).await);
        Self { from, to, reader: server.user(ben), conversation }
    }

    /// Sends a message by socket; the other socket receives it, and it is counted and read over HTTP.
    async fn round(&mut self, number: usize) {
        let Self { from, to, reader, conversation } = self;
        let content = format!("message {number}");
        let sent = from.ok("message.send", json!({ "conversation": conversation, "content": content })).await;
        assert_eq!(sent["seq"], number);
        let event = to.payload("message.new").await;
        assert_eq!((&event["seq"], &event["content"]), (&sent["seq"], &json!(content)));
        assert_eq!(reader.get("/v1/unread").await.json(200)["total"], 1);
        let read = reader.post(&format!("/v1/conversations/{conversation}/read"), json!({})).await.json(200);
        assert_eq!(read["total"], 0);
        // A receipt whose confirmation is in flight can be repeated by the recovery; it is never ahead of the read
        // position.
        let mut up_to = 0;
        while up_to < number as u64 {
            up_to = from.payload("message.read_update").await["up_to"].as_u64().expect("a sequence");
        }
        assert_eq!(up_to, number as u64);
        let last = reader.get(&format!("/v1/conversations/{conversation}/last-message")).await.json(200);
        assert_eq!(last["content"], content);
    }

    async fn converse(mut self, stop: Arc<AtomicBool>, rounds: Arc<AtomicUsize>) -> Self {
        let (mut number, mut pace) = (0, interval(ROUND_EVERY));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) {
            pace.tick().await;
            number += 1;
            self.round(number).await;
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        self
    }

    async fn is_still_open(&mut self) {
        for socket in [&mut self.from, &mut self.to] {
            socket.ok("presence.beat", json!(null)).await;
            assert!(socket.pending_frames().all(|frame| frame["type"] != "resync"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_swaps_under_load_fail_no_call_and_close_no_socket() {
    let folder = folder_of_components();
    let server = Server::develop(folder.path(), &[]).await;
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut pairs = JoinSet::new();
    for _ in 0..PAIRS {
        pairs.spawn(Pair::meet(&server).await.converse(stop.clone(), rounds.clone()));
    }
    let mut served = BTreeSet::new();
    for (stamp, name) in ["messaging", "unread", "last-message", "presence"].into_iter().cycle().take(SWAPS).enumerate()
    {
        let done = rounds.load(Ordering::Relaxed);
        let before = digests(&server).await[name].clone();
        let component = fs::read(components().join(format!("{name}.wasm"))).unwrap();
        put_component(folder.path(), name, &stamped(&component, &[u8::try_from(stamp).unwrap()]));
        assert!(served.insert(swapped(&server, name, &before).await), "{name}: served before");
        eventually("a few more rounds", async || {
            // A pair that ended early has failed.
            if let Some(ended) = pairs.try_join_next() {
                drop(ended.unwrap());
                panic!("a pair stopped early");
            }
            rounds.load(Ordering::Relaxed) >= done + ROUNDS_BETWEEN
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(pair) = pairs.join_next().await {
        pair.unwrap().is_still_open().await;
    }
    let log = server.log();
    assert!(!log.contains("\"ERROR\""), "{log}");
    let metrics = server.operator().get("/metrics").await.text;
    let outcomes: BTreeSet<_> = metrics
        .lines()
        .filter(|line| line.starts_with("roost_function_calls_total") && !line.ends_with(" 0"))
        .filter_map(|line| line.split("outcome=\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(outcomes, BTreeSet::from(["ok"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_component_changes_nothing_and_a_removed_one_stops_serving() {
    let folder = folder_of_components();
    let server = Server::develop(folder.path(), &[]).await;
    let (ann, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ann).conversation(&[ann, ben]).await;
    let (mut from, mut to) = (Socket::open(&server, ann).await, Socket::open(&server, ben).await);
    let typing = json!({ "conversation": conversation });
    let before = digests(&server).await;
    let component = fs::read(components().join("typing.wasm")).unwrap();

    for broken in [&b"no component"[..], &component[..component.len() / 2], b"\0asm\x01\0\0\0"] {
        let complaints =
            || server.log().matches("a component was not deployed; the live function is unchanged").count();
        let before_swap = complaints();
        put_component(folder.path(), "typing", broken);
        eventually("the refusal in the log", async || complaints() > before_swap).await;
        assert_eq!(digests(&server).await, before);
        from.ok("typing", typing.clone()).await;
        assert_eq!(to.payload("typing").await["user"], json!(ann));
    }

    put_component(folder.path(), "typing", &stamped(&component, &[1]));
    let repaired = swapped(&server, "typing", &before["typing"]).await;
    from.ok("typing", typing.clone()).await;
    assert_eq!(to.payload("typing").await["user"], json!(ann));

    fs::remove_file(folder.path().join("typing.wasm")).unwrap();
    eventually("typing out of service", async || !digests(&server).await.contains_key("typing")).await;
    from.refused("typing", typing.clone(), "unknown_type").await;
    put_component(folder.path(), "typing", &component);
    assert_ne!(swapped(&server, "typing", "").await, repaired);
    from.ok("typing", typing).await;
    assert_eq!(to.payload("typing").await["user"], json!(ann));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_other_functions_stood_in_the_way_of_is_tried_again() {
    let folder = folder_of_components();
    let server = Server::develop(folder.path(), &[]).await;
    let within = |name: &str| folder.path().join(format!("{name}.wasm"));
    let remove = |name: &str| fs::remove_file(within(name)).unwrap();
    let serves = async |name: &str, others: [&str; 2]| {
        let served = digests(&server).await;
        served.contains_key(name) && others.iter().all(|other| !served.contains_key(*other))
    };
    let thief = fs::read(guests().join("route-thief.wasm")).unwrap();

    // It has a route of `unread` and a message type of `typing`.
    put_component(folder.path(), "route-thief", &thief);
    let refusal = "conflicts with /v1/unread of the function unread";
    eventually("the refusal in the log", async || server.log().contains(refusal)).await;
    assert!(digests(&server).await.contains_key("unread"));
    remove("unread");
    remove("typing");
    eventually("the function that was refused", async || serves("route-thief", ["unread", "typing"]).await).await;
    server.anonymous().get("/v1/unread").await.done();

    // As when a function is renamed: the old component goes and the new one comes at the same time.
    for name in ["unread", "typing"] {
        put_component(folder.path(), name, &fs::read(components().join(format!("{name}.wasm"))).unwrap());
    }
    remove("route-thief");
    eventually("the functions that were refused", async || {
        let served = digests(&server).await;
        ["unread", "typing"].iter().all(|name| served.contains_key(*name)) && !served.contains_key("route-thief")
    })
    .await;
    server.user(Uuid::new_v4()).get("/v1/unread").await.json(200);
}
