//! What functions count themselves, as `roost_function_<name>_total`. A function chooses its labels freely within
//! bounds that `runtime` holds; two functions may use one name with different labels.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use prometheus::IntCounter;
use prometheus::core::{Collector, Desc, Metric};
use prometheus::proto::{LabelPair, MetricFamily, MetricType};

use super::COUNTS_DROPPED;
use super::family::REGISTRY;

/// The label that names the function.
const FUNCTION: &str = "function";

/// Help texts of what the built-in functions count, by the name that they use.
pub(super) const HELP: [(&str, &str); 11] = [
    (
        "cache",
        "Questions to caches by function, cache and outcome: hit, miss, away (the store did not answer), unreadable \
         (another program has overwritten the key).",
    ),
    ("degraded", "Answers given by the records because the store was away, by function and what."),
    ("fill", "Cache entries filled from the records, by function and cache."),
    ("repair", "Stale state put right, by function and what."),
    (
        "announcements",
        "Announcements of changes that did not go out at once, by outcome: delayed, recovered, failed (at once or in \
         recovery; tried again later), postponed (the store is away for it), stuck (failed again and again), \
         unconfirmed, unreleased.",
    ),
    ("devices_refused", "Heartbeats that would have added a device to a user who has as many as allowed."),
    (
        "presence_swept",
        "Users looked at because their deadline passed, by result: offline, repeated, kept, held, failed (their record cannot be read; looked at again after a minute).",
    ),
    (
        "presence_cut_off",
        "Notes in the records by hosts that are cut off from the store, so that nobody departs for a while, by outcome: noted, failed.",
    ),
    (
        "presence_unreadable",
        "Users who were answered as never seen, because another program has overwritten their record.",
    ),
    ("presence_announced", "Transitions of presence announced to contacts, by state and kind."),
    ("presence_shown", "Pairs of users who were told that they see each other or no more, by whether they do."),
];

/// A series: the function's own name for it, and all labels in the order in which they are shown.
type Series = (String, Vec<(String, String)>);

static SERIES: Mutex<BTreeMap<Series, IntCounter>> = Mutex::new(BTreeMap::new());
static SHOWN: Once = Once::new();

/// The counter of a function with these labels; the same one for the same names and values.
pub(crate) fn function_counter(function: &str, name: &str, labels: &[(String, String)]) -> IntCounter {
    // A collector without descriptions cannot collide with another one.
    SHOWN.call_once(|| drop(REGISTRY.register(Box::new(FunctionCounts))));
    let own = std::iter::once((FUNCTION.to_owned(), function.to_owned()));
    let labels = own.chain(labels.iter().cloned()).collect();
    match lock().entry((name.to_owned(), labels)) {
        Entry::Occupied(series) => series.get().clone(),
        Entry::Vacant(series) => match IntCounter::new(full_name(name), "Counted by a function.") {
            Ok(counter) => series.insert(counter).clone(),
            // The runtime refuses names that are not allowed before it asks for a counter.
            Err(_) => COUNTS_DROPPED.of([function]),
        },
    }
}

fn full_name(name: &str) -> String {
    format!("roost_function_{name}_total")
}

fn lock() -> MutexGuard<'static, BTreeMap<Series, IntCounter>> {
    SERIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows all series of all functions.
struct FunctionCounts;

impl Collector for FunctionCounts {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families: BTreeMap<&str, MetricFamily> = BTreeMap::new();
        let series = lock();
        for ((name, labels), counter) in series.iter() {
            let family = families.entry(name).or_insert_with(|| family(name));
            let mut metric = counter.metric();
            metric.set_label(labels.iter().map(pair).collect());
            family.mut_metric().push(metric);
        }
        families.into_values().collect()
    }
}

fn family(name: &str) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(full_name(name));
    let help = HELP.iter().find(|(known, _)| *known == name).map_or("", |(_, help)| help);
    family.set_help(help.to_owned());
    family.set_field_type(MetricType::COUNTER);
    family
}

fn pair((name, value): &(String, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.clone());
    pair.set_value(value.clone());
    pair
}

#[cfg(test)]
mod tests {
    use super::super::render;
    use super::*;

    fn label(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn functions_share_a_name_with_labels_of_their_own() {
        function_counter("counts-test", "probe_hits", &label("cache", "a \"b\"")).inc_by(2);
        function_counter("counts-test", "probe_hits", &label("cache", "a \"b\"")).inc();
        function_counter("counts-test-2", "probe_hits", &[]).inc();
        let text = render();
        for line in [
            r#"roost_function_probe_hits_total{function="counts-test",cache="a \"b\""} 3"#,
            r#"roost_function_probe_hits_total{function="counts-test-2"} 1"#,
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
        }
        assert_eq!(text.matches("# TYPE roost_function_probe_hits_total counter\n").count(), 1, "{text}");
    }

    #[test]
    fn what_built_in_functions_count_has_a_help_text() {
        function_counter("counts-test", "fill", &label("cache", "unread")).inc();
        assert!(render().contains("# HELP roost_function_fill_total Cache entries filled"));
    }
}
