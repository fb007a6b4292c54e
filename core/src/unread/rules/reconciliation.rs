//! Reconciles the stored counters of a cached user with a snapshot from the records.

use super::missed_events::{MissedEvents, bounded_events, is_added};
use super::unread_update::{new_total, publish_update, with_total};
use super::{CounterState, decimal};
use crate::event;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Owner, Space};
use crate::port::{Check, Counter, Mutation, Text, Transaction};
use crate::stored_text::signed;

/// The result of comparing a stored counter state with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reconciliation {
    /// The store agrees with the snapshot.
    InAgreement,
    /// This transaction makes the store agree, provided that the store has not changed in the meantime.
    Apply(Transaction),
    /// The snapshot is older than the stored state; another snapshot is needed.
    Stale,
}

/// Compares a cached user's state with a snapshot. The same transaction publishes `conversation.added` to a user who
/// has become a member, and `conversation.removed` to one who is no longer a member. So the stored position says
/// whether the user's clients know the conversation, and a repetition publishes nothing.
///
/// `snapshot` is `None` if the user is no longer a member.
///
/// A snapshot is applied only if neither its sequence number nor its read position is below the stored one, and only
/// if the store still holds the state that was read.
pub(crate) fn reconcile(
    user: UserId,
    conversation: ConversationId,
    stored: &CounterState,
    snapshot: Option<&Counter>,
    missed: &MissedEvents,
) -> Reconciliation {
    let Some(counter) = snapshot else { return remove_conversation(user, conversation, stored) };
    if stored.seq.is_some_and(|seq| counter.seq < seq) || stored.read.is_some_and(|read| counter.read < read) {
        return Reconciliation::Stale;
    }
    let count = signed(counter.count);
    let agreed =
        CounterState { total: stored.total, seq: Some(counter.seq), read: Some(counter.read), count: Some(count) };
    if *stored == agreed {
        return Reconciliation::InAgreement;
    }
    let field = Text::from(conversation);
    let transaction = unchanged(user, conversation, stored)
        .mutate(Mutation::Set(Key::unread_conversation(user, conversation), decimal(count), None))
        .mutate(add_to_total(user, count - stored.count.unwrap_or(0)))
        .mutate(Mutation::SetFields(
            Key::of_user(Space::UnreadSequence, user),
            vec![(field.clone(), counter.seq.to_string().into())],
        ))
        .mutate(Mutation::SetFields(
            Key::of_user(Space::UnreadRead, user),
            vec![(field, counter.read.to_string().into())],
        ));
    Reconciliation::Apply(publish(transaction, user, stored, counter, missed))
}

/// Publishes what the transaction passes, and the new counters if a client cannot compute them from that: it adds one
/// for each new message of somebody else, and knows nothing of a conversation that is new to it.
fn publish(
    mut transaction: Transaction,
    user: UserId,
    stored: &CounterState,
    counter: &Counter,
    missed: &MissedEvents,
) -> Transaction {
    let is_added = is_added(stored.seq, counter);
    let passed = if is_added {
        missed.since_joining(user, stored.seq, counter)
    } else {
        missed.between(user, stored.seq, counter)
    };
    let computed = stored.count.map(|count| count.unsigned_abs() + passed.counted);
    let moved = if is_added {
        passed.moves_count || stored.count.is_some()
    } else {
        stored.read != Some(counter.read) || computed != Some(counter.count)
    };
    transaction.publications = bounded_events(passed.events);
    let is_resync = transaction.publications.contains(&event::resync());
    if moved && !is_resync {
        return publish_update(transaction, user, stored, counter);
    }
    transaction
}

/// A transaction that is refused if the store no longer holds the state that was read. The total may have changed, but
/// it must still exist.
pub(super) fn unchanged(user: UserId, conversation: ConversationId, stored: &CounterState) -> Transaction {
    let field = Text::from(conversation);
    let position = |seq: Option<Seq>| seq.map(|seq| seq.to_string().into());
    let counter = Key::unread_conversation(user, conversation);
    let sequences = Key::of_user(Space::UnreadSequence, user);
    Transaction::new(Owner::User(user))
        .check(Check::Present(Key::of_user(Space::UnreadTotal, user)))
        .check(Check::FieldEquals(sequences, field.clone(), position(stored.seq)))
        .check(Check::FieldEquals(Key::of_user(Space::UnreadRead, user), field, position(stored.read)))
        .check(match stored.count {
            Some(count) => Check::Equals(counter, decimal(count)),
            None => Check::Absent(counter),
        })
}

/// Publishes the counter once more to a user whose state agrees with the snapshot.
pub(crate) fn tell_counter(user: UserId, stored: &CounterState, counter: &Counter) -> Transaction {
    publish_update(unchanged(user, counter.conversation, stored), user, stored, counter)
}

/// Publishes the conversation and the counter once more to a user whose state agrees with the snapshot.
pub(crate) fn repeat(user: UserId, stored: &CounterState, counter: &Counter, missed: &MissedEvents) -> Transaction {
    let transaction = unchanged(user, counter.conversation, stored).publish(missed.added_event(user, counter));
    publish_update(transaction, user, stored, counter)
}

/// Removes a conversation that the user is no longer a member of, and subtracts its counter from the total.
fn remove_conversation(user: UserId, conversation: ConversationId, stored: &CounterState) -> Reconciliation {
    if stored.seq.is_none() && stored.read.is_none() && stored.count.is_none() {
        return Reconciliation::InAgreement;
    }
    let field = vec![Text::from(conversation)];
    let mut transaction = unchanged(user, conversation, stored);
    if stored.seq.is_some() {
        let removed = event::conversation_removed(conversation, new_total(stored, 0));
        transaction = with_total(transaction, user, stored).publish(removed);
    }
    Reconciliation::Apply(
        transaction
            .mutate(add_to_total(user, -stored.count.unwrap_or(0)))
            .mutate(Mutation::Delete(Key::unread_conversation(user, conversation)))
            .mutate(Mutation::DeleteFields(Key::of_user(Space::UnreadSequence, user), field.clone()))
            .mutate(Mutation::DeleteFields(Key::of_user(Space::UnreadRead, user), field)),
    )
}

fn add_to_total(user: UserId, delta: i64) -> Mutation {
    Mutation::Add { key: Key::of_user(Space::UnreadTotal, user), delta, floor: Some(0) }
}
