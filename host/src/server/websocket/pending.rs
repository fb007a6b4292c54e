//! The answers of one socket that are being worked on. Answers with the same ordering key are given in the order of
//! their frames; answers with different keys do not wait for each other.
//!
//! Each answer is a task of its own: while the session waits for a client that does not read, its calls end and give
//! their places back.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::renewal::TokenRenewal;
use crate::ops::supervisor::propagate_panic;
use crate::server::limits::CallOfUser;

/// What a pending answer has become.
#[derive(Debug)]
pub(super) enum SocketAnswer {
    /// The frame that answers a client's frame, or a pushed `sync`; and its place among the calls of the user, which is
    /// held until the frame is written.
    Frame(String, Option<CallOfUser>),
    /// The current state was to be pushed and cannot be read. The session sends a `resync` instead: only it knows the
    /// position of the client at that time.
    StateUnavailable,
    /// The token of a frame `token`. The session decides whether it replaces the token in use, and answers.
    Renewal(TokenRenewal),
}

/// Resolves to an answer.
pub(super) type PendingAnswer = Pin<Box<dyn Future<Output = SocketAnswer> + Send>>;

/// An ordering key and the answer that runs under it.
type RunningAnswer = Pin<Box<dyn Future<Output = (String, Option<SocketAnswer>)> + Send>>;

/// Running and waiting answers.
#[derive(Default)]
pub(super) struct PendingAnswers {
    running: FuturesUnordered<RunningAnswer>,
    /// The answers that wait for a running one, by ordering key. A key has an entry while an answer runs under it.
    waiting: HashMap<String, VecDeque<PendingAnswer>>,
    count: usize,
}

impl PendingAnswers {
    /// How many answers run or wait.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Whether an answer with this ordering key runs. Another one would wait for it.
    pub(super) fn is_pending(&self, ordering_key: &str) -> bool {
        self.waiting.contains_key(ordering_key)
    }

    pub(super) fn submit(&mut self, ordering_key: &str, answer: PendingAnswer) {
        self.count += 1;
        match self.waiting.get_mut(ordering_key) {
            Some(waiting) => waiting.push_back(answer),
            None => {
                self.waiting.insert(ordering_key.to_owned(), VecDeque::new());
                self.start(ordering_key.to_owned(), answer);
            }
        }
    }

    /// The next answer that is ready; `None` if none is pending.
    pub(super) async fn next(&mut self) -> Option<SocketAnswer> {
        loop {
            let (ordering_key, answer) = self.running.next().await?;
            self.count = self.count.saturating_sub(1);
            match self.waiting.get_mut(&ordering_key).and_then(VecDeque::pop_front) {
                Some(next) => self.start(ordering_key, next),
                None => drop(self.waiting.remove(&ordering_key)),
            }
            if answer.is_some() {
                return answer;
            }
        }
    }

    /// Completes every pending answer and drops it: what a client sent before it disconnected is still done.
    pub(super) async fn finish(mut self) {
        while self.next().await.is_some() {}
    }

    fn start(&self, ordering_key: String, answer: PendingAnswer) {
        let task = tokio::spawn(answer);
        self.running.push(Box::pin(async move {
            match task.await {
                Ok(answer) => (ordering_key, Some(answer)),
                Err(error) => {
                    propagate_panic(Err(error));
                    // The runtime is ending.
                    (ordering_key, None)
                }
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn gated(name: &'static str) -> (oneshot::Sender<()>, PendingAnswer) {
        let (open, gate) = oneshot::channel::<()>();
        let answer = async move {
            let _ = gate.await;
            SocketAnswer::Frame(name.to_owned(), None)
        };
        (open, Box::pin(answer))
    }

    async fn next(answers: &mut PendingAnswers) -> Option<String> {
        answers.next().await.map(|answer| match answer {
            SocketAnswer::Frame(frame, _) => frame,
            other => panic!("no test submits {other:?}"),
        })
    }

    #[tokio::test]
    async fn answers_with_one_ordering_key_keep_their_order_and_others_do_not_wait() {
        let mut answers = PendingAnswers::default();
        let (first, answer) = gated("first");
        answers.submit("message", answer);
        answers.submit("message", Box::pin(async { SocketAnswer::Frame("second".to_owned(), None) }));
        answers.submit("typing", Box::pin(async { SocketAnswer::Frame("other key".to_owned(), None) }));
        assert_eq!(next(&mut answers).await.as_deref(), Some("other key"));
        first.send(()).unwrap();
        assert_eq!(next(&mut answers).await.as_deref(), Some("first"));
        assert_eq!(next(&mut answers).await.as_deref(), Some("second"));
        assert_eq!((next(&mut answers).await, answers.len()), (None, 0));
    }

    #[tokio::test]
    async fn an_answer_goes_on_while_nobody_takes_answers() {
        let mut answers = PendingAnswers::default();
        let (done, is_done) = oneshot::channel();
        answers.submit(
            "message",
            Box::pin(async move {
                tokio::task::yield_now().await;
                let _ = done.send(());
                SocketAnswer::Frame("first".to_owned(), None)
            }),
        );
        is_done.await.unwrap();
        assert_eq!(next(&mut answers).await.as_deref(), Some("first"));
    }
}
