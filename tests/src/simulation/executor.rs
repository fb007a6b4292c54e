//! Runs every task of the world on one thread, in virtual time. The seed alone decides which task runs next.
//!
//! A task yields only at a pause. The executor knows nothing about what the tasks do.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use roost_core::testing::ManualClock;

use super::rng::Rng;
use super::trace::Trace;

/// The group that a task belongs to: a crash of a host ends the tasks of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Clients and the world around them.
    Outside,
    /// One host by index.
    Host(usize),
}

/// The id of a task; no id is used twice in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId(u64);

type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug)]
struct TaskEntry {
    id: TaskId,
    group: Group,
    wake_at_ms: u64,
}

struct KernelState {
    now_ms: u64,
    rng: Rng,
    trace: Trace,
    entries: Vec<TaskEntry>,
    spawned: Vec<TaskFuture>,
    current: TaskId,
    next_id: u64,
}

/// Time, randomness and the wake-up times of tasks. Clones share one kernel.
#[derive(Clone)]
pub(crate) struct Kernel(Arc<Mutex<KernelState>>);

impl Kernel {
    /// A kernel at time zero.
    pub(crate) fn new(rng: Rng, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(KernelState {
            now_ms: 0,
            rng,
            trace,
            entries: Vec::new(),
            spawned: Vec::new(),
            current: TaskId(0),
            next_id: 1,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, KernelState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds of virtual time since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        self.lock().now_ms
    }

    /// Draws from the random numbers of the seed.
    pub(crate) fn draw<T>(&self, ask: impl FnOnce(&mut Rng) -> T) -> T {
        ask(&mut self.lock().rng)
    }

    /// Adds an entry to the trace. The closure for the text must not call the kernel.
    pub(crate) fn note(&self, tag: &str, numbers: [u64; 2], text: impl FnOnce() -> String) {
        let mut state = self.lock();
        let now_ms = state.now_ms;
        state.trace.note(now_ms, tag, numbers, text);
    }

    /// The hash of the trace, and its last lines.
    pub(crate) fn trace_summary(&self) -> (u64, Vec<String>) {
        let state = self.lock();
        (state.trace.hash(), state.trace.lines())
    }

    /// Starts a task.
    pub(crate) fn spawn(&self, group: Group, job: impl Future<Output = ()> + Send + 'static) -> TaskId {
        let mut state = self.lock();
        let id = TaskId(state.next_id);
        state.next_id += 1;
        let wake_at_ms = state.now_ms;
        state.entries.push(TaskEntry { id, group, wake_at_ms });
        state.spawned.push(Box::pin(job));
        id
    }

    /// The task that is running.
    pub(crate) fn current(&self) -> TaskId {
        self.lock().current
    }

    /// Ends the pause of a task early. Has no effect on a task that has ended or is running.
    pub(crate) fn wake(&self, task: TaskId) {
        let mut state = self.lock();
        let now_ms = state.now_ms;
        if let Some(entry) = state.entries.iter_mut().find(|entry| entry.id == task) {
            entry.wake_at_ms = entry.wake_at_ms.min(now_ms);
        }
    }

    /// Yields until this time, or until the task is woken.
    pub(crate) async fn pause_until(&self, instant_ms: u64) {
        let mut paused = false;
        poll_fn(|_| {
            if paused {
                return Poll::Ready(());
            }
            paused = true;
            let mut state = self.lock();
            let current = state.current;
            if let Some(entry) = state.entries.iter_mut().find(|entry| entry.id == current) {
                entry.wake_at_ms = instant_ms;
            }
            Poll::Pending
        })
        .await;
    }

    /// Yields for this long, or until the task is woken.
    pub(crate) async fn pause(&self, span_ms: u64) {
        let instant_ms = self.now_ms() + span_ms;
        self.pause_until(instant_ms).await;
    }
}

/// The tasks, which run on a kernel that they share.
pub(crate) struct Executor {
    kernel: Kernel,
    jobs: Vec<TaskFuture>,
}

impl Executor {
    /// An executor for the tasks of this kernel.
    pub(crate) const fn new(kernel: Kernel) -> Self {
        Self { kernel, jobs: Vec::new() }
    }

    /// Advances time to the next wake-up time, unless a task is due already.
    pub(crate) fn advance(&mut self, clock: &ManualClock) {
        self.adopt();
        let mut state = self.kernel.lock();
        let first = state.entries.iter().map(|entry| entry.wake_at_ms).min();
        state.now_ms = state.now_ms.max(first.unwrap_or(0));
        clock.set(ManualClock::START.plus(state.now_ms));
    }

    /// Runs one due task up to its next pause. False: no task is due.
    pub(crate) fn step(&mut self) -> bool {
        let Some(index) = self.choose() else { return false };
        let mut context = Context::from_waker(Waker::noop());
        if let Some(job) = self.jobs.get_mut(index)
            && job.as_mut().poll(&mut context).is_ready()
        {
            self.adopt();
            let job = self.jobs.swap_remove(index);
            self.kernel.lock().entries.swap_remove(index);
            drop(job);
        }
        true
    }

    /// Drops every task of the group at its current pause.
    pub(crate) fn kill(&mut self, group: Group) {
        self.adopt();
        let mut index = 0;
        while index < self.jobs.len() {
            let dies = self.kernel.lock().entries.get(index).is_some_and(|entry| entry.group == group);
            if dies {
                let job = self.jobs.swap_remove(index);
                self.kernel.lock().entries.swap_remove(index);
                drop(job);
            } else {
                index += 1;
            }
        }
    }

    fn adopt(&mut self) {
        self.jobs.append(&mut self.kernel.lock().spawned);
    }

    fn choose(&mut self) -> Option<usize> {
        self.adopt();
        let mut state = self.kernel.lock();
        let now_ms = state.now_ms;
        let due = state.entries.iter().filter(|entry| entry.wake_at_ms <= now_ms).count();
        let chosen = state.rng.below(due as u64) as usize;
        let (index, entry) =
            state.entries.iter().enumerate().filter(|(_, entry)| entry.wake_at_ms <= now_ms).nth(chosen)?;
        state.current = entry.id;
        Some(index)
    }
}

/// Runs a future that never waits, because the fakes answer at once.
pub(crate) fn complete_now<F: Future>(future: F) -> F::Output {
    roost_core::testing::block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace_summary(seed: u64) -> Vec<(u64, u64)> {
        let kernel = Kernel::new(Rng::new(seed), Trace::new(false));
        let recorded = Arc::new(Mutex::new(Vec::new()));
        for name in 0..3_u64 {
            let (kernel2, recorded) = (kernel.clone(), recorded.clone());
            kernel.spawn(Group::Host(name as usize), async move {
                for _ in 0..3 {
                    recorded.lock().unwrap().push((kernel2.now_ms(), name));
                    kernel2.pause(name * 10).await;
                }
            });
        }
        let mut executor = Executor::new(kernel);
        executor.kill(Group::Host(2));
        let clock = ManualClock::new();
        executor.advance(&clock);
        while executor.step() {
            executor.advance(&clock);
        }
        recorded.lock().unwrap().clone()
    }

    #[test]
    fn a_seed_decides_the_order_and_a_killed_group_stops() {
        assert_eq!(trace_summary(7), trace_summary(7));
        assert!((0..50).any(|seed| trace_summary(seed) != trace_summary(7)));
        assert!(trace_summary(7).iter().all(|(_, name)| *name != 2));
        assert!(trace_summary(7).contains(&(20, 1)));
    }
}
