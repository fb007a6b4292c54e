//! Announces an edit or a deletion to a cached member in one transaction, without a snapshot from the records.
//!
//! A stored counter at the position `(seq, read)` is exactly what the records say for that position. So the change after
//! `seq` has a known effect on it: an edit has none, and a deletion takes one from a member who had not read the message and
//! did not write it.

use super::CounterState;
use super::decimal;
use super::unread_update::new_total;
use crate::event::{self, UnreadUpdatePayload};
use crate::ids::ConversationId;
use crate::key::{Key, Owner, Space};
use crate::port::{Change, ChangeKind, Check, Event, Mutation, ReadPosition, Text, Transaction};

/// The counter of a member and the total, as the store held them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredCounts {
    pub(crate) total: i64,
    pub(crate) count: i64,
}

/// Whether a change takes one from the counter of a member: a deletion of a message that the member had not read and did not
/// write. The counter has to be read before, because the member is told the new one.
pub(crate) fn takes_one(change: &Change, member: &ReadPosition) -> bool {
    change.kind == ChangeKind::Deleted && member.user != change.message.sender && change.message.seq > member.read
}

/// The transaction that announces an edit or a deletion to a cached member to whom every earlier change was published.
/// `counts` are needed for a change that [`takes_one`]; without them, as for a member who is uncached, the transaction only
/// finds out whether anything is owed to the member.
///
/// It is refused if the store holds another position than the records did when the change was stored: then only a snapshot
/// tells whether the counter included the message. It is refused by [`super::OWED_CHECK`] if nothing is owed to the member. A
/// member who joined after the message was sent receives no event.
pub(crate) fn announce_later_change(
    change: &Change,
    event: Option<&Event>,
    member: &ReadPosition,
    counts: Option<StoredCounts>,
) -> Transaction {
    let message = &change.message;
    let field = Text::from(message.conversation);
    let positions = Key::of_user(Space::UnreadSequence, member.user);
    let total = Key::of_user(Space::UnreadTotal, member.user);
    let mut transaction = Transaction::new(Owner::User(member.user))
        .check(Check::PresentEither(total.clone(), Space::Followed))
        .check(Check::Present(total))
        .check(Check::FieldEquals(positions.clone(), field.clone(), Some(change.seq.previous().to_string().into())));
    if change.kind == ChangeKind::Deleted && member.user != message.sender {
        let reads = Key::of_user(Space::UnreadRead, member.user);
        transaction = transaction.check(Check::FieldEquals(reads, field.clone(), Some(member.read.to_string().into())));
    }
    if takes_one(change, member) {
        transaction = match counts {
            Some(counts) => take_one(transaction, member, message.conversation, counts),
            None => transaction.check(Check::Absent(Key::of_user(Space::UnreadTotal, member.user))),
        };
    }
    transaction = transaction.mutate(Mutation::SetFields(positions, vec![(field, change.seq.to_string().into())]));
    if message.seq > member.joined {
        transaction.publications.extend(event.cloned());
    }
    if let Some(StoredCounts { total, count }) = counts.filter(|_| takes_one(change, member)) {
        let unread = (count - 1).max(0).unsigned_abs();
        let stored = CounterState { total: Some(total), count: Some(count), ..CounterState::default() };
        let total = new_total(&stored, unread);
        let (conversation, read, seq) = (message.conversation, member.read, change.seq);
        let update = UnreadUpdatePayload { conversation, unread, total, read, seq };
        transaction = transaction.publish(event::unread_update(&update));
    }
    transaction
}

/// Takes one from a counter and from the total, if they are as they were read.
fn take_one(
    transaction: Transaction,
    member: &ReadPosition,
    conversation: ConversationId,
    counts: StoredCounts,
) -> Transaction {
    let counter = Key::unread_conversation(member.user, conversation);
    let total = Key::of_user(Space::UnreadTotal, member.user);
    transaction
        .check(Check::Equals(total.clone(), decimal(counts.total)))
        .check(Check::Equals(counter.clone(), decimal(counts.count)))
        .mutate(Mutation::Add { key: counter, delta: -1, floor: Some(0) })
        .mutate(Mutation::Add { key: total, delta: -1, floor: Some(0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MessageId, Seq, UserId};
    use crate::port::Message;
    use crate::time::Timestamp;

    const ADA: UserId = UserId::from_u128(1);
    const BEN: UserId = UserId::from_u128(2);
    const CONVERSATION: ConversationId = ConversationId::from_u128(9);

    /// Change 8, of message 5 by Ada.
    fn change(kind: ChangeKind) -> Change {
        let message = Message {
            id: MessageId::from_u128(5),
            conversation: CONVERSATION,
            seq: Seq(5),
            sender: ADA,
            kind: "text".into(),
            content: String::new(),
            created_at: Timestamp(1),
            edited_at: None,
            deleted: kind == ChangeKind::Deleted,
        };
        Change { seq: Seq(8), kind, message }
    }

    fn announced(kind: ChangeKind, user: UserId, joined: u64, read: u64) -> Transaction {
        let change = change(kind);
        let member = ReadPosition { user, joined: Seq(joined), read: Seq(read) };
        let counts = Some(StoredCounts { total: 7, count: 3 });
        announce_later_change(&change, event::change(&change).as_ref(), &member, counts)
    }

    fn field(space: Space, user: UserId, value: &'static str) -> Check {
        Check::FieldEquals(Key::of_user(space, user), CONVERSATION.into(), Some(value.into()))
    }

    fn always(user: UserId) -> [Check; 3] {
        let total = Key::of_user(Space::UnreadTotal, user);
        [
            Check::PresentEither(total.clone(), Space::Followed),
            Check::Present(total),
            field(Space::UnreadSequence, user, "7"),
        ]
    }

    fn advanced(user: UserId) -> Mutation {
        Mutation::SetFields(Key::of_user(Space::UnreadSequence, user), vec![(CONVERSATION.into(), "8".into())])
    }

    #[test]
    fn a_member_who_had_not_read_the_deleted_message_loses_one() {
        for read in [0, 4] {
            let transaction = announced(ChangeKind::Deleted, BEN, 0, read);
            let counter = Key::unread_conversation(BEN, CONVERSATION);
            let reading = field(Space::UnreadRead, BEN, if read == 0 { "0" } else { "4" });
            let [owed, total, seq] = always(BEN);
            assert_eq!(transaction.owner, Owner::User(BEN));
            let total_key = Key::of_user(Space::UnreadTotal, BEN);
            let equal =
                [Check::Equals(total_key.clone(), b"7".to_vec()), Check::Equals(counter.clone(), b"3".to_vec())];
            assert_eq!(transaction.checks, [vec![owed, total, seq, reading], equal.into()].concat());
            let less = |key| Mutation::Add { key, delta: -1, floor: Some(0) };
            assert_eq!(transaction.mutations, [less(counter), less(total_key), advanced(BEN)]);
            let deleted = event::change(&change(ChangeKind::Deleted)).unwrap();
            let (read, seq) = (Seq(read), Seq(8));
            let update = UnreadUpdatePayload { conversation: CONVERSATION, unread: 2, total: 6, read, seq };
            assert_eq!(transaction.publications, [deleted, event::unread_update(&update)]);
        }
    }

    #[test]
    fn a_deletion_without_the_counts_of_the_member_is_never_carried_out() {
        let (change, member) = (change(ChangeKind::Deleted), ReadPosition { user: BEN, joined: Seq(0), read: Seq(0) });
        let transaction = announce_later_change(&change, event::change(&change).as_ref(), &member, None);
        let total = Key::of_user(Space::UnreadTotal, BEN);
        for check in [Check::Present(total.clone()), Check::Absent(total)] {
            assert!(transaction.checks.contains(&check), "{check:?}");
        }
    }

    #[test]
    fn a_member_who_had_read_the_deleted_message_only_moves_on() {
        for (read, text) in [(5, "5"), (7, "7")] {
            let transaction = announced(ChangeKind::Deleted, BEN, 0, read);
            let [owed, total, seq] = always(BEN);
            assert_eq!(transaction.checks, [owed, total, seq, field(Space::UnreadRead, BEN, text)]);
            assert_eq!(transaction.mutations, [advanced(BEN)]);
            assert_eq!(transaction.publications.len(), 1);
        }
    }

    #[test]
    fn the_sender_never_counted_the_message() {
        let transaction = announced(ChangeKind::Deleted, ADA, 0, 0);
        assert_eq!(transaction.checks, always(ADA));
        assert_eq!(transaction.mutations, [advanced(ADA)]);
        assert_eq!(transaction.publications.len(), 1);
    }

    #[test]
    fn an_edit_changes_no_counter_whatever_was_read() {
        for (user, read) in [(ADA, 0), (BEN, 0), (BEN, 7)] {
            let transaction = announced(ChangeKind::Edited, user, 0, read);
            assert_eq!(transaction.checks, always(user));
            assert_eq!(transaction.mutations, [advanced(user)]);
            assert_eq!(transaction.publications.len(), 1);
        }
    }

    #[test]
    fn members_who_joined_after_the_message_receive_no_event() {
        let published = |kind, joined| announced(kind, BEN, joined, 7).publications.len();
        for kind in [ChangeKind::Edited, ChangeKind::Deleted] {
            assert_eq!([4, 5, 6].map(|joined| published(kind, joined)), [1, 0, 0]);
        }
    }
}
