//! What is counted about requests. A series is looked up in the recorder once; later requests only add to it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, counter};

use crate::ops::latency::{self, Latency};

/// Series kept at hand. Beyond this they are gathered anew: routes of functions that are gone must not pile up.
const SERIES_MAX: usize = 4_096;

/// A series of requests: its labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Labels {
    /// As a manifest spells it, never as a client does.
    pub(super) route: Arc<str>,
    /// One of a fixed set.
    pub(super) method: &'static str,
    /// The HTTP status.
    pub(super) status: u16,
}

struct Series {
    requests: Counter,
    latency: Latency,
}

/// The counts of the public listener.
#[derive(Default)]
pub(super) struct Requests(RwLock<HashMap<Labels, Series>>);

impl Requests {
    /// One more request, answered after so long.
    pub(super) fn count(&self, labels: Labels, took: Duration) {
        if let Some(series) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&labels) {
            return series.count(took);
        }
        let series = Series::of(&labels);
        series.count(took);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SERIES_MAX {
            known.clear();
        }
        known.insert(labels, series);
    }
}

impl Series {
    fn of(Labels { route, method, status }: &Labels) -> Self {
        let status = status.to_string();
        Self {
            requests: counter!(
                "roost_http_requests_total", "route" => route.clone(), "method" => *method, "status" => status
            ),
            latency: latency::of_requests(route),
        }
    }

    fn count(&self, took: Duration) {
        self.requests.increment(1);
        self.latency.record(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_at_hand_are_bounded() {
        let requests = Requests::default();
        for number in 0..SERIES_MAX + 10 {
            let labels = Labels { route: number.to_string().into(), method: "GET", status: 200 };
            requests.count(labels.clone(), Duration::ZERO);
            requests.count(labels, Duration::ZERO);
        }
        assert_eq!(requests.0.read().unwrap().len(), 10);
    }
}
