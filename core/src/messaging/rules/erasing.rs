//! What the store forgets of a user who is erased.

use crate::event;
use crate::ids::{ConversationId, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::FILL_CHUNK;
use crate::port::{Mutation, Text, Transaction};

/// Removes the presence and the devices of the user, and makes the user uncached and unfollowed.
pub(crate) fn forget(user: UserId) -> Vec<Transaction> {
    let due = Key::presence_due(user);
    let not_due = Transaction::new(due.owner).mutate(Mutation::OrderedRemove(due, user.into()));
    let gone = [
        Space::Online,
        Space::Presence,
        Space::Devices,
        Space::Followed,
        Space::UnreadTotal,
        Space::UnreadRead,
        Space::UnreadLease,
    ];
    let deleted = gone.into_iter().fold(Transaction::new(Owner::User(user)), |transaction, space| {
        transaction.mutate(Mutation::Delete(Key::of_user(space, user)))
    });
    vec![deleted, not_due]
}

/// Removes the counters of these conversations, and the positions that name them.
pub(crate) fn forget_counters(user: UserId, conversations: &[ConversationId]) -> Vec<Transaction> {
    let each = conversations.chunks(FILL_CHUNK).map(|chunk| {
        let names: Vec<Text> = chunk.iter().map(|conversation| (*conversation).into()).collect();
        let positions = Mutation::DeleteFields(Key::of_user(Space::UnreadSequence, user), names);
        let transaction = Transaction::new(Owner::User(user)).mutate(positions);
        chunk.iter().fold(transaction, |transaction, conversation| {
            transaction.mutate(Mutation::Delete(Key::unread_conversation(user, *conversation)))
        })
    });
    each.collect()
}

/// Publishes that the user is erased. Nobody follows the user any more, so the event is not kept, and the feed ends
/// with it. A client that is still connected starts anew.
pub(crate) fn end_feed(user: UserId) -> Transaction {
    Transaction::new(Owner::User(user)).publish(event::user_erased(user)).publish(event::resync())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::from_u128(7);

    #[test]
    fn everything_of_the_user_but_the_counters_is_forgotten_without_conditions() {
        let transactions = forget(USER);
        let spaces: Vec<Space> = transactions[0]
            .mutations
            .iter()
            .map(|mutation| match mutation {
                Mutation::Delete(key) => key.space,
                other => panic!("{other:?}"),
            })
            .collect();
        for space in [Space::Online, Space::Presence, Space::Devices, Space::Followed, Space::UnreadTotal] {
            assert!(spaces.contains(&space), "{space}");
        }
        assert!(transactions.iter().all(|transaction| transaction.checks.is_empty()));
        let due = Key::presence_due(USER);
        assert_eq!(transactions[1].mutations, [Mutation::OrderedRemove(due, USER.into())]);
    }

    #[test]
    fn counters_are_forgotten_in_bounded_transactions() {
        let ids: Vec<ConversationId> = (0..1_250).map(ConversationId::from_u128).collect();
        let transactions = forget_counters(USER, &ids);
        assert_eq!(transactions.iter().map(|each| each.mutations.len()).collect::<Vec<_>>(), [501, 501, 251]);
        assert!(forget_counters(USER, &[]).is_empty());
    }
}
