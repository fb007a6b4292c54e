//! What an instance carries: the world it may reach, who it is, and the call it serves now.

use std::sync::Arc;
use std::time::Instant;

use super::grants::Grants;
use super::limits::Ledger;
use super::metrics::OwnCounters;
use crate::records::RecordStore;
use crate::store::Store;

/// Everything that functions reach, behind their imports.
#[derive(Clone)]
pub struct HostWorld {
    /// The live state, and its clock.
    pub store: Store,
    /// The system of record.
    pub records: RecordStore,
}

/// One revision's standing, shared by all of its instances.
pub(super) struct Identity {
    /// The manifest's name; while it is described, where it came from.
    pub(super) name: String,
    /// The digest's first letters.
    pub(super) revision: String,
    pub(super) world: HostWorld,
    pub(super) grants: Grants,
    pub(super) counters: OwnCounters,
}

/// An instance's own state. What belongs to one call is set anew by [`State::begin`].
pub(super) struct State {
    pub(super) identity: Arc<Identity>,
    pub(super) ledger: Ledger,
    /// Only telemetry works.
    pub(super) describing: bool,
    pub(super) trace: Arc<str>,
    pub(super) deadline: Instant,
    pub(super) lines: u32,
    /// The last error the function logged: after a trap, its panic's text.
    pub(super) last_error: Option<String>,
}

impl State {
    pub(super) fn new(
        identity: Arc<Identity>,
        memory_bytes_max: usize,
        (trace, deadline): (Arc<str>, Instant),
    ) -> Self {
        Self {
            identity,
            ledger: Ledger::new(memory_bytes_max),
            describing: false,
            trace,
            deadline,
            lines: 0,
            last_error: None,
        }
    }

    /// Forgets the call before.
    pub(super) fn begin(&mut self, trace: Arc<str>, deadline: Instant) {
        self.trace = trace;
        self.deadline = deadline;
        self.lines = 0;
        self.last_error = None;
    }

    /// While a function is described it may only log and count: anything else ends it.
    pub(super) fn serving(&self, import: &'static str) -> wasmtime::Result<()> {
        if self.describing {
            return Err(wasmtime::Error::new(OutOfPlace(import)));
        }
        Ok(())
    }
}

/// An import that may not be called now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("describe called {0}; it may call nothing but telemetry")]
pub(super) struct OutOfPlace(pub(super) &'static str);
