//! `--mode abuse`: the latency of normal users beside each attack of one user, compared with the calm one before it. A
//! ratio of at most two is wanted.

use std::sync::Arc;
use std::time::Duration;

use roost_tests::metrics::Metrics;
use roost_tests::scenario::{Scenario, ScenarioOperation, Size};
use roost_tests::server::Server;
use tokio::time::sleep;

use crate::Arguments;
use crate::attacks::{Attack, Attacker};
use crate::benchmark::{as_str_pairs, rendered, write_records};
use crate::drive::{self, FixedRate, Outcome, Requests};

/// The users who behave normally, and how many requests a second they send together: one of each every other second.
const USERS: u32 = 100;
const RATE: u32 = 50;
const REQUESTS: u32 = 5_000;
/// The pause after an attack. What it leaves behind, such as connections to close, is no part of the calm.
const AFTER_ATTACK: Duration = Duration::from_secs(1);

pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let scenario = Scenario::new(Size { users: USERS, partners: 5, messages: 2, groups: &[] });
    println!(
        "| attack | operation | p50, calm, ms | p50, attack, ms | p99, calm, ms | p99, attack, ms | p99, attack / calm | \
         failed | refused | memory, calm, MiB | after the attack, MiB |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for attack in Attack::ALL.into_iter().filter(|attack| arguments.asks_for_attack(attack.name())) {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("data"))?;
        write_records(&scenario, &folder.path().join("data"), &arguments.records_url).await?;
        let mut set =
            vec![("store_url", arguments.store_url.as_str()), ("records_url", arguments.records_url.as_str())];
        set.extend(as_str_pairs(&arguments.set));
        let host = Server::start_limited_in(folder, &set).await;
        for operation in [ScenarioOperation::Send, ScenarioOperation::Unread] {
            beside(arguments, (&host, &scenario), attack, operation).await;
        }
    }
    Ok(())
}

/// Measures an operation in calm and beside the attack, in alternating rounds.
async fn beside(
    arguments: &Arguments,
    (host, scenario): (&Server, &Scenario),
    attack: Attack,
    operation: ScenarioOperation,
) {
    let requests: Vec<_> = (0..REQUESTS).map(|number| scenario.request(operation, number)).collect();
    let requests = Requests::new(rendered(&requests));
    let (mut calm, mut attacked) = (Outcome::new(), Outcome::new());
    // The caches are filled before the first round.
    measure(arguments, host, &requests).await;
    let before = refused(host).await;
    let memory_before = host.resident_kib();
    for _ in 0..arguments.rounds {
        calm.add(&measure(arguments, host, &requests).await);
        let attacker = Attacker::start(host, attack).await;
        attacked.add(&measure(arguments, host, &requests).await);
        attacker.stop().await;
        sleep(AFTER_ATTACK).await;
    }
    println!(
        "| {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {:.0} | {:.0} | {:.0} |",
        attack.name(),
        operation.name(),
        calm.percentile(50.0),
        attacked.percentile(50.0),
        calm.percentile(99.0),
        attacked.percentile(99.0),
        attacked.percentile(99.0) / calm.percentile(99.0),
        calm.failures + attacked.failures,
        refused(host).await - before,
        memory_before as f64 / 1_024.0,
        host.resident_kib() as f64 / 1_024.0
    );
    if let Some(failure) = calm.first_failure.or(attacked.first_failure) {
        println!("\n{failure}\n");
    }
}

async fn measure(arguments: &Arguments, host: &Server, requests: &Arc<Requests>) -> Outcome {
    let rate = FixedRate { per_second: arguments.rate.unwrap_or(RATE), span: arguments.span() };
    drive::open(host.listen, requests, 16, rate).await
}

async fn refused(host: &Server) -> f64 {
    Metrics::of(&host.operator()).await.sum("roost_rate_limited_total", &[])
}
