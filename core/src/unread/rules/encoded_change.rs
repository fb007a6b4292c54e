//! Changes encoded once for all members, and the events that a member has not received yet.

use std::collections::BTreeMap;

use crate::event;
use crate::ids::{ConversationId, Seq};
use crate::limits::{CATCH_UP_BYTES_MAX, FEED_EVENTS_MAX};
use crate::port::{Change, Counter, Event};

/// A change with the event that announces it, encoded once for all members.
#[derive(Clone, Debug)]
pub(crate) struct EncodedChange {
    seq: Seq,
    /// The sequence number of the message that was changed; members who joined at or after it cannot see the change.
    message: Seq,
    event: Option<Event>,
}

/// The encoded changes of several conversations, oldest first.
pub(crate) type EncodedChanges = BTreeMap<ConversationId, Vec<EncodedChange>>;

impl From<&Change> for EncodedChange {
    fn from(change: &Change) -> Self {
        Self { seq: change.seq, message: change.message.seq, event: event::change(change) }
    }
}

/// The position after which changes still have to be published to a user whose stored position is `position`.
///
/// Without a stored position, only the changes that nobody has confirmed and that follow the user's joining are left.
pub(crate) fn notified_up_to(position: Option<Seq>, counter: &Counter) -> Seq {
    position.unwrap_or_else(|| counter.announced.max(counter.joined))
}

/// The events between the stored position and the snapshot. If `changes` do not reach back to the stored position, a
/// single `resync` event instead, so that a client never receives only some of the events that it missed.
pub(super) fn unnotified_events(position: Option<Seq>, counter: &Counter, changes: &EncodedChanges) -> Vec<Event> {
    let from = notified_up_to(position, counter);
    if from >= counter.seq {
        return Vec::new();
    }
    let known = changes.get(&counter.conversation).map_or(&[][..], Vec::as_slice);
    if known.first().is_none_or(|oldest| oldest.seq > from.next()) {
        return vec![event::resync()];
    }
    let passed = known.iter().filter(|change| change.seq > from && change.seq <= counter.seq);
    passed.filter(|change| change.message > counter.joined).filter_map(|change| change.event.clone()).collect()
}

/// The same events if a feed can keep them and one call can carry them; otherwise a single `resync` event.
pub(super) fn bounded_events(events: Vec<Event>) -> Vec<Event> {
    let bytes: usize = events.iter().map(|event| event.name.len() + event.payload.len()).sum();
    if events.len() > FEED_EVENTS_MAX || bytes > CATCH_UP_BYTES_MAX { vec![event::resync()] } else { events }
}
