//! The queue of frames that wait for one client, bounded in frames and bytes. An overflow closes the queue at once, so
//! that a slow client delays nobody else; so does a service that closes the connections of the user.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::disconnect::DisconnectReason;
use crate::delivery::event::PushedFrame;
use crate::ops::metrics;

/// One entry of an outbox.
#[derive(Clone, Debug)]
pub(crate) enum OutboxItem {
    /// A frame to be sent as it is.
    Frame(Arc<PushedFrame>),
    /// The host may have missed ephemeral events: the client needs the current state.
    Refresh,
}

/// The bounds of one outbox. Frames that are being written count as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutboxBounds {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

/// Why an outbox is closed. Nothing more is sent to its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OutboxClosed {
    /// The client did not read fast enough.
    Overflowed,
    /// A service closes the connections of the user.
    Disconnected(DisconnectReason),
}

/// One client's queue. Many tasks push; one task takes.
#[derive(Debug)]
pub(crate) struct Outbox {
    bounds: OutboxBounds,
    queue: Mutex<OutboxQueue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct OutboxQueue {
    waiting: VecDeque<OutboxItem>,
    /// What waits and what is being written: both take memory.
    usage: OutboxUsage,
    closed: Option<OutboxClosed>,
}

/// Items taken for writing, in order.
#[derive(Debug)]
pub(crate) struct OutboxBatch {
    pub(crate) items: VecDeque<OutboxItem>,
    /// To be released when the items are written.
    pub(crate) usage: OutboxUsage,
}

/// The share of an outbox's bounds that a batch takes until it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub(crate) struct OutboxUsage {
    frames: usize,
    bytes: usize,
}

impl Outbox {
    pub(crate) fn new(bounds: OutboxBounds) -> Self {
        Self { bounds, queue: Mutex::default(), changed: Notify::new() }
    }

    /// Adds an item. An item that does not fit closes the outbox; a single item always fits into an empty one.
    pub(crate) fn push(&self, item: OutboxItem) {
        let bytes = item.bytes();
        let mut queue = self.lock();
        if queue.closed.is_some() {
            return;
        }
        let OutboxUsage { frames: used_frames, bytes: used_bytes } = queue.usage;
        let full = used_frames >= self.bounds.frames
            || (used_frames > 0 && used_bytes.saturating_add(bytes) > self.bounds.bytes);
        if full {
            queue.close(OutboxClosed::Overflowed);
            metrics::OUTBOX_DROPS.inc();
        } else {
            queue.usage = OutboxUsage { frames: used_frames + 1, bytes: used_bytes + bytes };
            queue.waiting.push_back(item);
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Closes the outbox, unless it is closed already. What waits in it is dropped.
    pub(crate) fn close(&self, closed: OutboxClosed) {
        self.lock().close(closed);
        self.changed.notify_one();
    }

    /// Waits for items and takes all that are there, so that they are written together.
    pub(crate) async fn take(&self) -> Result<OutboxBatch, OutboxClosed> {
        loop {
            if let Some(batch) = self.try_take()? {
                return Ok(batch);
            }
            self.changed.notified().await;
        }
    }

    /// Takes all items that are there now; `None` if there are none.
    pub(crate) fn try_take(&self) -> Result<Option<OutboxBatch>, OutboxClosed> {
        let mut queue = self.lock();
        if let Some(closed) = &queue.closed {
            return Err(closed.clone());
        }
        if queue.waiting.is_empty() {
            return Ok(None);
        }
        let items = std::mem::take(&mut queue.waiting);
        let usage = OutboxUsage { frames: items.len(), bytes: items.iter().map(OutboxItem::bytes).sum() };
        Ok(Some(OutboxBatch { items, usage }))
    }

    /// Releases what a batch took of the bounds: it is written.
    pub(crate) fn release(&self, written: OutboxUsage) {
        let mut queue = self.lock();
        queue.usage.frames = queue.usage.frames.saturating_sub(written.frames);
        queue.usage.bytes = queue.usage.bytes.saturating_sub(written.bytes);
    }

    /// Waits until the outbox is closed. For the task that takes, while it writes.
    pub(crate) async fn closed(&self) -> OutboxClosed {
        loop {
            if let Some(closed) = self.why_closed() {
                return closed;
            }
            self.changed.notified().await;
        }
    }

    /// Why the outbox is closed, if it is.
    pub(crate) fn why_closed(&self) -> Option<OutboxClosed> {
        self.lock().closed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, OutboxQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutboxQueue {
    fn close(&mut self, closed: OutboxClosed) {
        self.closed.get_or_insert(closed);
        self.waiting = VecDeque::new();
    }
}

impl OutboxItem {
    fn bytes(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.bytes(),
            Self::Refresh => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> OutboxItem {
        OutboxItem::Frame(Arc::new(PushedFrame::ephemeral("t", "1".repeat(bytes))))
    }

    fn outbox(frames: usize, bytes: usize) -> Outbox {
        Outbox::new(OutboxBounds { frames, bytes })
    }

    #[test]
    fn all_waiting_items_are_taken_at_once_in_order() {
        let outbox = outbox(8, 10_000);
        outbox.push(frame(1));
        outbox.push(OutboxItem::Refresh);
        let mut batch = outbox.try_take().unwrap().unwrap();
        assert!(matches!(batch.items.make_contiguous(), [OutboxItem::Frame(_), OutboxItem::Refresh]));
        assert!(outbox.try_take().unwrap().is_none());
    }

    #[test]
    fn one_frame_too_many_closes_the_outbox() {
        let outbox = outbox(2, 10_000);
        outbox.push(frame(1));
        outbox.push(frame(1));
        assert_eq!(outbox.why_closed(), None);
        outbox.push(frame(1));
        assert_eq!(outbox.try_take().unwrap_err(), OutboxClosed::Overflowed);
    }

    #[test]
    fn too_many_bytes_close_the_outbox_but_one_large_frame_fits() {
        let outbox = outbox(100, 1_000);
        outbox.push(frame(5_000));
        outbox.release(outbox.try_take().unwrap().unwrap().usage);
        outbox.push(frame(500));
        outbox.push(frame(500));
        assert_eq!(outbox.try_take().unwrap_err(), OutboxClosed::Overflowed);
    }

    #[test]
    fn a_closed_outbox_drops_what_waits_and_keeps_its_first_reason() {
        let outbox = outbox(2, 10_000);
        outbox.push(frame(1));
        let banned = OutboxClosed::Disconnected(DisconnectReason::of("banned").unwrap());
        outbox.close(banned.clone());
        outbox.close(OutboxClosed::Overflowed);
        outbox.push(frame(1));
        assert_eq!(outbox.try_take().unwrap_err(), banned);
        assert!(outbox.lock().waiting.is_empty());
    }

    #[test]
    fn frames_being_written_still_count() {
        let outbox = outbox(2, 10_000);
        outbox.push(frame(1));
        let batch = outbox.try_take().unwrap().unwrap();
        outbox.push(frame(1));
        outbox.push(frame(1));
        assert_eq!(outbox.why_closed(), Some(OutboxClosed::Overflowed));
        assert_eq!(batch.items.len(), 1);
    }

    #[test]
    fn written_frames_free_their_share_of_the_bounds() {
        let outbox = outbox(1, 10_000);
        for _ in 0..10 {
            outbox.push(frame(1));
            outbox.release(outbox.try_take().unwrap().unwrap().usage);
        }
    }

    #[tokio::test]
    async fn a_writer_learns_of_the_overflow_while_it_writes() {
        let outbox = Arc::new(outbox(1, 10_000));
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.closed().await }
        });
        outbox.push(frame(1));
        outbox.push(frame(1));
        assert_eq!(waiting.await.unwrap(), OutboxClosed::Overflowed);
    }
}
