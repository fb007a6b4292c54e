//! `--mode sockets`: clients that all connect at once, the memory of idle sockets, and one message to all of them; with the
//! latency of sends of two users who were connected before, calm and during the storm.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::Arguments;
use crate::socket_client::{Connected, Received, connect, require_files};

/// The members of the group that every socket belongs to; the most that a conversation has.
const MEMBERS: usize = 1_000;
/// The members that one request may name.
const NAMED_MEMBERS: usize = 499;
/// Messages of the fan-out.
const MESSAGES: u64 = 20;
/// How long a fan-out may take.
const FAN_OUT_MAX: Duration = Duration::from_secs(120);
/// The users who were connected before send this often.
const SEND_EVERY: Duration = Duration::from_millis(120);

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let sockets = arguments.sockets;
    require_files(sockets)?;
    let connections_max = (sockets + 100).to_string();
    let mut set = vec![
        ("store_url", arguments.store_url.as_str()),
        ("records_url", arguments.records_url.as_str()),
        ("socket.connections_max", connections_max.as_str()),
    ];
    set.extend(arguments.set.iter().filter_map(|pair| pair.split_once('=')));
    let host = Server::start_limited(&set).await;
    let members: Vec<Uuid> = (0..sockets.min(MEMBERS)).map(|_| Uuid::new_v4()).collect();
    let group = group(&host, &members).await;

    println!("| measurement | value |\n| --- | ---: |");
    let calm = Sender::start(&host).await;
    sleep(arguments.span()).await;
    let calm = calm.finish().await?;
    let before = host.resident_kib();
    let received = Arc::<Received>::default();
    let sending = Sender::start(&host).await;
    let began = Instant::now();
    let connected = storm(&host, sockets, &members, &received).await?;
    let took = began.elapsed();
    let storm = sending.finish().await?;
    report_storm(&connected, took);
    row("p99 of sends, calm, ms", ms(&calm));
    row("p99 of sends, storm, ms", ms(&storm));
    row("storm / calm", ms(&storm) / ms(&calm));

    sleep(arguments.span()).await;
    let idle = host.resident_kib().saturating_sub(before);
    row("memory of an idle socket, KiB", idle as f64 / sockets as f64);
    fan_out(&host, (members[0], &group), sockets as u64, &received).await?;
    row("sockets that the host closed", received.closed.load(Ordering::Relaxed) as f64);
    Ok(())
}

/// A group with all of these members; the first one creates it.
async fn group(host: &Server, members: &[Uuid]) -> String {
    let creator = host.user(members[0]);
    let (first, rest) = members[1..].split_at(NAMED_MEMBERS.min(members.len() - 1));
    let group = creator.conversation(first).await;
    for member in rest {
        creator.put(&format!("/v1/conversations/{group}/members/{member}")).await;
    }
    group
}

async fn storm(
    host: &Server,
    sockets: usize,
    members: &[Uuid],
    received: &Arc<Received>,
) -> anyhow::Result<Vec<Connected>> {
    let mut clients: JoinSet<anyhow::Result<Connected>> = (0..sockets)
        .map(|number| connect(host.listen, (number, members[number % members.len()]), received.clone()))
        .collect();
    let mut connected = Vec::with_capacity(sockets);
    while let Some(client) = clients.join_next().await {
        connected.push(client.context("a client does not panic")??);
    }
    Ok(connected)
}

fn report_storm(connected: &[Connected], took: Duration) {
    let mut waits: Vec<Duration> = connected.iter().map(|client| client.took).collect();
    waits.sort();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64();
    row("clients that connect at once", connected.len() as f64);
    row("connected within, s", took.as_secs_f64());
    row("connected a second", connected.len() as f64 / took.as_secs_f64());
    row("wait for hello, p50, s", at(0.5));
    row("wait for hello, max, s", at(1.0));
    row("refusals", connected.iter().map(|client| client.refusals).sum::<u64>() as f64);
    row("half hellos", connected.iter().filter(|client| !client.whole).count() as f64);
}

/// Sends messages to the group, and waits until every socket has received all of them.
async fn fan_out(
    host: &Server,
    (sender, group): (Uuid, &str),
    sockets: u64,
    received: &Received,
) -> anyhow::Result<()> {
    let (client, path) = (host.user(sender), format!("/v1/conversations/{group}/messages"));
    let mut times = Vec::new();
    for number in 1..=MESSAGES {
        let expected = received.messages.load(Ordering::Relaxed) + sockets;
        let began = Instant::now();
        client.post(&path, json!({ "content": format!("to everybody ({number})") })).await.json(201);
        while received.messages.load(Ordering::Relaxed) < expected {
            anyhow::ensure!(began.elapsed() < FAN_OUT_MAX, "a message did not reach every socket");
            sleep(Duration::from_millis(1)).await;
        }
        times.push(began.elapsed());
    }
    times.sort();
    let median = times[times.len() / 2].as_secs_f64();
    row("one message to all sockets, p50, ms", median * 1e3);
    row("deliveries a second", sockets as f64 / median);
    Ok(())
}

/// Two users who were connected before; one of them sends again and again.
struct Sender {
    stop: watch::Sender<()>,
    task: JoinHandle<Histogram<u64>>,
}

impl Sender {
    async fn start(host: &Server) -> Self {
        let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
        let conversation = host.user(ann).conversation(&[bob]).await;
        let (mut ann, _bob) = (Socket::open(host, ann).await, Socket::open(host, bob).await);
        let (stop, mut stopped) = watch::channel(());
        let task = tokio::spawn(async move {
            let _bob = _bob;
            let mut latencies = Histogram::new(3).expect("the precision is valid");
            let mut ticks = interval(SEND_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = stopped.changed() => return latencies,
                    _ = ticks.tick() => {}
                }
                let asked = Instant::now();
                ann.ok("message.send", json!({ "conversation": conversation, "content": "as before" })).await;
                latencies.saturating_record(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
        });
        Self { stop, task }
    }

    async fn finish(self) -> anyhow::Result<Histogram<u64>> {
        drop(self.stop);
        self.task.await.context("a send failed")
    }
}

fn ms(latencies: &Histogram<u64>) -> f64 {
    latencies.value_at_percentile(99.0) as f64 / 1e3
}

fn row(what: &str, value: f64) {
    println!("| {what} | {value:.2} |");
}
