//! The memory of live state in Redis for each of 250 users with 50 conversations each, written by the real rules
//! through the real adapter. Prints the growth of `used_memory`, and bytes per user and key space.

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

const USERS: usize = 250;
/// The users who are there before and are removed, so that what Redis takes for connections and scripts is not counted.
const USERS_BEFORE: usize = 50;
const CONVERSATIONS_PER_USER: usize = 50;
/// A message of ordinary length.
const CONTENT: &str = "See you at eight, in front of the station? I bring the tickets.";
/// In ten ordinary minutes, one conversation in this many has a message: ten events in every user's feed.
const QUIET: usize = 5;
/// The number of concurrent use cases.
const CONCURRENT: usize = 64;
/// The number of keys sampled in each space.
const SAMPLES: usize = 50;
const MEBIBYTE: f64 = 1_048_576.0;
/// The target of 30 MB for 1,000 users, in bytes for each.
const TARGET: f64 = 30_000.0;

/// The clock of the machine.
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

/// Creates conversations with this many members each, and then brings all users online with cached counters, so that
/// their feeds do not hold the beginnings of all conversations. Returns the conversations, each with a member.
async fn fill(world: &World, users: usize, members: usize) -> Vec<(ConversationId, UserId)> {
    let users: Vec<UserId> = (0..users).map(|_| UserId::from_u128(Uuid::new_v4().as_u128())).collect();
    let conversations = stream::iter(memberships(&users, members)).map(async |members| {
        let new = NewConversation { id: None, creator: members[0], members: members.clone(), at: world.now() };
        (messaging::create(world, new).await.unwrap().conversation.id, members[0])
    });
    let conversations = conversations.buffer_unordered(CONCURRENT).collect().await;
    stream::iter(&users)
        .for_each_concurrent(CONCURRENT, async |user| {
            let device: ConnectionId = Uuid::new_v4().simple().to_string().parse().unwrap();
            presence::connected(world, *user, &device).await.unwrap();
            unread::totals(world, *user).await.unwrap();
        })
        .await;
    conversations
}

/// Sends a message in each of these conversations.
async fn send_to_all(world: &World, conversations: impl Iterator<Item = &(ConversationId, UserId)>) {
    stream::iter(conversations)
        .for_each_concurrent(CONCURRENT, async |(conversation, sender)| {
            send_message(world, *conversation, *sender).await
        })
        .await;
}

async fn send_message(world: &World, conversation: ConversationId, sender: UserId) {
    let draft =
        Draft { conversation, sender, id: None, kind: "text".to_owned(), content: CONTENT.to_owned(), at: world.now() };
    let sent = messaging::send(world, draft).await.unwrap();
    assert!(!sent.delayed, "the store did not keep up");
}

/// The members of conversations between neighbours on a ring, so that every user is in the same number of them.
fn memberships(users: &[UserId], members: usize) -> Vec<Vec<UserId>> {
    let rounds = CONVERSATIONS_PER_USER / members;
    let members_of =
        |first: usize, step: usize| (0..members).map(|index| users[(first + index * step) % users.len()]).collect();
    (1..=rounds)
        .flat_map(|step| (0..users.len()).map(move |first| (first, step)))
        .map(|(first, step)| members_of(first, step))
        .collect()
}

/// The adapter as a host opens it.
async fn store(redis: &RedisServer) -> Store {
    let url = RedisUrl::parse(&redis.url()).unwrap().unwrap();
    let config = RedisConfig {
        url,
        prefix: String::new(),
        ca_file: None,
        sentinel_username: None,
        sentinel_password: None,
        sentinel_tls: None,
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        commands_max: 16_384,
    };
    Store::open(StoreUrl::Redis(Box::new(config))).await.unwrap()
}

async fn used_memory(redis: &RedisServer) -> f64 {
    redis.info("used_memory").await.parse().unwrap()
}

/// The number of keys and the bytes of each space, from samples.
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

/// Fills an empty server and prints its memory: after a message in every conversation, all of which are in feeds, and
/// after ten ordinary minutes (the lifetime of a feed) with a message in one conversation in [`QUIET`]. Returns both in
/// bytes for each user.
async fn cost(members: usize) -> (f64, f64) {
    let redis = RedisServer::start().await;
    let world = TestWorld {
        store: Arc::new(store(&redis).await),
        records: Arc::new(FakeRecords::new(1)),
        clock: RealClock,
        telemetry: FakeTelemetry::new(),
    };
    send_to_all(&world, fill(&world, USERS_BEFORE, members).await.iter()).await;
    redis.ask::<()>("FLUSHALL").await;
    let before = used_memory(&redis).await;
    let grown = async || (used_memory(&redis).await - before) / USERS as f64;
    let conversations = fill(&world, USERS, members).await;
    send_to_all(&world, conversations.iter()).await;
    let all_at_once = grown().await;
    print(&format!("{members} members each, all spoken in within ten minutes: {all_at_once:.0} bytes a user"), &redis)
        .await;
    forget_feeds(&mut redis.client().await).await;
    send_to_all(&world, conversations.iter().step_by(QUIET)).await;
    let ordinary = grown().await;
    print(&format!("{members} members each, one in {QUIET} spoken in: {ordinary:.0} bytes a user"), &redis).await;
    (all_at_once, ordinary)
}

/// Removes all feeds, as ten minutes without events would.
async fn forget_feeds(connection: &mut MultiplexedConnection) {
    let feeds: Vec<String> = redis::cmd("KEYS").arg("feed:*").query_async(connection).await.unwrap();
    redis::cmd("DEL").arg(feeds).query_async::<()>(connection).await.unwrap();
}

async fn print(what: &str, redis: &RedisServer) {
    eprintln!("{USERS} users, {CONVERSATIONS_PER_USER} conversations each, {what}");
    for (space, (keys, bytes)) in spaces(&mut redis.client().await).await {
        let per_user = bytes / USERS as f64;
        eprintln!("  {space:<14} {keys:>6} keys {:>6.2} MiB {per_user:>7.0} bytes a user", bytes / MEBIBYTE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_with_fifty_conversations_each_take_little_memory() {
    for (members, all_at_once_max) in [(10, TARGET), (2, 42_000.0)] {
        let (all_at_once, ordinary) = cost(members).await;
        assert!(ordinary < TARGET, "{members} members: {ordinary:.0} bytes a user");
        assert!(all_at_once < all_at_once_max, "{members} members: {all_at_once:.0} bytes a user");
    }
}
