//! The use cases of presence on the fake world, with a clock that only the test advances.

mod cost;
mod crash;
mod devices;
mod faulty_host;
mod interleaving;
mod outage;
mod query;
mod transitions;
mod visibility;
mod wrong_types;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::rules::outage::SWEPT_AT;
use super::rules::record::{ANNOUNCED, GENERATION, STATUS};
use super::{SweepSummary, disconnect, heartbeat, sweep};
use crate::ids::{ConnectionId, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::PRESENCE_SHARDS;
use crate::port::{Clock, KeyValue, Mutation, Query, Records, Transaction, Value};
use crate::testing::{FakeWorld, block_on};

const ANN: UserId = UserId::from_u128(0xa11);
const BOB: UserId = UserId::from_u128(0xb0b);

fn connection(name: &str) -> ConnectionId {
    name.parse().unwrap()
}

/// An event about Ann that a contact received: its name and generation.
type ReceivedEvent = (String, u64);

/// A world with Ann, whose presence is tested, and Bob, her mutual contact, who receives the events.
struct Fixture {
    world: FakeWorld,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { world: FakeWorld::new() };
        fixture.make_contacts(ANN, BOB);
        fixture
    }

    fn make_contacts(&self, one: UserId, other: UserId) {
        block_on(self.world.add_contact(one, other)).unwrap();
        block_on(self.world.add_contact(other, one)).unwrap();
    }

    fn heartbeat(&self, name: &str) {
        block_on(heartbeat(&self.world, &[(ANN, connection(name))])).unwrap();
    }

    fn disconnect(&self, name: &str) {
        block_on(disconnect(&self.world, ANN, &connection(name))).unwrap();
    }

    fn sweep(&self) -> SweepSummary {
        block_on(sweep(&self.world, shard(ANN))).unwrap()
    }

    /// Lets time pass in which sweeps run, find nobody, and note it.
    fn pass(&self, span_ms: u64) {
        self.world.clock.advance(span_ms);
        let note = |shard| {
            let key = Key::new(Space::PresenceSweep, Owner::Shard(shard));
            let swept_at = self.world.now().0.to_string();
            Transaction::new(key.owner).mutate(Mutation::SetFields(key, vec![(SWEPT_AT.into(), swept_at.into())]))
        };
        block_on(self.world.commit((0..PRESENCE_SHARDS).map(note).collect())).unwrap();
    }

    /// The events that Bob has received since this was last called.
    fn received(&self) -> Vec<ReceivedEvent> {
        let published = self.world.store.take_published().into_iter().filter(|(to, _)| *to == BOB);
        published
            .map(|(_, delivery)| {
                assert_eq!(delivery.position, None, "presence is ephemeral");
                let payload: Json = serde_json::from_str(&delivery.payload).unwrap();
                assert_eq!(payload["user"], ANN.to_string());
                (delivery.name.to_string(), payload["generation"].as_u64().unwrap())
            })
            .collect()
    }

    /// The names of the events that Bob has received since this was last called.
    fn received_names(&self) -> Vec<String> {
        self.received().into_iter().map(|(name, _)| name).collect()
    }

    fn fields(&self) -> BTreeMap<String, String> {
        match self.ask(Query::Fields(Key::of_user(Space::Presence, ANN))) {
            Value::Fields(fields) => fields.into_iter().collect(),
            _ => BTreeMap::new(),
        }
    }

    fn generation(&self) -> Option<u64> {
        self.fields().get(GENERATION).map(|text| text.parse().unwrap())
    }

    fn is_online(&self) -> bool {
        self.ask(Query::Presence(Key::of_user(Space::Online, ANN))) == Value::Presence(true)
    }

    /// Ann's deadline, if she has one.
    fn due(&self) -> Option<i64> {
        let query =
            Query::OrderedRange { key: Key::presence_due(ANN), minimum: i64::MIN, maximum: i64::MAX, limit: 100 };
        let Value::Ordered(entries) = self.ask(query) else { panic!("expected an ordered set") };
        entries.into_iter().find(|(member, _)| *member == ANN.to_string()).map(|(_, score)| score)
    }

    fn ask(&self, query: Query) -> Value {
        block_on(self.world.read(vec![query])).unwrap().remove(0)
    }

    /// Checks what must hold after every store call, even if a use case was interrupted.
    #[track_caller]
    fn check_swept(&self) {
        let fields = self.fields();
        let is_online = |name: &str| fields.get(name).is_some_and(|state| state == "online");
        let unannounced = is_online(STATUS) != is_online(ANNOUNCED);
        if is_online(STATUS) || unannounced {
            assert!(self.due().is_some(), "no sweep would find {fields:?}");
        }
        let devices = self.ask(Query::Presence(Key::of_user(Space::Devices, ANN)));
        assert!(self.is_online() || devices == Value::Presence(false), "there is a device but no `online` key");
    }
}

fn shard(user: UserId) -> u32 {
    match Owner::presence_shard(user) {
        Owner::Shard(shard) => shard,
        other => panic!("{other:?} is not a shard"),
    }
}
