//! Loads the changes that some users may not have received yet, and encodes each of them once.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::ids::{ConversationId, Seq};
use crate::limits::LIST_MAX;
use crate::port::{ChangeRange, Counter, World};
use crate::unread::rules::{EncodedChange, EncodedChanges, notified_up_to};

/// Loads the changes between each stored position and its snapshot.
pub(crate) async fn encoded_changes<W: World>(
    world: &W,
    snapshots: Vec<(Option<Seq>, Counter)>,
) -> Result<EncodedChanges, Error> {
    let mut ranges: BTreeMap<ConversationId, ChangeRange> = BTreeMap::new();
    for (position, counter) in snapshots {
        let after = notified_up_to(position, &counter);
        if after < counter.seq {
            let conversation = counter.conversation;
            let range = ranges.entry(conversation).or_insert(ChangeRange { conversation, after, up_to: counter.seq });
            range.after = range.after.min(after);
            range.up_to = range.up_to.max(counter.seq);
        }
    }
    let ranges: Vec<_> = ranges.into_values().collect();
    let mut encoded = EncodedChanges::new();
    for chunk in ranges.chunks(LIST_MAX) {
        for (range, changes) in chunk.iter().zip(world.changes(chunk.to_vec()).await?) {
            encoded.insert(range.conversation, changes.iter().map(EncodedChange::from).collect());
        }
    }
    Ok(encoded)
}
