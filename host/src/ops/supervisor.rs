//! Keeps the long-lived background tasks of the host running: a task that ends or panics is started again after a
//! pause, counted as `roost_task_restarts_total`, logged, and named by `/readyz` until it runs again.
//!
//! A task that serves one connection or one request is not supervised; it is expected to end.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::ops::{log, metrics};

/// The pause before the first restart. Each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause before a restart.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After a task has run for so long, the next restart waits for the shortest pause again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// The background tasks of one part of the host. Dropping it ends them; drop it before what they use, such as the
/// sender of a queue.
#[derive(Debug, Default)]
pub struct Supervisor {
    /// Cancelled before the tasks are aborted. A task that another thread polls at that moment can still see the end of
    /// its queue and return, which is no failure.
    ending: CancellationToken,
    tasks: JoinSet<()>,
    health: TaskHealth,
}

impl Supervisor {
    /// A supervisor without tasks, which reports to `health`.
    pub fn new(health: TaskHealth) -> Self {
        Self { ending: CancellationToken::new(), tasks: JoinSet::new(), health }
    }

    /// Runs a task that is meant to run for ever. `start` makes its future, for the first run and for every restart;
    /// what the runs share must stay usable after a panic.
    pub fn spawn<F>(&mut self, task: &'static str, start: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_until(CancellationToken::new(), task, start);
    }

    /// As [`Supervisor::spawn`], for a task that ends by itself once `stop` is cancelled.
    pub(crate) fn spawn_until<F>(
        &mut self,
        stop: CancellationToken,
        task: &'static str,
        start: impl FnMut() -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(supervise(self.health.clone(), [stop, self.ending.clone()], task, start));
    }

    /// Waits until every task has ended. Tasks of [`Supervisor::spawn`] never do.
    pub async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Ends all tasks and waits until they are dropped.
    pub async fn shutdown(&mut self) {
        self.ending.cancel();
        self.tasks.shutdown().await;
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

/// Which supervised tasks are not running at the moment. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct TaskHealth(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl TaskHealth {
    /// The tasks of this process. The adapters of the store and the records report here, because tools use them without
    /// a host; the host shows it.
    pub(crate) fn of_process() -> Self {
        static OF_PROCESS: LazyLock<TaskHealth> = LazyLock::new(TaskHealth::default);
        OF_PROCESS.clone()
    }

    /// Whether all tasks run; otherwise the names of those that do not.
    pub fn ready(&self) -> Result<(), String> {
        let away: Vec<&str> = self.lock().keys().copied().collect();
        if away.is_empty() { Ok(()) } else { Err(format!("not running, will be started again: {}", away.join(", "))) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a task as not running until this is dropped.
struct Away<'a> {
    health: &'a TaskHealth,
    task: &'static str,
}

impl<'a> Away<'a> {
    fn new(health: &'a TaskHealth, task: &'static str) -> Self {
        *health.lock().entry(task).or_default() += 1;
        Self { health, task }
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        let mut away = self.health.lock();
        match away.get_mut(self.task) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(away.remove(self.task)),
        }
    }
}

/// Runs a task until one of `stops` is cancelled.
async fn supervise<F>(
    health: TaskHealth,
    stops: [CancellationToken; 2],
    task: &'static str,
    mut start: impl FnMut() -> F,
) where
    F: Future<Output = ()>,
{
    let mut pause = PAUSE_MIN;
    loop {
        let started = Instant::now();
        // Parts that the runs share are locked by mutexes or exchanged by channels, which stay usable after a panic.
        let ended = AssertUnwindSafe(async { start().await }).catch_unwind().await;
        if stops.iter().any(CancellationToken::is_cancelled) {
            return;
        }
        let _away = Away::new(&health, task);
        metrics::TASK_RESTARTS.of([task]).inc();
        if started.elapsed() >= STABLE_AFTER {
            pause = PAUSE_MIN;
        }
        let reason = ended.err().map_or_else(|| "it ended by itself".to_owned(), |panic| panic_text(panic.as_ref()));
        let pause_ms = log::milliseconds(pause);
        tracing::error!(
            task,
            reason,
            pause_ms,
            "a background task ended unexpectedly; it is started again after a pause"
        );
        tokio::select! {
            () = sleep(pause) => {}
            _ = select_all(stops.iter().map(|stop| Box::pin(stop.cancelled()))) => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Lets a supervised task panic with a task that it has started, so that no panic passes unnoticed.
pub(crate) fn propagate_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("the panic has no text"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A supervised task that panics in its first `panics` runs, and the number of its runs.
    fn panicking(name: &'static str, panics: usize) -> (Supervisor, TaskHealth, Arc<AtomicUsize>) {
        let health = TaskHealth::default();
        let mut supervisor = Supervisor::new(health.clone());
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        supervisor.spawn(name, move || {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(run >= panics, "run {run} fails");
                std::future::pending().await
            }
        });
        (supervisor, health, runs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_counted_and_reported_as_not_running() {
        let (_supervisor, health, runs) = panicking("panic-test", 1);
        assert_eq!(health.ready(), Ok(()));
        sleep(PAUSE_MIN / 2).await;
        let reported = health.ready().unwrap_err();
        assert!(reported.contains("panic-test"), "{reported}");
        sleep(PAUSE_MIN).await;
        assert_eq!((health.ready(), runs.load(Ordering::SeqCst)), (Ok(()), 2));
        assert_eq!(metrics::TASK_RESTARTS.of(["panic-test"]).get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_grows_to_a_bound_and_shrinks_after_a_stable_run() {
        let (_supervisor, _, runs) = panicking("pause-test", usize::MAX);
        sleep(PAUSE_MIN * 31 + PAUSE_MIN / 2).await;
        assert_eq!(runs.load(Ordering::SeqCst), 6, "the pauses are 1, 2, 4, 8 and 16 times the shortest");
        sleep(PAUSE_MAX * 10).await;
        let before = runs.load(Ordering::SeqCst);
        sleep(PAUSE_MAX * 10).await;
        assert_eq!(runs.load(Ordering::SeqCst) - before, 10, "the pause is bounded");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_returns_before_its_stop_is_started_again() {
        let health = TaskHealth::default();
        let mut supervisor = Supervisor::new(health);
        let stop = CancellationToken::new();
        supervisor.spawn_until(stop.clone(), "return-test", || std::future::ready(()));
        sleep(Duration::from_secs(1)).await;
        assert!(metrics::TASK_RESTARTS.of(["return-test"]).get() > 1);
        stop.cancel();
        supervisor.ended().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_after_its_stop_is_not_started_again() {
        let mut supervisor = Supervisor::default();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        supervisor.spawn_until(stop.clone(), "stop-test", move || stopped.clone().cancelled_owned());
        tokio::task::yield_now().await;
        stop.cancel();
        supervisor.ended().await;
        assert_eq!(metrics::TASK_RESTARTS.of(["stop-test"]).get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_returns_while_its_supervisor_is_dropped_has_not_failed() {
        let mut supervisor = Supervisor::default();
        let place = Arc::new(Mutex::new(None::<Supervisor>));
        let taken = place.clone();
        supervisor.spawn("drop-test", move || {
            drop(taken.lock().unwrap().take());
            std::future::ready(())
        });
        *place.lock().unwrap() = Some(supervisor);
        sleep(Duration::from_secs(1)).await;
        assert!(place.lock().unwrap().is_none(), "the task did not run");
        assert_eq!(metrics::TASK_RESTARTS.of(["drop-test"]).get(), 0);
    }
}
