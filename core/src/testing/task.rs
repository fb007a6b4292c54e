//! A minimal executor for tests on fakes: runs one future, runs several concurrently, and yields to other futures.
//!
//! Nothing here waits for IO; adapters with real IO use their own executor.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// One of several futures that run concurrently.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

const POLLS_MAX: u32 = 10_000_000;

/// Polls until the future is ready. Panics if it never becomes ready: no fake waits for IO, so the future is stuck.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the future did not become ready after {POLLS_MAX} polls: it waits for something that no fake does");
}

/// Lets every other future of the same task run once.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs all futures concurrently in this task. The outputs are in the order of the futures.
pub async fn join_all<T>(futures: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(Some).collect();
    let mut outputs: Vec<Option<T>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, output) in running.iter_mut().zip(&mut outputs) {
            if let Some(Poll::Ready(value)) = future.as_mut().map(|f| f.as_mut().poll(context)) {
                *output = Some(value);
                *future = None;
            }
        }
        if running.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn joined_futures_alternate_and_their_outputs_are_in_order() {
        let polls = Mutex::new(Vec::new());
        let task = |name: u32| {
            let polls = &polls;
            let future: BoxFuture<'_, u32> = Box::pin(async move {
                polls.lock().unwrap().push(name);
                yield_now().await;
                polls.lock().unwrap().push(name);
                name
            });
            future
        };
        assert_eq!(block_on(join_all(vec![task(1), task(2)])), [1, 2]);
        assert_eq!(*polls.lock().unwrap(), [1, 2, 1, 2]);
    }
}
