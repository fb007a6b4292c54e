//! The rules of counting, on plain values: what a transaction must check and change.

mod counter_state;

use std::collections::BTreeMap;

use crate::event;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::{FEED_EVENTS_MAX, UNTOLD_BYTES_MAX};
use crate::port::{Change, ChangeKind, Check, Counter, Event, Mutation, Text, Transaction, UnreadSnapshot};
pub(crate) use counter_state::CounterState;

/// A change as it is told to members: encoded once, whoever it goes to.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    seq: Seq,
    /// The sequence of the message it is about; invisible to those who joined at or after it.
    message: Seq,
    event: Option<Event>,
}

/// Steps by conversation, oldest first.
pub(crate) type Steps = BTreeMap<ConversationId, Vec<Step>>;

impl From<&Change> for Step {
    fn from(change: &Change) -> Self {
        Self { seq: change.seq, message: change.message.seq, event: event::change(change) }
    }
}

/// The one-step announcement of a new message, for a warm user who has counted everything before it.
///
/// `None` for edits and deletions: whom they concern, and how counters move, only a snapshot tells.
pub(crate) fn announce(change: &Change, told: Option<&Event>, member: UserId) -> Option<Transaction> {
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
    transaction.publications.extend(told.cloned());
    Some(transaction)
}

/// From where on changes must be told to a user whose stored position is this.
///
/// Without a position: what nobody has confirmed yet, and only from joining on.
pub(crate) fn told_up_to(position: Option<Seq>, counter: &Counter) -> Seq {
    position.unwrap_or_else(|| counter.announced.max(counter.joined))
}

/// What bringing one state in line with the records takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// They agree.
    Settled,
    /// This transaction does it, if nothing moves meanwhile.
    Apply(Transaction),
    /// The snapshot is older than what is stored: take another.
    Stale,
}

/// Brings a warm user's state in line with a snapshot; `None`: the user is no member any more.
///
/// Applies only if neither the snapshot's sequence nor its read position is below what is stored, and only if the
/// store still holds what was read.
pub(crate) fn settle(
    user: UserId,
    conversation: ConversationId,
    stored: &CounterState,
    snapshot: Option<&Counter>,
    steps: &Steps,
) -> Settlement {
    let Some(counter) = snapshot else { return leave(user, conversation, stored) };
    if stored.seq.is_some_and(|seq| counter.seq < seq) || stored.read.is_some_and(|read| counter.read < read) {
        return Settlement::Stale;
    }
    let count = signed(counter.count);
    let agreed =
        CounterState { total: stored.total, seq: Some(counter.seq), read: Some(counter.read), count: Some(count) };
    if *stored == agreed {
        return Settlement::Settled;
    }
    let field = Text::from(conversation);
    let mut transaction = unmoved(user, conversation, stored)
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
    transaction.publications = bounded(untold(stored.seq, counter, steps));
    Settlement::Apply(transaction)
}

/// Fills all counters of a cold user, for whoever still holds the lease under `token`: a slow one must not put an
/// old snapshot over what another filled, and somebody forgot, meanwhile.
///
/// `positions`: up to where each conversation had been announced.
pub(crate) fn fill(
    token: &[u8],
    positions: &BTreeMap<ConversationId, Seq>,
    snapshot: &UnreadSnapshot,
    steps: &Steps,
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
    let mut gone = positions.clone();
    let mut events = Vec::new();
    for counter in &snapshot.counters {
        let position = gone.remove(&counter.conversation);
        let key = Key::unread_conversation(user, counter.conversation);
        transaction = transaction.mutate(Mutation::Set(key, decimal(signed(counter.count)), None));
        events.extend(untold(position, counter, steps));
    }
    transaction.publications = bounded(events);
    for conversation in gone.keys() {
        transaction = transaction.mutate(Mutation::Delete(Key::unread_conversation(user, *conversation)));
    }
    if snapshot.counters.is_empty() {
        return transaction;
    }
    let by = |value: fn(&Counter) -> Seq| {
        snapshot.counters.iter().map(|c| (c.conversation.into(), value(c).to_string().into())).collect()
    };
    transaction
        .mutate(Mutation::SetFields(sequences, by(|counter| counter.seq)))
        .mutate(Mutation::SetFields(reads, by(|counter| counter.read)))
}

/// A transaction that happens only if the store still holds what was read. The total may move meanwhile, but not vanish.
pub(crate) fn unmoved(user: UserId, conversation: ConversationId, stored: &CounterState) -> Transaction {
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

fn leave(user: UserId, conversation: ConversationId, stored: &CounterState) -> Settlement {
    if stored.seq.is_none() && stored.read.is_none() && stored.count.is_none() {
        return Settlement::Settled;
    }
    let field = vec![Text::from(conversation)];
    Settlement::Apply(
        unmoved(user, conversation, stored)
            .mutate(add_to_total(user, -stored.count.unwrap_or(0)))
            .mutate(Mutation::Delete(Key::unread_conversation(user, conversation)))
            .mutate(Mutation::DeleteFields(Key::of_user(Space::UnreadSequence, user), field.clone()))
            .mutate(Mutation::DeleteFields(Key::of_user(Space::UnreadRead, user), field)),
    )
}

/// What moving the position to the snapshot passes. Where the steps do not reach back to the position the client is
/// told to ask for the state instead: never a part of what it missed.
fn untold(position: Option<Seq>, counter: &Counter, steps: &Steps) -> Vec<Event> {
    let from = told_up_to(position, counter);
    if from >= counter.seq {
        return Vec::new();
    }
    let known = steps.get(&counter.conversation).map_or(&[][..], Vec::as_slice);
    if known.first().is_none_or(|oldest| oldest.seq > from.next()) {
        return vec![event::resync()];
    }
    let passed = known.iter().filter(|step| step.seq > from && step.seq <= counter.seq);
    passed.filter(|step| step.message > counter.joined).filter_map(|step| step.event.clone()).collect()
}

/// No more than a feed keeps and a call takes; beyond, the client asks for the state.
fn bounded(events: Vec<Event>) -> Vec<Event> {
    let bytes: usize = events.iter().map(|event| event.name.len() + event.payload.len()).sum();
    if events.len() > FEED_EVENTS_MAX || bytes > UNTOLD_BYTES_MAX { vec![event::resync()] } else { events }
}

fn add_to_total(user: UserId, delta: i64) -> Mutation {
    Mutation::Add { key: Key::of_user(Space::UnreadTotal, user), delta, floor: Some(0) }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn decimal(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}

#[cfg(test)]
mod tests;
