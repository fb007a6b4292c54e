//! What happened in a run, beside the store and the records: what the oracles compare both with.
//!
//! Written by the ports at the moment of each effect, so it is complete even where a caller never got its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use roost_core::feed::Position;
use roost_core::ids::{ConnectionId, ConversationId, MessageId, Seq, UserId};
use roost_core::port::{ChangeKind, Changed, ReadMark};

/// An invariant of the design that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number in the design; zero for a call that no adapter may answer.
    pub invariant: u8,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.invariant, self.what)
    }
}

/// A durable event as it was published.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) name: Arc<str>,
    pub(crate) payload: Arc<str>,
    pub(crate) position: Position,
}

/// A change as it was stored.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) seq: Seq,
    pub(crate) kind: ChangeKind,
    pub(crate) message: MessageId,
    pub(crate) sender: UserId,
    pub(crate) members: Vec<UserId>,
}

/// A read position that moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MovedRead {
    pub(crate) up_to: Seq,
    pub(crate) moved_ms: u64,
    /// How much had been published to the reader by then.
    pub(crate) place: usize,
}

/// A user's counted positions in one conversation, as the store held them last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) seq: Option<u64>,
    pub(crate) read: Option<u64>,
}

/// One user's presence, as the store held it last, and what its oracle needs to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Status and generation; `None`: never seen, or lost with the store.
    pub(crate) state: Option<(bool, u64)>,
    /// The state contacts were told; `None`: a transition is still to be told.
    pub(crate) announced: Option<bool>,
    /// When the transition to it happened.
    pub(crate) since_ms: u64,
    /// The highest generation there ever was.
    pub(crate) highest: u64,
    /// Who was told of the present generation.
    pub(crate) told: BTreeSet<UserId>,
    /// Until when each device keeps the user online for certain.
    pub(crate) devices: BTreeMap<ConnectionId, u64>,
}

/// Everything the oracles know.
#[derive(Default)]
pub(crate) struct Ledger {
    /// The first thing that was wrong.
    pub(crate) violation: Option<Violation>,
    /// Durable events by user, in the order of publication, over all lives of the store.
    pub(crate) feeds: BTreeMap<UserId, Vec<Told>>,
    /// Changes by conversation, in order.
    pub(crate) steps: BTreeMap<ConversationId, Vec<Step>>,
    /// Sends that a client saw acknowledged.
    pub(crate) acknowledged: BTreeMap<MessageId, ConversationId>,
    /// The content of each send, which no other send shares.
    pub(crate) contents: BTreeMap<String, ConversationId>,
    /// Read positions that a client saw acknowledged.
    pub(crate) read: BTreeMap<(UserId, ConversationId), Seq>,
    /// The same, where the counters had followed.
    pub(crate) read_applied: BTreeMap<(UserId, ConversationId), Seq>,
    /// Read positions that moved.
    pub(crate) moved_read: BTreeMap<(UserId, ConversationId), MovedRead>,
    /// `message.new` events ever published.
    pub(crate) announced: BTreeSet<(UserId, ConversationId, Seq)>,
    /// The same, since the store last forgot the user's position.
    pub(crate) counted_once: BTreeMap<(UserId, ConversationId), BTreeSet<Seq>>,
    /// Positions counted up to.
    pub(crate) counted: BTreeMap<(UserId, ConversationId), Counted>,
    /// Highest version of each cached last message.
    pub(crate) versions: BTreeMap<ConversationId, u64>,
    /// When the membership changed last.
    pub(crate) moved_ms: BTreeMap<(ConversationId, UserId), u64>,
    /// Since when the first has been visible to the second.
    pub(crate) visible_since_ms: BTreeMap<(UserId, UserId), u64>,
    /// Everybody's presence.
    pub(crate) presence: BTreeMap<UserId, Standing>,
    /// What each generation stands for.
    pub(crate) generations: BTreeMap<(UserId, u64), bool>,
    /// When the store was lost last.
    pub(crate) wiped_ms: Option<u64>,
}

impl Ledger {
    /// Remembers the first violation.
    pub(crate) fn violate(&mut self, invariant: u8, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, what: what() });
        }
    }

    /// A change was stored.
    pub(crate) fn changed(&mut self, changed: &Changed) {
        if changed.repeated {
            return;
        }
        let message = &changed.change.message;
        self.steps.entry(message.conversation).or_default().push(Step {
            seq: changed.change.seq,
            kind: changed.change.kind,
            message: message.id,
            sender: message.sender,
            members: changed.members.clone(),
        });
    }

    /// A read position may have moved.
    pub(crate) fn marked(&mut self, reader: UserId, mark: &ReadMark, now_ms: u64) {
        if mark.moved {
            let place = self.feeds.get(&reader).map_or(0, Vec::len);
            let moved = MovedRead { up_to: mark.counter.read, moved_ms: now_ms, place };
            self.moved_read.insert((reader, mark.counter.conversation), moved);
        }
    }

    /// The store lost everything.
    pub(crate) fn wiped(&mut self, now_ms: u64) {
        self.wiped_ms = Some(now_ms);
        self.counted.clear();
        self.counted_once.clear();
        self.versions.clear();
        for standing in self.presence.values_mut() {
            *standing = Standing { highest: standing.highest, ..Standing::default() };
        }
    }

    /// Whether the store was lost since.
    pub(crate) fn wiped_since(&self, moment_ms: u64) -> bool {
        self.wiped_ms.is_some_and(|wiped_ms| wiped_ms >= moment_ms)
    }

    /// Until when the user is online for certain.
    pub(crate) fn alive_until_ms(&self, user: UserId) -> u64 {
        self.presence.get(&user).and_then(|standing| standing.devices.values().max()).copied().unwrap_or(0)
    }

    /// Whether the member was told that the reader had read so far; the reader's own devices are told what is left.
    pub(crate) fn told_of_reading(
        &self,
        member: UserId,
        reader: UserId,
        conversation: ConversationId,
        moved: MovedRead,
    ) -> bool {
        #[derive(serde::Deserialize)]
        struct News {
            conversation: ConversationId,
            reader: Option<UserId>,
            up_to: Option<Seq>,
        }
        let (name, since) = if member == reader { ("unread.update", moved.place) } else { ("message.read_update", 0) };
        let told = self.feeds.get(&member).into_iter().flatten().skip(since).filter(|told| told.name.as_ref() == name);
        told.filter_map(|told| serde_json::from_str::<News>(&told.payload).ok()).any(|news| {
            let far = member == reader || (news.reader == Some(reader) && news.up_to >= Some(moved.up_to));
            news.conversation == conversation && far
        })
    }

    /// Unread messages of a member who joined at `joined` and read up to `read`, when the conversation stood at `seq`.
    pub(crate) fn unread_at(&self, user: UserId, conversation: ConversationId, read: Seq, seq: Seq) -> u64 {
        let steps = self.steps.get(&conversation).map_or(&[][..], Vec::as_slice);
        let then = steps.iter().filter(|step| step.seq <= seq);
        let mut open = BTreeSet::new();
        for step in then {
            match step.kind {
                ChangeKind::Sent if step.sender != user && step.seq > read => drop(open.insert(step.message)),
                ChangeKind::Deleted => drop(open.remove(&step.message)),
                _ => {}
            }
        }
        open.len() as u64
    }

    /// The newest message when the conversation stood at `seq`, if it came after `joined`.
    pub(crate) fn last_at(&self, conversation: ConversationId, joined: Seq, seq: Seq) -> Option<MessageId> {
        let steps = self.steps.get(&conversation).map_or(&[][..], Vec::as_slice);
        let then: Vec<_> = steps.iter().filter(|step| step.seq <= seq).collect();
        let deleted = |message| then.iter().any(|step| step.kind == ChangeKind::Deleted && step.message == message);
        let sent = then.iter().rev().find(|step| step.kind == ChangeKind::Sent && !deleted(step.message))?;
        (sent.seq > joined).then_some(sent.message)
    }
}
