//! What is counted about functions: calls by outcome and their latency, and what functions count themselves.
//!
//! Handles are looked up once per revision (or series); a call only adds to them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Label, counter};

use super::call::{CallError, Reply};
use crate::ops::latency::{self, Latency};

/// Series of one function; further ones are dropped and counted.
const SERIES_MAX: usize = 256;
const LABELS_MAX: usize = 4;
const NAME_BYTES_MAX: usize = 48;
const LABEL_BYTES_MAX: usize = 64;
/// Names that the host counts itself under `roost_function_<name>_total`.
const NAMES_OF_THE_HOST: [&str; 3] = ["calls", "log_lines_dropped", "counts_dropped"];

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    Failed,
    Busy,
    Trapped,
    Timeout,
    ReplyTooLarge,
    /// The caller went away.
    Cancelled,
}

impl Outcome {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Ok, "ok"),
        (Self::Failed, "failed"),
        (Self::Busy, "busy"),
        (Self::Trapped, "trapped"),
        (Self::Timeout, "timeout"),
        (Self::ReplyTooLarge, "reply_too_large"),
        (Self::Cancelled, "cancelled"),
    ];

    const fn of(result: &Result<Reply, CallError>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(CallError::Failed(_)) => Self::Failed,
            Err(CallError::Busy { .. }) => Self::Busy,
            Err(CallError::Trapped) => Self::Trapped,
            Err(CallError::DeadlineExceeded) => Self::Timeout,
            Err(CallError::ReplyTooLarge) => Self::ReplyTooLarge,
        }
    }
}

/// Counters of one revision.
pub(super) struct CallMetrics {
    outcomes: Vec<Counter>,
    latency: Latency,
    calls: AtomicU64,
    in_flight: AtomicUsize,
}

impl CallMetrics {
    pub(super) fn new(function: &str, revision: &str) -> Self {
        let labels = [Label::new("function", function.to_owned()), Label::new("revision", revision.to_owned())];
        let outcomes = Outcome::ALL
            .iter()
            .map(|(_, outcome)| {
                let mut labels = labels.to_vec();
                labels.push(Label::from_static_parts("outcome", outcome));
                counter!("roost_function_calls_total", labels)
            })
            .collect();
        Self {
            outcomes,
            latency: latency::of_calls(function, revision),
            calls: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// Calls that have begun.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Calls that have not ended, waiting ones among them.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A call begins.
    pub(super) fn begin(&self) -> InFlight<'_> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { metrics: self, outcome: Outcome::Cancelled }
    }
}

/// A call under way; dropped without an end it counts as cancelled.
pub(super) struct InFlight<'a> {
    metrics: &'a CallMetrics,
    outcome: Outcome,
}

impl InFlight<'_> {
    pub(super) fn end(mut self, result: &Result<Reply, CallError>, took: Duration) {
        self.outcome = Outcome::of(result);
        self.metrics.latency.record(took);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(counter) = self.metrics.outcomes.get(self.outcome as usize) {
            counter.increment(1);
        }
    }
}

type Labels = Vec<(String, String)>;

/// What a function counts itself.
pub(super) struct OwnCounters {
    function: String,
    series: Mutex<HashMap<(String, Labels), Counter>>,
    dropped: Counter,
    dropped_lines: Counter,
}

impl OwnCounters {
    pub(super) fn new(function: &str) -> Self {
        let label = || vec![Label::new("function", function.to_owned())];
        Self {
            function: function.to_owned(),
            series: Mutex::default(),
            dropped: counter!("roost_function_counts_dropped_total", label()),
            dropped_lines: counter!("roost_function_log_lines_dropped_total", label()),
        }
    }

    /// Adds to a series; one that breaks the rules, or is one too many, is dropped.
    pub(super) fn count(&self, name: String, labels: Labels, amount: u64) {
        if !is_allowed(&name, &labels) {
            return self.dropped.increment(1);
        }
        let key = (name, labels);
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = series.get(&key) {
            return counter.increment(amount);
        }
        if series.len() >= SERIES_MAX {
            return self.dropped.increment(1);
        }
        let counter = self.register(&key);
        counter.increment(amount);
        series.insert(key, counter);
    }

    /// A log line was dropped.
    pub(super) fn line_dropped(&self) {
        self.dropped_lines.increment(1);
    }

    fn register(&self, (name, labels): &(String, Labels)) -> Counter {
        let mut all = vec![Label::new("function", self.function.clone())];
        all.extend(labels.iter().map(|(k, v)| Label::new(k.clone(), v.clone())));
        counter!(format!("roost_function_{name}_total"), all)
    }
}

fn is_allowed(name: &str, labels: &[(String, String)]) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    is_name(name)
        && !NAMES_OF_THE_HOST.contains(&name)
        && labels.len() <= LABELS_MAX
        && labels.iter().all(|(key, value)| is_name(key) && key != "function" && value.len() <= LABEL_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(key: &str, value: &str) -> Labels {
        vec![(key.to_owned(), value.to_owned())]
    }

    #[test]
    fn outcomes_stand_at_their_own_place() {
        for (index, (outcome, _)) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
    }

    #[test]
    fn names_and_labels_are_held_to_their_rules() {
        assert!(is_allowed("cache_hits", &label("cache", "last-message")));
        for (name, labels) in [
            ("", vec![]),
            ("calls", vec![]),
            ("Hits", vec![]),
            ("hits2", vec![]),
            ("hits", label("function", "x")),
            ("hits", label("cache", &"x".repeat(65))),
            ("hits", vec![("a".into(), "b".into()); 5]),
        ] {
            assert!(!is_allowed(name, &labels), "{name} {labels:?}");
        }
    }

    #[test]
    fn a_function_has_a_bounded_number_of_series() {
        let counters = OwnCounters::new("probe");
        for value in 0..SERIES_MAX + 10 {
            counters.count("hits".into(), label("value", &value.to_string()), 1);
        }
        assert_eq!(counters.series.lock().unwrap().len(), SERIES_MAX);
    }

    #[test]
    fn a_call_that_is_given_up_is_no_longer_in_flight() {
        let metrics = CallMetrics::new("probe", "abc");
        drop(metrics.begin());
        assert_eq!((metrics.calls(), metrics.in_flight()), (1, 0));
    }
}
