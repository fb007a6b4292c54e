//! Fills all counters of an uncached user from a snapshot.

use std::collections::BTreeMap;

use super::decimal;
use super::encoded_change::{EncodedChanges, bounded_events, unnotified_events};
use crate::ids::{ConversationId, Seq};
use crate::key::{Key, Owner, Space};
use crate::port::{Check, Counter, Mutation, Transaction, UnreadSnapshot};
use crate::stored_text::signed;

/// Fills all counters of an uncached user, provided that the lease still holds `token`. A slow caller whose lease has
/// expired must not write an old snapshot after another caller filled the counters and a third one removed them.
///
/// `positions` holds, for each conversation, the sequence number up to which changes were published.
pub(crate) fn fill(
    token: &[u8],
    positions: &BTreeMap<ConversationId, Seq>,
    snapshot: &UnreadSnapshot,
    changes: &EncodedChanges,
) -> Transaction {
    let user = snapshot.user;
    let lease = Key::of_user(Space::UnreadLease, user);
    let total = Key::of_user(Space::UnreadTotal, user);
    let sequences = Key::of_user(Space::UnreadSequence, user);
    let reads = Key::of_user(Space::UnreadRead, user);
    let sum: u64 = snapshot.counters.iter().map(|counter| counter.count).sum();
    let mut transaction = Transaction::new(Owner::User(user))
        .check(Check::Absent(total.clone()))
        .check(Check::Equals(lease.clone(), token.to_vec()))
        .mutate(Mutation::Set(total, decimal(signed(sum)), None))
        .mutate(Mutation::Delete(sequences.clone()))
        .mutate(Mutation::Delete(reads.clone()))
        .mutate(Mutation::Delete(lease));
    let mut left_conversations = positions.clone();
    let mut events = Vec::new();
    for counter in &snapshot.counters {
        let position = left_conversations.remove(&counter.conversation);
        let key = Key::unread_conversation(user, counter.conversation);
        transaction = transaction.mutate(Mutation::Set(key, decimal(signed(counter.count)), None));
        events.extend(unnotified_events(position, counter, changes));
    }
    transaction.publications = bounded_events(events);
    for conversation in left_conversations.keys() {
        transaction = transaction.mutate(Mutation::Delete(Key::unread_conversation(user, *conversation)));
    }
    if snapshot.counters.is_empty() {
        return transaction;
    }
    let fields = |value: fn(&Counter) -> Seq| {
        snapshot.counters.iter().map(|c| (c.conversation.into(), value(c).to_string().into())).collect()
    };
    transaction
        .mutate(Mutation::SetFields(sequences, fields(|counter| counter.seq)))
        .mutate(Mutation::SetFields(reads, fields(|counter| counter.read)))
}
