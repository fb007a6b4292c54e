//! One revision of one function: admits its calls, runs them, checks their results, and decides what callers and the log are
//! told about a failure.
//!
//! Instances are made for each call, or kept for a bounded number of calls and a bounded time. Calls in flight keep their
//! revision alive after a newer one has replaced it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use tracing::Instrument;

use super::admission::{BUSY, CallAdmission};
use super::call::{CallError, Caller, Failure, Invocation, Reply};
use super::engine::{Engine, EvictIdle};
use super::instance::{self, Blueprint, DeadlinePassed, Instance};
use super::manifest::Manifest;
use super::metrics::CallMetrics;
use super::quota::{CALLS_KEY, CallRate};
use super::state::{FunctionIdentity, InstanceState};
use crate::config::FunctionConfig;
use crate::ops::log::milliseconds;
use crate::ops::trace;

/// The longest code of a failure, in bytes.
const CODE_BYTES_MAX: usize = 64;
/// The longest message of a failure, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024;

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
    pub(super) manifest: Manifest,
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
        let running_max = config.concurrency_max.min(parts.engine.share());
        if config.reuse {
            let pool: Weak<IdleInstances> = Arc::downgrade(&idle);
            parts.engine.register_idle(pool);
        }
        Self {
            metrics: CallMetrics::new(&parts.identity.name, &parts.identity.revision),
            admission: CallAdmission::new(running_max, config.queue_max, config.deadline),
            manifest: Arc::new(parts.manifest),
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

    /// Makes one call and counts it.
    pub(super) async fn call(&self, invocation: Invocation) -> CallResult {
        let began = Instant::now();
        let span = trace::call_span(&self.identity.name, &self.identity.revision, &invocation.trace);
        let in_flight = self.metrics.begin(span.clone());
        // Pinned here, because `instrument` moves what it takes, and this future is large.
        let result = pin!(self.admit(invocation, began)).instrument(span).await;
        in_flight.end(&result, began.elapsed());
        result
    }

    async fn admit(&self, invocation: Invocation, began: Instant) -> CallResult {
        self.check_rate(invocation.caller)?;
        let (_permit, admitted) = match self.admission.try_admit() {
            Some(permit) => (permit, began),
            None => (self.admission.admit().await?, Instant::now()),
        };
        let deadline = admitted + self.config.deadline;
        let trace = Arc::clone(&invocation.trace);
        let mut running = pin!(self.run(invocation, admitted, deadline));
        // With an embedded store most calls are complete at the first poll and need no timer.
        let first = poll_fn(|context| Poll::Ready(running.as_mut().poll(context))).await;
        if let Poll::Ready(result) = first {
            return result;
        }
        match tokio::time::timeout_at(deadline.into(), running).await {
            Ok(result) => result,
            Err(_) => {
                self.log_waiting_at_deadline(&trace);
                Err(CallError::DeadlineExceeded)
            }
        }
    }

    /// Calls of the host itself are rare, and others wait for them, so they are always admitted.
    fn check_rate(&self, caller: Caller) -> Result<(), CallError> {
        if caller == Caller::Host {
            return Ok(());
        }
        self.rate.admit().inspect_err(|_| self.identity.counters.count_refusal(CALLS_KEY))
    }

    async fn run(&self, invocation: Invocation, admitted: Instant, deadline: Instant) -> CallResult {
        let mut instance = match self.instance(&invocation.trace, admitted, deadline).await {
            Ok(instance) => instance,
            Err(error) => return Err(self.failed(&error, None, &invocation.trace)),
        };
        let deadline_ms = self.deadline_ms();
        match instance.handle(invocation, deadline, deadline_ms).await {
            Ok(answer) => {
                let result = self.check_answer(answer, instance.state());
                self.keep_idle(instance, admitted);
                result
            }
            Err(error) => {
                let state = instance.state();
                let trace = Arc::clone(&state.trace);
                Err(self.failed(&error, Some(state), &trace))
            }
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
    fn check_answer(&self, answer: Result<Reply, Failure>, state: &InstanceState) -> CallResult {
        let reply = match answer {
            Ok(reply) => reply,
            Err(failure) => return Err(self.check_failure(failure, state)),
        };
        if reply.body.len() > self.config.reply_bytes_max {
            let (bytes, allowed) = (reply.body.len(), self.config.reply_bytes_max);
            self.log_invalid_answer(state, &format!("a reply of {bytes} bytes, but reply_bytes_max is {allowed}"));
            return Err(CallError::ReplyTooLarge);
        }
        if !(200..300).contains(&reply.status) {
            self.log_invalid_answer(
                state,
                &format!("a reply with the status {}, but 200 to 299 are allowed", reply.status),
            );
            return Err(CallError::Trapped);
        }
        if !reply.body.is_empty() && serde_json::from_str::<IgnoredAny>(&reply.body).is_err() {
            self.log_invalid_answer(state, "a reply whose body is not JSON");
            return Err(CallError::Trapped);
        }
        Ok(reply)
    }

    fn check_failure(&self, failure: Failure, state: &InstanceState) -> CallError {
        let code = &failure.code;
        let clean = code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let fits = !code.is_empty() && code.len() <= CODE_BYTES_MAX && failure.message.len() <= MESSAGE_BYTES_MAX;
        if clean && fits {
            CallError::Failed(failure)
        } else {
            self.log_invalid_answer(
                state,
                &format!(
                    "a failure whose code is not 1 to {CODE_BYTES_MAX} bytes of 'a-z' and '_', or whose message is longer than {MESSAGE_BYTES_MAX} bytes"
                ),
            );
            CallError::Trapped
        }
    }

    /// Logs why a call failed, and returns what the caller may know about it.
    fn failed(&self, error: &wasmtime::Error, state: Option<&mut InstanceState>, trace: &str) -> CallError {
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            tracing::warn!(target: "roost::function", function = %self.identity.name, trace, "a call is refused because all instance slots are taken: {error:#}");
            return BUSY;
        }
        let (panic, refused) =
            state.map_or((None, None), |state| (state.last_error.take(), state.memory.take_refused()));
        let timed_out = error.is::<DeadlinePassed>();
        tracing::error!(
            target: "roost::function",
            function = %self.identity.name,
            revision = %self.identity.revision,
            trace,
            panic = panic.as_deref(),
            memory_refused_bytes = refused,
            memory_allowed_bytes = refused.map(|_| self.config.memory_bytes_max),
            "{}: {error:?}",
            if timed_out { "the function was still computing at its deadline" } else { "the function trapped" },
        );
        if timed_out { CallError::DeadlineExceeded } else { CallError::Trapped }
    }

    fn log_invalid_answer(&self, state: &InstanceState, what: &str) {
        tracing::error!(
            target: "roost::function",
            function = %self.identity.name,
            revision = %self.identity.revision,
            trace = %state.trace,
            "the answer of the function breaks the contract: {what}"
        );
    }

    fn log_waiting_at_deadline(&self, trace: &str) {
        tracing::error!(
            target: "roost::function",
            function = %self.identity.name,
            revision = %self.identity.revision,
            trace,
            deadline_ms = milliseconds(self.config.deadline),
            "the function was still waiting for an import at its deadline"
        );
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
