//! What `/metrics` shows: one table of every counter and gauge with its help text, and the recorder behind it. The histograms
//! are those of `latency`.
//!
//! The parts of the host count for themselves; only the names' meaning stands here.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::ops::latency;
use crate::store::Store;

/// The store's gauges are taken this often.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

enum Kind {
    Counter,
    Gauge,
}

/// Every metric: those that the host counts, and, as `roost_function_…`, those that the built-in functions count.
#[rustfmt::skip]
const METRICS: [(Kind, &str, &str); 33] = [
    (Kind::Counter, "roost_function_calls_total",
        "Calls by function, revision and outcome: ok, failed (the function said no), busy, trapped, timeout, reply_too_large, cancelled."),
    (Kind::Counter, "roost_function_log_lines_dropped_total",
        "Log lines of functions beyond their bound."),
    (Kind::Counter, "roost_function_counts_dropped_total",
        "Counts of functions that broke the rules for names, labels or series."),
    (Kind::Gauge, "roost_functions",
        "Live functions."),
    (Kind::Counter, "roost_ticks_total",
        "Ticks of schedules by function, schedule and outcome: ok or error."),
    (Kind::Counter, "roost_function_cache_total",
        "Questions to caches by function, cache and outcome: hit, miss, or away when the store did not answer."),
    (Kind::Counter, "roost_function_degraded_total",
        "Answers given by the records because the store was away, by function and what."),
    (Kind::Counter, "roost_function_fill_total",
        "Cold caches filled from the records, by function and cache."),
    (Kind::Counter, "roost_function_repair_total",
        "Stale state put right, by function and what."),
    (Kind::Counter, "roost_function_announcements_total",
        "Announcements of changes that did not go out at once, by outcome: delayed, recovered, failed, unconfirmed."),
    (Kind::Counter, "roost_function_presence_swept_total",
        "Users looked at because their deadline passed, by result."),
    (Kind::Counter, "roost_function_presence_announced_total",
        "Transitions of presence told to contacts, by state and kind."),
    (Kind::Gauge, "roost_connections",
        "Open connections by kind: socket or events."),
    (Kind::Counter, "roost_frames_in_total",
        "Frames from clients by type."),
    (Kind::Counter, "roost_frames_out_total",
        "Frames to clients by kind: socket or events."),
    (Kind::Counter, "roost_deliveries_total",
        "Events put into connections' outboxes."),
    (Kind::Counter, "roost_outbox_drops_total",
        "Connections closed because their outbox was full."),
    (Kind::Counter, "roost_sockets_closed_total",
        "Sockets that the host closed, by reason."),
    (Kind::Counter, "roost_resyncs_total",
        "Clients told to fetch the present state, by reason."),
    (Kind::Counter, "roost_holes_total",
        "Holes found in what a user's connections were told."),
    (Kind::Counter, "roost_hole_events_total",
        "Events with which holes were filled."),
    (Kind::Counter, "roost_http_requests_total",
        "HTTP requests by route, method and status."),
    (Kind::Gauge, "roost_store_keys",
        "Keys in the store."),
    (Kind::Gauge, "roost_store_feeds",
        "Users' feeds in the store."),
    (Kind::Gauge, "roost_store_bytes",
        "Memory of the store, roughly."),
    (Kind::Gauge, "roost_store_subscriptions",
        "Users whose events this host listens to."),
    (Kind::Gauge, "roost_store_evicted",
        "Keys and feeds whose time was over, since the start."),
    (Kind::Counter, "roost_redis_round_trips_total",
        "Round trips to Redis: pipelines, each to one server."),
    (Kind::Counter, "roost_redis_commands_total",
        "Commands in those round trips."),
    (Kind::Counter, "roost_redis_disconnects_total",
        "Connections to Redis that were lost."),
    (Kind::Counter, "roost_records_confirmations_dropped_total",
        "Confirmations of announcements that were given up; the announcement is repeated."),
    (Kind::Counter, "roost_drift_total",
        "Disagreements of store and records that a verification found, by what and whether it was repaired."),
    (Kind::Gauge, "roost_draining",
        "1 while the host is stopping."),
];

/// The process's recorder, installed by the first call.
pub fn install() -> PrometheusHandle {
    static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    // Held until the recorder is installed: of two first calls at once only one makes a recorder, and both get its handle.
    let mut kept = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*kept {
        return handle.clone();
    }
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = kept.insert(recorder.handle());
    if metrics::set_global_recorder(recorder).is_ok() {
        describe();
    }
    handle.clone()
}

/// Everything, in Prometheus's text format.
pub fn render(handle: &PrometheusHandle) -> String {
    handle.render() + &latency::render()
}

fn describe() {
    for (kind, name, help) in METRICS {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
        }
    }
}

/// Takes the store's figures, until it is dropped.
pub async fn watch(store: Store) {
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let stats = store.stats();
        gauge!("roost_store_keys").set(stats.keys as f64);
        gauge!("roost_store_feeds").set(stats.feeds as f64);
        gauge!("roost_store_bytes").set(stats.bytes as f64);
        gauge!("roost_store_subscriptions").set(stats.subscriptions as f64);
        gauge!("roost_store_evicted").set(stats.evicted as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_described_once_and_named_by_the_rules() {
        let names: std::collections::BTreeSet<&str> = METRICS.iter().map(|(_, name, _)| *name).collect();
        assert_eq!(names.len(), METRICS.len());
        for (kind, name, help) in &METRICS {
            let suffix = match kind {
                Kind::Counter => "_total",
                Kind::Gauge => "",
            };
            assert!(name.starts_with("roost_") && name.ends_with(suffix), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
        }
    }

    /// Every text between these two in the sources of `folder`.
    fn spelt(folder: &str, before: &str, after: char) -> std::collections::BTreeSet<String> {
        let mut names = std::collections::BTreeSet::new();
        let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(path).unwrap();
                    let found =
                        text.split(before).skip(1).filter_map(|rest| Some(rest.split_once(after)?.0.to_owned()));
                    names.extend(found.filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
                }
            }
        }
        names
    }

    #[test]
    fn whatever_is_counted_is_described() {
        let host = spelt("src", "!(\"roost_", '"').into_iter().map(|name| format!("roost_{name}"));
        let core =
            spelt("../core/src", "world.count(\"", '"').into_iter().map(|name| format!("roost_function_{name}_total"));
        let counted: Vec<String> = host.chain(core).collect();
        assert!(counted.len() > 15, "the sources are not where they are looked for: {counted:?}");
        for name in counted {
            assert!(METRICS.iter().any(|(_, described, _)| *described == name), "{name} has no help text");
        }
    }

    #[test]
    fn a_second_install_gives_the_same_recorder() {
        let first = install();
        // A name of its own: other tests of this process count the real ones.
        metrics::counter!("counted_by_this_test").increment(1);
        assert!(install().render().contains("counted_by_this_test 1"));
        assert!(first.render().contains("counted_by_this_test 1"));
    }
}
