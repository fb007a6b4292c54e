//! The event that tells a user's devices the counters and the read position, when a client cannot compute them itself.

use super::{CounterState, decimal};
use crate::event::{self, UnreadUpdatePayload};
use crate::ids::UserId;
use crate::key::{Key, Space};
use crate::port::{Check, Counter, Transaction};

/// The total after the counter of one conversation has been replaced by this number.
pub(crate) fn new_total(stored: &CounterState, count: u64) -> u64 {
    let others = stored.total.unwrap_or(0) - stored.count.unwrap_or(0);
    others.max(0).unsigned_abs() + count
}

/// Publishes the new counters in the transaction that writes them, unless it does so already.
pub(super) fn publish_update(own: Transaction, user: UserId, stored: &CounterState, counter: &Counter) -> Transaction {
    if own.publications.iter().any(|event| &*event.name == event::UNREAD_UPDATE) {
        return own;
    }
    let total = new_total(stored, counter.count);
    with_total(own, user, stored).publish(event::unread_update(&update(counter, total)))
}

/// What a user's devices are told of a counter.
pub(super) const fn update(counter: &Counter, total: u64) -> UnreadUpdatePayload {
    let Counter { conversation, count: unread, seq, read, .. } = *counter;
    UnreadUpdatePayload { conversation, unread, total, read, seq }
}

/// Lets the transaction check that the stored total is still the one from which a published total was computed.
pub(super) fn with_total(own: Transaction, user: UserId, stored: &CounterState) -> Transaction {
    let total = Key::of_user(Space::UnreadTotal, user);
    own.check(Check::Equals(total, decimal(stored.total.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConversationId, Seq};
    use crate::key::Owner;

    const READER: UserId = UserId::from_u128(1);
    const CONVERSATION: ConversationId = ConversationId::from_u128(9);

    fn stored(total: Option<i64>, count: Option<i64>) -> CounterState {
        CounterState { total, seq: Some(Seq(7)), read: Some(Seq(1)), count }
    }

    #[test]
    fn the_new_total_moves_by_the_difference_of_the_counter() {
        assert_eq!(new_total(&stored(Some(10), Some(6)), 2), 6);
        assert_eq!(new_total(&stored(Some(10), None), 2), 12);
        assert_eq!(new_total(&stored(None, None), 2), 2);
        assert_eq!(new_total(&stored(Some(1), Some(6)), 2), 2, "a total is never negative");
    }

    #[test]
    fn the_user_gets_a_total_that_the_transaction_checks_and_only_once() {
        let counter = Counter {
            conversation: CONVERSATION,
            count: 2,
            seq: Seq(7),
            joined: Seq::ZERO,
            read: Seq(5),
            announced: Seq(7),
        };
        let own = Transaction::new(Owner::User(READER));
        let once = publish_update(own, READER, &stored(Some(10), Some(6)), &counter);
        let total = Key::of_user(Space::UnreadTotal, READER);
        assert_eq!(once.checks, [Check::Equals(total, b"10".to_vec())]);
        let expected =
            UnreadUpdatePayload { conversation: CONVERSATION, unread: 2, total: 6, read: Seq(5), seq: Seq(7) };
        assert_eq!(once.publications, [event::unread_update(&expected)]);
        assert_eq!(publish_update(once.clone(), READER, &stored(Some(10), Some(6)), &counter), once);
    }
}
