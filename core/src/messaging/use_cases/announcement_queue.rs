//! Whose turn it is when many send to one conversation at the same time.
//!
//! A new message is announced to a member who has been told everything before it. Whoever comes too early waits for the
//! one before: taking a snapshot for each member instead is right as well, but when a whole queue of senders does so they
//! overtake each other over and over. Nobody waits for a sender who crashed: when nothing moves for a while the
//! first in the queue goes ahead, and whatever its snapshots pass is told for those behind it.

use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Space};
use crate::limits::{TURN_LOOK_MS, TURN_LOOK_MS_MAX, TURN_MS_MAX, TURN_STALL_MS};
use crate::port::{Query, World};
use crate::time::Timestamp;
use crate::{store_answers, store_calls};

/// Where the members stand who were not told at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// So many have been told by somebody else.
    pub(super) told: usize,
    /// Nothing but this change is missing.
    pub(super) ready: Vec<UserId>,
    /// An earlier change is still to be told to them.
    pub(super) early: Vec<UserId>,
    /// Without counters or without a position: only a snapshot helps.
    pub(super) lost: Vec<UserId>,
}

/// What waiting came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may be tried again.
    Come,
    /// A snapshot told this change as well.
    Passed,
    /// Nothing moves: whoever was before is gone.
    Stalled,
}

/// One announcement's place in the queue.
pub(super) struct Place {
    conversation: ConversationId,
    seq: Seq,
    until: Timestamp,
}

impl Place {
    pub(super) fn new<W: World>(world: &W, conversation: ConversationId, seq: Seq) -> Self {
        Self { conversation, seq, until: world.now().plus(TURN_MS_MAX) }
    }

    /// Sorts members. One round trip for up to 512.
    pub(super) async fn look<W: World>(&self, world: &W, members: &[UserId]) -> Result<Line, Error> {
        const QUERIES: usize = 2;
        let total = |user: &UserId| Query::Counter(Key::of_user(Space::UnreadTotal, *user));
        let queries = members.iter().flat_map(|user| [total(user), self.position_query(*user)]).collect();
        let mut values = store_calls::read_all(world, queries, QUERIES).await?.into_iter();
        let mut line = Line::default();
        for user in members {
            let total = store_answers::counter(values.next())?;
            match (total, store_answers::seq_field(values.next())?) {
                (Some(_), Some(told)) if told >= self.seq => line.told += 1,
                (Some(_), Some(told)) if told == self.seq.previous() => line.ready.push(*user),
                (Some(_), Some(_)) => line.early.push(*user),
                (None, _) | (_, None) => line.lost.push(*user),
            }
        }
        Ok(line)
    }

    /// Waits until this member, the last one whom the announcement before reaches, has been told of it.
    ///
    /// # Errors
    /// `contended`, when that took too long: the change stays pending.
    pub(super) async fn wait<W: World>(&self, world: &W, last: UserId) -> Result<Turn, Error> {
        let (mut known, mut since) = (None, world.now());
        loop {
            let value = world.read(vec![self.position_query(last)]).await?.into_iter().next();
            let Some(told) = store_answers::seq_field(value)? else { return Ok(Turn::Stalled) };
            if told >= self.seq {
                return Ok(Turn::Passed);
            }
            if told == self.seq.previous() {
                return Ok(Turn::Come);
            }
            let now = world.now();
            if known != Some(told) {
                (known, since) = (Some(told), now);
            }
            let ahead = self.seq.previous().0 - told.0;
            if now >= since.plus(TURN_STALL_MS.saturating_mul(ahead)) {
                return Ok(Turn::Stalled);
            }
            if now >= self.until {
                return Err(Error::Contended);
            }
            let pause = u64::from(TURN_LOOK_MS).saturating_mul(ahead).min(u64::from(TURN_LOOK_MS_MAX));
            world.wait(u32::try_from(pause).unwrap_or(TURN_LOOK_MS_MAX)).await;
        }
    }

    fn position_query(&self, user: UserId) -> Query {
        Query::NamedFields(Key::of_user(Space::UnreadSequence, user), [self.conversation.to_string()].into())
    }
}
