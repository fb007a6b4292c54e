//! One look at both sides: the records first, then the store.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::consistency::rules::{self, Stored, Suspicion};
use crate::consistency::{Report, Subjects};
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Space};
use crate::last_message;
use crate::limits::PENDING_PAGE;
use crate::port::{Pending, Query, UnreadRequest, Value, World};
use crate::{store_answers, store_calls};

/// Far enough from now that everything pending is older.
const A_DAY_MS: u64 = 86_400_000;
/// Questions about one user.
const QUERIES: usize = 4;

/// What one look saw: how much, and what disagreed.
#[derive(Default)]
pub(crate) struct Look {
    pub(crate) tally: Report,
    pub(crate) suspicions: Vec<Suspicion>,
}

pub(crate) async fn look<W: World>(world: &W, subjects: &Subjects) -> Result<Look, Error> {
    match subjects {
        Subjects::Users(users) => look_at_users(world, users).await,
        Subjects::Conversations(conversations) => look_at_conversations(world, conversations).await,
    }
}

async fn look_at_users<W: World>(world: &W, users: &[UserId]) -> Result<Look, Error> {
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
    let mut look = Look::default();
    for snapshot in snapshots {
        match stored(&mut values)? {
            None => look.tally.cold += 1,
            Some(stored) => {
                let (suspicions, pending) = rules::user(snapshot.user, &stored, &snapshot.counters);
                look.tally.users += 1;
                look.tally.pending += pending;
                look.suspicions.extend(suspicions);
            }
        }
    }
    Ok(look)
}

/// The next user's counters; `None`: cold.
fn stored(values: &mut impl Iterator<Item = Value>) -> Result<Option<Stored>, Error> {
    let total = store_answers::counter(values.next())?;
    let Some(Value::Counters(counters)) = values.next() else {
        return Err(store_answers::unexpected("counters").into());
    };
    let counts = counters.iter().filter_map(|(item, count)| Some((item.id()?, *count))).collect();
    let (seqs, reads) = (positions(values.next())?, positions(values.next())?);
    Ok(total.map(|total| Stored { total, counts, seqs, reads }))
}

fn positions(value: Option<Value>) -> Result<BTreeMap<ConversationId, Seq>, Error> {
    let fields = store_answers::fields(value)?.into_iter();
    let named = fields.filter_map(|(name, text)| Some((ConversationId::from_str(&name).ok()?, text)));
    named.map(|(conversation, text)| Ok((conversation, store_answers::seq(&text)?))).collect()
}

async fn look_at_conversations<W: World>(world: &W, conversations: &[ConversationId]) -> Result<Look, Error> {
    let truths = world.last_messages(conversations.to_vec()).await?;
    let queries = conversations.iter().map(|conversation| last_message::query(*conversation)).collect();
    let values = store_calls::read_all(world, queries, 1).await?;
    let mut look = Look::default();
    for (truth, value) in truths.iter().zip(values) {
        match last_message::parse(truth.conversation, &store_answers::fields(Some(value))?) {
            None => look.tally.uncached += 1,
            Some(cached) => {
                look.tally.conversations += 1;
                look.suspicions.extend(rules::last_message(&cached, truth));
            }
        }
    }
    Ok(look)
}

/// What is stored and not announced to everybody yet.
pub(crate) struct Outbox {
    pending: Vec<Pending>,
}

impl Outbox {
    pub(crate) async fn read<W: World>(world: &W) -> Result<Self, Error> {
        Ok(Self { pending: world.pending(world.now().plus(A_DAY_MS), PENDING_PAGE).await? })
    }

    /// There is more than could be read: what it does not list may wait all the same.
    pub(crate) fn is_cut(&self) -> bool {
        self.pending.len() >= PENDING_PAGE as usize
    }

    /// Something about this user (`None`: anybody) in this conversation waits.
    pub(crate) fn holds(&self, user: Option<UserId>, conversation: Option<ConversationId>) -> bool {
        self.pending.iter().any(|pending| match pending {
            Pending::Change(changed) => Some(changed.change.message.conversation) == conversation,
            Pending::Member(place, member) => Some(*place) == conversation && Some(*member) == user,
        })
    }
}
