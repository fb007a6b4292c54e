//! Fills all counters of an uncached user from snapshots of their conversations: in chunks, the total last.
//!
//! The user is uncached until the total is written, and nobody but the holder of the lease changes the counters of an
//! uncached user. So a caller that stops in the middle leaves a user who is uncached, and another caller fills them. A
//! chunk publishes what its positions pass in the same transaction, so that another caller continues from there.

use std::collections::{BTreeMap, BTreeSet};

use super::decimal;
use super::missed_events::{MemberEvents, MissedEvents, bounded_events, is_added};
use super::unread_update::update;
use crate::event;
use crate::ids::{ConversationId, Seq, UserId};
use crate::insertion::CollectByInsertion as _;
use crate::key::{Key, Owner, Space};
use crate::limits::{FILL_CHUNK, FOLLOWED_TTL_MS, LEASE_TTL_MS, LEASE_WAIT_MS, LEASE_WAIT_MS_MAX};
use crate::port::{Check, Counter, Event, Mutation, Text, Transaction};
use crate::stored_text::signed;

/// What was published to a user about a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredPosition {
    /// Changes up to this sequence number.
    pub(crate) seq: Seq,
    /// The user's own read position, if the store holds one.
    pub(crate) read: Option<Seq>,
}

/// What was published to a user about each conversation.
pub(crate) type Positions = BTreeMap<ConversationId, StoredPosition>;

/// A user whose lease this caller holds, and how far the counters are filled.
#[derive(Clone, Debug)]
pub(crate) struct Fill {
    pub(crate) user: UserId,
    /// The text in the lease. A slow caller whose lease has expired must not write an old snapshot after another caller
    /// filled the counters and a third one removed them.
    token: Vec<u8>,
    /// The stored positions of the conversations that no chunk has contained so far.
    left: Positions,
    /// The sum of the counters so far.
    sum: u64,
    /// Whether a chunk has been written already.
    is_begun: bool,
    /// Whether the user was cached before. Then the positions are those of all conversations that the user's clients
    /// know.
    was_cached: bool,
}

impl Fill {
    /// Nothing is filled so far. `positions` are those in the store.
    pub(crate) fn new(user: UserId, token: &[u8], positions: Positions) -> Self {
        let was_cached = !positions.is_empty();
        Self { user, token: token.to_vec(), left: positions, sum: 0, is_begun: false, was_cached }
    }

    /// The stored position in a conversation that no chunk has contained so far.
    pub(crate) fn position(&self, conversation: ConversationId) -> Option<Seq> {
        self.left.get(&conversation).map(|position| position.seq)
    }

    /// Whether the user's clients have to be told that the user has become a member of this conversation, which no
    /// chunk has contained so far. The first time that counters are filled nobody is told: a client asks for the
    /// conversations then.
    pub(crate) fn is_added(&self, counter: &Counter) -> bool {
        self.was_cached && is_added(self.position(counter.conversation), counter)
    }

    /// Writes these counters without the total, in as many transactions as they need. The transactions do not depend on
    /// each other, and each renews the lease.
    ///
    /// The total is not known yet. Where a client would need it, a `resync` is published.
    pub(crate) fn write(&mut self, counters: &[Counter], missed: &MissedEvents) -> Vec<Transaction> {
        self.is_begun |= !counters.is_empty();
        let mut transactions = Vec::new();
        for chunk in counters.chunks(FILL_CHUNK) {
            let (mut written, moved) = self.chunk(chunk, missed);
            if !moved.is_empty() {
                written.publications = vec![event::resync()];
            }
            transactions.push(renew(self.user, &self.token).with(written));
        }
        transactions
    }

    /// Deletes the counters of conversations that no chunk has contained and that are not among the last ones, as far
    /// as the last transaction does not do that. The transactions do not depend on each other, and each renews the
    /// lease.
    pub(crate) fn remove_left(&mut self, last: &[Counter]) -> Vec<Transaction> {
        let kept: BTreeSet<ConversationId> = last.iter().map(|counter| counter.conversation).collect_by_insertion();
        let left: Vec<_> = self.left.keys().filter(|conversation| !kept.contains(conversation)).copied().collect();
        let mut transactions = Vec::new();
        for chunk in left.chunks(FILL_CHUNK).skip(1) {
            self.left.retain(|conversation, _| chunk.binary_search(conversation).is_err());
            let removal = removal(self.user, chunk.to_vec()).publish(event::resync());
            transactions.push(renew(self.user, &self.token).with(removal));
            self.is_begun = true;
        }
        transactions
    }

    /// Writes the last counters and the total, and gives the lease back. From then on the user is cached.
    pub(crate) fn finish(mut self, counters: &[Counter], missed: &MissedEvents) -> Transaction {
        let (mut chunk, moved) = self.chunk(counters, missed);
        let removed = self.left.keys().filter(|conversation| **conversation != NO_CONVERSATION);
        let removed = removed.map(|conversation| event::conversation_removed(*conversation, self.sum));
        let updates = moved.iter().map(|counter| event::unread_update(&update(counter, self.sum)));
        let after: Vec<Event> = removed.chain(updates).collect();
        chunk.publications = bounded_events(chunk.publications.into_iter().chain(after).collect());
        let total = Key::of_user(Space::UnreadTotal, self.user);
        let lease = Key::of_user(Space::UnreadLease, self.user);
        let mut transaction = Transaction::new(Owner::User(self.user))
            .check(Check::Absent(total.clone()))
            .check(Check::Equals(lease.clone(), self.token))
            .mutate(Mutation::Set(total, decimal(signed(self.sum)), None))
            .mutate(Mutation::Delete(lease));
        if !self.is_begun {
            // This transaction writes everything, so that whatever else the hashes hold is of no use.
            transaction = transaction
                .mutate(Mutation::Delete(Key::of_user(Space::UnreadSequence, self.user)))
                .mutate(Mutation::Delete(Key::of_user(Space::UnreadRead, self.user)));
        }
        transaction.with(chunk).with(removal(self.user, self.left.into_keys().collect()))
    }

    /// Adds up these counters. Returns what writes them, and those that moved by anything but new messages.
    fn chunk<'c>(&mut self, counters: &'c [Counter], missed: &MissedEvents) -> (Transaction, Vec<&'c Counter>) {
        let user = self.user;
        let mut transaction = Transaction::new(Owner::User(user));
        let (mut events, mut moved) = (Vec::new(), Vec::new());
        for counter in counters {
            self.sum = self.sum.saturating_add(counter.count);
            let is_added = self.is_added(counter);
            let stored = self.left.remove(&counter.conversation);
            let position = stored.map(|stored| stored.seq);
            let MemberEvents { events: passed, moves_count, .. } = if is_added {
                missed.since_joining(user, position, counter)
            } else {
                missed.between(user, position, counter)
            };
            events.extend(passed);
            let has_read = stored.is_some_and(|stored| stored.read != Some(counter.read));
            if moves_count || has_read || (is_added && position.is_some()) {
                moved.push(counter);
            }
            let key = Key::unread_conversation(user, counter.conversation);
            transaction = transaction.mutate(Mutation::Set(key, decimal(signed(counter.count)), None));
        }
        transaction.publications = bounded_events(events);
        if counters.is_empty() {
            return (transaction, moved);
        }
        let fields = |value: fn(&Counter) -> Seq| {
            counters.iter().map(|c| (c.conversation.into(), value(c).to_string().into())).collect()
        };
        let written = transaction
            .mutate(Mutation::SetFields(Key::of_user(Space::UnreadSequence, user), fields(|counter| counter.seq)))
            .mutate(Mutation::SetFields(Key::of_user(Space::UnreadRead, user), fields(|counter| counter.read)));
        (written, moved)
    }
}

/// Has a position while the counters of a user without conversations are forgotten, so that the user is known to have
/// been cached. No conversation has this id.
pub(super) const NO_CONVERSATION: ConversationId = ConversationId::from_u128(0);

/// The pause of a caller that waits for the holder of a lease, after so many reads in vain. All pauses of
/// [`TRIES_MAX`](crate::limits::TRIES_MAX) reads are longer than a lease and shorter than the time that a call has.
pub(crate) const fn lease_wait_ms(attempt: u32) -> u32 {
    let pause = LEASE_WAIT_MS * (1 + attempt / 4);
    if pause < LEASE_WAIT_MS_MAX { pause } else { LEASE_WAIT_MS_MAX }
}

/// Takes the lease of an uncached user whom nobody fills. The user is followed from then on: otherwise a message that
/// is sent after the records were read and before the total is written would be owed to nobody, and would be missing in
/// the counters.
pub(crate) fn take_lease(user: UserId, token: &[u8]) -> Transaction {
    let lease = Key::of_user(Space::UnreadLease, user);
    Transaction::new(Owner::User(user))
        .check(Check::Absent(Key::of_user(Space::UnreadTotal, user)))
        .check(Check::Absent(lease.clone()))
        .mutate(Mutation::Set(lease, token.to_vec(), Some(LEASE_TTL_MS)))
        .mutate(Mutation::Set(Key::followed(user), Vec::new(), Some(FOLLOWED_TTL_MS)))
}

/// A transaction that is refused if the user is cached or another caller holds the lease, and otherwise renews the
/// lease.
pub(crate) fn renew(user: UserId, token: &[u8]) -> Transaction {
    let lease = Key::of_user(Space::UnreadLease, user);
    Transaction::new(Owner::User(user))
        .check(Check::Absent(Key::of_user(Space::UnreadTotal, user)))
        .check(Check::Equals(lease.clone(), token.to_vec()))
        .mutate(Mutation::Expire(lease, LEASE_TTL_MS))
}

/// Gives a lease back.
pub(crate) fn release(user: UserId, token: &[u8]) -> Transaction {
    let lease = Key::of_user(Space::UnreadLease, user);
    Transaction::new(Owner::User(user))
        .check(Check::Equals(lease.clone(), token.to_vec()))
        .mutate(Mutation::Delete(lease))
}

/// Removes the counters and positions of conversations that the user has left.
fn removal(user: UserId, conversations: Vec<ConversationId>) -> Transaction {
    let mut transaction = Transaction::new(Owner::User(user));
    if conversations.is_empty() {
        return transaction;
    }
    for conversation in &conversations {
        transaction = transaction.mutate(Mutation::Delete(Key::unread_conversation(user, *conversation)));
    }
    let names: Vec<Text> = conversations.into_iter().map(Text::from).collect();
    transaction
        .mutate(Mutation::DeleteFields(Key::of_user(Space::UnreadSequence, user), names.clone()))
        .mutate(Mutation::DeleteFields(Key::of_user(Space::UnreadRead, user), names))
}

impl Transaction {
    /// Adds the checks, mutations and publications of another transaction of the same owner.
    fn with(mut self, other: Self) -> Self {
        self.checks.extend(other.checks);
        self.mutations.extend(other.mutations);
        self.publications.extend(other.publications);
        self
    }
}
