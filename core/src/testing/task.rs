//! Just enough of an executor for tests on fakes: run one future, run several side by side, let others go first.
//!
//! Nothing here waits for the outside world; adapters with real IO bring their own executor.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// A future of several that run side by side.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

const POLLS_MAX: u32 = 10_000_000;

/// Polls until the future is ready. Panics if it never gets ready, because no fake waits for anything outside.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the future waits for something that no test fake ever does");
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

/// Runs all of them side by side in this task; answers in their order.
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
    fn joined_futures_take_turns_and_answer_in_order() {
        let turns = Mutex::new(Vec::new());
        let turn = |name: u32| {
            let turns = &turns;
            let future: BoxFuture<'_, u32> = Box::pin(async move {
                turns.lock().unwrap().push(name);
                yield_now().await;
                turns.lock().unwrap().push(name);
                name
            });
            future
        };
        assert_eq!(block_on(join_all(vec![turn(1), turn(2)])), [1, 2]);
        assert_eq!(*turns.lock().unwrap(), [1, 2, 1, 2]);
    }
}
