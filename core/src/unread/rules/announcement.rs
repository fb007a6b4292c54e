//! Announces a new message to a cached member in one transaction, without a snapshot from the records.

use crate::ids::UserId;
use crate::key::{Key, Owner, Space};
use crate::port::{Change, ChangeKind, Check, Event, Mutation, Text, Transaction};

/// The transaction that announces a new message to a cached member to whom every earlier change was published.
///
/// `None` for edits and deletions: which members they concern, and how counters change, is only known from a snapshot.
pub(crate) fn announce(change: &Change, event: Option<&Event>, member: UserId) -> Option<Transaction> {
    if change.kind != ChangeKind::Sent {
        return None;
    }
    let conversation = change.message.conversation;
    let field = Text::from(conversation);
    let positions = Key::of_user(Space::UnreadSequence, member);
    let total = Key::of_user(Space::UnreadTotal, member);
    let mut transaction = Transaction::new(Owner::User(member))
        .check(Check::FieldEquals(positions.clone(), field.clone(), Some(change.seq.previous().to_string().into())))
        .check(Check::Present(total.clone()))
        .mutate(Mutation::SetFields(positions, vec![(field, change.seq.to_string().into())]));
    if member != change.message.sender && !change.message.deleted {
        let counter = Key::unread_conversation(member, conversation);
        transaction = transaction
            .check(Check::Present(counter.clone()))
            .mutate(Mutation::Add { key: counter, delta: 1, floor: Some(0) })
            .mutate(Mutation::Add { key: total, delta: 1, floor: Some(0) });
    }
    transaction.publications.extend(event.cloned());
    Some(transaction)
}
