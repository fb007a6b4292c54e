//! What waits for one client, within a bound of frames and bytes. Overflow closes it at once and slows nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::delivery::event::PushedFrame;

/// What a connection is handed.
#[derive(Clone, Debug)]
pub enum Item {
    /// To be sent as it is.
    PushedFrame(Arc<PushedFrame>),
    /// The host missed something that no feed keeps: the client needs the present state.
    Refresh,
}

/// Bounds of one outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxBounds {
    /// Frames waiting, or being written.
    pub frames: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// The client did not drain its outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflowed;

/// One client's queue.
#[derive(Debug)]
pub struct Outbox {
    bounds: OutboxBounds,
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Item>,
    /// Waiting and being written: both take memory.
    frames: usize,
    bytes: usize,
    overflowed: bool,
}

/// Items taken for writing.
#[derive(Debug)]
pub struct Batch {
    /// In order.
    pub items: VecDeque<Item>,
    /// To be given back when they are written.
    pub room: Room,
}

/// What a batch takes of the bounds until it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Room {
    frames: usize,
    bytes: usize,
}

impl Outbox {
    /// An empty one.
    pub fn new(bounds: OutboxBounds) -> Self {
        Self { bounds, state: Mutex::default(), ready: Notify::new() }
    }

    /// Adds an item. One that does not fit closes the outbox; a single item always fits an empty one.
    pub fn push(&self, item: Item) {
        let cost = cost(&item);
        let mut state = self.lock();
        if state.overflowed {
            return;
        }
        let full = state.frames >= self.bounds.frames
            || (state.frames > 0 && state.bytes.saturating_add(cost) > self.bounds.bytes);
        if full {
            state.overflowed = true;
            state.waiting = VecDeque::new();
            metrics::counter!("roost_outbox_drops_total").increment(1);
        } else {
            state.frames += 1;
            state.bytes += cost;
            state.waiting.push_back(item);
        }
        drop(state);
        self.ready.notify_one();
    }

    /// Waits for items and takes all there are, so that they are written together. For one taker.
    pub async fn take(&self) -> Result<Batch, Overflowed> {
        loop {
            if let Some(batch) = self.try_take()? {
                return Ok(batch);
            }
            self.ready.notified().await;
        }
    }

    /// Takes all there are now.
    pub fn try_take(&self) -> Result<Option<Batch>, Overflowed> {
        let mut state = self.lock();
        if state.overflowed {
            return Err(Overflowed);
        }
        if state.waiting.is_empty() {
            return Ok(None);
        }
        let items = std::mem::take(&mut state.waiting);
        let room = Room { frames: items.len(), bytes: items.iter().map(cost).sum() };
        Ok(Some(Batch { items, room }))
    }

    /// A batch is written: its room is free.
    pub fn written(&self, room: Room) {
        let mut state = self.lock();
        state.frames = state.frames.saturating_sub(room.frames);
        state.bytes = state.bytes.saturating_sub(room.bytes);
    }

    /// Waits until the outbox overflows. For the one taker, while it writes.
    pub async fn overflow(&self) {
        while !self.lock().overflowed {
            self.ready.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(item: &Item) -> usize {
    match item {
        Item::PushedFrame(frame) => frame.cost(),
        Item::Refresh => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Item {
        Item::PushedFrame(Arc::new(PushedFrame::ephemeral("t", "1".repeat(bytes))))
    }

    fn outbox(frames: usize, bytes: usize) -> Outbox {
        Outbox::new(OutboxBounds { frames, bytes })
    }

    #[test]
    fn everything_waiting_is_taken_at_once_in_order() {
        let outbox = outbox(8, 10_000);
        outbox.push(frame(1));
        outbox.push(Item::Refresh);
        let mut batch = outbox.try_take().unwrap().unwrap();
        assert!(matches!(batch.items.make_contiguous(), [Item::PushedFrame(_), Item::Refresh]));
        assert!(outbox.try_take().unwrap().is_none());
    }

    #[test]
    fn one_frame_too_many_closes_the_outbox() {
        let outbox = outbox(2, 10_000);
        outbox.push(frame(1));
        outbox.push(frame(1));
        assert!(!outbox.lock().overflowed);
        outbox.push(frame(1));
        assert_eq!(outbox.try_take().unwrap_err(), Overflowed);
    }

    #[test]
    fn too_many_bytes_close_the_outbox_but_one_large_frame_fits() {
        let outbox = outbox(100, 1_000);
        outbox.push(frame(5_000));
        outbox.written(outbox.try_take().unwrap().unwrap().room);
        outbox.push(frame(500));
        outbox.push(frame(500));
        assert_eq!(outbox.try_take().unwrap_err(), Overflowed);
    }

    #[test]
    fn what_is_being_written_still_counts() {
        let outbox = outbox(2, 10_000);
        outbox.push(frame(1));
        let batch = outbox.try_take().unwrap().unwrap();
        outbox.push(frame(1));
        outbox.push(frame(1));
        assert!(outbox.lock().overflowed);
        assert_eq!(batch.items.len(), 1);
    }

    #[test]
    fn what_was_written_makes_room() {
        let outbox = outbox(1, 10_000);
        for _ in 0..10 {
            outbox.push(frame(1));
            outbox.written(outbox.try_take().unwrap().unwrap().room);
        }
    }

    #[tokio::test]
    async fn a_writer_learns_of_the_overflow_while_it_writes() {
        let outbox = Arc::new(outbox(1, 10_000));
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.overflow().await }
        });
        outbox.push(frame(1));
        outbox.push(frame(1));
        waiting.await.unwrap();
    }
}
