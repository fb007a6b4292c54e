//! The ground truth of a run: what really happened, recorded beside the store and the records, for the oracles to
//! compare.
//!
//! The ports write it at the time of each effect, so it is complete even where a caller never received its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use roost_core::feed::Position;
use roost_core::ids::{ConnectionId, ConversationId, MessageId, Seq, UserId};
use roost_core::limits::FOLLOWED_TTL_MS;
use roost_core::port::{ChangeKind, Changed, ReadMark};

/// A violated invariant of the design.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The number of the invariant in the design, zero for a call that no adapter is allowed to answer, or
    /// [`Violation::ADDRESSED`].
    pub invariant: u8,
    /// A description of the violation.
    pub what: String,
}

impl Violation {
    /// The number for events of named users that diverge from the change that they are about.
    pub const ADDRESSED: u8 = 11;
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.invariant, self.what)
    }
}

/// A published durable event.
#[derive(Clone, Debug)]
pub(crate) struct PublishedEvent {
    pub(crate) name: Arc<str>,
    pub(crate) payload: Arc<str>,
    pub(crate) position: Position,
}

/// A stored change of a conversation.
#[derive(Clone, Debug)]
pub(crate) struct StoredChange {
    pub(crate) seq: Seq,
    pub(crate) kind: ChangeKind,
    pub(crate) message: MessageId,
    pub(crate) sender: UserId,
    pub(crate) members: Vec<UserId>,
    pub(crate) stored_ms: u64,
}

/// A read position that has moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MovedRead {
    pub(crate) up_to: Seq,
    pub(crate) moved_ms: u64,
    /// The number of events published to the reader by then.
    pub(crate) feed_index: usize,
}

/// A user's counted positions in one conversation, as the store last held them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CountedPositions {
    pub(crate) seq: Option<u64>,
    pub(crate) read: Option<u64>,
}

/// One user's presence as the store last held it, with what its oracle needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObservedPresence {
    /// Status and generation, or `None` if the user was never seen or the store was lost.
    pub(crate) state: Option<(bool, u64)>,
    /// The state that contacts were notified of, or `None` while a transition is still to be announced.
    pub(crate) announced: Option<bool>,
    /// The time of the transition to this state.
    pub(crate) since_ms: u64,
    /// The highest generation so far.
    pub(crate) highest: u64,
    /// The users who were notified of the current generation.
    pub(crate) notified: BTreeSet<UserId>,
    /// For each device, the time until which the user is certainly online.
    pub(crate) devices: BTreeMap<ConnectionId, u64>,
}

/// A vote that somebody has cast.
#[derive(Clone, Debug)]
pub(crate) struct CastVote {
    /// The users who must be notified if the vote is counted.
    pub(crate) notified: Vec<UserId>,
    /// The time at which it was counted in the store, if it was.
    pub(crate) counted_ms: Option<u64>,
}

/// A span of time in which the events of a user are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FollowedSpan {
    since_ms: u64,
    until_ms: u64,
}

/// Everything that the oracles compare with.
#[derive(Default)]
pub(crate) struct GroundTruth {
    /// The first violation.
    pub(crate) violation: Option<Violation>,
    /// Durable events by user, in order of publication, including events from before losses of the store.
    pub(crate) feeds: BTreeMap<UserId, Vec<PublishedEvent>>,
    /// Changes by conversation in order.
    pub(crate) changes: BTreeMap<ConversationId, Vec<StoredChange>>,
    /// Messages whose acknowledgement reached a client.
    pub(crate) acknowledged: BTreeMap<MessageId, ConversationId>,
    /// The content of each message; no two messages share one.
    pub(crate) contents: BTreeMap<String, ConversationId>,
    /// Read positions whose acknowledgement reached a client.
    pub(crate) read: BTreeMap<(UserId, ConversationId), Seq>,
    /// The same, where the counters were updated too.
    pub(crate) read_applied: BTreeMap<(UserId, ConversationId), Seq>,
    /// Read positions that have moved.
    pub(crate) moved_read: BTreeMap<(UserId, ConversationId), MovedRead>,
    /// All published `message.new` events.
    pub(crate) announced: BTreeSet<(UserId, ConversationId, Seq)>,
    /// The same, since the store last lost the user's position.
    pub(crate) counted_once: BTreeMap<(UserId, ConversationId), BTreeSet<Seq>>,
    /// The counted positions by user and conversation.
    pub(crate) counted: BTreeMap<(UserId, ConversationId), CountedPositions>,
    /// The highest version of each cached last message.
    pub(crate) versions: BTreeMap<ConversationId, u64>,
    /// The time of the last change of each membership.
    pub(crate) moved_ms: BTreeMap<(ConversationId, UserId), u64>,
    /// The time since which the first user is visible to the second.
    pub(crate) visible_since_ms: BTreeMap<(UserId, UserId), u64>,
    /// The time at which the second user was last told the presence of the first.
    pub(crate) presence_published_ms: BTreeMap<(UserId, UserId), u64>,
    /// The presence of every user.
    pub(crate) presence: BTreeMap<UserId, ObservedPresence>,
    /// Whether each generation means online.
    pub(crate) generations: BTreeMap<(UserId, u64), bool>,
    /// The time of the last loss of the store.
    pub(crate) wiped_ms: Option<u64>,
    /// The users whose events are kept, and since when without a break.
    pub(crate) followed: BTreeMap<UserId, FollowedSpan>,
    /// The pairs of users of whom one has blocked the other at some time, in both orders.
    pub(crate) blocked: BTreeSet<(UserId, UserId)>,
    /// The votes that were cast.
    pub(crate) votes: BTreeMap<String, CastVote>,
}

impl GroundTruth {
    /// Records a violation, if it is the first.
    pub(crate) fn violate(&mut self, invariant: u8, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, what: what() });
        }
    }

    /// Records a stored change.
    pub(crate) fn changed(&mut self, changed: &Changed, now_ms: u64) {
        if changed.repeated {
            return;
        }
        let message = &changed.change.message;
        self.changes.entry(message.conversation).or_default().push(StoredChange {
            seq: changed.change.seq,
            kind: changed.change.kind,
            message: message.id,
            sender: message.sender,
            members: changed.members.clone(),
            stored_ms: now_ms,
        });
    }

    /// Records a read position if it has moved.
    pub(crate) fn marked(&mut self, reader: UserId, mark: &ReadMark, now_ms: u64) {
        if mark.moved {
            let feed_index = self.feeds.get(&reader).map_or(0, Vec::len);
            let moved = MovedRead { up_to: mark.counter.read, moved_ms: now_ms, feed_index };
            self.moved_read.insert((reader, mark.counter.conversation), moved);
        }
    }

    /// Records that the store has lost all data.
    pub(crate) fn wiped(&mut self, now_ms: u64) {
        self.wiped_ms = Some(now_ms);
        self.counted.clear();
        self.counted_once.clear();
        self.versions.clear();
        self.followed.clear();
        for observed in self.presence.values_mut() {
            *observed = ObservedPresence { highest: observed.highest, ..ObservedPresence::default() };
        }
    }

    /// Records that the events of this user are kept from now on.
    pub(crate) fn followed(&mut self, user: UserId, now_ms: u64) {
        let span = self.followed.entry(user).or_insert(FollowedSpan { since_ms: now_ms, until_ms: now_ms });
        if span.until_ms < now_ms {
            span.since_ms = now_ms;
        }
        span.until_ms = now_ms + FOLLOWED_TTL_MS;
    }

    /// Whether an event about what happened at this time is owed to the user: the user has been followed since before,
    /// and the store was not lost. Nobody else gets an event that is kept.
    pub(crate) fn is_owed(&self, user: UserId, happened_ms: u64, now_ms: u64) -> bool {
        self.followed.get(&user).is_some_and(|span| span.since_ms < happened_ms && now_ms <= span.until_ms)
    }

    /// Whether the store was lost after this time.
    pub(crate) fn wiped_since(&self, instant_ms: u64) -> bool {
        self.wiped_ms.is_some_and(|wiped_ms| wiped_ms >= instant_ms)
    }

    /// The time until which the user is certainly online.
    pub(crate) fn online_until_ms(&self, user: UserId) -> u64 {
        self.presence.get(&user).and_then(|observed| observed.devices.values().max()).copied().unwrap_or(0)
    }

    /// Whether the member was notified that the reader has read this far; the reader's own devices receive the
    /// remaining count, or the conversation if they do not know it yet.
    pub(crate) fn was_notified_of_read(
        &self,
        member: UserId,
        reader: UserId,
        conversation: ConversationId,
        moved: MovedRead,
    ) -> bool {
        #[derive(serde::Deserialize)]
        struct ReadEvent {
            conversation: ConversationId,
            reader: Option<UserId>,
            up_to: Option<Seq>,
        }
        #[derive(serde::Deserialize)]
        struct AddedEvent {
            id: ConversationId,
            read: Seq,
        }
        let is_own = member == reader;
        let (name, since) = if is_own { ("unread.update", moved.feed_index) } else { ("message.read_update", 0) };
        let mut events = self.feeds.get(&member).into_iter().flatten().skip(since);
        events.any(|event| match event.name.as_ref() {
            "conversation.added" if is_own => serde_json::from_str::<AddedEvent>(&event.payload)
                .is_ok_and(|added| added.id == conversation && added.read >= moved.up_to),
            this if this == name => serde_json::from_str::<ReadEvent>(&event.payload).is_ok_and(|payload| {
                let far = is_own || (payload.reader == Some(reader) && payload.up_to >= Some(moved.up_to));
                payload.conversation == conversation && far
            }),
            _ => false,
        })
    }

    /// The unread messages of a member with read position `read`, when the conversation was at `seq`.
    pub(crate) fn unread_at(&self, user: UserId, conversation: ConversationId, read: Seq, seq: Seq) -> u64 {
        let changes = self.changes.get(&conversation).map_or(&[][..], Vec::as_slice);
        let then = changes.iter().filter(|change| change.seq <= seq);
        let mut open = BTreeSet::new();
        for change in then {
            match change.kind {
                ChangeKind::Sent if change.sender != user && change.seq > read => drop(open.insert(change.message)),
                ChangeKind::Deleted => drop(open.remove(&change.message)),
                _ => {}
            }
        }
        open.len() as u64
    }

    /// The newest message when the conversation was at `seq`, if it is newer than `joined`.
    pub(crate) fn last_at(&self, conversation: ConversationId, joined: Seq, seq: Seq) -> Option<MessageId> {
        let changes = self.changes.get(&conversation).map_or(&[][..], Vec::as_slice);
        let then: Vec<_> = changes.iter().filter(|change| change.seq <= seq).collect();
        let deleted =
            |message| then.iter().any(|change| change.kind == ChangeKind::Deleted && change.message == message);
        let sent = then.iter().rev().find(|change| change.kind == ChangeKind::Sent && !deleted(change.message))?;
        (sent.seq > joined).then_some(sent.message)
    }
}
