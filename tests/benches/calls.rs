//! The cost of a call without HTTP: the core natively, in a function with a fresh instance, and in a function with a
//! reused instance, on the embedded store and SQLite in memory; and the time to deploy a function and call it.
//!
//! The three variants alternate in short batches within one run, and every ratio is a median over rounds: on a shared
//! machine, a ratio of adjacent measurements is more reliable than two separate times. `--help` lists the options.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "an unexpected value must end the benchmark"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Parser;
use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost::runtime::{Engine, Functions, HostWorld, Invocation, Target};
use roost::store::Store;
use roost_tests::native::{self, NativeWorld};
use roost_tests::scenario::{ApiRequest, Scenario, ScenarioOperation, Size};
use roost_tests::{components, fixture};

/// The allocator of the shipped binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZE: Size = Size { users: 100, partners: 1, messages: 40, groups: &[100] };

/// The measured operations, with the number of calls in a batch: a few milliseconds at most.
const CASES: [(ScenarioOperation, u32); 5] = [
    (ScenarioOperation::Heartbeat, 500),
    (ScenarioOperation::PresenceOf100, 10),
    (ScenarioOperation::Send, 10),
    (ScenarioOperation::SendTo(100), 2),
    (ScenarioOperation::Read, 10),
];

/// Measures calls of functions without HTTP.
#[derive(Parser)]
struct Arguments {
    /// Turns of each variant
    #[arg(long, default_value_t = 200)]
    turns: u32,
    /// Only cases whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Only one variant, for a profiler: native, fresh or reused
    #[arg(long)]
    variant: Option<String>,
    /// Walk over so many KiB between two calls, so that each meets caches as a busy server leaves them
    #[arg(long, default_value_t = 0)]
    between_kib: usize,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(&arguments));
}

async fn run(arguments: &Arguments) {
    let engine = Engine::new().unwrap();
    let scenario = Scenario::new(SIZE);
    let mut variants = Vec::new();
    for name in ["native", "fresh", "reused"] {
        if arguments.variant.as_deref().is_none_or(|only| only == name) {
            variants.push((name, Variant::new(name, &engine, &scenario).await));
        }
    }
    println!("| case | {} |", columns(&variants, |name| format!("{name}, µs | ratio")));
    println!("| --- | {} |", columns(&variants, |_| "---: | ---:".to_owned()));
    for (operation, batch) in CASES {
        if arguments.only.as_ref().is_none_or(|only| operation.name().contains(only)) {
            let times = measure(&variants, &scenario, (operation, batch), arguments).await;
            println!("| {} | {} |", operation.name(), cells(&times));
        }
    }
    if arguments.only.is_none() {
        deploy(&engine, &scenario).await;
    }
}

fn columns(variants: &[(&str, Variant)], cell: impl Fn(&str) -> String) -> String {
    variants.iter().map(|(name, _)| cell(name)).collect::<Vec<_>>().join(" | ")
}

/// The times of one variant in µs per call, by round.
type Times = Vec<f64>;

async fn measure(
    variants: &[(&str, Variant)],
    scenario: &Scenario,
    (operation, batch): (ScenarioOperation, u32),
    arguments: &Arguments,
) -> Vec<Times> {
    let mut watch = Stopwatch::new(arguments.between_kib);
    let mut times = vec![Times::new(); variants.len()];
    for round in 0..arguments.turns {
        for (times, (_, variant)) in times.iter_mut().zip(variants) {
            let requests = (round * batch..(round + 1) * batch).map(|number| scenario.request(operation, number));
            let took = variant.run(requests.collect(), &mut watch).await;
            times.push(took.as_secs_f64() * 1e6 / f64::from(batch));
        }
    }
    times
}

/// The median time of each variant, and the median of its ratios to the first one.
fn cells(times: &[Times]) -> String {
    let cell = |of: &Times| {
        let ratios = of.iter().zip(&times[0]).map(|(one, first)| one / first);
        format!("{:.1} | {:.1}", median(of.clone()), median(ratios.collect()))
    };
    times.iter().map(cell).collect::<Vec<_>>().join(" | ")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The variant that answers the calls.
enum Variant {
    Native(NativeWorld),
    Functions(Functions),
}

impl Variant {
    async fn new(name: &str, engine: &Engine, scenario: &Scenario) -> Self {
        let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
        scenario.write(&records).await;
        let world = HostWorld::new(Store::memory(), records);
        let variant = match name {
            "native" => Self::Native(native::world(world.store, world.records)),
            _ => Self::Functions(fixture::functions(engine.clone(), world, name == "reused").await),
        };
        variant.run(scenario.warm_up_requests(), &mut Stopwatch::new(0)).await;
        variant
    }

    /// The time that these requests take one after the other, without their preparation.
    async fn run(&self, requests: Vec<ApiRequest>, watch: &mut Stopwatch) -> Duration {
        watch.took = Duration::ZERO;
        match self {
            Self::Native(world) => {
                for ApiRequest { caller, question, body } in requests {
                    // Boxed as in a server, because otherwise the move of a large future would be measured too.
                    let answer = Box::pin(native::answer(world, caller, question, body.as_bytes()));
                    black_box(watch.time(answer).await.unwrap());
                }
            }
            Self::Functions(functions) => {
                let calls: Vec<_> = requests.into_iter().map(|ask| call(functions, ask)).collect();
                for (target, invocation) in calls {
                    black_box(watch.time(Box::pin(functions.call(&target, invocation))).await.unwrap());
                }
            }
        }
        watch.took
    }
}

/// Sums the time of calls and leaves out the time between them.
struct Stopwatch {
    /// Memory to walk over between two calls, as the other work of a server would.
    other: Vec<u8>,
    took: Duration,
}

impl Stopwatch {
    fn new(between_kib: usize) -> Self {
        Self { other: vec![0; between_kib * 1024], took: Duration::ZERO }
    }

    async fn time<T>(&mut self, call: impl Future<Output = T>) -> T {
        const CACHE_LINE: usize = 64;
        self.other.iter_mut().step_by(CACHE_LINE).for_each(|byte| *byte = byte.wrapping_add(1));
        black_box(&self.other);
        let began = Instant::now();
        let answer = call.await;
        self.took += began.elapsed();
        answer
    }
}

fn call(functions: &Functions, ask: ApiRequest) -> (Target, Invocation) {
    let (method, path) = ask.question.route();
    let body = if ask.question.has_body() { ask.body } else { String::new() };
    let (target, request) = fixture::http(functions, (method, &path), &[], body);
    (target, Invocation { caller: ask.caller, trace: "00000000000000000000000000000000".into(), request })
}

/// Measures the time from the bytes of a component with a cached compilation to its first answer.
async fn deploy(engine: &Engine, scenario: &Scenario) {
    const TIMES: u32 = 30;
    let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
    let functions = fixture::functions(engine.clone(), HostWorld::new(Store::memory(), records), true).await;
    let bytes = tokio::fs::read(components().join("presence.wasm")).await.unwrap();
    let (mut deployed, mut answered) = (Vec::new(), Vec::new());
    for number in 0..TIMES {
        functions.remove("presence").await;
        let bytes = bytes.clone();
        let began = Instant::now();
        functions.deploy("presence.wasm", bytes).await.unwrap();
        deployed.push(began.elapsed().as_secs_f64() * 1e3);
        let (target, invocation) = call(&functions, scenario.request(ScenarioOperation::Heartbeat, number));
        functions.call(&target, invocation).await.unwrap();
        answered.push(began.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "\ndeploy of a cached component: {:.2} ms, to its first answer {:.2} ms",
        median(deployed),
        median(answered)
    );
}
