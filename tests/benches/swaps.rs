//! Functions are deployed again and again on two hosts with Redis while clients ask at a steady rate: how many calls fail
//! and sockets close, how the latency compares with that of calm times in the same run, how long a deployment takes, and
//! whether memory grows. Every fifth deployment comes after a broken build and a version that traps, both refused, and
//! every seventh is a canary that is taken back.
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
use roost_tests::deployment::{self, version};
use roost_tests::fleet::{Fleet, settings_for};
use roost_tests::postgres::PostgresServer;
use roost_tests::redis::RedisServer;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
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
    sockets: JoinSet<()>,
}

impl Clients {
    async fn start(fleet: &Fleet, arguments: &Arguments) -> Self {
        let (failed, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (mut tasks, mut sockets) = (JoinSet::new(), JoinSet::new());
        for number in 0..arguments.clients {
            let host = fleet.host(number % 2);
            let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
            let client = host.user(one);
            let conversation = client.conversation(&[other]).await;
            sockets.spawn(hold(Socket::open(host, other).await, stop.clone()));
            let pace = Duration::from_millis(arguments.interval_ms);
            tasks.spawn(ask(client, conversation, pace, failed.clone(), stop.clone()));
        }
        Self { failed, stop, tasks, sockets }
    }

    /// Stops the clients.
    async fn stop(mut self) -> Experience {
        self.stop.store(true, Ordering::Relaxed);
        let mut latencies_us = histogram();
        while let Some(one) = self.tasks.join_next().await {
            latencies_us.add(one.unwrap()).unwrap();
        }
        let mut closed = 0;
        while let Some(held) = self.sockets.join_next().await {
            closed += u32::from(held.is_err());
        }
        Experience { latencies_us, failed: self.failed.load(Ordering::Relaxed), closed }
    }
}

/// What the clients met.
struct Experience {
    latencies_us: Histogram<u64>,
    failed: u64,
    closed: u32,
}

impl Experience {
    fn p99_ms(&self) -> f64 {
        self.latencies_us.value_at_quantile(0.99) as f64 / 1_000.0
    }
}

/// Reads what a socket receives until the clients stop. It panics if the host closes the socket.
async fn hold(mut socket: Socket, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        socket.listen(Duration::from_millis(200)).await;
    }
    socket.ok("presence.beat", json!({})).await;
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

/// Uploads what must be refused: a broken build, and a version that traps.
async fn upload_refused(server: &Server, component: &[u8]) {
    for component in [component[..component.len() / 2].to_vec(), version("0.1.0", "undescribed")] {
        let (status, problem) = deployment::post(&server.operator(), "/functions", component).await;
        assert_eq!(status, 422, "{problem}");
    }
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
    let clients = Clients::start(&fleet, arguments).await;
    sleep(Duration::from_secs(arguments.calm_seconds)).await;
    let calm = clients.stop().await;
    let clients = Clients::start(&fleet, arguments).await;
    let mut swaps = swap(&fleet, arguments.swaps).await;
    let meanwhile = clients.stop().await;
    println!("| figure | value |\n| --- | ---: |");
    println!("| deployments, and canaries taken back | {}, {} |", arguments.swaps, swaps.canaries);
    println!("| uploads that were refused | {} |", swaps.refused);
    println!("| calls while functions were deployed | {} |", 2 * meanwhile.latencies_us.len());
    println!("| calls that failed, calm and meanwhile | {} and {} |", calm.failed, meanwhile.failed);
    println!("| sockets that closed, calm and meanwhile | {} and {} |", calm.closed, meanwhile.closed);
    println!("| p99 of a send and a count, calm | {:.1} ms |", calm.p99_ms());
    println!("| p99 meanwhile | {:.1} ms |", meanwhile.p99_ms());
    println!("| ratio | {:.1} |", meanwhile.p99_ms() / calm.p99_ms());
    println!("| deployment with compiling, served on both hosts, median | {} ms |", median(&mut swaps.compiled_ms));
    println!("| rollback (compiled before), served on both hosts, median | {} ms |", median(&mut swaps.cached_ms));
    if let Some(warm) = swaps.warm_mib {
        println!("| resident memory after {WARM_SWAPS} deployments | {warm:.0} MiB |");
    }
    println!("| resident memory at the end | {:.0} MiB |", resident_mib(fleet.host(0)));
}

/// What was deployed, and how long it took.
#[derive(Default)]
struct Swaps {
    canaries: u32,
    refused: u32,
    compiled_ms: Vec<u64>,
    cached_ms: Vec<u64>,
    warm_mib: Option<f64>,
}

async fn swap(fleet: &Fleet, count: u32) -> Swaps {
    let mut swaps = Swaps::default();
    for swap in 0..count {
        let name = NAMES[swap as usize % NAMES.len()];
        let host = fleet.host(swap as usize % 2);
        let component = fs::read(components().join(format!("{name}.wasm"))).unwrap();
        let total = |outcome: &Value| outcome["timings_ms"]["total"].as_u64().unwrap_or_default();
        if swap % 5 == 4 {
            upload_refused(host, &component).await;
            swaps.refused += 2;
        }
        let is_canary = swap % 7 == 6;
        let outcome =
            deployment::deploy(host, stamped(&component, swap), if is_canary { "canary=50" } else { "" }).await;
        swaps.compiled_ms.push(total(&outcome));
        if is_canary {
            roll_back(host, name).await;
            swaps.canaries += 1;
        } else if swap % 10 == 9 {
            swaps.cached_ms.push(total(&roll_back(host, name).await));
        }
        if swap + 1 == WARM_SWAPS {
            swaps.warm_mib = Some(resident_mib(fleet.host(0)));
        }
    }
    swaps
}
