//! Which functions are called for publications of which type, on this host. The registry keeps the list; whoever
//! publishes reads it, and tells the queue's runner when a call was queued.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::manifest::Manifest;

/// The functions that are called for publications. Clones share it.
#[derive(Clone, Default)]
pub struct Subscriptions(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The names of the functions by event type.
    functions: ArcSwap<BTreeMap<String, Vec<String>>>,
    queued: Notify,
}

impl Subscriptions {
    /// Replaces the list by what these manifests declare.
    pub(super) fn replace<'m>(&self, manifests: impl Iterator<Item = &'m Manifest>) {
        let mut functions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for manifest in manifests {
            for event in &manifest.publications {
                functions.entry(event.clone()).or_default().push(manifest.name.clone());
            }
        }
        self.0.functions.store(Arc::new(functions));
    }

    /// Replaces the list by these functions for each type.
    #[cfg(test)]
    pub(super) fn set(&self, functions: &[(&str, &[&str])]) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let functions = functions.iter().map(|(event, names)| ((*event).to_owned(), owned(names)));
        self.0.functions.store(Arc::new(functions.collect()));
    }

    /// Whether no function is called for any publication.
    pub(super) fn is_empty(&self) -> bool {
        self.0.functions.load().is_empty()
    }

    /// Whether a function other than `publisher` is called for publications of one of these types.
    pub(super) fn has_any(&self, events: &[&str], publisher: &str) -> bool {
        let functions = self.0.functions.load();
        events.iter().filter_map(|event| functions.get(*event)).flatten().any(|function| function != publisher)
    }

    /// Whether this function is called for publications of one of these types.
    pub(super) fn has(&self, events: &[&str], function: &str) -> bool {
        let functions = self.0.functions.load();
        events.iter().filter_map(|event| functions.get(*event)).flatten().any(|subscriber| subscriber == function)
    }

    /// The functions that are called for a publication of this type by `publisher`: never the publisher itself.
    pub(super) fn of(&self, event: &str, publisher: &str) -> Vec<String> {
        let functions = self.0.functions.load();
        let subscribers = functions.get(event).into_iter().flatten();
        subscribers.filter(|function| *function != publisher).cloned().collect()
    }

    /// Tells the runner that a call was queued.
    pub(super) fn notify_queued(&self) {
        self.0.queued.notify_one();
    }

    /// Waits until a call was queued. If that happened before, returns at once.
    pub(crate) async fn queued(&self) {
        self.0.queued.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Grants, SocketDescription};

    fn manifest(name: &str, publications: &[&str]) -> Manifest {
        Manifest {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            routes: Vec::new(),
            messages: Vec::new(),
            socket: SocketDescription::default(),
            hooks: Vec::new(),
            schedules: Vec::new(),
            publications: publications.iter().map(|event| (*event).to_owned()).collect(),
            asks: Grants::default(),
        }
    }

    #[test]
    fn a_function_is_called_for_the_publications_of_others_only() {
        let subscriptions = Subscriptions::default();
        assert!(subscriptions.is_empty());
        let manifests = [manifest("bot", &["message.new", "poll.closed"]), manifest("search", &["message.new"])];
        subscriptions.replace(manifests.iter());
        assert_eq!(subscriptions.of("message.new", "messaging"), ["bot", "search"]);
        assert_eq!(subscriptions.of("message.new", "bot"), ["search"]);
        assert!(subscriptions.of("typing", "messaging").is_empty());
        assert!(subscriptions.has_any(&["typing", "poll.closed"], "search"));
        assert!(!subscriptions.has_any(&["poll.closed"], "bot"));
        assert!(subscriptions.has(&["poll.closed"], "bot") && !subscriptions.has(&["poll.closed"], "search"));
        subscriptions.replace(std::iter::empty());
        assert!(subscriptions.is_empty());
    }

    #[tokio::test]
    async fn a_call_that_was_queued_before_anybody_waits_is_not_missed() {
        let subscriptions = Subscriptions::default();
        subscriptions.notify_queued();
        subscriptions.queued().await;
    }
}
