//! The log of each function in memory: records of its calls, and its own lines. Operators read and follow it with
//! `roost logs`.
//!
//! Everything is bounded: records and bytes of a function, bytes of all functions together, and the successful calls a
//! second that are recorded. A call that is not recorded allocates nothing. `ring` keeps the records, `record` has
//! their shape, `sampler` chooses among the calls, `recorder` turns a call into a record, `call_notes` has what is
//! learned during a call.

mod backtrace;
mod call_notes;
mod record;
mod recorder;
mod registry;
mod ring;
mod sampler;
#[cfg(test)]
mod tests;

pub(super) use backtrace::backtrace;
pub(super) use call_notes::{CallFigures, CallNotes};
pub(crate) use record::{CallOutcome, LineLevel, LogRecord, RecordKind};
pub(super) use recorder::{CallRecorder, EndedCall, Origin};
pub(crate) use registry::{FOLLOWERS_MAX, FunctionLog, FunctionLogs};
pub(crate) use ring::RecordBatch;

/// Shortens a text to so many bytes, without splitting a character.
pub(super) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
}
