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
    /// The position of a durable event in the user's feed; `None` for an ephemeral event.
    pub position: Option<Position>,
}

/// Receives the events of a subscription to a [`Bus`]. Calls must not block, because the store makes them while it holds its
/// locks.
pub trait Subscriber: Send + Sync {
    /// Receives an event of a joined user. The events of one user are delivered in the order of publication.
    fn deliver(&self, user: UserId, delivery: Delivery);

    /// The bus was interrupted and works again. Events of every joined user may have been missed.
    fn interrupted(&self);
}

/// Live events of the users that have a connection to this host.
pub trait Bus: Send + Sync {
    /// Subscribes to a user's events. Events that are published after this returns reach `subscriber`, unless the bus is
    /// interrupted. A host has one subscriber for each user; joining again replaces it.
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

/// The newest durable events of each user: at most [`crate::limits::FEED_EVENTS_MAX`]. A feed expires
/// [`crate::limits::FEED_TTL_MS`] after its last event.
pub trait Feeds: Send + Sync {
    /// The position of the newest event of each user, in the order of `users`. A user without a feed gets
    /// [`Position::without_feed`] at the present time.
    fn positions(&self, users: &[UserId]) -> impl Future<Output = Result<Vec<Position>, StoreError>> + Send;

    /// All events after `since`, or [`Replay::Gap`].
    ///
    /// For a recent [`Position::without_feed`], a feed that still holds its first event is replayed as a whole, and a user
    /// without a feed has nothing to replay. For an older one, or one from before the store lost its data, the answer is a
    /// gap, because a feed could have begun and expired since.
    fn replay(&self, user: UserId, since: &Position) -> impl Future<Output = Result<Replay, StoreError>> + Send;
}
