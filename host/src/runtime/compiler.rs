//! The threads that compile components. While a host serves, they have a low priority, so that requests go on at their usual
//! speed although a large component is compiled on all cores.

use std::sync::LazyLock;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

/// How much lower than usual the priority is, on the scale of `nice`.
#[cfg(target_os = "linux")]
const NICENESS: libc::c_int = 5;

/// Cranelift divides its work among the threads of the pool that it is called from. `None`: no thread can be started.
static POOL: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let pool = ThreadPoolBuilder::new()
        .thread_name(|index| format!("compiler-{index}"))
        .start_handler(|_| lower_priority())
        // The panic hook has logged it, and the caller gets no result.
        .panic_handler(|_| {})
        .build();
    pool.map_err(|error| tracing::error!(%error, "the threads that compile components cannot be started")).ok()
});

/// How much the work may take from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// Nothing else is to be done: the host starts.
    Usual,
    /// The host serves meanwhile.
    Low,
}

/// Runs this work on the threads for compiling; `None` if it panicked.
pub(super) async fn run<T: Send + 'static>(priority: Priority, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if priority == Priority::Usual {
        return tokio::task::spawn_blocking(work).await.ok();
    }
    let (sender, receiver) = oneshot::channel();
    POOL.as_ref()?.spawn(move || {
        // Nobody receives it if the caller gave up.
        let _ = sender.send(work());
    });
    receiver.await.ok()
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
    use super::*;

    #[tokio::test]
    async fn work_is_done_and_a_panic_costs_only_its_own_result() {
        for priority in [Priority::Usual, Priority::Low] {
            assert_eq!(run(priority, || 7).await, Some(7));
            assert_eq!(run(priority, || assert_eq!(1, 2, "this panics")).await, None);
            assert_eq!(run(priority, || 8).await, Some(8));
        }
    }
}
