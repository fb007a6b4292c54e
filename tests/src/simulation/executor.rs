//! Runs every task of the world on one thread, in virtual time: the seed alone decides who goes next.
//!
//! A task gives way only at a pause. Nothing here knows what the tasks do.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use roost_core::testing::ManualClock;

use super::rng::Rng;
use super::trace::Trace;

/// Whom a task belongs to: a host takes its tasks along when it crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Clients and the world around them.
    Outside,
    /// One host.
    Host(usize),
}

/// Names a task for ever: no id is used twice in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId(u64);

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug)]
struct Entry {
    id: TaskId,
    group: Group,
    wake_at_ms: u64,
}

struct State {
    now_ms: u64,
    rng: Rng,
    trace: Trace,
    entries: Vec<Entry>,
    born: Vec<Job>,
    current: TaskId,
    next_id: u64,
}

/// Time, chance and the tasks' alarm clocks. Clones share it.
#[derive(Clone)]
pub(crate) struct Kernel(Arc<Mutex<State>>);

impl Kernel {
    /// At the beginning of time.
    pub(crate) fn new(rng: Rng, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            now_ms: 0,
            rng,
            trace,
            entries: Vec::new(),
            born: Vec::new(),
            current: TaskId(0),
            next_id: 1,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the beginning.
    pub(crate) fn now_ms(&self) -> u64 {
        self.lock().now_ms
    }

    /// Asks chance.
    pub(crate) fn draw<T>(&self, ask: impl FnOnce(&mut Rng) -> T) -> T {
        ask(&mut self.lock().rng)
    }

    /// Takes note. The text must not ask the kernel anything.
    pub(crate) fn note(&self, tag: &str, numbers: [u64; 2], text: impl FnOnce() -> String) {
        let mut state = self.lock();
        let now_ms = state.now_ms;
        state.trace.note(now_ms, tag, numbers, text);
    }

    /// The hash of everything noted, and its last lines.
    pub(crate) fn story(&self) -> (u64, Vec<String>) {
        let state = self.lock();
        (state.trace.hash(), state.trace.lines())
    }

    /// Starts a task.
    pub(crate) fn spawn(&self, group: Group, job: impl Future<Output = ()> + Send + 'static) -> TaskId {
        let mut state = self.lock();
        let id = TaskId(state.next_id);
        state.next_id += 1;
        let wake_at_ms = state.now_ms;
        state.entries.push(Entry { id, group, wake_at_ms });
        state.born.push(Box::pin(job));
        id
    }

    /// The task that runs now.
    pub(crate) fn current(&self) -> TaskId {
        self.lock().current
    }

    /// Ends a task's pause early. One that has ended, or runs, is not concerned.
    pub(crate) fn wake(&self, task: TaskId) {
        let mut state = self.lock();
        let now_ms = state.now_ms;
        if let Some(entry) = state.entries.iter_mut().find(|entry| entry.id == task) {
            entry.wake_at_ms = entry.wake_at_ms.min(now_ms);
        }
    }

    /// Gives way until that moment, or until woken.
    pub(crate) async fn pause_until(&self, moment_ms: u64) {
        let mut paused = false;
        poll_fn(|_| {
            if paused {
                return Poll::Ready(());
            }
            paused = true;
            let mut state = self.lock();
            let current = state.current;
            if let Some(entry) = state.entries.iter_mut().find(|entry| entry.id == current) {
                entry.wake_at_ms = moment_ms;
            }
            Poll::Pending
        })
        .await;
    }

    /// Gives way for so long, or until woken.
    pub(crate) async fn pause(&self, span_ms: u64) {
        let moment_ms = self.now_ms() + span_ms;
        self.pause_until(moment_ms).await;
    }
}

/// The tasks themselves, beside the kernel that they all share.
pub(crate) struct Executor {
    kernel: Kernel,
    jobs: Vec<Job>,
}

impl Executor {
    /// Runs the kernel's tasks.
    pub(crate) const fn new(kernel: Kernel) -> Self {
        Self { kernel, jobs: Vec::new() }
    }

    /// Moves time on to the next alarm, if no task is due before.
    pub(crate) fn advance(&mut self, clock: &ManualClock) {
        self.adopt();
        let mut state = self.kernel.lock();
        let first = state.entries.iter().map(|entry| entry.wake_at_ms).min();
        state.now_ms = state.now_ms.max(first.unwrap_or(0));
        clock.set(ManualClock::START.plus(state.now_ms));
    }

    /// Lets one task that is due run up to its next pause. False: none is due.
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

    /// Drops every task of the group, wherever it stands.
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
        self.jobs.append(&mut self.kernel.lock().born);
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

/// Drives a future that waits for nothing: the fakes answer at once.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    roost_core::testing::block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(seed: u64) -> Vec<(u64, u64)> {
        let kernel = Kernel::new(Rng::new(seed), Trace::new(false));
        let told = Arc::new(Mutex::new(Vec::new()));
        for name in 0..3_u64 {
            let (kernel2, told) = (kernel.clone(), told.clone());
            kernel.spawn(Group::Host(name as usize), async move {
                for _ in 0..3 {
                    told.lock().unwrap().push((kernel2.now_ms(), name));
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
        told.lock().unwrap().clone()
    }

    #[test]
    fn a_seed_decides_the_order_and_a_dead_group_is_silent() {
        assert_eq!(story(7), story(7));
        assert!((0..50).any(|seed| story(seed) != story(7)));
        assert!(story(7).iter().all(|(_, name)| *name != 2));
        assert!(story(7).contains(&(20, 1)));
    }
}
