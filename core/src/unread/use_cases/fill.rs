//! Fills the counters of uncached users from the records. A lease lets one caller at a time do this for a user; other
//! callers wait for it. Every answer of the records is bounded, and so is every transaction, so that a user with any
//! number of conversations is filled within the limits of a call.

use std::collections::BTreeSet;

use super::amend::amend;
use super::missed_events::{MemberSnapshot, missed_events};
use crate::error::{Error, FirstFailure};
use crate::ids::{ConversationId, UserId};
use crate::insertion::CollectByInsertion as _;
use crate::key::{Key, Space};
use crate::limits::{FEED_EVENTS_MAX, FILL_CHUNK, LEASE_TTL_MS};
use crate::port::{Outcome, Query, StoreError, Transaction, UnreadRequest, UnreadSnapshot, Value, World};
use crate::time::Timestamp;
use crate::unread::rules::{self, Fill, MissedEvents, Positions, StoredPosition, missed};
use crate::{store_answers, store_calls};

/// What became of uncached users.
#[derive(Debug, Default)]
pub(crate) struct FillOutcome {
    /// The users whom this call has filled.
    pub(crate) filled: Vec<UserId>,
    /// The users whom another caller fills or has filled.
    pub(crate) waiting: Vec<UserId>,
    /// The first failure that concerns only some of the users.
    pub(crate) failure: FirstFailure,
}

/// Fills the users whose lease is free; at most [`crate::limits::LIST_MAX`] users. A user who cannot be filled does not
/// stop the others.
///
/// # Errors
/// If the store or the records fail for all of them.
pub(crate) async fn fill<W: World>(world: &W, users: &[UserId]) -> Result<FillOutcome, Error> {
    let token = world.now().to_string().into_bytes();
    let mut round = FillRound { token: &token, outcome: FillOutcome::default() };
    let mut leased = round.lease(world, users).await?;
    while !leased.is_empty() {
        leased = match round.fill_answered(world, &leased).await {
            Ok(unanswered) => unanswered,
            Err(error) => {
                if !error.is_store_unavailable() {
                    round.give_up(world, &leased).await;
                }
                return Err(error);
            }
        };
    }
    Ok(round.outcome)
}

/// A part of a user's counters as the records hold them, and how far the user's counters are filled.
type FillStep = (UnreadSnapshot, Fill);

struct FillRound<'t> {
    token: &'t [u8],
    outcome: FillOutcome,
}

impl FillRound<'_> {
    /// Takes the lease of every user that is uncached and has none. Returns the users whose lease was taken.
    ///
    /// The lease holds a token. A caller whose lease has expired may no longer fill, even if no other caller took the
    /// lease.
    async fn lease<W: World>(&mut self, world: &W, users: &[UserId]) -> Result<Vec<UserId>, Error> {
        let transactions = users.iter().map(|user| (*user, rules::take_lease(*user, self.token))).collect();
        self.commit(world, transactions).await
    }

    /// Commits transactions of users. Returns the users for whom all of them were carried out.
    ///
    /// # Errors
    /// Only if the store is unavailable.
    async fn commit<W: World>(
        &mut self,
        world: &W,
        transactions: Vec<(UserId, Transaction)>,
    ) -> Result<Vec<UserId>, Error> {
        let (users, transactions): (Vec<_>, Vec<_>) = transactions.into_iter().unzip();
        let mut committed: BTreeSet<UserId> = users.iter().copied().collect_by_insertion();
        let mut failed = Vec::new();
        for (user, outcome) in users.into_iter().zip(store_calls::commit_all(world, transactions).await?) {
            match outcome {
                Outcome::Committed(_) => {}
                Outcome::Refused(_) => {
                    if committed.remove(&user) {
                        self.outcome.waiting.push(user);
                    }
                }
                Outcome::Failed(error @ StoreError::Unavailable { .. }) => return Err(error.into()),
                Outcome::Failed(error) => {
                    committed.remove(&user);
                    failed.push(user);
                    self.outcome.failure.keep(error);
                }
            }
        }
        self.give_up(world, &failed).await;
        Ok(committed.into_iter().collect())
    }

    /// Asks the records about these users, whose leases were just renewed, and fills those whom the answer is about.
    /// Returns the users whom the answer says nothing about yet.
    async fn fill_answered<W: World>(&mut self, world: &W, users: &[UserId]) -> Result<Vec<UserId>, Error> {
        let since = world.now();
        let snapshots = world.unread(users.iter().map(|user| UnreadRequest::all(*user)).collect()).await?;
        let (answered, unanswered): (Vec<_>, Vec<_>) =
            snapshots.into_iter().partition(|snapshot| !snapshot.more || !snapshot.counters.is_empty());
        let unanswered: Vec<UserId> = unanswered.into_iter().map(|snapshot| snapshot.user).collect();
        let begun = self.begin(world, answered).await?;
        let (whole, partial): (Vec<_>, Vec<_>) = begun.into_iter().partition(|(snapshot, _)| !snapshot.more);
        self.finish_all(world, whole, since).await?;
        for user in partial {
            self.fill_in_pages(world, user, since).await?;
        }
        self.renew(world, unanswered).await
    }

    /// Reads the positions up to which changes were published before the counters were deleted. A user whose positions
    /// cannot be read does not stop the others.
    async fn begin<W: World>(&mut self, world: &W, snapshots: Vec<UnreadSnapshot>) -> Result<Vec<FillStep>, Error> {
        const SPACES: [Space; 2] = [Space::UnreadSequence, Space::UnreadRead];
        let queries = |snapshot: &UnreadSnapshot| {
            let user = snapshot.user;
            SPACES.map(|space| Query::Fields(Key::of_user(space, user)))
        };
        let queries = snapshots.iter().flat_map(queries).collect();
        let answers = store_calls::read_each(world, queries, SPACES.len()).await?;
        let (mut begun, mut failed) = (Vec::with_capacity(snapshots.len()), Vec::new());
        for (snapshot, answer) in snapshots.into_iter().zip(answers) {
            match answer.and_then(parse_positions) {
                Ok(positions) => {
                    let fill = Fill::new(snapshot.user, self.token, positions);
                    begun.push((snapshot, fill));
                }
                Err(error) => {
                    self.outcome.failure.keep(error);
                    failed.push(snapshot.user);
                }
            }
        }
        self.give_up(world, &failed).await;
        Ok(begun)
    }

    /// Fills users whose counters are known, all of them together.
    async fn finish_all<W: World>(&mut self, world: &W, users: Vec<FillStep>, since: Timestamp) -> Result<(), Error> {
        let (users, changes) = self.load_changes(world, users, since).await?;
        let mut shown = added_conversations(&users);
        let (mut chunks, mut last) = (Vec::new(), Vec::new());
        for (snapshot, mut fill) in users {
            let user = snapshot.user;
            let (first, rest) = snapshot.counters.split_at(snapshot.counters.len().saturating_sub(FILL_CHUNK));
            let transactions = fill.write(first, &changes).into_iter();
            last.push((user, fill, rest.to_vec()));
            chunks.extend(transactions.map(|transaction| (user, transaction)));
        }
        for (user, fill, rest) in &mut last {
            chunks.extend(fill.remove_left(rest).into_iter().map(|transaction| (*user, transaction)));
        }
        if !chunks.is_empty() {
            let chunked: Vec<UserId> = chunks.iter().map(|(user, _)| *user).collect();
            let still = self.commit(world, chunks).await?;
            last.retain(|(user, ..)| !chunked.contains(user) || still.contains(user));
        }
        let last = last.into_iter().map(|(user, fill, rest)| (user, fill.finish(&rest, &changes))).collect();
        let filled = self.commit(world, last).await?;
        if !filled.is_empty() {
            world.count("fill", &[("cache", "unread")], filled.len() as u64);
        }
        shown.retain(|(user, _)| filled.contains(user));
        self.outcome.filled.extend(filled);
        self.amend(world, shown, &changes).await
    }

    /// Tells users what changed in the conversations that they were shown. A failure that lasts stops nothing else.
    async fn amend<W: World>(
        &mut self,
        world: &W,
        shown: Vec<(UserId, ConversationId)>,
        changes: &MissedEvents,
    ) -> Result<(), Error> {
        let amended = amend(world, shown, &changes.added).await;
        self.outcome.failure.keep_lasting(amended)
    }

    /// Fills a user with more conversations than the records answer in one call.
    async fn fill_in_pages<W: World>(
        &mut self,
        world: &W,
        mut step: FillStep,
        mut since: Timestamp,
    ) -> Result<(), Error> {
        let user = step.0.user;
        while step.0.more {
            let (kept, changes) = self.load_changes(world, vec![step], since).await?;
            let shown = added_conversations(&kept);
            let Some((page, mut fill)) = kept.into_iter().next() else { return Ok(()) };
            let chunks = fill.write(&page.counters, &changes).into_iter().map(|transaction| (user, transaction));
            if self.commit(world, chunks.collect()).await?.is_empty() {
                return Ok(());
            }
            since = world.now();
            self.amend(world, shown, &changes).await?;
            let after = page.counters.last().map(|counter| counter.conversation);
            let snapshots = world.unread(vec![UnreadRequest { after, ..UnreadRequest::all(user) }]).await?;
            let none = UnreadSnapshot { user, counters: Vec::new(), more: false };
            step = (snapshots.into_iter().next().unwrap_or(none), fill);
        }
        self.finish_all(world, vec![step], since).await
    }

    /// Loads the changes that these users have missed, and returns the users whose lease is still held. Their leases
    /// were renewed at `since`, before the records answered.
    async fn load_changes<W: World>(
        &mut self,
        world: &W,
        users: Vec<FillStep>,
        mut since: Timestamp,
    ) -> Result<(Vec<FillStep>, MissedEvents), Error> {
        let users = self.keep_leases(world, users, &mut since).await?;
        let stored = missed_snapshots(&users);
        if stored.is_empty() {
            return Ok((users, MissedEvents::default()));
        }
        let changes = missed_events(world, stored).await?;
        Ok((self.keep_leases(world, users, &mut since).await?, changes))
    }

    /// Renews the leases of these users if much of their time has passed. Returns the users whose lease is still held.
    async fn keep_leases<W: World>(
        &mut self,
        world: &W,
        mut users: Vec<FillStep>,
        since: &mut Timestamp,
    ) -> Result<Vec<FillStep>, Error> {
        if world.now() > since.plus(LEASE_TTL_MS / 3) {
            let held = self.renew(world, users.iter().map(|(snapshot, _)| snapshot.user).collect()).await?;
            users.retain(|(snapshot, _)| held.contains(&snapshot.user));
            *since = world.now();
        }
        Ok(users)
    }

    /// Renews the leases of users who have to wait for others. Returns the users whose lease is still held.
    async fn renew<W: World>(&mut self, world: &W, users: Vec<UserId>) -> Result<Vec<UserId>, Error> {
        if users.is_empty() {
            return Ok(users);
        }
        let renewals = users.into_iter().map(|user| (user, rules::renew(user, self.token))).collect();
        self.commit(world, renewals).await
    }

    /// Gives leases back, so that nobody waits until they expire. That is what happens if this fails.
    async fn give_up<W: World>(&self, world: &W, users: &[UserId]) {
        let releases = users.iter().map(|user| rules::release(*user, self.token)).collect();
        let _ = store_calls::commit_all(world, releases).await;
    }
}

/// The positions of a user in the fields of both hashes.
fn parse_positions(values: Vec<Value>) -> Result<Positions, StoreError> {
    let mut values = values.into_iter();
    let (seqs, reads) = (store_answers::positions(values.next())?, store_answers::positions(values.next())?);
    let position = |(id, seq)| (id, StoredPosition { seq, read: reads.get(&id).copied() });
    Ok(seqs.into_iter().map(position).collect_by_insertion())
}

/// The conversations that are shown to users who have become members since they were cached.
fn added_conversations(users: &[FillStep]) -> Vec<(UserId, ConversationId)> {
    let of_user = |(snapshot, fill): &FillStep| {
        let added = snapshot.counters.iter().filter(|counter| fill.is_added(counter));
        added.map(|counter| (snapshot.user, counter.conversation)).collect::<Vec<_>>()
    };
    users.iter().flat_map(of_user).collect()
}

/// The counters and positions of the conversations in which users have missed changes, or which are added. Those of a
/// user who has missed more than a feed keeps are left out, because the user is told to load the state.
fn missed_snapshots(users: &[FillStep]) -> Vec<MemberSnapshot> {
    let mut all = Vec::new();
    for (snapshot, fill) in users {
        let snapshots = snapshot.counters.iter().map(|counter| MemberSnapshot {
            user: snapshot.user,
            position: fill.position(counter.conversation),
            counter: *counter,
            is_added: fill.is_added(counter),
        });
        let events = |snapshot: &MemberSnapshot| {
            missed(snapshot.position, &snapshot.counter).saturating_add(u64::from(snapshot.is_added))
        };
        let behind: Vec<_> = snapshots.filter(|snapshot| events(snapshot) > 0).collect();
        let sum = behind.iter().fold(0, |sum: u64, snapshot| sum.saturating_add(events(snapshot)));
        if sum <= FEED_EVENTS_MAX as u64 {
            all.extend(behind);
        }
    }
    all
}
