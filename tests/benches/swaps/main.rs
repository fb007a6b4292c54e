//! Functions are deployed again and again on two hosts with Redis while clients chat at a steady rate: how many calls
//! fail and sockets close, whether a message is lost or repeated, how the latency compares with that of a calm phase of
//! the same run, how long a deployment takes until every host serves it, and whether memory grows.
//!
//! First, functions are deployed while nobody chats. Then three phases: a calm one; one in which `presence` and
//! `messaging` are swapped, with refused uploads, canaries that an operator takes back and broken canaries that the
//! hosts take back; and one in which a component is compiled all the time. A list of verdicts ends the run; the exit
//! code is 1 if a bound of counts, of ratios, or of the deployments while nobody chats does not hold. `--help` lists
//! the options.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    reason = "an unexpected value must end the benchmark; its modules are private to it"
)]

mod broken_canary;
mod chat;
mod deploy;
mod message_check;
mod quiet;
mod report;
mod swapping;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, value_parser};
use roost_tests::fleet::{Fleet, Settings, settings_for};
use roost_tests::postgres::PostgresServer;
use roost_tests::redis::RedisServer;
use tokio::time::sleep;

use broken_canary::LifecycleCallers;
use chat::{Clients, Experience};
use deploy::Deployer;
use report::Run;
use swapping::Swapping;

/// The number of hosts.
const HOSTS: usize = 2;
/// Before the calm phase, clients chat for this time, which is not measured.
const WARM_UP: Duration = Duration::from_secs(3);

/// Deploys functions under load.
#[derive(Parser)]
struct Arguments {
    /// The number of swaps of `presence` and `messaging`; 0 leaves the phase out
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u32).range(..=10_000))]
    swaps: u32,
    /// A canary of `lifecycle` that traps is deployed after every so many swaps
    #[arg(long, default_value_t = 40, value_parser = value_parser!(u32).range(1..))]
    broken_canary_every: u32,
    /// The number of clients; each sends one message and asks for one presence in every interval
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u32).range(1..=500))]
    clients: u32,
    /// The interval of each client in milliseconds
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u64).range(10..=10_000))]
    interval_ms: u64,
    /// The number of versions of each function that are deployed, and deployed again, before anybody chats
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(..=100))]
    quiet: u32,
    /// Seconds of the calm phase
    #[arg(long, default_value_t = 15, value_parser = value_parser!(u64).range(1..=600))]
    calm_seconds: u64,
    /// Seconds of the phase in which a component is compiled all the time; 0 leaves the phase out
    #[arg(long, default_value_t = 15, value_parser = value_parser!(u64).range(..=600))]
    compile_seconds: u64,
    /// The component that is compiled in that phase, stamped so that its digest is new each time; without it,
    /// `messaging`
    #[arg(long)]
    component: Option<PathBuf>,
    /// The grants that this component is allowed, separated by commas
    #[arg(long, default_value = "")]
    allow_grants: String,
    /// The hosts share their cache of compiled functions; without it, each compiles for itself, as on two machines
    #[arg(long)]
    shared_cache: bool,
    /// Further keys of the hosts' configuration, as KEY=VALUE
    #[arg(long)]
    set: Vec<String>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    fn settings(&self, store: &str, records: &str) -> Settings {
        let mut settings = settings_for(store, records);
        // The broken canary is judged after fewer calls than by default, because few clients call it.
        settings.push(("deployments.canary_calls_min".to_owned(), "20".to_owned()));
        settings.extend(self.set.iter().map(|pair| {
            let (key, value) = pair.split_once('=').expect("--set takes KEY=VALUE");
            (key.to_owned(), value.to_owned())
        }));
        settings
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let run = runtime.block_on(measure(&arguments));
    report::tables(&run);
    if report::verdicts(&run) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Starts the hosts and measures all phases.
async fn measure(arguments: &Arguments) -> Run {
    let redis = RedisServer::start().await;
    let settings = arguments.settings(&redis.url(), &PostgresServer::shared().database().await);
    let fleet = if arguments.shared_cache {
        Fleet::start_identical(HOSTS, &settings).await
    } else {
        Fleet::start_with_own_caches(HOSTS, &settings).await
    };
    let deployer = Deployer::new(&fleet);
    let quiet = quiet::deploy(&deployer, arguments.quiet).await;
    let callers = LifecycleCallers::start(&fleet).await;
    calm(&fleet, arguments, WARM_UP).await;
    let calm = calm(&fleet, arguments, Duration::from_secs(arguments.calm_seconds)).await;
    let swaps = match arguments.swaps {
        0 => None,
        count => {
            let clients = Clients::start(&fleet, arguments).await;
            let swaps = Swapping::new(&deployer, &callers).swap(count, arguments.broken_canary_every).await;
            Some((swaps, clients.stop().await))
        }
    };
    let compiling = match arguments.compile_seconds {
        0 => None,
        seconds => {
            let clients = Clients::start(&fleet, arguments).await;
            let compiled = deployer.compile_for(Duration::from_secs(seconds), arguments).await;
            Some((compiled, clients.stop().await))
        }
    };
    Run { quiet, calm, swaps, compiling, lifecycle: callers.stop().await }
}

async fn calm(fleet: &Fleet, arguments: &Arguments, span: Duration) -> Experience {
    let clients = Clients::start(fleet, arguments).await;
    sleep(span).await;
    clients.stop().await
}
