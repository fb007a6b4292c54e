//! Places that are counted for each key, such as a user or a conversation: so many holders, and so many who wait for
//! one of them. A key takes memory only while somebody holds one of its places or waits for one.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The keys are distributed over this many locks.
const SHARDS: usize = 16;

/// What places are counted for.
pub(crate) trait PlaceKey: Copy + Debug + Eq + Hash + Send + Sync + 'static {}

impl<K: Copy + Debug + Eq + Hash + Send + Sync + 'static> PlaceKey for K {}

/// The places of all keys.
#[derive(Debug)]
pub(crate) struct KeyedPlaces<K> {
    shards: Vec<Mutex<HashMap<K, Arc<PlacesOfKey>>>>,
    hasher: RandomState,
    places: usize,
    waiting_max: usize,
}

#[derive(Debug)]
struct PlacesOfKey {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// One place of a key, which is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct KeyedPlace<K: PlaceKey> {
    // The first field: the place is free before the key is looked at.
    _permit: OwnedSemaphorePermit,
    _key: KeyInUse<K>,
}

impl<K: PlaceKey> KeyedPlaces<K> {
    /// So many places for each key, and so many who may wait for one of them.
    pub(crate) fn new(places: usize, waiting_max: usize) -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let places = places.min(Semaphore::MAX_PERMITS);
        Arc::new(Self { shards, hasher: RandomState::new(), places, waiting_max })
    }

    /// A place that is free now.
    pub(crate) fn try_take(self: &Arc<Self>, key: K) -> Option<KeyedPlace<K>> {
        let key = self.enter(key);
        let permit = Arc::clone(&key.places.places).try_acquire_owned().ok()?;
        Some(KeyedPlace { _permit: permit, _key: key })
    }

    /// A place, at once or after a wait; `None` if too many wait for a place of this key already.
    pub(crate) async fn take(self: &Arc<Self>, key: K) -> Option<KeyedPlace<K>> {
        let key = self.enter(key);
        let places = Arc::clone(&key.places.places);
        let permit = match Arc::clone(&places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let waiting = Waiter::new(&key.places.waiting, self.waiting_max)?;
                let permit = places.acquire_owned().await.ok()?;
                drop(waiting);
                permit
            }
        };
        Some(KeyedPlace { _permit: permit, _key: key })
    }

    /// The number of keys that are in use.
    #[cfg(test)]
    fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn enter(self: &Arc<Self>, key: K) -> KeyInUse<K> {
        let new =
            || Arc::new(PlacesOfKey { places: Arc::new(Semaphore::new(self.places)), waiting: AtomicUsize::new(0) });
        let places = Arc::clone(self.shard(&key).entry(key).or_insert_with(new));
        KeyInUse { all: Arc::clone(self), key, places }
    }

    #[allow(clippy::indexing_slicing, reason = "the remainder is below the number of shards, which never changes")]
    fn shard(&self, key: &K) -> MutexGuard<'_, HashMap<K, Arc<PlacesOfKey>>> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a key in the table. The last one that is dropped removes it.
#[derive(Debug)]
struct KeyInUse<K: PlaceKey> {
    all: Arc<KeyedPlaces<K>>,
    key: K,
    places: Arc<PlacesOfKey>,
}

impl<K: PlaceKey> Drop for KeyInUse<K> {
    fn drop(&mut self) {
        let mut shard = self.all.shard(&self.key);
        // The table and this have the last two references; new ones are made only under the lock.
        if Arc::strong_count(&self.places) == 2 {
            shard.remove(&self.key);
        }
    }
}

/// One of those who wait; counted until it is dropped.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn new(waiting: &'a AtomicUsize, waiting_max: usize) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::AcqRel);
        let counted = Self(waiting);
        (before < waiting_max).then_some(counted)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn each_key_has_its_own_places_and_its_own_queue() {
        let places = KeyedPlaces::new(1, 1);
        let first = places.take(1_u8).await.unwrap();
        assert!(places.try_take(1).is_none());
        assert!(places.try_take(2).is_some(), "another key is not affected");
        let mut second = pin!(places.take(1));
        assert!(poll(second.as_mut()).is_pending());
        assert!(places.take(1).await.is_none(), "one waits already");
        drop(first);
        assert!(second.await.is_some());
    }

    #[tokio::test]
    async fn a_key_without_holders_takes_no_memory() {
        let places = KeyedPlaces::new(1, 1);
        let held = places.take(1_u8).await.unwrap();
        {
            let mut cancelled = pin!(places.take(1));
            assert!(poll(cancelled.as_mut()).is_pending());
        }
        assert_eq!(places.keys(), 1);
        drop(held);
        assert_eq!(places.keys(), 0);
        assert!(places.try_take(1).is_some());
        assert_eq!(places.keys(), 0);
    }

    #[tokio::test]
    async fn a_cancelled_wait_frees_its_place_in_the_queue() {
        let places = KeyedPlaces::new(1, 1);
        let _held = places.take(1_u8).await.unwrap();
        {
            let mut cancelled = pin!(places.take(1));
            assert!(poll(cancelled.as_mut()).is_pending());
        }
        let mut next = pin!(places.take(1));
        assert!(poll(next.as_mut()).is_pending());
    }
}
