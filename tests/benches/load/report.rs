//! The tables that a run prints, in the form in which `docs/performance.md` shows them.

use roost_tests::scene::Operation;

use crate::contest::Standing;

pub fn head() {
    println!(
        "| operation | server | requests/s | of native | p50, ms | p99, ms | server CPU, µs | round trips | commands sent | \
         commands in Redis |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
}

/// One line for each server; costs are for each request.
pub fn operation(operation: Operation, standings: &[Standing]) {
    let native = standings.iter().find(|standing| standing.server == "native");
    for standing in standings {
        let outcome = &standing.outcome;
        let each = |amount: f64| amount / outcome.requests().max(1) as f64;
        let counted = |amount: f64| if amount > 0.0 { format!("{:.2}", each(amount)) } else { "–".to_owned() };
        println!(
            "| {} | {} | {:.0} | {} | {:.2} | {:.2} | {:.1} | {} | {} | {} |",
            operation.name(),
            standing.server,
            outcome.per_second(),
            native.map_or_else(|| "–".to_owned(), |native| format!("{:.2}", ratio(standing, native))),
            outcome.percentile(50.0),
            outcome.percentile(99.0),
            each(standing.cost.cpu_seconds) * 1e6,
            counted(standing.cost.round_trips),
            counted(standing.cost.commands_sent),
            counted(standing.cost.redis_commands),
        );
        if let Some(failure) = &outcome.first_failure {
            println!("\n{} of {} failed: {failure}\n", outcome.failures, outcome.failures + outcome.requests());
        }
    }
}

/// The median over the rounds, each beside its neighbour.
fn ratio(standing: &Standing, native: &Standing) -> f64 {
    let mut ratios: Vec<f64> = standing.rounds.iter().zip(&native.rounds).map(|(own, native)| own / native).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// How often each cache knew the answer.
pub fn hit_rates(rates: &[(&str, &str, f64)]) {
    println!();
    for (server, cache, rate) in rates {
        println!("{server}: the cache {cache} knew {:.2} % of the answers", rate * 100.0);
    }
}
