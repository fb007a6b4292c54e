//! `--mode sockets`: clients that all connect at once, the memory of idle sockets, and messages that reach all of them;
//! with the latency of sends of users who were connected before, calm and during the storm.
//!
//! The sockets belong to users with `--devices` sockets each, and the users to groups of at most [`MEMBERS_MAX`]. The
//! fan-out sends one message to every group at the same time, and ends when every socket has received its message. With
//! so many devices that there is only one group, one message reaches all sockets. With Redis, the bus is cut at last,
//! and every socket is sent its current state.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use roost::config::{Flag, Sources};
use roost_core::limits::MEMBERS_MAX;
use roost_tests::client::{Client, send};
use roost_tests::server::Server;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::Arguments;
use crate::benchmark::as_str_pairs;
use crate::senders::Senders;
use crate::socket_client::{Connected, Received, connect, require_files};

/// The members that one request may name, besides the creator.
const NAMED_MEMBERS: usize = 499;
/// The most sockets of one user, unless the host is configured for more.
const DEVICES_MAX: usize = 32;
/// The messages of the fan-out to each group.
const MESSAGES: u64 = 20;
/// How long a fan-out may take.
const FAN_OUT_MAX: Duration = Duration::from_secs(60);
/// How long the refreshes after a cut of the bus may take.
const REFRESHES_MAX: Duration = Duration::from_secs(180);

/// A conversation, and its members. The first one writes.
struct Group {
    id: String,
    members: Vec<Uuid>,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (sockets, devices) = (arguments.sockets, arguments.devices);
    ensure!((1..=DEVICES_MAX).contains(&devices), "--devices is from 1 to {DEVICES_MAX}");
    ensure!(sockets >= 2 * devices, "--sockets is at least two for each device of a user");
    require_files(sockets)?;
    let (host, rate) = (start(arguments).await, connects_per_second(arguments)?);
    let groups = groups(&host, sockets.div_ceil(devices)).await;

    println!("| measurement | value |\n| --- | ---: |");
    let calm = Senders::start(&host).await;
    sleep(arguments.span()).await;
    let calm = calm.finish().await?;
    let before = host.resident_kib();
    let received = Arc::<Received>::default();
    let sending = Senders::start(&host).await;
    let began = Instant::now();
    let connected = storm(&host, sockets, &groups, &received).await?;
    let took = began.elapsed();
    let storm = sending.finish().await?;
    report_storm(&connected, took, rate);
    report_sends(&calm, &storm);

    sleep(arguments.span()).await;
    let idle = host.resident_kib().saturating_sub(before);
    row("memory of an idle socket, KiB", idle as f64 / sockets as f64);
    fan_out(&host, &groups, sockets as u64, &received).await?;
    if arguments.store_url.starts_with("redis") {
        refreshes(&host, &arguments.store_url, (sockets as u64, received.as_ref()), &calm).await?;
    }
    row("sockets that the host closed", received.closed.load(Ordering::Relaxed) as f64);
    Ok(())
}

async fn start(arguments: &Arguments) -> Server {
    let connections_max = (arguments.sockets + 100).to_string();
    // Clients that wait for their turn are connections as well.
    let http_max = (arguments.sockets + 1_000).max(20_000).to_string();
    let mut set = vec![
        ("store_url", arguments.store_url.as_str()),
        ("records_url", arguments.records_url.as_str()),
        ("socket.connections_max", connections_max.as_str()),
        ("http.connections_max", http_max.as_str()),
    ];
    set.extend(as_str_pairs(&arguments.set));
    Server::start_limited(&set).await
}

/// The rate at which the host admits clients that connect.
fn connects_per_second(arguments: &Arguments) -> anyhow::Result<u32> {
    let of_connects = arguments.set.iter().filter(|(key, _)| key.starts_with("connects."));
    let flags = of_connects.cloned().map(|(key, value)| Flag { flag: "--set".to_owned(), key, value });
    Ok(Sources { flags: flags.collect(), ..Sources::default() }.load()?.connects.per_second_max)
}

/// Groups of about the same size, as few as possible.
async fn groups(host: &Server, users: usize) -> Vec<Group> {
    let users: Vec<Uuid> = (0..users).map(|_| Uuid::new_v4()).collect();
    let size = users.len().div_ceil(users.len().div_ceil(MEMBERS_MAX));
    join_all(users.chunks(size).map(|members| group(host, members))).await
}

/// A group with all of these members; the first one creates it.
async fn group(host: &Server, members: &[Uuid]) -> Group {
    let (creator, others) = (members[0], &members[1..]);
    let (named, added) = others.split_at(NAMED_MEMBERS.min(others.len()));
    let id = host.user(creator).conversation(named).await;
    // A backend is not limited as a user is, who may not ask for so much at once.
    let service = host.service();
    for member in added {
        let path = format!("/v1/conversations/{id}/members/{member}");
        send(service.request("PUT", &path).header("roost-user", creator.to_string())).await.json(200);
    }
    Group { id, members: members.to_vec() }
}

async fn storm(
    host: &Server,
    sockets: usize,
    groups: &[Group],
    received: &Arc<Received>,
) -> anyhow::Result<Vec<Connected>> {
    let users: Vec<Uuid> = groups.iter().flat_map(|group| group.members.iter().copied()).collect();
    let mut clients: JoinSet<anyhow::Result<Connected>> = (0..sockets)
        .map(|number| connect(host.listen, (number, users[number % users.len()]), received.clone()))
        .collect();
    let mut connected = Vec::with_capacity(sockets);
    while let Some(client) = clients.join_next().await {
        connected.push(client.context("a client does not panic")??);
    }
    Ok(connected)
}

fn report_storm(connected: &[Connected], took: Duration, rate: u32) {
    let mut waits: Vec<Duration> = connected.iter().map(|client| client.took).collect();
    waits.sort();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64();
    let sum = |of: fn(&Connected) -> u64| connected.iter().map(of).sum::<u64>() as f64;
    let herd_by_rate = connected.len() as f64 / f64::from(rate);
    row("clients that connect at once", connected.len() as f64);
    row("connected within, s", took.as_secs_f64());
    row("connected a second", connected.len() as f64 / took.as_secs_f64());
    row("wait for hello, p50, s", at(0.5));
    row("wait for hello, p99, s", at(0.99));
    row("wait for hello, max, s", at(1.0));
    row("herd divided by the rate, s", herd_by_rate);
    row("longest wait / herd divided by the rate", at(1.0) / herd_by_rate);
    row("refusals with a time to come back", sum(|client| client.refusals));
    row("refusals without a time", sum(|client| client.untimed));
    row("connections that ended without an answer", sum(|client| client.broken));
    row("half hellos", sum(|client| u64::from(!client.whole)));
}

fn report_sends(calm: &Histogram<u64>, storm: &Histogram<u64>) {
    row("sends, calm", calm.len() as f64);
    row("sends, storm", storm.len() as f64);
    row("p50 of sends, calm, ms", percentile_ms(calm, 50.0));
    row("p50 of sends, storm, ms", percentile_ms(storm, 50.0));
    row("p99 of sends, calm, ms", percentile_ms(calm, 99.0));
    row("p99 of sends, storm, ms", percentile_ms(storm, 99.0));
    row("p99, storm / calm", percentile_ms(storm, 99.0) / percentile_ms(calm, 99.0));
}

/// Sends messages, each to every group at the same time, and waits until every socket has received all of them.
async fn fan_out(host: &Server, groups: &[Group], sockets: u64, received: &Received) -> anyhow::Result<()> {
    let writers: Vec<(Client, String)> = groups
        .iter()
        .map(|group| (host.user(group.members[0]), format!("/v1/conversations/{}/messages", group.id)))
        .collect();
    let (mut answered, mut reached) = (Vec::new(), Vec::new());
    for number in 1..=MESSAGES {
        let expected = received.messages.load(Ordering::Relaxed) + sockets;
        let body = json!({ "content": format!("to everybody ({number})") });
        let began = Instant::now();
        for answer in join_all(writers.iter().map(|(client, path)| client.post(path, body.clone()))).await {
            answer.json(201);
        }
        answered.push(began.elapsed());
        loop {
            let missing = expected.saturating_sub(received.messages.load(Ordering::Relaxed));
            if missing == 0 {
                break;
            }
            let closed = received.closed.load(Ordering::Relaxed);
            ensure!(began.elapsed() < FAN_OUT_MAX, "{missing} sockets lack message {number}; the host closed {closed}");
            sleep(Duration::from_millis(1)).await;
        }
        reached.push(began.elapsed());
    }
    answered.sort();
    reached.sort();
    let ms = |times: &[Duration], index: usize| times[index].as_secs_f64() * 1e3;
    let median = ms(&reached, reached.len() / 2);
    row("groups, a message to each at the same time", groups.len() as f64);
    row("members of a group", groups[0].members.len() as f64);
    row("sockets that receive one of them", sockets as f64);
    row("until all are sent, p50, ms", ms(&answered, answered.len() / 2));
    row("until every socket has its message, p50, ms", median);
    row("until every socket has its message, max, ms", ms(&reached, reached.len() - 1));
    row("deliveries a second", sockets as f64 / (median / 1e3));
    Ok(())
}

/// Cuts the bus, and waits until every socket was sent its current state, while the users who were connected before
/// send.
async fn refreshes(
    host: &Server,
    store_url: &str,
    (sockets, received): (u64, &Received),
    calm: &Histogram<u64>,
) -> anyhow::Result<()> {
    let sending = Senders::start(host).await;
    let (began, expected) = (Instant::now(), received.refreshes.load(Ordering::Relaxed) + sockets);
    let mut redis = redis::Client::open(store_url)?.get_connection()?;
    let cut: u64 = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("PUBSUB").query(&mut redis)?;
    loop {
        let missing = expected.saturating_sub(received.refreshes.load(Ordering::Relaxed));
        if missing == 0 {
            break;
        }
        ensure!(began.elapsed() < REFRESHES_MAX, "{missing} sockets have not been sent their state after a cut");
        sleep(Duration::from_millis(10)).await;
    }
    let took = began.elapsed();
    let latencies = sending.finish().await?;
    row("connections of the bus that were cut", cut as f64);
    row("until every socket has its current state, s", took.as_secs_f64());
    row("p99 of sends meanwhile, ms", percentile_ms(&latencies, 99.0));
    row("p99, refreshes / calm", percentile_ms(&latencies, 99.0) / percentile_ms(calm, 99.0));
    Ok(())
}

fn percentile_ms(latencies: &Histogram<u64>, percentile: f64) -> f64 {
    latencies.value_at_percentile(percentile) as f64 / 1e3
}

fn row(what: &str, value: f64) {
    println!("| {what} | {value:.2} |");
}
