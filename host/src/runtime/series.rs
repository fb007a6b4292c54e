//! Which revisions have series in the metrics: those that live, and the newest of those that have ended. The series of
//! older ones are removed, so that a host that is deployed to for months does not show, and keep, a thousand revisions.

use std::collections::{HashMap, VecDeque};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::metrics;

/// How many ended revisions of all functions keep their series, so that a collector reads their last values.
const ENDED_MAX: usize = 32;

/// The function and the revision.
type RevisionLabels = (String, String);

/// The revisions that have series.
#[derive(Debug, Default)]
struct KnownRevisions {
    /// How often each revision lives: one that is deployed again may live twice for a while.
    living: HashMap<RevisionLabels, usize>,
    /// The ended ones, oldest first.
    ended: VecDeque<RevisionLabels>,
}

impl KnownRevisions {
    fn begin(&mut self, labels: &RevisionLabels) {
        self.ended.retain(|ended| ended != labels);
        *self.living.entry(labels.clone()).or_default() += 1;
    }

    /// Returns the revision whose series are to be removed, if there is one too many.
    fn end(&mut self, labels: &RevisionLabels) -> Option<RevisionLabels> {
        let count = self.living.get_mut(labels)?;
        *count -= 1;
        if *count > 0 {
            return None;
        }
        self.living.remove(labels);
        self.ended.push_back(labels.clone());
        if self.ended.len() > ENDED_MAX { self.ended.pop_front() } else { None }
    }
}

static KNOWN: LazyLock<Mutex<KnownRevisions>> = LazyLock::new(Mutex::default);

/// Keeps the series of a revision while it lives.
#[derive(Debug)]
pub(super) struct SeriesOfRevision(RevisionLabels);

impl SeriesOfRevision {
    pub(super) fn new(function: &str, revision: &str) -> Self {
        let labels = (function.to_owned(), revision.to_owned());
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).begin(&labels);
        Self(labels)
    }
}

impl Drop for SeriesOfRevision {
    fn drop(&mut self) {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        // Removed under the lock, so that a revision that begins meanwhile gets series that are shown.
        if let Some((function, revision)) = known.end(&self.0) {
            metrics::remove_series(&function, &revision);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(number: usize) -> RevisionLabels {
        ("function".to_owned(), number.to_string())
    }

    #[test]
    fn the_newest_ended_revisions_keep_their_series() {
        let mut known = KnownRevisions::default();
        let ends = |known: &mut KnownRevisions, number| {
            known.begin(&labels(number));
            known.end(&labels(number))
        };
        for number in 0..ENDED_MAX {
            assert_eq!(ends(&mut known, number), None);
        }
        assert_eq!(ends(&mut known, ENDED_MAX), Some(labels(0)));
        assert!(known.living.is_empty() && known.ended.len() == ENDED_MAX);
    }

    #[test]
    fn a_revision_that_lives_again_keeps_its_series() {
        let mut known = KnownRevisions::default();
        known.begin(&labels(0));
        known.begin(&labels(0));
        assert_eq!(known.end(&labels(0)), None);
        assert!(known.ended.is_empty(), "it still lives");
        known.end(&labels(0));
        known.begin(&labels(0));
        assert!(known.ended.is_empty(), "it lives again");
    }
}
