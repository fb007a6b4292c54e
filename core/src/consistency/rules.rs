//! One user, or one conversation, on both sides: what disagrees, and what could explain it.
//!
//! The records' side is always the older one: it was read before the store's.

use std::collections::BTreeMap;

use super::{Finding, What};
use crate::ids::{ConversationId, Seq, UserId};
use crate::port::{Counter, LastMessage};

/// A user's counters in the store, from one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) total: i64,
    pub(crate) counts: BTreeMap<ConversationId, i64>,
    pub(crate) seqs: BTreeMap<ConversationId, Seq>,
    pub(crate) reads: BTreeMap<ConversationId, Seq>,
}

/// What could explain a disagreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Nothing: both sides were seen at the same positions.
    None,
    /// The store moved on after the records were read.
    Ahead,
    /// The store is about to follow.
    Behind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suspicion {
    pub(crate) finding: Finding,
    pub(crate) doubt: Doubt,
}

/// Compares a warm user. Also answers how many conversations are behind because a change is not announced yet.
pub(crate) fn user(user: UserId, stored: &Stored, counters: &[Counter]) -> (Vec<Suspicion>, u64) {
    let about = |what, conversation, stored, records| Finding {
        what,
        user: Some(user),
        conversation,
        stored,
        records,
        repaired: false,
    };
    let mut suspicions = Vec::new();
    let mut pending = 0;
    if stored.counts.values().sum::<i64>() != stored.total {
        let truth: u64 = counters.iter().map(|counter| counter.count).sum();
        let finding = about(What::Total, None, Some(stored.total), Some(signed(truth)));
        suspicions.push(Suspicion { finding, doubt: Doubt::None });
    }
    for counter in counters {
        match standing(stored, counter) {
            Comparison::Agrees => {}
            Comparison::Pending => pending += 1,
            Comparison::Differs(what, doubt, held, truth) => {
                let finding = about(what, Some(counter.conversation), held, Some(truth));
                suspicions.push(Suspicion { finding, doubt });
            }
        }
    }
    for (conversation, seq) in &stored.seqs {
        if !counters.iter().any(|counter| counter.conversation == *conversation) {
            let finding = about(What::Membership, Some(*conversation), Some(signed(seq.0)), None);
            suspicions.push(Suspicion { finding, doubt: Doubt::Behind });
        }
    }
    (suspicions, pending)
}

enum Comparison {
    Agrees,
    /// Behind, because not everybody has been told yet.
    Pending,
    Differs(What, Doubt, Option<i64>, i64),
}

fn standing(stored: &Stored, counter: &Counter) -> Comparison {
    let id = &counter.conversation;
    let Some(seq) = stored.seqs.get(id) else {
        // Nobody has told this user of the conversation yet, unless all members were told of something since it joined.
        let told = counter.announced > counter.joined;
        return if told { differs(What::Position, None, counter.seq) } else { Comparison::Agrees };
    };
    if *seq > counter.seq || *seq < counter.announced {
        return differs(What::Position, Some(*seq), counter.seq);
    }
    if *seq < counter.seq {
        return Comparison::Pending;
    }
    match stored.reads.get(id) {
        Some(read) if *read == counter.read => {}
        read => return differs(What::Read, read.copied(), counter.read),
    }
    let truth = signed(counter.count);
    match stored.counts.get(id).copied() {
        Some(count) if count == truth => Comparison::Agrees,
        Some(count) => Comparison::Differs(What::Count, Doubt::None, Some(count), truth),
        None => Comparison::Differs(What::Counter, Doubt::None, None, truth),
    }
}

fn differs(what: What, stored: Option<Seq>, records: Seq) -> Comparison {
    let doubt = if stored.is_some_and(|seq| seq > records) { Doubt::Ahead } else { Doubt::Behind };
    Comparison::Differs(what, doubt, stored.map(|seq| signed(seq.0)), signed(records.0))
}

/// Compares a cached last message.
pub(crate) fn last_message(cached: &LastMessage, truth: &LastMessage) -> Option<Suspicion> {
    let doubt = match cached.version.cmp(&truth.version) {
        std::cmp::Ordering::Less => Doubt::Behind,
        std::cmp::Ordering::Greater => Doubt::Ahead,
        std::cmp::Ordering::Equal if cached.message == truth.message => return None,
        std::cmp::Ordering::Equal => Doubt::None,
    };
    let finding = Finding {
        what: What::LastMessage,
        user: None,
        conversation: Some(cached.conversation),
        stored: Some(signed(cached.version.0)),
        records: Some(signed(truth.version.0)),
        repaired: false,
    };
    Some(Suspicion { finding, doubt })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
