//! Reads both sides once and compares them: the records first, then the store. A key that another program has
//! overwritten is a finding about its user or its conversation alone.

use std::collections::BTreeSet;

use crate::consistency::rules::{self, StoredCounters, Suspicion};
use crate::consistency::{Report, Subjects};
use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::key::{Key, Space};
use crate::port::{PendingId, PendingQuery, Query, StoreError, UnreadRequest, UnreadSnapshot, Value, World};
use crate::time::Timestamp;
use crate::{last_message, store_answers, store_calls, unread};

/// The number of pages of pending announcements that are read: of those that recovery has tried, and of the others.
const PENDING_PAGES_MAX: usize = 20;
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
        Subjects::Announcements => Ok(ComparisonResult::default()),
    }
}

/// Compares as many users at a time as the records answer in one call, so that users with many conversations take no
/// more memory than others.
async fn compare_users<W: World>(world: &W, users: &[UserId]) -> Result<ComparisonResult, Error> {
    let mut result = ComparisonResult::default();
    let mut rest = users;
    while !rest.is_empty() {
        let snapshots = next_snapshots(world, rest).await?;
        rest = rest.get(snapshots.len()..).unwrap_or_default();
        compare_snapshots(world, snapshots, &mut result).await?;
    }
    Ok(result)
}

/// The counters of the first of these users as the records hold them; at least one user.
async fn next_snapshots<W: World>(world: &W, users: &[UserId]) -> Result<Vec<UnreadSnapshot>, Error> {
    let mut snapshots = world.unread(users.iter().map(|user| UnreadRequest::all(*user)).collect()).await?;
    let whole = snapshots.iter().take_while(|snapshot| !snapshot.more).count();
    snapshots.truncate(whole.max(1));
    if whole == 0 {
        for snapshot in &mut snapshots {
            snapshot.counters = unread::recorded(world, snapshot.user, None).await?;
        }
    }
    Ok(snapshots)
}

async fn compare_snapshots<W: World>(
    world: &W,
    snapshots: Vec<UnreadSnapshot>,
    result: &mut ComparisonResult,
) -> Result<(), Error> {
    let queries = snapshots.iter().flat_map(|snapshot| {
        let index = Key::of_user(Space::UnreadSequence, snapshot.user);
        [
            Query::Counter(Key::of_user(Space::UnreadTotal, snapshot.user)),
            Query::IndexedCounters { index: index.clone(), space: Space::UnreadConversation },
            Query::Fields(index),
            Query::Fields(Key::of_user(Space::UnreadRead, snapshot.user)),
        ]
    });
    let answers = store_calls::read_each(world, queries.collect(), QUERIES).await?;
    for (snapshot, answer) in snapshots.into_iter().zip(answers) {
        match answer.and_then(stored_counters) {
            Ok(None) => result.tally.cold += 1,
            Ok(Some(stored)) => {
                let (suspicions, pending) = rules::compare_user(snapshot.user, &stored, &snapshot.counters);
                result.tally.users += 1;
                result.tally.pending += pending;
                result.suspicions.extend(suspicions);
            }
            Err(_) => result.suspicions.push(rules::unreadable(Some(snapshot.user), None)),
        }
    }
    Ok(())
}

/// The counters of a user; `None` if the user is uncached.
fn stored_counters(values: Vec<Value>) -> Result<Option<StoredCounters>, StoreError> {
    let mut values = values.into_iter();
    let total = store_answers::counter(values.next())?;
    let Some(Value::Counters(counters)) = values.next() else {
        return Err(store_answers::unexpected("counters"));
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
    let answers = store_calls::read_each(world, queries, 1).await?;
    let mut result = ComparisonResult::default();
    for (truth, answer) in truths.iter().zip(answers) {
        let fields = answer.and_then(|values| store_answers::fields(values.into_iter().next()));
        match fields.map(|fields| last_message::parse(truth.conversation, &fields)) {
            Ok(None) => result.tally.uncached += 1,
            Ok(Some(cached)) => {
                result.tally.conversations += 1;
                result.suspicions.extend(rules::compare_last_message(&cached, truth));
            }
            Err(_) => result.suspicions.push(rules::unreadable(None, Some(truth.conversation))),
        }
    }
    Ok(result)
}

/// The changes that are stored and not announced to every member yet.
#[derive(Default)]
pub(crate) struct PendingAnnouncements {
    /// Conversations with a pending change, and members with a pending move.
    changed: BTreeSet<ConversationId>,
    moved: BTreeSet<(ConversationId, UserId)>,
    truncated: bool,
}

impl PendingAnnouncements {
    pub(crate) async fn read<W: World>(world: &W) -> Result<Self, Error> {
        let mut found = Self::default();
        let everything = Timestamp(u64::MAX);
        for query in [PendingQuery::untried(everything), PendingQuery::tried(everything)] {
            found.walk(world, query).await?;
        }
        Ok(found)
    }

    async fn walk<W: World>(&mut self, world: &W, mut query: PendingQuery) -> Result<(), Error> {
        for _ in 0..PENDING_PAGES_MAX {
            let page = world.pending(query.clone()).await?;
            page.items.iter().for_each(|item| self.add(PendingId::from(&item.pending)));
            query.cursor = page.next;
            if query.cursor.is_none() {
                return Ok(());
            }
        }
        self.truncated = true;
        Ok(())
    }

    fn add(&mut self, item: PendingId) {
        match item {
            PendingId::Change(conversation, _) | PendingId::Creation(conversation) => {
                self.changed.insert(conversation);
            }
            PendingId::Member(conversation, user) | PendingId::Membership(conversation, user) => {
                self.moved.insert((conversation, user));
            }
            PendingId::Contact(..) => {}
        }
    }

    /// Whether there may be more pending changes than could be read.
    pub(crate) const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Whether a change that concerns this user (`None`: any user) in this conversation is pending.
    pub(crate) fn contains(&self, user: Option<UserId>, conversation: Option<ConversationId>) -> bool {
        let Some(conversation) = conversation else { return false };
        self.changed.contains(&conversation) || user.is_some_and(|user| self.moved.contains(&(conversation, user)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Seq;
    use crate::limits::PENDING_PAGE;
    use crate::port::{Confirmation, NewConversation, Records};
    use crate::testing::{FakeWorld, block_on};

    const USER: UserId = UserId::from_u128(1);
    const CONVERSATION: ConversationId = ConversationId::from_u128(2);

    #[test]
    fn a_pending_member_concerns_one_user_in_one_conversation() {
        let other = (Some(UserId::from_u128(3)), Some(ConversationId::from_u128(3)));
        let mut pending = PendingAnnouncements::default();
        assert!(!pending.contains(Some(USER), Some(CONVERSATION)));
        pending.add(PendingId::Member(CONVERSATION, USER));
        assert!(pending.contains(Some(USER), Some(CONVERSATION)));
        assert!(!pending.contains(other.0, Some(CONVERSATION)));
        assert!(!pending.contains(Some(USER), other.1));
        assert!(!pending.contains(None, None));
    }

    #[test]
    fn a_pending_change_concerns_everybody_in_its_conversation() {
        let mut pending = PendingAnnouncements::default();
        pending.add(PendingId::Change(CONVERSATION, Seq(1)));
        assert!(pending.contains(Some(USER), Some(CONVERSATION)) && pending.contains(None, Some(CONVERSATION)));
        assert!(!pending.contains(Some(USER), Some(ConversationId::from_u128(3))) && !pending.contains(None, None));
    }

    #[test]
    fn a_list_that_is_too_long_may_not_be_everything() {
        let pages = |moves: u128| {
            let world = FakeWorld::new();
            let new = |number| NewConversation {
                id: Some(ConversationId::from_u128(number)),
                creator: USER,
                members: Vec::new(),
                at: Timestamp(1),
            };
            block_on(async {
                for number in 1..=moves {
                    let created = world.create_conversation(new(number)).await.unwrap().conversation.id;
                    world.announced(vec![Confirmation::Creation(created, 1)]).await.unwrap();
                    let draft = crate::port::Draft {
                        conversation: ConversationId::from_u128(number),
                        sender: USER,
                        id: None,
                        kind: "text".into(),
                        content: String::new(),
                        at: Timestamp(1),
                    };
                    world.append_message(draft).await.unwrap();
                }
                PendingAnnouncements::read(&world).await.unwrap()
            })
        };
        let most = PENDING_PAGES_MAX as u128 * u128::from(PENDING_PAGE);
        assert!(!pages(most - 1).is_truncated() && pages(most + 1).is_truncated());
        assert!(pages(150).contains(None, Some(ConversationId::from_u128(150))));
    }
}
