//! Announces again what was stored a while ago and never confirmed: after a crash, or while the store was away.
//!
//! Works in rounds, each bounded in pages and time, so that thousands of changes are worked off without keeping
//! anybody else from the store. Changes are announced together, by conversation. What cannot be announced is set aside
//! for the next round, and what comes after it is not held up.

use std::collections::{BTreeMap, BTreeSet};

use super::announce::confirm;
use super::read;
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::last_message;
use crate::limits::{
    CONFIRMATION_WAIT_MS, MEMBERS_MAX, PENDING_AFTER_MS, PENDING_PAGE, RECOVERY_MS_MAX, RECOVERY_PAGES_MAX,
};
use crate::port::{Confirmation, Pending, UnreadRequest, UnreadSnapshot, World};
use crate::unread::{Cold, Target, settle};

/// One round. Answers how many announcements it made up for.
///
/// # Errors
/// The first failure, after everything else was done; at once if the store or the records are away.
pub async fn recover<W: World>(world: &W) -> Result<usize, Error> {
    let began = world.now();
    let mut round = Round::default();
    for _ in 0..RECOVERY_PAGES_MAX {
        let page = world.pending(began.minus(PENDING_AFTER_MS), PENDING_PAGE).await?;
        let last = page.len() < PENDING_PAGE as usize;
        let fresh: Vec<_> = page.into_iter().filter(|pending| !round.seen.contains(&Item::of(pending))).collect();
        if fresh.is_empty() && !last {
            // All of it was dealt with a moment ago: confirmations take effect late.
            world.wait(CONFIRMATION_WAIT_MS).await;
        }
        round.work_off(world, fresh).await?;
        if last || world.now() > began.plus(RECOVERY_MS_MAX) {
            break;
        }
    }
    round.failure.map_or(Ok(round.recovered), Err)
}

/// What a pending announcement is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Change(ConversationId, Seq),
    Member(ConversationId, UserId),
}

impl Item {
    const fn of(pending: &Pending) -> Self {
        match pending {
            Pending::Change(changed) => Self::Change(changed.change.message.conversation, changed.change.seq),
            Pending::Member(conversation, user) => Self::Member(*conversation, *user),
        }
    }
}

/// Changes of one conversation.
struct Talk {
    conversation: ConversationId,
    members: Vec<UserId>,
    changes: Vec<Seq>,
}

#[derive(Default)]
struct Round {
    seen: BTreeSet<Item>,
    recovered: usize,
    failure: Option<Error>,
}

impl Round {
    async fn work_off<W: World>(&mut self, world: &W, page: Vec<Pending>) -> Result<(), Error> {
        self.seen.extend(page.iter().map(Item::of));
        let mut talks: BTreeMap<ConversationId, Talk> = BTreeMap::new();
        let mut moves: BTreeMap<(ConversationId, UserId), usize> = BTreeMap::new();
        for pending in page {
            match pending {
                Pending::Change(changed) => {
                    let conversation = changed.change.message.conversation;
                    let talk = Talk { conversation, members: changed.members, changes: Vec::new() };
                    talks.entry(conversation).or_insert(talk).changes.push(changed.change.seq);
                }
                Pending::Member(conversation, user) => *moves.entry((conversation, user)).or_default() += 1,
            }
        }
        for batch in batches(talks.into_values().collect()) {
            self.announce(world, &batch).await?;
        }
        self.restore(world, &moves).await
    }

    /// All at once; if that fails, each conversation on its own, so that one does not hold up the others.
    async fn announce<W: World>(&mut self, world: &W, batch: &[Talk]) -> Result<(), Error> {
        let outcome = announce(world, batch).await;
        if outcome.as_ref().is_err_and(|error| !is_away(error)) && batch.len() > 1 {
            for talk in batch.chunks(1) {
                let outcome = announce(world, talk).await;
                self.note(world, outcome, talk.iter().map(|talk| talk.changes.len()).sum())?;
            }
            return Ok(());
        }
        self.note(world, outcome, batch.iter().map(|talk| talk.changes.len()).sum())
    }

    /// Repeats what moved read positions and memberships should have brought about. Each is told once, however often
    /// it moved.
    async fn restore<W: World>(
        &mut self,
        world: &W,
        moves: &BTreeMap<(ConversationId, UserId), usize>,
    ) -> Result<(), Error> {
        if moves.is_empty() {
            return Ok(());
        }
        let state = |(conversation, user): &(ConversationId, UserId)| UnreadRequest {
            user: *user,
            conversations: Some(vec![*conversation]),
        };
        let snapshots = world.unread(moves.keys().map(state).collect()).await?;
        for (((conversation, user), times), snapshot) in moves.iter().zip(&snapshots) {
            let outcome = restore(world, *conversation, *user, snapshot).await;
            if outcome.is_ok() {
                confirm(world, vec![Confirmation::Member(*conversation, *user); *times]).await;
            }
            self.note(world, outcome, *times)?;
        }
        Ok(())
    }

    /// Only a store or records that are away end the round.
    fn note<W: World>(&mut self, world: &W, outcome: Result<(), Error>, amount: usize) -> Result<(), Error> {
        let told = match outcome {
            Ok(()) => {
                self.recovered += amount;
                "recovered"
            }
            Err(error) if is_away(&error) => return Err(error),
            Err(error) => {
                self.failure.get_or_insert(error);
                "failed"
            }
        };
        world.count("announcements", &[("outcome", told)], amount as u64);
        Ok(())
    }
}

/// Together no more members than one conversation may have.
fn batches(talks: Vec<Talk>) -> Vec<Vec<Talk>> {
    let mut batches: Vec<Vec<Talk>> = Vec::new();
    let mut members = MEMBERS_MAX;
    for talk in talks {
        members += talk.members.len();
        match batches.last_mut() {
            Some(batch) if members <= MEMBERS_MAX => batch.push(talk),
            _ => {
                members = talk.members.len();
                batches.push(vec![talk]);
            }
        }
    }
    batches
}

/// Brings every member in line, which tells whatever their positions pass, and confirms.
async fn announce<W: World>(world: &W, batch: &[Talk]) -> Result<(), Error> {
    let newest = |talk: &Talk| talk.changes.iter().copied().max().unwrap_or(Seq::ZERO);
    let targets = batch.iter().flat_map(|talk| {
        let newest = newest(talk);
        talk.members.iter().map(move |user| Target::counted(*user, talk.conversation, newest))
    });
    settle(world, targets.collect(), Cold::Fill).await?;
    last_message::refresh(world, batch.iter().map(|talk| talk.conversation).collect()).await?;
    let confirmations = batch
        .iter()
        .flat_map(|talk| talk.changes.iter().map(|seq| Confirmation::Change(talk.conversation, *seq)))
        .collect();
    confirm(world, confirmations).await;
    Ok(())
}

async fn restore<W: World>(
    world: &W,
    conversation: ConversationId,
    user: UserId,
    snapshot: &UnreadSnapshot,
) -> Result<(), Error> {
    let has_read = snapshot.counters.first().is_some_and(|counter| counter.read > counter.joined);
    if has_read {
        read::tell_again(world, user, conversation).await
    } else {
        settle(world, vec![Target::any(user, conversation)], Cold::Leave).await
    }
}

/// Neither the store nor the records answer anybody now: both say when to ask again.
const fn is_away(error: &Error) -> bool {
    error.retry_after_ms().is_some()
}
