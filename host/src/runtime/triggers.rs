//! Makes the calls that publications caused: claims them from the queue of each function, and removes or postpones
//! them.
//!
//! A call that was queued on this host is claimed at once. Calls of hosts that died, and calls that failed before, are
//! found by looking into the queues at intervals. Calls in flight are bounded, for each function and in all.

mod claims;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roost_core::error::Error;
use roost_core::trigger::{self, ClaimedTrigger, retry_after_ms};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::ops::log::milliseconds;
use crate::ops::supervisor::propagate_panic;
use crate::ops::{metrics, trace};
use crate::runtime::dispatcher::Subscribed;
use crate::runtime::subscriptions::Subscriptions;
use crate::runtime::{CallError, Caller, Failure, FailureKind, Invocation, PublishedEvent, Request};
use crate::store::Store;

/// How many calls of all functions together run on this host at a time.
const CALLS_MAX: usize = 16;
/// How many calls of one function run on this host at a time, so that other calls of the function find room.
const FUNCTION_CALLS_MAX: usize = 4;
/// The queues are looked into after this time and up to [`POLL_JITTER`] more.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const POLL_JITTER: Duration = Duration::from_millis(250);
/// The longest pause before a busy function is called again.
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Makes calls until `stop` is cancelled, then waits for those that run.
pub(crate) async fn run<F: Subscribed>(
    functions: Arc<F>,
    (store, subscriptions): (Store, Subscriptions),
    stop: CancellationToken,
) {
    let mut runner = TriggerRunner {
        functions,
        store,
        all: Arc::new(Semaphore::new(CALLS_MAX)),
        of_function: HashMap::new(),
        running: JoinSet::new(),
        rounds: 0,
    };
    let mut poll_at = Instant::now();
    while !stop.is_cancelled() {
        let is_poll = tokio::select! {
            () = stop.cancelled() => break,
            () = sleep_until(poll_at) => true,
            () = subscriptions.queued() => false,
            Some(ended) = runner.running.join_next() => {
                propagate_panic(ended);
                false
            }
        };
        while let Some(ended) = runner.running.try_join_next() {
            propagate_panic(ended);
        }
        if is_poll {
            poll_at = Instant::now() + POLL_INTERVAL + POLL_JITTER.mul_f64(rand::random_range(0.0..1.0));
            runner.measure().await;
        }
        runner.make_calls().await;
    }
    while let Some(ended) = runner.running.join_next().await {
        propagate_panic(ended);
    }
}

/// The number of calls that [`make_due`] makes at most.
const DUE_CALLS_MAX: usize = 1_000;

/// Makes the calls that are due, one after the other, and those that these cause, until none is due. For a host whose
/// time stands still. Returns whether that was all of them: at most [`DUE_CALLS_MAX`] are made.
pub(crate) async fn make_due<F: Subscribed>(functions: &Arc<F>, store: &Store) -> Result<bool, Error> {
    let mut made = 0;
    while made < DUE_CALLS_MAX {
        let before = made;
        for target in functions.subscribers() {
            for claimed in claims::claim(store, F::name(&target), (1, F::lease_ms(&target))).await? {
                let (functions, store, target) = (functions.clone(), store.clone(), target.clone());
                TriggerCall { functions, store, target, claimed }.run().await;
                made += 1;
            }
        }
        if made == before {
            return Ok(true);
        }
    }
    Ok(false)
}

struct TriggerRunner<F: Subscribed> {
    functions: Arc<F>,
    store: Store,
    all: Arc<Semaphore>,
    of_function: HashMap<String, Arc<Semaphore>>,
    running: JoinSet<()>,
    /// How often the queues were asked for calls.
    rounds: usize,
}

impl<F: Subscribed> TriggerRunner<F> {
    /// Begins as many calls as may run and are due.
    async fn make_calls(&mut self) {
        let mut subscribers = self.functions.subscribers();
        // Another function is the first one each time, so that those with a backlog leave permits to the others.
        let first = self.rounds.checked_rem(subscribers.len()).unwrap_or_default();
        self.rounds = self.rounds.wrapping_add(1);
        subscribers.rotate_left(first);
        for target in subscribers {
            if let Err(error) = self.make_calls_of(&target).await {
                tracing::debug!(function = F::name(&target), %error, "the queue of a function cannot be read now");
            }
        }
    }

    async fn make_calls_of(&mut self, target: &F::Target) -> Result<(), Error> {
        let permits = self.permits(F::name(target));
        let limit = u32::try_from(permits.len()).unwrap_or_default();
        if limit == 0 {
            return Ok(());
        }
        let claimed = claims::claim(&self.store, F::name(target), (limit, F::lease_ms(target))).await?;
        for (claimed, permit) in claimed.into_iter().zip(permits) {
            let call = TriggerCall {
                functions: self.functions.clone(),
                store: self.store.clone(),
                target: target.clone(),
                claimed,
            };
            self.running.spawn(async move {
                call.run().await;
                drop(permit);
            });
        }
        Ok(())
    }

    /// The permits for all calls of a function that may begin now.
    fn permits(&mut self, function: &str) -> Vec<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let new = || Arc::new(Semaphore::new(FUNCTION_CALLS_MAX));
        let own = self.of_function.entry(function.to_owned()).or_insert_with(new);
        let permit = || Some((own.clone().try_acquire_owned().ok()?, self.all.clone().try_acquire_owned().ok()?));
        std::iter::from_fn(permit).collect()
    }

    /// Shows the lengths of the queues.
    async fn measure(&mut self) {
        let names: Vec<String> = self.functions.subscribers().iter().map(|target| F::name(target).to_owned()).collect();
        self.of_function.retain(|function, _| {
            let is_called = names.contains(function);
            if !is_called {
                metrics::TRIGGER_QUEUE.remove([function]);
            }
            is_called
        });
        if names.is_empty() {
            return;
        }
        if let Ok(lengths) = trigger::length(&self.store, &names).await {
            for (function, length) in lengths {
                metrics::TRIGGER_QUEUE.of([&function]).set(i64::try_from(length).unwrap_or(i64::MAX));
            }
        }
    }
}

/// What becomes of a call after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterAttempt {
    /// It is removed; the text is the outcome for the metrics.
    Removed(&'static str),
    /// It is made again after this time.
    Again { outcome: &'static str, pause_ms: u64, is_attempt: bool },
}

impl AfterAttempt {
    fn of(result: &Result<(), CallError>, attempt: u32) -> Self {
        match result {
            Ok(()) => Self::Removed("ok"),
            // The function says that a repetition cannot succeed.
            Err(CallError::Failed(failure)) if !failure.retry => Self::Removed("refused"),
            Err(CallError::Busy { retry_after }) => {
                let pause_ms = milliseconds((*retry_after).min(BUSY_PAUSE_MAX));
                Self::Again { outcome: "busy", pause_ms, is_attempt: false }
            }
            Err(_) => match retry_after_ms(attempt) {
                Some(pause_ms) => Self::Again { outcome: "failed", pause_ms, is_attempt: true },
                None => Self::Removed("dropped"),
            },
        }
    }
}

/// One attempt to make a call.
struct TriggerCall<F: Subscribed> {
    functions: Arc<F>,
    store: Store,
    target: F::Target,
    claimed: ClaimedTrigger,
}

impl<F: Subscribed> TriggerCall<F> {
    async fn run(self) {
        let trace = trace::new_id();
        let result = self.call(&trace).await;
        let after = AfterAttempt::of(&result, self.claimed.attempt);
        if let Err(error) = &result {
            self.log_failure(error, after, &trace);
        }
        let (outcome, written) = match after {
            AfterAttempt::Removed(outcome) => (outcome, trigger::finish(&self.store, &self.claimed).await),
            AfterAttempt::Again { outcome, pause_ms, is_attempt } => {
                let at = self.store.now().plus(pause_ms);
                (outcome, trigger::postpone(&self.store, &self.claimed, at, is_attempt).await)
            }
        };
        metrics::TRIGGERS.of([F::name(&self.target), outcome]).inc();
        if !matches!(written, Ok(true)) {
            let function = F::name(&self.target);
            tracing::debug!(function, trace, "the lease of a call has ended or cannot be ended; the call is repeated");
        }
    }

    async fn call(&self, trace: &str) -> Result<(), CallError> {
        let trigger = &self.claimed.trigger;
        if !F::is_called_for(&self.target, &trigger.event.name) {
            // Another host may have the revision that is called for it.
            return Err(CallError::Failed(Failure {
                kind: FailureKind::Unavailable,
                code: "not_subscribed".to_owned(),
                message: "this revision is not called for events of this type".to_owned(),
                retry: true,
                retry_after: None,
            }));
        }
        let request = Request::Publication(PublishedEvent {
            id: trigger.id.clone(),
            event: trigger.event.clone(),
            users: trigger.users.clone(),
            attempt: self.claimed.attempt,
            depth: trigger.depth,
        });
        let invocation = Invocation { caller: Caller::Host, trace: trace.into(), request };
        self.functions.call(&self.target, invocation).await.map(|_| ())
    }

    fn log_failure(&self, error: &CallError, after: AfterAttempt, trace: &str) {
        let (function, trigger, attempt) = (F::name(&self.target), &self.claimed.trigger, self.claimed.attempt);
        let (event, id) = (&trigger.event.name, &trigger.id);
        match after {
            AfterAttempt::Again { pause_ms, .. } => tracing::warn!(
                function, %event, id, attempt, trace, pause_ms, %error,
                "a call for a publication failed and is made again"
            ),
            AfterAttempt::Removed(_) => tracing::error!(
                function, %event, id, attempt, trace, %error,
                "a call for a publication failed and is given up"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
