//! Runs a use case to its end. No scheduler is needed, because every import returns only when its answer is there.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Runs a use case on [`crate::Edge`].
///
/// # Panics
///
/// If the future waits for anything but an import, because nothing would ever wake it.
pub fn run<F: Future>(use_case: F) -> F::Output {
    match pin!(use_case).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a use case waited for something that is not an import of the function"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_that_is_ready_at_once_is_run_to_its_end() {
        async fn one() -> u32 {
            1
        }
        assert_eq!(run(async { one().await + one().await }), 2);
    }

    #[test]
    #[should_panic(expected = "not an import")]
    fn waiting_for_anything_else_panics_with_a_clear_message() {
        run(std::future::pending::<()>());
    }
}
