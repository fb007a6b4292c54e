//! The tables that a run prints, in the form that `docs/performance.md` uses.

use roost_tests::scenario::ScenarioOperation;

use crate::benchmark::Measurements;

pub fn head() {
    println!(
        "| operation | server | requests/s | of native | p50, ms | p99, ms | server CPU, µs | round trips | commands sent | \
         commands in Redis |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
}

/// One row for each server; costs are per request.
pub fn operation(operation: ScenarioOperation, all_measurements: &[Measurements]) {
    let native = all_measurements.iter().find(|measurements| measurements.server == "native");
    for measurements in all_measurements {
        let outcome = &measurements.outcome;
        let each = |amount: f64| amount / outcome.requests().max(1) as f64;
        let counted = |amount: f64| if amount > 0.0 { format!("{:.2}", each(amount)) } else { "–".to_owned() };
        println!(
            "| {} | {} | {:.0} | {} | {:.2} | {:.2} | {:.1} | {} | {} | {} |",
            operation.name(),
            measurements.server,
            outcome.per_second(),
            native.map_or_else(|| "–".to_owned(), |native| format!("{:.2}", ratio(measurements, native))),
            outcome.percentile(50.0),
            outcome.percentile(99.0),
            each(measurements.cost.cpu_seconds) * 1e6,
            counted(measurements.cost.round_trips),
            counted(measurements.cost.commands_sent),
            counted(measurements.cost.redis_commands),
        );
        if let Some(failure) = &outcome.first_failure {
            println!("\n{} of {} failed: {failure}\n", outcome.failures, outcome.failures + outcome.requests());
        }
    }
}

/// The median of the ratios over the rounds.
fn ratio(measurements: &Measurements, native: &Measurements) -> f64 {
    let mut ratios: Vec<f64> =
        measurements.rounds.iter().zip(&native.rounds).map(|(own, native)| own / native).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Prints the hit rate of each cache.
pub fn hit_rates(rates: &[(&str, &str, f64)]) {
    println!();
    for (server, cache, rate) in rates {
        println!("{server}: the cache {cache} knew {:.2} % of the answers", rate * 100.0);
    }
}
