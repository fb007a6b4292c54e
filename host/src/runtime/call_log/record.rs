//! The shape of a record in a function's log: one call, or one line that the function wrote.

use std::sync::Arc;

use roost_core::ids::UserId;
use roost_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One record in the log of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LogRecord {
    /// The place of the record in the log of the function; assigned when the record is kept.
    pub(crate) sequence: u64,
    /// When the record was made.
    pub(crate) at: Timestamp,
    /// The first letters of the digest of the component.
    pub(crate) digest: Arc<str>,
    /// The trace id of the call.
    pub(crate) trace: Arc<str>,
    #[serde(flatten)]
    pub(crate) kind: RecordKind,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum RecordKind {
    /// A call that has ended.
    Call(Box<CallRecord>),
    /// A line that the function logged.
    Line(LineRecord),
}

/// A call that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CallRecord {
    /// What caused the call: `http`, `message`, `hook`, `schedule` or `publication`.
    pub(crate) trigger: &'static str,
    /// The route, the type of the frame, the hook, the schedule and its shard, or the type of the event.
    pub(crate) trigger_name: String,
    /// On whose behalf the call was made: `user`, `service`, `none` or `host`.
    pub(crate) caller: &'static str,
    /// The user who called, or whose connection a hook is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<UserId>,
    pub(crate) outcome: CallOutcome,
    /// The code of the failure that the function reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// The message of that failure, or the reason why the call failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// The text of the panic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) panic: Option<String>,
    /// The functions of the component in which it failed, the innermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) backtrace: Vec<String>,
    /// The key of the last quota that refused something during the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quota: Option<&'static str>,
    /// The time of the call in microseconds, waiting included.
    pub(crate) took_us: u64,
    pub(crate) store_round_trips: u32,
    /// Queries and transactions in these round trips.
    pub(crate) store_operations: u64,
    pub(crate) records_operations: u64,
    /// The memory of the instance after the call; 0 if the call had no instance.
    pub(crate) memory_bytes: usize,
    /// The calls like this one, before it, that were not recorded because there were too many in one second.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a recorded call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallOutcome {
    Ok,
    /// The function refused the request.
    Refused,
    /// The function reported an error of its own, or that something it needs is unavailable.
    Failed,
    Trapped,
    Timeout,
    ReplyTooLarge,
    /// Too many calls were in flight.
    Busy,
    /// The function had too many calls in a second.
    Quota,
}

impl CallOutcome {
    /// Whether the function is at fault, as for a canary.
    pub(crate) const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Trapped | Self::Timeout | Self::ReplyTooLarge)
    }
}

/// A line that a function logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LineRecord {
    pub(crate) level: LineLevel,
    pub(crate) message: String,
    /// The fields, as `name="value"`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) fields: String,
}

/// The level of a line, the least important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "named as in wit/telemetry.wit")]
pub(crate) enum LineLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogRecord {
    /// Whether the record tells of a failure: such records are displaced only by newer ones of their kind.
    pub(crate) fn is_failure(&self) -> bool {
        match &self.kind {
            RecordKind::Call(call) => call.outcome.is_failure(),
            RecordKind::Line(line) => line.level >= LineLevel::Error,
        }
    }

    /// The memory of the record, approximately.
    pub(super) fn bytes(&self) -> usize {
        let texts = match &self.kind {
            RecordKind::Call(call) => {
                let optional = [&call.code, &call.message, &call.panic];
                let optional: usize = optional.into_iter().flatten().map(String::len).sum();
                let frames: usize = call.backtrace.iter().map(|frame| size_of::<String>() + frame.len()).sum();
                size_of::<CallRecord>() + call.trigger_name.len() + optional + frames
            }
            RecordKind::Line(line) => line.message.len() + line.fields.len(),
        };
        size_of::<Self>() + self.trace.len() + texts
    }
}

#[cfg(test)]
impl RecordKind {
    /// A call that ended so, with nothing else to tell.
    pub(crate) fn call(outcome: CallOutcome) -> Self {
        Self::Call(Box::new(CallRecord {
            trigger: "http",
            trigger_name: String::new(),
            caller: "none",
            user: None,
            outcome,
            code: None,
            message: None,
            panic: None,
            backtrace: Vec::new(),
            quota: None,
            took_us: 0,
            store_round_trips: 0,
            store_operations: 0,
            records_operations: 0,
            memory_bytes: 0,
            left_out: 0,
        }))
    }

    /// A line of this level.
    pub(crate) fn line(level: LineLevel) -> Self {
        Self::Line(LineRecord { level, message: String::new(), fields: String::new() })
    }
}
