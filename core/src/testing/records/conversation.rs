//! One conversation of the fake: its members, its messages, its changes, and which of them are not announced yet.

use std::collections::BTreeMap;

use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::limits::{DURABLE_RECEIPT_MEMBERS_MAX, MEMBERS_SHOWN_MAX, READS_SHOWN_MAX, RECEIPT_MESSAGES_MAX};
use crate::port::{
    Change, ChangeKind, Changed, Conversation, Counter, LastMessage, Message, NOBODY, ReadPosition, RecordsError,
};
use crate::time::Timestamp;

/// A member's position: what the member may see, and what is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct FakeMember {
    pub(super) joined: Seq,
    pub(super) read: Seq,
}

impl FakeMember {
    /// The position that another member is shown. If there is a block between the two, it is where this one joined.
    pub(super) const fn shown_read(self, is_blocked: bool) -> Seq {
        if is_blocked { self.joined } else { self.read }
    }
}

/// A change. Its sequence number is its index in the list of changes plus 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct FakeChange {
    pub(super) kind: ChangeKind,
    pub(super) message: MessageId,
    pub(super) since: Timestamp,
}

/// How often recovery has tried to announce an item of the outbox, and when it tries again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FakeTries {
    pub(super) attempts: u32,
    pub(super) next_time: Timestamp,
}

/// A conversation with its members, messages and changes.
#[derive(Debug)]
pub(super) struct FakeConversation {
    pub(super) id: ConversationId,
    pub(super) creator: UserId,
    /// Whether this is the pair of two users.
    pub(super) direct: bool,
    pub(super) members: BTreeMap<UserId, FakeMember>,
    pub(super) messages: BTreeMap<MessageId, Message>,
    pub(super) changes: Vec<FakeChange>,
    pub(super) unannounced: BTreeMap<Seq, FakeTries>,
    pub(super) updated_at: Timestamp,
    /// The time of the newest change, or of the creation. It never steps back.
    pub(super) changed_at: Timestamp,
}

impl FakeConversation {
    pub(super) fn seq(&self) -> Seq {
        Seq(self.changes.len() as u64)
    }

    pub(super) fn member_ids(&self) -> Vec<UserId> {
        self.members.keys().copied().collect()
    }

    pub(super) fn member(&self, user: UserId) -> Result<FakeMember, RecordsError> {
        self.members.get(&user).copied().ok_or(RecordsError::NotAMember)
    }

    /// Whether the user created the conversation. Nobody has created those of a user who was erased.
    pub(super) fn is_creator(&self, user: UserId) -> bool {
        self.creator == user && user != NOBODY
    }

    /// The two members, if there are exactly two.
    pub(super) fn pair(&self) -> Option<(UserId, UserId)> {
        let mut members = self.members.keys();
        match (members.next(), members.next(), members.next()) {
            (Some(&one), Some(&other), None) => Some((one, other)),
            _ => None,
        }
    }

    /// The conversation as a member sees it, who has a block with some others.
    pub(super) fn view(&self, user: UserId, is_blocked: impl Fn(UserId) -> bool) -> Option<Conversation> {
        let member = self.members.get(&user)?;
        let all_reads = || self.members.iter().map(|(other, member)| member.shown_read(is_blocked(*other))).collect();
        Some(Conversation {
            id: self.id,
            direct: self.direct,
            members: self.members.keys().copied().take(MEMBERS_SHOWN_MAX).collect(),
            member_count: self.members.len() as u64,
            reads: if self.members.len() <= READS_SHOWN_MAX { all_reads() } else { Vec::new() },
            read: member.read,
            joined: member.joined,
            updated_at: self.updated_at,
        })
    }

    pub(super) fn counter(&self, user: UserId) -> Option<Counter> {
        let member = self.members.get(&user)?;
        let unread = |message: &&Message| message.sender != user && message.seq > member.read && !message.deleted;
        Some(Counter {
            conversation: self.id,
            count: self.messages.values().filter(unread).count() as u64,
            seq: self.seq(),
            joined: member.joined,
            read: member.read,
            announced: self.unannounced.keys().next().map_or(self.seq(), |oldest| oldest.previous()),
        })
    }

    /// Stores a change of the message and answers its sequence number. Only a new message moves the conversation in the
    /// inbox.
    pub(super) fn add_change(&mut self, kind: ChangeKind, message: MessageId, at: Timestamp) -> Seq {
        self.changed_at = self.changed_at.max(at);
        if kind == ChangeKind::Sent {
            self.updated_at = self.updated_at.max(at);
        }
        self.changes.push(FakeChange { kind, message, since: self.changed_at });
        self.unannounced.insert(self.seq(), FakeTries::default());
        self.seq()
    }

    /// The stored change with this sequence number.
    pub(super) fn stored_change(&self, seq: Seq) -> Option<&FakeChange> {
        self.changes.get(usize::try_from(seq.previous().0).ok()?)
    }

    pub(super) fn change(&self, seq: Seq) -> Option<Change> {
        let change = self.stored_change(seq)?;
        let message = self.messages.get(&change.message)?.clone();
        Some(Change { seq, kind: change.kind, message })
    }

    pub(super) fn changed(&self, seq: Seq, repeated: bool) -> Result<Changed, RecordsError> {
        let change = self.change(seq).ok_or_else(|| RecordsError::NotFound("no such change".into()))?;
        Ok(Changed::without_positions(change, self.member_ids(), repeated))
    }

    /// A change with the present positions of the members and the newest message, as edits and deletions are answered.
    pub(super) fn changed_with_positions(&self, seq: Seq, repeated: bool) -> Result<Changed, RecordsError> {
        let position = |(user, member): (&UserId, &FakeMember)| ReadPosition {
            user: *user,
            joined: member.joined,
            read: member.read,
        };
        let positions = self.members.iter().map(position).collect();
        Ok(Changed { positions, last: Some(self.last_message()), ..self.changed(seq, repeated)? })
    }

    pub(super) fn last_message(&self) -> LastMessage {
        LastMessage { conversation: self.id, version: self.seq(), message: self.visible_messages().next().cloned() }
    }

    /// The sequence number of the newest change of a message.
    pub(super) fn latest_change(&self, message: MessageId) -> Seq {
        let index = self.changes.iter().rposition(|change| change.message == message);
        index.map_or(Seq::ZERO, |index| Seq(index as u64).next())
    }

    /// The users who would be told that the reader's position has moved from the first to the second sequence number,
    /// if nobody had blocked anybody.
    pub(super) fn receipt_audience(&self, reader: UserId, (before, read): (Seq, Seq)) -> Vec<UserId> {
        if self.members.len() <= DURABLE_RECEIPT_MEMBERS_MAX {
            return self.members.keys().copied().filter(|member| *member != reader).collect();
        }
        let read = self.visible_messages().filter(|message| message.seq > before && message.seq <= read);
        let mut authors = Vec::new();
        for message in read.take(RECEIPT_MESSAGES_MAX as usize) {
            let is_notified = message.sender != reader && self.members.contains_key(&message.sender);
            if is_notified && !authors.contains(&message.sender) {
                authors.push(message.sender);
            }
        }
        authors
    }

    /// The messages that are not deleted, newest first.
    pub(super) fn visible_messages(&self) -> impl Iterator<Item = &Message> {
        let sent = self.changes.iter().rev().filter(|change| change.kind == ChangeKind::Sent);
        sent.filter_map(|change| self.messages.get(&change.message)).filter(|message| !message.deleted)
    }
}
