//! Feeds of the model: the newest durable events of each user.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::feed::Position;
use crate::ids::UserId;
use crate::limits::{FEED_EVENTS_MAX, FEED_TTL_MS};
use crate::port::{Delivery, Event, Replay};
use crate::time::Timestamp;

#[derive(Debug)]
struct Feed {
    epoch: Arc<str>,
    newest: u64,
    events: VecDeque<Delivery>,
    /// The first moment at which the feed is gone.
    deadline: Timestamp,
}

/// All feeds. Every feed that begins gets an epoch that was never used before.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    feeds: BTreeMap<UserId, Feed>,
    begun: u64,
    /// Nobody who looked before this moment looked at these feeds.
    since: Timestamp,
}

impl Feeds {
    /// Forgets everything, as a restart at this moment does.
    pub(super) fn clear(&mut self, now: Timestamp) {
        self.feeds.clear();
        self.since = now.plus(1);
    }

    /// A durable event takes the next place.
    pub(super) fn publish(&mut self, now: Timestamp, user: UserId, event: &Event) -> Delivery {
        let mut delivery = Delivery { name: event.name.clone(), payload: event.payload.clone(), position: None };
        if event.durable {
            let feed = self.open(now, user);
            feed.newest += 1;
            feed.deadline = now.plus(FEED_TTL_MS);
            delivery.position = Some(feed.position());
            feed.events.push_back(delivery.clone());
            if feed.events.len() > FEED_EVENTS_MAX {
                feed.events.pop_front();
            }
        }
        delivery
    }

    pub(super) fn position(&self, now: Timestamp, user: UserId) -> Position {
        self.live(now, user).map_or_else(|| Position::nowhere(now), Feed::position)
    }

    pub(super) fn replay(&self, now: Timestamp, user: UserId, since: &Position) -> Replay {
        let nowhere = since.nowhere_since();
        let from_nowhere = nowhere.is_some();
        if nowhere.is_some_and(|moment| moment < self.since || !since.nowhere_is_recent(now)) {
            return Replay::Gap;
        }
        match self.live(now, user) {
            None if from_nowhere => Replay::Events(Vec::new()),
            None => Replay::Gap,
            Some(feed) if from_nowhere => feed.after(0),
            Some(feed) if feed.epoch == since.epoch => feed.after(since.offset),
            Some(_) => Replay::Gap,
        }
    }

    fn live(&self, now: Timestamp, user: UserId) -> Option<&Feed> {
        self.feeds.get(&user).filter(|feed| now < feed.deadline)
    }

    fn open(&mut self, now: Timestamp, user: UserId) -> &mut Feed {
        if self.live(now, user).is_none() {
            self.begun += 1;
            let feed =
                Feed { epoch: format!("f{}", self.begun).into(), newest: 0, events: VecDeque::new(), deadline: now };
            self.feeds.insert(user, feed);
        }
        self.feeds.get_mut(&user).unwrap()
    }
}

impl Feed {
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
