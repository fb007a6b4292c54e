//! What only the store in memory promises: its size is counted exactly, expired keys release their memory in bounded
//! steps, and its epochs are unique.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use roost_core::key::Key;
use roost_core::limits::FEED_EVENTS_MAX;
use roost_core::port::{AppBound, Event, Mutation, Text};
use roost_core::slot::{self, RepeatedWork};
use roost_core::trigger::{self, EnqueueOutcome, Trigger};

use super::*;

const USER: UserId = UserId::from_u128(1);

fn key(number: usize) -> Key {
    Key::app(Owner::User(USER), number.to_string())
}

fn with_manual_clock() -> (MemoryStore, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(1_000));
    let clock = Arc::clone(&time);
    (MemoryStore::with_clock(move || Timestamp(clock.load(Ordering::Relaxed))), time)
}

async fn change(store: &MemoryStore, mutation: Mutation) {
    let outcomes = store.commit(vec![Transaction::new(Owner::User(USER)).mutate(mutation)]).await;
    assert!(matches!(outcomes.unwrap()[..], [Outcome::Committed(_)]));
}

#[tokio::test]
async fn expired_keys_and_feeds_release_their_memory_in_bounded_steps() {
    let (store, time) = with_manual_clock();
    let empty = store.stats().bytes;
    for number in 0..EVICTIONS_MAX + 1 {
        change(&store, Mutation::Set(key(number), vec![0; 10_000], Some(100))).await;
    }
    let event = Event { name: "event".into(), payload: "0".into(), durable: true };
    store.follow(&[USER]).await.unwrap();
    store.publish(vec![Publication { user: USER, event }]).await.unwrap();
    let full = store.stats();
    assert_eq!((full.keys, full.feeds), (EVICTIONS_MAX as u64 + 2, 1));
    assert!(full.bytes > empty + 2_500_000, "{full:?}");
    assert!(store.evict(), "nothing has expired yet");
    assert_eq!(store.stats(), full);
    time.fetch_add(100, Ordering::Relaxed);
    assert!(!store.evict(), "more than one step can evict");
    assert_eq!(store.stats().keys, 2);
    assert!(store.evict());
    time.fetch_add(600_000, Ordering::Relaxed);
    assert!(store.evict());
    let stats = store.stats();
    assert_eq!((stats.keys, stats.feeds, stats.evicted), (0, 0, EVICTIONS_MAX as u64 + 3));
    assert!(stats.bytes < empty + 100_000, "{stats:?}");
}

#[tokio::test]
async fn a_key_whose_deadline_moves_is_evicted_at_the_last_deadline() {
    let (store, time) = with_manual_clock();
    change(&store, Mutation::Set(key(1), vec![0], Some(100))).await;
    change(&store, Mutation::Expire(key(1), 50)).await;
    change(&store, Mutation::Expire(key(1), 200)).await;
    change(&store, Mutation::Set(key(2), vec![0], Some(50))).await;
    change(&store, Mutation::Persist(key(2))).await;
    time.fetch_add(199, Ordering::Relaxed);
    store.evict();
    assert_eq!(store.stats().keys, 2);
    change(&store, Mutation::Expire(key(2), 1)).await;
    time.fetch_add(1, Ordering::Relaxed);
    store.evict();
    assert_eq!(store.stats().keys, 0);
}

#[tokio::test]
async fn the_expiry_queue_does_not_grow_with_keys_that_come_and_go() {
    let (store, _) = with_manual_clock();
    for _ in 0..10_000 {
        change(&store, Mutation::Set(key(1), vec![0], Some(3_600_000))).await;
        change(&store, Mutation::Delete(key(1))).await;
    }
    assert!(store.shard(Owner::User(USER)).keys.queue_len() <= 128);
}

#[tokio::test]
async fn a_key_whose_deletion_was_undone_is_still_evicted() {
    let (store, time) = with_manual_clock();
    change(&store, Mutation::Set(key(1), vec![0], Some(100))).await;
    for _ in 0..200 {
        let failing = Transaction::new(Owner::User(USER))
            .mutate(Mutation::Delete(key(1)))
            .mutate(Mutation::Set(key(2), vec![0], Some(50)))
            .mutate(Mutation::OrderedPut(key(2), "member".into(), 1));
        let outcomes = store.commit(vec![failing]).await.unwrap();
        assert!(matches!(outcomes[..], [Outcome::Failed(StoreError::WrongType(_))]));
    }
    time.fetch_add(100, Ordering::Relaxed);
    while !store.evict() {}
    assert_eq!(store.stats().keys, 0);
}

#[tokio::test]
async fn two_stores_never_share_an_epoch() {
    let mut epochs = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let store = MemoryStore::new();
        let event = Event { name: "event".into(), payload: "0".into(), durable: true };
        store.follow(&[USER]).await.unwrap();
        store.publish(vec![Publication { user: USER, event }]).await.unwrap();
        epochs.insert(store.positions(&[USER]).await.unwrap()[0].epoch.clone());
    }
    assert_eq!(epochs.len(), 4);
}

#[tokio::test]
async fn a_position_from_before_the_store_was_made_is_a_gap() {
    let (store, time) = with_manual_clock();
    let before = Position::without_feed(Timestamp(999));
    let after = Position::without_feed(Timestamp(1_000));
    time.fetch_add(1, Ordering::Relaxed);
    assert_eq!(store.replay(USER, &before).await, Ok(Replay::Gap));
    assert_eq!(store.replay(USER, &after).await, Ok(Replay::Events(vec![])));
    assert_eq!(
        store.replay(USER, &Position::without_feed(Timestamp(1_002))).await,
        Ok(Replay::Gap),
        "a clock that was set back"
    );
}

#[tokio::test]
async fn maintenance_ends_at_shutdown() {
    let store = MemoryStore::new();
    store.run(std::future::ready(())).await;
    let forever = std::time::Duration::from_millis(1);
    assert!(tokio::time::timeout(forever, store.run(pending())).await.is_err());
}

#[tokio::test]
async fn a_full_store_refuses_to_grow_until_something_is_deleted() {
    let store = with_manual_clock().0;
    let bytes_max = store.stats().bytes + 100_000;
    let store = store.with_bytes_max(bytes_max);
    store.check_size();
    change(&store, Mutation::Set(key(1), vec![0; 60_000], None)).await;
    change(&store, Mutation::Set(key(2), vec![0; 60_000], None)).await;
    store.check_size();
    let grow = Transaction::new(Owner::User(USER)).mutate(Mutation::Set(key(3), vec![0], None));
    assert_eq!(store.commit(vec![grow]).await.unwrap(), [Outcome::Failed(NO_ROOM)]);
    let event = |durable| Event { name: "event".into(), payload: "0".into(), durable };
    let publish = |durable| store.publish(vec![Publication { user: USER, event: event(durable) }]);
    assert_eq!(publish(true).await, Err(NO_ROOM));
    assert_eq!(publish(false).await, Ok(()));
    change(&store, Mutation::Delete(key(1))).await;
    store.check_size();
    change(&store, Mutation::Set(key(3), vec![0], None)).await;
}

#[tokio::test]
async fn a_payload_that_many_feeds_keep_counts_once() {
    const USERS: u128 = 1_000;
    let store = with_manual_clock().0;
    let users: Vec<UserId> = (1..=USERS).map(UserId::from_u128).collect();
    store.follow(&users).await.unwrap();
    let publish = async |payload: &str| {
        let event = Event { name: "event".into(), payload: payload.into(), durable: true };
        let transaction = |user: &UserId| Transaction::new(Owner::User(*user)).publish(event.clone());
        store.commit(users.iter().map(transaction).collect()).await.unwrap();
    };
    publish("\"first\"").await;
    let small = store.stats().bytes;
    publish(&format!("\"{}\"", "x".repeat(100_000))).await;
    let growth = store.stats().bytes - small;
    assert!((100_000..100_000 + 200 * USERS as u64).contains(&growth), "{growth} bytes for 100,000 kept {USERS} times");
    assert_eq!(store.stats().bytes, walked_bytes(&store));
    let bounded = store.with_bytes_max(small + growth);
    bounded.check_size();
    assert!(!bounded.is_full(), "the bound is about what is really kept");
}

#[tokio::test]
async fn a_full_store_follows_nobody_new() {
    let store = with_manual_clock().0;
    let (known, new) = (USER, UserId::from_u128(2));
    store.follow(&[known]).await.unwrap();
    let bytes_max = store.stats().bytes - 1;
    let store = store.with_bytes_max(bytes_max);
    store.check_size();
    assert!(store.follow(&[known]).await.is_ok(), "what is there can be renewed");
    assert_eq!(
        store.follow(&[new]).await,
        Err(NO_ROOM),
        "a position after which nothing is kept would hide what is missed"
    );
}

#[tokio::test]
async fn a_full_store_takes_no_new_work_of_the_host_and_lets_it_end_what_has_begun() {
    let store = with_manual_clock().0;
    let bytes_max = store.stats().bytes;
    let store = store.with_bytes_max(bytes_max);
    let event = Event { name: "event".into(), payload: "0".into(), durable: true };
    let call =
        |id: &str| Trigger { function: "bot".into(), id: id.into(), event: event.clone(), users: vec![USER], depth: 1 };
    let now = store.now();
    assert_eq!(trigger::enqueue(&store, &[call("1")], now).await, Ok(vec![EnqueueOutcome::Queued]));
    store.check_size();
    assert_eq!(trigger::enqueue(&store, &[call("2")], now).await, Ok(vec![EnqueueOutcome::Failed(NO_ROOM)]));
    let addressed = Transaction::new(Owner::Shard(1)).address(vec![USER], event.clone());
    assert_eq!(store.commit(vec![addressed]).await, Ok(vec![Outcome::Failed(NO_ROOM)]));
    let claimed = trigger::claim(&store, "bot", (10, 1_000), now).await.unwrap().calls;
    assert_eq!(trigger::finish(&store, &claimed[0]).await, Ok(true));
    let work = RepeatedWork { name: "tick".to_owned(), every_ms: 1_000, lease_ms: 500 };
    let Ok(Some(slot)) = slot::claim(&store, &work, "host", now).await else { panic!("not claimed") };
    assert_eq!(slot::release(&store, &work, &slot, "host").await, Ok(()));
}

/// What a random sequence of operations does to the store.
#[derive(Clone, Debug)]
enum StoreOperation {
    Commit(Vec<Mutation>),
    /// A payload, and how often it is published.
    Publish(String, usize),
    Follow,
    Advance(u64),
    Evict,
}

fn any_key() -> impl Strategy<Value = Key> {
    let uuid = (0_u128..3).prop_map(|number| uuid::Uuid::from_u128(number).to_string());
    let item = prop_oneof!["[a-c]{1,20}", uuid];
    let function = prop::option::of(prop_oneof![Just("polls"), Just("weather")]);
    (item, function)
        .prop_map(|(item, function)| Key { function: function.map(Into::into), ..Key::app(Owner::User(USER), item) })
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    let value = prop::collection::vec(any::<u8>(), 0..100);
    let name = || "[a-d]{1,3}".prop_map(Text::from);
    let field = || (name(), ".{0,30}".prop_map(Text::from));
    prop_oneof![
        (any_key(), value, prop::option::of(1_u64..100)).prop_map(|(key, value, ms)| Mutation::Set(key, value, ms)),
        any_key().prop_map(Mutation::Delete),
        (any_key(), -3_i64..3).prop_map(|(key, delta)| Mutation::Add { key, delta, floor: Some(0) }),
        (any_key(), prop::collection::vec(field(), 1..4)).prop_map(|(key, fields)| Mutation::SetFields(key, fields)),
        (any_key(), prop::collection::vec(name(), 1..4)).prop_map(|(key, names)| Mutation::DeleteFields(key, names)),
        (any_key(), name(), -3_i64..3).prop_map(|(key, field, delta)| Mutation::AddField(key, field, delta)),
        (any_key(), 1_u64..100).prop_map(|(key, lifetime_ms)| Mutation::Expire(key, lifetime_ms)),
        any_key().prop_map(Mutation::Persist),
        (any_key(), name(), 0_i64..9).prop_map(|(key, member, score)| Mutation::OrderedPut(key, member, score)),
        (any_key(), name()).prop_map(|(key, member)| Mutation::OrderedRemove(key, member)),
    ]
}

/// Now and then more than a feed keeps.
fn any_count() -> impl Strategy<Value = usize> {
    prop_oneof![9 => Just(1), 1 => Just(FEED_EVENTS_MAX + 1)]
}

fn any_operation() -> impl Strategy<Value = StoreOperation> {
    prop_oneof![
        // Several mutations of keys that hold different types often fail together, and are undone.
        8 => prop::collection::vec(any_mutation(), 1..5).prop_map(StoreOperation::Commit),
        3 => ("[a-z]{0,40}", any_count()).prop_map(|(text, count)| StoreOperation::Publish(format!("\"{text}\""), count)),
        2 => prop_oneof![1_u64..60, Just(600_000)].prop_map(StoreOperation::Advance),
        1 => Just(StoreOperation::Evict),
        3 => Just(StoreOperation::Follow),
    ]
}

async fn carry_out(store: &MemoryStore, time: &AtomicU64, operation: StoreOperation) {
    match operation {
        StoreOperation::Commit(mutations) => {
            let mut transaction = mutations.into_iter().fold(Transaction::new(Owner::User(USER)), Transaction::mutate);
            // Small enough that transactions are undone because of it.
            transaction.app_bound = Some(AppBound(2_000));
            match store.commit(vec![transaction]).await {
                Ok(_) | Err(StoreError::Invalid(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        StoreOperation::Publish(payload, count) => {
            let event = Event { name: "event".into(), payload: payload.as_str().into(), durable: true };
            for _ in 0..count {
                store.publish(vec![Publication { user: USER, event: event.clone() }]).await.unwrap();
            }
        }
        StoreOperation::Advance(span_ms) => drop(time.fetch_add(span_ms, Ordering::Relaxed)),
        StoreOperation::Evict => drop(store.evict()),
        StoreOperation::Follow => drop(store.follow(&[USER]).await.unwrap()),
    }
}

/// The bytes that a walk over every key and every event finds.
fn walked_bytes(store: &MemoryStore) -> u64 {
    let mut payloads = std::collections::BTreeMap::new();
    let mut bytes = 0;
    for shard in store.shards.iter().map(lock) {
        bytes += shard.keys.walked_bytes() + shard.feeds.walked_bytes();
        payloads.extend(shard.feeds.payloads().into_iter().map(|text| (text.as_ptr().addr(), text.len())));
    }
    (bytes + payloads.values().sum::<usize>()) as u64
}

/// What the store has counted that the items of each function take.
fn counted_app_bytes(store: &MemoryStore) -> std::collections::BTreeMap<String, i64> {
    lock(&store.shards[0]).keys.app_usage().all()
}

/// What a walk over every key finds that the items of each function take.
fn walked_app_bytes(store: &MemoryStore) -> std::collections::BTreeMap<String, i64> {
    let mut sums = std::collections::BTreeMap::new();
    for shard in &store.shards {
        for (function, bytes) in lock(shard).keys.walked_app_bytes() {
            *sums.entry(function).or_default() += bytes;
        }
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_counted_bytes_are_those_that_a_walk_finds(operations in prop::collection::vec(any_operation(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (store, time) = with_manual_clock();
        for operation in operations {
            let shown = format!("{operation:?}");
            runtime.block_on(carry_out(&store, &time, operation));
            prop_assert_eq!(store.stats().bytes, walked_bytes(&store), "after {}", shown);
            prop_assert_eq!(counted_app_bytes(&store), walked_app_bytes(&store), "after {}", shown);
        }
        time.fetch_add(600_000, Ordering::Relaxed);
        while !store.evict() {}
        prop_assert_eq!(store.stats().bytes, walked_bytes(&store), "after all that expires was evicted");
    }
}
