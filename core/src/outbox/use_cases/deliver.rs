//! Delivers entries: the events to the users' feeds, the calls to the queues of the functions.

use std::collections::BTreeMap;

use crate::outbox::entry::OutboxEntry;
use crate::outbox::mark::OutboxMark;
use crate::outbox::{OutboxEvent, OutboxStore, rules};
use crate::port::{Outcome, StoreError};
use crate::store_calls;
use crate::trigger::{self, EnqueueOutcome, Trigger};

/// Whether an entry is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryOutcome {
    Done,
    /// The store did not answer for a part of it.
    Incomplete,
}

/// Delivers entries together; the outcomes are in their order.
pub(super) async fn deliver<S: OutboxStore>(
    store: &S,
    entries: &[(OutboxMark, OutboxEntry)],
    is_late: bool,
) -> Vec<DeliveryOutcome> {
    let mut outcomes = vec![DeliveryOutcome::Done; entries.len()];
    publish(store, entries, is_late, &mut outcomes).await;
    queue(store, entries, &mut outcomes).await;
    outcomes
}

fn set_incomplete(outcomes: &mut [DeliveryOutcome], index: usize) {
    if let Some(outcome) = outcomes.get_mut(index) {
        *outcome = DeliveryOutcome::Incomplete;
    }
}

async fn publish<S: OutboxStore>(
    store: &S,
    entries: &[(OutboxMark, OutboxEntry)],
    is_late: bool,
    outcomes: &mut [DeliveryOutcome],
) {
    let (mut whose, mut transactions) = (Vec::new(), Vec::new());
    for (index, (mark, entry)) in entries.iter().enumerate() {
        for (user, transaction) in rules::deliver_all(*mark, entry, is_late) {
            whose.push((index, user));
            transactions.push(transaction);
        }
    }
    let Ok(answers) = store_calls::commit_all(store, transactions).await else {
        whose.iter().for_each(|(index, _)| set_incomplete(outcomes, *index));
        return;
    };
    for ((index, user), answer) in whose.into_iter().zip(answers) {
        match answer {
            Outcome::Committed(_) | Outcome::Refused(_) => {}
            Outcome::Failed(StoreError::Unavailable { .. }) => set_incomplete(outcomes, index),
            // This user's feed cannot take the event at all; the other users must not wait for it.
            Outcome::Failed(error) => store.report(&OutboxEvent::UserSkipped(user, &error)),
        }
    }
}

/// Queues the calls. Entries of one commit can cause the same call for different users; it is queued once.
async fn queue<S: OutboxStore>(store: &S, entries: &[(OutboxMark, OutboxEntry)], outcomes: &mut [DeliveryOutcome]) {
    let mut calls: BTreeMap<(&str, &str), (Trigger, Vec<usize>)> = BTreeMap::new();
    for (index, (_, entry)) in entries.iter().enumerate() {
        for trigger in &entry.triggers {
            let same = calls.entry((&trigger.function, &trigger.id));
            let (call, whose) = same.or_insert_with(|| (Trigger { users: Vec::new(), ..trigger.clone() }, Vec::new()));
            call.users.extend_from_slice(&trigger.users);
            whose.push(index);
        }
    }
    let (mut triggers, whose): (Vec<Trigger>, Vec<Vec<usize>>) = calls.into_values().unzip();
    triggers.iter_mut().for_each(Trigger::limit_users);
    let Ok(answers) = trigger::enqueue(store, &triggers, store.now()).await else {
        whose.iter().flatten().for_each(|index| set_incomplete(outcomes, *index));
        return;
    };
    for ((trigger, whose), answer) in triggers.iter().zip(whose).zip(answers) {
        match answer {
            EnqueueOutcome::Queued => store.report(&OutboxEvent::TriggerQueued(trigger)),
            EnqueueOutcome::Known => {}
            EnqueueOutcome::Failed(StoreError::Unavailable { .. }) => {
                whose.iter().for_each(|index| set_incomplete(outcomes, *index));
            }
            EnqueueOutcome::Full | EnqueueOutcome::Failed(_) => store.report(&OutboxEvent::TriggerDropped(trigger)),
        }
    }
}
