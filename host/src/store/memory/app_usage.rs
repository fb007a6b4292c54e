//! What the items of each function in the space `app` take, over all shards.
//!
//! The shards add to it with every change, so it is exact at any time, but for items that have expired and are not
//! evicted yet: those count until then.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::HashMap;

/// The bytes of the items of each function. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct AppUsage(Arc<RwLock<HashMap<Box<str>, AtomicI64>>>);

impl AppUsage {
    /// Adds to what the items of a function take; the change can be negative.
    pub(super) fn add(&self, function: &str, change: i64) {
        if change == 0 {
            return;
        }
        let add = |bytes: &AtomicI64| bytes.fetch_add(change, Ordering::Relaxed);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.get(function).map(add).is_some() {
            return;
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(function.into()).or_default().fetch_add(change, Ordering::Relaxed);
    }

    /// What the items of a function take.
    pub(super) fn of(&self, function: &str) -> u64 {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let bytes = known.get(function).map_or(0, |bytes| bytes.load(Ordering::Relaxed));
        // While another thread takes a change back, the sum can be below zero for a moment.
        u64::try_from(bytes).unwrap_or(0)
    }

    /// What the items of every function take.
    #[cfg(test)]
    pub(super) fn all(&self) -> std::collections::BTreeMap<String, i64> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let all = known.iter().map(|(function, bytes)| (function.to_string(), bytes.load(Ordering::Relaxed)));
        all.filter(|(_, bytes)| *bytes != 0).collect()
    }
}
