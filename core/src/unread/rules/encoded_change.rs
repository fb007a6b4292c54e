//! Changes encoded once for all members, and the events that a member has not received yet.

use std::collections::BTreeMap;

use crate::event;
use crate::ids::{ConversationId, Seq};
use crate::limits::{FEED_BYTES_MAX, FEED_EVENTS_MAX};
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

/// The same events if a feed can keep them; otherwise a single `resync` event. With one
/// `resync` the client asks for the whole state, so that it needs none of the other events.
pub(super) fn bounded_events(events: Vec<Event>) -> Vec<Event> {
    let resync = event::resync();
    let bytes: usize = events.iter().map(Event::bytes).sum();
    let is_too_much = events.len() > FEED_EVENTS_MAX || bytes > FEED_BYTES_MAX;
    if is_too_much || events.contains(&resync) { vec![resync] } else { events }
}

/// The newest of these changes of one conversation, oldest first, whose events take no more than `bytes`, and what is left
/// of the bytes. Of a conversation whose changes do not reach back far enough, a `resync` is published.
pub(crate) fn encode_newest(changes: &[Change], bytes: usize) -> (Vec<EncodedChange>, usize) {
    let mut left = bytes;
    let mut newest = Vec::with_capacity(changes.len());
    for change in changes.iter().rev() {
        let encoded = EncodedChange::from(change);
        let size = encoded.event.as_ref().map_or(0, Event::bytes);
        let Some(rest) = left.checked_sub(size) else { break };
        left = rest;
        newest.push(encoded);
    }
    newest.reverse();
    (newest, left)
}

/// The number of changes after the position of a user who has missed some.
pub(crate) fn missed(position: Option<Seq>, counter: &Counter) -> u64 {
    counter.seq.0.saturating_sub(notified_up_to(position, counter).0)
}
