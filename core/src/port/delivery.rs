//! The delivery side, which the host and the simulator use and functions never see: live events and feeds.

use std::future::Future;
use std::sync::Arc;

use super::{Event, StoreError};
use crate::feed::Position;
use crate::ids::UserId;

/// An event for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Whose devices are told.
    pub user: UserId,
    /// What they are told.
    pub event: Event,
}

/// An event as it comes out of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The frame's `type`.
    pub name: Arc<str>,
    /// A JSON value as text.
    pub payload: Arc<str>,
    /// A durable event's place in the user's feed; `None`: ephemeral.
    pub position: Option<Position>,
}

/// Whom a [`Bus`] hands what it hears. Calls must not block: they are made while the store holds its locks.
pub trait Subscriber: Send + Sync {
    /// An event of a joined user. For one user, in the order of publication.
    fn deliver(&self, user: UserId, delivery: Delivery);

    /// The bus was cut off and hears again: anything may have been missed, for every joined user.
    fn interrupted(&self);
}

/// Live events of the users that have a connection here.
pub trait Bus: Send + Sync {
    /// Whatever is published to the user after this returns reaches `subscriber`, unless the bus is interrupted.
    /// One subscriber per host; joining again replaces it.
    fn join(
        &self,
        user: UserId,
        subscriber: Arc<dyn Subscriber>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends a join. An event that is already under way may still arrive.
    fn leave(&self, user: UserId) -> impl Future<Output = ()> + Send;
}

/// What a feed holds after a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Everything after the position, oldest first, each with its position. May be empty.
    Events(Vec<Delivery>),
    /// The feed no longer reaches back to the position: nothing can be replayed in part.
    Gap,
}

/// The newest durable events of each user: at most [`crate::limits::FEED_EVENTS_MAX`], forgotten
/// [`crate::limits::FEED_TTL_MS`] after the last one.
pub trait Feeds: Send + Sync {
    /// The position of the newest event of each user, in the order asked. A user without a feed gets
    /// [`Position::nowhere`] at the present moment.
    fn positions(&self, users: &[UserId]) -> impl Future<Output = Result<Vec<Position>, StoreError>> + Send;

    /// Everything after `since`, or [`Replay::Gap`]. From a [`Position::nowhere`] of less than a feed's life ago, a
    /// feed replays as a whole if it still holds its first event, and no feed replays nothing. From one of longer
    /// ago, or of before the store began anew, everything is a gap: a feed could have begun and ended since.
    fn replay(&self, user: UserId, since: &Position) -> impl Future<Output = Result<Replay, StoreError>> + Send;
}
