//! The feeds of the model: the newest durable events of each user.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::feed::Position;
use crate::ids::UserId;
use crate::limits::{FEED_BYTES_MAX, FEED_EVENTS_MAX, FEED_TTL_MS};
use crate::port::{Delivery, Event, Replay};
use crate::time::Timestamp;

/// The feed of one user.
#[derive(Debug)]
struct StoredFeed {
    epoch: Arc<str>,
    newest: u64,
    events: VecDeque<Delivery>,
    /// The time from which on the feed no longer exists.
    deadline: Timestamp,
}

/// All feeds. Every new feed gets an epoch that was never used before.
#[derive(Debug, Default)]
pub(super) struct FeedModel {
    feeds: BTreeMap<UserId, StoredFeed>,
    begun: u64,
    /// The time since which these feeds exist: after a restart, positions of an earlier time belong to other feeds.
    since: Timestamp,
}

impl FeedModel {
    /// Removes all feeds, as a restart at this time does.
    pub(super) fn clear(&mut self, now: Timestamp) {
        self.feeds.clear();
        self.since = now.plus(1);
    }

    /// Appends a durable event to the feed of a user who is followed for this time; an ephemeral event gets no
    /// position. A durable event for a user whom nobody follows ends the user's feed.
    pub(super) fn publish(
        &mut self,
        (now, followed_ms): (Timestamp, Option<u64>),
        user: UserId,
        event: &Event,
    ) -> Delivery {
        let mut delivery = Delivery { name: event.name.clone(), payload: event.payload.clone(), position: None };
        match followed_ms {
            Some(followed_ms) if event.durable => {
                let feed = self.open(now, user);
                feed.newest += 1;
                feed.deadline = now.plus(FEED_TTL_MS.min(followed_ms));
                delivery.position = Some(feed.position());
                feed.events.push_back(delivery.clone());
                while feed.events.len() > FEED_EVENTS_MAX || feed.bytes() > FEED_BYTES_MAX {
                    feed.events.pop_front();
                }
            }
            None if event.durable => drop(self.feeds.remove(&user)),
            _ => {}
        }
        delivery
    }

    pub(super) fn position(&self, now: Timestamp, user: UserId) -> Position {
        self.live(now, user).map_or_else(|| Position::without_feed(now), StoredFeed::position)
    }

    pub(super) fn replay(&self, now: Timestamp, user: UserId, since: &Position) -> Replay {
        let taken = since.without_feed_since();
        if taken.is_some_and(|taken| taken < self.since || !since.is_recent_without_feed(now)) {
            return Replay::Gap;
        }
        match self.live(now, user) {
            None if taken.is_some() => Replay::Events(Vec::new()),
            None => Replay::Gap,
            Some(feed) if taken.is_some() => feed.after(0),
            Some(feed) if feed.epoch == since.epoch => feed.after(since.offset),
            Some(_) => Replay::Gap,
        }
    }

    fn live(&self, now: Timestamp, user: UserId) -> Option<&StoredFeed> {
        self.feeds.get(&user).filter(|feed| now < feed.deadline)
    }

    fn open(&mut self, now: Timestamp, user: UserId) -> &mut StoredFeed {
        if self.live(now, user).is_none() {
            self.begun += 1;
            let feed = StoredFeed {
                epoch: format!("f{}", self.begun).into(),
                newest: 0,
                events: VecDeque::new(),
                deadline: now,
            };
            self.feeds.insert(user, feed);
        }
        self.feeds.get_mut(&user).unwrap()
    }
}

impl StoredFeed {
    fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.name.len() + event.payload.len()).sum()
    }

    fn position(&self) -> Position {
        Position { epoch: self.epoch.clone(), offset: self.newest }
    }

    fn after(&self, offset: u64) -> Replay {
        let oldest = self.newest - self.events.len() as u64 + 1;
        if offset > self.newest || offset + 1 < oldest {
            return Replay::Gap;
        }
        let skipped = (offset + 1 - oldest) as usize;
        Replay::Events(self.events.iter().skip(skipped).cloned().collect())
    }
}
