//! Announces a new message to a cached member in one transaction, without a snapshot from the records.

use crate::ids::UserId;
use crate::key::{Key, Owner, Space};
use crate::port::{Change, ChangeKind, Check, Event, Mutation, Text, Transaction};

/// The index of the check that fails for a member to whom nothing is owed: the member is uncached, and nobody follows
/// the member, so that no event would be kept. Whoever fills the counters later takes the state of that time.
pub(crate) const OWED_CHECK: u32 = 0;

/// The transaction that announces a new message to a cached member to whom every earlier change was published.
///
/// `None` for edits and deletions, which are announced by [`super::announce_later_change`], and for a message that has
/// been deleted since: its deletion is announced to whoever counted it, so only a snapshot passes both.
pub(crate) fn announce(change: &Change, event: Option<&Event>, member: UserId) -> Option<Transaction> {
    if change.kind != ChangeKind::Sent || change.message.deleted {
        return None;
    }
    let conversation = change.message.conversation;
    let field = Text::from(conversation);
    let positions = Key::of_user(Space::UnreadSequence, member);
    let total = Key::of_user(Space::UnreadTotal, member);
    let mut transaction = Transaction::new(Owner::User(member))
        .check(Check::PresentEither(total.clone(), Space::Followed))
        .check(Check::Present(total.clone()))
        .check(Check::FieldEquals(positions.clone(), field.clone(), Some(change.seq.previous().to_string().into())))
        .mutate(Mutation::SetFields(positions, vec![(field, change.seq.to_string().into())]));
    if member != change.message.sender {
        let counter = Key::unread_conversation(member, conversation);
        transaction = transaction
            .check(Check::Present(counter.clone()))
            .mutate(Mutation::Add { key: counter, delta: 1, floor: Some(0) })
            .mutate(Mutation::Add { key: total, delta: 1, floor: Some(0) });
    }
    transaction.publications.extend(event.cloned());
    Some(transaction)
}
