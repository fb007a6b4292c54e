//! Which pending announcements are made together, and when one that failed is tried again.
//!
//! An announcement that was tried before shares its batch with few others, and soon with none: if the attempt ends the
//! whole call, because it takes too long or traps, the next attempts find out which announcement is the reason.

use std::collections::BTreeMap;

use crate::ids::{ConversationId, Seq, UserId};
use crate::limits::{MEMBERS_MAX, PENDING_PAGE, RECOVERY_BATCH_TRIED_ONCE, RECOVERY_RETRY_MS, RECOVERY_RETRY_MS_MAX};
use crate::port::{Confirmation, Pending, PendingId, PendingItem, Postponement};
use crate::spread;
use crate::time::Timestamp;

/// An item of the outbox, and how often recovery had tried it before this round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TriedItem {
    pub(crate) id: PendingId,
    pub(crate) attempts: u32,
}

impl TriedItem {
    /// Counts an attempt before it is made. Unless it succeeds, the item is tried again after a pause, also if the
    /// whole call ends with this attempt.
    pub(crate) fn claimed(self, now: Timestamp) -> Postponement {
        let attempts = self.attempts.saturating_add(1);
        let next_time = now.plus(retry_after_ms(self.id, attempts));
        Postponement { item: self.id, attempts, next_time }
    }

    /// Takes the claim back, because the item was not tried in the end.
    pub(crate) const fn released(self, now: Timestamp) -> Postponement {
        Postponement { item: self.id, attempts: self.attempts, next_time: now }
    }

    /// The item is tried again after the shortest pause, because it was not the reason for the failure.
    pub(crate) fn postponed_without_fault(self, now: Timestamp) -> Postponement {
        let next_time = now.plus(RECOVERY_RETRY_MS);
        Postponement { item: self.id, attempts: self.attempts.max(1), next_time }
    }
}

/// The pause after so many attempts: doubled with every attempt, and shortened by up to a quarter, differently for each
/// item, so that items that failed together are not tried together for ever.
fn retry_after_ms(item: PendingId, attempts: u32) -> u64 {
    let doubled = RECOVERY_RETRY_MS.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    let pause = doubled.min(RECOVERY_RETRY_MS_MAX);
    pause - spread::hash(&format!("{item:?} {attempts}")) % (pause / 4)
}

/// What is announced as a unit.
pub(crate) trait Recoverable {
    /// The number of users who are notified.
    fn users(&self) -> usize;

    /// The items of the outbox that the announcement confirms.
    fn items(&self) -> Vec<TriedItem>;

    /// How often the item that was tried most often had been tried.
    fn attempts(&self) -> u32;
}

/// The pending changes of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingConversation {
    pub(crate) conversation: ConversationId,
    pub(crate) members: Vec<UserId>,
    /// Each change, and how often recovery had tried it.
    pub(crate) changes: Vec<(Seq, u32)>,
}

impl PendingConversation {
    /// The newest of the pending changes. Whoever has received it has received the earlier ones too.
    pub(crate) fn newest(&self) -> Seq {
        self.changes.iter().map(|(seq, _)| *seq).max().unwrap_or(Seq::ZERO)
    }
}

impl Recoverable for PendingConversation {
    fn users(&self) -> usize {
        self.members.len()
    }

    fn items(&self) -> Vec<TriedItem> {
        let item = |(seq, attempts): &(Seq, u32)| {
            let id = PendingId::Change(self.conversation, *seq);
            TriedItem { id, attempts: *attempts }
        };
        self.changes.iter().map(item).collect()
    }

    fn attempts(&self) -> u32 {
        self.changes.iter().map(|(_, attempts)| *attempts).max().unwrap_or(0)
    }
}

/// Anything pending but changes: a read position, a membership, a creation, or a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PendingMove {
    pub(crate) id: PendingId,
    /// How often it moved.
    pub(crate) moves: u64,
    pub(crate) attempts: u32,
}

impl PendingMove {
    /// What confirms these moves; `None` for a change.
    pub(crate) const fn confirmation(&self) -> Option<Confirmation> {
        Some(match self.id {
            PendingId::Change(..) => return None,
            PendingId::Member(conversation, user) => Confirmation::Member(conversation, user, self.moves),
            PendingId::Membership(conversation, user) => Confirmation::Membership(conversation, user, self.moves),
            PendingId::Creation(conversation) => Confirmation::Creation(conversation, self.moves),
            PendingId::Contact(user, other) => Confirmation::Contact(user, other, self.moves),
        })
    }
}

impl Recoverable for PendingMove {
    fn users(&self) -> usize {
        match self.id {
            PendingId::Creation(_) => MEMBERS_MAX,
            _ => 1,
        }
    }

    fn items(&self) -> Vec<TriedItem> {
        vec![TriedItem { id: self.id, attempts: self.attempts }]
    }

    fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// The pending announcements of one page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PendingWork {
    pub(crate) conversations: Vec<PendingConversation>,
    pub(crate) moves: Vec<PendingMove>,
}

/// Groups the changes by conversation.
pub(crate) fn group(page: Vec<PendingItem>) -> PendingWork {
    let mut conversations: BTreeMap<ConversationId, PendingConversation> = BTreeMap::new();
    let mut all = Vec::new();
    for PendingItem { pending, attempts, .. } in page {
        let id = PendingId::from(&pending);
        match pending {
            Pending::Change(changed) => {
                let conversation = changed.change.message.conversation;
                let new = PendingConversation { conversation, members: changed.members, changes: Vec::new() };
                let found = conversations.entry(conversation).or_insert(new);
                found.changes.push((changed.change.seq, attempts));
            }
            Pending::Member(_, _, moves)
            | Pending::Membership(_, _, moves)
            | Pending::Creation(_, moves)
            | Pending::Contact(_, _, moves) => all.push(PendingMove { id, moves, attempts }),
        }
    }
    PendingWork { conversations: conversations.into_values().collect(), moves: all }
}

/// Splits what has to be announced into batches whose users together are no more than one conversation may have.
pub(crate) fn batches<I: Recoverable>(all: Vec<I>) -> Vec<Vec<I>> {
    let mut batches: Vec<Vec<I>> = Vec::new();
    let (mut users, mut attempts) = (0, 0);
    for one in all {
        users += one.users();
        attempts = one.attempts().max(attempts);
        match batches.last_mut() {
            Some(batch) if users <= MEMBERS_MAX && batch.len() < batch_max(attempts) => batch.push(one),
            _ => {
                (users, attempts) = (one.users(), one.attempts());
                batches.push(vec![one]);
            }
        }
    }
    batches
}

/// The number of announcements that are made together, if one of them was tried so often.
const fn batch_max(attempts: u32) -> usize {
    match attempts {
        0 => PENDING_PAGE as usize,
        1 => RECOVERY_BATCH_TRIED_ONCE,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MessageId;
    use crate::port::{Change, ChangeKind, Changed, Message};

    const USER: UserId = UserId::from_u128(1);
    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn id(number: u128) -> ConversationId {
        ConversationId::from_u128(number)
    }

    fn item(pending: Pending, attempts: u32) -> PendingItem {
        PendingItem { pending, since: Timestamp(1), attempts }
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
        Pending::Change(Changed::without_positions(change, vec![USER], false))
    }

    fn with_members(number: u128, members: usize) -> PendingConversation {
        PendingConversation { conversation: id(number), members: vec![USER; members], changes: vec![(Seq(1), 0)] }
    }

    fn sizes(members: &[usize]) -> Vec<usize> {
        let conversations = (1..).zip(members).map(|(number, members)| with_members(number, *members));
        batches(conversations.collect()).iter().map(Vec::len).collect()
    }

    fn tried(attempts: &[u32]) -> Vec<usize> {
        let id = PendingId::Member(id(1), USER);
        let member = |attempts: &u32| PendingMove { id, moves: 1, attempts: *attempts };
        batches(attempts.iter().map(member).collect()).iter().map(Vec::len).collect()
    }

    #[test]
    fn changes_are_grouped_by_conversation() {
        let page = vec![
            item(change(id(2), 4), 0),
            item(change(id(1), 9), 2),
            item(Pending::Member(id(1), USER, 7), 3),
            item(change(id(2), 3), 1),
        ];
        let first = PendingConversation { conversation: id(1), members: vec![USER], changes: vec![(Seq(9), 2)] };
        let changes = vec![(Seq(4), 0), (Seq(3), 1)];
        let second = PendingConversation { conversation: id(2), members: vec![USER], changes };
        assert_eq!((first.newest(), second.newest()), (Seq(9), Seq(4)));
        assert_eq!((first.attempts(), second.attempts(), second.users()), (2, 1, 1));
        let items =
            [(4, 0), (3, 1)].map(|(seq, attempts)| TriedItem { id: PendingId::Change(id(2), Seq(seq)), attempts });
        assert_eq!(second.items(), items);
        let member = PendingMove { id: PendingId::Member(id(1), USER), moves: 7, attempts: 3 };
        assert_eq!(member.items(), [TriedItem { id: PendingId::Member(id(1), USER), attempts: 3 }]);
        assert_eq!(group(page), PendingWork { conversations: vec![first, second], moves: vec![member] });
    }

    #[test]
    fn every_move_is_confirmed_as_what_it_is() {
        let other = UserId::from_u128(2);
        for pending in [
            Pending::Member(id(1), USER, 7),
            Pending::Membership(id(1), USER, 7),
            Pending::Creation(id(1), 7),
            Pending::Contact(USER, other, 7),
        ] {
            let moves = group(vec![item(pending.clone(), 0)]).moves;
            let confirmed = match moves[0].confirmation().unwrap() {
                Confirmation::Member(conversation, user, moves) => Pending::Member(conversation, user, moves),
                Confirmation::Membership(conversation, user, moves) => Pending::Membership(conversation, user, moves),
                Confirmation::Creation(conversation, moves) => Pending::Creation(conversation, moves),
                Confirmation::Contact(user, other, moves) => Pending::Contact(user, other, moves),
                Confirmation::Change(..) => panic!("a change"),
            };
            assert_eq!(confirmed, pending);
        }
    }

    #[test]
    fn a_batch_has_no_more_members_than_one_conversation_may_have() {
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[MEMBERS_MAX]), [1]);
        assert_eq!(sizes(&[MEMBERS_MAX - 1, 1, 1]), [2, 1]);
        assert_eq!(sizes(&[MEMBERS_MAX, 1, MEMBERS_MAX - 1, 2, 3]), [1, 2, 2]);
    }

    #[test]
    fn what_was_tried_before_shares_a_batch_with_few_and_then_with_none() {
        assert_eq!(tried(&[0; 100]), [100]);
        assert_eq!(tried(&[1; 25]), [10, 10, 5]);
        assert_eq!(tried(&[2, 3, 9]), [1, 1, 1]);
        assert_eq!(tried(&[1, 1, 2, 1, 1]), [2, 1, 2]);
        assert_eq!(tried(&[&[0; 12][..], &[1, 1]].concat()), [12, 2]);
    }

    #[test]
    fn each_attempt_doubles_the_pause_up_to_a_bound() {
        let member = PendingId::Member(id(1), USER);
        let mut longest = RECOVERY_RETRY_MS;
        for attempts in 0..40 {
            let claimed = TriedItem { id: member, attempts }.claimed(NOW);
            assert_eq!((claimed.item, claimed.attempts), (member, attempts + 1));
            let pause = claimed.next_time.0 - NOW.0;
            assert!(pause > longest * 3 / 4 && pause <= longest, "{attempts}: {pause} of {longest}");
            longest = (longest * 2).min(RECOVERY_RETRY_MS_MAX);
        }
        assert_eq!(TriedItem { id: member, attempts: u32::MAX }.claimed(NOW).attempts, u32::MAX);
    }

    #[test]
    fn items_that_failed_together_are_not_tried_together_for_ever() {
        let pause = |number| retry_after_ms(PendingId::Member(id(number), USER), 9);
        let different: std::collections::BTreeSet<u64> = (1..=50).map(pause).collect();
        assert!(different.len() > 40, "{different:?}");
    }

    #[test]
    fn an_item_that_is_released_is_as_it_was_and_one_without_fault_counts_as_tried_once() {
        let item = PendingId::Member(id(1), USER);
        let of = |attempts| TriedItem { id: item, attempts };
        assert_eq!(of(0).released(NOW), Postponement { item, attempts: 0, next_time: NOW });
        assert_eq!(of(5).released(NOW), Postponement { item, attempts: 5, next_time: NOW });
        let later = NOW.plus(RECOVERY_RETRY_MS);
        assert_eq!(of(0).postponed_without_fault(NOW), Postponement { item, attempts: 1, next_time: later });
        assert_eq!(of(5).postponed_without_fault(NOW), Postponement { item, attempts: 5, next_time: later });
    }
}
