//! The rule of read receipts: which other members are notified that a user has read messages.

use crate::event;
use crate::ids::UserId;
use crate::key::{Key, Owner};
use crate::limits::{DURABLE_RECEIPT_MEMBERS_MAX, RECEIPT_AUTHORS_MAX, RECEIPT_INTERVAL_MS};
use crate::port::{Check, Event, Mutation, Publication, ReadMark, Transaction};

/// How other members are notified that a user has read messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Receipts {
    /// Everybody in a small conversation: one transaction for each of them, which puts the event into the feed.
    Durable(Vec<Transaction>),
    /// The authors of what was newly read in a larger conversation.
    Ephemeral {
        /// Refused if the others were notified within the last second; then nobody is notified this time.
        gate: Transaction,
        /// To be published if the gate was carried out.
        publications: Vec<Publication>,
    },
    /// There is nobody to tell.
    None,
}

/// Tells the audience of a mark the reader's position.
///
/// In a large conversation every message is read by hundreds. If that was kept, the receipts of one message would push
/// everything else out of the feeds of those who are away, so only those who are connected are told, and not too often.
pub(crate) fn notify_others(reader: UserId, mark: &ReadMark) -> Receipts {
    let (conversation, up_to) = (mark.counter.conversation, mark.counter.read);
    let audience = mark.audience.iter().filter(|user| **user != reader);
    let event = |durable| Event { durable, ..event::read_update(conversation, reader, up_to) };
    if mark.member_count as usize <= DURABLE_RECEIPT_MEMBERS_MAX {
        let event = event(true);
        let each = audience.take(DURABLE_RECEIPT_MEMBERS_MAX);
        return match each.map(|user| Transaction::new(Owner::User(*user)).publish(event.clone())).collect::<Vec<_>>() {
            none if none.is_empty() => Receipts::None,
            transactions => Receipts::Durable(transactions),
        };
    }
    let event = event(false);
    let publication = |user: &UserId| Publication { user: *user, event: event.clone() };
    let publications: Vec<Publication> = audience.take(RECEIPT_AUTHORS_MAX).map(publication).collect();
    if publications.is_empty() {
        return Receipts::None;
    }
    let notified = Key::read_receipt(reader, conversation);
    let gate = Transaction::new(Owner::User(reader)).check(Check::Absent(notified.clone())).mutate(Mutation::Set(
        notified,
        Vec::new(),
        Some(RECEIPT_INTERVAL_MS),
    ));
    Receipts::Ephemeral { gate, publications }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConversationId, Seq};
    use crate::port::Counter;

    const READER: UserId = UserId::from_u128(1);
    const CONVERSATION: ConversationId = ConversationId::from_u128(9);

    fn counter(count: u64) -> Counter {
        Counter { conversation: CONVERSATION, count, seq: Seq(7), joined: Seq::ZERO, read: Seq(5), announced: Seq(7) }
    }

    fn mark(member_count: u32, audience: Vec<UserId>) -> ReadMark {
        ReadMark { counter: counter(0), moved: true, member_count, audience }
    }

    #[test]
    fn everybody_in_a_small_conversation_is_notified_durably() {
        let others = [UserId::from_u128(2), UserId::from_u128(3)];
        for member_count in [3, 8] {
            let notified = notify_others(READER, &mark(member_count, vec![others[0], READER, others[1]]));
            let Receipts::Durable(transactions) = notified else { panic!("{notified:?}") };
            let owners: Vec<Owner> = transactions.iter().map(|transaction| transaction.owner).collect();
            assert_eq!(owners, others.map(Owner::User));
            let event = event::read_update(CONVERSATION, READER, Seq(5));
            assert!(event.durable && transactions.iter().all(|each| each.publications == [event.clone()]));
        }
        assert_eq!(notify_others(READER, &mark(2, vec![])), Receipts::None);
    }

    #[test]
    fn authors_in_a_larger_conversation_are_notified_if_they_are_connected_and_nobody_was_notified_just_before() {
        let authors: Vec<UserId> = (2..300).map(UserId::from_u128).collect();
        let notified = notify_others(READER, &mark(9, authors.clone()));
        let Receipts::Ephemeral { gate, publications } = notified else { panic!("{notified:?}") };
        let users: Vec<UserId> = publications.iter().map(|publication| publication.user).collect();
        assert_eq!(users, authors[..RECEIPT_AUTHORS_MAX]);
        assert!(publications.iter().all(|publication| !publication.event.durable));
        let key = Key::read_receipt(READER, CONVERSATION);
        assert_eq!((gate.owner, &gate.checks[..]), (Owner::User(READER), &[Check::Absent(key.clone())][..]));
        assert_eq!(gate.mutations, [Mutation::Set(key, Vec::new(), Some(RECEIPT_INTERVAL_MS))]);
        assert_eq!(notify_others(READER, &mark(9, vec![READER])), Receipts::None, "the reader's own messages");
    }
}
