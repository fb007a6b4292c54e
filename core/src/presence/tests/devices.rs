//! Devices whose ids clients choose: how many there are, and what their heartbeats cost.

use super::*;
use crate::error::Error;
use crate::limits::{DEVICES_MAX, PRESENCE_TTL_MS};
use crate::presence::client_heartbeat;
use crate::testing::Calls;

impl Fixture {
    fn client_heartbeat(&self, name: &str) -> Result<(), Error> {
        block_on(client_heartbeat(&self.world, ANN, &connection(name)))
    }

    fn devices(&self) -> usize {
        match self.ask(Query::Fields(Key::of_user(Space::Devices, ANN))) {
            Value::Fields(fields) => fields.len(),
            _ => 0,
        }
    }
}

#[test]
fn a_client_comes_online_until_its_last_deadline() {
    let fixture = Fixture::new();
    fixture.client_heartbeat("phone").unwrap();
    assert_eq!(fixture.received_names(), ["user.online"]);
    fixture.pass(25_000);
    fixture.client_heartbeat("phone").unwrap();
    fixture.pass(PRESENCE_TTL_MS - 1);
    fixture.sweep();
    assert!(fixture.is_online() && fixture.received_names().is_empty());
    fixture.pass(1);
    fixture.sweep();
    assert_eq!(fixture.received_names(), ["user.offline"]);
}

#[test]
fn a_heartbeat_of_a_known_device_takes_one_round_trip() {
    let fixture = Fixture::new();
    fixture.client_heartbeat("phone").unwrap();
    fixture.pass(25_000);
    fixture.world.store.take_calls();
    fixture.client_heartbeat("phone").unwrap();
    assert_eq!(fixture.world.store.take_calls(), Calls { commits: 1, ..Calls::default() });
}

#[test]
fn made_up_devices_are_refused_beyond_the_bound_and_the_others_go_on() {
    let fixture = Fixture::new();
    let names: Vec<String> = (0..1_000).map(|number| format!("device-{number}")).collect();
    let refused = names.iter().filter(|name| fixture.client_heartbeat(name) == Err(Error::TooManyDevices)).count();
    assert_eq!((refused, fixture.devices()), (1_000 - DEVICES_MAX, DEVICES_MAX));
    assert_eq!(fixture.world.telemetry.total("devices_refused"), refused as u64);
    assert_eq!(fixture.client_heartbeat(&names[0]), Ok(()), "a known device is not refused");
    fixture.disconnect(&names[1]);
    assert_eq!(fixture.client_heartbeat(&names[999]), Ok(()), "one has left");
    assert_eq!(fixture.received_names(), ["user.online"]);
}

#[test]
fn devices_that_are_gone_make_room() {
    let fixture = Fixture::new();
    for number in 0..DEVICES_MAX {
        fixture.client_heartbeat(&format!("old-{number}")).unwrap();
    }
    fixture.pass(PRESENCE_TTL_MS / 2);
    fixture.client_heartbeat("old-0").unwrap();
    assert_eq!(fixture.client_heartbeat("new"), Err(Error::TooManyDevices));
    fixture.pass(PRESENCE_TTL_MS / 2);
    fixture.client_heartbeat("new").unwrap();
    assert_eq!(fixture.devices(), 2, "the hash does not grow");
}
