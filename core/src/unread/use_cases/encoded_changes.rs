//! Loads the changes that some users may not have received yet, and encodes each of them once.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::ids::{ConversationId, Seq};
use crate::limits::{CHANGES_BYTES_MAX, LIST_MAX};
use crate::port::{ChangeRange, Counter, World};
use crate::unread::rules::{EncodedChanges, encode_newest, notified_up_to};

/// Loads the changes between each stored position and its snapshot. If they are more than the records answer, or larger
/// than [`CHANGES_BYTES_MAX`], the oldest of some conversations are left out, and a `resync` takes their place.
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
    let mut bytes_left = CHANGES_BYTES_MAX;
    for chunk in ranges.chunks(LIST_MAX) {
        if bytes_left == 0 {
            break;
        }
        for (range, changes) in chunk.iter().zip(world.changes(chunk.to_vec()).await?) {
            let (changes, left) = encode_newest(&changes, bytes_left);
            bytes_left = left;
            encoded.insert(range.conversation, changes);
        }
    }
    Ok(encoded)
}
