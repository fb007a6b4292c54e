//! Announces an edit or a deletion to a cached member in one transaction, without a snapshot from the records.
//!
//! A stored counter at the position `(seq, read)` is exactly what the records say for that position. So the change
//! after `seq` has a known effect on it: an edit has none, and a deletion takes one from a member who had not read the
//! message and did not write it.

use crate::event;
use crate::key::{Key, Owner, Space};
use crate::port::{Change, ChangeKind, Check, Event, Mutation, ReadPosition, Text, Transaction};

/// The transaction that announces an edit or a deletion to a cached member to whom every earlier change was published.
///
/// It is refused if the store holds another position than the records did when the change was stored: then only a
/// snapshot tells whether the counter included the message. It is refused by [`super::OWED_CHECK`] if nothing is owed
/// to the member. A member who joined after the message was sent receives no event. Whoever loses one receives the new
/// counters, which are results of the transaction.
pub(crate) fn announce_later_change(change: &Change, event: Option<&Event>, member: &ReadPosition) -> Transaction {
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
    transaction = transaction.mutate(Mutation::SetFields(positions, vec![(field, change.seq.to_string().into())]));
    if message.seq > member.joined {
        transaction.publications.extend(event.cloned());
    }
    if takes_one(change, member) { take_one(transaction, change, member) } else { transaction }
}

/// Whether a change takes one from the counter of a member: a deletion of a message that the member had not read and
/// did not write.
fn takes_one(change: &Change, member: &ReadPosition) -> bool {
    change.kind == ChangeKind::Deleted && member.user != change.message.sender && change.message.seq > member.read
}

/// Takes one from the counter and from the total, and publishes what is left.
fn take_one(transaction: Transaction, change: &Change, member: &ReadPosition) -> Transaction {
    let conversation = change.message.conversation;
    let counter = Key::unread_conversation(member.user, conversation);
    let total = Key::of_user(Space::UnreadTotal, member.user);
    let less = |key: Key| Mutation::Add { key, delta: -1, floor: Some(0) };
    let counted = transaction.check(Check::Present(counter.clone())).mutate(less(counter)).mutate(less(total));
    event::publish_unread_update(counted, (conversation, member.read, change.seq), (0, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConversationId, MessageId, Seq, UserId};
    use crate::port::{Message, PublishedResult};
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
        announce_later_change(&change, event::change(&change).as_ref(), &member)
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
            assert_eq!(transaction.checks, [owed, total, seq, reading, Check::Present(counter.clone())]);
            let less = |key| Mutation::Add { key, delta: -1, floor: Some(0) };
            let total = Key::of_user(Space::UnreadTotal, BEN);
            assert_eq!(transaction.mutations, [advanced(BEN), less(counter), less(total)]);
            let result = |name: &'static str, result| PublishedResult { publication: 1, name: name.into(), result };
            assert_eq!(transaction.published_results, [result("unread", 0), result("total", 1)]);
            let published = transaction.completed_publications(&[2, 6]);
            assert_eq!(published[0], event::change(&change(ChangeKind::Deleted)).unwrap());
            let update = format!(r#"{{"conversation":"{CONVERSATION}","read":{read},"seq":8,"unread":2,"total":6}}"#);
            assert_eq!((&*published[1].name, &*published[1].payload), (event::UNREAD_UPDATE, update.as_str()));
            assert_eq!(published.len(), 2);
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
