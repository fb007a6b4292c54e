//! What the parts of one connection tell each other: its stream, its timer, and whoever answers its requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::response::HeldUntilWritten;

/// The state of one connection. All of its parts run in one task.
#[derive(Debug, Default)]
pub(super) struct ConnectionState {
    /// Bytes have arrived since the last answer.
    bytes_arrived: AtomicBool,
    /// A request is being answered, or its answer being written.
    busy: AtomicBool,
    /// The connection has become a socket, which has bounds of its own.
    upgraded: AtomicBool,
    /// Whether an answer waits to be written completely.
    answered: AtomicBool,
    /// What is held by the answers that are not written yet: several, if the client sends on before it reads.
    held: Mutex<Vec<HeldUntilWritten>>,
}

impl ConnectionState {
    /// From now on the next request is waited for.
    pub(super) fn wait_for_bytes(&self) {
        self.bytes_arrived.store(false, Ordering::Relaxed);
    }

    pub(super) fn note_bytes(&self) {
        self.bytes_arrived.store(true, Ordering::Relaxed);
    }

    pub(super) fn bytes_arrived(&self) -> bool {
        self.bytes_arrived.load(Ordering::Relaxed)
    }

    /// A request has arrived.
    pub(super) fn begin_answer(&self) {
        self.busy.store(true, Ordering::Relaxed);
    }

    /// The answer is made; `held` is held until it is written.
    pub(super) fn end_answer(&self, held: Option<HeldUntilWritten>, upgraded: bool) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).extend(held);
        self.upgraded.store(upgraded, Ordering::Relaxed);
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Everything that was to be written is written.
    pub(super) fn note_written(&self) {
        if self.answered.swap(false, Ordering::Relaxed) {
            self.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.busy.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }
}
