//! Compares one user, or one conversation, on both sides: which values differ, and what could explain the difference.
//!
//! The records are always read before the store, so their side is the older one.

use std::collections::{BTreeMap, BTreeSet};

use crate::consistency::{Finding, FindingKind};
use crate::ids::{ConversationId, Seq, UserId};
use crate::port::{Counter, LastMessage};
use crate::stored_text::signed;

/// A user's counters in the store, read at one instant.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredCounters {
    pub(crate) total: i64,
    pub(crate) counts: BTreeMap<ConversationId, i64>,
    pub(crate) seqs: BTreeMap<ConversationId, Seq>,
    pub(crate) reads: BTreeMap<ConversationId, Seq>,
}

/// What could explain a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Explanation {
    /// Nothing: both sides were read at the same positions.
    None,
    /// The store changed after the records were read.
    StoreAhead,
    /// An announcement in progress will change the store.
    StoreBehind,
}

/// A difference, and what could explain it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suspicion {
    pub(crate) finding: Finding,
    pub(crate) explanation: Explanation,
}

/// Compares a cached user. Also returns the number of conversations that are behind because a change is not announced
/// yet.
pub(crate) fn compare_user(user: UserId, stored: &StoredCounters, counters: &[Counter]) -> (Vec<Suspicion>, u64) {
    let finding = |kind, conversation, stored, records| Finding {
        kind,
        user: Some(user),
        conversation,
        stored,
        records,
        repaired: false,
    };
    let mut suspicions = Vec::new();
    let mut pending = 0;
    if stored.counts.values().sum::<i64>() != stored.total {
        let recorded: u64 = counters.iter().map(|counter| counter.count).sum();
        let finding = finding(FindingKind::Total, None, Some(stored.total), Some(signed(recorded)));
        suspicions.push(Suspicion { finding, explanation: Explanation::None });
    }
    for counter in counters {
        match compare_counter(stored, counter) {
            CounterComparison::Agrees => {}
            CounterComparison::Pending => pending += 1,
            CounterComparison::Differs(kind, explanation, stored, recorded) => {
                let finding = finding(kind, Some(counter.conversation), stored, Some(recorded));
                suspicions.push(Suspicion { finding, explanation });
            }
        }
    }
    let member_of: BTreeSet<ConversationId> = counters.iter().map(|counter| counter.conversation).collect();
    for (conversation, seq) in &stored.seqs {
        if !member_of.contains(conversation) {
            let finding = finding(FindingKind::Membership, Some(*conversation), Some(signed(seq.0)), None);
            suspicions.push(Suspicion { finding, explanation: Explanation::StoreBehind });
        }
    }
    (suspicions, pending)
}

enum CounterComparison {
    Agrees,
    /// The store is behind, because the change has not been announced to every member yet.
    Pending,
    Differs(FindingKind, Explanation, Option<i64>, i64),
}

fn compare_counter(stored: &StoredCounters, counter: &Counter) -> CounterComparison {
    let id = &counter.conversation;
    let Some(seq) = stored.seqs.get(id) else {
        // Without a position nothing was announced to this user, unless a change since the user joined was confirmed as
        // announced to every member.
        let announced = counter.announced > counter.joined;
        return if announced { differs(FindingKind::Position, None, counter.seq) } else { CounterComparison::Agrees };
    };
    if *seq > counter.seq || *seq < counter.announced {
        return differs(FindingKind::Position, Some(*seq), counter.seq);
    }
    if *seq < counter.seq {
        return CounterComparison::Pending;
    }
    match stored.reads.get(id) {
        Some(read) if *read == counter.read => {}
        read => return differs(FindingKind::Read, read.copied(), counter.read),
    }
    let recorded = signed(counter.count);
    match stored.counts.get(id).copied() {
        Some(count) if count == recorded => CounterComparison::Agrees,
        Some(count) => CounterComparison::Differs(FindingKind::Count, Explanation::None, Some(count), recorded),
        None => CounterComparison::Differs(FindingKind::Counter, Explanation::None, None, recorded),
    }
}

fn differs(kind: FindingKind, stored: Option<Seq>, records: Seq) -> CounterComparison {
    let explanation =
        if stored.is_some_and(|seq| seq > records) { Explanation::StoreAhead } else { Explanation::StoreBehind };
    CounterComparison::Differs(kind, explanation, stored.map(|seq| signed(seq.0)), signed(records.0))
}

/// The state of a user, or of a conversation, whose keys cannot be read.
pub(crate) fn unreadable(user: Option<UserId>, conversation: Option<ConversationId>) -> Suspicion {
    let kind = FindingKind::Unreadable;
    let finding = Finding { kind, user, conversation, stored: None, records: None, repaired: false };
    Suspicion { finding, explanation: Explanation::None }
}

/// Compares a cached last message with the records.
pub(crate) fn compare_last_message(cached: &LastMessage, recorded: &LastMessage) -> Option<Suspicion> {
    let explanation = match cached.version.cmp(&recorded.version) {
        std::cmp::Ordering::Less => Explanation::StoreBehind,
        std::cmp::Ordering::Greater => Explanation::StoreAhead,
        std::cmp::Ordering::Equal if cached.message == recorded.message => return None,
        std::cmp::Ordering::Equal => Explanation::None,
    };
    let finding = Finding {
        kind: FindingKind::LastMessage,
        user: None,
        conversation: Some(cached.conversation),
        stored: Some(signed(cached.version.0)),
        records: Some(signed(recorded.version.0)),
        repaired: false,
    };
    Some(Suspicion { finding, explanation })
}
