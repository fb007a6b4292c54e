//! Marks messages as read: the read position moves in the records, then the counters follow, and the reader's devices
//! and the other members are told.

use schemars::JsonSchema;
use serde::Serialize;

use super::announce;
use crate::announcing::count_pending;
use crate::error::{Error, FirstFailure};
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Space};
use crate::limits::TRIES_MAX;
use crate::messaging::rules::reading::{Receipts, notify_others};
use crate::port::{Confirmation, Outcome, Query, ReadMark, RecordsError, Transaction, Value, World};
use crate::source::{Sourced, or_from_records};
use crate::store_calls;
use crate::unread::rules::{self, CounterState, Reconciliation, is_added, new_total};
use crate::unread::{self, MemberSnapshot, amend, fill_or_wait, missed_events, read_one};

/// A reader's state after reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct ReadReply {
    /// The conversation that was read.
    pub conversation: ConversationId,
    /// The messages that are still unread in this conversation.
    pub unread: u64,
    /// The messages that are still unread in all conversations together.
    pub total: u64,
    /// The read position: every message up to this sequence number is read.
    pub up_to: Seq,
}

/// Marks messages up to `up_to` as read, or all messages if it is `None`. The position never moves back. Two round
/// trips to the store if the user is cached.
///
/// While the store is unavailable the position moves nevertheless. Counters and announcements follow when
/// [`super::recover`] finds the pending change.
pub async fn mark_read<W: World>(
    world: &W,
    user: UserId,
    conversation: ConversationId,
    up_to: Option<Seq>,
) -> Result<Sourced<ReadReply>, Error> {
    let mut reading = Reading::new(world, user, conversation);
    let answer = reading.move_and_notify(up_to).await;
    count_pending(world, &reading.failures.report());
    or_from_records(world, "mark_read", answer, record(world, user, conversation, up_to)).await
}

/// Moves the position in the records alone. An earlier attempt may have moved it already; moving it again is harmless.
async fn record<W: World>(
    world: &W,
    user: UserId,
    conversation: ConversationId,
    up_to: Option<Seq>,
) -> Result<ReadReply, Error> {
    world.mark_read(user, conversation, up_to).await?;
    let counters = unread::recorded(world, user, None).await?;
    let total = counters.iter().map(|counter| counter.count).sum();
    let own = counters.into_iter().find(|counter| counter.conversation == conversation);
    let own = own.ok_or(RecordsError::NotAMember)?;
    Ok(ReadReply { conversation, unread: own.count, total, up_to: own.read })
}

/// Tells the reader's devices and the other members the read position once more, because a crash may have prevented it.
///
/// A reader who is uncached, and whom nobody follows, is owed nothing; then only the others are told.
pub(super) async fn notify_again<W: World>(world: &W, user: UserId, conversation: ConversationId) -> Result<(), Error> {
    let keys = [Key::of_user(Space::UnreadTotal, user), Key::followed(user)];
    let present = world.read(keys.map(Query::Presence).into()).await?;
    if !present.contains(&Value::Presence(true)) {
        let mark = world.mark_read(user, conversation, Some(Seq::ZERO)).await?;
        let Receipts::Durable(receipts) = notify_others(user, &mark) else { return Ok(()) };
        let outcomes = store_calls::commit_all(world, receipts).await?;
        return store_calls::failure(&outcomes).map_or(Ok(()), Err);
    }
    // After a crash nobody knows what the store had.
    let mut reading =
        Reading { others_unnotified: true, reader_unnotified: true, ..Reading::new(world, user, conversation) };
    reading.move_and_notify(Some(Seq::ZERO)).await?;
    reading.failures.report()
}

/// A read position that is moved, and who may not have been told yet that it has moved.
struct Reading<'w, W> {
    world: &'w W,
    user: UserId,
    conversation: ConversationId,
    others_unnotified: bool,
    /// The reader's own devices. The transaction that moves the position in the store tells them, unless the store had
    /// no position before.
    reader_unnotified: bool,
    /// The first failure of another member, such as a feed of another type. The reader gets no error, and the move is
    /// not confirmed.
    failures: FirstFailure,
}

impl<'w, W: World> Reading<'w, W> {
    fn new(world: &'w W, user: UserId, conversation: ConversationId) -> Self {
        let failures = FirstFailure::default();
        Self { world, user, conversation, others_unnotified: false, reader_unnotified: false, failures }
    }

    async fn move_and_notify(&mut self, up_to: Option<Seq>) -> Result<ReadReply, Error> {
        let Self { world, user, conversation, .. } = *self;
        let mut moves_here = 0;
        for attempt in 0..TRIES_MAX {
            let state = read_one(world, user, conversation).await?;
            let mark = world.mark_read(user, conversation, up_to).await?;
            moves_here += u64::from(mark.moved);
            // Another call, such as an earlier attempt of the reader, may have moved it without telling anybody.
            let left_behind = state.read.is_some_and(|read| read < mark.counter.read);
            self.others_unnotified |= mark.moved || left_behind;
            if state.total.is_none() {
                // Whoever fills the counters of a user of whom the store knew nothing tells nobody.
                self.reader_unnotified |= self.others_unnotified;
                fill_or_wait(world, user, attempt).await?;
                continue;
            }
            let Some(total) = self.apply(&state, &mark).await? else {
                // Somebody else changed the counters, and told nobody if they were lost and filled.
                self.reader_unnotified = true;
                continue;
            };
            // Only this call's own moves are confirmed; another call's move that was not announced stays pending.
            if moves_here > 0 && self.failures.is_empty() {
                announce::confirm(world, vec![Confirmation::Member(conversation, user, moves_here)]).await;
            }
            return Ok(ReadReply { conversation, unread: mark.counter.count, total, up_to: mark.counter.read });
        }
        Err(Error::Contended)
    }

    /// Tries once, in one round trip. Returns the new total, or `None` after a lost race.
    async fn apply(&mut self, stored: &CounterState, mark: &ReadMark) -> Result<Option<u64>, Error> {
        let Self { world, user, .. } = *self;
        let counter = &mark.counter;
        let is_added = is_added(stored.seq, counter);
        let snapshot = MemberSnapshot { user, position: stored.seq, counter: *counter, is_added };
        let missed = missed_events(world, vec![snapshot]).await?;
        let own = match rules::reconcile(user, counter.conversation, stored, Some(counter), &missed) {
            Reconciliation::Stale => return Ok(None),
            Reconciliation::Apply(transaction) => Some(transaction),
            Reconciliation::InAgreement if self.reader_unnotified => Some(rules::tell_counter(user, stored, counter)),
            Reconciliation::InAgreement => None,
        };
        let own = self.commit(own, mark).await?;
        self.others_unnotified = false;
        match own {
            Some(Outcome::Failed(error)) => return Err(error.into()),
            Some(Outcome::Refused(_)) => return Ok(None),
            Some(Outcome::Committed(_)) if is_added => {
                amend(world, vec![(user, counter.conversation)], &missed.added).await?;
            }
            Some(Outcome::Committed(_)) | None => {}
        }
        Ok(Some(new_total(stored, counter.count)))
    }

    /// Commits the reader's own transaction together with what tells the others. Returns the outcome of the former.
    async fn commit(&mut self, own: Option<Transaction>, mark: &ReadMark) -> Result<Option<Outcome>, Error> {
        let has_own = own.is_some();
        let mut transactions: Vec<Transaction> = own.into_iter().collect();
        let mut ephemeral = Vec::new();
        match notify_others(self.user, mark) {
            Receipts::Durable(receipts) if self.others_unnotified => transactions.extend(receipts),
            Receipts::Ephemeral { gate, publications } if self.others_unnotified => {
                transactions.push(gate);
                ephemeral = publications;
            }
            _ => {}
        }
        let mut outcomes = store_calls::commit_all(self.world, transactions).await?.into_iter();
        let own = if has_own { outcomes.next() } else { None };
        let outcomes: Vec<Outcome> = outcomes.collect();
        self.failures.keep_lasting(store_calls::failure(&outcomes).map_or(Ok(()), Err))?;
        if !ephemeral.is_empty() && matches!(outcomes[..], [Outcome::Committed(_)]) {
            // If this fails nobody is told this time; everything else was done.
            let _ = self.world.publish(ephemeral).await;
        }
        Ok(own)
    }
}
