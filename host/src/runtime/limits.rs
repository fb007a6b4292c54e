//! What one instance may use: a sum over all of its memories and tables, not a bound for each.
//!
//! Time is bounded in `instance.rs`, calls in flight in `gate.rs`.

use wasmtime::ResourceLimiter;

/// A table's element.
const ELEMENT_BYTES: usize = size_of::<usize>();
const INSTANCES_MAX: usize = 32;
const MEMORIES_MAX: usize = 8;
const TABLES_MAX: usize = 16;

/// The memory of one instance.
#[derive(Debug)]
pub(super) struct Ledger {
    allowed: usize,
    used: usize,
    refused: Option<usize>,
}

impl Ledger {
    pub(super) const fn new(allowed: usize) -> Self {
        Self { allowed, used: 0, refused: None }
    }

    /// What a refused growth would have come to, since the last call of this.
    pub(super) const fn take_refused(&mut self) -> Option<usize> {
        self.refused.take()
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let wanted = self.used.saturating_sub(current).saturating_add(desired);
        if wanted > self.allowed {
            self.refused = Some(wanted);
            return false;
        }
        self.used = wanted;
        true
    }
}

impl ResourceLimiter for Ledger {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| elements.saturating_mul(ELEMENT_BYTES);
        Ok(self.grow(bytes(current), bytes(desired)))
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_memories_share_one_allowance() {
        let mut ledger = Ledger::new(100);
        assert!(ledger.memory_growing(0, 60, None).unwrap());
        assert!(!ledger.memory_growing(0, 60, None).unwrap());
        assert_eq!(ledger.take_refused(), Some(120));
        assert!(ledger.memory_growing(0, 40, None).unwrap());
        assert!(!ledger.memory_growing(40, 41, None).unwrap());
    }

    #[test]
    fn tables_count_with_the_memories() {
        let mut ledger = Ledger::new(100);
        assert!(ledger.table_growing(0, 10, None).unwrap());
        assert!(!ledger.memory_growing(0, 21, None).unwrap());
        assert!(ledger.memory_growing(0, 20, None).unwrap());
    }

    #[test]
    fn a_growth_beyond_every_number_is_refused() {
        let mut ledger = Ledger::new(usize::MAX - 1);
        assert!(!ledger.table_growing(0, usize::MAX, None).unwrap());
    }
}
