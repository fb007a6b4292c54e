//! One conversation: its members, its messages, its steps, and what of it is not announced yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::port::{Change, ChangeKind, Changed, Conversation, Counter, Message, RecordsError};
use crate::time::Timestamp;

/// A member's place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) joined: Seq,
    pub(super) read: Seq,
}

/// A numbered change; its number is its place in the list, from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) kind: ChangeKind,
    pub(super) message: MessageId,
    pub(super) since: Timestamp,
}

#[derive(Debug)]
pub(super) struct Talk {
    pub(super) id: ConversationId,
    pub(super) creator: UserId,
    pub(super) members: BTreeMap<UserId, Member>,
    pub(super) messages: BTreeMap<MessageId, Message>,
    pub(super) steps: Vec<Step>,
    pub(super) unannounced: BTreeSet<Seq>,
    pub(super) updated_at: Timestamp,
}

impl Talk {
    pub(super) fn seq(&self) -> Seq {
        Seq(self.steps.len() as u64)
    }

    pub(super) fn member_ids(&self) -> Vec<UserId> {
        self.members.keys().copied().collect()
    }

    pub(super) fn member(&self, user: UserId) -> Result<Member, RecordsError> {
        self.members.get(&user).copied().ok_or(RecordsError::NotAMember)
    }

    /// The two members, if there are exactly two.
    pub(super) fn pair(&self) -> Option<(UserId, UserId)> {
        let mut members = self.members.keys();
        match (members.next(), members.next(), members.next()) {
            (Some(&one), Some(&other), None) => Some((one, other)),
            _ => None,
        }
    }

    pub(super) fn view(&self, user: UserId) -> Option<Conversation> {
        let member = self.members.get(&user)?;
        Some(Conversation {
            id: self.id,
            members: self.member_ids(),
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
            announced: self.unannounced.first().map_or(self.seq(), |oldest| oldest.previous()),
        })
    }

    /// Takes the next sequence for what happens to the message now.
    pub(super) fn step(&mut self, kind: ChangeKind, message: MessageId, at: Timestamp) -> Seq {
        self.updated_at = self.updated_at.max(at);
        self.steps.push(Step { kind, message, since: self.updated_at });
        self.unannounced.insert(self.seq());
        self.seq()
    }

    pub(super) fn change(&self, seq: Seq) -> Option<Change> {
        let step = self.steps.get(usize::try_from(seq.previous().0).ok()?)?;
        let message = self.messages.get(&step.message)?.clone();
        Some(Change { seq, kind: step.kind, message })
    }

    pub(super) fn changed(&self, seq: Seq, repeated: bool) -> Result<Changed, RecordsError> {
        let change = self.change(seq).ok_or_else(|| RecordsError::NotFound("no such change".into()))?;
        Ok(Changed { change, members: self.member_ids(), repeated })
    }

    /// The newest step of a message: the one that made it what it is now.
    pub(super) fn latest_step(&self, message: MessageId) -> Seq {
        let place = self.steps.iter().rposition(|step| step.message == message);
        place.map_or(Seq::ZERO, |index| Seq(index as u64).next())
    }

    /// What was said and still stands, newest first.
    pub(super) fn standing(&self) -> impl Iterator<Item = &Message> {
        let sent = self.steps.iter().rev().filter(|step| step.kind == ChangeKind::Sent);
        sent.filter_map(|step| self.messages.get(&step.message)).filter(|message| !message.deleted)
    }
}
