//! Announces that a user became a member, or is no longer one: to the user, and to the other members.
//!
//! An announcement contains what the records say at that time, not what a call has changed, because two changes of the
//! same member may be announced in another order than they were stored. After each announcement the records are read
//! again, and what has changed in between is announced as well, so that the last event is the present state.

use std::collections::{BTreeMap, BTreeSet};

use super::announce::confirm;
use crate::announcing::{AnnounceAttempt, announce_twice, count_pending, count_untried};
use crate::error::{Error, FirstFailure};
use crate::event;
use crate::ids::{ConversationId, Seq, UserId};
use crate::insertion::CollectByInsertion as _;
use crate::key::Owner;
use crate::limits::{DURABLE_RECEIPT_MEMBERS_MAX, MEMBERS_NOTIFIED_MAX, PAGE_MAX, TRIES_MAX};
use crate::messaging::rules::reading::{Receipts, notify_others};
use crate::port::{Confirmation, Created, MembersQuery, RecordsError, Transaction, UnreadRequest, World};
use crate::store_calls;
use crate::time::Timestamp;
use crate::unread::{Target, Uncached, reconcile};

/// Whether a user is a member, and who the members are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MembershipState {
    /// The sequence number after which the user became a member; `None` if the user is none.
    joined: Option<Seq>,
    /// All members; `None` if there are too many to tell them anything.
    members: Option<Vec<UserId>>,
}

impl MembershipState {
    async fn read<W: World>(world: &W, conversation: ConversationId, user: UserId) -> Result<Self, Error> {
        let joined = joined(world, conversation, user).await?;
        Ok(Self { joined, members: members(world, conversation).await? })
    }

    /// Tells the other members that the user has become a member, or is none any more.
    fn notify(&self, conversation: ConversationId, user: UserId) -> Vec<Transaction> {
        let Some(members) = &self.members else { return Vec::new() };
        let moved = [user];
        let (added, removed) = if self.joined.is_some() { (&moved[..], &[][..]) } else { (&[][..], &moved[..]) };
        let event = event::conversation_members(conversation, added, removed, members.len() as u64);
        let others = members.iter().filter(|member| **member != user);
        others.map(|member| Transaction::new(Owner::User(*member)).publish(event.clone())).collect()
    }
}

/// All members of a conversation; `None` if there are too many to tell them anything.
async fn members<W: World>(world: &W, conversation: ConversationId) -> Result<Option<Vec<UserId>>, Error> {
    let query = MembersQuery { conversation, actor: None, after: None, limit: MEMBERS_NOTIFIED_MAX as u32 };
    match world.members(query).await {
        Ok(page) if page.next.is_none() => Ok(Some(page.members.iter().map(|member| member.user).collect())),
        Ok(_) => Ok(None),
        Err(RecordsError::NotFound(_)) => Ok(Some(Vec::new())),
        Err(error) => Err(error.into()),
    }
}

/// Where a user joined; `None` if the user is no member.
pub(super) async fn joined<W: World>(
    world: &W,
    conversation: ConversationId,
    user: UserId,
) -> Result<Option<Seq>, Error> {
    let snapshots = world.unread(vec![UnreadRequest::named(user, vec![conversation])]).await?;
    Ok(snapshots.first().and_then(|snapshot| snapshot.counters.first()).map(|counter| counter.joined))
}

/// Tells a user and the other members of a conversation whether the user is a member.
pub async fn announce_membership<W: World>(world: &W, conversation: ConversationId, user: UserId) -> Result<(), Error> {
    announce_to_all(world, Target::latest(user, conversation)).await
}

/// As [`announce_membership`] for each of some conversations that the user has left. Returns those for which it was
/// possible before `end`; the others stay pending and are counted.
///
/// The store is asked once for all of them, and so are the records about the user, which takes a quarter of the calls.
/// What is not as usual, because the user is a member again, or other members have changed meanwhile, or a value has
/// another type, is announced for each conversation by itself.
pub(super) async fn announce_removals<W: World>(
    world: &W,
    user: UserId,
    conversations: &[ConversationId],
    end: Timestamp,
) -> BTreeSet<ConversationId> {
    let (is_published, together) = announce_together(world, user, conversations).await;
    let mut announced = match together {
        Ok(announced) => announced,
        Err(error) if error.is_unavailable() && !is_published => {
            count_untried(world, conversations.len());
            return BTreeSet::new();
        }
        Err(_) => BTreeSet::new(),
    };
    let mut untried = 0;
    for conversation in conversations {
        if announced.contains(conversation) {
            continue;
        }
        if world.now() > end {
            untried += 1;
        } else if !count_pending(world, &announce_membership(world, *conversation, user).await) {
            announced.insert(*conversation);
        }
    }
    count_untried(world, untried);
    announced
}

/// Announces what the records say about conversations that the user has left, and returns those of which they say the
/// same afterwards.
async fn announce_together<W: World>(
    world: &W,
    user: UserId,
    conversations: &[ConversationId],
) -> AnnounceAttempt<BTreeSet<ConversationId>> {
    let mut is_published = false;
    let attempt = async {
        let states = removals(world, user, conversations).await?;
        let targets = states.keys().map(|conversation| Target::latest(user, *conversation)).collect();
        reconcile(world, targets, Uncached::FillFollowed).await?;
        let transactions: Vec<Transaction> =
            states.iter().flat_map(|(conversation, state)| state.notify(*conversation, user)).collect();
        is_published = !transactions.is_empty();
        let outcomes = store_calls::commit_all(world, transactions).await?;
        if let Some(failure) = store_calls::failure(&outcomes) {
            return Err(failure);
        }
        let after = removals(world, user, conversations).await?;
        let unchanged = states.iter().filter(|(conversation, state)| after.get(*conversation) == Some(*state));
        Ok(unchanged.map(|(conversation, _)| *conversation).collect_by_insertion())
    };
    let outcome = attempt.await;
    (is_published, outcome)
}

/// The states of those conversations of which the user is no member.
async fn removals<W: World>(
    world: &W,
    user: UserId,
    conversations: &[ConversationId],
) -> Result<BTreeMap<ConversationId, MembershipState>, Error> {
    let snapshots = world.unread(vec![UnreadRequest::named(user, conversations.to_vec())]).await?;
    let joined: BTreeSet<ConversationId> = snapshots
        .iter()
        .flat_map(|snapshot| &snapshot.counters)
        .map(|counter| counter.conversation)
        .collect_by_insertion();
    let mut states = BTreeMap::new();
    for conversation in conversations {
        if !joined.contains(conversation) {
            let members = members(world, *conversation).await?;
            states.insert(*conversation, MembershipState { joined: None, members });
        }
    }
    Ok(states)
}

/// As [`announce_membership`], after an attempt that may have failed half-way.
pub(super) async fn announce_again<W: World>(
    world: &W,
    conversation: ConversationId,
    user: UserId,
) -> Result<(), Error> {
    announce_to_all(world, Target::repeated(user, conversation)).await
}

async fn announce_to_all<W: World>(world: &W, target: Target) -> Result<(), Error> {
    announce_twice(|| try_announce(world, target)).await
}

/// A user or a member whose state cannot be changed, such as a value of another type, does not stop the others from
/// being told.
async fn try_announce<W: World>(world: &W, target: Target) -> AnnounceAttempt {
    let Target { user, conversation, .. } = target;
    let mut is_published = false;
    let attempt = async {
        let mut state = MembershipState::read(world, conversation, user).await?;
        for _ in 0..TRIES_MAX {
            let mut failures = FirstFailure::default();
            failures.keep_lasting(reconcile(world, vec![target], Uncached::FillFollowed).await)?;
            let mut transactions = state.notify(conversation, user);
            transactions.extend(receipts(world, conversation, user, &state).await?);
            is_published |= !transactions.is_empty();
            let outcomes = store_calls::commit_all(world, transactions).await?;
            failures.keep_lasting(store_calls::failure(&outcomes).map_or(Ok(()), Err))?;
            let after = MembershipState::read(world, conversation, user).await?;
            if after == state {
                return failures.report();
            }
            state = after;
        }
        Err(Error::Contended)
    };
    let outcome = attempt.await;
    (is_published, outcome)
}

/// Tells the other members of a small conversation the read position of a new member: the one at which the member
/// joined. No other event tells it.
async fn receipts<W: World>(
    world: &W,
    conversation: ConversationId,
    user: UserId,
    state: &MembershipState,
) -> Result<Vec<Transaction>, Error> {
    let is_small = state.members.as_ref().is_some_and(|members| members.len() <= DURABLE_RECEIPT_MEMBERS_MAX);
    if state.joined.is_none() || !is_small {
        return Ok(Vec::new());
    }
    match world.mark_read(user, conversation, Some(Seq::ZERO)).await {
        Ok(mark) => match notify_others(user, &mark) {
            Receipts::Durable(receipts) => Ok(receipts),
            Receipts::Ephemeral { .. } | Receipts::None => Ok(Vec::new()),
        },
        // The user has left since, which the next look at the records finds.
        Err(RecordsError::NotAMember) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Tells the members of a new conversation that they are members. A repetition of the creation confirms nothing: the
/// call that created the conversation may have failed half-way, and [`super::recover`] makes up for that as long as
/// the creation is pending.
pub(super) async fn announce_creation<W: World>(world: &W, created: &Created, members: &[UserId]) -> Result<(), Error> {
    let conversation = created.conversation.id;
    let targets = members.iter().map(|user| Target::latest(*user, conversation)).collect();
    reconcile(world, targets, Uncached::FillFollowed).await?;
    if !created.repeated {
        confirm(world, vec![Confirmation::Creation(conversation, 1)]).await;
    }
    Ok(())
}

/// As [`announce_creation`], to those who are members now, after an attempt that may have failed half-way. Confirms
/// nothing. A member whose state cannot be changed does not stop the others.
pub(super) async fn announce_creation_again<W: World>(world: &W, conversation: ConversationId) -> Result<(), Error> {
    let mut query = MembersQuery { conversation, actor: None, after: None, limit: PAGE_MAX };
    let mut failures = FirstFailure::default();
    loop {
        let page = match world.members(query).await {
            Ok(page) => page,
            Err(RecordsError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let targets = page.members.iter().map(|member| Target::repeated(member.user, conversation)).collect();
        failures.keep_lasting(reconcile(world, targets, Uncached::FillFollowed).await)?;
        query.after = page.next;
        if query.after.is_none() {
            return failures.report();
        }
    }
}
