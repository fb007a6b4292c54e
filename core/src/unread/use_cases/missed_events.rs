//! Loads what some users may not have been told yet: changes, and conversations that they have become members of. Each of
//! them is loaded and encoded once for all users.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::limits::{CHANGES_BYTES_MAX, LIST_MAX};
use crate::port::{ChangeRange, ConversationQuery, Counter, World};
use crate::unread::rules::{AddedConversation, MissedEvents, encode_newest, notified_up_to};

/// A member's counter as the records hold it, and the position that the store holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemberSnapshot {
    pub(crate) user: UserId,
    pub(crate) position: Option<Seq>,
    pub(crate) counter: Counter,
    /// Whether the user's clients have to be told that the user has become a member.
    pub(crate) is_added: bool,
}

/// Loads the changes between each stored position and its snapshot, and the conversations that are added. If the changes are
/// more than the records answer, or larger than [`CHANGES_BYTES_MAX`], the oldest of some conversations are left out, and a
/// `resync` takes their place; so it does for a conversation that cannot be loaded.
pub(crate) async fn missed_events<W: World>(world: &W, snapshots: Vec<MemberSnapshot>) -> Result<MissedEvents, Error> {
    let mut ranges: BTreeMap<ConversationId, ChangeRange> = BTreeMap::new();
    let mut added: BTreeMap<ConversationId, UserId> = BTreeMap::new();
    for MemberSnapshot { user, position, counter, is_added } in snapshots {
        let (conversation, after) = (counter.conversation, notified_up_to(position, &counter));
        if is_added {
            added.entry(conversation).or_insert(user);
        }
        if after < counter.seq {
            let range = ranges.entry(conversation).or_insert(ChangeRange { conversation, after, up_to: counter.seq });
            range.after = range.after.min(after);
            range.up_to = range.up_to.max(counter.seq);
        }
    }
    let ranges: Vec<_> = ranges.into_values().collect();
    let mut missed = MissedEvents { added: load_added(world, added).await?, ..MissedEvents::default() };
    let mut bytes_left = CHANGES_BYTES_MAX;
    for chunk in ranges.chunks(LIST_MAX) {
        if bytes_left == 0 {
            break;
        }
        for (range, changes) in chunk.iter().zip(world.changes(chunk.to_vec()).await?) {
            let (changes, left) = encode_newest(&changes, bytes_left);
            bytes_left = left;
            missed.changes.insert(range.conversation, changes);
        }
    }
    Ok(missed)
}

/// Loads conversations, each as one of its members sees it. What differs between members is not used.
async fn load_added<W: World>(
    world: &W,
    added: BTreeMap<ConversationId, UserId>,
) -> Result<BTreeMap<ConversationId, AddedConversation>, Error> {
    let mut by_user: BTreeMap<UserId, Vec<ConversationId>> = BTreeMap::new();
    for (conversation, user) in added.into_iter().take(LIST_MAX) {
        by_user.entry(user).or_default().push(conversation);
    }
    let mut found = BTreeMap::new();
    for (user, ids) in by_user {
        for conversation in world.conversations(user, ConversationQuery::Named(ids)).await?.conversations {
            found.insert(conversation.id, AddedConversation { conversation, last: None });
        }
    }
    if !found.is_empty() {
        let ids = found.keys().copied().collect();
        for newest in world.last_messages(ids).await? {
            if let Some(added) = found.get_mut(&newest.conversation) {
                added.last = newest.message;
            }
        }
    }
    Ok(found)
}
