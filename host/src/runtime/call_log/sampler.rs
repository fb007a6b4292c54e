//! Chooses which calls of a revision are recorded: so many in each second, the first ones. Deciding takes a few atomic
//! operations and allocates nothing.

use std::sync::atomic::{AtomicU64, Ordering};

/// Admits so many records a second and counts what it leaves out.
#[derive(Debug)]
pub(super) struct Sampler {
    per_second_max: u32,
    /// The second in the upper half, the records in it in the lower half.
    window: AtomicU64,
    left_out: AtomicU64,
}

impl Sampler {
    pub(super) const fn new(per_second_max: u32) -> Self {
        Self { per_second_max, window: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Whether a call that ends in this second is recorded. If it is, the answer is how many were left out before it.
    pub(super) fn admit(&self, second: u32) -> Option<u64> {
        let mut window = self.window.load(Ordering::Relaxed);
        loop {
            let (begun, count) = ((window >> 32) as u32, window as u32);
            let count = if begun == second { count } else { 0 };
            if count >= self.per_second_max {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            let counted = (u64::from(second) << 32) | u64::from(count + 1);
            match self.window.compare_exchange_weak(window, counted, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(self.left_out.swap(0, Ordering::Relaxed)),
                Err(changed) => window = changed,
            }
        }
    }

    /// The calls that were left out since the last recorded one.
    #[cfg(test)]
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}
