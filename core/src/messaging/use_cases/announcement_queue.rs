//! Reads where the members are whom an announcement could not reach, and waits for earlier announcements.

use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Space};
use crate::messaging::rules::announcement_queue::{
    AnnouncementReadiness, NextPoll, Progress, QueuedAnnouncement, WaitOutcome,
};
use crate::port::{Query, StoreError, Value, World};
use crate::{store_answers, store_calls};

/// An announcement in the queue of its conversation.
pub(super) struct ConversationQueue {
    conversation: ConversationId,
    announcement: QueuedAnnouncement,
}

impl ConversationQueue {
    pub(super) fn new<W: World>(world: &W, conversation: ConversationId, seq: Seq) -> Self {
        Self { conversation, announcement: QueuedAnnouncement::new(seq, world.now()) }
    }

    /// Reads the positions of these members. One round trip for each 512. A member whose position cannot be read is
    /// left to a snapshot.
    pub(super) async fn readiness<W: World>(
        &self,
        world: &W,
        members: &[UserId],
    ) -> Result<AnnouncementReadiness, Error> {
        const QUERIES: usize = 2;
        let total = |user: &UserId| Query::Counter(Key::of_user(Space::UnreadTotal, *user));
        let queries = members.iter().flat_map(|user| [total(user), self.position_query(*user)]).collect();
        let answers = store_calls::read_each(world, queries, QUERIES).await?;
        let mut readiness = AnnouncementReadiness::default();
        for (user, answer) in members.iter().zip(answers) {
            match answer.and_then(parse_position) {
                Ok((total, position)) => readiness.add(*user, total, position, self.announcement.seq()),
                // The snapshot fails because of the same key, which reports it.
                Err(_) => readiness.without_position.push(*user),
            }
        }
        Ok(readiness)
    }

    /// Waits until the announcement before this one has reached this member, the last one that it reaches.
    pub(super) async fn wait<W: World>(&self, world: &W, last: UserId) -> Result<WaitOutcome, Error> {
        let mut progress = Progress::new(world.now());
        loop {
            let value = world.read(vec![self.position_query(last)]).await?.into_iter().next();
            let position = store_answers::seq_field(value)?;
            match self.announcement.next_poll(&mut progress, position, world.now()) {
                NextPoll::Done(outcome) => return Ok(outcome),
                NextPoll::After(pause_ms) => world.wait(pause_ms).await,
            }
        }
    }

    fn position_query(&self, user: UserId) -> Query {
        Query::NamedFields(Key::of_user(Space::UnreadSequence, user), [self.conversation.to_string()].into())
    }
}

/// The total and the position of a member.
fn parse_position(values: Vec<Value>) -> Result<(Option<i64>, Option<Seq>), StoreError> {
    let mut values = values.into_iter();
    Ok((store_answers::counter(values.next())?, store_answers::seq_field(values.next())?))
}
