//! The calls of one socket that are under way. Frames of one lane keep their order; lanes run beside each other.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// The work for one frame; resolves to what is sent.
pub(super) type Work = Pin<Box<dyn Future<Output = String> + Send>>;

type Running = Pin<Box<dyn Future<Output = (String, String)> + Send>>;

/// Calls running and waiting.
#[derive(Default)]
pub(super) struct Calls {
    running: FuturesUnordered<Running>,
    /// What waits behind a running call of the same lane. A lane that runs has an entry.
    lanes: HashMap<String, VecDeque<Work>>,
    count: usize,
}

impl Calls {
    /// Running and waiting.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    pub(super) fn submit(&mut self, lane: &str, work: Work) {
        self.count += 1;
        match self.lanes.get_mut(lane) {
            Some(waiting) => waiting.push_back(work),
            None => {
                self.lanes.insert(lane.to_owned(), VecDeque::new());
                self.start(lane.to_owned(), work);
            }
        }
    }

    /// The next answer; `None` when nothing is under way.
    pub(super) async fn next(&mut self) -> Option<String> {
        let (lane, answer) = self.running.next().await?;
        self.count = self.count.saturating_sub(1);
        match self.lanes.get_mut(&lane).and_then(VecDeque::pop_front) {
            Some(work) => self.start(lane, work),
            None => drop(self.lanes.remove(&lane)),
        }
        Some(answer)
    }

    /// Ends what is under way although nobody waits for the answers: what a client sent before it left is done.
    pub(super) async fn finish(mut self) {
        while self.next().await.is_some() {}
    }

    fn start(&self, lane: String, work: Work) {
        self.running.push(Box::pin(async move { (lane, work.await) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn gated(name: &'static str) -> (oneshot::Sender<()>, Work) {
        let (open, gate) = oneshot::channel::<()>();
        let work = async move {
            let _ = gate.await;
            name.to_owned()
        };
        (open, Box::pin(work))
    }

    #[tokio::test]
    async fn one_lane_keeps_its_order_and_another_does_not_wait() {
        let mut calls = Calls::default();
        let (first, work) = gated("first");
        calls.submit("message", work);
        calls.submit("message", Box::pin(async { "second".to_owned() }));
        calls.submit("typing", Box::pin(async { "other lane".to_owned() }));
        assert_eq!(calls.next().await.as_deref(), Some("other lane"));
        first.send(()).unwrap();
        assert_eq!(calls.next().await.as_deref(), Some("first"));
        assert_eq!(calls.next().await.as_deref(), Some("second"));
        assert_eq!((calls.next().await, calls.len()), (None, 0));
    }
}
