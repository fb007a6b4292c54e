//! Runs a use case to its end. There is no scheduler, because every import answers at once.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Runs a use case on [`crate::Edge`].
///
/// # Panics
///
/// When the future waits for anything but an import: nobody could ever wake it.
pub fn run<F: Future>(use_case: F) -> F::Output {
    match pin!(use_case).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a use case waited for something that is no import of the function"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_at_once_is_run_to_its_end() {
        async fn one() -> u32 {
            1
        }
        assert_eq!(run(async { one().await + one().await }), 2);
    }

    #[test]
    #[should_panic(expected = "no import")]
    fn waiting_for_anything_else_is_told_clearly() {
        run(std::future::pending::<()>());
    }
}
