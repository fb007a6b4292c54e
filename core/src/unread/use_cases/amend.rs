//! Tells new members what changed in a conversation between the time at which it was loaded and the time at which it
//! was shown to them. Whoever changed it has told the members of that time, but a client that is shown the older state
//! after that takes it for the newer one.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, FirstFailure};
use crate::event;
use crate::ids::{ConversationId, Seq, UserId};
use crate::insertion::CollectByInsertion as _;
use crate::key::Owner;
use crate::limits::{AMENDMENTS_MAX, MEMBERS_NOTIFIED_MAX, MEMBERS_SHOWN_MAX, READS_SHOWN_MAX};
use crate::port::{Conversation, Event, MembersQuery, RecordsError, Transaction, World};
use crate::store_calls;
use crate::unread::rules::AddedConversation;

/// The members of a conversation as clients are shown them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ShownMembers {
    members: BTreeSet<UserId>,
    count: u64,
    /// The read position of every member; empty if there are more than [`READS_SHOWN_MAX`] members.
    reads: BTreeMap<UserId, Seq>,
}

impl From<&Conversation> for ShownMembers {
    fn from(conversation: &Conversation) -> Self {
        Self {
            members: conversation.members.iter().copied().collect_by_insertion(),
            count: conversation.member_count,
            reads: conversation.members.iter().copied().zip(conversation.reads.iter().copied()).collect_by_insertion(),
        }
    }
}

impl ShownMembers {
    /// The members as the records hold them now, and show them to a member or to a service. `None` if there are so many
    /// that nobody is told who they are, or if the actor is no member any more.
    async fn read<W: World>(
        world: &W,
        conversation: ConversationId,
        actor: Option<UserId>,
    ) -> Result<Option<Self>, Error> {
        let query = MembersQuery { conversation, actor, after: None, limit: MEMBERS_NOTIFIED_MAX as u32 };
        let page = match world.members(query).await {
            Ok(page) => page,
            Err(RecordsError::NotFound(_) | RecordsError::NotAMember) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if page.next.is_some() {
            return Ok(None);
        }
        let few = page.members.len() <= READS_SHOWN_MAX;
        Ok(Some(Self {
            members: page.members.iter().map(|member| member.user).take(MEMBERS_SHOWN_MAX).collect_by_insertion(),
            count: page.members.len() as u64,
            reads: page.members.iter().filter(|_| few).map(|member| (member.user, member.read)).collect_by_insertion(),
        }))
    }

    /// The events that turn the state `before` into this one.
    fn events_since(&self, before: &Self, conversation: ConversationId) -> Vec<Event> {
        let mut events = Vec::new();
        if (&self.members, self.count) != (&before.members, before.count) {
            let added: Vec<UserId> = self.members.difference(&before.members).copied().collect();
            let removed: Vec<UserId> = before.members.difference(&self.members).copied().collect();
            events.push(event::conversation_members(conversation, &added, &removed, self.count));
        }
        // A position that a block hides since then does not step back.
        let read = self.reads.iter().filter(|(user, read)| before.reads.get(user).is_none_or(|known| known < *read));
        events.extend(read.map(|(user, read)| event::read_update(conversation, *user, *read)));
        events
    }
}

/// Compares each conversation with what its new members were shown, and tells them the difference, until there is none;
/// at most [`AMENDMENTS_MAX`] times. A member who cannot be told does not stop the others.
pub(crate) async fn amend<W: World>(
    world: &W,
    notified: Vec<(UserId, ConversationId)>,
    added: &BTreeMap<ConversationId, AddedConversation>,
) -> Result<(), Error> {
    let mut by_conversation: BTreeMap<ConversationId, BTreeSet<UserId>> = BTreeMap::new();
    for (user, conversation) in notified {
        by_conversation.entry(conversation).or_default().insert(user);
    }
    let mut failures = FirstFailure::default();
    for (conversation, users) in by_conversation {
        let Some(shown) = added.get(&conversation) else { continue };
        let mut known: BTreeMap<UserId, ShownMembers> = BTreeMap::new();
        for _ in 0..AMENDMENTS_MAX {
            let Some(now) = ShownMembers::read(world, conversation, None).await? else { break };
            let mut transactions = Vec::new();
            for user in &users {
                let before = known.remove(user).unwrap_or_else(|| ShownMembers::from(shown.shown_to(*user)));
                let Some(now) = seen_by(world, (conversation, *user), &now, &before).await? else { continue };
                let publications = now.events_since(&before, conversation);
                if !publications.is_empty() {
                    transactions.push(Transaction { publications, ..Transaction::new(Owner::User(*user)) });
                }
                known.insert(*user, now);
            }
            if transactions.is_empty() {
                break;
            }
            let outcomes = store_calls::commit_all(world, transactions).await?;
            failures.keep_lasting(store_calls::failure(&outcomes).map_or(Ok(()), Err))?;
        }
    }
    failures.report()
}

/// What a user sees of the members, who are read for a service. A difference in read positions can be one that a block
/// hides from this user, so that the records are asked again; only at most [`READS_SHOWN_MAX`] members have positions.
/// `None` if the user is no member any more.
async fn seen_by<W: World>(
    world: &W,
    (conversation, user): (ConversationId, UserId),
    now: &ShownMembers,
    before: &ShownMembers,
) -> Result<Option<ShownMembers>, Error> {
    if now.reads == before.reads {
        return Ok(Some(now.clone()));
    }
    ShownMembers::read(world, conversation, Some(user)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONVERSATION: ConversationId = ConversationId::from_u128(9);

    fn shown(reads: &[(u128, u64)]) -> ShownMembers {
        let reads: BTreeMap<UserId, Seq> =
            reads.iter().map(|(user, read)| (UserId::from_u128(*user), Seq(*read))).collect();
        ShownMembers { members: reads.keys().copied().collect(), count: reads.len() as u64, reads }
    }

    #[test]
    fn the_difference_names_members_and_positions_that_changed() {
        let before = shown(&[(1, 0), (2, 3), (3, 0)]);
        assert_eq!(before.events_since(&before, CONVERSATION), []);
        let now = shown(&[(1, 4), (2, 3), (5, 6)]);
        let [one, three, five] = [1, 3, 5].map(UserId::from_u128);
        let expected = [
            event::conversation_members(CONVERSATION, &[five], &[three], 3),
            event::read_update(CONVERSATION, one, Seq(4)),
            event::read_update(CONVERSATION, five, Seq(6)),
        ];
        assert_eq!(now.events_since(&before, CONVERSATION), expected);
    }
}
