//! Users who were connected before anything else happens, and who send messages at a steady pace: how long their sends
//! take.
//!
//! They have a thread of their own, so that their latencies are not those of the other clients of this process.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use roost_tests::server::Server;
use roost_tests::socket::{Socket, request};
use roost_tests::token::Token;
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use uuid::Uuid;

use crate::drive::no_latencies;

/// The pairs of users, one of whom sends.
const PAIRS: u32 = 10;
/// Each of them sends this often, which is less than a user may.
const SEND_EVERY: Duration = Duration::from_millis(120);
/// The latency of a message that is sent later than this counts from when it was due, because an earlier one took so
/// long.
const TIMER_PRECISION: Duration = Duration::from_millis(3);
/// Longer than any run.
const FOR_EVER: Duration = Duration::from_secs(86_400);

/// Two users, and their conversation.
struct Pair {
    ann: Uuid,
    bob: Uuid,
    conversation: String,
}

/// Pairs that send until they are stopped.
pub struct Senders {
    /// When to stop.
    stop: watch::Sender<Option<Instant>>,
    thread: JoinHandle<anyhow::Result<Histogram<u64>>>,
}

impl Senders {
    /// Connects the users, and begins to send when all of them are connected.
    pub async fn start(host: &Server) -> Self {
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
            pairs.push(Pair { ann, bob, conversation: host.user(ann).conversation(&[bob]).await });
        }
        let (stop, stopped) = watch::channel(None);
        let (ready, is_ready) = oneshot::channel();
        let listen = host.listen;
        let thread = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(send_all(listen, pairs, ready, stopped))
        });
        is_ready.await.expect("every pair connects");
        Self { stop, thread }
    }

    /// Stops sending, after everything that is due by now; returns the latencies in µs.
    pub async fn finish(self) -> anyhow::Result<Histogram<u64>> {
        self.stop.send_replace(Some(Instant::now()));
        self.thread.await.context("the thread of the senders")?
    }
}

async fn send_all(
    listen: SocketAddr,
    pairs: Vec<Pair>,
    ready: oneshot::Sender<()>,
    stopped: watch::Receiver<Option<Instant>>,
) -> anyhow::Result<Histogram<u64>> {
    let mut connected = Vec::new();
    for pair in pairs {
        let (ann, bob) = (open(listen, pair.ann).await, open(listen, pair.bob).await);
        connected.push((ann, bob, pair.conversation));
    }
    let _ = ready.send(());
    let mut senders = JoinSet::new();
    for (number, (ann, bob, conversation)) in (0..PAIRS).zip(connected) {
        let first = Instant::now() + SEND_EVERY * number / PAIRS;
        senders.spawn(chat(ann, bob, conversation, first, stopped.clone()));
    }
    let mut all = no_latencies();
    while let Some(latencies) = senders.join_next().await {
        all.add(latencies.context("a send failed")?)?;
    }
    Ok(all)
}

async fn open(listen: SocketAddr, user: Uuid) -> Socket {
    let request = request(listen, &format!("?token={}", Token::of(user).sign()));
    Socket::handshake(listen, request).await.expect("a user is connected").0
}

/// Sends messages until it is stopped, while the other one reads.
async fn chat(
    mut ann: Socket,
    mut bob: Socket,
    conversation: String,
    first: Instant,
    mut stopped: watch::Receiver<Option<Instant>>,
) -> Histogram<u64> {
    let reading = tokio::spawn(async move { bob.listen(FOR_EVER).await });
    let mut latencies = no_latencies();
    let mut ticks = interval_at(first, SEND_EVERY);
    // What was due during a stall is sent after it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        // What is due goes first: a message that a stall delays beyond the end counts as well.
        let due = tokio::select! {
            biased;
            due = ticks.tick() => due,
            _ = stopped.changed() => break,
        };
        if stopped.borrow().is_some_and(|end| due > end) {
            break;
        }
        let asked = if due.elapsed() < TIMER_PRECISION { Instant::now() } else { due };
        ann.ok("message.send", json!({ "conversation": conversation, "content": "as before" })).await;
        latencies.saturating_record(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    assert!(!reading.is_finished(), "the host closed the socket of a user who reads");
    reading.abort();
    latencies
}
