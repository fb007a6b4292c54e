//! What is learned about a call while it runs, for the metrics and for its record.

/// What a call has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallFigures {
    pub(crate) store_round_trips: u32,
    /// Queries and transactions in these round trips.
    pub(crate) store_operations: u64,
    pub(crate) records_operations: u64,
    /// The memory of the instance, in bytes.
    pub(crate) memory_bytes: usize,
    /// The key of the last quota that refused something.
    pub(crate) quota: Option<&'static str>,
}

/// What is learned about a call. A call that succeeds fills in the figures only.
#[derive(Debug, Default)]
pub(crate) struct CallNotes {
    pub(crate) figures: CallFigures,
    /// Why the call failed, if the function did not report it itself.
    pub(crate) reason: Option<String>,
    /// The text of the panic.
    pub(crate) panic: Option<String>,
    /// The functions of the component in which it failed, the innermost first.
    pub(crate) backtrace: Vec<String>,
}
