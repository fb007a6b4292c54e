//! What `/metrics` shows: every metric of the host is declared here, once, with its name, its help text and its labels.
//!
//! The parts of the host count for themselves, through these declarations. What functions count is in
//! `function_counts`. The library `prometheus` does all of it: its counters and histograms are a few atomic additions.
//! The facade `metrics` with its exporter is not used: it keeps every sample of a histogram, with its time, until the
//! next upkeep, which is megabytes a second at full load.

mod family;
mod function_counts;
mod gauge_guard;

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge, TextEncoder};

pub(crate) use self::family::{Counters, Gauges, Histograms};
use self::family::{REGISTRY, counter, counters, gauge, gauges, histograms};
pub(crate) use self::function_counts::function_counter;
pub(crate) use self::gauge_guard::GaugeGuard;
use crate::store::Store;

/// The store's gauges are read this often.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// Declares metrics as statics. A metric is shown from its first use on.
macro_rules! declare {
    ($($metric:ident: $kind:ty = $make:ident($name:literal, $help:literal $(, $labels:expr)?);)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $help)]
            pub(crate) static $metric: LazyLock<$kind> = LazyLock::new(|| $make($name, $help $(, $labels)?));
        )*

        /// Name, kind and help text of every declared metric; makes all of them.
        #[cfg(test)]
        fn declared() -> Vec<(&'static str, &'static str, &'static str)> {
            vec![$({
                LazyLock::force(&$metric);
                ($name, stringify!($make).trim_end_matches('s'), $help)
            }),*]
        }
    };
}

declare! {
    CALLS: Counters<3> = counters("roost_function_calls_total",
        "Calls by function, revision and outcome: ok, refused, failed (an error of the function, or something it needs is away), busy, trapped, timeout, reply_too_large, cancelled.",
        ["function", "revision", "outcome"]);
    CALL_SECONDS: Histograms<2> = histograms("roost_function_call_seconds",
        "Time of a call by function and revision, waiting included.", ["function", "revision"]);
    CALL_STORE_ROUND_TRIPS: Counters<2> = counters("roost_function_store_round_trips_total",
        "Reads, commits and publications in the store by calls, by function and revision.", ["function", "revision"]);
    CALL_RECORDS_OPERATIONS: Counters<2> = counters("roost_function_records_operations_total",
        "Operations of the records in calls, by function and revision.", ["function", "revision"]);
    LOG_LINES_DROPPED: Counters<1> = counters("roost_function_log_lines_dropped_total",
        "Log lines of functions beyond their bound.", ["function"]);
    COUNTS_DROPPED: Counters<1> = counters("roost_function_counts_dropped_total",
        "Counts of functions that broke the rules for names, labels or series.", ["function"]);
    QUOTA_REFUSALS: Counters<3> = counters("roost_function_quota_refusals_total",
        "What functions were refused because a quota was used up, by function, revision and the key of the quota.",
        ["function", "revision", "quota"]);
    FUNCTIONS: IntGauge = gauge("roost_functions",
        "Live functions.");
    CANARIES_WITHDRAWN: Counters<1> = counters("roost_canaries_withdrawn_total",
        "Canaries that this host took back because their calls failed, by function.", ["function"]);
    DEPLOYMENTS_VERSION: IntGauge = gauge("roost_deployments_version",
        "The version of the deployments that this host follows; equal on all hosts of a cluster.");
    TICKS: Counters<3> = counters("roost_ticks_total",
        "Slots of schedules by function, schedule and outcome: ok, error, elsewhere (another host ticked), unclaimed (the store did not answer), late (claiming took too long).",
        ["function", "schedule", "outcome"]);
    TRIGGERS: Counters<2> = counters("roost_triggers_total",
        "Calls for publications by function and outcome: ok, failed (made again), busy (made again), refused, dropped (too many attempts, or unreadable), queue_full, loop.",
        ["function", "outcome"]);
    TRIGGER_QUEUE: Gauges<1> = gauges("roost_trigger_queue",
        "Queued calls for publications by function, in the whole cluster.", ["function"]);
    OUTBOX: Counters<1> = counters("roost_outbox_total",
        "Transactions whose addressed events were not delivered at once, by outcome: delivered (later), voided (not carried out), postponed, dropped; and users whose feed takes no event: user_skipped.",
        ["outcome"]);
    HEARTBEATS_SKIPPED: IntCounter = counter("roost_heartbeats_skipped_total",
        "Connections whose heartbeat is left until the next round, because a function traps or refuses it.");
    IDLE_USERS: Counters<1> = counters("roost_idle_users_total",
        "Users whose activity was noted long ago, by outcome: removed from the store, kept because they are active, failed.",
        ["outcome"]);
    TASK_RESTARTS: Counters<1> = counters("roost_task_restarts_total",
        "Background tasks that ended unexpectedly and were started again, by task.", ["task"]);
    CONNECTIONS: Gauges<1> = gauges("roost_connections",
        "Open connections by kind: socket or events.", ["kind"]);
    UNAUTHENTICATED_SOCKETS: IntGauge = gauge("roost_unauthenticated_sockets",
        "Sockets that were opened without a token and wait for it.");
    TOKEN_KEY_READS: Counters<2> = counters("roost_token_key_reads_total",
        "Readings of keys that verify tokens, by source (file or url) and outcome: changed, unchanged (of the URL), failed (the keys before remain in use).",
        ["source", "outcome"]);
    TOKEN_KEYS_FAILING: Gauges<1> = gauges("roost_token_keys_failing",
        "Sources of keys that verify tokens whose last reading failed, by kind: file or url.", ["source"]);
    FRAMES_IN: Counters<1> = counters("roost_frames_in_total",
        "Frames from clients by type.", ["type"]);
    FRAMES_OUT: Counters<1> = counters("roost_frames_out_total",
        "Frames to clients by kind: socket or events.", ["kind"]);
    DELIVERIES: IntCounter = counter("roost_deliveries_total",
        "Events put into connections' outboxes.");
    OUTBOX_DROPS: IntCounter = counter("roost_outbox_drops_total",
        "Connections closed because their outbox was full.");
    SOCKETS_CLOSED: Counters<1> = counters("roost_sockets_closed_total",
        "Sockets that the host closed, by reason.", ["reason"]);
    RESYNCS: Counters<1> = counters("roost_resyncs_total",
        "Clients told to fetch the present state, by reason.", ["reason"]);
    REFRESHES: Counters<1> = counters("roost_refreshes_total",
        "Current states pushed to clients whose events the host may have missed, by outcome: sent, or failed (a resync is sent).",
        ["outcome"]);
    HOLES: IntCounter = counter("roost_holes_total",
        "Gaps found in the events that a user's connections received.");
    HOLE_EVENTS: IntCounter = counter("roost_hole_events_total",
        "Events with which gaps were filled.");
    HTTP_REQUESTS: Counters<3> = counters("roost_http_requests_total",
        "HTTP requests by route, method and status.", ["route", "method", "status"]);
    HTTP_REQUEST_SECONDS: Histograms<1> = histograms("roost_http_request_seconds",
        "Time from a request's head to its answer's head, by route.", ["route"]);
    STORE_SECONDS: Histograms<1> = histograms("roost_store_seconds",
        "Time of an operation of the store, by operation.", ["operation"]);
    STORE_KEYS: IntGauge = gauge("roost_store_keys",
        "Keys in the store.");
    STORE_FEEDS: IntGauge = gauge("roost_store_feeds",
        "Users' feeds in the store.");
    STORE_BYTES: IntGauge = gauge("roost_store_bytes",
        "Memory of the store in bytes, approximately.");
    STORE_SUBSCRIPTIONS: IntGauge = gauge("roost_store_subscriptions",
        "Users whose events this host receives.");
    STORE_EVICTED: IntGauge = gauge("roost_store_evicted",
        "Keys and feeds that expired since the start.");
    REDIS_ROUND_TRIPS: IntCounter = counter("roost_redis_round_trips_total",
        "Round trips to Redis: pipelines, each to one server.");
    REDIS_COMMANDS: IntCounter = counter("roost_redis_commands_total",
        "Commands in those round trips.");
    REDIS_DISCONNECTS: IntCounter = counter("roost_redis_disconnects_total",
        "Connections to Redis that were lost.");
    REDIS_REFUSALS: Counters<1> = counters("roost_redis_refusals_total",
        "Requests that a server of Redis refused because it accepts no writes, by reason: full, not_persisted, too_few_replicas.",
        ["reason"]);
    REDIS_REFUSING: IntGauge = gauge("roost_redis_refusing",
        "Servers of Redis that accept no writes at present.");
    RECORDS_SECONDS: Histograms<1> = histograms("roost_records_seconds",
        "Time of an operation of the records, by operation.", ["operation"]);
    CONFIRMATIONS_DROPPED: IntCounter = counter("roost_records_confirmations_dropped_total",
        "Confirmations of announcements that were given up; the announcement is repeated.");
    RECORDS_CIRCUIT_OPEN: IntGauge = gauge("roost_records_circuit_open",
        "1 while calls of the records are refused at once because PostgreSQL cannot be reached.");
    RECORDS_REFUSED: IntCounter = counter("roost_records_refused_total",
        "Calls of the records that were refused at once because PostgreSQL cannot be reached.");
    DRIFT: Counters<2> = counters("roost_drift_total",
        "Differences between store and records that a consistency check found, by what and whether it was repaired.",
        ["what", "repaired"]);
    SPANS: Counters<1> = counters("roost_spans_total",
        "Spans by outcome: sent, failed (the collector did not take them), queue_full.", ["outcome"]);
    DRAINING: IntGauge = gauge("roost_draining",
        "1 while the host is stopping.");
    RATE_LIMITED: Counters<1> = counters("roost_rate_limited_total",
        "Refusals of users who asked too much at once, by kind: requests, frames, sends, typing, connects, calls (in flight), replays (at once).",
        ["kind"]);
    LIMITED_USERS: Gauges<1> = gauges("roost_limited_users",
        "Users with a token bucket that is not full, by kind: requests, frames, sends, typing, connects.", ["kind"]);
    CONNECTS: Counters<1> = counters("roost_connects_total",
        "Sockets and event streams by outcome: opened, or the code of the refusal.", ["outcome"]);
    CONNECTS_WAITING: IntGauge = gauge("roost_connects_waiting",
        "Clients that wait until they are connected.");
    HTTP_CONNECTIONS: IntGauge = gauge("roost_http_connections",
        "Connections to the listeners, event streams included and sockets not.");
    HTTP_CONNECTIONS_CLOSED: Counters<1> = counters("roost_http_connections_closed_total",
        "Connections that the host closed, by reason: write_timeout (an answer was not read), idle_shed (idle while there were too many), refused (there were too many).",
        ["reason"]);
}

/// All metrics that were used so far, in Prometheus's text format.
pub fn render() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = TextEncoder::new().encode_utf8(&REGISTRY.gather(), &mut text);
    text
}

/// Reads the store's figures again and again; never returns.
pub async fn watch(store: Store) {
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let stats = store.stats();
        for (gauge, figure) in [
            (&STORE_KEYS, stats.keys),
            (&STORE_FEEDS, stats.feeds),
            (&STORE_BYTES, stats.bytes),
            (&STORE_SUBSCRIPTIONS, stats.subscriptions),
            (&STORE_EVICTED, stats.evicted),
        ] {
            gauge.set(i64::try_from(figure).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Name, kind and help text of every metric, those of the built-in functions included.
    fn every_metric() -> Vec<(String, &'static str, &'static str)> {
        let host = declared().into_iter().map(|(name, kind, help)| (name.to_owned(), kind, help));
        let functions = function_counts::HELP.iter();
        host.chain(functions.map(|(name, help)| (format!("roost_function_{name}_total"), "counter", *help))).collect()
    }

    #[test]
    fn every_metric_is_declared_once_and_named_by_the_rules() {
        let all = every_metric();
        let names: BTreeSet<&str> = all.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        for (name, kind, help) in &all {
            let suffix = match *kind {
                "counter" => "_total",
                "histogram" => "_seconds",
                _ => "",
            };
            assert!(name.starts_with("roost_") && name.ends_with(suffix), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
        }
    }

    #[test]
    fn every_metric_is_in_the_guide_with_its_help_text() {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/observing.md");
        let guide = std::fs::read_to_string(guide).unwrap();
        for (name, kind, help) in every_metric() {
            let row = format!("| `{name}` | {kind} | {help} |");
            assert!(guide.lines().any(|line| line == row), "docs/observing.md lacks the row\n{row}");
        }
        let rows = guide.lines().filter(|line| line.starts_with("| `roost_")).count();
        assert_eq!(rows, every_metric().len(), "docs/observing.md has rows of metrics that do not exist");
    }

    /// The names that the core passes to `world.count`.
    fn counted_by_the_core() -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(path).unwrap();
                    let found = text.split("world.count(\"").skip(1).filter_map(|rest| rest.split_once('"'));
                    names.extend(found.map(|(name, _)| name.to_owned()));
                }
            }
        }
        names
    }

    #[test]
    fn whatever_the_core_counts_has_a_help_text() {
        let counted = counted_by_the_core();
        assert!(counted.len() > 4, "the sources are not where they are looked for: {counted:?}");
        for name in counted {
            assert!(function_counts::HELP.iter().any(|(known, _)| *known == name), "{name} has no help text");
        }
    }

    #[test]
    fn counters_are_shown_with_their_labels() {
        TICKS.of(["metrics-test", "sweep", "ok"]).inc_by(2);
        let line = r#"roost_ticks_total{function="metrics-test",outcome="ok",schedule="sweep"} 2"#;
        let text = render();
        assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
        assert!(text.contains("# HELP roost_ticks_total Slots of schedules"), "{text}");
    }
}
