//! Invariants 1, 2, 4, 5 and 6 while the world is moving: counters add up, are never negative and never counted twice;
//! positions and versions never go back; no answer is older than what was announced before the question.

use std::collections::{BTreeMap, BTreeSet};

use roost_core::error::Error;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Delivery, KeyValue, Message, Query, Transaction, Value};
use roost_core::unread::Totals;

use crate::simulation::executor::at_once;
use crate::simulation::ledger::{Counted, Ledger};
use crate::simulation::world::World;

/// Looks at what a transaction left behind.
pub(crate) fn committed(world: &World, transaction: &Transaction) {
    let touched: BTreeSet<Space> = transaction.mutations.iter().map(|mutation| mutation.key().space).collect();
    match transaction.owner {
        Owner::User(user) if touched.contains(&Space::UnreadTotal) || touched.contains(&Space::UnreadSequence) => {
            counters(world, user);
        }
        Owner::Conversation(conversation) if touched.contains(&Space::LastMessage) => version(world, conversation),
        _ => {}
    }
}

fn counters(world: &World, user: UserId) {
    let queries = vec![
        Query::Counter(Key::of_user(Space::UnreadTotal, user)),
        Query::IndexedCounters { index: Key::of_user(Space::UnreadSequence, user), space: Space::UnreadConversation },
        Query::Fields(Key::of_user(Space::UnreadSequence, user)),
        Query::Fields(Key::of_user(Space::UnreadRead, user)),
    ];
    let Ok(values) = at_once(world.store.read(queries)) else { return };
    let mut ledger = world.ledger();
    if let [Value::Counter(total), Value::Counters(counters), ..] = values.as_slice() {
        let sum: i64 = counters.iter().map(|(_, count)| count).sum();
        if sum != *total {
            ledger.violate(1, || format!("the total of {} is {total}, the sum is {sum}", world.short(user)));
        }
        if let Some((conversation, count)) = counters.iter().find(|(_, count)| *count < 0) {
            ledger.violate(2, || format!("{} has {count} unread in {conversation}", world.short(user)));
        }
        if *total < 0 {
            ledger.violate(2, || format!("{} has {total} unread", world.short(user)));
        }
    }
    let [.., seq, read] = values.as_slice() else { return };
    positions(world, &mut ledger, user, &numbers(seq), &numbers(read));
}

fn numbers(value: &Value) -> BTreeMap<ConversationId, u64> {
    let Value::Fields(fields) = value else { return BTreeMap::new() };
    fields.iter().filter_map(|(name, text)| Some((name.parse().ok()?, text.parse().ok()?))).collect()
}

/// What has been counted, or read, is never taken back by something older.
fn positions(
    world: &World,
    ledger: &mut Ledger,
    user: UserId,
    seqs: &BTreeMap<ConversationId, u64>,
    reads: &BTreeMap<ConversationId, u64>,
) {
    let known: BTreeSet<_> = ledger.counted.keys().filter(|(owner, _)| *owner == user).map(|(_, id)| *id).collect();
    for id in known.iter().chain(seqs.keys()) {
        let place = (user, *id);
        let now = Counted { seq: seqs.get(id).copied(), read: reads.get(id).copied() };
        let before = ledger.counted.insert(place, now).unwrap_or_default();
        if now.seq.is_none() {
            ledger.counted_once.remove(&place);
        }
        let back = |before: Option<u64>, now: Option<u64>| before.zip(now).is_some_and(|(before, now)| now < before);
        if back(before.seq, now.seq) || back(before.read, now.read) {
            ledger.violate(3, || {
                format!("a stale snapshot won: {} in {id} went from {before:?} to {now:?}", world.short(user))
            });
        }
    }
}

fn version(world: &World, conversation: ConversationId) {
    let query = Query::NamedFields(Key::last_message(conversation), ["version".into()].into());
    let Ok(values) = at_once(world.store.read(vec![query])) else { return };
    let Some(Value::NamedFields(fields)) = values.first() else { return };
    let now = fields.first().and_then(|field| field.as_deref()?.parse::<u64>().ok());
    let mut ledger = world.ledger();
    let before = match now {
        Some(now) => ledger.versions.insert(conversation, now),
        None => ledger.versions.remove(&conversation),
    };
    if let (Some(before), Some(now)) = (before, now)
        && now < before
    {
        ledger.violate(6, || format!("the last message of {conversation} went from version {before} to {now}"));
    }
}

/// A durable event went out.
pub(crate) fn published(world: &World, user: UserId, delivery: &Delivery) {
    if delivery.name.as_ref() != "message.new" {
        return;
    }
    let Some(news) = News::read(&delivery.payload) else { return };
    let mut ledger = world.ledger();
    ledger.announced.insert((user, news.conversation, news.seq));
    let once = ledger.counted_once.entry((user, news.conversation)).or_default().insert(news.seq);
    if !once {
        ledger.violate(5, || {
            format!("{} was told twice of message {} of {}", world.short(user), news.seq, news.conversation)
        });
    }
}

/// What an event says about a message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct News {
    /// Where.
    pub(crate) conversation: ConversationId,
    /// Which one.
    pub(crate) id: MessageId,
    /// Its place.
    pub(crate) seq: Seq,
    /// What it says; nothing when it was taken back.
    #[serde(default)]
    pub(crate) content: String,
}

impl News {
    /// From an event's payload.
    pub(crate) fn read(payload: &str) -> Option<Self> {
        serde_json::from_str(payload).ok()
    }
}

/// What was certain when a question about unread messages was asked.
pub(crate) struct Certain {
    asked_ms: u64,
    floors: BTreeMap<ConversationId, Floor>,
}

#[derive(Clone, Copy)]
struct Floor {
    announced: Seq,
    read: Seq,
}

/// Remembers what no answer from now on may fall behind.
pub(crate) fn certain(world: &World, user: UserId) -> Certain {
    let ledger = world.ledger();
    let standings = world.records.counters_of(user).into_iter();
    let floors = standings.map(|(id, counter)| {
        let read = ledger.read_applied.get(&(user, id)).copied().unwrap_or_default().max(counter.joined);
        (id, Floor { announced: counter.announced, read })
    });
    Certain { asked_ms: world.kernel.now_ms(), floors: floors.collect() }
}

/// Holds an answer against every state that the records were in since the question, or since the last announcement.
pub(crate) fn answered(world: &World, user: UserId, certain: &Certain, totals: &Totals) {
    for (conversation, count) in &totals.conversations {
        one_answered(world, user, certain, *conversation, *count);
    }
    let sum: u64 = totals.conversations.values().sum();
    if sum != totals.total {
        world.ledger().violate(1, || format!("{} was answered {totals:?}", world.short(user)));
    }
}

/// The same for one conversation.
pub(crate) fn one_answered(world: &World, user: UserId, certain: &Certain, conversation: ConversationId, count: u64) {
    let Some(floor) = certain.floors.get(&conversation) else { return };
    let Some(now) = world.records.counters_of(user).remove(&conversation) else { return };
    let mut ledger = world.ledger();
    if membership_moved(&ledger, conversation, user, certain.asked_ms) {
        return;
    }
    let possible = (floor.announced.0..=now.seq.0)
        .flat_map(|seq| (floor.read.0..=now.read.0).map(move |read| (Seq(read), Seq(seq))))
        .any(|(read, seq)| ledger.unread_at(user, conversation, read, seq) == count);
    if !possible {
        ledger.violate(4, || {
            format!(
                "{} was answered {count} unread in {conversation}: announced up to {} and read up to {} before the \
                 question, the records now say {now:?}",
                world.short(user),
                floor.announced,
                floor.read
            )
        });
    }
}

/// A membership that moved a moment ago may not have reached the counters yet.
fn membership_moved(ledger: &Ledger, conversation: ConversationId, user: UserId, asked_ms: u64) -> bool {
    const SETTLES_WITHIN_MS: u64 = 120_000;
    ledger.moved_ms.get(&(conversation, user)).is_some_and(|moved_ms| moved_ms + SETTLES_WITHIN_MS > asked_ms)
}

/// Holds an answered last message against every state since the question, or since the last announcement.
pub(crate) fn last_answered(
    world: &World,
    user: UserId,
    certain: &Certain,
    conversation: ConversationId,
    answer: &Result<Message, Error>,
) {
    let answered = match answer {
        Ok(message) => Some(message.id),
        Err(Error::NoMessage) => None,
        Err(_) => return,
    };
    let Some(floor) = certain.floors.get(&conversation) else { return };
    let Some(now) = world.records.counters_of(user).remove(&conversation) else { return };
    let mut ledger = world.ledger();
    if membership_moved(&ledger, conversation, user, certain.asked_ms) {
        return;
    }
    let mut possible = (floor.announced.0..=now.seq.0).map(|seq| ledger.last_at(conversation, now.joined, Seq(seq)));
    if !possible.any(|message| message == answered) {
        ledger.violate(6, || {
            format!(
                "{} was answered {answered:?} as the last message of {conversation}, which had been announced up to {}",
                world.short(user),
                floor.announced
            )
        });
    }
}
