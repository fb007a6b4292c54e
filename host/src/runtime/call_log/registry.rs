//! The logs of all functions, by name. A log outlives the revisions of its function, so that it shows a deployment and
//! its rollback in one; the logs of functions that have gone are dropped when there are too many.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::record::LogRecord;
use super::ring::{RecordBatch, RecordRing, RingBounds};

/// The bounds of each of the two rings of a function.
const RING: RingBounds = RingBounds { records_max: 512, bytes_max: 512 << 10 };
/// The most bytes of the records of all functions.
const BYTES_MAX: usize = 16 << 20;
/// The most logs. Only those of functions without a revision are dropped.
const LOGS_MAX: usize = 256;
/// The most clients that follow logs at a time.
pub(crate) const FOLLOWERS_MAX: usize = 16;

/// The log of one function.
#[derive(Debug)]
pub(crate) struct FunctionLog {
    ring: Mutex<RecordRing>,
    /// The sequence number of the next record.
    grown: watch::Sender<u64>,
    shared: Weak<SharedLogs>,
}

#[derive(Debug)]
struct SharedLogs {
    bytes: AtomicUsize,
    bytes_max: usize,
    logs: Mutex<BTreeMap<String, Arc<FunctionLog>>>,
}

impl SharedLogs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<FunctionLog>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the oldest records of the largest logs until all fit.
    fn shrink(&self) {
        let logs = self.lock();
        while self.bytes.load(Ordering::Relaxed) > self.bytes_max {
            let largest = logs.values().max_by_key(|log| log.lock().bytes());
            if !largest.is_some_and(|log| log.drop_oldest()) {
                break;
            }
        }
    }
}

impl FunctionLog {
    fn new(shared: Weak<SharedLogs>) -> Self {
        Self { ring: Mutex::new(RecordRing::new(RING)), grown: watch::Sender::new(0), shared }
    }

    fn lock(&self) -> MutexGuard<'_, RecordRing> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the ring, and keeps the sum of all bytes.
    fn change<T>(&self, change: impl FnOnce(&mut RecordRing) -> T) -> T {
        let mut ring = self.lock();
        let before = ring.bytes();
        let changed = change(&mut ring);
        let after = ring.bytes();
        drop(ring);
        if let Some(shared) = self.shared.upgrade() {
            // Wraps around where the ring has become smaller, which is a subtraction.
            shared.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
        changed
    }

    fn drop_oldest(&self) -> bool {
        self.change(RecordRing::drop_oldest)
    }

    /// Keeps a record, and wakes those who follow.
    pub(super) fn keep(&self, record: LogRecord) {
        let next = self.change(|ring| ring.push(record));
        if let Some(shared) = self.shared.upgrade()
            && shared.bytes.load(Ordering::Relaxed) > shared.bytes_max
        {
            shared.shrink();
        }
        // Two records may be kept at once: the number must not go back.
        self.grown.send_if_modified(|grown| {
            let is_newer = next > *grown;
            *grown = next.max(*grown);
            is_newer
        });
    }

    /// At most so many records from a sequence number on.
    pub(crate) fn after(&self, begin: u64, records_max: usize) -> RecordBatch {
        self.lock().after(begin, records_max)
    }

    /// The newest records that are accepted, at most so many, the oldest first.
    pub(crate) fn newest(&self, records_max: usize, accept: impl Fn(&LogRecord) -> bool) -> RecordBatch {
        self.lock().newest(records_max, accept)
    }

    /// Changes with every record.
    pub(crate) fn grown(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }
}

impl Drop for FunctionLog {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.bytes.fetch_sub(self.lock().bytes(), Ordering::Relaxed);
        }
    }
}

/// The logs of all functions. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct FunctionLogs {
    shared: Arc<SharedLogs>,
    followers: Arc<Semaphore>,
    /// Different at each start, so that a client does not read on in the log of an earlier process.
    epoch: Arc<str>,
}

impl FunctionLogs {
    pub(crate) fn new() -> Self {
        Self::bounded(BYTES_MAX)
    }

    /// Logs with another bound on the bytes of all functions.
    pub(super) fn bounded(bytes_max: usize) -> Self {
        let shared = SharedLogs { bytes: AtomicUsize::new(0), bytes_max, logs: Mutex::default() };
        Self {
            shared: Arc::new(shared),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            epoch: uuid::Uuid::new_v4().simple().to_string().into(),
        }
    }

    /// A value that is different at each start.
    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// A place among those who follow; `None` if all are taken.
    pub(crate) fn follower(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.followers).try_acquire_owned().ok()
    }

    /// Lets everybody who follows look whether the host stops.
    pub(crate) fn wake(&self) {
        self.shared.lock().values().for_each(|log| log.grown.send_modify(|_| {}));
    }

    /// The log of this function; `None` if no revision of it was ever loaded.
    pub(crate) fn find(&self, function: &str) -> Option<Arc<FunctionLog>> {
        self.shared.lock().get(function).cloned()
    }

    /// The log of this function, which is made if there is none.
    pub(crate) fn of(&self, function: &str) -> Arc<FunctionLog> {
        let mut logs = self.shared.lock();
        let has_room = logs.len() < LOGS_MAX || logs.contains_key(function);
        let unused = if has_room { None } else { unused(&logs) };
        let _dropped = unused.and_then(|name| logs.remove(&name));
        let made = || Arc::new(FunctionLog::new(Arc::downgrade(&self.shared)));
        Arc::clone(logs.entry(function.to_owned()).or_insert_with(made))
    }

    /// A log that nobody can read, for a component of which the name is not known yet.
    pub(crate) fn unnamed(&self) -> Arc<FunctionLog> {
        Arc::new(FunctionLog::new(Arc::downgrade(&self.shared)))
    }

    /// The bytes of all records.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }
}

/// A log that only the map holds, so that its function has no revision and nobody reads it.
fn unused(logs: &BTreeMap<String, Arc<FunctionLog>>) -> Option<String> {
    logs.iter().find(|(_, log)| Arc::strong_count(log) == 1).map(|(name, _)| name.clone())
}
