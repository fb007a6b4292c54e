//! What is due when: notes ordered by moment, each of which may be out of date.
//!
//! Whoever owns the noted things remembers the moment of each one's valid note, so that a beat that moves
//! a deadline forward costs nothing here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Notes of things that are to be looked at.
#[derive(Debug)]
pub(super) struct Due<T>(BinaryHeap<Reverse<(u64, T)>>);

impl<T: Ord> Due<T> {
    const SPARE: usize = 64;

    pub(super) fn push(&mut self, moment: u64, thing: T) {
        self.0.push(Reverse((moment, thing)));
    }

    /// The earliest note, if its moment has come.
    pub(super) fn pop(&mut self, now: u64) -> Option<(u64, T)> {
        let Reverse((moment, _)) = self.0.peek()?;
        if *moment > now {
            return None;
        }
        self.0.pop().map(|Reverse(note)| note)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Most notes must be out of date, because there are so few things.
    pub(super) fn is_bloated(&self, things: usize) -> bool {
        self.0.len() > 2 * things + Self::SPARE
    }
}

impl<T: Ord> Default for Due<T> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

impl<T: Ord> FromIterator<(u64, T)> for Due<T> {
    fn from_iter<I: IntoIterator<Item = (u64, T)>>(notes: I) -> Self {
        Self(notes.into_iter().map(Reverse).collect())
    }
}
