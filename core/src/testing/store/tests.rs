//! What only the fake can do: restart without data, interrupt subscribers, and report its calls.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::key::Space;
use crate::port::Mutation;
use crate::testing::block_on;

const USER: UserId = UserId::from_u128(1);

#[derive(Default)]
struct Listener {
    interruptions: AtomicU64,
}

impl Subscriber for Listener {
    fn deliver(&self, _: UserId, _: Delivery) {}

    fn interrupted(&self, _: &[UserId]) {
        self.interruptions.fetch_add(1, Ordering::Relaxed);
    }
}

fn event() -> Event {
    Event { name: "event".into(), payload: "0".into(), durable: true }
}

fn count_and_publish() -> Transaction {
    let key = Key::of_user(Space::UnreadTotal, USER);
    Transaction::new(Owner::User(USER)).mutate(Mutation::Add { key, delta: 1, floor: None }).publish(event())
}

#[test]
fn a_wipe_removes_everything_and_interrupts_each_subscriber_once() {
    let clock = ManualClock::new();
    let store = FakeStore::new(clock.clone());
    let listener = Arc::new(Listener::default());
    block_on(store.join(USER, listener.clone())).unwrap();
    block_on(store.join(UserId::from_u128(2), listener.clone())).unwrap();
    let without_feed = block_on(store.positions(&[USER])).unwrap().remove(0);
    block_on(store.commit(vec![count_and_publish()])).unwrap();
    let before = block_on(store.positions(&[USER])).unwrap().remove(0);
    store.wipe();
    assert_eq!(listener.interruptions.load(Ordering::Relaxed), 1, "one subscriber, however many users it joined");
    assert!(store.dump().is_empty());
    assert_eq!(block_on(store.replay(USER, &without_feed)), Ok(Replay::Gap));
    clock.advance(1);
    block_on(store.commit(vec![count_and_publish()])).unwrap();
    let after = block_on(store.positions(&[USER])).unwrap().remove(0);
    assert_ne!(before.epoch, after.epoch);
    for lost in [without_feed, before] {
        assert_eq!(block_on(store.replay(USER, &lost)), Ok(Replay::Gap), "{lost}");
    }
}

#[test]
fn calls_and_publications_are_recorded() {
    let store = FakeStore::default();
    block_on(store.commit(vec![count_and_publish()])).unwrap();
    block_on(store.read(vec![])).unwrap();
    block_on(store.publish(vec![Publication { user: USER, event: event() }])).unwrap();
    assert_eq!(store.calls(), Calls { reads: 1, commits: 1, publishes: 1 });
    assert_eq!(store.take_published().len(), 2);
    assert_eq!(store.published(), []);
    let values = store.dump().into_iter().collect::<Vec<_>>();
    assert_eq!(values, [(format!("unread:total:{USER}"), StoredValue::Text(b"1".to_vec()))]);
}

#[test]
fn an_expired_key_remains_expired_when_the_clock_steps_back() {
    let clock = ManualClock::new();
    let store = FakeStore::new(clock.clone());
    let key = Key::of_user(Space::Online, USER);
    let short_lived = Transaction::new(Owner::User(USER)).mutate(Mutation::Set(key.clone(), vec![0], Some(10)));
    block_on(store.commit(vec![short_lived])).unwrap();
    clock.advance(10);
    assert_eq!(store.entry(&key), None);
    clock.set(ManualClock::START);
    assert_eq!(block_on(store.read(vec![Query::Bytes(key)])), Ok(vec![Value::Missing]));
}
