//! The use cases of presence on the fake world, with time that only the test moves.

mod cost;
mod crash;
mod life;
mod order;
mod rig;
mod view;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::rules::record::{ANNOUNCED, GENERATION, STATUS};
use super::{Swept, disconnect, heartbeat, sweep};
use crate::ids::{ConnectionId, UserId};
use crate::key::{Key, Owner, Space};
use crate::port::{KeyValue, Query, Records, Value};
use crate::testing::{FakeWorld, block_on};

const ANN: UserId = UserId::from_u128(0xa11);
const BOB: UserId = UserId::from_u128(0xb0b);

fn connection(name: &str) -> ConnectionId {
    name.parse().unwrap()
}

/// A contact was told of Ann: the event's name and generation.
type Heard = (String, u64);

/// Ann, whose presence is looked at, and Bob, her mutual contact, who hears of it.
struct Scene {
    world: FakeWorld,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { world: FakeWorld::new() };
        scene.befriend(ANN, BOB);
        scene
    }

    fn befriend(&self, one: UserId, other: UserId) {
        block_on(self.world.add_contact(one, other)).unwrap();
        block_on(self.world.add_contact(other, one)).unwrap();
    }

    fn heartbeat(&self, name: &str) {
        block_on(heartbeat(&self.world, &[(ANN, connection(name))])).unwrap();
    }

    fn disconnect(&self, name: &str) {
        block_on(disconnect(&self.world, ANN, &connection(name))).unwrap();
    }

    fn sweep(&self) -> Swept {
        block_on(sweep(&self.world, shard(ANN))).unwrap()
    }

    fn pass(&self, span_ms: u64) {
        self.world.clock.advance(span_ms);
    }

    /// What Bob heard since he was asked last.
    fn heard(&self) -> Vec<Heard> {
        let told = self.world.store.take_published().into_iter().filter(|(to, _)| *to == BOB);
        told.map(|(_, delivery)| {
            assert_eq!(delivery.position, None, "presence is ephemeral");
            let payload: Json = serde_json::from_str(&delivery.payload).unwrap();
            assert_eq!(payload["user"], ANN.to_string());
            (delivery.name.to_string(), payload["generation"].as_u64().unwrap())
        })
        .collect()
    }

    /// The names of what Bob heard since he was asked last.
    fn heard_names(&self) -> Vec<String> {
        self.heard().into_iter().map(|(name, _)| name).collect()
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
        let Value::Ordered(entries) = self.ask(query) else { panic!("no ordered set") };
        entries.into_iter().find(|(member, _)| *member == ANN.to_string()).map(|(_, score)| score)
    }

    fn ask(&self, query: Query) -> Value {
        block_on(self.world.read(vec![query])).unwrap().remove(0)
    }

    /// What must hold at every moment, whatever was interrupted where.
    #[track_caller]
    fn check_swept(&self) {
        let fields = self.fields();
        let is_online = |name: &str| fields.get(name).is_some_and(|state| state == "online");
        let unsettled = is_online(STATUS) != is_online(ANNOUNCED);
        if is_online(STATUS) || unsettled {
            assert!(self.due().is_some(), "no sweep would ever find {fields:?}");
        }
        let devices = self.ask(Query::Presence(Key::of_user(Space::Devices, ANN)));
        assert!(self.is_online() || devices == Value::Presence(false), "a live device without a live user");
    }
}

fn shard(user: UserId) -> u32 {
    match Owner::presence_shard(user) {
        Owner::Shard(shard) => shard,
        other => panic!("{other:?} is no shard"),
    }
}
