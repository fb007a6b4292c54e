//! Loads the changes that users may not have been told, encoded once for everybody.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::ids::{ConversationId, Seq};
use crate::limits::LIST_MAX;
use crate::port::{ChangeRange, Counter, World};
use crate::unread::rules::{self, Step, Steps};

/// Events of the changes that somebody may not have been told, one encoding for all.
pub(crate) async fn steps<W: World>(world: &W, untold: Vec<(Option<Seq>, Counter)>) -> Result<Steps, Error> {
    let mut ranges: BTreeMap<ConversationId, ChangeRange> = BTreeMap::new();
    for (position, counter) in untold {
        let after = rules::told_up_to(position, &counter);
        if after < counter.seq {
            let conversation = counter.conversation;
            let range = ranges.entry(conversation).or_insert(ChangeRange { conversation, after, up_to: counter.seq });
            range.after = range.after.min(after);
            range.up_to = range.up_to.max(counter.seq);
        }
    }
    let ranges: Vec<_> = ranges.into_values().collect();
    let mut steps = Steps::new();
    for chunk in ranges.chunks(LIST_MAX) {
        for (range, changes) in chunk.iter().zip(world.changes(chunk.to_vec()).await?) {
            steps.insert(range.conversation, changes.iter().map(Step::from).collect());
        }
    }
    Ok(steps)
}
