//! Functions are deployed again and again on two hosts with Redis while clients ask at a steady rate: how many calls fail,
//! how the latency compares with that of calm times in the same run, how long a deployment takes, and whether memory grows.
//!
//! Swaps, clients and seconds are bounded. `--help` lists the options.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "an unexpected value must end the benchmark"
)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use roost_tests::client::Client;
use roost_tests::components;
use roost_tests::fleet::{Fleet, settings_for};
use roost_tests::postgres::PostgresServer;
use roost_tests::redis::RedisServer;
use roost_tests::server::Server;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use uuid::Uuid;

const NAMES: [&str; 2] = ["presence", "messaging"];
/// The number of swaps after which the memory is compared.
const WARM_SWAPS: u32 = 50;

/// Deploys functions under load.
#[derive(Parser)]
struct Arguments {
    /// The number of deployments
    #[arg(long, default_value_t = 200)]
    swaps: u32,
    /// The number of clients; each sends one message and asks for one presence in every interval
    #[arg(long, default_value_t = 20)]
    clients: usize,
    /// The interval of each client in milliseconds
    #[arg(long, default_value_t = 200)]
    interval_ms: u64,
    /// Seconds of the calm phase
    #[arg(long, default_value_t = 15)]
    calm_seconds: u64,
    /// Cargo passes this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the clients measure.
struct Clients {
    failed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Histogram<u64>>,
}

impl Clients {
    async fn start(fleet: &Fleet, arguments: &Arguments) -> Self {
        let (failed, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        for number in 0..arguments.clients {
            let host = fleet.host(number % 2);
            let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
            let client = host.user(one);
            let conversation = client.conversation(&[other]).await;
            let pace = Duration::from_millis(arguments.interval_ms);
            tasks.spawn(ask(client, conversation, pace, failed.clone(), stop.clone()));
        }
        Self { failed, stop, tasks }
    }

    /// Stops the clients. Returns the latencies in microseconds, and how many calls failed.
    async fn stop(mut self) -> (Histogram<u64>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = histogram();
        while let Some(one) = self.tasks.join_next().await {
            all.add(one.unwrap()).unwrap();
        }
        (all, self.failed.load(Ordering::Relaxed))
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

async fn ask(
    client: Client,
    conversation: String,
    pace: Duration,
    failed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Histogram<u64> {
    let mut latencies = histogram();
    let mut ticks = interval(pace);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let began = Instant::now();
        let sent = client.post(&format!("/v1/conversations/{conversation}/messages"), json!({ "content": "x" })).await;
        let asked = client.get("/v1/unread").await;
        latencies.record(u64::try_from(began.elapsed().as_micros()).unwrap()).unwrap();
        failed.fetch_add(u64::from(sent.status != 201) + u64::from(asked.status != 200), Ordering::Relaxed);
    }
    latencies
}

/// The same function with different bytes: one more custom section.
fn stamped(component: &[u8], stamp: u32) -> Vec<u8> {
    const NAME: &[u8] = b"\x05stamp";
    let length = u8::try_from(NAME.len() + 4).unwrap();
    [component, &[0, length], NAME, &stamp.to_le_bytes()].concat()
}

async fn deploy(server: &Server, component: Vec<u8>) -> Value {
    let response = server.operator().request("POST", "/functions").body(component).send().await.expect("an answer");
    let (status, answer): (u16, Value) = (response.status().as_u16(), response.json().await.expect("JSON"));
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn roll_back(server: &Server, name: &str) -> Value {
    let request = server.operator().request("POST", &format!("/functions/{name}/rollback"));
    request.send().await.expect("an answer").json().await.expect("JSON")
}

/// The resident memory of a process, in MiB.
fn resident_mib(server: &Server) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the resident memory");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024.0
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn main() {
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(run(&arguments));
}

async fn run(arguments: &Arguments) {
    let redis = RedisServer::start().await;
    let settings = settings_for(&redis.url(), &PostgresServer::shared().database().await);
    let fleet = Fleet::start_identical(2, &settings).await;
    let calm_clients = Clients::start(&fleet, arguments).await;
    sleep(Duration::from_secs(arguments.calm_seconds)).await;
    let (calm, calm_failed) = calm_clients.stop().await;

    let clients = Clients::start(&fleet, arguments).await;
    let (mut compiled_ms, mut cached_ms, mut warm_mib) = (Vec::new(), Vec::new(), None);
    for swap in 0..arguments.swaps {
        let name = NAMES[swap as usize % NAMES.len()];
        let host = fleet.host(swap as usize % 2);
        let component = fs::read(components().join(format!("{name}.wasm"))).unwrap();
        let total = |outcome: &Value| outcome["timings_ms"]["total"].as_u64().unwrap_or_default();
        compiled_ms.push(total(&deploy(host, stamped(&component, swap)).await));
        if swap % 10 == 9 {
            cached_ms.push(total(&roll_back(host, name).await));
        }
        if swap + 1 == WARM_SWAPS {
            warm_mib = Some(resident_mib(fleet.host(0)));
        }
    }
    let (swapping, failed) = clients.stop().await;
    let p99 = |latencies: &Histogram<u64>| latencies.value_at_quantile(0.99) as f64 / 1_000.0;
    println!("| figure | value |\n| --- | ---: |");
    println!("| deployments | {} |", arguments.swaps);
    println!("| calls while functions were deployed | {} |", 2 * swapping.len());
    println!("| calls that failed, calm and meanwhile | {calm_failed} and {failed} |");
    println!("| p99 of a send and a count, calm | {:.1} ms |", p99(&calm));
    println!("| p99 meanwhile | {:.1} ms |", p99(&swapping));
    println!("| ratio | {:.1} |", p99(&swapping) / p99(&calm));
    println!("| deployment with compiling, served on both hosts, median | {} ms |", median(&mut compiled_ms));
    println!("| rollback (compiled before), served on both hosts, median | {} ms |", median(&mut cached_ms));
    if let Some(warm) = warm_mib {
        println!("| resident memory after {WARM_SWAPS} deployments | {warm:.0} MiB |");
    }
    println!("| resident memory at the end | {:.0} MiB |", resident_mib(fleet.host(0)));
}
