//! Reading: the position moves in the records, then counters follow and everybody concerned is told.

use schemars::JsonSchema;
use serde::Serialize;

use super::announce;
use crate::error::Error;
use crate::event;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::{LEASE_WAIT_MS, TRIES_MAX};
use crate::port::{Check, Confirmation, Counter, Outcome, ReadMark, RecordsError, Transaction, World};
use crate::source::{Sourced, or_records};
use crate::store_calls;
use crate::unread::rules::{self, CounterState, Settlement};
use crate::unread::{self, fill, read_one, steps};

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

/// Marks everything up to `up_to` as read (`None`: everything); never back. Two round trips to the store when warm.
///
/// While the store is away the position moves all the same; counters and announcements follow when
/// [`super::recover`] finds the move pending.
pub async fn mark_read<W: World>(
    world: &W,
    user: UserId,
    conversation: ConversationId,
    up_to: Option<Seq>,
) -> Result<Sourced<ReadReply>, Error> {
    let answer = follow(world, user, conversation, up_to, Untold::default()).await;
    or_records(world, "mark_read", answer, record(world, user, conversation, up_to)).await
}

/// The position in the records alone. Again after an attempt that broke off, which is harmless.
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

/// Tells the reader's devices and the other members how far was read, because a crash may have left it untold.
pub(super) async fn tell_again<W: World>(world: &W, user: UserId, conversation: ConversationId) -> Result<(), Error> {
    follow(world, user, conversation, Some(Seq::ZERO), Untold::EVERYBODY).await.map(|_| ())
}

async fn follow<W: World>(
    world: &W,
    user: UserId,
    conversation: ConversationId,
    up_to: Option<Seq>,
    mut untold: Untold,
) -> Result<ReadReply, Error> {
    let mut moved_here = false;
    for _ in 0..TRIES_MAX {
        let state = read_one(world, user, conversation).await?;
        let mark = world.mark_read(user, conversation, up_to).await?;
        moved_here |= mark.moved;
        // Moved by somebody who never got so far as to tell: the reader's own attempt before, perhaps.
        let left_behind = state.read.is_some_and(|read| read < mark.counter.read);
        if mark.moved || left_behind {
            untold = Untold::EVERYBODY;
        }
        if state.total.is_none() {
            if !fill(world, &[user]).await?.is_empty() {
                world.wait(LEASE_WAIT_MS).await;
            }
            continue;
        }
        if let Some(total) = apply(world, user, &state, &mark, &mut untold).await? {
            // Only the own move: what somebody else left untold stays pending.
            if moved_here {
                announce::confirm(world, vec![Confirmation::Member(conversation, user)]).await;
            }
            return Ok(ReadReply { conversation, unread: mark.counter.count, total, up_to: mark.counter.read });
        }
    }
    Err(Error::Contended)
}

/// Who has not been told yet that the position moved.
#[derive(Default)]
struct Untold {
    reader: bool,
    others: bool,
}

impl Untold {
    const EVERYBODY: Self = Self { reader: true, others: true };
}

/// Tries once, in one round trip. Answers the new total, or nothing if the race was lost.
async fn apply<W: World>(
    world: &W,
    user: UserId,
    stored: &CounterState,
    mark: &ReadMark,
    untold: &mut Untold,
) -> Result<Option<u64>, Error> {
    let counter = &mark.counter;
    let steps = steps(world, vec![(stored.seq, *counter)]).await?;
    let own = match rules::settle(user, counter.conversation, stored, Some(counter), &steps) {
        Settlement::Stale => return Ok(None),
        Settlement::Apply(transaction) => Some(transaction),
        Settlement::Settled if untold.reader => Some(rules::unmoved(user, counter.conversation, stored)),
        Settlement::Settled => None,
    };
    let total = new_total(stored, counter);
    let Some(own) = own else { return Ok(Some(total)) };
    let mut transactions = vec![tell_reader(own, user, stored, counter)];
    if untold.others {
        transactions.extend(receipts(counter.conversation, user, counter.read, &mark.members));
    }
    let mut outcomes = store_calls::commit_all(world, transactions).await?.into_iter();
    let own = outcomes.next();
    if let Some(Outcome::Failed(error)) = outcomes.find(|outcome| matches!(outcome, Outcome::Failed(_))) {
        return Err(error.into());
    }
    untold.others = false;
    match own {
        Some(Outcome::Committed(_)) => Ok(Some(total)),
        Some(Outcome::Failed(error)) => Err(error.into()),
        Some(Outcome::Refused(_)) | None => Ok(None),
    }
}

/// Tells the reader's devices what is left; the total they are told is checked to be the one that holds.
fn tell_reader(own: Transaction, user: UserId, stored: &CounterState, counter: &Counter) -> Transaction {
    let before = stored.total.unwrap_or(0).to_string().into_bytes();
    own.check(Check::Equals(Key::of_user(Space::UnreadTotal, user), before)).publish(event::unread_update(
        counter.conversation,
        counter.count,
        new_total(stored, counter),
    ))
}

/// Tells the other members how far somebody has read.
fn receipts(conversation: ConversationId, reader: UserId, up_to: Seq, members: &[UserId]) -> Vec<Transaction> {
    let event = event::read_update(conversation, reader, up_to);
    let others = members.iter().filter(|member| **member != reader);
    others.map(|member| Transaction::new(Owner::User(*member)).publish(event.clone())).collect()
}

fn new_total(stored: &CounterState, counter: &Counter) -> u64 {
    let others = stored.total.unwrap_or(0) - stored.count.unwrap_or(0);
    others.max(0).unsigned_abs() + counter.count
}
