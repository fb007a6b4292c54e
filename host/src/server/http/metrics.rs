//! The metrics of requests. A series is looked up in the recorder once; later requests only add to it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus::IntCounter;

use crate::ops::latency::{self, Latency};
use crate::ops::metrics::HTTP_REQUESTS;

/// How many series are cached. Beyond this the cache starts anew, so that routes of removed functions do not pile up.
const SERIES_MAX: usize = 4_096;

/// The labels of a series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RequestLabels {
    /// The path as the manifest writes it, never as a client does.
    pub(super) route: Arc<str>,
    /// One of a fixed set of names.
    pub(super) method: &'static str,
    /// The HTTP status.
    pub(super) status: u16,
}

struct RequestSeries {
    requests: IntCounter,
    latency: Latency,
}

/// The request metrics of the public listener.
#[derive(Default)]
pub(super) struct RequestMetrics(RwLock<HashMap<RequestLabels, RequestSeries>>);

impl RequestMetrics {
    /// Counts a request that was answered after this time.
    pub(super) fn count(&self, labels: RequestLabels, took: Duration) {
        if let Some(series) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&labels) {
            return series.count(took);
        }
        let series = RequestSeries::of(&labels);
        series.count(took);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SERIES_MAX {
            known.clear();
        }
        known.insert(labels, series);
    }
}

impl RequestSeries {
    fn of(RequestLabels { route, method, status }: &RequestLabels) -> Self {
        let status = status.to_string();
        Self { requests: HTTP_REQUESTS.of([route, method, &status]), latency: latency::of_requests(route) }
    }

    fn count(&self, took: Duration) {
        self.requests.inc();
        self.latency.record(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_series_are_bounded() {
        let requests = RequestMetrics::default();
        for number in 0..SERIES_MAX + 10 {
            let labels = RequestLabels { route: number.to_string().into(), method: "GET", status: 200 };
            requests.count(labels.clone(), Duration::ZERO);
            requests.count(labels, Duration::ZERO);
        }
        assert_eq!(requests.0.read().unwrap().len(), 10);
    }
}
