//! How a metric is made: a name, a help text and label names become a family in the registry of the process.
//!
//! Which metrics exist is declared in the parent module.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Holds every metric of the process that was used at least once.
pub(super) static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

/// Upper bounds of the histograms' buckets, in seconds: from a call of a reused instance to a deadline.
const BUCKETS: [f64; 18] = [
    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Counters that share a name and differ in the values of their labels.
pub(crate) struct Counters<const LABELS: usize>(IntCounterVec);

impl<const LABELS: usize> Counters<LABELS> {
    /// Removes the counter with these label values.
    pub(crate) fn remove(&self, values: [&str; LABELS]) {
        // There may be none.
        let _ = self.0.remove_label_values(&values);
    }

    /// The counter with these label values, in the order in which the labels were declared.
    pub(crate) fn of(&self, values: [&str; LABELS]) -> IntCounter {
        self.0.with_label_values(&values)
    }
}

/// Gauges that share a name and differ in the values of their labels.
pub(crate) struct Gauges<const LABELS: usize>(IntGaugeVec);

impl<const LABELS: usize> Gauges<LABELS> {
    /// Removes the gauge with these label values.
    pub(crate) fn remove(&self, values: [&str; LABELS]) {
        // There may be none.
        let _ = self.0.remove_label_values(&values);
    }

    /// The gauge with these label values, in the order in which the labels were declared.
    pub(crate) fn of(&self, values: [&str; LABELS]) -> IntGauge {
        self.0.with_label_values(&values)
    }
}

/// Histograms of durations that share a name and differ in the values of their labels.
pub(crate) struct Histograms<const LABELS: usize>(HistogramVec);

impl<const LABELS: usize> Histograms<LABELS> {
    /// Removes the histogram with these label values.
    pub(crate) fn remove(&self, values: [&str; LABELS]) {
        // There may be none.
        let _ = self.0.remove_label_values(&values);
    }

    /// The histogram with these label values, in the order in which the labels were declared.
    pub(crate) fn of(&self, values: [&str; LABELS]) -> Histogram {
        self.0.with_label_values(&values)
    }
}

pub(super) fn counter(name: &str, help: &str) -> IntCounter {
    registered(IntCounter::new(name, help))
}

pub(super) fn counters<const LABELS: usize>(name: &str, help: &str, labels: [&str; LABELS]) -> Counters<LABELS> {
    Counters(registered(IntCounterVec::new(Opts::new(name, help), &labels)))
}

pub(super) fn gauge(name: &str, help: &str) -> IntGauge {
    registered(IntGauge::new(name, help))
}

pub(super) fn gauges<const LABELS: usize>(name: &str, help: &str, labels: [&str; LABELS]) -> Gauges<LABELS> {
    Gauges(registered(IntGaugeVec::new(Opts::new(name, help), &labels)))
}

pub(super) fn histograms<const LABELS: usize>(name: &str, help: &str, labels: [&str; LABELS]) -> Histograms<LABELS> {
    let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
    Histograms(registered(HistogramVec::new(options, &labels)))
}

#[allow(
    clippy::expect_used,
    reason = "names, labels and buckets are constants of the parent module, and a test makes every one of them"
)]
fn registered<C: Collector + Clone + 'static>(made: prometheus::Result<C>) -> C {
    let collector = made.expect("the name, the labels and the buckets are valid");
    REGISTRY.register(Box::new(collector.clone())).expect("each metric has a name of its own");
    collector
}
