//! The payloads that feeds keep. A message is kept in the feeds of all members, and its text is in memory once, so it
//! counts once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use foldhash::HashMap;

/// The payloads of all feeds. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Payloads(Arc<PayloadRegistry>);

#[derive(Debug, Default)]
struct PayloadRegistry {
    /// The bytes of all payloads that are kept.
    bytes: AtomicUsize,
    /// What is kept, by the address of the text. An address is not used for another text while the text is kept.
    kept: Mutex<HashMap<usize, Weak<KeptPayload>>>,
}

/// A payload that at least one feed keeps. Dropping it takes its bytes off the sum.
#[derive(Debug)]
pub(super) struct KeptPayload {
    registry: Arc<PayloadRegistry>,
    text: Arc<str>,
}

impl Payloads {
    /// Counts a payload for as long as the answer or one of its clones exists, and only once.
    pub(super) fn keep(&self, text: &Arc<str>) -> Arc<KeptPayload> {
        let mut kept = self.0.lock();
        let place = kept.entry(address(text)).or_default();
        place.upgrade().unwrap_or_else(|| {
            self.0.bytes.fetch_add(text.len(), Ordering::Relaxed);
            let payload = Arc::new(KeptPayload { registry: Arc::clone(&self.0), text: Arc::clone(text) });
            *place = Arc::downgrade(&payload);
            payload
        })
    }

    /// The bytes of all payloads that are kept. Takes constant time.
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

impl PayloadRegistry {
    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Weak<KeptPayload>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeptPayload {
    fn drop(&mut self) {
        let mut kept = self.registry.lock();
        let address = address(&self.text);
        // Another thread may have kept the same text again meanwhile.
        if kept.get(&address).is_some_and(|payload| payload.strong_count() == 0) {
            kept.remove(&address);
        }
        self.registry.bytes.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

fn address(text: &Arc<str>) -> usize {
    text.as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_counts_once_for_as_long_as_somebody_keeps_it() {
        let payloads = Payloads::default();
        let (text, same): (Arc<str>, Arc<str>) = ("12345".into(), "12345".into());
        let first = payloads.keep(&text);
        let second = payloads.keep(&Arc::clone(&text));
        assert_eq!(payloads.bytes(), 5);
        let other = payloads.keep(&same);
        assert_eq!(payloads.bytes(), 10, "an equal text elsewhere in memory is another one");
        drop(first);
        assert_eq!(payloads.bytes(), 10);
        drop(second);
        assert_eq!(payloads.bytes(), 5);
        drop(other);
        assert_eq!((payloads.bytes(), payloads.0.lock().len()), (0, 0));
        drop(payloads.keep(&text));
        assert_eq!(payloads.bytes(), 0);
    }
}
