//! Invariants 1, 2, 4, 5 and 6 during a run: counters add up, are never negative, and count nothing twice; positions
//! and versions never go back; no answer is older than what was announced before the request.

use std::collections::{BTreeMap, BTreeSet};

use roost_core::error::Error;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Delivery, KeyValue, Message, Query, Transaction, Value};
use roost_core::unread::Totals;

use crate::simulation::executor::complete_now;
use crate::simulation::ground_truth::{CountedPositions, GroundTruth};
use crate::simulation::oracle::exact;
use crate::simulation::world::World;

/// Checks the state after a transaction.
pub(crate) fn committed(world: &World, transaction: &Transaction) {
    let touched: BTreeSet<Space> = transaction.mutations.iter().map(|mutation| mutation.key().space).collect();
    match transaction.owner {
        Owner::User(user) if touched.contains(&Space::UnreadTotal) || touched.contains(&Space::UnreadSequence) => {
            counters(world, user);
            exact::committed(world, user, transaction);
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
    let Ok(values) = complete_now(world.store.read(queries)) else { return };
    let mut ground_truth = world.ground_truth();
    if let [Value::Counter(total), Value::Counters(counters), ..] = values.as_slice() {
        let sum: i64 = counters.iter().map(|(_, count)| count).sum();
        if sum != *total {
            ground_truth.violate(1, || format!("the total of {} is {total}, the sum is {sum}", world.label(user)));
        }
        if let Some((conversation, count)) = counters.iter().find(|(_, count)| *count < 0) {
            ground_truth.violate(2, || format!("{} has {count} unread in {conversation}", world.label(user)));
        }
        if *total < 0 {
            ground_truth.violate(2, || format!("{} has {total} unread", world.label(user)));
        }
    }
    let [.., seq, read] = values.as_slice() else { return };
    positions(world, &mut ground_truth, user, &numbers(seq), &numbers(read));
}

fn numbers(value: &Value) -> BTreeMap<ConversationId, u64> {
    let Value::Fields(fields) = value else { return BTreeMap::new() };
    fields.iter().filter_map(|(name, text)| Some((name.parse().ok()?, text.parse().ok()?))).collect()
}

/// A counted or read position is never replaced by an older one.
fn positions(
    world: &World,
    ground_truth: &mut GroundTruth,
    user: UserId,
    seqs: &BTreeMap<ConversationId, u64>,
    reads: &BTreeMap<ConversationId, u64>,
) {
    let known: BTreeSet<_> =
        ground_truth.counted.keys().filter(|(owner, _)| *owner == user).map(|(_, id)| *id).collect();
    for id in known.iter().chain(seqs.keys()) {
        let key = (user, *id);
        let now = CountedPositions { seq: seqs.get(id).copied(), read: reads.get(id).copied() };
        let before = ground_truth.counted.insert(key, now).unwrap_or_default();
        if now.seq.is_none() {
            ground_truth.counted_once.remove(&key);
        }
        let back = |before: Option<u64>, now: Option<u64>| before.zip(now).is_some_and(|(before, now)| now < before);
        if back(before.seq, now.seq) || back(before.read, now.read) {
            ground_truth.violate(3, || {
                format!("a stale snapshot won: {} in {id} went from {before:?} to {now:?}", world.label(user))
            });
        }
    }
}

fn version(world: &World, conversation: ConversationId) {
    let query = Query::NamedFields(Key::last_message(conversation), ["version".into()].into());
    let Ok(values) = complete_now(world.store.read(vec![query])) else { return };
    let Some(Value::NamedFields(fields)) = values.first() else { return };
    let now = fields.first().and_then(|field| field.as_deref()?.parse::<u64>().ok());
    let mut ground_truth = world.ground_truth();
    let before = match now {
        Some(now) => ground_truth.versions.insert(conversation, now),
        None => ground_truth.versions.remove(&conversation),
    };
    if let (Some(before), Some(now)) = (before, now)
        && now < before
    {
        ground_truth.violate(6, || format!("the last message of {conversation} went from version {before} to {now}"));
    }
}

/// Records a published durable event.
pub(crate) fn published(world: &World, user: UserId, delivery: &Delivery) {
    if delivery.name.as_ref() != "message.new" {
        return;
    }
    let Some(payload) = MessageEvent::read(&delivery.payload) else { return };
    let mut ground_truth = world.ground_truth();
    ground_truth.announced.insert((user, payload.conversation, payload.seq));
    let once = ground_truth.counted_once.entry((user, payload.conversation)).or_default().insert(payload.seq);
    if !once {
        ground_truth.violate(5, || {
            format!("{} was notified twice of message {} of {}", world.label(user), payload.seq, payload.conversation)
        });
    }
}

/// The payload of an event about a message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct MessageEvent {
    /// The conversation of the message.
    pub(crate) conversation: ConversationId,
    /// The id of the message.
    pub(crate) id: MessageId,
    /// The sequence of the message in its conversation.
    pub(crate) seq: Seq,
    /// The content, or an empty text if the message was deleted.
    #[serde(default)]
    pub(crate) content: String,
}

impl MessageEvent {
    /// Parses the payload of an event; `None` if it is not about a message.
    pub(crate) fn read(payload: &str) -> Option<Self> {
        serde_json::from_str(payload).ok()
    }
}

/// The lower bounds of a correct answer, taken when a request about unread messages was sent.
pub(crate) struct AnswerBounds {
    asked_ms: u64,
    lower_bounds: BTreeMap<ConversationId, LowerBound>,
}

#[derive(Clone, Copy)]
struct LowerBound {
    announced: Seq,
    read: Seq,
}

/// Takes the lower bounds that no answer from now on may fall below.
pub(crate) fn answer_bounds(world: &World, user: UserId) -> AnswerBounds {
    let ground_truth = world.ground_truth();
    let counters = world.records.counters_of(user).into_iter();
    let lower_bounds = counters.map(|(id, counter)| {
        let read = ground_truth.read_applied.get(&(user, id)).copied().unwrap_or_default().max(counter.joined);
        (id, LowerBound { announced: counter.announced, read })
    });
    AnswerBounds { asked_ms: world.kernel.now_ms(), lower_bounds: lower_bounds.collect() }
}

/// Compares an answer with every state of the records since the request, or since the last announcement.
pub(crate) fn answered(world: &World, user: UserId, answer_bounds: &AnswerBounds, totals: &Totals) {
    for (conversation, count) in &totals.conversations {
        one_answered(world, user, answer_bounds, *conversation, *count);
    }
    let sum: u64 = totals.conversations.values().sum();
    if sum != totals.total {
        world.ground_truth().violate(1, || format!("{} was answered {totals:?}", world.label(user)));
    }
}

/// The same for the counter of one conversation.
pub(crate) fn one_answered(
    world: &World,
    user: UserId,
    answer_bounds: &AnswerBounds,
    conversation: ConversationId,
    count: u64,
) {
    let Some(lower_bound) = answer_bounds.lower_bounds.get(&conversation) else { return };
    let Some(now) = world.records.counters_of(user).remove(&conversation) else { return };
    let mut ground_truth = world.ground_truth();
    if membership_moved(&ground_truth, conversation, user, answer_bounds.asked_ms) {
        return;
    }
    let possible = (lower_bound.announced.0..=now.seq.0)
        .flat_map(|seq| (lower_bound.read.0..=now.read.0).map(move |read| (Seq(read), Seq(seq))))
        .any(|(read, seq)| ground_truth.unread_at(user, conversation, read, seq) == count);
    if !possible {
        ground_truth.violate(4, || {
            format!(
                "{} was answered {count} unread in {conversation}: announced up to {} and read up to {} before the \
                 question, the records now say {now:?}",
                world.label(user),
                lower_bound.announced,
                lower_bound.read
            )
        });
    }
}

/// A recent change of a membership may not have reached the counters yet.
fn membership_moved(ground_truth: &GroundTruth, conversation: ConversationId, user: UserId, asked_ms: u64) -> bool {
    const MEMBERSHIP_LAG_MS: u64 = 120_000;
    ground_truth.moved_ms.get(&(conversation, user)).is_some_and(|moved_ms| moved_ms + MEMBERSHIP_LAG_MS > asked_ms)
}

/// Compares an answered last message with every state since the request, or since the last announcement.
pub(crate) fn last_answered(
    world: &World,
    user: UserId,
    answer_bounds: &AnswerBounds,
    conversation: ConversationId,
    answer: &Result<Message, Error>,
) {
    let answered = match answer {
        Ok(message) => Some(message.id),
        Err(Error::NoMessage) => None,
        Err(_) => return,
    };
    let Some(lower_bound) = answer_bounds.lower_bounds.get(&conversation) else { return };
    let Some(now) = world.records.counters_of(user).remove(&conversation) else { return };
    let mut ground_truth = world.ground_truth();
    if membership_moved(&ground_truth, conversation, user, answer_bounds.asked_ms) {
        return;
    }
    let mut possible =
        (lower_bound.announced.0..=now.seq.0).map(|seq| ground_truth.last_at(conversation, now.joined, Seq(seq)));
    if !possible.any(|message| message == answered) {
        ground_truth.violate(6, || {
            format!(
                "{} was answered {answered:?} as the last message of {conversation}, which had been announced up to {}",
                world.label(user),
                lower_bound.announced
            )
        });
    }
}
