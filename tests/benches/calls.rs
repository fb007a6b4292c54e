//! What a call costs without HTTP: the core natively, in a function with a fresh instance and in a function with a reused
//! one, on the embedded store and SQLite in memory; and what it takes to deploy a function and call it.
//!
//! The three take turns in short batches within one run, and every ratio is a median over turns: on a machine that
//! others use too, a ratio of neighbours says more than two times taken apart. `--help` lists what can be chosen.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that meets a surprise shall end"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Parser;
use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost::runtime::{Engine, Functions, HostWorld, Invocation, Target};
use roost::store::Store;
use roost_tests::native::{self, NativeWorld};
use roost_tests::scene::{Ask, Operation, Scene, Size};
use roost_tests::{components, house};

/// The allocator that ships.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZE: Size = Size { people: 100, partners: 1, messages: 40, groups: &[100] };

/// What is measured, and how many calls make a batch: a few milliseconds at most.
const CASES: [(Operation, u32); 5] = [
    (Operation::Beat, 500),
    (Operation::PresenceOf100, 10),
    (Operation::Send, 10),
    (Operation::SendTo(100), 2),
    (Operation::Read, 10),
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
    let scene = Scene::new(SIZE);
    let mut subjects = Vec::new();
    for name in ["native", "fresh", "reused"] {
        if arguments.variant.as_deref().is_none_or(|only| only == name) {
            subjects.push((name, Subject::new(name, &engine, &scene).await));
        }
    }
    println!("| case | {} |", columns(&subjects, |name| format!("{name}, µs | ratio")));
    println!("| --- | {} |", columns(&subjects, |_| "---: | ---:".to_owned()));
    for (operation, batch) in CASES {
        if arguments.only.as_ref().is_none_or(|only| operation.name().contains(only)) {
            let times = measure(&subjects, &scene, (operation, batch), arguments).await;
            println!("| {} | {} |", operation.name(), cells(&times));
        }
    }
    if arguments.only.is_none() {
        deploy(&engine, &scene).await;
    }
}

fn columns(subjects: &[(&str, Subject)], cell: impl Fn(&str) -> String) -> String {
    subjects.iter().map(|(name, _)| cell(name)).collect::<Vec<_>>().join(" | ")
}

/// Times of one variant, in µs a call, turn by turn.
type Times = Vec<f64>;

async fn measure(
    subjects: &[(&str, Subject)],
    scene: &Scene,
    (operation, batch): (Operation, u32),
    arguments: &Arguments,
) -> Vec<Times> {
    let mut watch = Stopwatch::new(arguments.between_kib);
    let mut times = vec![Times::new(); subjects.len()];
    for turn in 0..arguments.turns {
        for (times, (_, subject)) in times.iter_mut().zip(subjects) {
            let asks = (turn * batch..(turn + 1) * batch).map(|number| scene.ask(operation, number));
            let took = subject.take(asks.collect(), &mut watch).await;
            times.push(took.as_secs_f64() * 1e6 / f64::from(batch));
        }
    }
    times
}

/// Median time of each variant, and the median of its ratios to the first one.
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

/// Who answers.
enum Subject {
    Native(NativeWorld),
    Functions(Functions),
}

impl Subject {
    async fn new(name: &str, engine: &Engine, scene: &Scene) -> Self {
        let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
        scene.write(&records).await;
        let world = HostWorld { store: Store::memory(), records };
        let subject = match name {
            "native" => Self::Native(native::world(world.store, world.records)),
            _ => Self::Functions(house::functions(engine.clone(), world, name == "reused").await),
        };
        subject.take(scene.awakening(), &mut Stopwatch::new(0)).await;
        subject
    }

    /// The time that these take one after the other; what has to be prepared is not in it.
    async fn take(&self, asks: Vec<Ask>, watch: &mut Stopwatch) -> Duration {
        watch.took = Duration::ZERO;
        match self {
            Self::Native(world) => {
                for Ask { caller, question, body } in asks {
                    // Boxed, as a server has it: moving a large future would be measured as well.
                    let answer = Box::pin(native::answer(world, caller, question, body.as_bytes()));
                    black_box(watch.time(answer).await.unwrap());
                }
            }
            Self::Functions(functions) => {
                let calls: Vec<_> = asks.into_iter().map(|ask| call(functions, ask)).collect();
                for (target, invocation) in calls {
                    black_box(watch.time(Box::pin(functions.call(&target, invocation))).await.unwrap());
                }
            }
        }
        watch.took
    }
}

/// Sums up calls and leaves out what happens between them.
struct Stopwatch {
    /// What a server's other work would pass through the caches between two calls.
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

fn call(functions: &Functions, ask: Ask) -> (Target, Invocation) {
    let (method, path) = ask.question.route();
    let body = if ask.question.has_body() { ask.body } else { String::new() };
    let (target, request) = house::http(functions, (method, &path), &[], body);
    (target, Invocation { caller: ask.caller, trace: "00000000000000000000000000000000".into(), request })
}

/// From the bytes of a component whose compiled form is kept to its first answer.
async fn deploy(engine: &Engine, scene: &Scene) {
    const TIMES: u32 = 30;
    let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
    let functions = house::functions(engine.clone(), HostWorld { store: Store::memory(), records }, true).await;
    let bytes = tokio::fs::read(components().join("presence.wasm")).await.unwrap();
    let (mut deployed, mut answered) = (Vec::new(), Vec::new());
    for number in 0..TIMES {
        functions.remove("presence").await;
        let bytes = bytes.clone();
        let began = Instant::now();
        functions.deploy("presence.wasm", bytes).await.unwrap();
        deployed.push(began.elapsed().as_secs_f64() * 1e3);
        let (target, invocation) = call(&functions, scene.ask(Operation::Beat, number));
        functions.call(&target, invocation).await.unwrap();
        answered.push(began.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "\ndeploy of a cached component: {:.2} ms, to its first answer {:.2} ms",
        median(deployed),
        median(answered)
    );
}
