//! The host's own store on a test's Redis, and a listener that remembers what it heard.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roost::config::{RedisConfig, RedisUrl};
use roost::store::redis::RedisStore;
use roost_core::ids::UserId;
use roost_core::port::{Bus, Delivery, Event, Feeds, PubSub, Publication, StoreError, Subscriber};

use super::eventually;

/// Markers of [`settle`]: so many that every server of a Cluster leads some of them.
const MARKERS: u128 = 24;

/// How the store is to be opened at a URL, with patience for a busy machine.
pub fn config(url: &str) -> RedisConfig {
    RedisConfig {
        url: RedisUrl::parse(url).expect("a URL of Redis").expect("a URL without mistakes"),
        prefix: String::new(),
        ca_file: None,
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        commands_max: 100_000,
    }
}

/// The store at a URL.
pub async fn open(url: &str) -> RedisStore {
    RedisStore::open(config(url)).await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// A user that no other test of this process has.
pub fn fresh_user() -> UserId {
    static USED: AtomicU64 = AtomicU64::new(1);
    let number = u128::from(USED.fetch_add(1, Ordering::Relaxed));
    // Spread like real ids, so that owners live in different slots.
    UserId::from_u128(number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
}

/// A durable event.
pub fn durable(payload: &str) -> Event {
    Event { name: "test.durable".into(), payload: payload.into(), durable: true }
}

/// Publishes one event to one user.
pub async fn publish(store: &impl PubSub, user: UserId, event: Event) -> Result<(), StoreError> {
    store.publish(vec![Publication { user, event }]).await
}

/// Returns when everything published before has reached its subscribers: an event to each server's own markers has, and
/// connections keep the order.
pub async fn settle(store: &(impl Bus + PubSub + Feeds)) {
    let markers: Vec<UserId> = (0..MARKERS).map(|_| fresh_user()).collect();
    let listener = Arc::new(Listener::default());
    for marker in &markers {
        let subscriber: Arc<dyn Subscriber> = listener.clone();
        store.join(*marker, subscriber).await.expect("a marker joins");
    }
    let event = || Event { name: "marker".into(), payload: "0".into(), durable: false };
    store
        .publish(markers.iter().map(|user| Publication { user: *user, event: event() }).collect())
        .await
        .expect("told");
    eventually("markers that arrive", || async { listener.heard().len() == markers.len() }).await;
    for marker in markers {
        store.leave(marker).await;
    }
}

/// Remembers everything that it hears.
#[derive(Default)]
pub struct Listener {
    heard: Mutex<Vec<(UserId, Delivery)>>,
    interruptions: AtomicUsize,
}

impl Listener {
    /// Everything, in order.
    pub fn heard(&self) -> Vec<(UserId, Delivery)> {
        self.heard.lock().unwrap().clone()
    }

    /// One user's payloads, in order.
    pub fn payloads(&self, user: UserId) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(whose, _)| *whose == user).map(|(_, delivery)| delivery.payload.to_string()).collect()
    }

    /// How often it was told that events may be missing.
    pub fn interruptions(&self) -> usize {
        self.interruptions.load(Ordering::SeqCst)
    }
}

impl Subscriber for Listener {
    fn deliver(&self, user: UserId, delivery: Delivery) {
        self.heard.lock().unwrap().push((user, delivery));
    }

    fn interrupted(&self) {
        self.interruptions.fetch_add(1, Ordering::SeqCst);
    }
}
