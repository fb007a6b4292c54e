//! Who is told that a user has read messages, and with which numbers.

use crate::event;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Owner, Space};
use crate::port::{Check, Counter, Transaction};
use crate::unread::rules::CounterState;

/// Publishes the new counters to the reader's own devices. The transaction checks that the stored total is still the one
/// from which the published total was computed.
pub(crate) fn notify_reader(own: Transaction, user: UserId, stored: &CounterState, counter: &Counter) -> Transaction {
    let before = stored.total.unwrap_or(0).to_string().into_bytes();
    own.check(Check::Equals(Key::of_user(Space::UnreadTotal, user), before)).publish(event::unread_update(
        counter.conversation,
        counter.count,
        new_total(stored, counter),
    ))
}

/// Publishes the reader's position to the other members.
pub(crate) fn notify_others(
    conversation: ConversationId,
    reader: UserId,
    up_to: Seq,
    members: &[UserId],
) -> Vec<Transaction> {
    let event = event::read_update(conversation, reader, up_to);
    let others = members.iter().filter(|member| **member != reader);
    others.map(|member| Transaction::new(Owner::User(*member)).publish(event.clone())).collect()
}

/// The total after the counter of this conversation has been replaced by the one of the snapshot.
pub(crate) fn new_total(stored: &CounterState, counter: &Counter) -> u64 {
    let others = stored.total.unwrap_or(0) - stored.count.unwrap_or(0);
    others.max(0).unsigned_abs() + counter.count
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: UserId = UserId::from_u128(1);
    const CONVERSATION: ConversationId = ConversationId::from_u128(9);

    fn counter(count: u64) -> Counter {
        Counter { conversation: CONVERSATION, count, seq: Seq(7), joined: Seq::ZERO, read: Seq(5), announced: Seq(7) }
    }

    fn stored(total: Option<i64>, count: Option<i64>) -> CounterState {
        CounterState { total, seq: Some(Seq(7)), read: Some(Seq(1)), count }
    }

    #[test]
    fn the_new_total_moves_by_the_difference_of_the_counter() {
        assert_eq!(new_total(&stored(Some(10), Some(6)), &counter(2)), 6);
        assert_eq!(new_total(&stored(Some(10), None), &counter(2)), 12);
        assert_eq!(new_total(&stored(None, None), &counter(2)), 2);
        assert_eq!(new_total(&stored(Some(1), Some(6)), &counter(2)), 2, "a total is never negative");
    }

    #[test]
    fn the_reader_gets_a_total_that_the_transaction_checks() {
        let own = Transaction::new(Owner::User(READER));
        let transaction = notify_reader(own, READER, &stored(Some(10), Some(6)), &counter(2));
        let total = Key::of_user(Space::UnreadTotal, READER);
        assert_eq!(transaction.checks, [Check::Equals(total, b"10".to_vec())]);
        assert_eq!(transaction.publications, [event::unread_update(CONVERSATION, 2, 6)]);
    }

    #[test]
    fn every_member_but_the_reader_is_notified() {
        let others = [UserId::from_u128(2), UserId::from_u128(3)];
        let transactions = notify_others(CONVERSATION, READER, Seq(5), &[others[0], READER, others[1]]);
        let owners: Vec<Owner> = transactions.iter().map(|transaction| transaction.owner).collect();
        assert_eq!(owners, others.map(Owner::User));
        let event = event::read_update(CONVERSATION, READER, Seq(5));
        assert!(transactions.iter().all(|transaction| transaction.publications == [event.clone()]));
    }
}
