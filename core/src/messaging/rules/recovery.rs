//! Which pending announcements belong together.

use std::collections::BTreeMap;

use crate::ids::{ConversationId, Seq, UserId};
use crate::limits::MEMBERS_MAX;
use crate::port::Pending;

/// Identifies a pending announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PendingId {
    Change(ConversationId, Seq),
    Member(ConversationId, UserId),
}

impl PendingId {
    pub(crate) const fn of(pending: &Pending) -> Self {
        match pending {
            Pending::Change(changed) => Self::Change(changed.change.message.conversation, changed.change.seq),
            Pending::Member(conversation, user) => Self::Member(*conversation, *user),
        }
    }
}

/// The pending changes of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingConversation {
    pub(crate) conversation: ConversationId,
    pub(crate) members: Vec<UserId>,
    pub(crate) changes: Vec<Seq>,
}

impl PendingConversation {
    /// The newest of the pending changes. Whoever has received it has received the earlier ones too.
    pub(crate) fn newest(&self) -> Seq {
        self.changes.iter().copied().max().unwrap_or(Seq::ZERO)
    }
}

/// The pending announcements of one page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PendingWork {
    pub(crate) conversations: Vec<PendingConversation>,
    /// Members whose read position or membership changed, and how often.
    pub(crate) members: BTreeMap<(ConversationId, UserId), usize>,
}

/// Groups the changes by conversation, and counts the changes of each member.
pub(crate) fn group(page: Vec<Pending>) -> PendingWork {
    let mut conversations: BTreeMap<ConversationId, PendingConversation> = BTreeMap::new();
    let mut members: BTreeMap<(ConversationId, UserId), usize> = BTreeMap::new();
    for pending in page {
        match pending {
            Pending::Change(changed) => {
                let conversation = changed.change.message.conversation;
                let new = PendingConversation { conversation, members: changed.members, changes: Vec::new() };
                conversations.entry(conversation).or_insert(new).changes.push(changed.change.seq);
            }
            Pending::Member(conversation, user) => *members.entry((conversation, user)).or_default() += 1,
        }
    }
    PendingWork { conversations: conversations.into_values().collect(), members }
}

/// Splits the conversations into batches whose members together are no more than one conversation may have.
pub(crate) fn batches(conversations: Vec<PendingConversation>) -> Vec<Vec<PendingConversation>> {
    let mut batches: Vec<Vec<PendingConversation>> = Vec::new();
    let mut members = 0;
    for conversation in conversations {
        members += conversation.members.len();
        match batches.last_mut() {
            Some(batch) if members <= MEMBERS_MAX => batch.push(conversation),
            _ => {
                members = conversation.members.len();
                batches.push(vec![conversation]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MessageId;
    use crate::port::{Change, ChangeKind, Changed, Message};
    use crate::time::Timestamp;

    const USER: UserId = UserId::from_u128(1);

    fn id(number: u128) -> ConversationId {
        ConversationId::from_u128(number)
    }

    fn change(conversation: ConversationId, seq: u64) -> Pending {
        let message = Message {
            id: MessageId::from_u128(u128::from(seq)),
            conversation,
            seq: Seq(seq),
            sender: USER,
            kind: "text".into(),
            content: "hello".into(),
            created_at: Timestamp(1),
            edited_at: None,
            deleted: false,
        };
        let change = Change { seq: Seq(seq), kind: ChangeKind::Sent, message };
        Pending::Change(Changed { change, members: vec![USER], repeated: false })
    }

    fn with_members(number: u128, members: usize) -> PendingConversation {
        PendingConversation { conversation: id(number), members: vec![USER; members], changes: vec![Seq(1)] }
    }

    fn sizes(members: &[usize]) -> Vec<usize> {
        let conversations = (1..).zip(members).map(|(number, members)| with_members(number, *members));
        batches(conversations.collect()).iter().map(Vec::len).collect()
    }

    #[test]
    fn changes_are_grouped_by_conversation_and_members_are_counted() {
        let page = vec![
            change(id(2), 4),
            change(id(1), 9),
            Pending::Member(id(1), USER),
            change(id(2), 3),
            Pending::Member(id(1), USER),
        ];
        let first = PendingConversation { conversation: id(1), members: vec![USER], changes: vec![Seq(9)] };
        let second = PendingConversation { conversation: id(2), members: vec![USER], changes: vec![Seq(4), Seq(3)] };
        assert_eq!((first.newest(), second.newest()), (Seq(9), Seq(4)));
        let expected =
            PendingWork { conversations: vec![first, second], members: BTreeMap::from([((id(1), USER), 2)]) };
        assert_eq!(group(page), expected);
    }

    #[test]
    fn a_pending_announcement_has_one_identity() {
        assert_eq!(PendingId::of(&change(id(1), 4)), PendingId::Change(id(1), Seq(4)));
        assert_eq!(PendingId::of(&Pending::Member(id(1), USER)), PendingId::Member(id(1), USER));
    }

    #[test]
    fn a_batch_has_no_more_members_than_one_conversation_may_have() {
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[MEMBERS_MAX]), [1]);
        assert_eq!(sizes(&[MEMBERS_MAX - 1, 1, 1]), [2, 1]);
        assert_eq!(sizes(&[MEMBERS_MAX, 1, MEMBERS_MAX - 1, 2, 3]), [1, 2, 2]);
    }
}
