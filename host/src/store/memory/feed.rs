//! The feeds of one shard: the newest durable events of each user, with their positions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::HashMap;
use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::limits::{FEED_BYTES_MAX, FEED_EVENTS_MAX, FEED_TTL_MS};
use roost_core::port::{Delivery, Event, Replay};
use roost_core::time::Timestamp;
use uuid::Uuid;

use super::content::NEVER;
use super::expiry::ExpiryQueue;
use super::payloads::{KeptPayload, Payloads};

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

/// What the feeds of all shards share.
#[derive(Debug)]
pub(super) struct FeedParts {
    pub(super) epochs: Epochs,
    pub(super) payloads: Payloads,
}

impl FeedParts {
    pub(super) fn new() -> Self {
        Self { epochs: Epochs::new(), payloads: Payloads::default() }
    }
}

/// All feeds of a shard, including those that expired and are not evicted yet.
#[derive(Debug, Default)]
pub(super) struct ShardFeeds {
    feeds: HashMap<UserId, StoredFeed>,
    /// The number of events in all feeds.
    events: usize,
    expiring: ExpiryQueue<UserId>,
    /// When the store was made. A position that was taken before is not one of these feeds'.
    created_at: Timestamp,
}

#[derive(Debug)]
struct StoredFeed {
    epoch: Arc<str>,
    newest: u64,
    events: VecDeque<KeptEvent>,
    /// The bytes of the names and payloads of the events.
    bytes: usize,
    /// The first millisecond of Unix time at which the feed is expired.
    deadline: u64,
    /// The time of the feed's valid entry in the expiry queue; [`NEVER`] if it has none.
    queued_for: u64,
}

/// An event of a feed. The sum of all payloads counts its payload for as long as a feed has the event.
#[derive(Debug)]
struct KeptEvent {
    delivery: Delivery,
    _payload: Arc<KeptPayload>,
}

impl ShardFeeds {
    /// No feeds, in a store that is made at this time.
    pub(super) fn new(created_at: Timestamp) -> Self {
        Self { created_at, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.feeds.len()
    }

    /// An estimate of the bytes that all feeds take beside the payloads, which feeds of all shards share. Takes
    /// constant time.
    pub(super) fn bytes(&self) -> usize {
        self.feeds.capacity() * size_of::<(UserId, StoredFeed)>() + self.events * size_of::<KeptEvent>()
    }

    /// The same as [`ShardFeeds::bytes`], from a walk over all events.
    #[cfg(test)]
    pub(super) fn walked_bytes(&self) -> usize {
        let events = self.feeds.values().map(|feed| feed.events.len()).sum::<usize>();
        self.feeds.capacity() * size_of::<(UserId, StoredFeed)>() + events * size_of::<KeptEvent>()
    }

    /// The payloads of all events.
    #[cfg(test)]
    pub(super) fn payloads(&self) -> Vec<Arc<str>> {
        let events = self.feeds.values().flat_map(|feed| &feed.events);
        events.map(|event| Arc::clone(&event.delivery.payload)).collect()
    }

    /// The event as it is delivered. A durable event gets the next position of the feed of a user who is followed for
    /// this time. For a user whom nobody follows it is not kept, and neither is what is left of the feed.
    pub(super) fn publish(
        &mut self,
        (now, followed_ms): (u64, Option<u64>),
        parts: &FeedParts,
        user: UserId,
        event: &Event,
    ) -> Delivery {
        let mut delivery = Delivery { name: event.name.clone(), payload: event.payload.clone(), position: None };
        match followed_ms {
            Some(followed_ms) if event.durable => self.keep((now, followed_ms), parts, user, &mut delivery),
            None if event.durable => self.remove(user),
            _ => {}
        }
        delivery
    }

    fn keep(&mut self, (now, followed_ms): (u64, u64), parts: &FeedParts, user: UserId, delivery: &mut Delivery) {
        let feed = self.feeds.entry(user).or_insert_with(|| StoredFeed::new(&parts.epochs));
        let events_before = feed.events.len();
        if !feed.is_live(now) {
            *feed = StoredFeed { queued_for: feed.queued_for, ..StoredFeed::new(&parts.epochs) };
        }
        feed.append(delivery, parts.payloads.keep(&delivery.payload));
        feed.deadline = now.saturating_add(FEED_TTL_MS.min(followed_ms));
        self.events = self.events + feed.events.len() - events_before;
        if feed.deadline < feed.queued_for {
            feed.queued_for = feed.deadline;
            self.expiring.push(feed.deadline, user);
        }
    }

    fn remove(&mut self, user: UserId) {
        let removed = self.feeds.remove(&user);
        self.events -= removed.map_or(0, |feed| feed.events.len());
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
            && let Some((time, user)) = self.expiring.pop(now)
        {
            checks += 1;
            match self.feeds.get_mut(&user) {
                // Another entry of the queue is the valid one.
                Some(feed) if feed.queued_for != time => {}
                Some(feed) if feed.is_live(now) => {
                    feed.queued_for = feed.deadline;
                    self.expiring.push(feed.deadline, user);
                }
                _ => self.remove(user),
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
        Self { epoch, newest: 0, events, bytes: 0, deadline: NEVER, queued_for: NEVER }
    }

    const fn is_live(&self, now: u64) -> bool {
        now < self.deadline
    }

    fn append(&mut self, delivery: &mut Delivery, payload: Arc<KeptPayload>) {
        self.newest += 1;
        delivery.position = Some(self.position());
        self.bytes += event_bytes(delivery);
        self.events.push_back(KeptEvent { delivery: delivery.clone(), _payload: payload });
        while self.events.len() > FEED_EVENTS_MAX || self.bytes > FEED_BYTES_MAX {
            self.bytes -= self.events.pop_front().map_or(self.bytes, |event| event_bytes(&event.delivery));
        }
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
            Ok(missed) if missed <= kept => {
                Replay::Events(self.events.iter().skip(kept - missed).map(|event| event.delivery.clone()).collect())
            }
            _ => Replay::Gap,
        }
    }
}

fn event_bytes(event: &Delivery) -> usize {
    event.name.len() + event.payload.len()
}
