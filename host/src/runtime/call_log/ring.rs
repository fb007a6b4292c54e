//! Keeps the newest records of a function within bounds. Failures and all other records have a ring each, so that
//! neither a busy function nor one that logs a lot displaces the records of its failures.
//!
//! Rules only: `registry` locks, counts the bytes of all functions, and wakes those who follow.

use std::collections::VecDeque;
use std::sync::Arc;

use super::record::LogRecord;

/// The bounds of one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingBounds {
    pub(super) records_max: usize,
    pub(super) bytes_max: usize,
}

/// The newest records of one kind.
#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Arc<LogRecord>>,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, record: Arc<LogRecord>, bounds: RingBounds) {
        self.bytes += record.bytes();
        self.records.push_back(record);
        while self.records.len() > bounds.records_max || self.bytes > bounds.bytes_max {
            if !self.drop_oldest() {
                break;
            }
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.records.pop_front() else { return false };
        self.bytes = self.bytes.saturating_sub(oldest.bytes());
        true
    }

    /// The records from this sequence number on.
    fn from(&self, sequence: u64) -> impl DoubleEndedIterator<Item = &Arc<LogRecord>> {
        let begin = self.records.partition_point(|record| record.sequence < sequence);
        self.records.range(begin..)
    }
}

/// The newest records of a function.
#[derive(Debug)]
pub(super) struct RecordRing {
    bounds: RingBounds,
    failures: Ring,
    others: Ring,
    /// The sequence number of the next record.
    next: u64,
}

/// Records in their order, for someone who reads on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordBatch {
    pub(crate) records: Vec<Arc<LogRecord>>,
    /// How many records were displaced before they could be read.
    pub(crate) lost: u64,
    /// Where to read on.
    pub(crate) next: u64,
}

impl RecordRing {
    pub(super) fn new(bounds: RingBounds) -> Self {
        Self { bounds, failures: Ring::default(), others: Ring::default(), next: 0 }
    }

    /// Keeps a record, and returns the sequence number of the next one.
    pub(super) fn push(&mut self, mut record: LogRecord) -> u64 {
        record.sequence = self.next;
        self.next += 1;
        let ring = if record.is_failure() { &mut self.failures } else { &mut self.others };
        ring.push(Arc::new(record), self.bounds);
        self.next
    }

    pub(super) const fn bytes(&self) -> usize {
        self.failures.bytes + self.others.bytes
    }

    /// Drops the oldest record of the larger half; `false` if there is none.
    pub(super) fn drop_oldest(&mut self) -> bool {
        let others_first = self.others.bytes >= self.failures.bytes;
        if others_first { self.others.drop_oldest() } else { self.failures.drop_oldest() }
    }

    /// At most so many records from a sequence number on.
    pub(super) fn after(&self, begin: u64, records_max: usize) -> RecordBatch {
        let mut failures = self.failures.from(begin).peekable();
        let mut others = self.others.from(begin).peekable();
        let mut records = Vec::new();
        while records.len() < records_max {
            let from_failures = match (failures.peek(), others.peek()) {
                (Some(failure), Some(other)) => failure.sequence < other.sequence,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            records.extend(if from_failures { failures.next() } else { others.next() }.cloned());
        }
        let is_complete = records.len() < records_max;
        let next = match records.last() {
            Some(last) if !is_complete => last.sequence + 1,
            _ => self.next,
        };
        RecordBatch { lost: next.saturating_sub(begin).saturating_sub(records.len() as u64), records, next }
    }

    /// The newest records that are accepted, at most so many, the oldest first.
    pub(super) fn newest(&self, records_max: usize, accept: impl Fn(&LogRecord) -> bool) -> RecordBatch {
        let mut records = self.after(0, usize::MAX).records;
        records.retain(|record| accept(record));
        let surplus = records.len().saturating_sub(records_max);
        records.drain(..surplus);
        RecordBatch { records, lost: 0, next: self.next }
    }
}
