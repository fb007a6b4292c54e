//! What a message to a group of 1,000 costs over a real Redis, natively, with one member, 50 members and all members
//! connected: commands, and the time until the send is answered. The variants alternate, and a ratio compares medians
//! of the same rounds.

use clap::Parser;
use roost_core::limits::MEMBERS_MAX;
use roost_tests::fan_out::FanOut;

/// The connected members of each variant; the last one is what the others are compared with.
const CONNECTED: [usize; 3] = [1, 50, MEMBERS_MAX];

#[derive(Parser)]
struct Options {
    /// The number of messages to each group.
    #[arg(long, default_value_t = 200)]
    messages: usize,
    /// Cargo passes this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let mut groups = Vec::new();
    for connected in CONNECTED {
        groups.push((connected, FanOut::new(connected).await, Vec::new()));
    }
    for _ in 0..options.messages {
        for (_, group, times) in &mut groups {
            times.push(group.send().await.as_secs_f64() * 1_000.0);
        }
    }
    let mut rows = Vec::new();
    for (connected, group, mut times) in groups {
        times.sort_by(f64::total_cmp);
        let percentile = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        rows.push((connected, group.commands_of_send().await, percentile(0.5), percentile(0.99)));
    }
    let Some(&(_, all_commands, all_p50, _)) = rows.last() else { return };
    println!("| connected of {MEMBERS_MAX} | commands in Redis | of all | p50, ms | of all | p99, ms |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for (connected, commands, p50, p99) in rows {
        let (of_commands, of_time) = (commands as f64 / all_commands as f64, p50 / all_p50);
        println!("| {connected} | {commands} | {of_commands:.3} | {p50:.2} | {of_time:.3} | {p99:.2} |");
    }
}
