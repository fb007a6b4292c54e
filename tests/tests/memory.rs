//! What live state costs in Redis: 1,000 users with 50 conversations each, filled by the real rules through the real
//! adapter. Prints the growth of `used_memory`, and bytes a user by space.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};
use redis::aio::MultiplexedConnection;
use roost::config::{RedisConfig, RedisUrl, StoreUrl};
use roost::store::Store;
use roost_core::ids::{ConnectionId, ConversationId, UserId};
use roost_core::port::{Clock, Draft, NewConversation};
use roost_core::testing::{FakeRecords, FakeTelemetry, TestWorld};
use roost_core::time::Timestamp;
use roost_core::{messaging, presence, unread};
use roost_tests::redis::RedisServer;
use uuid::Uuid;

const USERS: usize = 1_000;
const CONVERSATIONS_PER_USER: usize = 50;
/// A message of ordinary length.
const CONTENT: &str = "See you at eight, in front of the station? I bring the tickets.";
/// Use cases under way at once.
const AT_ONCE: usize = 64;
/// Keys looked at for each space.
const SAMPLES: usize = 50;
const MEBIBYTE: f64 = 1_048_576.0;

/// The machine's time.
#[derive(Clone, Copy, Debug)]
struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp(u64::try_from(now.as_millis()).unwrap())
    }

    async fn wait(&self, milliseconds: u32) {
        tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
    }
}

type World = TestWorld<Store, FakeRecords, RealClock>;

/// Everybody is online and has conversations with so many members each, every one with this many recent messages.
async fn fill(world: &World, members: usize, messages: usize) {
    let users: Vec<UserId> = (0..USERS).map(|_| UserId::from_u128(Uuid::new_v4().as_u128())).collect();
    stream::iter(&users)
        .for_each_concurrent(AT_ONCE, async |user| {
            let device: ConnectionId = Uuid::new_v4().simple().to_string().parse().unwrap();
            presence::connected(world, *user, &device).await.unwrap();
            unread::totals(world, *user).await.unwrap();
        })
        .await;
    stream::iter(talks(&users, members))
        .for_each_concurrent(AT_ONCE, async |members| {
            let new = NewConversation { id: None, creator: members[0], members: members.clone(), at: world.now() };
            let conversation = messaging::create(world, new).await.unwrap().conversation.id;
            for number in 0..messages {
                say(world, conversation, members[number % members.len()]).await;
            }
        })
        .await;
}

async fn say(world: &World, conversation: ConversationId, sender: UserId) {
    let draft =
        Draft { conversation, sender, id: None, kind: "text".to_owned(), content: CONTENT.to_owned(), at: world.now() };
    let sent = messaging::send(world, draft).await.unwrap();
    assert!(!sent.delayed, "the store did not keep up");
}

/// Conversations of so many neighbours on a ring, so that everybody is in as many.
fn talks(users: &[UserId], members: usize) -> Vec<Vec<UserId>> {
    let rounds = CONVERSATIONS_PER_USER / members;
    let talk = |first: usize, step: usize| (0..members).map(|place| users[(first + place * step) % USERS]).collect();
    (1..=rounds)
        .flat_map(|step| (0..USERS).map(move |first| (first, step)))
        .map(|(first, step)| talk(first, step))
        .collect()
}

/// The adapter as a host has it.
async fn store(redis: &RedisServer) -> Store {
    let url = RedisUrl::parse(&redis.url()).unwrap().unwrap();
    let config = RedisConfig {
        url,
        prefix: String::new(),
        ca_file: None,
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        commands_max: 16_384,
    };
    Store::open(StoreUrl::Redis(config)).await.unwrap()
}

async fn used_memory(redis: &RedisServer) -> f64 {
    redis.info("used_memory").await.parse().unwrap()
}

/// Keys by space, and bytes of each space, from samples.
async fn spaces(connection: &mut MultiplexedConnection) -> BTreeMap<String, (usize, f64)> {
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(connection).await.unwrap();
    let mut by_space: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in keys {
        let named = key.split(':').take_while(|part| part.len() < 32 && part.parse::<u32>().is_err());
        by_space.entry(named.collect::<Vec<_>>().join(":")).or_default().push(key);
    }
    let mut sizes = BTreeMap::new();
    for (space, keys) in by_space {
        let mut sampled = 0_u32;
        let mut bytes = 0.0;
        for key in keys.iter().take(SAMPLES) {
            let usage = redis::cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0).to_owned();
            bytes += usage.query_async::<Option<f64>>(connection).await.unwrap().unwrap_or_default();
            sampled += 1;
        }
        sizes.insert(space, (keys.len(), bytes / f64::from(sampled) * keys.len() as f64));
    }
    sizes
}

/// Mebibytes that a filled server grew by.
struct Cost {
    /// Every conversation's message was told within the last ten minutes: all of it is in the feeds.
    with_feeds: f64,
    /// Ten quiet minutes later.
    without_feeds: f64,
}

/// Fills an empty server and prints what that costs.
async fn cost(members: usize, messages: usize) -> Cost {
    let redis = RedisServer::start().await;
    let before = used_memory(&redis).await;
    let world = TestWorld {
        store: Arc::new(store(&redis).await),
        records: Arc::new(FakeRecords::new(1)),
        clock: RealClock,
        telemetry: FakeTelemetry::new(),
    };
    fill(&world, members, messages).await;
    let with_feeds = (used_memory(&redis).await - before) / MEBIBYTE;
    let spaces = spaces(&mut redis.client().await).await;
    let feeds = spaces.get("feed").map_or(0.0, |(_, bytes)| bytes / MEBIBYTE);
    let cost = Cost { with_feeds, without_feeds: with_feeds - feeds };
    eprintln!(
        "{USERS} users, {CONVERSATIONS_PER_USER} conversations of {members} each, recent messages in each: {messages}; \
         {with_feeds:.1} MiB, without feeds {:.1} MiB",
        cost.without_feeds
    );
    for (space, (keys, bytes)) in spaces {
        let per_user = bytes / USERS as f64;
        eprintln!("  {space:<14} {keys:>6} keys {:>6.2} MiB {per_user:>7.0} bytes a user", bytes / MEBIBYTE);
    }
    cost
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_users_with_fifty_conversations_each_take_little_memory() {
    for (members, messages, with_feeds_max) in [(10, 1, 40.0), (2, 1, 50.0), (10, 6, 110.0)] {
        let Cost { with_feeds, without_feeds } = cost(members, messages).await;
        assert!(without_feeds < 30.0 && with_feeds < with_feeds_max, "{with_feeds:.1} and {without_feeds:.1} MiB");
    }
}
