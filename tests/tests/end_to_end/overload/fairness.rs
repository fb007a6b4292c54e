//! One attacker with one token at full speed: the attacker is refused with a time to come back, everybody else is
//! answered and nothing of theirs fails. Each test is one attack; `fairness_slow` has those that do not read or write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use roost_tests::client::{Answer, Client};
use roost_tests::events::Events;
use roost_tests::eventually::eventually;
use roost_tests::metrics::Metrics;
use roost_tests::server::Server;
use roost_tests::socket::{Socket, request};
use roost_tests::token::Token;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How many requests or frames of an attacker are under way at the same time.
const AT_ONCE: usize = 48;
/// The longest time that a bystander may wait for an answer or an event. This is no benchmark: 5 s are the default
/// deadline of a call, and the longest time that a request waits for other requests of its user. A bystander whom an
/// attack holds up until such a time-out ends waits for longer; one who merely shares a busy machine does not.
const LATENCY_MAX: Duration = Duration::from_secs(5);
/// How much the memory of the host may grow during an attack. The instances and buffers of its first calls take tens of
/// megabytes; an attack without a bound takes more than this within seconds.
const GROWTH_KIB_MAX: u64 = 128 * 1_024;

/// Two users who chat while an attack goes on: every message must be accepted and received in time.
pub(super) struct Bystanders {
    stop: Arc<AtomicBool>,
    /// The time of every call, and of every event after it.
    chat: JoinHandle<Vec<Duration>>,
    /// The memory of the host before the attack.
    resident_kib: u64,
}

impl Bystanders {
    /// Begins the chat.
    pub(super) async fn start(host: &Server) -> Self {
        let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
        let ann_http = host.user(ann);
        let conversation = ann_http.conversation(&[bob]).await;
        let (mut ann, mut bob) = (Socket::open(host, ann).await, Socket::open(host, bob).await);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let chat = tokio::spawn(async move {
            let (mut sent, mut latencies) = (0, Vec::new());
            // At the pace of a person who writes fast, and with requests between the messages.
            while !stopped.load(Ordering::SeqCst) || sent < 3 {
                let content = format!("message {sent}");
                let began = Instant::now();
                ann.ok("message.send", json!({ "conversation": conversation, "content": content })).await;
                let accepted = Instant::now();
                assert_eq!(bob.payload("message.new").await["content"], json!(content));
                let received = Instant::now();
                ann_http.get("/v1/unread").await.json(200);
                latencies.extend([accepted - began, received - accepted, received.elapsed()]);
                sent += 1;
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            latencies
        });
        Self { stop, chat, resident_kib: host.resident_kib() }
    }

    /// Ends the chat; fails if anything of it has failed or was late, or if the memory of the host has grown too much.
    pub(super) async fn finish(self, host: &Server) {
        self.stop.store(true, Ordering::SeqCst);
        let latencies = self.chat.await.expect("nothing of the bystanders fails");
        let slowest = latencies.iter().max().expect("the bystanders have chatted");
        assert!(*slowest < LATENCY_MAX, "a bystander waited for {slowest:?}, one of {} times", latencies.len());
        let grown = host.resident_kib().saturating_sub(self.resident_kib);
        assert!(grown < GROWTH_KIB_MAX, "the host has grown by {grown} KiB");
    }
}

/// Refusals of this kind so far.
pub(super) async fn refused(host: &Server, kind: &str) -> f64 {
    let label = format!("kind=\"{kind}\"");
    Metrics::of(&host.operator()).await.sum("roost_rate_limited_total", &[&label])
}

/// Checks that a refusal says when to come back.
pub(super) fn check_refusal(answer: &Answer) {
    let problem = answer.problem(429, "rate_limited");
    assert!(problem["retry"] == true && problem["retry_after_ms"].is_u64(), "{problem}");
    let after = answer.headers.get("retry-after").expect("a time to come back").to_str().unwrap();
    assert!(after.parse::<u64>().is_ok_and(|seconds| seconds >= 1), "{after}");
}

/// Sends many requests of one user, many at once, and returns the answers.
async fn flood(client: &Client, count: usize, send: impl AsyncFn(&Client, usize) -> Answer) -> Vec<Answer> {
    flood_at_once(client, (count, AT_ONCE), send).await
}

/// As [`flood`], with so many at once.
async fn flood_at_once(
    client: &Client,
    (count, at_once): (usize, usize),
    send: impl AsyncFn(&Client, usize) -> Answer,
) -> Vec<Answer> {
    let next = AtomicUsize::new(0);
    let workers = (0..at_once).map(|_| async {
        let mut answers = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return answers;
            }
            answers.push(send(client, number).await);
        }
    });
    join_all(workers).await.into_iter().flatten().collect()
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test]
async fn a_flood_of_requests_is_refused_and_the_others_are_answered() {
    // So low that the attacker is refused however slow the machine is.
    let set = [("users.requests_per_second_max", "10"), ("users.requests_burst_max", "100")];
    let host = Server::start_limited(&set).await;
    let bystanders = Bystanders::start(&host).await;
    let attacker = host.user(Uuid::new_v4());
    let answers = flood(&attacker, 400, async |client, _| client.get("/v1/unread").await).await;
    let limited: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(count(&answers, 200) + limited.len(), answers.len(), "nothing else happens");
    assert!(count(&answers, 200) >= 100 && !limited.is_empty(), "{} refused", limited.len());
    limited.iter().for_each(|answer| check_refusal(answer));
    assert!(refused(&host, "requests").await >= limited.len() as f64);
    let path = format!("/v1/presence/{}", Uuid::new_v4());
    let of_service = flood(&host.service(), 300, async |client, _| client.get(&path).await).await;
    assert_eq!(count(&of_service, 200), 300, "services are exempt");
    bystanders.finish(&host).await;
    host.stop().await;
}

#[tokio::test]
async fn buckets_of_quiet_users_take_no_memory() {
    // A bucket is full again four seconds after four requests.
    let set = [("users.requests_per_second_max", "1"), ("users.requests_burst_max", "4")];
    let host = Server::start_limited(&set).await;
    let buckets = async || Metrics::of(&host.operator()).await.sum("roost_limited_users", &["kind=\"requests\""]);
    for _ in 0..20 {
        let client = host.user(Uuid::new_v4());
        for _ in 0..4 {
            client.get("/v1/unread").await.json(200);
        }
    }
    eventually("buckets of users who are active", async || buckets().await > 0.0).await;
    eventually("an empty table of buckets", async || buckets().await == 0.0).await;
    host.stop().await;
}

/// Sends frames as fast as the socket takes them, and counts the answers.
async fn flood_socket(socket: &mut Socket, count: usize, frame: impl Fn() -> (&'static str, Value)) -> (usize, usize) {
    let (mut ok, mut limited) = (0, 0);
    for _ in 0..count.div_ceil(AT_ONCE) {
        let mut ids = Vec::new();
        for _ in 0..AT_ONCE {
            let (name, payload) = frame();
            ids.push(socket.send_request(name, payload).await);
        }
        for id in ids {
            let answer = socket.answer(&id).await;
            match answer["type"].as_str() {
                Some("ok") => ok += 1,
                _ => {
                    let error = &answer["error"];
                    assert_eq!(error["code"], "rate_limited", "{answer}");
                    assert!(error["retry"] == true && error["retry_after_ms"].is_u64(), "{answer}");
                    limited += 1;
                }
            }
        }
    }
    (ok, limited)
}

#[tokio::test]
async fn a_flood_of_typing_is_refused_and_reaches_the_others_only_now_and_then() {
    let host = Server::start_limited(&[]).await;
    let (attacker, victim) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = host.user(attacker).conversation(&[victim]).await;
    let bystanders = Bystanders::start(&host).await;
    let mut victim = Socket::open(&host, victim).await;
    let mut socket = Socket::open(&host, attacker).await;
    let typing = || ("typing", json!({ "conversation": conversation }));
    let (ok, limited) = flood_socket(&mut socket, 240, typing).await;
    assert!(ok >= 20 && limited > ok, "{ok} accepted, {limited} refused");
    assert!(refused(&host, "typing").await > 0.0);
    for _ in 0..ok {
        victim.expect("typing").await;
    }
    // Whatever was published before this message has arrived before it.
    let path = format!("/v1/conversations/{conversation}/messages");
    host.user(attacker).post(&path, json!({ "content": "last" })).await.json(201);
    victim.expect("message.new").await;
    assert!(victim.pending_frames().all(|frame| frame["type"] != "typing"), "nothing that was refused arrives");
    bystanders.finish(&host).await;
    host.stop().await;
}

#[tokio::test]
async fn a_flood_of_frames_is_read_no_faster_than_it_is_allowed() {
    // After each refusal nothing is read for the time of one frame, a tenth of a second.
    let set = [("users.frames_per_second_max", "10"), ("users.frames_burst_max", "40")];
    let host = Server::start_limited(&set).await;
    let bystanders = Bystanders::start(&host).await;
    let mut socket = Socket::open(&host, Uuid::new_v4()).await;
    let (ok, limited) = flood_socket(&mut socket, 2 * AT_ONCE, || ("presence.beat", Value::Null)).await;
    assert!(ok >= 40 && limited > 0, "{ok} accepted, {limited} refused");
    assert!(refused(&host, "frames").await >= limited as f64);
    bystanders.finish(&host).await;
    host.stop().await;
}

#[tokio::test]
async fn a_flood_of_messages_over_a_socket_is_refused_and_the_accepted_ones_arrive() {
    // Fewer messages than frames at once, so that it is the messages that are refused.
    let host = Server::start_limited(&[("users.sends_burst_max", "20")]).await;
    let (attacker, victim) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = host.user(attacker).conversation(&[victim]).await;
    let bystanders = Bystanders::start(&host).await;
    let mut victim = Socket::open(&host, victim).await;
    let mut socket = Socket::open(&host, attacker).await;
    let message = || ("message.send", json!({ "conversation": conversation, "content": "flood" }));
    let (ok, limited) = flood_socket(&mut socket, 3 * AT_ONCE, message).await;
    assert!(ok >= 20 && limited > 0, "{ok} accepted, {limited} refused");
    assert!(refused(&host, "sends").await >= limited as f64);
    for _ in 0..ok {
        victim.expect("message.new").await;
    }
    bystanders.finish(&host).await;
    host.stop().await;
}

#[tokio::test]
async fn parallel_sends_to_one_conversation_are_bounded_and_other_conversations_go_on() {
    let host = Server::start_limited(&[]).await;
    let attacker = Uuid::new_v4();
    let members: Vec<Uuid> = (0..50).map(|_| Uuid::new_v4()).collect();
    let conversation = host.user(attacker).conversation(&members).await;
    let bystanders = Bystanders::start(&host).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    let answers = flood(&host.user(attacker), 300, async |client, number| {
        client.post(&path, json!({ "content": format!("flood {number}") })).await
    })
    .await;
    assert!(count(&answers, 201) >= 60 && count(&answers, 429) > 0, "{} refused", count(&answers, 429));
    assert_eq!(count(&answers, 201) + count(&answers, 429), answers.len());
    answers.iter().filter(|answer| answer.status == 429).for_each(check_refusal);
    assert!(refused(&host, "sends").await > 0.0);
    bystanders.finish(&host).await;
    host.stop().await;
}

#[tokio::test]
async fn a_whole_group_that_writes_at_once_does_not_keep_others_from_writing() {
    // Few places, so that the group could take all of them.
    let host = Server::start(&[("function.messaging.concurrency_max", "8")]).await;
    let members: Vec<Uuid> = (0..30).map(|_| Uuid::new_v4()).collect();
    let conversation = host.user(members[0]).conversation(&members[1..]).await;
    let bystanders = Bystanders::start(&host).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    for _ in 0..2 {
        let crowd = members.iter().map(|member| {
            let (client, path) = (host.user(*member), &path);
            async move { client.post(path, json!({ "content": member })).await }
        });
        let answers = join_all(crowd).await;
        assert_eq!(count(&answers, 201), members.len(), "{:?}", answers.iter().find(|answer| answer.status != 201));
    }
    bystanders.finish(&host).await;
    host.stop().await;
}

/// Tries to open a socket; the refusal otherwise.
async fn connect(host: &Server, user: Uuid, query: &str) -> Result<Socket, (u16, Value)> {
    let separator = if query.is_empty() { "?" } else { "&" };
    let query = format!("{query}{separator}token={}", Token::of(user).sign());
    Socket::handshake(host.listen, request(host.listen, &query)).await.map(|(socket, _)| socket)
}

#[tokio::test]
async fn a_flood_of_connects_is_refused_and_others_connect() {
    let host = Server::start_limited(&[("users.connects_burst_max", "20")]).await;
    let bystanders = Bystanders::start(&host).await;
    let attacker = Uuid::new_v4();
    let tries = join_all((0..80).map(|_| connect(&host, attacker, ""))).await;
    let (opened, refusals): (Vec<_>, Vec<_>) = tries.into_iter().partition(Result::is_ok);
    assert!(opened.len() >= 20 && refusals.len() > 20, "{} opened", opened.len());
    for refusal in refusals {
        let (status, problem) = refusal.err().unwrap();
        assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")), "{problem}");
        assert!(problem["retry_after_ms"].is_u64(), "{problem}");
    }
    assert!(refused(&host, "connects").await > 0.0);
    let other = connect(&host, Uuid::new_v4(), "").await.unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert!(other.hello["presence"].is_array() && other.hello["unread"].is_object(), "{}", other.hello);
    let mut tries = 0;
    let (mut stream, error) = loop {
        // The bucket may have a token again, but not twice in a row.
        tries += 1;
        assert!(tries < 100, "no stream was refused");
        let mut stream = Events::open(host.user(attacker).request("GET", "/v1/events")).await;
        let first = stream.next().await.expect("an event");
        if first.name != "hello" {
            break (stream, first);
        }
    };
    assert_eq!((error.name.as_str(), &error.data["code"]), ("error", &json!("rate_limited")));
    assert!(error.data["retry_after_ms"].is_u64(), "{error:?}");
    assert_eq!(stream.next().await, None, "the stream ends");
    bystanders.finish(&host).await;
    host.stop().await;
}

#[tokio::test]
async fn a_full_feed_that_is_asked_for_a_thousand_times_at_once_is_read_a_few_times_at_once() {
    let host = Server::start_limited(&[("users.sends_burst_max", "1000000")]).await;
    let (ann, attacker) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = host.user(ann).conversation(&[attacker]).await;
    let since = Socket::open(&host, attacker).await.position();
    let content = "x".repeat(8 * 1_024);
    for _ in 0..25 {
        let path = format!("/v1/conversations/{conversation}/messages");
        host.user(ann).post(&path, json!({ "content": content })).await.json(201);
    }
    let bystanders = Bystanders::start(&host).await;
    let path = format!("/v1/sync?since={since}");
    let answers = flood_at_once(&host.user(attacker), (1_000, 1_000), async |client, _| client.get(&path).await).await;
    // At least as many as the host works on at once for one user, `users.calls_max`. How many of those that wait get
    // their turn before they are refused depends on the machine.
    assert!(count(&answers, 200) >= 8 && count(&answers, 429) > 0, "{} refused", count(&answers, 429));
    assert_eq!(count(&answers, 200) + count(&answers, 429), answers.len());
    bystanders.finish(&host).await;
    host.stop().await;
}

#[tokio::test]
async fn more_missed_bytes_than_allowed_are_a_resync() {
    let host = Server::start(&[("connects.replay_bytes_max", "4096")]).await;
    let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = host.user(ann).conversation(&[bob]).await;
    let since = Socket::open(&host, bob).await.position();
    let path = format!("/v1/conversations/{conversation}/messages");
    for _ in 0..3 {
        host.user(ann).post(&path, json!({ "content": "x".repeat(2_000) })).await.json(201);
    }
    let mut socket = Socket::resume(&host, bob, &since).await;
    assert_eq!(socket.next().await["type"], "resync");
    assert_eq!(socket.hello["unread"]["total"], 3);
    let state = host.user(bob).get(&format!("/v1/sync?since={since}")).await.json(200);
    assert!(state["resync"]["reason"] == "gap" && state.get("events").is_none(), "{state}");
    host.stop().await;
}

#[tokio::test]
async fn devices_made_up_by_the_thousand_are_refused() {
    let host = Server::start(&[]).await;
    let bystanders = Bystanders::start(&host).await;
    let attacker = host.user(Uuid::new_v4());
    let answers = flood(&attacker, 1_000, async |client, number| {
        client.post("/v1/presence", json!({ "connection": format!("made-up-{number}") })).await
    })
    .await;
    let limited: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!((1..=64).contains(&count(&answers, 200)), "{} accepted", count(&answers, 200));
    assert_eq!(count(&answers, 200) + limited.len(), answers.len(), "nothing else happens");
    limited.iter().for_each(|answer| check_refusal(answer));
    let counted = Metrics::of(&host.operator()).await.sum("roost_function_devices_refused_total", &[]);
    assert_eq!(counted, limited.len() as f64);
    attacker.delete("/v1/presence").await;
    bystanders.finish(&host).await;
    host.stop().await;
}
