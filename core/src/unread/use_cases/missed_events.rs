//! Loads what some users may not have been told yet: changes, and conversations that they have become members of. Each
//! of them is loaded and encoded once for all users.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::limits::{CHANGES_BYTES_MAX, LIST_MAX};
use crate::port::{ChangeRange, Conversation, ConversationQuery, Counter, World};
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

/// Loads the changes between each stored position and its snapshot, and the conversations that are added. If the
/// changes are more than the records answer, or larger than [`CHANGES_BYTES_MAX`], the oldest of some conversations are
/// left out, and a `resync` takes their place; so it does for a conversation that cannot be loaded.
pub(crate) async fn missed_events<W: World>(world: &W, snapshots: Vec<MemberSnapshot>) -> Result<MissedEvents, Error> {
    let mut ranges: BTreeMap<ConversationId, ChangeRange> = BTreeMap::new();
    let mut added: BTreeMap<ConversationId, BTreeSet<UserId>> = BTreeMap::new();
    for MemberSnapshot { user, position, counter, is_added } in snapshots {
        let (conversation, after) = (counter.conversation, notified_up_to(position, &counter));
        if is_added {
            added.entry(conversation).or_default().insert(user);
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

/// Loads conversations, each as one of its members sees it, and as the others see it if it shows positions that may be
/// hidden from some of them.
async fn load_added<W: World>(
    world: &W,
    added: BTreeMap<ConversationId, BTreeSet<UserId>>,
) -> Result<BTreeMap<ConversationId, AddedConversation>, Error> {
    let first = added.iter().take(LIST_MAX).filter_map(|(id, users)| Some((*users.first()?, *id)));
    let mut found = BTreeMap::new();
    for (_, conversation) in as_seen(world, first.collect()).await? {
        found.insert(conversation.id, AddedConversation { conversation, of_others: BTreeMap::new(), last: None });
    }
    let mut others = Vec::new();
    for (id, users) in &added {
        // Nobody has read anything in a new conversation, so that there is nothing to hide.
        let shows_positions = found
            .get(id)
            .is_some_and(|found: &AddedConversation| found.conversation.reads.iter().any(|read| *read > Seq::ZERO));
        others.extend(users.iter().skip(1).filter(|_| shows_positions).map(|user| (*user, *id)));
    }
    for (user, conversation) in as_seen(world, others).await? {
        if let Some(added) = found.get_mut(&conversation.id) {
            added.of_others.insert(user, conversation);
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

/// Conversations, each as this member sees it. One call of the records for each member.
async fn as_seen<W: World>(
    world: &W,
    asked: Vec<(UserId, ConversationId)>,
) -> Result<Vec<(UserId, Conversation)>, Error> {
    let mut by_user: BTreeMap<UserId, Vec<ConversationId>> = BTreeMap::new();
    for (user, id) in asked {
        by_user.entry(user).or_default().push(id);
    }
    let mut seen = Vec::new();
    for (user, ids) in by_user {
        let page = world.conversations(user, ConversationQuery::Named(ids)).await?;
        seen.extend(page.conversations.into_iter().map(|conversation| (user, conversation)));
    }
    Ok(seen)
}
