//! Announces changes again that were stored some time ago and never confirmed: after a crash, or while the store was
//! unavailable.
//!
//! This happens in rounds. Each round is limited in pages and time, so that thousands of changes are announced without
//! keeping other callers from the store. It walks through the outbox with a cursor, and the changes of a page are
//! announced together, by conversation.
//!
//! What cannot be announced delays nothing else. Before an attempt, its items are noted as tried, and only a
//! confirmation removes them. So items that fail, or that end the whole call, leave the ones that were never tried;
//! [`retry`] tries them again, later and later, in rounds of their own. A batch that fails is halved until the items
//! that are the reason are alone.

use super::announce::confirm;
use super::membership::{announce_again, announce_creation_again};
use super::read;
use crate::contacts;
use crate::error::Error;
use crate::key::Key;
use crate::last_message;
use crate::limits::{
    LIST_MAX, PENDING_AFTER_MS, RECOVERY_ATTEMPTS_REPORTED, RECOVERY_MS_MAX, RECOVERY_PAGES_MAX,
    RECOVERY_UNAVAILABLE_MAX,
};
use crate::messaging::rules::recovery::{
    PendingConversation, PendingMove, PendingWork, Recoverable, TriedItem, batches, group,
};
use crate::port::{Confirmation, PendingId, PendingItem, PendingQuery, Postponement, Query, UnreadRequest, World};
use crate::spread;
use crate::time::Timestamp;
use crate::unread::{Target, Uncached, reconcile};

/// What the operator is told about an announcement that fails again and again.
const ADVICE: &str = "an announcement keeps failing: its members are not told of a stored change; it is tried again, \
    later and later, at least once a minute. Remove the cause that `problem` names; `roost verify` lists all of them, and `roost repair` \
    tries them at once";

/// Runs one round for what was never tried. Returns the number of announcements that were made.
///
/// # Errors
/// If the store or the records are unavailable. An announcement that fails for another reason is counted, postponed and
/// reported, and is no error of the round.
pub async fn recover<W: World>(world: &W) -> Result<usize, Error> {
    let before = world.now().minus(PENDING_AFTER_MS);
    RecoveryRound::new(world).run(PendingQuery::untried(before)).await
}

/// As [`recover`], for what was tried before and is due again.
///
/// # Errors
/// As [`recover`].
pub async fn retry<W: World>(world: &W) -> Result<usize, Error> {
    let now = world.now();
    RecoveryRound::new(world).run(PendingQuery::tried(now)).await
}

/// Whether a round goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RoundState {
    Continue,
    /// The time of the round is over.
    End,
}

struct RecoveryRound<'w, W> {
    world: &'w W,
    began: Timestamp,
    recovered: usize,
    /// The attempts since the last one that found the store and the records available.
    unavailable_in_a_row: u32,
}

impl<'w, W: World> RecoveryRound<'w, W> {
    fn new(world: &'w W) -> Self {
        Self { world, began: world.now(), recovered: 0, unavailable_in_a_row: 0 }
    }

    async fn run(mut self, mut query: PendingQuery) -> Result<usize, Error> {
        for _ in 0..RECOVERY_PAGES_MAX {
            let page = self.world.pending(query.clone()).await?;
            self.check_store(&page.items).await?;
            query.cursor = page.next;
            let next = self.announce_page(page.items).await?;
            if query.cursor.is_none() || next == RoundState::End || self.is_over() {
                break;
            }
        }
        Ok(self.recovered)
    }

    fn is_over(&self) -> bool {
        self.world.now() > self.began.plus(RECOVERY_MS_MAX)
    }

    /// Ends the round, before it notes anything as tried, if the store is unavailable. It asks for any one of the
    /// conversations: a part of the store may be unavailable while the rest works.
    async fn check_store(&self, items: &[PendingItem]) -> Result<(), Error> {
        let index = spread::hash(&self.began.to_string()) % items.len().max(1) as u64;
        let Some(item) = items.get(usize::try_from(index).unwrap_or(0)) else { return Ok(()) };
        let query = match PendingId::from(&item.pending) {
            PendingId::Contact(user, _) => Query::Presence(Key::followed(user)),
            PendingId::Change(conversation, _)
            | PendingId::Member(conversation, _)
            | PendingId::Membership(conversation, _)
            | PendingId::Creation(conversation) => last_message::query(conversation),
        };
        match self.world.read(vec![query]).await.map_err(Error::from) {
            Err(error) if error.is_unavailable() => Err(error),
            _ => Ok(()),
        }
    }

    async fn announce_page(&mut self, items: Vec<PendingItem>) -> Result<RoundState, Error> {
        let PendingWork { conversations, moves } = group(items);
        for batch in batches(conversations) {
            if self.is_over() || self.announce(batch).await? == RoundState::End {
                return Ok(RoundState::End);
            }
        }
        for batch in batches(moves) {
            if self.is_over() || self.restore(batch).await? == RoundState::End {
                return Ok(RoundState::End);
            }
        }
        Ok(RoundState::Continue)
    }

    /// Announces conversations together. A batch that fails is halved.
    async fn announce(&mut self, batch: Vec<PendingConversation>) -> Result<RoundState, Error> {
        self.claim(&batch).await?;
        let mut waiting = vec![batch];
        while let Some(mut batch) = waiting.pop() {
            if self.is_over() {
                waiting.push(batch);
                self.release(&waiting).await;
                return Ok(RoundState::End);
            }
            let outcome = announce(self.world, &batch).await;
            if outcome.is_err() && batch.len() > 1 && !self.gives_up(&outcome) {
                let half = batch.split_off(batch.len() / 2);
                waiting.extend([half, batch]);
                continue;
            }
            if let Err(error) = self.note(outcome, &batch).await {
                waiting.push(batch);
                self.release(&waiting).await;
                return Err(error);
            }
        }
        Ok(RoundState::Continue)
    }

    /// Repeats what should have followed from moves. Each member is announced once, however often the member moved.
    async fn restore(&mut self, batch: Vec<PendingMove>) -> Result<RoundState, Error> {
        self.claim(&batch).await?;
        let mut waiting = vec![batch];
        while let Some(mut batch) = waiting.pop() {
            let snapshots = snapshots(self.world, &batch).await;
            if snapshots.is_err() && batch.len() > 1 && !self.gives_up(&snapshots) {
                let half = batch.split_off(batch.len() / 2);
                waiting.extend([half, batch]);
                continue;
            }
            let outcomes = match snapshots {
                Ok(snapshots) => snapshots.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error); batch.len()],
            };
            let mut remaining = batch.as_slice();
            for snapshot in outcomes {
                let Some((moved, others)) = remaining.split_first() else { break };
                if self.is_over() {
                    waiting.push(remaining.to_vec());
                    self.release(&waiting).await;
                    return Ok(RoundState::End);
                }
                let outcome = restore(self.world, moved, snapshot).await;
                if let Err(error) = self.note(outcome, std::slice::from_ref(moved)).await {
                    waiting.push(remaining.to_vec());
                    self.release(&waiting).await;
                    return Err(error);
                }
                remaining = others;
            }
        }
        Ok(RoundState::Continue)
    }

    /// Notes everything in the batch as tried, before it is tried: the attempt may be the last thing that this call
    /// does.
    async fn claim<I: Recoverable>(&self, batch: &[I]) -> Result<(), Error> {
        let now = self.world.now();
        self.postpone(items(batch).into_iter().map(|item| item.claimed(now)).collect()).await
    }

    /// Puts items back that were not tried. If that fails, they are tried again after a short pause.
    async fn release<I: Recoverable>(&self, batches: &[Vec<I>]) {
        let now = self.world.now();
        let items = batches.iter().flat_map(|batch| items(batch));
        let released = self.postpone(items.map(|item| item.released(now)).collect()).await;
        if released.is_err() {
            self.world.count("announcements", &[("outcome", "unreleased")], 1);
        }
    }

    async fn postpone(&self, postponements: Vec<Postponement>) -> Result<(), Error> {
        for chunk in postponements.chunks(LIST_MAX) {
            self.world.postpone(chunk.to_vec()).await?;
        }
        Ok(())
    }

    /// Whether this failure is one too many of those that only say that the store or the records are unavailable.
    fn gives_up<T>(&mut self, outcome: &Result<T, Error>) -> bool {
        let unavailable = outcome.as_ref().is_err_and(Error::is_unavailable);
        self.unavailable_in_a_row = if unavailable { self.unavailable_in_a_row + 1 } else { 0 };
        self.unavailable_in_a_row >= RECOVERY_UNAVAILABLE_MAX
    }

    /// Counts an outcome. Only a store or records that stay unavailable end the round.
    async fn note<I: Recoverable>(&mut self, outcome: Result<(), Error>, batch: &[I]) -> Result<(), Error> {
        let gives_up = self.gives_up(&outcome);
        let items = items(batch);
        let label = match outcome {
            Ok(()) => {
                self.recovered += items.len();
                "recovered"
            }
            Err(error) if gives_up => return Err(error),
            Err(error) if error.is_store_unavailable() => {
                let now = self.world.now();
                self.postpone(items.iter().map(|item| item.postponed_without_fault(now)).collect()).await?;
                "postponed"
            }
            Err(error) => {
                items.iter().for_each(|item| self.report(*item, &error));
                "failed"
            }
        };
        self.world.count("announcements", &[("outcome", label)], items.len() as u64);
        Ok(())
    }

    /// Tells the operator, once, about an item that was tried in vain several times. An item whose attempts end the
    /// whole call is listed by `roost verify` only.
    fn report(&self, item: TriedItem, error: &Error) {
        if item.attempts.saturating_add(1) != RECOVERY_ATTEMPTS_REPORTED {
            return;
        }
        self.world.count("announcements", &[("outcome", "stuck")], 1);
        let mut fields: Vec<(&str, String)> = match item.id {
            PendingId::Change(conversation, seq) => {
                vec![("conversation", conversation.to_string()), ("seq", seq.to_string())]
            }
            PendingId::Member(conversation, user) | PendingId::Membership(conversation, user) => {
                vec![("conversation", conversation.to_string()), ("user", user.to_string())]
            }
            PendingId::Creation(conversation) => vec![("conversation", conversation.to_string())],
            PendingId::Contact(user, other) => vec![("user", user.to_string()), ("other", other.to_string())],
        };
        fields.push(("problem", error.to_string()));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, text)| (*name, text.as_str())).collect();
        self.world.warn(ADVICE, &fields);
    }
}

/// The items of everything in a batch.
fn items<I: Recoverable>(batch: &[I]) -> Vec<TriedItem> {
    batch.iter().flat_map(Recoverable::items).collect()
}

/// Reconciles every member, which publishes the missed changes, and confirms.
async fn announce<W: World>(world: &W, batch: &[PendingConversation]) -> Result<(), Error> {
    let targets = batch.iter().flat_map(|pending| {
        let newest = pending.newest();
        pending.members.iter().map(move |user| Target::counted(*user, pending.conversation, newest))
    });
    reconcile(world, targets.collect(), Uncached::FillFollowed).await?;
    last_message::refresh(world, batch.iter().map(|pending| pending.conversation).collect()).await?;
    let confirmations = batch
        .iter()
        .flat_map(|pending| pending.changes.iter().map(|(seq, _)| Confirmation::Change(pending.conversation, *seq)));
    confirm(world, confirmations.collect()).await;
    Ok(())
}

/// For each move whether it is that of a member who has read something since joining.
async fn snapshots<W: World>(world: &W, batch: &[PendingMove]) -> Result<Vec<bool>, Error> {
    let request = |moved: &PendingMove| match moved.id {
        PendingId::Member(conversation, user) => Some(UnreadRequest::named(user, vec![conversation])),
        _ => None,
    };
    let requests: Vec<UnreadRequest> = batch.iter().filter_map(request).collect();
    if requests.is_empty() {
        return Ok(vec![false; batch.len()]);
    }
    let mut snapshots = world.unread(requests).await?.into_iter();
    let has_read = |moved: &PendingMove| {
        let snapshot = request(moved).and_then(|_| snapshots.next());
        snapshot.is_some_and(|snapshot| snapshot.counters.first().is_some_and(|counter| counter.read > counter.joined))
    };
    Ok(batch.iter().map(has_read).collect())
}

async fn restore<W: World>(world: &W, moved: &PendingMove, has_read: Result<bool, Error>) -> Result<(), Error> {
    match (moved.id, has_read?) {
        (PendingId::Change(..), _) => {}
        (PendingId::Member(conversation, user), true) => read::notify_again(world, user, conversation).await?,
        (PendingId::Member(conversation, user), false) => {
            reconcile(world, vec![Target::latest(user, conversation)], Uncached::FillFollowed).await?;
        }
        (PendingId::Membership(conversation, user), _) => announce_again(world, conversation, user).await?,
        (PendingId::Creation(conversation), _) => announce_creation_again(world, conversation).await?,
        (PendingId::Contact(user, other), _) => contacts::announce(world, user, other).await?,
    }
    confirm(world, moved.confirmation().into_iter().collect()).await;
    Ok(())
}
