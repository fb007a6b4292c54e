//! Reads both sides once and compares them: the records first, then the store.

use crate::consistency::rules::{self, StoredCounters, Suspicion};
use crate::consistency::{Report, Subjects};
use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::key::{Key, Space};
use crate::last_message;
use crate::limits::PENDING_PAGE;
use crate::port::{Pending, Query, UnreadRequest, Value, World};
use crate::{store_answers, store_calls};

/// A day: everything pending is older than one day from now.
const DAY_MS: u64 = 86_400_000;
/// The number of queries for one user.
const QUERIES: usize = 4;

/// The result of one comparison: how much was compared, and which differences were found.
#[derive(Default)]
pub(crate) struct ComparisonResult {
    pub(crate) tally: Report,
    pub(crate) suspicions: Vec<Suspicion>,
}

pub(crate) async fn compare<W: World>(world: &W, subjects: &Subjects) -> Result<ComparisonResult, Error> {
    match subjects {
        Subjects::Users(users) => compare_users(world, users).await,
        Subjects::Conversations(conversations) => compare_conversations(world, conversations).await,
    }
}

async fn compare_users<W: World>(world: &W, users: &[UserId]) -> Result<ComparisonResult, Error> {
    let requests = users.iter().map(|user| UnreadRequest { user: *user, conversations: None }).collect();
    let snapshots = world.unread(requests).await?;
    let queries = users.iter().flat_map(|user| {
        let index = Key::of_user(Space::UnreadSequence, *user);
        [
            Query::Counter(Key::of_user(Space::UnreadTotal, *user)),
            Query::IndexedCounters { index: index.clone(), space: Space::UnreadConversation },
            Query::Fields(index),
            Query::Fields(Key::of_user(Space::UnreadRead, *user)),
        ]
    });
    let mut values = store_calls::read_all(world, queries.collect(), QUERIES).await?.into_iter();
    let mut result = ComparisonResult::default();
    for snapshot in snapshots {
        match stored_counters(&mut values)? {
            None => result.tally.cold += 1,
            Some(stored) => {
                let (suspicions, pending) = rules::compare_user(snapshot.user, &stored, &snapshot.counters);
                result.tally.users += 1;
                result.tally.pending += pending;
                result.suspicions.extend(suspicions);
            }
        }
    }
    Ok(result)
}

/// The counters of the next user; `None` if the user is uncached.
fn stored_counters(values: &mut impl Iterator<Item = Value>) -> Result<Option<StoredCounters>, Error> {
    let total = store_answers::counter(values.next())?;
    let Some(Value::Counters(counters)) = values.next() else {
        return Err(store_answers::unexpected("counters").into());
    };
    let counts = counters.iter().filter_map(|(item, count)| Some((item.id()?, *count))).collect();
    let seqs = store_answers::positions(values.next())?;
    let reads = store_answers::positions(values.next())?;
    Ok(total.map(|total| StoredCounters { total, counts, seqs, reads }))
}

async fn compare_conversations<W: World>(
    world: &W,
    conversations: &[ConversationId],
) -> Result<ComparisonResult, Error> {
    let truths = world.last_messages(conversations.to_vec()).await?;
    let queries = conversations.iter().map(|conversation| last_message::query(*conversation)).collect();
    let values = store_calls::read_all(world, queries, 1).await?;
    let mut result = ComparisonResult::default();
    for (truth, value) in truths.iter().zip(values) {
        match last_message::parse(truth.conversation, &store_answers::fields(Some(value))?) {
            None => result.tally.uncached += 1,
            Some(cached) => {
                result.tally.conversations += 1;
                result.suspicions.extend(rules::compare_last_message(&cached, truth));
            }
        }
    }
    Ok(result)
}

/// The changes that are stored and not announced to every member yet.
pub(crate) struct PendingAnnouncements {
    pending: Vec<Pending>,
}

impl PendingAnnouncements {
    pub(crate) async fn read<W: World>(world: &W) -> Result<Self, Error> {
        Ok(Self { pending: world.pending(world.now().plus(DAY_MS), PENDING_PAGE).await? })
    }

    /// Whether there may be more pending changes than could be read.
    pub(crate) fn is_truncated(&self) -> bool {
        self.pending.len() >= PENDING_PAGE as usize
    }

    /// Whether a change that concerns this user (`None`: any user) in this conversation is pending.
    pub(crate) fn contains(&self, user: Option<UserId>, conversation: Option<ConversationId>) -> bool {
        self.pending.iter().any(|pending| match pending {
            Pending::Change(changed) => Some(changed.change.message.conversation) == conversation,
            Pending::Member(of, member) => Some(*of) == conversation && Some(*member) == user,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::from_u128(1);
    const CONVERSATION: ConversationId = ConversationId::from_u128(2);

    fn pending(count: usize) -> PendingAnnouncements {
        PendingAnnouncements { pending: vec![Pending::Member(CONVERSATION, USER); count] }
    }

    #[test]
    fn a_pending_member_concerns_one_user_in_one_conversation() {
        let other = (Some(UserId::from_u128(3)), Some(ConversationId::from_u128(3)));
        assert!(pending(1).contains(Some(USER), Some(CONVERSATION)));
        assert!(!pending(1).contains(other.0, Some(CONVERSATION)));
        assert!(!pending(1).contains(Some(USER), other.1));
        assert!(!pending(1).contains(None, None) && !pending(0).contains(Some(USER), Some(CONVERSATION)));
    }

    #[test]
    fn a_full_page_may_not_be_everything() {
        assert!(!pending(PENDING_PAGE as usize - 1).is_truncated());
        assert!(pending(PENDING_PAGE as usize).is_truncated());
    }
}
