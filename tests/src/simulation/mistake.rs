//! Mistakes that people make in systems like this one, each planted so that the simulation can be seen to catch it.
//!
//! Most tamper with the transactions that the rules ask for, or with what the store answers; the others stand where
//! the mistake would be made: in the hub, the client, the ports.

use std::collections::BTreeMap;

use roost_core::error::Error;
use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{
    Check, KeyValue, Mutation, Outcome, Publication, Query, Records, StoreError, Transaction, Value,
};
use roost_core::unread::Totals;

use super::executor::at_once;
use super::port::Port;
use super::world::World;

/// One planted mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A message adds one to counters, whether they are there or not and whatever was counted before.
    BlindIncrement,
    /// Reading sets the counter to zero, instead of saying up to where.
    SetZeroOnRead,
    /// A snapshot from the records replaces counters without looking at positions.
    SnapshotWithoutPositions,
    /// A sweep takes users out of the deadlines before it has dealt with them.
    PopBeforeProcess,
    /// Whoever writes the last message last wins.
    LastMessageWithoutNewerWins,
    /// Going offline takes no generation.
    OfflineWithoutGeneration,
    /// A snapshot moves the position past messages that nobody has announced yet.
    SnapshotSwallowsAnnouncement,
    /// A user goes offline when one device leaves or a deadline passes, without a look at the other devices.
    OfflineWithoutRecheck,
    /// Events go out after the transaction and not in it.
    PublishOutsideTransaction,
    /// Cold counters are filled by everybody at once, and whoever comes last wins.
    FillWithoutLease,
    /// A missing counter is taken for zero.
    MissingIsZero,
    /// What the feed no longer holds is left out of a replay.
    ReplayInPart,
    /// What arrives after a hole is delivered at once.
    DeliverPastAHole,
    /// A client takes the state first and the position afterwards.
    StateBeforePosition,
    /// A retry makes up a new id.
    NewIdOnRetry,
    /// Announcements that a crash interrupted are never taken up again.
    NeverRecover,
}

impl Mistake {
    /// Every mistake.
    pub const ALL: [Self; 16] = [
        Self::BlindIncrement,
        Self::SetZeroOnRead,
        Self::SnapshotWithoutPositions,
        Self::PopBeforeProcess,
        Self::LastMessageWithoutNewerWins,
        Self::OfflineWithoutGeneration,
        Self::SnapshotSwallowsAnnouncement,
        Self::OfflineWithoutRecheck,
        Self::PublishOutsideTransaction,
        Self::FillWithoutLease,
        Self::MissingIsZero,
        Self::ReplayInPart,
        Self::DeliverPastAHole,
        Self::StateBeforePosition,
        Self::NewIdOnRetry,
        Self::NeverRecover,
    ];
}

/// Events that leave their transaction: its place in the call, and what was to be published.
pub(crate) type Loose = Vec<(usize, Vec<Publication>)>;

/// Changes the transactions of one call as the planted mistake would.
pub(crate) fn tamper(world: &World, transactions: &mut [Transaction]) -> Loose {
    let Some(mistake) = world.mistake else { return Loose::new() };
    let mut loose = Loose::new();
    for (place, transaction) in transactions.iter_mut().enumerate() {
        match mistake {
            Mistake::BlindIncrement if adds_unread(transaction) => transaction.checks.clear(),
            Mistake::SnapshotWithoutPositions if sets_unread(transaction) => transaction.checks.clear(),
            Mistake::LastMessageWithoutNewerWins => drop_checks(transaction, Space::LastMessage),
            Mistake::OfflineWithoutGeneration if goes_offline(transaction) => without_generation(transaction),
            Mistake::SnapshotSwallowsAnnouncement if sets_unread(transaction) => {
                transaction.publications.retain(|event| event.name.as_ref() == "unread.update");
            }
            Mistake::OfflineWithoutRecheck => {
                drop_checks(transaction, Space::Devices);
                drop_checks(transaction, Space::Online);
            }
            Mistake::FillWithoutLease => {
                drop_checks(transaction, Space::UnreadLease);
                if sets_unread(transaction) {
                    drop_checks(transaction, Space::UnreadTotal);
                }
            }
            Mistake::PublishOutsideTransaction => {
                if let Owner::User(user) = transaction.owner {
                    let events = std::mem::take(&mut transaction.publications).into_iter();
                    loose.push((place, events.map(|event| Publication { user, event }).collect()));
                }
            }
            _ => {}
        }
    }
    loose
}

fn adds_unread(transaction: &Transaction) -> bool {
    let adds =
        |mutation: &Mutation| matches!(mutation, Mutation::Add { key, .. } if key.space == Space::UnreadConversation);
    transaction.mutations.iter().any(adds)
}

fn sets_unread(transaction: &Transaction) -> bool {
    let sets =
        |mutation: &Mutation| matches!(mutation, Mutation::Set(key, ..) if key.space == Space::UnreadConversation);
    transaction.mutations.iter().any(sets)
}

fn drop_checks(transaction: &mut Transaction, space: Space) {
    transaction.checks.retain(|check| check.key().space != space);
}

fn goes_offline(transaction: &Transaction) -> bool {
    let offline = ("status".into(), "offline".into());
    let sets = |mutation: &Mutation| matches!(mutation, Mutation::SetFields(_, fields) if fields.contains(&offline));
    transaction.mutations.iter().any(sets)
}

fn without_generation(transaction: &mut Transaction) {
    drop_checks(transaction, Space::Presence);
    for mutation in &mut transaction.mutations {
        if let Mutation::SetFields(_, fields) = mutation {
            fields.retain(|(name, _)| name != "generation");
        }
    }
}

/// Changes what the store answered as the planted mistake would.
pub(crate) fn answered(world: &World, asked: &[Query], values: &mut [Value]) {
    for (query, value) in asked.iter().zip(values) {
        match query {
            Query::OrderedRange { key, .. } if world.makes(Mistake::PopBeforeProcess) => pop(world, key, value),
            Query::Fields(key) if world.makes(Mistake::OfflineWithoutRecheck) && key.space == Space::Devices => {
                *value = Value::Missing;
            }
            _ => {}
        }
    }
}

fn pop(world: &World, key: &Key, members: &Value) {
    let Value::Ordered(members) = members else { return };
    let mut transaction = Transaction::new(key.owner);
    for (member, _) in members {
        transaction = transaction.mutate(Mutation::OrderedRemove(key.clone(), member.clone().into()));
    }
    at_once(world.store.commit(vec![transaction])).ok();
}

/// Reading as it is often written: take what the counter holds off the total, set it to zero.
pub(crate) async fn mark_read(
    port: &Port,
    user: UserId,
    conversation: ConversationId,
    up_to: Option<Seq>,
) -> Result<(), Error> {
    port.mark_read(user, conversation, up_to).await?;
    let counter = Key::unread_conversation(user, conversation);
    let total = Key::of_user(Space::UnreadTotal, user);
    let values = port.read(vec![Query::Counter(counter.clone())]).await?;
    let Some(Value::Counter(count)) = values.first() else { return Ok(()) };
    let transaction = Transaction::new(Owner::User(user))
        .check(Check::Present(counter.clone()))
        .mutate(Mutation::Set(counter, b"0".to_vec(), None))
        .mutate(Mutation::Add { key: total, delta: -count, floor: Some(0) });
    match port.commit(vec![transaction]).await?.first() {
        Some(Outcome::Failed(error @ StoreError::Unavailable { .. })) => Err(error.clone().into()),
        _ => Ok(()),
    }
}

/// The counters as they stand, whatever is missing.
pub(crate) async fn totals(port: &Port, user: UserId) -> Result<Totals, Error> {
    let index = Key::of_user(Space::UnreadSequence, user);
    let query = Query::IndexedCounters { index, space: Space::UnreadConversation };
    let values = port.read(vec![query]).await?;
    let Some(Value::Counters(counters)) = values.into_iter().next() else { return Ok(Totals::default()) };
    let named = counters.iter().filter_map(|(item, count)| Some((item.id()?, count.unsigned_abs())));
    let mut conversations: BTreeMap<_, _> = named.collect();
    for conversation in port.world.records.conversations_of(user) {
        conversations.entry(conversation).or_default();
    }
    Ok(Totals { total: conversations.values().sum(), conversations })
}
