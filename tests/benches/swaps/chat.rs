//! The clients of a phase: each sends messages to another user and asks for the presence of that user at a steady rate;
//! the other user holds a socket. Nothing here panics because of a failed call or a closed socket: both are counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use reqwest::RequestBuilder;
use roost_tests::client::Client;
use roost_tests::eventually::eventually;
use roost_tests::fleet::Fleet;
use roost_tests::ledger::history;
use roost_tests::socket::Socket;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::interval;
use uuid::Uuid;

use crate::message_check::MessageCheck;
use crate::{Arguments, HOSTS};

/// After the last message was sent, a socket has received everything when nothing arrives for this time.
const QUIET: Duration = Duration::from_secs(2);

/// Calls that failed: how many, and the first one as text.
#[derive(Debug, Default)]
pub struct Failures {
    count: AtomicU64,
    first: OnceLock<String>,
}

impl Failures {
    pub fn add(&self, why: String) {
        self.count.fetch_add(1, Ordering::Relaxed);
        // Only the first failure is kept.
        let _ = self.first.set(why);
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub fn first(&self) -> Option<String> {
        self.first.get().cloned()
    }
}

/// The status and the JSON of an answer; an error says why there is none.
pub async fn answer(request: RequestBuilder) -> Result<(u16, Value), String> {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status().as_u16();
    let text = response.text().await.map_err(|error| format!("{error:?}"))?;
    Ok((status, serde_json::from_str(&text).unwrap_or_default()))
}

/// What all clients of a phase share.
#[derive(Default)]
struct Signals {
    senders_end: AtomicBool,
    receivers_end: AtomicBool,
    failures: Failures,
}

/// All running clients.
pub struct Clients {
    signals: Arc<Signals>,
    pairs: Vec<Pair>,
}

/// A client that sends, and the socket that receives.
struct Pair {
    client: Client,
    conversation: Uuid,
    sender: JoinHandle<Sent>,
    receiver: JoinHandle<Received>,
}

impl Clients {
    /// Connects all clients, over all combinations of hosts, and lets them chat.
    pub async fn start(fleet: &Fleet, arguments: &Arguments) -> Self {
        let signals = Arc::<Signals>::default();
        let pace = Duration::from_millis(arguments.interval_ms);
        let mut pairs = Vec::new();
        for number in 0..arguments.clients as usize {
            let hosts = (number % HOSTS, number / HOSTS % HOSTS);
            pairs.push(Pair::start(fleet, hosts, pace, &signals).await);
        }
        Self { signals, pairs }
    }

    /// Stops the clients, and compares what they sent with the history and with what was received.
    pub async fn stop(self) -> Experience {
        self.signals.senders_end.store(true, Ordering::Relaxed);
        let mut ended = Vec::new();
        for Pair { client, conversation, sender, receiver } in self.pairs {
            ended.push((client, conversation, sender.await.expect("a sender does not panic"), receiver));
        }
        self.signals.receivers_end.store(true, Ordering::Relaxed);
        let mut experience = Experience::new();
        for (client, conversation, sent, receiver) in ended {
            let received = receiver.await.unwrap_or_else(|error| Received::closed(error.to_string()));
            let messages = history(&client, conversation, 0).await.expect("the history is answered");
            let recorded: Vec<String> = messages.iter().map(message_id).collect();
            experience.add(&sent, received, &recorded);
        }
        experience.failed = self.signals.failures.count();
        experience.first_failure = self.signals.failures.first();
        experience
    }
}

impl Pair {
    async fn start(fleet: &Fleet, hosts: (usize, usize), pace: Duration, signals: &Arc<Signals>) -> Self {
        let (user, friend) = (Uuid::new_v4(), Uuid::new_v4());
        let client = fleet.host(hosts.0).user(user);
        fleet.host(hosts.0).befriend(user, friend).await;
        let conversation = client.conversation(&[friend]).await;
        let socket = Socket::open(fleet.host(hosts.1), friend).await;
        let sender = Sender {
            messages: format!("/v1/conversations/{conversation}/messages"),
            presence: format!("/v1/presence/{friend}"),
            client: client.clone(),
            signals: Arc::clone(signals),
        };
        eventually("the user with the socket is online", async || {
            client.get(&sender.presence).await.json(200)["online"] == true
        })
        .await;
        Self {
            client,
            conversation: conversation.parse().expect("an id"),
            sender: tokio::spawn(sender.run(pace)),
            receiver: tokio::spawn(receive(socket, Arc::clone(signals))),
        }
    }
}

/// One sending client.
struct Sender {
    client: Client,
    /// The path of the messages of its conversation.
    messages: String,
    /// The path of the presence of the other member.
    presence: String,
    signals: Arc<Signals>,
}

/// What a client sent, and how long its calls took.
struct Sent {
    accepted: Vec<String>,
    sends_us: Histogram<u64>,
    queries_us: Histogram<u64>,
}

impl Sender {
    async fn run(self, pace: Duration) -> Sent {
        let mut sent = Sent { accepted: Vec::new(), sends_us: histogram(), queries_us: histogram() };
        let mut ticks = interval(pace);
        while !self.signals.senders_end.load(Ordering::Relaxed) {
            ticks.tick().await;
            self.send(&mut sent).await;
            self.query(&mut sent).await;
        }
        sent
    }

    async fn send(&self, sent: &mut Sent) {
        let request = self.client.request("POST", &self.messages).json(&json!({ "content": "x" }));
        let began = Instant::now();
        let answered = answer(request).await;
        record(&mut sent.sends_us, began);
        match answered {
            Ok((201, message)) => sent.accepted.push(message_id(&message)),
            other => self.signals.failures.add(format!("a message was answered with {other:?}")),
        }
    }

    /// The user whose presence is asked for holds a socket, so any other answer than `online` is a failure.
    async fn query(&self, sent: &mut Sent) {
        let began = Instant::now();
        let answered = answer(self.client.request("GET", &self.presence)).await;
        record(&mut sent.queries_us, began);
        match answered {
            Ok((200, presence)) if presence["online"] == true => {}
            other => self.signals.failures.add(format!("a query of presence was answered with {other:?}")),
        }
    }
}

/// What a socket received.
#[derive(Default)]
struct Received {
    ids: Vec<String>,
    /// Why the socket closed, if it did.
    closed: Option<String>,
}

impl Received {
    fn closed(why: String) -> Self {
        Self { ids: Vec::new(), closed: Some(why) }
    }
}

/// Reads what a socket receives until the senders have ended and nothing more arrives.
async fn receive(mut socket: Socket, signals: Arc<Signals>) -> Received {
    let mut received = Received::default();
    loop {
        // Read before the wait, so that the whole wait is after the end of the senders.
        let is_last_wait = signals.receivers_end.load(Ordering::Relaxed);
        match socket.next_within(QUIET).await {
            Some(Ok(frame)) if frame["type"] == "message.new" => received.ids.push(message_id(&frame["payload"])),
            Some(Ok(_)) => {}
            Some(Err(close)) => {
                received.closed = Some(format!("{close:?}"));
                return received;
            }
            None if is_last_wait => break,
            None => {}
        }
    }
    // A socket that is not usable any more counts as closed, too: this request panics then, and ends only this task.
    socket.ok("presence.beat", json!({})).await;
    received
}

/// What the clients of a phase experienced.
pub struct Experience {
    pub sends_us: Histogram<u64>,
    pub queries_us: Histogram<u64>,
    pub failed: u64,
    pub first_failure: Option<String>,
    pub closed: u32,
    pub first_close: Option<String>,
    pub messages: MessageCheck,
}

impl Experience {
    fn new() -> Self {
        Self {
            sends_us: histogram(),
            queries_us: histogram(),
            failed: 0,
            first_failure: None,
            closed: 0,
            first_close: None,
            messages: MessageCheck::default(),
        }
    }

    fn add(&mut self, sent: &Sent, received: Received, recorded: &[String]) {
        self.sends_us.add(&sent.sends_us).expect("the histogram grows");
        self.queries_us.add(&sent.queries_us).expect("the histogram grows");
        self.messages.add(&MessageCheck::of(&sent.accepted, recorded, &received.ids));
        self.closed += u32::from(received.closed.is_some());
        self.first_close = self.first_close.take().or(received.closed);
    }

    pub fn calls(&self) -> u64 {
        self.sends_us.len() + self.queries_us.len()
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are valid")
}

fn record(latencies_us: &mut Histogram<u64>, began: Instant) {
    let elapsed_us = u64::try_from(began.elapsed().as_micros()).expect("a short time");
    latencies_us.record(elapsed_us).expect("the histogram grows");
}

fn message_id(message: &Value) -> String {
    message["id"].as_str().expect("a message has an id").to_owned()
}
