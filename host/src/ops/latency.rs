//! Histograms of durations, in seconds: how long calls, requests and operations of store and records take.
//!
//! They count at once into their buckets. The recorder of the other metrics would keep every sample until its next upkeep,
//! which at full load is megabytes a second.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, Registry, TextEncoder};

/// Seconds: from a call of a reused instance to a deadline.
const BUCKETS: [f64; 18] = [
    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The durations of one series.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram);

impl Latency {
    /// One more.
    pub(crate) fn record(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

/// Of calls of one revision of a function.
pub(crate) fn of_calls(function: &str, revision: &str) -> Latency {
    HISTOGRAMS.calls.of([function, revision])
}

/// Of requests for one route, as a manifest spells it.
pub(crate) fn of_requests(route: &str) -> Latency {
    HISTOGRAMS.requests.of([route])
}

/// Of an operation of the store.
pub(crate) fn of_store(operation: &str) -> Latency {
    HISTOGRAMS.store.of([operation])
}

/// Of an operation of the records.
pub(crate) fn of_records(operation: &str) -> Latency {
    HISTOGRAMS.records.of([operation])
}

/// All of them in Prometheus's text format.
pub(crate) fn render() -> String {
    let mut text = String::new();
    // Writing to a string does not fail; series of a family that has none are left out.
    let _ = TextEncoder::new().encode_utf8(&HISTOGRAMS.registry.gather(), &mut text);
    text
}

struct Histograms {
    registry: Registry,
    calls: Family<2>,
    requests: Family<1>,
    store: Family<1>,
    records: Family<1>,
}

static HISTOGRAMS: LazyLock<Histograms> = LazyLock::new(|| {
    let registry = Registry::new();
    let calls = Family::new(
        &registry,
        ("roost_function_call_seconds", "Time of a call by function and revision, waiting included."),
        ["function", "revision"],
    );
    let requests = Family::new(
        &registry,
        ("roost_http_request_seconds", "Time from a request's head to its answer's head, by route."),
        ["route"],
    );
    let store = Family::new(
        &registry,
        ("roost_store_seconds", "Time of an operation of the store, by operation."),
        ["operation"],
    );
    let records = Family::new(
        &registry,
        ("roost_records_seconds", "Time of an operation of the records, by operation."),
        ["operation"],
    );
    Histograms { registry, calls, requests, store, records }
});

/// Series that differ in so many labels.
struct Family<const LABELS: usize>(HistogramVec);

impl<const LABELS: usize> Family<LABELS> {
    #[allow(
        clippy::expect_used,
        reason = "names, labels and buckets are constants of this file, and a test makes them all"
    )]
    fn new(registry: &Registry, (name, help): (&str, &str), labels: [&str; LABELS]) -> Self {
        let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
        let family = HistogramVec::new(options, &labels).expect("valid names, ascending buckets");
        registry.register(Box::new(family.clone())).expect("a name of its own");
        Self(family)
    }

    fn of(&self, values: [&str; LABELS]) -> Latency {
        Latency(self.0.with_label_values(&values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_by_bucket_with_their_sum() {
        let latency = of_requests("/v1/of \"this\" test");
        latency.record(Duration::from_micros(7));
        latency.record(Duration::from_secs(9));
        let text = render();
        let labels = r#"route="/v1/of \"this\" test""#;
        for line in [
            format!(r#"roost_http_request_seconds_bucket{{{labels},le="0.000005"}} 0"#),
            format!(r#"roost_http_request_seconds_bucket{{{labels},le="0.00001"}} 1"#),
            format!(r#"roost_http_request_seconds_bucket{{{labels},le="5"}} 1"#),
            format!(r#"roost_http_request_seconds_bucket{{{labels},le="+Inf"}} 2"#),
            format!("roost_http_request_seconds_sum{{{labels}}} 9.000007"),
            format!("roost_http_request_seconds_count{{{labels}}} 2"),
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
        }
        assert!(text.contains("# TYPE roost_http_request_seconds histogram\n"), "{text}");
    }

    #[test]
    fn every_family_has_its_series() {
        let all = [of_calls("latency-test", "1"), of_store("latency-test"), of_records("latency-test")];
        all.iter().for_each(|latency| latency.record(Duration::ZERO));
        let text = render();
        for name in ["roost_function_call_seconds", "roost_store_seconds", "roost_records_seconds"] {
            assert!(text.contains(&format!("# HELP {name} ")), "{text}");
        }
        assert!(
            text.contains(r#"roost_function_call_seconds_count{function="latency-test",revision="1"} 1"#),
            "{text}"
        );
    }
}
