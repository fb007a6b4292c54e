//! Judges a difference that two comparisons found.

use super::{Explanation, Suspicion};

/// The judgement about a difference after another comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Nothing explains the difference.
    Divergent,
    /// A pending announcement explains the difference.
    Pending,
    /// Another comparison is needed.
    Open,
}

/// Judges a difference from two comparisons. Between the two, the pending announcements were read: `waits` says whether
/// one of them concerns the same user and conversation, and `truncated` whether there may be more than could be read.
pub(crate) fn judge(earlier: &Suspicion, now: &Suspicion, waits: bool, truncated: bool) -> Judgement {
    let (old, new) = (&earlier.finding, &now.finding);
    match now.explanation {
        Explanation::None if earlier.explanation == Explanation::None => Judgement::Divergent,
        // The records were read again after the store had been ahead of them, and have not caught up.
        Explanation::StoreAhead if earlier.explanation == Explanation::StoreAhead && new.records < old.stored => {
            Judgement::Divergent
        }
        Explanation::StoreBehind if waits => Judgement::Pending,
        // No announcement was pending before the second comparison, and the store has not changed.
        Explanation::StoreBehind
            if earlier.explanation == Explanation::StoreBehind && !truncated && old.stored == new.stored =>
        {
            Judgement::Divergent
        }
        _ => Judgement::Open,
    }
}
