//! Changes and conversations encoded once for all members, and the events that a member has not received yet.

use std::collections::BTreeMap;

use crate::event::{self, ConversationView};
use crate::ids::{ConversationId, Seq, UserId};
use crate::limits::{FEED_BYTES_MAX, FEED_EVENTS_MAX};
use crate::port::{Change, ChangeKind, Conversation, Counter, Event, Message};

/// A change with the event that announces it, encoded once for all members.
#[derive(Clone, Debug)]
pub(crate) struct EncodedChange {
    seq: Seq,
    kind: ChangeKind,
    sender: UserId,
    /// The sequence number of the message that was changed; members who joined at or after it cannot see the change.
    message: Seq,
    event: Option<Event>,
}

impl From<&Change> for EncodedChange {
    fn from(change: &Change) -> Self {
        Self {
            seq: change.seq,
            kind: change.kind,
            sender: change.message.sender,
            message: change.message.seq,
            event: event::change(change),
        }
    }
}

/// A conversation that users became members of, and its newest message.
#[derive(Clone, Debug)]
pub(crate) struct AddedConversation {
    /// As one of these users sees it.
    pub(crate) conversation: Conversation,
    /// As the others see it, where read positions may be hidden from some of them because of a block.
    pub(crate) of_others: BTreeMap<UserId, Conversation>,
    pub(crate) last: Option<Message>,
}

impl AddedConversation {
    /// The conversation as this user is shown it. What differs between members, apart from the positions of the others,
    /// is not used.
    pub(crate) fn shown_to(&self, user: UserId) -> &Conversation {
        self.of_others.get(&user).unwrap_or(&self.conversation)
    }
}

/// What the events are made of that some users have missed.
#[derive(Clone, Debug, Default)]
pub(crate) struct MissedEvents {
    /// The changes of each conversation, oldest first.
    pub(crate) changes: BTreeMap<ConversationId, Vec<EncodedChange>>,
    /// The conversations that some of the users have become members of.
    pub(crate) added: BTreeMap<ConversationId, AddedConversation>,
}

/// The events for one member of one conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MemberEvents {
    pub(super) events: Vec<Event>,
    /// The number of messages among them that a client adds to its counters.
    pub(super) counted: u64,
    /// Whether a counter can have moved by something that a client does not count itself.
    pub(super) moves_count: bool,
}

/// The position after which changes still have to be published to a user whose stored position is `position`.
///
/// Without a stored position, only the changes that nobody has confirmed and that follow the user's joining are left.
pub(crate) fn notified_up_to(position: Option<Seq>, counter: &Counter) -> Seq {
    position.unwrap_or_else(|| counter.announced.max(counter.joined))
}

/// Whether the user has become a member since the position was stored, so that clients do not know the conversation as
/// it is.
pub(crate) fn is_added(position: Option<Seq>, counter: &Counter) -> bool {
    position.is_none_or(|position| position < counter.joined)
}

impl MissedEvents {
    /// The events between the stored position and the snapshot. If the changes do not reach back to the stored
    /// position, a single `resync` event instead, so that a client never receives only some of the events that it
    /// missed.
    pub(super) fn between(&self, user: UserId, position: Option<Seq>, counter: &Counter) -> MemberEvents {
        let from = notified_up_to(position, counter).max(counter.joined);
        if from >= counter.seq {
            return MemberEvents::default();
        }
        let known = self.changes.get(&counter.conversation).map_or(&[][..], Vec::as_slice);
        if known.first().is_none_or(|oldest| oldest.seq > from.next()) {
            return MemberEvents { events: vec![event::resync()], counted: 0, moves_count: true };
        }
        let passed = known.iter().filter(|change| change.seq > from && change.seq <= counter.seq);
        let mut events = MemberEvents::default();
        for change in passed.filter(|change| change.message > counter.joined) {
            let is_counted = change.kind == ChangeKind::Sent && change.sender != user && change.event.is_some();
            events.counted += u64::from(is_counted);
            // A client that knows nothing of the conversation counts what the user has read already.
            let is_read = is_counted && change.seq <= counter.read;
            events.moves_count |= is_read || change.kind == ChangeKind::Deleted;
            events.events.extend(change.event.clone());
        }
        events
    }

    /// As [`MissedEvents::between`] for a user who has become a member: the conversation comes first. If it is not
    /// known, a single `resync` event instead.
    pub(super) fn since_joining(&self, user: UserId, position: Option<Seq>, counter: &Counter) -> MemberEvents {
        let mut events = self.between(user, position, counter);
        events.events.insert(0, self.added_event(user, counter));
        events.moves_count |= counter.count > 0 || events.counted > 0;
        events
    }

    /// The event that shows the conversation to a member; `resync` if it is not known.
    pub(super) fn added_event(&self, user: UserId, counter: &Counter) -> Event {
        match self.added.get(&counter.conversation) {
            Some(added) => {
                let view = ConversationView::of_member(added.shown_to(user), added.last.as_ref(), counter);
                event::conversation_added(&view)
            }
            None => event::resync(),
        }
    }
}

/// The same events if a feed can keep them; otherwise a single `resync` event. With one
/// `resync` the client asks for the whole state, so that it needs none of the other events.
pub(super) fn bounded_events(events: Vec<Event>) -> Vec<Event> {
    let resync = event::resync();
    let bytes: usize = events.iter().map(Event::bytes).sum();
    let is_too_much = events.len() > FEED_EVENTS_MAX || bytes > FEED_BYTES_MAX;
    if is_too_much || events.contains(&resync) { vec![resync] } else { events }
}

/// The newest of these changes of one conversation, oldest first, whose events take no more than `bytes`, and what is
/// left of the bytes. Of a conversation whose changes do not reach back far enough, a `resync` is published.
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
