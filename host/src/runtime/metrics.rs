//! Counts about functions: calls by outcome, their latency, and what functions count themselves.
//!
//! Every counter is looked up once for a revision or a series; a call only adds to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use tracing::Span;

use super::call::{CallError, FailureKind, Reply};
use super::call_log::CallFigures;
use super::quota;
use super::series::SeriesOfRevision;
use crate::ops::latency::{self, Latency};
use crate::ops::metrics::{
    CALL_RECORDS_OPERATIONS, CALL_SECONDS, CALL_STORE_ROUND_TRIPS, CALLS, COUNTS_DROPPED, LOG_LINES_DROPPED,
    QUOTA_REFUSALS, function_counter,
};
use crate::ops::trace;

/// Series that one function may have; counts for further ones are dropped, and the drops are counted.
const SERIES_MAX: usize = 256;
const LABELS_MAX: usize = 4;
const NAME_BYTES_MAX: usize = 48;
const LABEL_BYTES_MAX: usize = 64;
/// Names that the host counts itself under `roost_function_<name>_total`.
const HOST_NAMES: [&str; 6] =
    ["calls", "store_round_trips", "records_operations", "log_lines_dropped", "counts_dropped", "quota_refusals"];

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    /// The function refused the request.
    Refused,
    /// The function reported an error of its own, or that something it needs is unavailable.
    Failed,
    Busy,
    Trapped,
    Timeout,
    ReplyTooLarge,
    /// The caller went away.
    Cancelled,
}

impl Outcome {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Ok, "ok"),
        (Self::Refused, "refused"),
        (Self::Failed, "failed"),
        (Self::Busy, "busy"),
        (Self::Trapped, "trapped"),
        (Self::Timeout, "timeout"),
        (Self::ReplyTooLarge, "reply_too_large"),
        (Self::Cancelled, "cancelled"),
    ];

    /// Whether the function or the host is at fault.
    const fn is_fault(self) -> bool {
        matches!(self, Self::Busy | Self::Trapped | Self::Timeout | Self::ReplyTooLarge)
    }

    const fn of(result: &Result<Reply, CallError>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(CallError::Failed(failure)) => match failure.kind {
                FailureKind::Unavailable | FailureKind::Internal => Self::Failed,
                _ => Self::Refused,
            },
            Err(CallError::Busy { .. }) => Self::Busy,
            Err(CallError::Trapped) => Self::Trapped,
            Err(CallError::DeadlineExceeded) => Self::Timeout,
            Err(CallError::ReplyTooLarge) => Self::ReplyTooLarge,
        }
    }
}

/// Removes the series of a revision that has ended.
pub(super) fn remove_series(function: &str, revision: &str) {
    Outcome::ALL.iter().for_each(|(_, outcome)| CALLS.remove([function, revision, outcome]));
    quota::keys().for_each(|key| QUOTA_REFUSALS.remove([function, revision, key]));
    CALL_SECONDS.remove([function, revision]);
    CALL_STORE_ROUND_TRIPS.remove([function, revision]);
    CALL_RECORDS_OPERATIONS.remove([function, revision]);
}

/// How the calls of one revision on this host have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallCounts {
    /// Calls that have ended, without those that were refused because too many were in flight or that the caller gave
    /// up.
    pub(crate) calls: u64,
    /// Calls that the function refused: the caller was told why.
    pub(crate) refused: u64,
    /// Calls that failed because of the function or of what it needs: it said so itself, or its reply was too large.
    pub(crate) errors: u64,
    /// Calls in which the function trapped.
    pub(crate) traps: u64,
    /// Calls that did not end within the deadline.
    pub(crate) timeouts: u64,
}

/// Counts the calls of one revision.
pub(super) struct CallMetrics {
    /// One counter for each [`Outcome`], in its order.
    outcomes: Vec<IntCounter>,
    latency: Latency,
    store_round_trips: IntCounter,
    records_operations: IntCounter,
    calls: AtomicU64,
    in_flight: AtomicUsize,
    ended: EndedCalls,
    _series: SeriesOfRevision,
}

/// What [`CallCounts`] are read from.
#[derive(Default)]
struct EndedCalls {
    calls: AtomicU64,
    refused: AtomicU64,
    errors: AtomicU64,
    traps: AtomicU64,
    timeouts: AtomicU64,
}

impl EndedCalls {
    fn count(&self, result: &Result<Reply, CallError>) {
        let of_kind = match result {
            Err(CallError::Busy { .. }) => return,
            Ok(_) => None,
            Err(CallError::Failed(failure)) => match failure.kind {
                FailureKind::Unavailable | FailureKind::Internal => Some(&self.errors),
                _ => Some(&self.refused),
            },
            Err(CallError::ReplyTooLarge) => Some(&self.errors),
            Err(CallError::Trapped) => Some(&self.traps),
            Err(CallError::DeadlineExceeded) => Some(&self.timeouts),
        };
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(counter) = of_kind {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl CallMetrics {
    pub(super) fn new(function: &str, revision: &str) -> Self {
        let series = SeriesOfRevision::new(function, revision);
        let outcomes = Outcome::ALL.iter().map(|(_, outcome)| CALLS.of([function, revision, outcome])).collect();
        Self {
            outcomes,
            latency: latency::of_calls(function, revision),
            store_round_trips: CALL_STORE_ROUND_TRIPS.of([function, revision]),
            records_operations: CALL_RECORDS_OPERATIONS.of([function, revision]),
            calls: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            ended: EndedCalls::default(),
            _series: series,
        }
    }

    /// How the calls have ended so far.
    pub(super) fn counts(&self) -> CallCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CallCounts {
            refused: read(&self.ended.refused),
            errors: read(&self.ended.errors),
            traps: read(&self.ended.traps),
            timeouts: read(&self.ended.timeouts),
            // Read last, so that no share is above one.
            calls: read(&self.ended.calls),
        }
    }

    /// How many calls have begun.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// How many calls have not ended, including those that wait for admission.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a call that begins now; its outcome is added to this span.
    pub(super) fn begin(&self, span: Span) -> InFlight<'_> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { metrics: self, outcome: Outcome::Cancelled, span }
    }
}

/// A call in flight. If it is dropped before [`InFlight::end`], it counts as cancelled.
pub(super) struct InFlight<'a> {
    metrics: &'a CallMetrics,
    outcome: Outcome,
    span: Span,
}

impl InFlight<'_> {
    /// Counts the end of the call.
    pub(super) fn end(mut self, result: &Result<Reply, CallError>, took: Duration, figures: &CallFigures) {
        self.outcome = Outcome::of(result);
        self.metrics.ended.count(result);
        self.metrics.latency.record(took);
        if figures.store_round_trips > 0 {
            self.metrics.store_round_trips.inc_by(figures.store_round_trips.into());
        }
        if figures.records_operations > 0 {
            self.metrics.records_operations.inc_by(figures.records_operations);
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(counter) = self.metrics.outcomes.get(self.outcome as usize) {
            counter.inc();
        }
        if let Some((outcome, name)) = Outcome::ALL.get(self.outcome as usize) {
            trace::end_call(&self.span, name, outcome.is_fault());
        }
    }
}

type Labels = Vec<(String, String)>;

/// The counters that a function keeps itself, through `telemetry.count`.
pub(super) struct FunctionCounters {
    function: String,
    revision: String,
    series: Mutex<HashMap<(String, Labels), IntCounter>>,
    dropped_counts: IntCounter,
    dropped_lines: IntCounter,
}

impl FunctionCounters {
    pub(super) fn new(function: &str, revision: &str) -> Self {
        Self {
            function: function.to_owned(),
            revision: revision.to_owned(),
            series: Mutex::default(),
            dropped_counts: COUNTS_DROPPED.of([function]),
            dropped_lines: LOG_LINES_DROPPED.of([function]),
        }
    }

    /// Adds to a series. A count that breaks the rules for names, or needs one series too many, is dropped.
    pub(super) fn count(&self, name: String, labels: Labels, amount: u64) {
        if !is_allowed(&name, &labels) {
            return self.dropped_counts.inc();
        }
        let key = (name, labels);
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = series.get(&key) {
            return counter.inc_by(amount);
        }
        if series.len() >= SERIES_MAX {
            return self.dropped_counts.inc();
        }
        let counter = function_counter(&self.function, &key.0, &key.1);
        counter.inc_by(amount);
        series.insert(key, counter);
    }

    /// Counts that the function was refused something because of the bound with this key.
    pub(super) fn count_refusal(&self, key: &'static str) {
        QUOTA_REFUSALS.of([&self.function, &self.revision, key]).inc();
    }

    /// Counts a log line that was dropped.
    pub(super) fn count_dropped_line(&self) {
        self.dropped_lines.inc();
    }
}

fn is_allowed(name: &str, labels: &[(String, String)]) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    is_name(name)
        && !HOST_NAMES.contains(&name)
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
    fn outcomes_are_listed_in_the_order_of_their_numbers() {
        for (index, (outcome, _)) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
    }

    #[test]
    fn names_and_labels_that_break_the_rules_are_refused() {
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
        let counters = FunctionCounters::new("probe", "abc");
        for value in 0..SERIES_MAX + 10 {
            counters.count("hits".into(), label("value", &value.to_string()), 1);
        }
        assert_eq!(counters.series.lock().unwrap().len(), SERIES_MAX);
    }

    #[test]
    fn a_cancelled_call_is_no_longer_in_flight() {
        let metrics = CallMetrics::new("probe", "abc");
        drop(metrics.begin(Span::none()));
        assert_eq!((metrics.calls(), metrics.in_flight()), (1, 0));
    }
}
