//! Feeds of one shard: the newest durable events of each user, with their positions.

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
use super::expiry::Due;

/// Names for feeds: never the same twice, also not after a restart.
#[derive(Debug)]
pub(super) struct Epochs {
    /// A letter and 48 random bits; the store's own.
    prefix: String,
    begun: AtomicU64,
}

impl Epochs {
    pub(super) fn new() -> Self {
        let random = Uuid::new_v4().as_u128() & 0xFFFF_FFFF_FFFF;
        Self { prefix: format!("m{random:012x}"), begun: AtomicU64::new(0) }
    }

    fn next(&self) -> Arc<str> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        format!("{}{number:x}", self.prefix).into()
    }
}

/// All feeds of a shard, expired ones among them until they are evicted.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    feeds: HashMap<UserId, Feed>,
    due: Due<UserId>,
    /// When the store began: nobody who looked before looked at these feeds.
    began: Timestamp,
}

#[derive(Debug)]
struct Feed {
    epoch: Arc<str>,
    newest: u64,
    events: VecDeque<Delivery>,
    /// Unix milliseconds: the first moment at which the feed is gone.
    deadline: u64,
    /// The moment of the feed's note among the due ones; [`NEVER`]: there is none.
    noted: u64,
}

impl Feeds {
    /// Of a store that begins at this moment.
    pub(super) fn beginning(began: Timestamp) -> Self {
        Self { began, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.feeds.len()
    }

    /// Rough size of everything; a payload that went to several users counts for each.
    pub(super) fn bytes(&self) -> usize {
        let events = self.feeds.values().flat_map(|feed| &feed.events);
        let events: usize = events.map(|event| size_of::<Delivery>() + event.payload.len()).sum();
        self.feeds.capacity() * size_of::<(UserId, Feed)>() + events
    }

    /// An event as it goes out; a durable one takes the next place of its user's feed.
    pub(super) fn publish(&mut self, now: u64, epochs: &Epochs, user: UserId, event: &Event) -> Delivery {
        let mut delivery = Delivery { name: event.name.clone(), payload: event.payload.clone(), position: None };
        if event.durable {
            let feed = self.feeds.entry(user).or_insert_with(|| Feed::begin(epochs));
            if !feed.is_live(now) {
                let noted = feed.noted;
                *feed = Feed { noted, ..Feed::begin(epochs) };
            }
            feed.append(now, &mut delivery);
            if feed.noted == NEVER {
                feed.noted = feed.deadline;
                self.due.push(feed.deadline, user);
            }
        }
        delivery
    }

    /// The newest event's place.
    pub(super) fn position(&self, now: u64, user: UserId) -> Position {
        self.live(now, user).map_or_else(|| Position::nowhere(Timestamp(now)), Feed::position)
    }

    /// Everything after a place, or nothing in part.
    pub(super) fn replay(&self, now: u64, user: UserId, since: &Position) -> Replay {
        let moment = since.nowhere_since();
        let nowhere = moment.is_some();
        if moment.is_some_and(|moment| moment < self.began || !since.nowhere_is_recent(Timestamp(now))) {
            return Replay::Gap;
        }
        match self.live(now, user) {
            None if nowhere => Replay::Events(Vec::new()),
            Some(feed) if nowhere => feed.after(0),
            Some(feed) if feed.epoch == since.epoch => feed.after(since.offset),
            None | Some(_) => Replay::Gap,
        }
    }

    /// Removes up to so many expired feeds; answers how many notes it looked at, and how many feeds went.
    pub(super) fn evict(&mut self, now: u64, notes_max: usize) -> (usize, usize) {
        let before = self.feeds.len();
        let mut notes = 0;
        while notes < notes_max
            && let Some((_, user)) = self.due.pop(now)
        {
            notes += 1;
            match self.feeds.get_mut(&user) {
                Some(feed) if feed.is_live(now) => {
                    feed.noted = feed.deadline;
                    self.due.push(feed.deadline, user);
                }
                _ => drop(self.feeds.remove(&user)),
            }
        }
        (notes, before - self.feeds.len())
    }

    fn live(&self, now: u64, user: UserId) -> Option<&Feed> {
        self.feeds.get(&user).filter(|feed| feed.is_live(now))
    }
}

impl Feed {
    fn begin(epochs: &Epochs) -> Self {
        Self { epoch: epochs.next(), newest: 0, events: VecDeque::new(), deadline: NEVER, noted: NEVER }
    }

    const fn is_live(&self, now: u64) -> bool {
        now < self.deadline
    }

    fn append(&mut self, now: u64, delivery: &mut Delivery) {
        self.newest += 1;
        self.deadline = now.saturating_add(FEED_TTL_MS);
        delivery.position = Some(self.position());
        if self.events.len() == FEED_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(delivery.clone());
    }

    fn position(&self) -> Position {
        Position { epoch: self.epoch.clone(), offset: self.newest }
    }

    fn after(&self, offset: u64) -> Replay {
        let Some(missed) = self.newest.checked_sub(offset) else {
            return Replay::Gap;
        };
        let held = self.events.len();
        match usize::try_from(missed) {
            Ok(missed) if missed <= held => Replay::Events(self.events.iter().skip(held - missed).cloned().collect()),
            _ => Replay::Gap,
        }
    }
}
