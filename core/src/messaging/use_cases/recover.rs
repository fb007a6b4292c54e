//! Announces changes again that were stored some time ago and never confirmed: after a crash, or while the store was
//! unavailable.
//!
//! This happens in rounds. Each round is limited in pages and time, so that thousands of changes are announced without
//! keeping other callers from the store. The changes of a page are announced together, by conversation. A change that
//! cannot be announced is left for the next round and does not delay the others.

use std::collections::{BTreeMap, BTreeSet};

use super::announce::confirm;
use super::read;
use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::last_message;
use crate::limits::{CONFIRMATION_WAIT_MS, PENDING_AFTER_MS, PENDING_PAGE, RECOVERY_MS_MAX, RECOVERY_PAGES_MAX};
use crate::messaging::rules::recovery::{PendingConversation, PendingId, PendingWork, batches, group};
use crate::port::{Confirmation, Pending, UnreadRequest, UnreadSnapshot, World};
use crate::unread::{Target, Uncached, reconcile};

/// Runs one round. Returns the number of announcements that were made.
///
/// # Errors
/// The first error, after everything else was announced; immediately if the store or the records are unavailable.
pub async fn recover<W: World>(world: &W) -> Result<usize, Error> {
    let began = world.now();
    let mut round = RecoveryRound::default();
    for _ in 0..RECOVERY_PAGES_MAX {
        let page = world.pending(began.minus(PENDING_AFTER_MS), PENDING_PAGE).await?;
        let last = page.len() < PENDING_PAGE as usize;
        let fresh: Vec<_> = page.into_iter().filter(|pending| !round.seen.contains(&PendingId::of(pending))).collect();
        if fresh.is_empty() && !last {
            // The whole page was announced a moment ago; the confirmations have not taken effect yet.
            world.wait(CONFIRMATION_WAIT_MS).await;
        }
        round.process(world, fresh).await?;
        if last || world.now() > began.plus(RECOVERY_MS_MAX) {
            break;
        }
    }
    round.failure.map_or(Ok(round.recovered), Err)
}

#[derive(Default)]
struct RecoveryRound {
    seen: BTreeSet<PendingId>,
    recovered: usize,
    failure: Option<Error>,
}

impl RecoveryRound {
    async fn process<W: World>(&mut self, world: &W, page: Vec<Pending>) -> Result<(), Error> {
        self.seen.extend(page.iter().map(PendingId::of));
        let PendingWork { conversations, members } = group(page);
        for batch in batches(conversations) {
            self.announce(world, &batch).await?;
        }
        self.restore_members(world, &members).await
    }

    /// Announces the whole batch together. If that fails, announces each conversation on its own, so that one conversation
    /// does not delay the others.
    async fn announce<W: World>(&mut self, world: &W, batch: &[PendingConversation]) -> Result<(), Error> {
        let outcome = announce(world, batch).await;
        if outcome.as_ref().is_err_and(|error| !is_unavailable(error)) && batch.len() > 1 {
            for conversation in batch.chunks(1) {
                let outcome = announce(world, conversation).await;
                self.note(world, outcome, changes(conversation))?;
            }
            return Ok(());
        }
        self.note(world, outcome, changes(batch))
    }

    /// Repeats what should have followed from changed read positions and memberships. Each member is announced once,
    /// however often the member changed.
    async fn restore_members<W: World>(
        &mut self,
        world: &W,
        members: &BTreeMap<(ConversationId, UserId), usize>,
    ) -> Result<(), Error> {
        if members.is_empty() {
            return Ok(());
        }
        let request = |(conversation, user): &(ConversationId, UserId)| UnreadRequest {
            user: *user,
            conversations: Some(vec![*conversation]),
        };
        let snapshots = world.unread(members.keys().map(request).collect()).await?;
        for (((conversation, user), times), snapshot) in members.iter().zip(&snapshots) {
            let outcome = restore_member(world, *conversation, *user, snapshot).await;
            if outcome.is_ok() {
                confirm(world, vec![Confirmation::Member(*conversation, *user); *times]).await;
            }
            self.note(world, outcome, *times)?;
        }
        Ok(())
    }

    /// Counts an outcome. Only a store or records that are unavailable end the round.
    fn note<W: World>(&mut self, world: &W, outcome: Result<(), Error>, amount: usize) -> Result<(), Error> {
        let label = match outcome {
            Ok(()) => {
                self.recovered += amount;
                "recovered"
            }
            Err(error) if is_unavailable(&error) => return Err(error),
            Err(error) => {
                self.failure.get_or_insert(error);
                "failed"
            }
        };
        world.count("announcements", &[("outcome", label)], amount as u64);
        Ok(())
    }
}

/// The number of pending changes in these conversations.
fn changes(conversations: &[PendingConversation]) -> usize {
    conversations.iter().map(|conversation| conversation.changes.len()).sum()
}

/// Reconciles every member, which publishes the missed changes, and confirms.
async fn announce<W: World>(world: &W, batch: &[PendingConversation]) -> Result<(), Error> {
    let targets = batch.iter().flat_map(|pending| {
        let newest = pending.newest();
        pending.members.iter().map(move |user| Target::counted(*user, pending.conversation, newest))
    });
    reconcile(world, targets.collect(), Uncached::Fill).await?;
    last_message::refresh(world, batch.iter().map(|pending| pending.conversation).collect()).await?;
    let confirmations = batch
        .iter()
        .flat_map(|pending| pending.changes.iter().map(|seq| Confirmation::Change(pending.conversation, *seq)))
        .collect();
    confirm(world, confirmations).await;
    Ok(())
}

async fn restore_member<W: World>(
    world: &W,
    conversation: ConversationId,
    user: UserId,
    snapshot: &UnreadSnapshot,
) -> Result<(), Error> {
    let has_read = snapshot.counters.first().is_some_and(|counter| counter.read > counter.joined);
    if has_read {
        read::notify_again(world, user, conversation).await
    } else {
        reconcile(world, vec![Target::latest(user, conversation)], Uncached::Skip).await
    }
}

/// Whether the store or the records are unavailable: these errors name a time for a retry.
const fn is_unavailable(error: &Error) -> bool {
    error.retry_after_ms().is_some()
}
