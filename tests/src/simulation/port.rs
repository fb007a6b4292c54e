//! A host's ports: the fakes behind a wall of faults. At every call the scheduler may let others go first, the call
//! may take long, fail before or after its effect, or fall apart into pieces as far as the port's contract allows.
//!
//! Every effect is seen by the oracles at the moment it happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use roost_core::feed::Position;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::port::{
    Answer, Changed, Clock, Confirmation, Created, Draft, Edit, Feeds, KeyValue, MemberChange, NewConversation,
    Outcome, PubSub, Publication, Query, ReadMark, Records, RecordsError, Replay, StoreError, Telemetry, Transaction,
    UnreadRequest, UnreadSnapshot, Value, validate_commit,
};
use roost_core::time::Timestamp;

use super::executor::at_once;
use super::mistake;
use super::oracle::{counters, people, presence};
use super::world::World as Shared;

/// What one host's use cases see of the world.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) world: Arc<Shared>,
    pub(crate) host: usize,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    LostBefore,
    LostAfter,
}

/// Whose call it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
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
    async fn enter(&self, side: Side, call: &'static str) -> Fate {
        let world = &self.world;
        if world.is_calm() {
            return Fate::Fine;
        }
        self.way().await;
        let away = match side {
            Side::Store => world.store_is_away(),
            Side::Records => world.records_are_away(),
        };
        let fail = world.plan.fail;
        let fate = world.kernel.draw(|rng| match (away, rng.chance(fail), rng.chance(500)) {
            (true, _, _) | (false, true, true) => Fate::LostBefore,
            (false, true, false) => Fate::LostAfter,
            (false, false, _) => Fate::Fine,
        });
        let host = self.host;
        world.kernel.note("call", [host as u64, fate as u64], || {
            let outcome = ["", ", fails before its effect", ", its answer is lost"][fate as usize];
            format!("h{host} {call}{outcome}")
        });
        fate
    }

    /// The time a request or an answer is under way.
    async fn way(&self) {
        let plan = &self.world.plan;
        if self.world.is_calm() {
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

    fn falls_apart(&self) -> bool {
        !self.world.is_calm() && self.world.kernel.draw(|rng| rng.chance(self.world.plan.torn))
    }

    /// One transaction takes effect and is looked at.
    fn carry_out(&self, transaction: Transaction) -> Result<Outcome, StoreError> {
        let world = &self.world;
        let seen = transaction.clone();
        let outcome = at_once(world.store.commit(vec![transaction]))?.pop().unwrap_or(Outcome::Failed(store_away()));
        let refused = u64::from(matches!(outcome, Outcome::Refused(_)));
        let host = self.host;
        world.kernel.note("commit", [host as u64, refused], || describe(host, &seen, &outcome));
        if let Outcome::Committed(_) = outcome {
            super::bus::spread(world);
            counters::committed(world, &seen);
            presence::committed(world, &seen);
        }
        Ok(outcome)
    }

    /// Every transaction on its own, in any order; some may be lost.
    async fn carry_out_apart(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let mut open: Vec<(usize, Transaction)> = transactions.into_iter().enumerate().collect();
        let mut outcomes = BTreeMap::new();
        while !open.is_empty() {
            let index = self.world.kernel.draw(|rng| rng.below(open.len() as u64)) as usize;
            let (place, transaction) = open.swap_remove(index);
            self.way().await;
            let fail = self.world.plan.fail;
            let (lost, before) = self.world.kernel.draw(|rng| (rng.chance(fail), rng.chance(500)));
            let outcome = match (lost && !self.world.is_calm(), before) {
                (true, true) => Outcome::Failed(store_away()),
                (true, false) => {
                    self.carry_out(transaction)?;
                    Outcome::Failed(store_away())
                }
                (false, _) => self.carry_out(transaction)?,
            };
            outcomes.insert(place, outcome);
        }
        Ok(outcomes.into_values().collect())
    }

    /// What is asked of one owner is answered from one moment; other owners may be asked later.
    async fn read_apart(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        let mut values = vec![Value::Missing; queries.len()];
        let mut owners: Vec<_> = queries.iter().map(|query| query.key().owner).collect();
        owners.dedup();
        for owner in owners {
            self.way().await;
            let places: Vec<_> = (0..queries.len()).filter(|place| queries[*place].key().owner == owner).collect();
            let asked = places.iter().map(|place| queries[*place].clone()).collect();
            for (place, value) in places.into_iter().zip(at_once(self.world.store.read(asked))?) {
                values[place] = value;
            }
        }
        Ok(values)
    }

    /// The positions of these users, each with its place in the ledger: nobody can lie about that later.
    pub(crate) async fn positions(&self, user: UserId) -> Result<(Position, usize), StoreError> {
        if self.enter(Side::Store, "positions").await == Fate::LostBefore {
            return Err(store_away());
        }
        let position = at_once(self.world.store.positions(&[user]))?.pop().ok_or(store_away())?;
        let place = self.world.ledger().feeds.get(&user).map_or(0, Vec::len);
        self.way().await;
        Ok((position, place))
    }

    /// What the user's feed holds after this position.
    pub(crate) async fn replay(&self, user: UserId, since: &Position) -> Result<Replay, StoreError> {
        if self.enter(Side::Store, "replay").await != Fate::Fine {
            return Err(store_away());
        }
        let replay = at_once(self.world.store.replay(user, since))?;
        self.way().await;
        Ok(replay)
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
        if self.enter(Side::Store, "read").await != Fate::Fine {
            return Err(store_away());
        }
        let asked = self.world.mistake.map(|_| queries.clone());
        let values =
            if self.falls_apart() { self.read_apart(queries).await } else { at_once(self.world.store.read(queries)) };
        let mut values = values.inspect_err(|error| self.misused(error))?;
        if let Some(asked) = asked {
            mistake::answered(&self.world, &asked, &mut values);
        }
        self.way().await;
        Ok(values)
    }

    async fn commit(&self, mut transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let loose = mistake::tamper(&self.world, &mut transactions);
        let fate = self.enter(Side::Store, "commit").await;
        if fate == Fate::LostBefore {
            return Err(store_away());
        }
        validate_commit(&transactions).inspect_err(|error| self.misused(error))?;
        let outcomes = if transactions.len() > 1 && self.falls_apart() {
            self.carry_out_apart(transactions).await
        } else {
            transactions.into_iter().map(|transaction| self.carry_out(transaction)).collect()
        };
        let outcomes = outcomes.inspect_err(|error| self.misused(error))?;
        self.way().await;
        if !loose.is_empty() {
            let happened = loose.into_iter().filter(|(place, _)| matches!(outcomes[*place], Outcome::Committed(_)));
            self.publish(happened.flat_map(|(_, publications)| publications).collect()).await.ok();
        }
        if fate == Fate::LostAfter { Err(store_away()) } else { Ok(outcomes) }
    }
}

impl Port {
    /// A call that no adapter answers is a mistake of the rules.
    fn misused(&self, error: &StoreError) {
        if !matches!(error, StoreError::Unavailable { .. }) {
            self.world.ledger().violate(0, || format!("a call that the store refuses: {error}"));
        }
    }
}

impl PubSub for Port {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        let fate = self.enter(Side::Store, "publish").await;
        if fate == Fate::LostBefore {
            return Err(store_away());
        }
        // After an error some may have gone out and some not.
        let all = publications.len() as u64;
        let some = if fate == Fate::LostAfter { self.world.kernel.draw(|rng| rng.between(0, all)) } else { all };
        let publications = publications.into_iter().take(some as usize).collect();
        at_once(self.world.store.publish(publications)).inspect_err(|error| self.misused(error))?;
        super::bus::spread(&self.world);
        self.way().await;
        if fate == Fate::LostAfter { Err(store_away()) } else { Ok(()) }
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
    /// Only what was done without the store: runs that never come to that prove nothing about it.
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
    /// One call of the records: through the faults, and shown to the oracles at the moment of its effect.
    async fn ask<T>(&self, call: &'static str, effect: impl FnOnce(&Shared) -> Answer<T> + Send) -> Answer<T> {
        self.world.ask_records();
        let fate = self.enter(Side::Records, call).await;
        if fate == Fate::LostBefore {
            return Err(records_away());
        }
        let answer = effect(&self.world);
        self.way().await;
        if fate == Fate::LostAfter { Err(records_away()) } else { answer }
    }
}

/// Implements an operation that no oracle looks at. Operations with an empty arm are implemented below.
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
    ($method:ident($($argument:ident: $type:ty),*) -> $answer:ty) => {
        async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
            self.ask(stringify!($method), |world| at_once(world.records.$method($($argument),*))).await
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
        self.ask("append", |world| changed(world, at_once(world.records.append_message(draft)))).await
    }

    async fn edit_message(&self, edit: Edit) -> Answer<Changed> {
        self.ask("edit", |world| changed(world, at_once(world.records.edit_message(edit)))).await
    }

    async fn delete_message(
        &self,
        conversation: ConversationId,
        message: MessageId,
        actor: UserId,
        at: Timestamp,
    ) -> Answer<Changed> {
        let delete = |world: &Shared| at_once(world.records.delete_message(conversation, message, actor, at));
        self.ask("delete", |world| changed(world, delete(world))).await
    }

    async fn mark_read(&self, user: UserId, conversation: ConversationId, up_to: Option<Seq>) -> Answer<ReadMark> {
        self.ask("mark_read", |world| {
            let answer = at_once(world.records.mark_read(user, conversation, up_to));
            answer.inspect(|mark| world.ledger().marked(user, mark, world.kernel.now_ms()))
        })
        .await
    }

    /// Each request is answered from one moment; others of the same call may be answered later.
    async fn unread(&self, requests: Vec<UnreadRequest>) -> Answer<Vec<UnreadSnapshot>> {
        if requests.len() < 2 || !self.falls_apart() {
            return self.ask("unread", |world| at_once(world.records.unread(requests))).await;
        }
        let mut snapshots = Vec::with_capacity(requests.len());
        for request in requests {
            snapshots.extend(self.ask("unread", |world| at_once(world.records.unread(vec![request]))).await?);
        }
        Ok(snapshots)
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Answer<Created> {
        self.ask("create", |world| {
            let answer = at_once(world.records.create_conversation(conversation));
            answer.inspect(|created| people::created(world, created))
        })
        .await
    }

    async fn add_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        self.ask("add", |world| {
            people::moved(world, change.conversation, change.user);
            at_once(world.records.add_member(change))
        })
        .await
    }

    async fn remove_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        self.ask("remove", |world| {
            people::moved(world, change.conversation, change.user);
            at_once(world.records.remove_member(change))
        })
        .await
    }

    async fn add_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        self.ask("add_contact", |world| {
            at_once(world.records.add_contact(user, contact)).inspect(|()| people::met(world, user, contact))
        })
        .await
    }

    async fn remove_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        self.ask("remove_contact", |world| {
            at_once(world.records.remove_contact(user, contact)).inspect(|()| people::met(world, user, contact))
        })
        .await
    }

    async fn block(&self, user: UserId, blocked: UserId) -> Answer<()> {
        self.ask("block", |world| {
            at_once(world.records.block(user, blocked)).inspect(|()| people::met(world, user, blocked))
        })
        .await
    }

    async fn unblock(&self, user: UserId, blocked: UserId) -> Answer<()> {
        self.ask("unblock", |world| {
            at_once(world.records.unblock(user, blocked)).inspect(|()| people::met(world, user, blocked))
        })
        .await
    }

    /// Only a hint: it may be lost without a word.
    async fn announced(&self, confirmations: Vec<Confirmation>) -> Answer<()> {
        let lost = !self.world.is_calm() && self.world.kernel.draw(|rng| rng.chance(self.world.plan.unconfirmed));
        let kept = if lost { Vec::new() } else { confirmations };
        self.ask("announced", |world| at_once(world.records.announced(kept))).await
    }
}

fn changed(world: &Shared, answer: Answer<Changed>) -> Answer<Changed> {
    answer.inspect(|changed| {
        let change = &changed.change;
        world.kernel.note("stored", [change.seq.0, changed.members.len() as u64], || {
            format!("{:?} {} at {} of {}", change.kind, change.message.content, change.seq, change.message.conversation)
        });
        world.ledger().changed(changed);
    })
}
