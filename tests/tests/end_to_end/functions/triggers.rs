//! Ticks and publications as triggers on real hosts: each tick of a shard once in the cluster, events that are counted
//! and told in one step, calls for publications once for each, and all of it over the crash of a host.

use std::fs;
use std::time::Duration;

use roost_tests::deployment::folder_of_components;
use roost_tests::eventually::{eventually, eventually_within};
use roost_tests::fleet::patient_settings_for;
use roost_tests::guests;
use roost_tests::metrics::Metrics;
use roost_tests::postgres::PostgresServer;
use roost_tests::proxy::Proxy;
use roost_tests::redis::RedisServer;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use uuid::Uuid;

/// The interval of the watcher's schedule.
const EVERY: Duration = Duration::from_millis(250);
/// For so many ticks of each shard, the slots that pass are counted.
const COUNTED_TICKS: i64 = 20;
/// How long they may take on a busy machine. On an idle one each takes [`EVERY`].
const COUNTED_WITHIN: Duration = Duration::from_secs(120);
/// How long a crashed host's tick blocks its shard: the deadline of a call twice, and a margin. For a busy machine
/// there is some reserve.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(12 + 30);

/// The grants of both guests.
const ALLOWED: [(&str, &str); 2] = [("function.polls.grants.all", "true"), ("function.watcher.grants.all", "true")];

/// The built-in functions, and the guests that vote and watch.
fn folder() -> TempDir {
    let folder = folder_of_components();
    for guest in ["polls.wasm", "watcher.wasm"] {
        fs::copy(guests().join(guest), folder.path().join(guest)).unwrap();
    }
    folder
}

/// Two hosts on one Redis and one database. The first one reaches Redis through a proxy.
struct Pair {
    first: Option<Server>,
    second: Server,
    proxy: Proxy,
    redis: RedisServer,
    _components: TempDir,
}

impl Pair {
    async fn start() -> Self {
        let (components, redis) = (folder(), RedisServer::start().await);
        let proxy = Proxy::before(([127, 0, 0, 1], redis.port()).into()).await;
        let database = PostgresServer::shared().database().await;
        let host = async |store: String| {
            let settings = patient_settings_for(&store, &database);
            let given = settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            let settings: Vec<(&str, &str)> = given.chain(ALLOWED).collect();
            Server::serve(components.path(), &settings).await
        };
        let (first, second) = (host(format!("redis://{}", proxy.address)).await, host(redis.url()).await);
        Self { first: Some(first), second, proxy, redis, _components: components }
    }

    fn first(&self) -> &Server {
        self.first.as_ref().unwrap()
    }

    async fn kill_first(&mut self) {
        self.first.take().unwrap().kill().await;
    }

    async fn watched(&self) -> Value {
        watched(&self.second).await
    }
}

async fn watched(server: &Server) -> Value {
    server.anonymous().get("/v1/watcher").await.json(200)
}

fn ticks(watched: &Value) -> Vec<i64> {
    watched["ticks"].as_object().unwrap().values().map(|ticks| ticks.as_i64().unwrap()).collect()
}

/// What was written down about publications, without their ids.
fn calls(watched: &Value) -> Vec<String> {
    let calls = watched["publications"].as_object().unwrap().values();
    let mut calls: Vec<String> = calls.map(|call| call.as_str().unwrap().to_owned()).collect();
    calls.sort();
    calls
}

fn ballot(choice: &str, users: &[Uuid]) -> Value {
    json!({ "choice": choice, "users": users })
}

#[tokio::test]
async fn a_vote_is_counted_and_published_to_named_users_and_the_watcher_is_called_once() {
    let components = folder();
    let server = Server::serve(components.path(), &ALLOWED).await;
    let [ann, bob, conversation] = [(); 3].map(|()| Uuid::new_v4());
    let mut sockets = [Socket::open(&server, ann).await, Socket::open(&server, bob).await];
    let path = format!("/v1/polls/{conversation}");
    let counted = server.anonymous().post(&path, ballot("tea", &[ann, bob])).await.json(200);
    assert_eq!(counted, json!({ "votes": 1 }));
    for socket in &mut sockets {
        assert_eq!(socket.payload("poll.vote").await, json!({ "choice": "tea" }));
    }
    let mut first = ballot("coffee", &[ann]);
    first["is_first"] = json!(true);
    let refused = server.anonymous().post(&path, first).await.json(200);
    assert_eq!(refused, json!({ "votes": null }), "it is not the first vote, so nothing happens");
    server.anonymous().post("/v1/polls", ballot("tea", &[bob])).await.done();
    assert_eq!(sockets[1].payload("poll.closed").await, json!({ "choice": "tea" }));
    let expected =
        [format!("1x poll.closed \"tea\" to {bob}"), format!("1x poll.vote \"tea\" to {}", sorted(&[ann, bob]))];
    eventually("both calls", async || calls(&watched(&server).await).len() == 2).await;
    assert_eq!(calls(&watched(&server).await), expected);
    let state = server.anonymous().get(&path).await.json(200);
    assert_eq!(state, json!({ "votes": 1, "own_calls": null }), "a function is not called for its own events");
    // Whatever was sent to the socket before the answer is read with it.
    sockets[0].ok("presence.beat", json!({})).await;
    assert!(sockets[0].pending_frames().all(|frame| frame["type"] != "poll.vote"), "the refused vote tells nobody");
    let listed = server.operator().get("/functions").await.json(200);
    let polls = listed["functions"].as_array().unwrap().iter().find(|function| function["name"] == "polls").unwrap();
    assert_eq!(polls["publications"], json!(["poll.vote"]));
}

/// The users as the watcher lists them: in the order of their ids.
fn sorted(users: &[Uuid]) -> String {
    let mut users = users.to_vec();
    users.sort_unstable();
    users.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_message_causes_one_call_however_many_members_there_are() {
    let components = folder();
    let server = Server::serve(components.path(), &ALLOWED).await;
    let members: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
    // Some members are connected, some have counters, some have neither.
    let _socket = Socket::open(&server, members[1]).await;
    server.user(members[2]).get("/v1/unread").await.json(200);
    let ann = server.user(members[0]);
    let conversation = ann.conversation(&members[1..]).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    let mut messages = Vec::new();
    for text in ["one", "two", "three"] {
        messages.push(ann.post(&path, json!({ "content": text })).await.json(201));
    }
    ann.delete(&format!("{path}/{}", messages[1]["id"].as_str().unwrap())).await;
    eventually("four calls", async || watched(&server).await["publications"].as_object().unwrap().len() == 4).await;
    let watched = watched(&server).await;
    for (seq, start) in [
        (1, "1x message.new \"one\" to "),
        (2, "1x message.new \"two\" to "),
        (3, "1x message.new \"three\" to "),
        (4, "1x message.deleted  to "),
    ] {
        let call = watched["publications"][format!("{conversation}.{seq}")].as_str().unwrap();
        let users = call.strip_prefix(start).unwrap_or_else(|| panic!("{call}"));
        let mut users: Vec<Uuid> = users.split(' ').map(|user| user.parse().unwrap()).collect();
        users.sort_unstable();
        let mut expected = members.clone();
        expected.sort_unstable();
        assert_eq!(users, expected, "{call}");
    }
}

#[tokio::test]
async fn the_erasing_of_a_user_causes_a_call_so_that_functions_erase_what_they_keep() {
    let components = folder();
    let server = Server::serve(components.path(), &ALLOWED).await;
    let ann = Uuid::new_v4();
    server.user(ann).conversation(&[Uuid::new_v4()]).await;
    server.service().erase_user(ann).await;
    let call = format!("1x user.erased  to {ann}");
    eventually("the call", async || calls(&watched(&server).await).contains(&call)).await;
    server.stop().await;
}

#[tokio::test]
async fn each_tick_of_a_shard_runs_on_one_host_and_a_crashed_host_is_replaced() {
    let mut pair = Pair::start().await;
    eventually("every shard ticks", async || ticks(&pair.watched().await).iter().all(|ticks| *ticks > 0)).await;
    let began = Instant::now();
    let before = ticks(&pair.watched().await);
    let ticked = |after: &[i64]| after.iter().zip(&before).all(|(after, before)| *after >= before + COUNTED_TICKS);
    eventually_within(COUNTED_WITHIN, "every shard ticks on", async || ticked(&ticks(&pair.watched().await))).await;
    let (after, slots) = (ticks(&pair.watched().await), began.elapsed().as_millis() / EVERY.as_millis());
    for (before, after) in before.iter().zip(&after) {
        let ticks = u128::try_from(after - before).unwrap();
        // A busy machine leaves slots out. If each host ticked, there would be almost twice as many ticks as slots.
        assert!(ticks <= slots + 2, "{ticks} ticks in {slots} slots: some ran on both hosts");
    }
    for host in [pair.first(), &pair.second] {
        for outcome in ["ok", "elsewhere"] {
            let labels = ["function=\"watcher\"", &format!("outcome=\"{outcome}\"")];
            eventually_within(COUNTED_WITHIN, &format!("{outcome}: the hosts share the work"), async || {
                Metrics::of(&host.operator()).await.sum("roost_ticks_total", &labels) > 0.0
            })
            .await;
        }
    }
    pair.kill_first().await;
    let before = ticks(&pair.watched().await);
    eventually_within(TAKEN_OVER_WITHIN, "the other host ticks every shard", async || {
        let now = ticks(&pair.watched().await);
        now.iter().zip(&before).all(|(now, before)| *now >= before + 5)
    })
    .await;
    assert_eq!(pair.watched().await["overlaps"], 0);
}

#[tokio::test]
async fn a_call_survives_the_crash_of_the_host_that_queued_it() {
    let mut pair = Pair::start().await;
    let (ann, conversation) = (Uuid::new_v4(), Uuid::new_v4());
    pair.second.anonymous().put("/v1/watcher/gate").await.done();
    pair.first().anonymous().post(&format!("/v1/polls/{conversation}"), ballot("tea", &[ann])).await.json(200);
    let path = {
        let conversation = pair.first().user(ann).conversation(&[Uuid::new_v4()]).await;
        format!("/v1/conversations/{conversation}/messages")
    };
    pair.first().user(ann).post(&path, json!({ "content": "hello" })).await.json(201);
    pair.kill_first().await;
    assert_eq!(calls(&pair.watched().await), Vec::<String>::new());
    pair.second.anonymous().delete("/v1/watcher/gate").await.done();
    eventually_within(TAKEN_OVER_WITHIN, "both calls are made by the other host", async || {
        calls(&pair.watched().await).len() == 2
    })
    .await;
    let calls = calls(&pair.watched().await);
    assert!(calls[0].contains("message.new \"hello\" to ") && calls[1].contains("poll.vote \"tea\" to "), "{calls:?}");
}

#[tokio::test]
async fn events_are_delivered_once_although_the_host_was_killed_after_it_counted_the_vote() {
    let mut pair = Pair::start().await;
    let [ann, bob, conversation] = [(); 3].map(|()| Uuid::new_v4());
    let mut socket = Socket::open(&pair.second, ann).await;
    // Bob may resume, so that his events are kept.
    pair.second.user(bob).get("/v1/sync").await.json(200);
    let path = format!("/v1/polls/{conversation}");
    // The transaction passes, and nothing from the first delivery on.
    pair.proxy.hold_from("receipt.");
    let vote = tokio::spawn({
        let (client, path) = (pair.first().anonymous(), path.clone());
        async move { client.post(&path, ballot("tea", &[ann, bob])).await }
    });
    eventually("the delivery is held", async || pair.proxy.is_holding()).await;
    let entries: Vec<String> = pair.redis.ask(&format!("KEYS host:{conversation}:outbox.*")).await;
    assert_eq!(entries.len(), 1, "the entry was written with the vote");
    pair.kill_first().await;
    vote.abort();
    assert_eq!(pair.second.anonymous().get(&path).await.json(200)["votes"], 1);
    assert_eq!(socket.payload("poll.vote").await, json!({ "choice": "tea" }));
    eventually("the call", async || calls(&pair.watched().await).len() == 1).await;
    assert_eq!(calls(&pair.watched().await), [format!("1x poll.vote \"tea\" to {}", sorted(&[ann, bob]))]);
    eventually("the entry is gone", async || {
        pair.redis.ask::<Vec<String>>(&format!("KEYS host:{conversation}:outbox.*")).await.is_empty()
    })
    .await;
    pair.second.user(bob).get("/v1/sync").await.json(200);
    assert_eq!(pair.redis.ask::<usize>(&format!("XLEN feed:{bob}")).await, 1, "once, also for who is not connected");
    assert_eq!(pair.redis.ask::<usize>(&format!("XLEN feed:{ann}")).await, 1);
    socket.ok("presence.beat", json!({})).await;
    assert!(socket.pending_frames().all(|frame| frame["type"] != "poll.vote"), "once");
}
