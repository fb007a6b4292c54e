//! The calls of functions that the events of one commit cause: one for each different event and each function.
//!
//! The events about changes of conversations cause no calls here; `changes` says why.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use roost_core::event;
use roost_core::ids::UserId;
use roost_core::key::Owner;
use roost_core::limits::TRIGGER_DEPTH_MAX;
use roost_core::outbox::CausedTrigger;
use roost_core::port::{Event, Transaction};
use roost_core::trigger::Trigger;
use uuid::Uuid;

use super::Publisher;
use crate::ops::metrics;

/// Whether functions are called for an event of this publisher.
pub(super) fn has_subscribers(publisher: &Publisher<'_>, event: &Event) -> bool {
    event.durable
        && !event::CHANGES.contains(&event.name.as_ref())
        && publisher.world.subscriptions.has_any(&[&event.name], publisher.function)
}

/// Counts and logs the calls of a function that are not made because they could go on for ever.
pub(super) fn drop_loop(function: &str, event: &str, calls: u64) {
    metrics::TRIGGERS.of([function, "loop"]).inc_by(calls);
    tracing::warn!(
        function,
        event,
        calls,
        "a function is not called for publications: {TRIGGER_DEPTH_MAX} publications in a row were made by functions \
         that were called for the one before"
    );
}

/// An event of a transaction, and whoever receives it.
struct CommittedEvent<'t> {
    event: &'t Event,
    users: &'t [UserId],
    /// The place among the publications, if the event carries results.
    carrying: Option<u32>,
}

impl<'t> CommittedEvent<'t> {
    fn all_of(transaction: &'t Transaction) -> impl Iterator<Item = Self> {
        let owner: &[UserId] = match &transaction.owner {
            Owner::User(user) => std::slice::from_ref(user),
            _ => &[],
        };
        let own = (0..).zip(&transaction.publications).map(move |(place, event)| {
            let carries = transaction.published_results.iter().any(|published| published.publication == place);
            Self { event, users: owner, carrying: carries.then_some(place) }
        });
        let addressed = transaction.addressed.iter();
        own.chain(addressed.map(|of| Self { event: &of.event, users: &of.users, carrying: None }))
    }

    /// What the event has in common with equal ones, in the transaction at this index of a call.
    fn key(&self, transaction: usize) -> EventKey {
        let carrying = self.carrying.map(|publication| (transaction, publication));
        (self.event.name.clone(), self.event.payload.clone(), carrying)
    }
}

/// Events are equal if their names and payloads are. One that carries results equals no other one: only the store knows
/// what its payload will be. It has the index of its transaction and its place there.
type EventKey = (Arc<str>, Arc<str>, Option<(usize, u32)>);

/// The calls that one commit causes.
pub(super) struct CommitCalls {
    /// Identifies the commit.
    id: Uuid,
    depth: u32,
    /// The number of each event, and the functions that are called for it.
    events: HashMap<EventKey, (usize, Vec<String>)>,
}

impl CommitCalls {
    pub(super) fn of(publisher: &Publisher<'_>, transactions: &[Transaction]) -> Self {
        let mut calls = Self { id: Uuid::nil(), depth: publisher.depth.saturating_add(1), events: HashMap::new() };
        if publisher.world.subscriptions.is_empty() {
            return calls;
        }
        for (index, transaction) in transactions.iter().enumerate() {
            for committed in CommittedEvent::all_of(transaction) {
                // Most events have no subscribers, so this is asked before anything is computed from their payloads.
                if !has_subscribers(publisher, committed.event) {
                    continue;
                }
                let number = calls.events.len();
                let functions = || publisher.world.subscriptions.of(&committed.event.name, publisher.function);
                calls.events.entry(committed.key(index)).or_insert_with(|| (number, functions()));
            }
        }
        if publisher.depth >= TRIGGER_DEPTH_MAX {
            calls.drop_all();
        }
        if !calls.is_empty() {
            calls.id = Uuid::new_v4();
        }
        calls
    }

    /// Drops all calls, with one line in the log for each function. The line names one of the events.
    fn drop_all(&mut self) {
        for (function, (event, calls)) in self.by_function() {
            drop_loop(&function, &event, calls);
        }
        self.events.clear();
    }

    /// The name of one event of each function, and the number of its calls.
    fn by_function(&self) -> BTreeMap<String, (Arc<str>, u64)> {
        let mut counts: BTreeMap<String, (Arc<str>, u64)> = BTreeMap::new();
        for ((event, ..), (_, functions)) in &self.events {
            for function in functions {
                counts.entry(function.clone()).or_insert_with(|| (event.clone(), 0)).1 += 1;
            }
        }
        counts
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The calls that the transaction at this index causes. Those of equal events have the same id in all transactions,
    /// so that they are made once.
    pub(super) fn of_transaction(&self, index: usize, transaction: &Transaction) -> Vec<CausedTrigger> {
        CommittedEvent::all_of(transaction).flat_map(|committed| self.of_event(index, &committed)).collect()
    }

    /// The calls of transactions that are carried out one after the other. Each call belongs to the last transaction
    /// that has its event, and names the users of all of them.
    pub(super) fn of_sequence(&self, transactions: &[Transaction]) -> Vec<Vec<Trigger>> {
        let mut calls: BTreeMap<(String, String), (usize, Trigger)> = BTreeMap::new();
        for (index, transaction) in transactions.iter().enumerate() {
            for CausedTrigger { trigger, .. } in self.of_transaction(index, transaction) {
                let key = (trigger.function.clone(), trigger.id.clone());
                let empty = || (index, Trigger { users: Vec::new(), ..trigger.clone() });
                let (last, call) = calls.entry(key).or_insert_with(empty);
                *last = index;
                call.users.extend_from_slice(&trigger.users);
            }
        }
        let mut of_each = vec![Vec::new(); transactions.len()];
        for (index, mut call) in calls.into_values() {
            call.limit_users();
            if let Some(triggers) = of_each.get_mut(index) {
                triggers.push(call);
            }
        }
        of_each
    }

    fn of_event(&self, index: usize, committed: &CommittedEvent<'_>) -> Vec<CausedTrigger> {
        let Some((number, functions)) = self.events.get(&committed.key(index)) else {
            return Vec::new();
        };
        let trigger = |function: &String| Trigger {
            function: function.clone(),
            id: format!("{}.{number}", self.id),
            event: committed.event.clone(),
            users: committed.users.to_vec(),
            depth: self.depth,
        };
        let caused = |function| CausedTrigger { trigger: trigger(function), publication: committed.carrying };
        functions.iter().map(caused).collect()
    }
}

#[cfg(test)]
mod tests {
    use roost_core::ids::ConversationId;

    use super::*;
    use crate::runtime::state::HostWorld;

    const ANN: UserId = UserId::from_u128(1);
    const BOB: UserId = UserId::from_u128(2);

    async fn world() -> HostWorld {
        let world = HostWorld::for_tests().await;
        world.subscriptions.set(&[("poll.vote", &["bot", "search"]), ("message.new", &["bot"]), ("typing", &["bot"])]);
        world
    }

    fn event(name: &str, payload: &str) -> Event {
        Event { name: name.into(), payload: payload.into(), durable: name != "typing" }
    }

    fn to(user: UserId, event: Event) -> Transaction {
        Transaction::new(Owner::User(user)).publish(event)
    }

    fn calls(world: &HostWorld, function: &str, depth: u32, transactions: &[Transaction]) -> Vec<Trigger> {
        let calls = CommitCalls::of(&Publisher { world, function, depth }, transactions);
        let caused = transactions.iter().enumerate().flat_map(|(index, each)| calls.of_transaction(index, each));
        caused.map(|caused| caused.trigger).collect()
    }

    #[tokio::test]
    async fn the_same_event_to_several_users_is_one_call_for_each_function() {
        let world = world().await;
        let group = Transaction::new(Owner::Conversation(ConversationId::from_u128(9)))
            .address(vec![ANN, BOB], event("poll.vote", "2"));
        let transactions = [to(ANN, event("poll.vote", "1")), to(BOB, event("poll.vote", "1")), group];
        let calls = calls(&world, "polls", 0, &transactions);
        let of = |function: &str, payload: &str| -> Vec<&Trigger> {
            calls.iter().filter(|call| call.function == function && &*call.event.payload == payload).collect()
        };
        for function in ["bot", "search"] {
            let [one, other] = of(function, "1")[..] else { panic!("one for each user") };
            assert_eq!((&one.id, &one.users, &other.users), (&other.id, &vec![ANN], &vec![BOB]));
            let [third] = of(function, "2")[..] else { panic!("one for both users") };
            assert_eq!((&third.users, third.depth), (&vec![ANN, BOB], 1));
            assert_ne!(one.id, third.id);
        }
    }

    #[tokio::test]
    async fn a_sequence_of_transactions_causes_each_call_once_with_the_last_one_that_has_its_event() {
        let world = world().await;
        let group = |users: &[UserId], payload: &str| {
            Transaction::new(Owner::Shard(1)).address(users.to_vec(), event("poll.vote", payload))
        };
        let transactions = [group(&[BOB], "1"), group(&[ANN, BOB], "1"), group(&[ANN], "2")];
        let publisher = Publisher { world: &world, function: "search", depth: 0 };
        let calls = CommitCalls::of(&publisher, &transactions).of_sequence(&transactions);
        assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 1]);
        assert_eq!((&*calls[1][0].event.payload, &calls[1][0].users), ("1", &vec![ANN, BOB]));
        assert_eq!((&*calls[2][0].event.payload, &calls[2][0].users), ("2", &vec![ANN]));
    }

    #[tokio::test]
    async fn ephemeral_events_changes_of_conversations_and_own_events_cause_no_calls() {
        let world = world().await;
        for name in ["typing", "message.new", "other"] {
            assert!(calls(&world, "messaging", 0, &[to(ANN, event(name, "1"))]).is_empty(), "{name}");
        }
        let own = calls(&world, "bot", 0, &[to(ANN, event("poll.vote", "1"))]);
        assert_eq!(own.iter().map(|call| call.function.as_str()).collect::<Vec<_>>(), ["search"]);
    }

    #[tokio::test]
    async fn equal_events_that_carry_results_are_a_call_each() {
        let world = world().await;
        let carrying = |user| to(user, event("poll.vote", "{}")).with_result("votes", 0);
        let transactions = [carrying(ANN), carrying(BOB), to(ANN, event("poll.vote", "{}"))];
        let publisher = Publisher { world: &world, function: "search", depth: 0 };
        let calls = CommitCalls::of(&publisher, &transactions);
        let caused = transactions.iter().enumerate().flat_map(|(index, each)| calls.of_transaction(index, each));
        let caused: Vec<CausedTrigger> = caused.collect();
        assert_eq!(caused.iter().map(|caused| caused.publication).collect::<Vec<_>>(), [Some(0), Some(0), None]);
        let ids: std::collections::BTreeSet<_> = caused.iter().map(|caused| &caused.trigger.id).collect();
        assert_eq!(ids.len(), 3);
    }

    #[tokio::test]
    async fn a_chain_of_publications_ends() {
        let world = world().await;
        let transactions = [to(ANN, event("poll.vote", "1"))];
        assert_eq!(calls(&world, "polls", TRIGGER_DEPTH_MAX - 1, &transactions).len(), 2);
        assert!(calls(&world, "polls", TRIGGER_DEPTH_MAX, &transactions).is_empty());
    }

    #[tokio::test]
    async fn the_calls_of_a_function_are_counted_once_for_each_different_event() {
        let world = world().await;
        let transactions = ["1", "2", "2"].map(|payload| to(ANN, event("poll.vote", payload)));
        let calls = CommitCalls::of(&Publisher { world: &world, function: "polls", depth: 0 }, &transactions);
        let counts: Vec<_> = calls.by_function().into_iter().map(|(function, (_, calls))| (function, calls)).collect();
        assert_eq!(counts, [("bot".to_owned(), 2), ("search".to_owned(), 2)]);
    }
}
