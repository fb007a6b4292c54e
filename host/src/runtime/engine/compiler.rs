//! The threads that compile components. While a host serves, they are half as many as there are cores, and run when
//! a core has nothing else to do, so that requests go on at their usual speed although a large component is compiled.
//!
//! That needs pauses. A thread that wakes up is often put beside others on a core that was busy just now, and the
//! kernel moves it to a core that compiles only when that core becomes idle for a moment.
//!
//! A host that is always busy leaves them nothing. Work that has waited too long is therefore begun a second time, on
//! threads that take a share from others; what ends first counts.

use std::cell::Cell;
use std::sync::{Arc, LazyLock};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

/// How much lower than usual the priority of threads with a share is, on the scale of `nice`.
#[cfg(target_os = "linux")]
const NICENESS: libc::c_int = 5;
/// The time after which work that waits for idle cores is begun on threads with a share: this, and
/// [`IDLE_TIME_FOR_MIB`] for each MiB of the component.
const IDLE_TIME: Duration = Duration::from_millis(500);
const IDLE_TIME_FOR_MIB: Duration = Duration::from_secs(4);
/// A thread that leaves time to others pauses between two functions that it compiles, once it has computed for this
/// time.
const COMPUTING_TIME: Duration = Duration::from_millis(1);
/// The shortest there is: Linux makes it about 50 µs longer.
const PAUSE: Duration = Duration::from_micros(1);
const MIB: f64 = 1024.0 * 1024.0;

/// Cranelift divides its work among the threads of the pool that it is called from. `None`: no thread can be started.
static IDLE_POOL: LazyLock<Option<ThreadPool>> = LazyLock::new(|| pool("compiler-idle", run_when_idle));
static SHARE_POOL: LazyLock<Option<ThreadPool>> = LazyLock::new(|| pool("compiler", lower_priority));

/// How much the work may take from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Priority {
    /// Nothing else is to be done: the host starts.
    Usual,
    /// The host serves meanwhile.
    Low,
}

thread_local! {
    /// When this thread paused last; `None` on a thread that takes what it gets.
    static PAUSED_AT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Called between two functions of a component: pauses if this thread leaves time to others and has computed for long.
pub(super) fn pause_if_due() {
    if PAUSED_AT.get().is_some_and(|paused_at| paused_at.elapsed() >= COMPUTING_TIME) {
        thread::sleep(PAUSE);
        PAUSED_AT.set(Some(Instant::now()));
    }
}

/// Compiles a component of so many bytes, on the threads for it; `None` if that panicked. Work that takes long may run
/// twice at a time.
pub(in crate::runtime) async fn run<T, W>(priority: Priority, bytes: usize, work: W) -> Option<T>
where
    T: Send + 'static,
    W: Fn() -> T + Send + Sync + 'static,
{
    match priority {
        Priority::Usual => tokio::task::spawn_blocking(work).await.ok(),
        Priority::Low => {
            let idle_time = IDLE_TIME + IDLE_TIME_FOR_MIB.mul_f64(bytes as f64 / MIB);
            run_idle_first(idle_time, Arc::new(work)).await
        }
    }
}

async fn run_idle_first<T, W>(idle_time: Duration, work: Arc<W>) -> Option<T>
where
    T: Send + 'static,
    W: Fn() -> T + Send + Sync + 'static,
{
    let mut idle = start(IDLE_POOL.as_ref()?, Arc::clone(&work));
    match tokio::time::timeout(idle_time, &mut idle).await {
        Ok(done) => done.ok(),
        Err(_) => {
            let share = start(SHARE_POOL.as_ref()?, work);
            tokio::select! {
                done = idle => done.ok(),
                done = share => done.ok(),
            }
        }
    }
}

fn start<T, W>(pool: &ThreadPool, work: Arc<W>) -> oneshot::Receiver<T>
where
    T: Send + 'static,
    W: Fn() -> T + Send + Sync + 'static,
{
    let (sender, receiver) = oneshot::channel();
    pool.spawn(move || {
        // Nobody receives it if the caller gave up, or if the work ended elsewhere first.
        let _ = sender.send(work());
    });
    receiver
}

fn pool(name: &'static str, prepare: impl Fn() + Send + Sync + 'static) -> Option<ThreadPool> {
    let pool = ThreadPoolBuilder::new()
        .thread_name(move |index| format!("{name}-{index}"))
        .num_threads(available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)))
        .start_handler(move |_| {
            PAUSED_AT.set(Some(Instant::now()));
            prepare();
        })
        // The panic hook has logged it, and the caller gets no result.
        .panic_handler(|_| {})
        .build();
    pool.map_err(|error| tracing::error!(%error, "the threads that compile components cannot be started")).ok()
}

/// On Linux, a thread of the class `SCHED_IDLE` gets a core that no other thread wants, and gives it back as soon as
/// one does. Where that is not possible, the priority is lowered.
fn run_when_idle() {
    #[cfg(target_os = "linux")]
    {
        let parameters = libc::sched_param { sched_priority: 0 };
        // SAFETY: it changes the class of the calling thread; the pointer is valid during the call.
        #[allow(unsafe_code, reason = "no safe function sets the scheduling class of a thread")]
        let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
        if result == 0 {
            return;
        }
        tracing::debug!(error = %std::io::Error::last_os_error(), "a compiling thread cannot be made an idle one");
    }
    lower_priority();
}

/// On Linux, the priority is each thread's own. Elsewhere it would be the whole process's, and is left alone.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: it changes a number of the calling thread, and takes no pointers.
        #[allow(unsafe_code, reason = "no safe function sets the priority of a thread")]
        let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
        if result != 0 {
            tracing::debug!(error = %std::io::Error::last_os_error(), "the priority of a compiling thread cannot be lowered");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_is_done_and_a_panic_costs_only_its_own_result() {
        for priority in [Priority::Usual, Priority::Low] {
            assert_eq!(run(priority, 0, || 7).await, Some(7));
            assert_eq!(run(priority, 0, || assert_eq!(1, 2, "this panics")).await, None);
            assert_eq!(run(priority, 0, || 8).await, Some(8));
        }
    }

    #[tokio::test]
    async fn work_that_no_idle_core_finishes_is_done_by_threads_with_a_share() {
        let (release, released) = mpsc::channel::<()>();
        let (released, begun) = (std::sync::Mutex::new(released), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&begun);
        let work = move || {
            let attempt = counter.fetch_add(1, Ordering::SeqCst);
            if attempt == 0 {
                // Until the test has ended, as if no core were idle.
                let _ = released.lock().unwrap().recv();
            }
            attempt
        };
        assert_eq!(run_idle_first(Duration::from_millis(1), Arc::new(work)).await, Some(1));
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        drop(release);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_threads_run_when_a_core_is_idle() {
        #[allow(unsafe_code, reason = "no safe function reads the scheduling class of a thread")]
        // SAFETY: it reads a number of the calling thread.
        let class = run(Priority::Low, 0, || unsafe { libc::sched_getscheduler(0) }).await;
        assert_eq!(class, Some(libc::SCHED_IDLE));
    }
}
