//! Publications without a change of state, as transactions whose events are addressed to users.

use std::collections::BTreeSet;

use roost_core::ids::UserId;
use roost_core::key::Owner;
use roost_core::limits::{ADDRESSED_BYTES_MAX, ADDRESSEES_MAX};
use roost_core::port::{AddressedEvent, Publication, Transaction};

/// Over so many partitions the entries of such transactions are spread.
const SHARDS: u32 = 64;

/// The transactions, which must be carried out in this order. Equal events that follow each other are one event for
/// several users. Equal events for the same user stay separate, because a user who is named twice receives an event
/// once.
pub(super) fn batches(publications: Vec<Publication>) -> Vec<Transaction> {
    let mut batches = Vec::new();
    let mut batch = EventBatch::default();
    for Publication { user, event } in publications {
        if let Some(last) = batch.addressed.last_mut()
            && last.event == event
            && batch.users < ADDRESSEES_MAX
            && batch.named.insert(user)
        {
            last.users.push(user);
            batch.users += 1;
            continue;
        }
        let bytes = event.bytes();
        if batch.users == ADDRESSEES_MAX || batch.bytes + bytes > ADDRESSED_BYTES_MAX {
            batches.push(std::mem::take(&mut batch));
        }
        batch.named = BTreeSet::from([user]);
        batch.addressed.push(AddressedEvent { users: vec![user], event });
        batch.users += 1;
        batch.bytes += bytes;
    }
    batches.push(batch);
    batches.into_iter().map(EventBatch::transaction).collect()
}

#[derive(Default)]
struct EventBatch {
    addressed: Vec<AddressedEvent>,
    /// The users of the last event.
    named: BTreeSet<UserId>,
    /// The number of users, each counted once for each event.
    users: usize,
    bytes: usize,
}

impl EventBatch {
    /// The events belong to no partition, so any one has their entry.
    fn transaction(self) -> Transaction {
        let owner = Owner::Shard(rand::random_range(0..SHARDS));
        Transaction { addressed: self.addressed, ..Transaction::new(owner) }
    }
}

#[cfg(test)]
mod tests {
    use roost_core::limits::PAYLOAD_BYTES_MAX;
    use roost_core::port::{Event, ScreenedCall};

    use super::*;

    fn publication(user: u128, payload: &str) -> Publication {
        let event = Event { name: "poll.vote".into(), payload: payload.into(), durable: true };
        Publication { user: UserId::from_u128(user), event }
    }

    fn users(transaction: &Transaction) -> Vec<usize> {
        transaction.addressed.iter().map(|addressed| addressed.users.len()).collect()
    }

    #[test]
    fn equal_events_in_a_row_become_one_event_for_several_users() {
        let all = [publication(1, "a"), publication(2, "a"), publication(2, "b"), publication(1, "a")];
        let batches = batches(all.into());
        assert_eq!(batches.len(), 1);
        assert_eq!(users(&batches[0]), [2, 1, 1], "the order of each user's events is kept");
    }

    #[test]
    fn equal_events_for_the_same_user_are_two_events() {
        let all = [publication(1, "a"), publication(2, "a"), publication(1, "a"), publication(1, "a")];
        assert_eq!(users(&batches(all.into())[0]), [2, 1, 1]);
    }

    #[test]
    fn a_batch_is_bounded_in_users_and_bytes() {
        let many = batches((0..1_024).map(|user| publication(user, "a")).collect());
        assert_eq!(many.iter().map(|batch| users(batch).iter().sum::<usize>()).collect::<Vec<_>>(), [1_000, 24]);
        let large = |number: u128| publication(number, &number.to_string().repeat(PAYLOAD_BYTES_MAX));
        let large = batches((1..6).map(large).collect());
        assert_eq!(large.iter().map(|batch| batch.addressed.len()).collect::<Vec<_>>(), [1; 5]);
        for batch in many.into_iter().chain(large) {
            assert_eq!(ScreenedCall::of(vec![batch]).unwrap().refused().count(), 0);
        }
    }
}
