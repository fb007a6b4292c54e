//! One revision of one function: admits its calls, runs them, checks their results, and decides what callers and the
//! log are told about a failure.
//!
//! Instances are made for each call, or kept for a bounded number of calls and a bounded time. Calls in flight keep
//! their revision alive after a newer one has replaced it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use tracing::Instrument;

use super::admission::{AdmissionBounds, AdmittedCall, BUSY, CallAdmission};
use super::call::{CallError, Caller, Failure, Invocation, Reply};
use super::call_keys::CallKeys;
use super::call_log::{self, CallNotes, EndedCall, Origin};
use super::engine::{Engine, EvictIdle};
use super::instance::{self, Blueprint, DeadlinePassed, Instance};
use super::manifest::Manifest;
use super::metrics::CallMetrics;
use super::quota::{CALLS_KEY, CallRate};
use super::state::{FunctionIdentity, InstanceState};
use crate::config::{BUILT_IN, FunctionConfig};
use crate::ops::log::milliseconds;
use crate::ops::trace;

/// The longest code of a failure, in bytes.
const CODE_BYTES_MAX: usize = 64;
/// The longest message of a failure, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024;
/// The longest description of a trap in the log, in bytes; its trace is part of it.
const TRAP_BYTES_MAX: usize = 16 << 10;
/// The longest text of a panic or a reason in a record, in bytes.
const REASON_BYTES_MAX: usize = 2 << 10;

/// The reason of a call that waited for the host until its deadline.
const WAITING_AT_DEADLINE: &str = "the function was still waiting for an import at its deadline";

/// The reply to a call, or the reason why there is none.
type CallResult = Result<Reply, CallError>;

/// One revision of one function.
pub(super) struct Revision {
    pub(super) manifest: Arc<Manifest>,
    /// SHA-256 of the component, in hexadecimal.
    pub(super) digest: String,
    pub(super) identity: Arc<FunctionIdentity>,
    pub(super) config: FunctionConfig,
    pub(super) metrics: CallMetrics,
    engine: Engine,
    blueprint: Blueprint,
    rate: Arc<CallRate>,
    admission: CallAdmission,
    idle: Arc<IdleInstances>,
}

/// What a revision is made of.
pub(super) struct RevisionParts {
    pub(super) manifest: Arc<Manifest>,
    pub(super) digest: String,
    pub(super) identity: FunctionIdentity,
    pub(super) config: FunctionConfig,
    pub(super) rate: Arc<CallRate>,
    pub(super) engine: Engine,
    pub(super) blueprint: Blueprint,
}

impl Revision {
    pub(super) fn new(parts: RevisionParts) -> Self {
        let config = parts.config;
        let idle = Arc::new(IdleInstances::default());
        let bounds = admission_bounds(&config, parts.engine.share(), &parts.identity.name);
        if config.reuse {
            let pool: Weak<IdleInstances> = Arc::downgrade(&idle);
            parts.engine.register_idle(pool);
        }
        Self {
            metrics: CallMetrics::new(&parts.identity.name, &parts.identity.revision),
            admission: CallAdmission::new(bounds),
            manifest: parts.manifest,
            digest: parts.digest,
            identity: Arc::new(parts.identity),
            config,
            engine: parts.engine,
            blueprint: parts.blueprint,
            rate: parts.rate,
            idle,
        }
    }

    /// To be called when a newer revision serves: idle instances are dropped at once, the others after their call.
    pub(super) fn retire(&self) {
        self.idle.retired.store(true, Ordering::Release);
        self.idle.lock().clear();
    }

    /// Whether [`Revision::retire`] was called.
    pub(super) fn is_retired(&self) -> bool {
        self.idle.retired.load(Ordering::Acquire)
    }

    /// Makes one call and counts it.
    pub(super) async fn call(&self, invocation: Invocation) -> CallResult {
        let began = Instant::now();
        let span = trace::call_span(&self.identity.name, &self.identity.revision, &invocation.trace);
        let in_flight = self.metrics.begin(span.clone());
        let (origin, mut notes) = (Origin::of(&invocation, &self.manifest), CallNotes::default());
        // Pinned here, because `instrument` moves what it takes, and this future is large.
        let result = pin!(self.admit(invocation, began, &mut notes)).instrument(span).await;
        let took = began.elapsed();
        in_flight.end(&result, took, &notes.figures);
        let ended = EndedCall { origin, result: &result, notes, began, took };
        self.identity.recorder.call(ended, &self.manifest, || self.identity.world.store.now());
        result
    }

    async fn admit(&self, invocation: Invocation, began: Instant, notes: &mut CallNotes) -> CallResult {
        self.check_rate(invocation.caller).inspect_err(|_| notes.figures.quota = Some(CALLS_KEY))?;
        let keys = CallKeys::of(&invocation, &self.manifest);
        let (admitted_call, admitted) = match self.admission.try_admit(keys) {
            Some(call) => (call, began),
            None => (self.admission.admit(keys).await?, Instant::now()),
        };
        let deadline = admitted + self.config.deadline;
        let trace = Arc::clone(&invocation.trace);
        let mut call = RunningCall { instance: None, notes };
        let result = {
            let mut running = pin!(self.run(invocation, (admitted, deadline), (&mut call, &admitted_call)));
            // With an embedded store most calls are complete at the first poll and need no timer.
            match poll_fn(|context| Poll::Ready(running.as_mut().poll(context))).await {
                Poll::Ready(result) => Some(result),
                Poll::Pending => tokio::time::timeout_at(deadline.into(), running).await.ok(),
            }
        };
        result.unwrap_or_else(|| {
            call.note_figures();
            call.notes.reason = Some(WAITING_AT_DEADLINE.to_owned());
            self.log_waiting_at_deadline(&trace);
            Err(CallError::DeadlineExceeded)
        })
    }

    /// Calls of the host itself are rare, and others wait for them, so they are always admitted.
    fn check_rate(&self, caller: Caller) -> Result<(), CallError> {
        if caller == Caller::Host {
            return Ok(());
        }
        self.rate.admit().inspect_err(|_| self.identity.counters.count_refusal(CALLS_KEY))
    }

    async fn run(
        &self,
        invocation: Invocation,
        (admitted, deadline): (Instant, Instant),
        (call, place): (&mut RunningCall<'_>, &AdmittedCall),
    ) -> CallResult {
        let trace = Arc::clone(&invocation.trace);
        let instance = match self.instance(&trace, admitted, deadline).await {
            Ok(instance) => call.instance.insert(instance),
            Err(error) => return Err(self.failed(&error, call, &trace)),
        };
        instance.state().place = Some(place.place());
        let deadline_ms = self.deadline_ms();
        let answered = instance.handle(invocation, deadline, deadline_ms).await;
        call.note_figures();
        match answered {
            Ok(answer) => {
                let result = self.check_answer(answer).map_err(|invalid| self.invalid(invalid, call, &trace));
                if let Some(instance) = call.instance.take() {
                    self.keep_idle(instance, admitted);
                }
                result.and_then(|result| result)
            }
            Err(error) => Err(self.failed(&error, call, &trace)),
        }
    }

    fn deadline_ms(&self) -> u64 {
        let span = u64::try_from(self.config.deadline.as_millis()).unwrap_or(u64::MAX);
        self.identity.world.store.now().plus(span).0
    }

    async fn instance(&self, trace: &Arc<str>, now: Instant, deadline: Instant) -> wasmtime::Result<Instance> {
        if let Some(instance) = self.idle.take(self.config.reuse_age, now) {
            return Ok(instance);
        }
        let slot = self.engine.slot().await;
        let slot = slot.ok_or_else(|| wasmtime::Error::msg("the engine has stopped"))?;
        let call = (Arc::clone(trace), deadline);
        let state = InstanceState::new(Arc::clone(&self.identity), self.config.memory_bytes_max, call);
        Instance::new(&self.blueprint, (slot, now), instance::store(&self.engine, state)).await
    }

    fn keep_idle(&self, instance: Instance, now: Instant) {
        let used_up = instance.calls() >= self.config.reuse_calls_max || instance.age(now) >= self.config.reuse_age;
        if self.config.reuse && !used_up && self.engine.has_room() {
            self.idle.put(instance);
        }
    }

    /// Checks an answer against the contract.
    fn check_answer(&self, answer: Result<Reply, Failure>) -> Result<CallResult, InvalidAnswer> {
        let invalid = |error, what| Err(InvalidAnswer { error, what });
        let reply = match answer {
            Ok(reply) => reply,
            Err(failure) => return check_failure(failure).map(Err),
        };
        if reply.body.len() > self.config.reply_bytes_max {
            let (bytes, allowed) = (reply.body.len(), self.config.reply_bytes_max);
            let what = format!("a reply of {bytes} bytes, but reply_bytes_max is {allowed}");
            return invalid(CallError::ReplyTooLarge, what);
        }
        if !(200..300).contains(&reply.status) {
            let what = format!("a reply with the status {}, but 200 to 299 are allowed", reply.status);
            return invalid(CallError::Trapped, what);
        }
        if !reply.body.is_empty() && serde_json::from_str::<IgnoredAny>(&reply.body).is_err() {
            return invalid(CallError::Trapped, "a reply whose body is not JSON".to_owned());
        }
        Ok(Ok(reply))
    }

    /// Logs and notes why a call failed, and returns what the caller may know about it.
    fn failed(&self, error: &wasmtime::Error, call: &mut RunningCall<'_>, trace: &str) -> CallError {
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            tracing::warn!(target: "roost::function", function = %self.identity.name, trace, "a call is refused because all instance slots are taken: {error:#}");
            return BUSY;
        }
        let state = call.instance.as_mut().map(Instance::state);
        let (mut panic, refused) =
            state.map_or((None, None), |state| (state.take_last_error(), state.memory.take_refused()));
        let timed_out = error.is::<DeadlinePassed>();
        let mut description = format!("{error:?}");
        call_log::cut(&mut description, TRAP_BYTES_MAX);
        tracing::error!(
            target: "roost::function",
            function = %self.identity.name,
            revision = %self.identity.revision,
            trace,
            panic = panic.as_deref(),
            memory_refused_bytes = refused,
            memory_allowed_bytes = refused.map(|_| self.config.memory_bytes_max),
            "{}: {description}",
            if timed_out { "the function was still computing at its deadline" } else { "the function trapped" },
        );
        if let Some(panic) = &mut panic {
            call_log::cut(panic, REASON_BYTES_MAX);
        }
        call.notes.reason = Some(reason(error, refused));
        call.notes.backtrace = call_log::backtrace(error);
        call.notes.panic = panic;
        if timed_out { CallError::DeadlineExceeded } else { CallError::Trapped }
    }

    /// Logs and notes in which way an answer breaks the contract.
    fn invalid(&self, invalid: InvalidAnswer, call: &mut RunningCall<'_>, trace: &str) -> CallError {
        let reason = format!("the answer of the function breaks the contract: {}", invalid.what);
        tracing::error!(
            target: "roost::function",
            function = %self.identity.name,
            revision = %self.identity.revision,
            trace,
            "{reason}"
        );
        call.notes.reason = Some(reason);
        invalid.error
    }

    fn log_waiting_at_deadline(&self, trace: &str) {
        tracing::error!(
            target: "roost::function",
            function = %self.identity.name,
            revision = %self.identity.revision,
            trace,
            deadline_ms = milliseconds(self.config.deadline),
            "{WAITING_AT_DEADLINE}"
        );
    }
}

/// Every paused call keeps its instance, so that calls may pause only within the function's share of all instances.
fn admission_bounds(config: &FunctionConfig, instances: usize, function: &str) -> AdmissionBounds {
    let running_max = config.concurrency_max.min(instances);
    // What other functions wait for is their own affair, and their bound on calls in flight has no exception.
    let may_pause = BUILT_IN.contains(&function);
    let paused_max = if may_pause { running_max.min((instances - running_max) / 2) } else { 0 };
    AdmissionBounds { running_max, paused_max, waiting_max: config.queue_max, wait_max: config.deadline }
}

/// An answer that breaks the contract, and what the caller is answered instead.
struct InvalidAnswer {
    error: CallError,
    what: String,
}

fn check_failure(failure: Failure) -> Result<CallError, InvalidAnswer> {
    let code = &failure.code;
    let clean = code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let fits = !code.is_empty() && code.len() <= CODE_BYTES_MAX && failure.message.len() <= MESSAGE_BYTES_MAX;
    if clean && fits {
        return Ok(CallError::Failed(failure));
    }
    let what = format!(
        "a failure whose code is not 1 to {CODE_BYTES_MAX} bytes of 'a-z' and '_', or whose message is longer than {MESSAGE_BYTES_MAX} bytes"
    );
    Err(InvalidAnswer { error: CallError::Trapped, what })
}

/// The cause of a trap, for a record.
fn reason(error: &wasmtime::Error, refused_bytes: Option<usize>) -> String {
    let mut reason = error.root_cause().to_string();
    call_log::cut(&mut reason, REASON_BYTES_MAX);
    if let Some(bytes) = refused_bytes {
        reason.push_str(&format!("; it was refused memory beyond memory_bytes_max: {bytes} bytes in all"));
    }
    reason
}

/// A call and its instance. The instance is kept outside of the future that runs in it, so that what it has used is
/// known when that future is dropped at the deadline.
struct RunningCall<'n> {
    instance: Option<Instance>,
    notes: &'n mut CallNotes,
}

impl RunningCall<'_> {
    fn note_figures(&mut self) {
        if let Some(instance) = &mut self.instance {
            self.notes.figures = instance.state().figures();
        }
    }
}

/// The instances of a revision that serve no call at the moment.
#[derive(Default)]
struct IdleInstances {
    instances: Mutex<Vec<Instance>>,
    retired: AtomicBool,
}

impl IdleInstances {
    fn lock(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, age_max: Duration, now: Instant) -> Option<Instance> {
        let mut too_old = Vec::new();
        let mut instances = self.lock();
        let found = loop {
            match instances.pop() {
                Some(instance) if instance.age(now) >= age_max => too_old.push(instance),
                found => break found,
            }
        };
        // Dropping an instance takes time, during which the lock must not be held.
        drop(instances);
        drop(too_old);
        found
    }

    fn put(&self, instance: Instance) {
        let mut instances = self.lock();
        // Read under the lock, which `retire` takes after it has set the flag, so that no instance is left behind.
        if !self.retired.load(Ordering::Acquire) {
            instances.push(instance);
        }
    }
}

impl EvictIdle for IdleInstances {
    fn evict(&self) -> bool {
        let evicted = self.lock().pop();
        evicted.is_some()
    }
}
