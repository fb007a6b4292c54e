//! What a run prints: the tables that `docs/performance.md` uses, and a verdict on every bound.
//!
//! Bounds of counts and ratios decide about the run, and so do those of the deployments while nobody chats. The times
//! of deployments while clients chat depend on these calls, too: they are only printed beside their bound.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::broken_canary::LifecycleCalls;
use crate::chat::Experience;
use crate::swapping::{DeploymentTimes, Preparation, Swaps, WARM_SWAPS};

/// The most that the resident memory at the end may be of that after [`WARM_SWAPS`].
const MEMORY_RATIO_MAX: f64 = 1.1;
/// The most that the p99 may be of the calm one while a component is compiled all the time.
const COMPILING_RATIO_MAX: f64 = 2.0;

/// The results of all phases.
pub struct Run {
    /// The times of deployments while nobody chatted.
    pub quiet: DeploymentTimes,
    pub calm: Experience,
    pub swaps: Option<(Swaps, Experience)>,
    /// The times of the deployments that were compiled, and what the clients experienced.
    pub compiling: Option<(Vec<Duration>, Experience)>,
    pub lifecycle: LifecycleCalls,
}

impl Run {
    /// The measured phases with their names.
    fn phases(&self) -> impl Iterator<Item = (&'static str, &Experience)> {
        let swaps = self.swaps.iter().map(|(_, experience)| ("swaps", experience));
        let compiling = self.compiling.iter().map(|(_, experience)| ("compiling", experience));
        std::iter::once(("calm", &self.calm)).chain(swaps).chain(compiling)
    }

    fn sum(&self, of: impl Fn(&Experience) -> u64) -> u64 {
        self.phases().map(|(_, experience)| of(experience)).sum()
    }

    /// The p99 of a phase as a multiple of the calm one: of sends, and of queries of presence.
    fn ratios(&self, experience: &Experience) -> (f64, f64) {
        let ratio = |own, calm| quantile_ms(own, 0.99) / quantile_ms(calm, 0.99);
        (ratio(&experience.sends_us, &self.calm.sends_us), ratio(&experience.queries_us, &self.calm.queries_us))
    }
}

/// Prints all figures.
pub fn tables(run: &Run) {
    deployments("nobody chats", &run.quiet);
    println!("\n| phase | calls | failed | closed sockets | call | p50, ms | p99, ms | max, ms | p99 of calm |");
    println!("| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |");
    for (phase, experience) in run.phases() {
        let (sends, queries) = run.ratios(experience);
        latency_row(phase, experience, ("message", &experience.sends_us, sends));
        latency_row(phase, experience, ("presence", &experience.queries_us, queries));
    }
    if let Some((swaps, _)) = &run.swaps {
        deployments("clients chat", &swaps.took);
        counts(swaps, &run.lifecycle);
    }
    if let Some((took, _)) = &run.compiling {
        let [median, max] = summary_ms(took);
        println!(
            "\ncompiled in the last phase: {} deployments, median {median:.0} ms, maximum {max:.0} ms",
            took.len()
        );
    }
    for (phase, experience) in run.phases() {
        for what in experience.first_failure.iter().chain(&experience.first_close) {
            println!("\n{phase}: {what}");
        }
    }
    run.lifecycle.first_failure.iter().for_each(|what| println!("\nlifecycle: {what}"));
}

fn latency_row(phase: &str, experience: &Experience, (call, latencies_us, ratio): (&str, &Histogram<u64>, f64)) {
    println!(
        "| {phase} | {} | {} | {} | {call} | {:.1} | {:.1} | {:.1} | {ratio:.2} |",
        experience.calls(),
        experience.failed,
        experience.closed,
        quantile_ms(latencies_us, 0.5),
        quantile_ms(latencies_us, 0.99),
        quantile_ms(latencies_us, 1.0),
    );
}

/// What a preparation is called, and the bound of the median time from the upload until both hosts serve, in
/// milliseconds.
const fn bound_of(preparation: Preparation) -> (&'static str, f64) {
    match preparation {
        Preparation::Compiled => ("compiled", 500.0),
        Preparation::Cached => ("cached", 50.0),
    }
}

fn deployments(meanwhile: &str, times: &DeploymentTimes) {
    if times.values().all(Vec::is_empty) {
        return;
    }
    println!("\n| from upload to served by both hosts, {meanwhile} | deployments | median, ms | max, ms | bound, ms |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for ((name, preparation), took) in times {
        let (label, bound_ms) = bound_of(*preparation);
        let [median, max] = summary_ms(took);
        println!("| {name}, {label} | {} | {median:.0} | {max:.0} | {bound_ms:.0} |", took.len());
    }
}

fn counts(swaps: &Swaps, lifecycle: &LifecycleCalls) {
    let broken = &swaps.broken;
    println!("\n| figure | value |\n| --- | ---: |");
    println!("| swaps, of them canaries taken back by an operator | {}, {} |", swaps.count, swaps.canaries);
    println!("| refused uploads | {} |", swaps.refused);
    println!("| broken canaries that the hosts took back | {} |", broken.withdrawn_after.len());
    if !broken.withdrawn_after.is_empty() {
        let [median, max] = summary_ms(&broken.withdrawn_after);
        println!("| time until they were taken back on both hosts, median and maximum | {median:.0} and {max:.0} ms |");
    }
    println!("| calls of `lifecycle` | {} |", lifecycle.calls);
    println!("| answered by a broken canary | {} |", lifecycle.failed_on_canary);
    for (host, end) in swaps.end_mib.iter().enumerate() {
        if let Some(warm) = swaps.warm_mib {
            println!("| memory of host {host} after {WARM_SWAPS} swaps | {:.0} MiB |", warm[host]);
        }
        println!("| memory of host {host} after {} swaps | {end:.0} MiB |", swaps.count);
    }
}

/// Prints whether each bound holds. Returns whether all do.
pub fn verdicts(run: &Run) -> bool {
    let mut verdicts = Verdicts { all_hold: true };
    println!();
    let failed = run.sum(|experience| experience.failed) + run.lifecycle.failed;
    verdicts.check(failed == 0, &format!("failed calls, except those answered by a broken canary: {failed}"));
    let closed = run.sum(|experience| u64::from(experience.closed));
    verdicts.check(closed == 0, &format!("closed sockets: {closed}"));
    ledger(run, &mut verdicts);
    of_quiet(&run.quiet, &mut verdicts);
    if let Some((swaps, experience)) = &run.swaps {
        of_swaps(swaps, &mut verdicts);
        let (sends, queries) = run.ratios(experience);
        println!("       p99 during swaps: {sends:.2} times the calm one for messages, {queries:.2} for presence");
    }
    if let Some((_, experience)) = &run.compiling {
        let (sends, queries) = run.ratios(experience);
        let holds = sends.max(queries) <= COMPILING_RATIO_MAX;
        let ratios = format!("{sends:.2} times the calm one for messages, {queries:.2} for presence");
        let bound = format!("p99 while components are compiled: {ratios} (at most {COMPILING_RATIO_MAX})");
        verdicts.check(holds, &bound);
    }
    verdicts.all_hold
}

fn ledger(run: &Run, verdicts: &mut Verdicts) {
    let mut messages = run.calm.messages;
    for (_, experience) in run.phases().skip(1) {
        messages.add(&experience.messages);
    }
    verdicts.check(
        messages.is_intact(),
        &format!(
            "the ledger: {} messages accepted; {} lost, {} repeated in the history, {} not received, {} received again",
            messages.accepted, messages.lost, messages.repeated, messages.not_received, messages.received_again
        ),
    );
}

fn of_quiet(times: &DeploymentTimes, verdicts: &mut Verdicts) {
    for ((name, preparation), took) in times {
        let (label, bound_ms) = bound_of(*preparation);
        let [median, _] = summary_ms(took);
        let what = format!("deployments of {name}, {label}, while nobody chats: median {median:.0} ms");
        verdicts.check(median <= bound_ms, &format!("{what} (at most {bound_ms:.0})"));
    }
}

fn of_swaps(swaps: &Swaps, verdicts: &mut Verdicts) {
    let not_withdrawn = swaps.broken.not_withdrawn;
    verdicts.check(not_withdrawn == 0, &format!("broken canaries that no host took back: {not_withdrawn}"));
    let not_followed = swaps.not_followed;
    verdicts.check(not_followed == 0, &format!("deployments that not every host served in time: {not_followed}"));
    for (host, end) in swaps.end_mib.iter().enumerate() {
        let what = format!("memory of host {host} after {} swaps", swaps.count);
        match swaps.warm_mib.filter(|_| swaps.count > WARM_SWAPS) {
            Some(warm) => {
                let ratio = end / warm[host];
                let text = format!("{what}: {ratio:.2} times that after {WARM_SWAPS} (at most {MEMORY_RATIO_MAX})");
                verdicts.check(ratio <= MEMORY_RATIO_MAX, &text);
            }
            None => println!("       {what}: not compared; that takes more than {WARM_SWAPS} swaps"),
        }
    }
}

struct Verdicts {
    all_hold: bool,
}

impl Verdicts {
    fn check(&mut self, holds: bool, what: &str) {
        println!("{} {what}", if holds { "ok    " } else { "FAILED" });
        self.all_hold &= holds;
    }
}

fn quantile_ms(latencies_us: &Histogram<u64>, quantile: f64) -> f64 {
    latencies_us.value_at_quantile(quantile) as f64 / 1e3
}

/// The median and the maximum, by nearest rank; zero without values.
fn summary_ms(took: &[Duration]) -> [f64; 2] {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    [0.5, 1.0].map(|quantile| {
        let rank = (quantile * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).map_or(0.0, |duration| duration.as_secs_f64() * 1e3)
    })
}
