//! Announces a change to the members of a conversation, to each of them exactly once and in order, and confirms it to
//! the records. A member to whom it cannot be announced does not stop the others; the change then stays pending.

use super::announcement_queue::ConversationQueue;
use crate::announcing::count_pending;
use crate::error::{Error, FirstFailure};
use crate::ids::UserId;
use crate::limits::{LIST_MAX, TRIES_MAX};
use crate::messaging::rules::announcement_queue::{AnnouncementReadiness, WaitOutcome};
use crate::port::{Change, ChangeKind, Changed, Confirmation, LastMessage, Outcome, StoreError, Transaction, World};
use crate::unread::{Target, Uncached, reconcile, rules};
use crate::{event, last_message, store_calls};

/// Announces a stored change. Returns whether it remains pending, because the announcement is not possible now, or not
/// to every member. The caller gets no error, because the change is stored, and the reason may be a key of any member.
#[must_use]
pub(crate) async fn announce_or_delay<W: World>(world: &W, changed: &Changed) -> bool {
    count_pending(world, &announce(world, changed).await)
}

/// Confirms announcements to the records. If this fails, they are announced again, which changes nothing.
pub(super) async fn confirm<W: World>(world: &W, confirmations: Vec<Confirmation>) {
    for chunk in confirmations.chunks(LIST_MAX) {
        if world.announced(chunk.to_vec()).await.is_err() {
            world.count("announcements", &[("outcome", "unconfirmed")], 1);
        }
    }
}

async fn announce<W: World>(world: &W, changed: &Changed) -> Result<(), Error> {
    let change = &changed.change;
    let conversation = change.message.conversation;
    let Remaining { members, overtaken, mut failures } = match change.kind {
        ChangeKind::Sent if change.message.deleted => Remaining::everybody(changed),
        ChangeKind::Sent => announce_in_order(world, changed).await?,
        ChangeKind::Edited | ChangeKind::Deleted => announce_later_change(world, changed).await?,
    };
    let targets = members.into_iter().map(|user| Target::counted(user, conversation, change.seq)).collect();
    failures.keep_lasting(reconcile(world, targets, Uncached::FillFollowed).await)?;
    if overtaken {
        last_message::refresh(world, vec![conversation]).await?;
    }
    failures.report()?;
    confirm(world, vec![Confirmation::Change(conversation, change.seq)]).await;
    Ok(())
}

/// What remains to be done after a change was announced to whoever needs no snapshot.
#[derive(Default)]
struct Remaining {
    /// Members who need a snapshot.
    members: Vec<UserId>,
    /// Whether some member had received the change already, or was uncached, or the change was announced to nobody.
    /// Then a newer change may have been announced, and the cached last message may be missing or older. It may also be
    /// so if the newest message is not known.
    overtaken: bool,
    /// The first failure of a member, or of the cached last message. The change is not confirmed because of it.
    failures: FirstFailure,
}

impl Remaining {
    /// Nobody has received the change yet, and every member needs a snapshot.
    fn everybody(changed: &Changed) -> Self {
        Self { members: changed.members.clone(), overtaken: true, failures: FirstFailure::default() }
    }
}

/// Announces an edit or a deletion to every member whose position in the store is the one in the records, and caches
/// the newest message, in one call of the store.
async fn announce_later_change<W: World>(world: &W, changed: &Changed) -> Result<Remaining, Error> {
    let Some(last) = changed.last.as_ref().filter(|_| !changed.positions.is_empty()) else {
        return Ok(Remaining::everybody(changed));
    };
    let (change, event) = (&changed.change, event::change(&changed.change));
    let positions = changed.positions.iter();
    let announced = positions.clone().map(|member| rules::announce_later_change(change, event.as_ref(), member));
    let mut transactions: Vec<Transaction> = announced.collect();
    transactions.push(last_message::put(last));
    let outcomes = store_calls::commit_all(world, transactions).await?;
    let Attempt { notified, refused, failures } = Attempt::new(positions.map(|member| member.user), &outcomes)?;
    Ok(Remaining { overtaken: notified == 0 || !refused.is_empty(), members: refused, failures })
}

/// Announces a new message to every member who needs no snapshot, in as many attempts as other senders make necessary.
async fn announce_in_order<W: World>(world: &W, changed: &Changed) -> Result<Remaining, Error> {
    let change = &changed.change;
    let Attempt { notified, mut refused, failures } = announce_at_once(world, changed, &changed.members).await?;
    let mut remaining = Remaining { failures, ..Remaining::default() };
    if refused.is_empty() {
        // A member to whom it was announced in place had received no newer change, so the store has lost nothing since.
        return Ok(Remaining { overtaken: notified == 0, ..remaining });
    }
    let queue = ConversationQueue::new(world, change.message.conversation, change.seq);
    let mut retried = false;
    for _ in 0..TRIES_MAX {
        if refused.is_empty() {
            return Ok(remaining);
        }
        let AnnouncementReadiness { notified, mut ready, early, without_position } =
            queue.readiness(world, &refused).await?;
        remaining.overtaken |= notified > 0 || !without_position.is_empty();
        remaining.members.extend(without_position);
        if ready.is_empty() && early.is_empty() {
            return Ok(remaining);
        }
        let outcome = match early.last() {
            Some(last) => queue.wait(world, *last).await?,
            // After a first retry the members that are still refused lack a counter, which their position does not
            // show.
            None if retried => WaitOutcome::Stalled,
            None => {
                retried = true;
                WaitOutcome::Ready
            }
        };
        ready.extend(early);
        refused = match outcome {
            WaitOutcome::Ready => {
                let attempt = announce_at_once(world, changed, &ready).await?;
                remaining.failures.keep_lasting(attempt.failures.report())?;
                attempt.refused
            }
            WaitOutcome::Passed => ready,
            WaitOutcome::Stalled => {
                remaining.overtaken |= !ready.is_empty();
                remaining.members.extend(ready);
                return Ok(remaining);
            }
            WaitOutcome::TimedOut => return Err(Error::Contended),
        };
    }
    Err(Error::Contended)
}

/// The outcome of one attempt to announce a change to several members.
struct Attempt {
    /// The number of members to whom it was announced.
    notified: usize,
    /// The members who were not ready. Those to whom nothing is owed, because they are uncached and nobody follows
    /// them, are not among them.
    refused: Vec<UserId>,
    /// The first failure of a transaction. Its member is neither notified nor refused: a snapshot would fail, too.
    failures: FirstFailure,
}

impl Attempt {
    /// Sorts the members by the outcomes of their transactions. A further outcome is that of the cached last message.
    ///
    /// # Errors
    /// If the store, or a part of it, is unavailable. Whoever goes on would only wait for it again.
    fn new(mut members: impl Iterator<Item = UserId>, outcomes: &[Outcome]) -> Result<Self, Error> {
        let mut attempt = Self { notified: 0, refused: Vec::new(), failures: FirstFailure::default() };
        for outcome in outcomes {
            let member = members.next();
            match outcome {
                Outcome::Refused(rules::OWED_CHECK) => {}
                Outcome::Refused(_) => attempt.refused.extend(member),
                Outcome::Committed(_) => attempt.notified += usize::from(member.is_some()),
                Outcome::Failed(error @ StoreError::Unavailable { .. }) => return Err(error.clone().into()),
                Outcome::Failed(error) => attempt.failures.keep(error.clone()),
            }
        }
        Ok(attempt)
    }
}

/// Tries to announce a new message to these members, and to cache it, in one call of the store.
async fn announce_at_once<W: World>(world: &W, changed: &Changed, members: &[UserId]) -> Result<Attempt, Error> {
    let change = &changed.change;
    let event = event::change(change);
    let mut transactions: Vec<Transaction> =
        members.iter().filter_map(|member| rules::announce(change, event.as_ref(), *member)).collect();
    if event.is_some() {
        transactions.push(last_message::put(&newest(change)));
    }
    let outcomes = store_calls::commit_all(world, transactions).await?;
    Attempt::new(members.iter().copied(), &outcomes)
}

/// The newest message of the conversation after this change; later changes have higher versions.
fn newest(change: &Change) -> LastMessage {
    LastMessage {
        conversation: change.message.conversation,
        version: change.seq,
        message: Some(change.message.clone()),
    }
}
