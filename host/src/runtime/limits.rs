//! The memory of one instance: one bound for all of its memories and tables together.
//!
//! `instance` bounds the time of a call, `admission` the calls in flight.

use wasmtime::ResourceLimiter;

/// The bytes of a table's element.
const ELEMENT_BYTES: usize = size_of::<usize>();
/// A component made from Python consists of about forty modules.
pub(super) const INSTANCES_MAX: u32 = 96;
/// A component made from JavaScript has three.
pub(super) const MEMORIES_MAX: u32 = 4;
pub(super) const TABLES_MAX: u32 = 4;

/// Counts the memory of one instance against its limit.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    allowed: usize,
    used: usize,
    refused: Option<usize>,
}

impl MemoryLimit {
    pub(super) const fn new(allowed: usize) -> Self {
        Self { allowed, used: 0, refused: None }
    }

    /// The bytes that the memories and tables have now.
    pub(super) const fn used(&self) -> usize {
        self.used
    }

    /// The total in bytes that the last refused growth asked for, if one was refused since this was called before.
    pub(super) const fn take_refused(&mut self) -> Option<usize> {
        self.refused.take()
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let total = self.used.saturating_sub(current).saturating_add(desired);
        if total > self.allowed {
            self.refused = Some(total);
            return false;
        }
        self.used = total;
        true
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| elements.saturating_mul(ELEMENT_BYTES);
        Ok(self.grow(bytes(current), bytes(desired)))
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_memories_share_one_limit() {
        let mut limit = MemoryLimit::new(100);
        assert!(limit.memory_growing(0, 60, None).unwrap());
        assert!(!limit.memory_growing(0, 60, None).unwrap());
        assert_eq!((limit.used(), limit.take_refused()), (60, Some(120)));
        assert!(limit.memory_growing(0, 40, None).unwrap());
        assert!(!limit.memory_growing(40, 41, None).unwrap());
    }

    #[test]
    fn tables_count_towards_the_same_limit() {
        let mut limit = MemoryLimit::new(100);
        assert!(limit.table_growing(0, 10, None).unwrap());
        assert!(!limit.memory_growing(0, 21, None).unwrap());
        assert!(limit.memory_growing(0, 20, None).unwrap());
    }

    #[test]
    fn a_growth_that_overflows_is_refused() {
        let mut limit = MemoryLimit::new(usize::MAX - 1);
        assert!(!limit.table_growing(0, usize::MAX, None).unwrap());
    }
}
