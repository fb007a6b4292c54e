//! Load over HTTP: the real binary, with reused and with fresh instances, compared with a native axum server that runs
//! the same core on the same kind of store and records. The servers alternate within one run, so that a ratio compares
//! adjacent measurements.
//!
//! `--mode sockets`, `users` and `abuse` measure the binary alone: herds of sockets, growing numbers of users, and
//! normal users beside an attack.
//!
//! Connections, rounds and seconds are bounded. `--help` lists the options; the store and the records are parameters,
//! so the same program measures the embedded parts, Redis and PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "an unexpected value must end the benchmark; its modules are private to it"
)]

mod abuse;
mod attacks;
mod benchmark;
mod client;
mod drive;
mod meter;
mod native;
mod report;
mod senders;
mod socket_client;
mod sockets;
mod users;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use roost_tests::scenario::{Scenario, ScenarioOperation, Size};

use benchmark::Benchmark;

/// The native server is what a team would write, on the system's allocator. With this feature it uses the allocator
/// that Roost ships with.
#[cfg(feature = "same-allocator")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZE: Size = Size { users: 100, partners: 25, messages: 4, groups: &[100, 1_000] };

/// The measured operations, and whether the native server takes part where the servers share one store but not the
/// records.
const CASES: [(ScenarioOperation, bool); 12] = [
    (ScenarioOperation::Heartbeat, true),
    (ScenarioOperation::Presence, true),
    (ScenarioOperation::PresenceOf100, true),
    (ScenarioOperation::PresenceOfContact, true),
    (ScenarioOperation::Unread, true),
    (ScenarioOperation::UnreadOf, true),
    (ScenarioOperation::Inbox, true),
    (ScenarioOperation::Read, false),
    (ScenarioOperation::Send, false),
    (ScenarioOperation::SendTo(100), false),
    (ScenarioOperation::SendTo(1_000), false),
    (ScenarioOperation::SendToOne(1_000), false),
];

/// Puts load on the real binary and on a native server, and compares them.
#[derive(Parser)]
struct Arguments {
    /// What is measured
    #[arg(long, value_enum, default_value = "requests")]
    mode: Mode,
    /// The sockets of `--mode sockets`
    #[arg(long, default_value_t = 1_000)]
    sockets: usize,
    /// The sockets of each user of `--mode sockets`
    #[arg(long, default_value_t = 1)]
    devices: usize,
    /// The numbers of users of `--mode users`, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    users: Vec<u32>,
    /// How many of them are connected
    #[arg(long, default_value_t = 1_000)]
    connected: usize,
    /// Only these attacks of `--mode abuse`, separated by commas
    #[arg(long, value_delimiter = ',')]
    attacks: Vec<String>,
    /// The number of kept-alive connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds of each round
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Rounds of each server and operation
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The store of all servers: memory: or redis://…
    #[arg(long, default_value = "memory:")]
    store_url: String,
    /// The records of all servers; SQLite files are each server's own
    #[arg(long, default_value = "sqlite:records.db")]
    records_url: String,
    /// Only operations with one of these names, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these servers, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "native,reused,fresh")]
    servers: Vec<String>,
    /// Requests per second, sent whether earlier ones are answered or not, instead of as many as the connections carry
    #[arg(long)]
    rate: Option<u32>,
    /// Further keys of the host's configuration, as KEY=VALUE
    #[arg(long, value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is expected")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// What a run measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Requests over HTTP, compared with the native server.
    Requests,
    /// Sockets that connect at once, their memory, and one message to all of them.
    Sockets,
    /// Requests with more and more users.
    Users,
    /// Normal users beside an attack.
    Abuse,
}

impl Arguments {
    fn asks_for_attack(&self, name: &str) -> bool {
        self.attacks.is_empty() || self.attacks.iter().any(|asked| asked == name)
    }

    fn span(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn asks_for(&self, operation: ScenarioOperation) -> bool {
        self.only.is_empty() || self.only.contains(&operation.name())
    }

    /// Sends and reads change both the records and the store: on a shared store, the native server's records would fall
    /// behind.
    fn separate_stores(&self) -> bool {
        self.store_url == "memory:"
    }
}

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some(native::COMMAND) {
        return native::serve();
    }
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match arguments.mode {
        Mode::Requests => requests(arguments).await,
        Mode::Sockets => sockets::run(arguments).await,
        Mode::Users => users::run(arguments).await,
        Mode::Abuse => abuse::run(arguments).await,
    }
}

async fn requests(arguments: &Arguments) -> anyhow::Result<()> {
    let benchmark = Benchmark::prepare(arguments, Scenario::new(SIZE)).await?;
    report::head();
    for (operation, comparable) in CASES {
        if arguments.asks_for(operation) {
            let with_native = comparable || arguments.separate_stores();
            report::operation(operation, &benchmark.measure(operation, with_native).await);
        }
    }
    report::hit_rates(&benchmark.hit_rates().await);
    Ok(())
}
