//! Turns the calls of one revision into records. Failures are always recorded, successes and calls that found no room
//! up to so many a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roost_core::ids::UserId;
use roost_core::time::Timestamp;

use super::super::call::{CallError, Caller, FailureKind, Invocation, Reply, Request};
use super::super::manifest::{Hook, Manifest};
use super::call_notes::{CallFigures, CallNotes};
use super::record::{CallOutcome, CallRecord, LineLevel, LineRecord, LogRecord, RecordKind};
use super::registry::FunctionLog;
use super::sampler::Sampler;
use crate::ops::log::microseconds;

/// Where a call comes from. It is taken before the call begins, because the call takes the invocation with it; the
/// names are in the manifest, so that nothing is copied for a call that is not recorded.
#[derive(Clone, Debug)]
pub(in super::super) struct Origin {
    caller: Caller,
    trace: Arc<str>,
    cause: Cause,
}

/// What caused a call, as positions in the manifest.
#[derive(Clone, Copy, Debug)]
enum Cause {
    Route(u32),
    Message(Option<usize>),
    Hook(Hook, Option<UserId>),
    Tick(Option<usize>, u32),
    Publication(Option<usize>),
}

impl Origin {
    /// The origin of a call to a function with this manifest.
    pub(in super::super) fn of(invocation: &Invocation, manifest: &Manifest) -> Self {
        let cause = match &invocation.request {
            Request::Http(request) => Cause::Route(request.route),
            Request::Message { name, .. } => {
                Cause::Message(manifest.messages.iter().position(|message| message == name))
            }
            Request::Connected(connection) => Cause::Hook(Hook::Connected, Some(connection.user)),
            Request::Heartbeat(_) => Cause::Hook(Hook::Heartbeat, None),
            Request::Disconnected(connection) => Cause::Hook(Hook::Disconnected, Some(connection.user)),
            Request::Sync { user, .. } => Cause::Hook(Hook::Sync, Some(*user)),
            Request::Tick { schedule, shard } => {
                Cause::Tick(manifest.schedules.iter().position(|each| each.name == *schedule), *shard)
            }
            Request::Publication(published) => {
                Cause::Publication(manifest.publications.iter().position(|event| **event == *published.event.name))
            }
        };
        Self { caller: invocation.caller, trace: Arc::clone(&invocation.trace), cause }
    }

    fn caller(&self) -> (&'static str, Option<UserId>) {
        match (self.caller, self.cause) {
            (Caller::User(user) | Caller::ServiceFor(user), _) => ("user", Some(user)),
            (Caller::Service, _) => ("service", None),
            (Caller::Anonymous, _) => ("none", None),
            (Caller::Host, Cause::Hook(_, user)) => ("host", user),
            (Caller::Host, _) => ("host", None),
        }
    }
}

impl Cause {
    /// The kind of the cause and its name.
    fn named(self, manifest: &Manifest) -> (&'static str, String) {
        let unknown = || "unknown".to_owned();
        match self {
            Self::Route(index) => {
                let route = manifest.routes.get(index as usize);
                ("http", route.map_or_else(unknown, |route| format!("{} {}", route.method, route.path)))
            }
            Self::Message(index) => {
                ("message", index.and_then(|index| manifest.messages.get(index)).cloned().unwrap_or_else(unknown))
            }
            Self::Hook(hook, _) => ("hook", hook.as_str().to_owned()),
            Self::Tick(index, shard) => {
                let schedule = index.and_then(|index| manifest.schedules.get(index));
                ("schedule", format!("{} shard {shard}", schedule.map_or("unknown", |each| each.name.as_str())))
            }
            Self::Publication(index) => {
                let event = index.and_then(|index| manifest.publications.get(index));
                ("publication", event.cloned().unwrap_or_else(unknown))
            }
        }
    }
}

/// A call that has ended.
pub(in super::super) struct EndedCall<'c> {
    pub(in super::super) origin: Origin,
    pub(in super::super) result: &'c Result<Reply, CallError>,
    pub(in super::super) notes: CallNotes,
    pub(in super::super) began: Instant,
    pub(in super::super) took: Duration,
}

impl EndedCall<'_> {
    fn outcome(&self) -> CallOutcome {
        match self.result {
            Ok(_) => CallOutcome::Ok,
            Err(CallError::Failed(failure)) => match failure.kind {
                FailureKind::Unavailable | FailureKind::Internal => CallOutcome::Failed,
                _ => CallOutcome::Refused,
            },
            Err(CallError::Busy { .. }) if self.notes.figures.quota.is_some() => CallOutcome::Quota,
            Err(CallError::Busy { .. }) => CallOutcome::Busy,
            Err(CallError::Trapped) => CallOutcome::Trapped,
            Err(CallError::DeadlineExceeded) => CallOutcome::Timeout,
            Err(CallError::ReplyTooLarge) => CallOutcome::ReplyTooLarge,
        }
    }
}

/// Records the calls and lines of one revision.
pub(in super::super) struct CallRecorder {
    log: Arc<FunctionLog>,
    digest: Arc<str>,
    created: Instant,
    successes: Sampler,
    /// For calls that found no room. There may be very many, and all are alike.
    unadmitted: Sampler,
}

impl CallRecorder {
    pub(in super::super) fn new(log: Arc<FunctionLog>, digest: &str, per_second_max: u32) -> Self {
        Self {
            log,
            digest: digest.into(),
            created: Instant::now(),
            successes: Sampler::new(per_second_max),
            unadmitted: Sampler::new(per_second_max),
        }
    }

    /// Records a call, unless it is one too many of its kind. `now` is asked only for a call that is recorded.
    pub(in super::super) fn call(&self, ended: EndedCall<'_>, manifest: &Manifest, now: impl FnOnce() -> Timestamp) {
        let outcome = ended.outcome();
        let sampler = match outcome {
            CallOutcome::Ok => Some(&self.successes),
            CallOutcome::Busy | CallOutcome::Quota => Some(&self.unadmitted),
            _ => None,
        };
        let left_out = match sampler {
            Some(sampler) => match sampler.admit(self.second(&ended)) {
                Some(left_out) => left_out,
                None => return,
            },
            None => 0,
        };
        let trace = Arc::clone(&ended.origin.trace);
        let call = CallRecord { left_out, ..record(ended, outcome, manifest) };
        self.keep(now(), trace, RecordKind::Call(Box::new(call)));
    }

    /// Records a line that the function logged.
    pub(in super::super) fn line(
        &self,
        at: Timestamp,
        trace: Arc<str>,
        (level, message, fields): (LineLevel, &str, &str),
    ) {
        let line = LineRecord { level, message: message.to_owned(), fields: fields.to_owned() };
        self.keep(at, trace, RecordKind::Line(line));
    }

    /// The successful calls that were left out since the last recorded one.
    #[cfg(test)]
    pub(super) fn left_out(&self) -> u64 {
        self.successes.left_out()
    }

    fn second(&self, ended: &EndedCall<'_>) -> u32 {
        let since = ended.began.saturating_duration_since(self.created) + ended.took;
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    }

    fn keep(&self, at: Timestamp, trace: Arc<str>, kind: RecordKind) {
        self.log.keep(LogRecord { sequence: 0, at, digest: Arc::clone(&self.digest), trace, kind });
    }
}

fn record(ended: EndedCall<'_>, outcome: CallOutcome, manifest: &Manifest) -> CallRecord {
    let (caller, user) = ended.origin.caller();
    let (trigger, trigger_name) = ended.origin.cause.named(manifest);
    let EndedCall { result, notes, took, .. } = ended;
    let CallNotes { figures, reason, panic, backtrace } = notes;
    let CallFigures { store_round_trips, store_operations, records_operations, memory_bytes, quota } = figures;
    let (code, message) = match result {
        Err(CallError::Failed(failure)) => (Some(failure.code.clone()), Some(failure.message.clone())),
        _ => (None, reason),
    };
    CallRecord {
        trigger,
        trigger_name,
        caller,
        user,
        outcome,
        code,
        message,
        panic,
        backtrace,
        quota,
        took_us: microseconds(took),
        store_round_trips,
        store_operations,
        records_operations,
        memory_bytes,
        left_out: 0,
    }
}
