//! Planted bugs: common errors in systems like this one. Tests check that the simulation catches each of them.
//!
//! Most of them change the transactions that the rules ask for, or the answers of the store. The others are in the code
//! where the error would be made: sessions, client, ports.

use std::collections::BTreeMap;

use roost_core::error::Error;
use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{
    Check, Document, Event, KeyValue, Mutation, Outcome, Publication, Query, Records, StoreError, Transaction, Value,
};
use roost_core::time::Timestamp;
use roost_core::unread::Totals;

use super::deletions::{announces_deletion, is_about_reading, takes_unread};
use super::executor::complete_now;
use super::oracle::{presence, screen};
use super::port::Port;
use super::world::World;

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// A message adds one to the counters, whether or not they exist and whatever was counted before.
    BlindIncrement,
    /// Marking as read sets the counter to zero instead of passing a position.
    SetZeroOnRead,
    /// A snapshot from the records replaces counters without comparing positions.
    SnapshotWithoutPositions,
    /// A sweep removes users from the deadlines before it has processed them.
    PopBeforeProcess,
    /// The last writer of the last message wins, whatever its sequence.
    LastMessageWithoutNewerWins,
    /// Going offline does not take a generation.
    OfflineWithoutGeneration,
    /// A snapshot moves the position past messages that are not announced yet.
    SnapshotSwallowsAnnouncement,
    /// A user goes offline when one device leaves or one deadline passes, without a check of the other devices.
    OfflineWithoutRecheck,
    /// Events are published after the transaction instead of in it.
    PublishOutsideTransaction,
    /// Several callers fill missing counters at the same time, and the last one wins.
    FillWithoutLease,
    /// A missing counter is treated as zero.
    MissingIsZero,
    /// A replay leaves out events that the feed no longer holds.
    ReplayInPart,
    /// An event after a gap is delivered at once.
    DeliverPastAHole,
    /// A client fetches the state first and the position afterwards.
    StateBeforePosition,
    /// A retry uses a new id.
    NewIdOnRetry,
    /// Announcements that a crash interrupted are never resumed.
    NeverRecover,
    /// The next version of the functions writes a field under another name than the version that runs beside it.
    RenamedField,
    /// A change is written first, and the named users are notified in a second step.
    NotifyInASecondStep,
    /// An entry of the outbox is delivered without a receipt.
    DeliverWithoutReceipt,
    /// A deletion takes one from the counters, whatever was counted before.
    DeletionCountsTwice,
    /// A deletion does not check what the member has read by now.
    DeletionIgnoresReading,
    /// A sweep after an outage of the store takes everybody offline who could not send a heartbeat.
    DepartAfterOutage,
    /// A sweep takes everybody offline who is connected to a host that is cut off from the store alone.
    DepartDuringCut,
    /// A deletion takes one from the counters, and no client is told.
    DeletionWithoutUpdate,
    /// New members are not notified.
    JoinWithoutEvent,
    /// Members who were removed are not notified.
    LeaveWithoutEvent,
    /// The other members are not told who came and who left.
    MembersWithoutEvent,
    /// The user's other devices are not told of a contact.
    ContactWithoutEvent,
    /// Whoever may not see a user any more is not told.
    BlockWithoutEvent,
    /// Whoever may see a user from now on is not told that the user is online.
    ShowWithoutEvent,
    /// The reader's own devices are not told that the read position has moved.
    ReadWithoutUpdate,
    /// The other members are not told that the read position has moved.
    ReceiptWithoutEvent,
    /// A transaction does not check the total from which it has computed the one that it publishes.
    UncheckedTotal,
}

impl PlantedBug {
    /// All planted bugs.
    pub const ALL: [Self; 33] = [
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
        Self::RenamedField,
        Self::NotifyInASecondStep,
        Self::DeliverWithoutReceipt,
        Self::DeletionCountsTwice,
        Self::DeletionIgnoresReading,
        Self::DepartAfterOutage,
        Self::DepartDuringCut,
        Self::DeletionWithoutUpdate,
        Self::JoinWithoutEvent,
        Self::LeaveWithoutEvent,
        Self::MembersWithoutEvent,
        Self::ContactWithoutEvent,
        Self::BlockWithoutEvent,
        Self::ShowWithoutEvent,
        Self::ReadWithoutUpdate,
        Self::ReceiptWithoutEvent,
        Self::UncheckedTotal,
    ];
}

/// Events that are taken out of their transaction: its index in the call, and the transaction with these events.
pub(crate) type DetachedEvents = Vec<(usize, Transaction)>;

/// The events of the transactions that were carried out.
pub(crate) fn detached(loose: &[(usize, Transaction)], outcomes: &[Outcome]) -> Vec<Publication> {
    let mut publications = Vec::new();
    for (index, transaction) in loose {
        if let (Owner::User(user), Outcome::Committed(results)) = (transaction.owner, &outcomes[*index]) {
            let events = transaction.completed_publications(results).into_owned().into_iter();
            publications.extend(events.map(|event| Publication { user, event }));
        }
    }
    publications
}

/// Changes the transactions of one call as the planted bug would.
pub(crate) fn tamper(world: &World, transactions: &mut [Transaction]) -> DetachedEvents {
    let Some(planted_bug) = world.planted_bug else { return DetachedEvents::new() };
    let mut loose = DetachedEvents::new();
    for (index, transaction) in transactions.iter_mut().enumerate() {
        match planted_bug {
            PlantedBug::BlindIncrement if adds_unread(transaction) => transaction.checks.clear(),
            PlantedBug::DeletionCountsTwice if takes_unread(transaction) => {
                drop_checks(transaction, Space::UnreadSequence);
            }
            PlantedBug::DeletionIgnoresReading if announces_deletion(transaction) => {
                transaction.checks.retain(|check| !is_about_reading(check));
            }
            PlantedBug::SnapshotWithoutPositions if sets_unread(transaction) => transaction.checks.clear(),
            PlantedBug::LastMessageWithoutNewerWins => drop_checks(transaction, Space::LastMessage),
            PlantedBug::OfflineWithoutGeneration if goes_offline(transaction) => without_generation(transaction),
            PlantedBug::SnapshotSwallowsAnnouncement if sets_unread(transaction) => {
                keep_events(transaction, |event| event.name.as_ref() == "unread.update");
            }
            PlantedBug::OfflineWithoutRecheck => {
                drop_checks(transaction, Space::Devices);
                drop_checks(transaction, Space::Online);
            }
            PlantedBug::FillWithoutLease => {
                drop_checks(transaction, Space::UnreadLease);
                if sets_unread(transaction) {
                    drop_checks(transaction, Space::UnreadTotal);
                }
            }
            PlantedBug::DeletionWithoutUpdate if takes_unread(transaction) => drop_event(transaction, "unread.update"),
            PlantedBug::JoinWithoutEvent => drop_event(transaction, "conversation.added"),
            PlantedBug::LeaveWithoutEvent => drop_event(transaction, "conversation.removed"),
            PlantedBug::MembersWithoutEvent => drop_event(transaction, "conversation.members"),
            PlantedBug::ContactWithoutEvent => drop_event(transaction, "contact.update"),
            PlantedBug::ReadWithoutUpdate if moves_read(transaction) => drop_event(transaction, "unread.update"),
            PlantedBug::ReceiptWithoutEvent => drop_event(transaction, "message.read_update"),
            PlantedBug::UncheckedTotal if transaction.publications.iter().any(screen::has_counters) => {
                transaction.checks.retain(|check| !is_exact_total(check));
            }
            PlantedBug::DeliverWithoutReceipt => {
                let is_receipt = |item: &String| item.starts_with("receipt.");
                transaction.checks.retain(|check| !check.key().item.as_ref().is_some_and(is_receipt));
            }
            PlantedBug::PublishOutsideTransaction => {
                if let Owner::User(_) = transaction.owner {
                    loose.push((index, transaction.clone()));
                    keep_events(transaction, |_| false);
                }
            }
            _ => {}
        }
    }
    loose
}

fn drop_event(transaction: &mut Transaction, name: &str) {
    keep_events(transaction, |event| event.name.as_ref() != name);
}

/// Keeps these events, with the results that they carry.
fn keep_events(transaction: &mut Transaction, is_kept: impl Fn(&Event) -> bool) {
    let kept: Vec<bool> = transaction.publications.iter().map(&is_kept).collect();
    transaction.publications.retain(is_kept);
    transaction.published_results.retain_mut(|published| {
        let place = published.publication as usize;
        published.publication = kept[..place].iter().filter(|kept| **kept).count() as u32;
        kept[place]
    });
}

fn is_exact_total(check: &Check) -> bool {
    matches!(check, Check::Equals(key, _) if key.space == Space::UnreadTotal)
}

/// Whether the planted bug keeps this event from whoever may not see a user any more, or may see the user from now on.
pub(crate) fn is_withheld(world: &World, publication: &Publication) -> bool {
    let event = &publication.event;
    match (world.planted_bug, event.name.as_ref()) {
        (Some(PlantedBug::BlockWithoutEvent), "user.offline") => event.payload.contains("\"last_seen\":null"),
        // A transition that was announced is not announced again, so this is for somebody who sees the user only now.
        (Some(PlantedBug::ShowWithoutEvent), "user.online") => presence::is_announced_online(world, &event.payload),
        _ => false,
    }
}

/// Whether the transaction moves a read position that the store had.
fn moves_read(transaction: &Transaction) -> bool {
    let written = transaction.mutations.iter().filter_map(|mutation| match mutation {
        Mutation::SetFields(key, fields) if key.space == Space::UnreadRead => Some(fields),
        _ => None,
    });
    written.flatten().any(|(field, read)| {
        let is_another = |check: &Check| match check {
            Check::FieldEquals(key, name, Some(before)) => {
                key.space == Space::UnreadRead && name == field && before != read
            }
            _ => false,
        };
        transaction.checks.iter().any(is_another)
    })
}

fn adds_unread(transaction: &Transaction) -> bool {
    let adds = |mutation: &Mutation| matches!(mutation, Mutation::Add { key, delta, .. } if key.space == Space::UnreadConversation && *delta > 0);
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

/// Changes the answers of the store as the planted bug would.
pub(crate) fn answered(world: &World, asked: &[Query], values: &mut [Value]) {
    for (query, value) in asked.iter().zip(values) {
        match query {
            Query::OrderedRange { key, .. } if world.has_bug(PlantedBug::PopBeforeProcess) => pop(world, key, value),
            Query::Fields(key) if world.has_bug(PlantedBug::OfflineWithoutRecheck) && key.space == Space::Devices => {
                *value = Value::Missing;
            }
            Query::NamedFields(key, _) if world.has_bug(PlantedBug::DepartAfterOutage) && is_note(key) => {
                seem_recent(value, world.now());
            }
            _ => {}
        }
    }
}

/// Hides the document in which hosts that are cut off have noted it. An outage for all hosts is a cut of each of them.
pub(crate) fn documents(world: &World, documents: &mut [Option<Document>]) {
    if world.has_bug(PlantedBug::DepartDuringCut) || world.has_bug(PlantedBug::DepartAfterOutage) {
        documents.fill(None);
    }
}

/// Makes the note of a sweep look as if it had just been written, if there is one.
fn seem_recent(note: &mut Value, now: Timestamp) {
    let Value::NamedFields(fields) = note else { return };
    if let Some(swept_at @ Some(_)) = fields.first_mut() {
        *swept_at = Some(now.0.to_string());
    }
}

fn is_note(key: &Key) -> bool {
    key.space == Space::PresenceSweep
}

fn pop(world: &World, key: &Key, members: &Value) {
    let Value::Ordered(members) = members else { return };
    let mut transaction = Transaction::new(key.owner);
    for (member, _) in members {
        transaction = transaction.mutate(Mutation::OrderedRemove(key.clone(), member.clone().into()));
    }
    complete_now(world.store.commit(vec![transaction])).ok();
}

/// Marking as read as it is often written: subtract the counter from the total, then set it to zero.
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

/// The counters as they are stored; missing ones are ignored.
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
