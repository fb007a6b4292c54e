//! Deadlines in order of time, each with what must be looked at then.
//!
//! A queue entry may be out of date. The owner of the expiring items remembers the time of each item's valid entry, so
//! that a heartbeat that moves a deadline forward does not change the queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Items to be looked at, the earliest first.
#[derive(Debug)]
pub(super) struct ExpiryQueue<T>(BinaryHeap<Reverse<(u64, T)>>);

impl<T: Ord> ExpiryQueue<T> {
    /// Entries that may be out of date before the queue is rebuilt, beside as many as there are items.
    const OUTDATED_MAX: usize = 64;

    pub(super) fn push(&mut self, deadline: u64, item: T) {
        self.0.push(Reverse((deadline, item)));
    }

    /// Takes the earliest entry if its time has come.
    pub(super) fn pop(&mut self, now: u64) -> Option<(u64, T)> {
        let Reverse((deadline, _)) = self.0.peek()?;
        if *deadline > now {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether most entries must be out of date, because there are so few items.
    pub(super) fn is_bloated(&self, items: usize) -> bool {
        self.0.len() > 2 * items + Self::OUTDATED_MAX
    }
}

impl<T: Ord> Default for ExpiryQueue<T> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

impl<T: Ord> FromIterator<(u64, T)> for ExpiryQueue<T> {
    fn from_iter<I: IntoIterator<Item = (u64, T)>>(entries: I) -> Self {
        Self(entries.into_iter().map(Reverse).collect())
    }
}
