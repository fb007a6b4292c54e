//! The ports of a host: the fakes behind a layer of faults. At every call the scheduler can run other tasks first; the
//! call can take long, fail before or after its effect, or take effect in parts as far as the contract of the port
//! allows.
//!
//! The oracles observe every effect at the time it happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use roost_core::feed::Position;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::key::{Owner, Space};
use roost_core::port::{
    Answer, Changed, Clock, Confirmation, Created, DirectRequest, Document, DocumentKey, Draft, Edit, Erased, Feeds,
    KeyValue, MemberChange, Mutation, NewConversation, Outcome, PubSub, Publication, Query, ReadMark, Records,
    RecordsError, Replay, ScreenedCall, StoreError, Telemetry, Transaction, UnreadRequest, UnreadSnapshot, Value,
};
use roost_core::time::Timestamp;

use super::executor::complete_now;
use super::next_version;
use super::oracle::{addressed, counters, membership, presence, screen};
use super::planted_bug;
use super::world::World as Shared;

/// The ports as the use cases of one host see them.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) world: Arc<Shared>,
    pub(crate) host: usize,
}

/// The outcome of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CallOutcome {
    Succeeds,
    LostBefore,
    LostAfter,
}

/// The port that a call belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PortKind {
    Store,
    Records,
}

const RETRY_AFTER_MS: u32 = 50;

const fn store_away() -> StoreError {
    StoreError::Unavailable { retry_after_ms: RETRY_AFTER_MS }
}

const fn records_away() -> RecordsError {
    RecordsError::Unavailable { retry_after_ms: RETRY_AFTER_MS }
}

impl Port {
    async fn enter(&self, kind: PortKind, call: &'static str) -> CallOutcome {
        let world = &self.world;
        if world.faults_stopped() {
            return CallOutcome::Succeeds;
        }
        self.delay().await;
        let away = match kind {
            PortKind::Store => world.store_is_away() || world.is_cut_off(self.host),
            PortKind::Records => world.records_are_away(),
        };
        let fail = world.plan.fail;
        let outcome = world.kernel.draw(|rng| match (away, rng.chance(fail), rng.chance(500)) {
            (true, _, _) | (false, true, true) => CallOutcome::LostBefore,
            (false, true, false) => CallOutcome::LostAfter,
            (false, false, _) => CallOutcome::Succeeds,
        });
        let host = self.host;
        world.kernel.note("call", [host as u64, outcome as u64], || {
            let outcome = ["", ", fails before its effect", ", its answer is lost"][outcome as usize];
            format!("h{host} {call}{outcome}")
        });
        outcome
    }

    /// The time that a request or an answer takes.
    async fn delay(&self) {
        let plan = &self.world.plan;
        if self.world.faults_stopped() {
            return;
        }
        let span_ms = self.world.kernel.draw(|rng| {
            if rng.chance(plan.very_slow) {
                Some(rng.between(1_000, 6_000))
            } else if rng.chance(plan.slow) {
                Some(rng.between(1, 50))
            } else {
                rng.chance(plan.switch).then_some(0)
            }
        });
        if let Some(span_ms) = span_ms {
            self.world.kernel.pause(span_ms).await;
        }
    }

    fn is_split(&self) -> bool {
        !self.world.faults_stopped() && self.world.kernel.draw(|rng| rng.chance(self.world.plan.torn))
    }

    /// Applies one transaction and lets the oracles check it.
    fn apply(&self, transaction: Transaction) -> Result<Outcome, StoreError> {
        let world = &self.world;
        let seen = transaction.clone();
        let outcome =
            complete_now(world.store.commit(vec![transaction]))?.pop().unwrap_or(Outcome::Failed(store_away()));
        let refused = u64::from(matches!(outcome, Outcome::Refused(_)));
        let host = self.host;
        world.kernel.note("commit", [host as u64, refused], || describe(host, &seen, &outcome));
        world.deletions().note(&seen, &outcome);
        if let Outcome::Committed(results) = &outcome {
            note_followed(world, &seen);
            super::bus::spread(world);
            counters::committed(world, &seen);
            addressed::committed(world, &seen);
            presence::committed(world, &seen);
            screen::committed(world, &seen, results);
        }
        Ok(outcome)
    }

    /// Applies every transaction separately, in any order; some can be lost.
    async fn apply_separately(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let mut open: Vec<(usize, Transaction)> = transactions.into_iter().enumerate().collect();
        let mut outcomes = BTreeMap::new();
        while !open.is_empty() {
            let index = self.world.kernel.draw(|rng| rng.below(open.len() as u64)) as usize;
            let (index, transaction) = open.swap_remove(index);
            self.delay().await;
            let fail = self.world.plan.fail;
            let (lost, before) = self.world.kernel.draw(|rng| (rng.chance(fail), rng.chance(500)));
            let outcome = match (lost && !self.world.faults_stopped(), before) {
                (true, true) => Outcome::Failed(store_away()),
                (true, false) => {
                    self.apply(transaction)?;
                    Outcome::Failed(store_away())
                }
                (false, _) => self.apply(transaction)?,
            };
            outcomes.insert(index, outcome);
        }
        Ok(outcomes.into_values().collect())
    }

    /// Answers the queries of one owner at one point in time; other owners can be read later.
    async fn read_separately(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        let mut values = vec![Value::Missing; queries.len()];
        let mut owners: Vec<_> = queries.iter().map(|query| query.key().owner).collect();
        owners.dedup();
        for owner in owners {
            self.delay().await;
            let indices: Vec<_> = (0..queries.len()).filter(|index| queries[*index].key().owner == owner).collect();
            let asked = indices.iter().map(|index| queries[*index].clone()).collect();
            for (index, value) in indices.into_iter().zip(complete_now(self.world.store.read(asked))?) {
                values[index] = value;
            }
        }
        Ok(values)
    }

    /// Follows a user. Returns the user's position with its index in the ground truth, which cannot change later.
    pub(crate) async fn follow(&self, user: UserId) -> Result<(Position, usize), StoreError> {
        if self.enter(PortKind::Store, "follow").await == CallOutcome::LostBefore {
            return Err(store_away());
        }
        let position = complete_now(self.world.store.follow(&[user]))?.pop().ok_or(store_away())?;
        self.world.ground_truth().followed(user, self.world.kernel.now_ms());
        let index = self.world.ground_truth().feeds.get(&user).map_or(0, Vec::len);
        self.delay().await;
        Ok((position, index))
    }

    /// The events of the user's feed after this position.
    pub(crate) async fn replay(&self, user: UserId, since: &Position) -> Result<Replay, StoreError> {
        if self.enter(PortKind::Store, "replay").await != CallOutcome::Succeeds {
            return Err(store_away());
        }
        let replay = complete_now(self.world.store.replay(user, since))?;
        self.delay().await;
        Ok(replay)
    }
}

/// Records that a transaction lets the events of its owner be kept.
fn note_followed(world: &Shared, transaction: &Transaction) {
    let follows = |mutation: &Mutation| matches!(mutation, Mutation::Set(key, ..) if key.space == Space::Followed);
    if let (Owner::User(user), true) = (transaction.owner, transaction.mutations.iter().any(follows)) {
        world.ground_truth().followed(user, world.kernel.now_ms());
    }
}

fn describe(host: usize, transaction: &Transaction, outcome: &Outcome) -> String {
    let keys: Vec<_> = transaction.mutations.iter().map(|mutation| mutation.key().space.name()).collect();
    let events: Vec<_> = transaction.publications.iter().map(|event| event.name.as_ref()).collect();
    let outcome = match outcome {
        Outcome::Committed(_) => "done".to_owned(),
        Outcome::Refused(check) => format!("refused: {:?}", transaction.checks.get(*check as usize)),
        Outcome::Failed(error) => error.to_string(),
    };
    format!("h{host} {:?} {} {}: {outcome}", transaction.owner, keys.join(" "), events.join(" "))
}

impl KeyValue for Port {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        if self.enter(PortKind::Store, "read").await != CallOutcome::Succeeds {
            return Err(store_away());
        }
        let asked = self.world.planted_bug.map(|_| queries.clone());
        let values = if self.is_split() {
            self.read_separately(queries).await
        } else {
            complete_now(self.world.store.read(queries))
        };
        let mut values = values.inspect_err(|error| self.misused(error))?;
        if let Some(asked) = asked {
            planted_bug::answered(&self.world, &asked, &mut values);
        }
        self.delay().await;
        Ok(values)
    }

    async fn commit(&self, mut transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let loose = planted_bug::tamper(&self.world, &mut transactions);
        if self.world.host(self.host).runs_next_version {
            next_version::rewrite(&self.world, &mut transactions);
            self.world.next_version_commits();
        }
        let outcome = self.enter(PortKind::Store, "commit").await;
        if outcome == CallOutcome::LostBefore {
            return Err(store_away());
        }
        let screened = ScreenedCall::of(transactions.clone()).inspect_err(|error| self.misused(error))?;
        for index in screened.refused() {
            self.misused(&StoreError::TooLarge(format!("the transaction at {index}")));
        }
        let outcomes = if transactions.len() > 1 && self.is_split() {
            self.apply_separately(transactions).await
        } else {
            transactions.into_iter().map(|transaction| self.apply(transaction)).collect()
        };
        let outcomes = outcomes.inspect_err(|error| self.misused(error))?;
        self.delay().await;
        if !loose.is_empty() {
            self.publish(planted_bug::detached(&loose, &outcomes)).await.ok();
        }
        if outcome == CallOutcome::LostAfter { Err(store_away()) } else { Ok(outcomes) }
    }
}

impl Port {
    /// A call that no adapter can answer is a bug in the rules.
    fn misused(&self, error: &StoreError) {
        if !matches!(error, StoreError::Unavailable { .. }) {
            self.world.ground_truth().violate(0, || format!("a call that the store refuses: {error}"));
        }
    }
}

impl PubSub for Port {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        let outcome = self.enter(PortKind::Store, "publish").await;
        if outcome == CallOutcome::LostBefore {
            return Err(store_away());
        }
        // After an error, some events may have been published and some not.
        let all = publications.len() as u64;
        let some =
            if outcome == CallOutcome::LostAfter { self.world.kernel.draw(|rng| rng.between(0, all)) } else { all };
        let is_withheld = |publication: &Publication| planted_bug::is_withheld(&self.world, publication);
        let publications = publications.into_iter().take(some as usize).filter(|one| !is_withheld(one)).collect();
        complete_now(self.world.store.publish(publications)).inspect_err(|error| self.misused(error))?;
        super::bus::spread(&self.world);
        self.delay().await;
        if outcome == CallOutcome::LostAfter { Err(store_away()) } else { Ok(()) }
    }
}

impl Clock for Port {
    fn now(&self) -> Timestamp {
        let skew_ms = self.world.host(self.host).skew_ms;
        Timestamp(self.world.now().0.saturating_add_signed(skew_ms))
    }

    async fn wait(&self, milliseconds: u32) {
        self.world.kernel.pause(u64::from(milliseconds.clamp(1, 1_000))).await;
    }
}

impl Telemetry for Port {
    /// Counts only work without the store: runs without such work prove nothing about it.
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], _: u64) {
        let mut degraded = self.world.degraded();
        match (name, labels) {
            ("degraded", [("what", "mark_read")]) => degraded.marks += 1,
            ("degraded", _) => degraded.reads += 1,
            ("announcements", [("outcome", "delayed")]) => degraded.sends += 1,
            _ => {}
        }
    }
}

impl Port {
    /// One call of the records: with faults, and observed by the oracles at the time of its effect.
    async fn ask<T>(&self, call: &'static str, effect: impl FnOnce(&Shared) -> Answer<T> + Send) -> Answer<T> {
        self.world.ask_records();
        let outcome = self.enter(PortKind::Records, call).await;
        if outcome == CallOutcome::LostBefore {
            return Err(records_away());
        }
        let answer = effect(&self.world);
        self.delay().await;
        if outcome == CallOutcome::LostAfter { Err(records_away()) } else { answer }
    }
}

/// Implements an operation that no oracle observes. Operations with an empty arm are implemented below.
macro_rules! unobserved {
    (append_message $($rest:tt)*) => {};
    (edit_message $($rest:tt)*) => {};
    (delete_message $($rest:tt)*) => {};
    (mark_read $($rest:tt)*) => {};
    (unread $($rest:tt)*) => {};
    (create_conversation $($rest:tt)*) => {};
    (add_member $($rest:tt)*) => {};
    (remove_member $($rest:tt)*) => {};
    (add_contact $($rest:tt)*) => {};
    (remove_contact $($rest:tt)*) => {};
    (block $($rest:tt)*) => {};
    (unblock $($rest:tt)*) => {};
    (announced $($rest:tt)*) => {};
    (create_direct $($rest:tt)*) => {};
    (erase_user $($rest:tt)*) => {};
    (read_documents $($rest:tt)*) => {};
    ($method:ident($($argument:ident: $type:ty),*) -> $answer:ty) => {
        async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
            self.ask(stringify!($method), |world| complete_now(world.records.$method($($argument),*))).await
        }
    };
}

macro_rules! every_unobserved {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(unobserved! { $method($($argument: $type),*) -> $answer })*
    };
}

impl Records for Port {
    roost_core::records_operations!(every_unobserved);

    async fn append_message(&self, draft: Draft) -> Answer<Changed> {
        self.ask("append", |world| changed(world, complete_now(world.records.append_message(draft)))).await
    }

    async fn edit_message(&self, edit: Edit) -> Answer<Changed> {
        self.ask("edit", |world| changed(world, complete_now(world.records.edit_message(edit)))).await
    }

    async fn delete_message(
        &self,
        conversation: ConversationId,
        message: MessageId,
        actor: Option<UserId>,
        at: Timestamp,
    ) -> Answer<Changed> {
        let delete = |world: &Shared| complete_now(world.records.delete_message(conversation, message, actor, at));
        self.ask("delete", |world| changed(world, delete(world))).await
    }

    async fn mark_read(&self, user: UserId, conversation: ConversationId, up_to: Option<Seq>) -> Answer<ReadMark> {
        self.ask("mark_read", |world| {
            let answer = complete_now(world.records.mark_read(user, conversation, up_to));
            answer.inspect(|mark| world.ground_truth().marked(user, mark, world.kernel.now_ms()))
        })
        .await
    }

    /// Answers each request at one point in time; other requests of the same call can be answered later.
    async fn unread(&self, requests: Vec<UnreadRequest>) -> Answer<Vec<UnreadSnapshot>> {
        if requests.len() < 2 || !self.is_split() {
            return self.ask("unread", |world| complete_now(world.records.unread(requests))).await;
        }
        let mut snapshots = Vec::with_capacity(requests.len());
        for request in requests {
            snapshots.extend(self.ask("unread", |world| complete_now(world.records.unread(vec![request]))).await?);
        }
        Ok(snapshots)
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Answer<Created> {
        self.ask("create", |world| {
            let answer = complete_now(world.records.create_conversation(conversation));
            answer.inspect(|created| membership::created(world, created))
        })
        .await
    }

    async fn create_direct(&self, request: DirectRequest) -> Answer<Created> {
        self.ask("create_direct", |world| {
            let answer = complete_now(world.records.create_direct(request));
            answer.inspect(|created| membership::created(world, created))
        })
        .await
    }

    async fn erase_user(&self, user: UserId, at: Timestamp) -> Answer<Erased> {
        self.ask("erase", |world| {
            let answer = complete_now(world.records.erase_user(user, at));
            answer.inspect(|erased| {
                erased.left.iter().for_each(|conversation| membership::moved(world, *conversation, user));
                erased.related.iter().for_each(|other| membership::contacts_changed(world, user, *other));
                let now_ms = world.kernel.now_ms();
                erased.deleted.iter().for_each(|deleted| world.ground_truth().changed(deleted, now_ms));
            })
        })
        .await
    }

    async fn add_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        self.ask("add", |world| {
            membership::moved(world, change.conversation, change.user);
            complete_now(world.records.add_member(change))
        })
        .await
    }

    async fn remove_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        self.ask("remove", |world| {
            membership::moved(world, change.conversation, change.user);
            complete_now(world.records.remove_member(change))
        })
        .await
    }

    async fn add_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        self.ask("add_contact", |world| {
            complete_now(world.records.add_contact(user, contact))
                .inspect(|()| membership::contacts_changed(world, user, contact))
        })
        .await
    }

    async fn remove_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        self.ask("remove_contact", |world| {
            complete_now(world.records.remove_contact(user, contact))
                .inspect(|()| membership::contacts_changed(world, user, contact))
        })
        .await
    }

    async fn block(&self, user: UserId, blocked: UserId) -> Answer<()> {
        self.ask("block", |world| {
            world.ground_truth().blocked.extend([(user, blocked), (blocked, user)]);
            complete_now(world.records.block(user, blocked))
                .inspect(|()| membership::contacts_changed(world, user, blocked))
        })
        .await
    }

    async fn unblock(&self, user: UserId, blocked: UserId) -> Answer<()> {
        self.ask("unblock", |world| {
            complete_now(world.records.unblock(user, blocked))
                .inspect(|()| membership::contacts_changed(world, user, blocked))
        })
        .await
    }

    async fn read_documents(&self, keys: Vec<DocumentKey>) -> Answer<Vec<Option<Document>>> {
        let mut found = self.ask("read_documents", |world| complete_now(world.records.read_documents(keys))).await?;
        planted_bug::documents(&self.world, &mut found);
        Ok(found)
    }

    /// The confirmation is only a hint: it can be lost without notice.
    async fn announced(&self, confirmations: Vec<Confirmation>) -> Answer<()> {
        let lost =
            !self.world.faults_stopped() && self.world.kernel.draw(|rng| rng.chance(self.world.plan.unconfirmed));
        let kept = if lost { Vec::new() } else { confirmations };
        self.ask("announced", |world| complete_now(world.records.announced(kept))).await
    }
}

fn changed(world: &Shared, answer: Answer<Changed>) -> Answer<Changed> {
    answer.inspect(|changed| {
        let change = &changed.change;
        world.kernel.note("stored", [change.seq.0, changed.members.len() as u64], || {
            format!("{:?} {} at {} of {}", change.kind, change.message.content, change.seq, change.message.conversation)
        });
        world.ground_truth().changed(changed, world.kernel.now_ms());
    })
}
