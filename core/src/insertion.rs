//! Collecting into sorted maps and sets by inserting one item after the other.
//!
//! `collect` sorts the items first. Each type of item brings a sorting routine of its own, of about 15 KiB of
//! WebAssembly: together these were a seventh of the code of `messaging` and a fifth of that of `unread`, which every
//! host compiles when they are deployed.

/// What every iterator gets.
pub(crate) trait CollectByInsertion: Iterator + Sized {
    /// As `collect`, without a sorting routine.
    fn collect_by_insertion<C: Default + Extend<Self::Item>>(self) -> C {
        let mut collected = C::default();
        collected.extend(self);
        collected
    }
}

impl<I: Iterator> CollectByInsertion for I {}
