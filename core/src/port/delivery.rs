//! The delivery side: live events and feeds. The host and the simulation use it; functions have no access to it.

use std::future::Future;
use std::sync::Arc;

use super::{Event, StoreError};
use crate::feed::Position;
use crate::ids::UserId;

/// An event for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The user whose devices receive the event.
    pub user: UserId,
    /// The event that the user's devices receive.
    pub event: Event,
}

/// An event as the store delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The `type` of the frame.
    pub name: Arc<str>,
    /// The payload: a JSON value as text.
    pub payload: Arc<str>,
    /// The position of a durable event in the user's feed; `None` for an ephemeral event, and for a durable one that no
    /// feed keeps because nobody follows the user.
    pub position: Option<Position>,
}

/// Receives the events of a subscription to a [`Bus`]. Calls must not block, because the store makes them while it
/// holds its locks.
pub trait Subscriber: Send + Sync {
    /// Receives an event of a joined user. The events of one user are delivered in the order of publication.
    fn deliver(&self, user: UserId, delivery: Delivery);

    /// The bus is interrupted for these users. Until [`Subscriber::interrupted`] names them, their events may be
    /// missing, also while new ones arrive.
    fn suspended(&self, _users: &[UserId]) {}

    /// The bus was interrupted for these users, and works again. Their events may have been missed; those of other
    /// users were not.
    fn interrupted(&self, users: &[UserId]);
}

/// Live events of the users that have a connection to this host.
pub trait Bus: Send + Sync {
    /// Subscribes to a user's events. Events that are published after this returns reach `subscriber`, unless the bus
    /// is interrupted. A host has one subscriber for each user; joining again replaces it.
    fn join(
        &self,
        user: UserId,
        subscriber: Arc<dyn Subscriber>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends the subscription to a user's events. An event that is being delivered may still arrive.
    fn leave(&self, user: UserId) -> impl Future<Output = ()> + Send;
}

/// The events of a feed after a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// All events after the position, oldest first, each with its position. The list may be empty.
    Events(Vec<Delivery>),
    /// The feed no longer reaches back to the position, and a partial replay is not allowed.
    Gap,
}

/// The newest durable events of each followed user: at most [`crate::limits::FEED_EVENTS_MAX`], and at most
/// [`crate::limits::FEED_BYTES_MAX`] of names and payloads. A feed expires [`crate::limits::FEED_TTL_MS`] after its
/// last event, or earlier together with the key `followed` as it was at that event.
pub trait Feeds: Send + Sync {
    /// As [`Feeds::positions`], in the same round trip as the key `followed` of each user is written with a time to
    /// live of
    /// [`crate::limits::FOLLOWED_TTL_MS`]: from now on the events of these users are kept, so that a client can resume
    /// from the positions.
    fn follow(&self, users: &[UserId]) -> impl Future<Output = Result<Vec<Position>, StoreError>> + Send;

    /// The position of the newest event of each user, in the order of `users`. A user without a feed gets
    /// [`Position::without_feed`] at the present time.
    fn positions(&self, users: &[UserId]) -> impl Future<Output = Result<Vec<Position>, StoreError>> + Send;

    /// All events after `since`, or [`Replay::Gap`].
    ///
    /// For a recent [`Position::without_feed`], a feed that still holds its first event is replayed as a whole, and a
    /// user without a feed has nothing to replay. For an older one, or one from before the store lost its data, the
    /// answer is a gap, because a feed could have begun and expired since.
    fn replay(&self, user: UserId, since: &Position) -> impl Future<Output = Result<Replay, StoreError>> + Send;
}
