//! One revision of one function: how its calls enter, run, end, and what of them is told to whom.
//!
//! Instances are made fresh for each call, or kept idle for a bounded number of calls and time. Calls in flight
//! keep their revision alive after a newer one has taken its place.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;

use super::admission::{BUSY, Gate};
use super::call::{CallError, Failure, Invocation, Reply};
use super::engine::{Engine, Evict};
use super::instance::{self, Blueprint, DeadlinePassed, Instance};
use super::manifest::Manifest;
use super::metrics::CallMetrics;
use super::state::{Identity, State};
use crate::config::FunctionConfig;

/// A failure's code, as clients see it.
const CODE_BYTES_MAX: usize = 64;
/// A failure's message, as clients see it.
const MESSAGE_BYTES_MAX: usize = 1024;

/// A function's answer, its refusal, or why there is neither.
type Answer = Result<Reply, CallError>;

pub(super) struct Revision {
    pub(super) manifest: Arc<Manifest>,
    /// SHA-256 of the component, in hexadecimal.
    pub(super) digest: String,
    pub(super) identity: Arc<Identity>,
    pub(super) config: FunctionConfig,
    pub(super) metrics: CallMetrics,
    engine: Engine,
    blueprint: Blueprint,
    gate: Gate,
    idle: Arc<Idle>,
}

/// What a revision is made of.
pub(super) struct Parts {
    pub(super) manifest: Manifest,
    pub(super) digest: String,
    pub(super) identity: Identity,
    pub(super) config: FunctionConfig,
    pub(super) engine: Engine,
    pub(super) blueprint: Blueprint,
}

impl Revision {
    pub(super) fn new(parts: Parts) -> Self {
        let config = parts.config;
        let idle = Arc::new(Idle::default());
        if config.reuse {
            let pool: Weak<Idle> = Arc::downgrade(&idle);
            parts.engine.register_idle(pool);
        }
        Self {
            metrics: CallMetrics::new(&parts.identity.name, &parts.identity.revision),
            gate: Gate::new(config.concurrency_max, config.queue_max, config.deadline),
            manifest: Arc::new(parts.manifest),
            digest: parts.digest,
            identity: Arc::new(parts.identity),
            config,
            engine: parts.engine,
            blueprint: parts.blueprint,
            idle,
        }
    }

    /// A newer revision serves from now on: idle instances go at once, busy ones after their call.
    pub(super) fn retire(&self) {
        self.idle.retired.store(true, Ordering::Release);
        self.idle.lock().clear();
    }

    /// Makes one call and counts it.
    pub(super) async fn call(&self, invocation: Invocation) -> Answer {
        let began = Instant::now();
        let in_flight = self.metrics.begin();
        let answer = self.admit(invocation, began).await;
        in_flight.end(&answer, began.elapsed());
        answer
    }

    async fn admit(&self, invocation: Invocation, began: Instant) -> Answer {
        let (_permit, admitted) = match self.gate.try_enter() {
            Some(permit) => (permit, began),
            None => (self.gate.enter().await?, Instant::now()),
        };
        let deadline = admitted + self.config.deadline;
        let trace = Arc::clone(&invocation.trace);
        let mut running = pin!(self.run(invocation, admitted, deadline));
        // Most calls that meet an embedded store end at once and need no timer.
        let first = poll_fn(|context| Poll::Ready(running.as_mut().poll(context))).await;
        if let Poll::Ready(answer) = first {
            return answer;
        }
        match tokio::time::timeout_at(deadline.into(), running).await {
            Ok(answer) => answer,
            Err(_) => {
                self.log_waiting_past_deadline(&trace);
                Err(CallError::DeadlineExceeded)
            }
        }
    }

    async fn run(&self, invocation: Invocation, admitted: Instant, deadline: Instant) -> Answer {
        let mut instance = match self.instance(&invocation.trace, admitted, deadline).await {
            Ok(instance) => instance,
            Err(error) => return Err(self.broken(&error, None, &invocation.trace)),
        };
        let deadline_ms = self.deadline_ms();
        match instance.handle(invocation, deadline, deadline_ms).await {
            Ok(answer) => {
                let answer = self.judge(answer, instance.state());
                self.keep(instance, admitted);
                answer
            }
            Err(error) => {
                let state = instance.state();
                let trace = Arc::clone(&state.trace);
                Err(self.broken(&error, Some(state), &trace))
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
        let serves = (Arc::clone(trace), deadline);
        let state = State::new(Arc::clone(&self.identity), self.config.memory_bytes_max, serves);
        Instance::new(&self.blueprint, (slot, now), instance::store(&self.engine, state)).await
    }

    fn keep(&self, instance: Instance, now: Instant) {
        let worn = instance.calls() >= self.config.reuse_calls_max || instance.age(now) >= self.config.reuse_age;
        if self.config.reuse && !worn && self.engine.has_room() {
            self.idle.put(instance);
        }
    }

    /// Holds an answer to the contract.
    fn judge(&self, answer: Result<Reply, Failure>, state: &State) -> Answer {
        let reply = match answer {
            Ok(reply) => reply,
            Err(failure) => return Err(self.judge_failure(failure, state)),
        };
        if reply.body.len() > self.config.reply_bytes_max {
            self.log_no_reply(
                state,
                &format!("a reply of {} bytes, allowed are {}", reply.body.len(), self.config.reply_bytes_max),
            );
            return Err(CallError::ReplyTooLarge);
        }
        if !(200..300).contains(&reply.status) {
            self.log_no_reply(state, &format!("a reply with status {}", reply.status));
            return Err(CallError::Trapped);
        }
        if !reply.body.is_empty() && serde_json::from_str::<IgnoredAny>(&reply.body).is_err() {
            self.log_no_reply(state, "a reply whose body is no JSON");
            return Err(CallError::Trapped);
        }
        Ok(reply)
    }

    fn judge_failure(&self, failure: Failure, state: &State) -> CallError {
        let code = &failure.code;
        let clean = code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let fits = !code.is_empty() && code.len() <= CODE_BYTES_MAX && failure.message.len() <= MESSAGE_BYTES_MAX;
        if clean && fits {
            CallError::Failed(failure)
        } else {
            self.log_no_reply(state, "a failure whose code or message breaks the contract");
            CallError::Trapped
        }
    }

    /// Says in the log what broke a call, and to the caller as much as it may know.
    fn broken(&self, error: &wasmtime::Error, state: Option<&mut State>, trace: &str) -> CallError {
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            tracing::warn!(target: "roost::function", function = %self.identity.name, trace, "no room for an instance: {error:#}");
            return BUSY;
        }
        let (panic, refused) =
            state.map_or((None, None), |state| (state.last_error.take(), state.ledger.take_refused()));
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
            if timed_out { "the function computed past its deadline" } else { "the function trapped" },
        );
        if timed_out { CallError::DeadlineExceeded } else { CallError::Trapped }
    }

    fn log_no_reply(&self, state: &State, what: &str) {
        tracing::error!(
            target: "roost::function",
            function = %self.identity.name,
            revision = %self.identity.revision,
            trace = %state.trace,
            "the function answered with what is no reply: {what}"
        );
    }

    fn log_waiting_past_deadline(&self, trace: &str) {
        tracing::error!(
            target: "roost::function",
            function = %self.identity.name,
            revision = %self.identity.revision,
            trace,
            deadline_ms = self.config.deadline.as_millis(),
            "the function waited in an import past its deadline"
        );
    }
}

/// Instances between two calls.
#[derive(Default)]
struct Idle {
    instances: Mutex<Vec<Instance>>,
    retired: AtomicBool,
}

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, age_max: Duration, now: Instant) -> Option<Instance> {
        let mut aged = Vec::new();
        let mut instances = self.lock();
        let found = loop {
            match instances.pop() {
                Some(instance) if instance.age(now) >= age_max => aged.push(instance),
                found => break found,
            }
        };
        // Tearing instances down takes time that nobody else should wait for.
        drop(instances);
        drop(aged);
        found
    }

    fn put(&self, instance: Instance) {
        let mut instances = self.lock();
        // Asked under the lock, which `retire` takes after it has set the mark: none stays behind.
        if !self.retired.load(Ordering::Acquire) {
            instances.push(instance);
        }
    }
}

impl Evict for Idle {
    fn evict(&self) -> bool {
        let evicted = self.lock().pop();
        evicted.is_some()
    }
}
