//! The host's own store on a test's Redis, and a subscriber that records its deliveries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roost::config::{RedisConfig, RedisUrl};
use roost::store::redis::RedisStore;
use roost_core::ids::UserId;
use roost_core::port::{Bus, Delivery, Event, Feeds, PubSub, Publication, StoreError, Subscriber};

use crate::eventually::eventually_true;

/// The number of markers of [`wait_for_deliveries`]: enough that every server of a Cluster leads some of them.
const MARKERS: u128 = 24;

/// The configuration of the store at a URL, with timeouts that suit a busy machine.
pub fn config(url: &str) -> RedisConfig {
    RedisConfig {
        url: RedisUrl::parse(url).expect("a URL of Redis").expect("a URL without mistakes"),
        prefix: String::new(),
        ca_file: None,
        sentinel_username: None,
        sentinel_password: None,
        sentinel_tls: None,
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        commands_max: 100_000,
    }
}

/// Opens the store at a URL.
pub async fn open(url: &str) -> RedisStore {
    RedisStore::open(config(url)).await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// A user id that no other test of this process uses.
pub fn fresh_user() -> UserId {
    static USED: AtomicU64 = AtomicU64::new(1);
    let number = u128::from(USED.fetch_add(1, Ordering::Relaxed));
    // The ids are spread like real ones, so that owners are in different slots.
    UserId::from_u128(number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
}

/// A durable event.
pub fn durable(payload: &str) -> Event {
    Event { name: "test.durable".into(), payload: payload.into(), durable: true }
}

/// Publishes one event to one user, who is followed, so that a durable event is kept.
pub async fn publish(store: &(impl PubSub + Feeds), user: UserId, event: Event) -> Result<(), StoreError> {
    if event.durable {
        store.follow(&[user]).await?;
    }
    store.publish(vec![Publication { user, event }]).await
}

/// Waits until everything that was published before has reached its subscribers. It publishes one event to markers on
/// every server and waits for them; connections keep the order.
pub async fn wait_for_deliveries(store: &(impl Bus + PubSub + Feeds)) {
    let markers: Vec<UserId> = (0..MARKERS).map(|_| fresh_user()).collect();
    let subscriber = Arc::new(RecordingSubscriber::default());
    for marker in &markers {
        let subscriber: Arc<dyn Subscriber> = subscriber.clone();
        store.join(*marker, subscriber).await.expect("a marker joins");
    }
    let event = || Event { name: "marker".into(), payload: "0".into(), durable: false };
    store
        .publish(markers.iter().map(|user| Publication { user: *user, event: event() }).collect())
        .await
        .expect("the markers are published");
    eventually_true("every marker arrives", || subscriber.deliveries().len() == markers.len()).await;
    for marker in markers {
        store.leave(marker).await;
    }
}

/// A subscriber that records every delivery.
#[derive(Default)]
pub struct RecordingSubscriber {
    deliveries: Mutex<Vec<(UserId, Delivery)>>,
    /// The users of each interruption.
    interrupted: Mutex<Vec<Vec<UserId>>>,
}

impl RecordingSubscriber {
    /// All deliveries in order.
    pub fn deliveries(&self) -> Vec<(UserId, Delivery)> {
        self.deliveries.lock().unwrap().clone()
    }

    /// How many deliveries there were.
    pub fn count(&self) -> usize {
        self.deliveries.lock().unwrap().len()
    }

    /// The payloads of one user's deliveries in order.
    pub fn payloads(&self, user: UserId) -> Vec<String> {
        let deliveries = self.deliveries.lock().unwrap();
        deliveries
            .iter()
            .filter(|(whose, _)| *whose == user)
            .map(|(_, delivery)| delivery.payload.to_string())
            .collect()
    }

    /// How often the store reported that events may be missing.
    pub fn interruptions(&self) -> usize {
        self.interrupted.lock().unwrap().len()
    }

    /// How often the store reported that events of this user may be missing.
    pub fn interruptions_of(&self, user: UserId) -> usize {
        self.interrupted.lock().unwrap().iter().filter(|users| users.contains(&user)).count()
    }
}

impl Subscriber for RecordingSubscriber {
    fn deliver(&self, user: UserId, delivery: Delivery) {
        self.deliveries.lock().unwrap().push((user, delivery));
    }

    fn interrupted(&self, users: &[UserId]) {
        self.interrupted.lock().unwrap().push(users.to_vec());
    }
}
