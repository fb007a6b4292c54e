//! The feeds of one shard: the newest durable events of each user, with their positions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::HashMap;
use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::limits::{FEED_EVENTS_MAX, FEED_TTL_MS};
use roost_core::port::{Delivery, Event, Replay};
use roost_core::time::Timestamp;
use uuid::Uuid;

use super::content::NEVER;
use super::expiry::ExpiryQueue;

/// Makes the epochs of feeds. No epoch is made twice, not even after a restart.
#[derive(Debug)]
pub(super) struct Epochs {
    /// A letter and 48 random bits, different for every store.
    prefix: String,
    made: AtomicU64,
}

impl Epochs {
    pub(super) fn new() -> Self {
        let random = Uuid::new_v4().as_u128() & 0xFFFF_FFFF_FFFF;
        Self { prefix: format!("m{random:012x}"), made: AtomicU64::new(0) }
    }

    fn next(&self) -> Arc<str> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        format!("{}{number:x}", self.prefix).into()
    }
}

/// All feeds of a shard, including those that expired and are not evicted yet.
#[derive(Debug, Default)]
pub(super) struct ShardFeeds {
    feeds: HashMap<UserId, StoredFeed>,
    /// The sum of [`StoredFeed::event_bytes`].
    event_bytes: usize,
    expiring: ExpiryQueue<UserId>,
    /// When the store was made. A position that was taken before is not one of these feeds'.
    created_at: Timestamp,
}

#[derive(Debug)]
struct StoredFeed {
    epoch: Arc<str>,
    newest: u64,
    events: VecDeque<Delivery>,
    /// An estimate of the bytes that the events take.
    event_bytes: usize,
    /// The first millisecond of Unix time at which the feed is expired.
    deadline: u64,
    /// The time of the feed's valid entry in the expiry queue; [`NEVER`] if it has none.
    queued_for: u64,
}

impl ShardFeeds {
    /// No feeds, in a store that is made at this time.
    pub(super) fn new(created_at: Timestamp) -> Self {
        Self { created_at, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.feeds.len()
    }

    /// An estimate of the bytes that all feeds take. A payload that went to several users counts for each of them.
    /// Takes constant time.
    pub(super) fn bytes(&self) -> usize {
        self.feeds.capacity() * size_of::<(UserId, StoredFeed)>() + self.event_bytes
    }

    /// The same as [`ShardFeeds::bytes`], from a walk over all events.
    #[cfg(test)]
    pub(super) fn walked_bytes(&self) -> usize {
        let events = self.feeds.values().flat_map(|feed| &feed.events);
        self.feeds.capacity() * size_of::<(UserId, StoredFeed)>() + events.map(event_bytes).sum::<usize>()
    }

    /// The event as it is delivered. A durable event gets the next position of its user's feed.
    pub(super) fn publish(&mut self, now: u64, epochs: &Epochs, user: UserId, event: &Event) -> Delivery {
        let mut delivery = Delivery { name: event.name.clone(), payload: event.payload.clone(), position: None };
        if event.durable {
            let feed = self.feeds.entry(user).or_insert_with(|| StoredFeed::new(epochs));
            let bytes_before = feed.event_bytes;
            if !feed.is_live(now) {
                *feed = StoredFeed { queued_for: feed.queued_for, ..StoredFeed::new(epochs) };
            }
            feed.append(now, &mut delivery);
            self.event_bytes = self.event_bytes + feed.event_bytes - bytes_before;
            if feed.queued_for == NEVER {
                feed.queued_for = feed.deadline;
                self.expiring.push(feed.deadline, user);
            }
        }
        delivery
    }

    /// The position of the newest event.
    pub(super) fn position(&self, now: u64, user: UserId) -> Position {
        self.live(now, user).map_or_else(|| Position::without_feed(Timestamp(now)), StoredFeed::position)
    }

    /// All events after a position; a gap if the feed does not hold every one of them.
    pub(super) fn replay(&self, now: u64, user: UserId, since: &Position) -> Replay {
        let nowhere_since = since.without_feed_since();
        let is_recent = since.is_recent_without_feed(Timestamp(now));
        if nowhere_since.is_some_and(|taken_at| taken_at < self.created_at || !is_recent) {
            return Replay::Gap;
        }
        match self.live(now, user) {
            None if nowhere_since.is_some() => Replay::Events(Vec::new()),
            Some(feed) if nowhere_since.is_some() => feed.after(0),
            Some(feed) if feed.epoch == since.epoch => feed.after(since.offset),
            None | Some(_) => Replay::Gap,
        }
    }

    /// Takes up to `checks_max` entries from the expiry queue and removes the feeds that are expired. Returns the
    /// number of entries taken and of feeds removed.
    pub(super) fn evict(&mut self, now: u64, checks_max: usize) -> (usize, usize) {
        let before = self.feeds.len();
        let mut checks = 0;
        while checks < checks_max
            && let Some((_, user)) = self.expiring.pop(now)
        {
            checks += 1;
            match self.feeds.get_mut(&user) {
                Some(feed) if feed.is_live(now) => {
                    feed.queued_for = feed.deadline;
                    self.expiring.push(feed.deadline, user);
                }
                _ => {
                    let removed = self.feeds.remove(&user);
                    self.event_bytes -= removed.map_or(0, |feed| feed.event_bytes);
                }
            }
        }
        (checks, before - self.feeds.len())
    }

    fn live(&self, now: u64, user: UserId) -> Option<&StoredFeed> {
        self.feeds.get(&user).filter(|feed| feed.is_live(now))
    }
}

impl StoredFeed {
    fn new(epochs: &Epochs) -> Self {
        let (epoch, events) = (epochs.next(), VecDeque::new());
        Self { epoch, newest: 0, events, event_bytes: 0, deadline: NEVER, queued_for: NEVER }
    }

    const fn is_live(&self, now: u64) -> bool {
        now < self.deadline
    }

    fn append(&mut self, now: u64, delivery: &mut Delivery) {
        self.newest += 1;
        self.deadline = now.saturating_add(FEED_TTL_MS);
        delivery.position = Some(self.position());
        if self.events.len() == FEED_EVENTS_MAX {
            self.event_bytes -= self.events.pop_front().as_ref().map_or(0, event_bytes);
        }
        self.event_bytes += event_bytes(delivery);
        self.events.push_back(delivery.clone());
    }

    fn position(&self) -> Position {
        Position { epoch: self.epoch.clone(), offset: self.newest }
    }

    fn after(&self, offset: u64) -> Replay {
        let Some(missed) = self.newest.checked_sub(offset) else {
            return Replay::Gap;
        };
        let kept = self.events.len();
        match usize::try_from(missed) {
            Ok(missed) if missed <= kept => Replay::Events(self.events.iter().skip(kept - missed).cloned().collect()),
            _ => Replay::Gap,
        }
    }
}

fn event_bytes(event: &Delivery) -> usize {
    size_of::<Delivery>() + event.payload.len()
}
