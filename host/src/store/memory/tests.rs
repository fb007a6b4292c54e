//! What only the memory store promises: memory comes back, in bounded steps, and its epochs are its own.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roost_core::key::{Key, Space};
use roost_core::port::{Event, Mutation};

use super::*;

const USER: UserId = UserId::from_u128(1);

fn key(number: usize) -> Key {
    Key { space: Space::App, owner: Owner::User(USER), item: Some(number.to_string()) }
}

fn on_manual_time() -> (MemoryStore, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(1_000));
    let clock = Arc::clone(&time);
    (MemoryStore::with_clock(move || Timestamp(clock.load(Ordering::Relaxed))), time)
}

async fn change(store: &MemoryStore, mutation: Mutation) {
    let outcomes = store.commit(vec![Transaction::new(Owner::User(USER)).mutate(mutation)]).await;
    assert!(matches!(outcomes.unwrap()[..], [Outcome::Committed(_)]));
}

#[tokio::test]
async fn expired_keys_and_feeds_give_their_memory_back_in_bounded_steps() {
    let (store, time) = on_manual_time();
    let empty = store.stats().bytes;
    for number in 0..EVICTIONS_MAX + 1 {
        change(&store, Mutation::Set(key(number), vec![0; 10_000], Some(100))).await;
    }
    let event = Event { name: "event".into(), payload: "0".into(), durable: true };
    store.publish(vec![Publication { user: USER, event }]).await.unwrap();
    let full = store.stats();
    assert_eq!((full.keys, full.feeds), (EVICTIONS_MAX as u64 + 1, 1));
    assert!(full.bytes > empty + 2_500_000, "{full:?}");
    assert!(store.evict(), "nothing is due yet");
    assert_eq!(store.stats(), full);
    time.fetch_add(100, Ordering::Relaxed);
    assert!(!store.evict(), "more than one step's work");
    assert_eq!(store.stats().keys, 1);
    assert!(store.evict());
    time.fetch_add(600_000, Ordering::Relaxed);
    assert!(store.evict());
    let stats = store.stats();
    assert_eq!((stats.keys, stats.feeds, stats.evicted), (0, 0, EVICTIONS_MAX as u64 + 2));
    assert!(stats.bytes < empty + 100_000, "{stats:?}");
}

#[tokio::test]
async fn a_key_whose_end_moves_is_evicted_at_the_last_one() {
    let (store, time) = on_manual_time();
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
async fn notes_of_keys_that_come_and_go_do_not_pile_up() {
    let (store, _) = on_manual_time();
    for _ in 0..10_000 {
        change(&store, Mutation::Set(key(1), vec![0], Some(3_600_000))).await;
        change(&store, Mutation::Delete(key(1))).await;
    }
    assert!(store.shard(Owner::User(USER)).keys.notes() <= 128);
}

#[tokio::test]
async fn an_undone_change_is_still_evicted() {
    let (store, time) = on_manual_time();
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
        store.publish(vec![Publication { user: USER, event }]).await.unwrap();
        epochs.insert(store.positions(&[USER]).await.unwrap()[0].epoch.clone());
    }
    assert_eq!(epochs.len(), 4);
}

#[tokio::test]
async fn who_looked_before_the_store_began_is_told_of_a_gap() {
    let (store, time) = on_manual_time();
    let before = Position::nowhere(Timestamp(999));
    let after = Position::nowhere(Timestamp(1_000));
    time.fetch_add(1, Ordering::Relaxed);
    assert_eq!(store.replay(USER, &before).await, Ok(Replay::Gap));
    assert_eq!(store.replay(USER, &after).await, Ok(Replay::Events(vec![])));
    assert_eq!(store.replay(USER, &Position::nowhere(Timestamp(1_002))).await, Ok(Replay::Gap), "a clock set back");
}

#[tokio::test]
async fn housekeeping_ends_at_shutdown() {
    let store = MemoryStore::new();
    store.run(std::future::ready(())).await;
    let forever = std::time::Duration::from_millis(1);
    assert!(tokio::time::timeout(forever, store.run(pending())).await.is_err());
}

#[tokio::test]
async fn a_full_store_takes_nothing_more_until_something_goes() {
    let store = on_manual_time().0;
    let bytes_max = store.stats().bytes + 100_000;
    let store = store.with_bytes_max(bytes_max);
    store.measure();
    change(&store, Mutation::Set(key(1), vec![0; 60_000], None)).await;
    change(&store, Mutation::Set(key(2), vec![0; 60_000], None)).await;
    store.measure();
    let grow = Transaction::new(Owner::User(USER)).mutate(Mutation::Set(key(3), vec![0], None));
    assert_eq!(store.commit(vec![grow]).await.unwrap(), [Outcome::Failed(NO_ROOM)]);
    let event = |durable| Event { name: "event".into(), payload: "0".into(), durable };
    let publish = |durable| store.publish(vec![Publication { user: USER, event: event(durable) }]);
    assert_eq!(publish(true).await, Err(NO_ROOM));
    assert_eq!(publish(false).await, Ok(()));
    change(&store, Mutation::Delete(key(1))).await;
    store.measure();
    change(&store, Mutation::Set(key(3), vec![0], None)).await;
}
