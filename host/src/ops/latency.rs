//! How long calls, requests and operations of the store and of the records take: one histogram for each series, in
//! seconds.

use std::time::Duration;

use prometheus::Histogram;

use crate::ops::metrics::{CALL_SECONDS, HTTP_REQUEST_SECONDS, RECORDS_SECONDS, STORE_SECONDS};

/// The histogram of one series. Whoever records often keeps it, because finding it costs a look-up.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram);

impl Latency {
    /// Adds one duration.
    pub(crate) fn record(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

/// The latency of calls to one revision of a function.
pub(crate) fn of_calls(function: &str, revision: &str) -> Latency {
    Latency(CALL_SECONDS.of([function, revision]))
}

/// The latency of requests for one route, as a manifest declares it.
pub(crate) fn of_requests(route: &str) -> Latency {
    Latency(HTTP_REQUEST_SECONDS.of([route]))
}

/// The latency of one operation of the store.
pub(crate) fn of_store(operation: &str) -> Latency {
    Latency(STORE_SECONDS.of([operation]))
}

/// The latency of one operation of the records.
pub(crate) fn of_records(operation: &str) -> Latency {
    Latency(RECORDS_SECONDS.of([operation]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::metrics::render;

    #[test]
    fn durations_are_shown_by_bucket_with_their_sum() {
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
            assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
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
