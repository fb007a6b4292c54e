//! Turns the output of cargo into progress for people: how many crates are compiled and how long it has taken, instead
//! of a line for each crate. Warnings and errors of the compiler are passed on as they are.

use std::time::{Duration, Instant};

/// The pause between two reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Makes cargo report its counts even though its output is not a terminal.
pub(super) const CARGO_VARIABLES: [(&str, &str); 2] =
    [("CARGO_TERM_PROGRESS_WHEN", "always"), ("CARGO_TERM_PROGRESS_WIDTH", "100")];

/// The progress of one run of cargo.
pub(super) struct BuildProgress {
    started: Instant,
    reported: Option<Instant>,
}

/// What a piece of cargo's output means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CargoOutput {
    /// To be shown, and a part of the message if the build fails.
    Message(String),
    /// To be shown; says how far the build is.
    Report(String),
    /// Not to be shown.
    Nothing,
}

impl BuildProgress {
    pub(super) const fn new(started: Instant) -> Self {
        Self { started, reported: None }
    }

    /// Reads a line, or a progress bar, which ends with a carriage return instead.
    pub(super) fn read(&mut self, line: &str, now: Instant) -> CargoOutput {
        let line = line.replace("\u{1b}[K", "");
        let line = line.trim_end();
        if let Some((compiled, all)) = counts(line) {
            return self.report(compiled, all, now);
        }
        let first_word = line.split_whitespace().next().unwrap_or_default();
        match first_word {
            "" | "Compiling" | "Blocking" | "Downloaded" => CargoOutput::Nothing,
            _ => CargoOutput::Message(line.to_owned()),
        }
    }

    fn report(&mut self, compiled: u32, all: u32, now: Instant) -> CargoOutput {
        if self.reported.is_some_and(|reported| now.duration_since(reported) < REPORT_INTERVAL) {
            return CargoOutput::Nothing;
        }
        self.reported = Some(now);
        let seconds = now.duration_since(self.started).as_secs();
        CargoOutput::Report(format!("  {compiled} of {all} crates are compiled after {seconds} s"))
    }
}

/// The counts in `Building [===>    ] 12/50: serde, uuid`.
fn counts(line: &str) -> Option<(u32, u32)> {
    let (_, counts) = line.trim_start().strip_prefix("Building [")?.split_once("] ")?;
    let (compiled, all) = counts.split([':', ' ']).next()?.split_once('/')?;
    Some((compiled.parse().ok()?, all.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_bars_become_reports_at_intervals() {
        let started = Instant::now();
        let mut progress = BuildProgress::new(started);
        let mut read = |line: &str, seconds| progress.read(line, started + Duration::from_secs(seconds));
        let report = |text: &str| CargoOutput::Report(text.to_owned());
        assert_eq!(
            read("    Building [=>    ] 3/50: serde, uuid", 1),
            report("  3 of 50 crates are compiled after 1 s")
        );
        assert_eq!(read("    Building [==>   ] 4/50: serde...", 5), CargoOutput::Nothing);
        assert_eq!(read("\u{1b}[K    Building [===>  ] 20/50", 6), report("  20 of 50 crates are compiled after 6 s"));
    }

    #[test]
    fn messages_of_the_compiler_are_kept_and_the_names_of_crates_are_not() {
        let mut progress = BuildProgress::new(Instant::now());
        let mut read = |line: &str| progress.read(line, Instant::now());
        assert_eq!(read("   Compiling serde v1.0.0"), CargoOutput::Nothing);
        assert_eq!(
            read("error[E0308]: mismatched types"),
            CargoOutput::Message("error[E0308]: mismatched types".into())
        );
        let finished = "    Finished `function` profile [optimized] target(s) in 1s";
        assert_eq!(read(finished), CargoOutput::Message(finished.into()));
    }
}
