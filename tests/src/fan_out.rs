//! A large group of which some members are connected, on a real Redis: what a message to it costs in commands and time.
//!
//! Connected members are followed, have counters, and receive their events in this process. The others are invented:
//! nobody has ever seen them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roost::config::StoreUrl;
use roost::records::RecordStore;
use roost::store::Store;
use roost_core::ids::{ConversationId, UserId};
use roost_core::limits::{CALL_ITEMS_MAX, MEMBERS_MAX};
use roost_core::port::{Bus, Clock, Draft, Feeds, NewConversation, Subscriber};
use roost_core::testing::{FakeTelemetry, TestWorld};
use roost_core::time::Timestamp;
use roost_core::{messaging, unread};

use crate::eventually::eventually_true;
use crate::fixture::empty_records;
use crate::redis::RedisServer;
use crate::redis::store::{RecordingSubscriber, config, fresh_user};

/// The clock of the store.
#[derive(Clone)]
pub struct StoreTime(Store);

impl Clock for StoreTime {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn wait(&self, milliseconds: u32) {
        tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
    }
}

/// A group of [`MEMBERS_MAX`] members.
pub struct FanOut {
    /// The server, which nothing else uses.
    pub redis: RedisServer,
    world: TestWorld<Store, RecordStore, StoreTime>,
    conversation: ConversationId,
    connected: Vec<UserId>,
    subscriber: Arc<RecordingSubscriber>,
}

impl FanOut {
    /// A group of which so many members are connected, at least one: the sender.
    pub async fn new(connected: usize) -> Self {
        let redis = RedisServer::start().await;
        let store = Store::open(StoreUrl::Redis(Box::new(config(&redis.url())))).await.expect("a store in Redis");
        let world = TestWorld {
            clock: StoreTime(store.clone()),
            store: Arc::new(store),
            records: Arc::new(empty_records().await),
            telemetry: FakeTelemetry::new(),
        };
        let mut members: Vec<UserId> = (0..MEMBERS_MAX).map(|_| fresh_user()).collect();
        let new = NewConversation { id: None, creator: members[0], members: members.clone(), at: world.now() };
        let conversation = messaging::create(&world, new).await.expect("a group").conversation.id;
        members.truncate(connected);
        let subscriber = Arc::new(RecordingSubscriber::default());
        for member in &members {
            let receiver: Arc<dyn Subscriber> = subscriber.clone();
            world.join(*member, receiver).await.expect("a member joins");
        }
        for chunk in members.chunks(CALL_ITEMS_MAX) {
            world.follow(chunk).await.expect("members are followed");
        }
        for member in &members {
            unread::totals(&world, *member).await.expect("counters");
        }
        let group = Self { redis, world, conversation, connected: members, subscriber };
        // The first message finds no last message and begins every feed.
        group.send().await;
        group
    }

    /// Sends a message, and returns how long that takes. Waits until everybody who is connected has received it.
    pub async fn send(&self) -> Duration {
        let received = self.subscriber.count();
        let (kind, content) = ("text".to_owned(), "See you at eight, in front of the station?".to_owned());
        let (conversation, sender, at) = (self.conversation, self.connected[0], self.world.now());
        let began = Instant::now();
        let draft = Draft { conversation, sender, id: None, kind, content, at };
        let sent = messaging::send(&self.world, draft).await.expect("the message is sent");
        let took = began.elapsed();
        assert!(!sent.delayed, "the store kept up");
        let everybody = received + self.connected.len();
        eventually_true("every connected member receives it", || self.subscriber.count() == everybody).await;
        took
    }

    /// The commands that Redis carries out for one message, those inside scripts included.
    pub async fn commands_of_send(&self) -> u64 {
        self.redis.ask::<()>("CONFIG RESETSTAT").await;
        self.send().await;
        let stats: String = self.redis.ask("INFO commandstats").await;
        let counted = stats.lines().filter(|line| {
            // What the test and the maintenance of the store ask.
            !["config", "info", "time", "dbsize", "ping"].iter().any(|own| line.starts_with(&format!("cmdstat_{own}")))
        });
        counted.filter_map(|line| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok()).sum()
    }

    /// The keys of users who are not connected.
    pub async fn keys_of_others(&self) -> Vec<String> {
        let keys: Vec<String> = self.redis.ask("KEYS *").await;
        let of_others = |key: &String| {
            let is_known = self.connected.iter().any(|user| key.contains(&user.to_string()));
            !is_known && !key.starts_with("last_msg:")
        };
        keys.into_iter().filter(of_others).collect()
    }
}
