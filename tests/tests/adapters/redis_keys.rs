//! The keys in Redis as plain commands of any client see them: names, types and lifetimes as documented, under a
//! prefix, in another database, over TLS, and as an ACL user; and the reload of scripts that a server has flushed.

use std::collections::BTreeMap;

use redis::AsyncTypedCommands;
use roost::store::redis::RedisStore;
use roost_core::ids::{ConversationId, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Check, Event, Feeds, KeyValue, Mutation, Outcome, Query, StoreError, Text, Transaction, Value};
use roost_tests::certificate::SelfSigned;
use roost_tests::eventually::eventually;
use roost_tests::redis::store::{config, durable, fresh_user, open, publish};
use roost_tests::redis::{Options, RedisServer};

fn transaction(user: UserId) -> Transaction {
    Transaction::new(Owner::User(user))
}

async fn committed(store: &RedisStore, transaction: Transaction) -> Vec<i64> {
    match store.commit(vec![transaction]).await.unwrap().remove(0) {
        Outcome::Committed(results) => results,
        other => panic!("{other:?}"),
    }
}

/// Writes the keys of a user's heartbeat, a message and a reader.
async fn leave_traces(store: &RedisStore, user: UserId, conversation: ConversationId) {
    let key = |space| Key::of_user(space, user);
    let counter = Key::unread_conversation(user, conversation);
    let add = |key: Key| Mutation::Add { key, delta: 2, floor: Some(0) };
    let field = |key: Key, name: Text, text: &'static str| Mutation::SetFields(key, vec![(name, text.into())]);
    let message = transaction(user)
        .mutate(Mutation::Set(key(Space::Online), b"1790000000".to_vec(), Some(60_000)))
        .mutate(field(key(Space::Presence), "status".into(), "online"))
        .mutate(field(key(Space::Devices), "device".into(), "1790000060000"))
        .mutate(Mutation::Expire(key(Space::Devices), 60_000))
        .mutate(add(key(Space::UnreadTotal)))
        .mutate(add(counter))
        .mutate(field(key(Space::UnreadSequence), conversation.to_string().into(), "2"))
        .mutate(Mutation::Set(key(Space::Followed), Vec::new(), Some(600_000)))
        .publish(durable("{\"n\":1}"));
    committed(store, message).await;
    let last = Key::last_message(conversation);
    let cached = Transaction::new(last.owner)
        .mutate(field(last.clone(), "content".into(), "hello"))
        .mutate(field(last.clone(), "seq".into(), "2"))
        .mutate(Mutation::Expire(last, 3_600_000));
    committed(store, cached).await;
    let due = Key::presence_due(user);
    committed(
        store,
        Transaction::new(due.owner).mutate(Mutation::OrderedPut(due, user.to_string().into(), 1_790_000_060_000)),
    )
    .await;
}

#[tokio::test]
async fn any_redis_client_reads_the_documented_keys() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    let (user, conversation) = (fresh_user(), ConversationId::from_u128(7));
    leave_traces(&store, user, conversation).await;
    let mut client = server.client().await;
    assert_eq!(client.get(format!("online:{user}")).await.unwrap().as_deref(), Some("1790000000"));
    let left: i64 = server.ask(&format!("TTL online:{user}")).await;
    assert!((1..=60).contains(&left), "{left}");
    assert_eq!(server.ask::<String>(&format!("HGET presence:{user} status")).await, "online");
    assert_eq!(server.ask::<i64>(&format!("TTL presence:{user}")).await, -1);
    assert_eq!(server.ask::<String>(&format!("HGET devices:{user} device")).await, "1790000060000");
    let Owner::Shard(shard) = Owner::presence_shard(user) else { panic!("a shard") };
    assert_eq!(server.ask::<i64>(&format!("ZSCORE presence_due:{shard} {user}")).await, 1_790_000_060_000);
    assert_eq!(server.ask::<i64>(&format!("GET unread:total:{user}")).await, 2);
    assert_eq!(server.ask::<i64>(&format!("GET unread:conv:{user}:{conversation}")).await, 2);
    assert_eq!(server.ask::<String>(&format!("OBJECT ENCODING unread:total:{user}")).await, "int");
    assert_eq!(server.ask::<i64>(&format!("HGET unread:seq:{user} {conversation}")).await, 2);
    let last: BTreeMap<String, String> = server.ask(&format!("HGETALL last_msg:{conversation}")).await;
    assert_eq!(last, BTreeMap::from([("content".into(), "hello".into()), ("seq".into(), "2".into())]));
    let left: i64 = server.ask(&format!("TTL last_msg:{conversation}")).await;
    assert!((3_000..=3_600).contains(&left), "{left}");
    let left: i64 = server.ask(&format!("TTL followed:{user}")).await;
    assert!((500..=600).contains(&left), "{left}");
    let keys: Vec<String> = server.ask("KEYS *").await;
    assert_eq!(keys.len(), 10, "nothing else: {keys:?}");
}

#[tokio::test]
async fn a_feed_is_a_stream_whose_ids_are_positions() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    let user = fresh_user();
    for number in 1..=300 {
        publish(&store, user, durable(&number.to_string())).await.unwrap();
    }
    let position = store.positions(&[user]).await.unwrap().remove(0);
    let id: String =
        server.ask::<Vec<(String, Vec<String>)>>(&format!("XREVRANGE feed:{user} + - COUNT 1")).await.remove(0).0;
    assert_eq!(id, format!("{}-{}", position.epoch, position.offset));
    assert_eq!(server.ask::<usize>(&format!("XLEN feed:{user}")).await, 256);
    let left: i64 = server.ask(&format!("TTL feed:{user}")).await;
    assert!((500..=600).contains(&left), "{left}");
}

#[tokio::test]
async fn a_feed_entry_shows_the_event_fields_to_any_client() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    let user = fresh_user();
    publish(&store, user, durable(r#"{"content":"See you","seq":3,"quoted":"\"a\""}"#)).await.unwrap();
    publish(&store, user, durable("[1]")).await.unwrap();
    // The first event of more than 1 KiB, from which on the bytes are counted: 12 of its name, and 58 and 15 of the
    // others.
    let large = format!("[\"{}\"]", "x".repeat(1_100));
    publish(&store, user, durable(&large)).await.unwrap();
    let entries: Vec<(String, Vec<String>)> = server.ask(&format!("XRANGE feed:{user} - +")).await;
    let process: String = server.info("run_id").await.chars().take(16).collect();
    let first = format!("test.durable@{process}");
    let members = ["", "content", "See you", "seq:json", "3", "quoted:json", r#""\"a\"""#];
    assert_eq!(entries[0].1, [&[first.as_str()], &members[..]].concat());
    assert_eq!(entries[1].1, [&first, "", "", "[1]"]);
    let size = 12 + large.len();
    assert_eq!(entries[2].1, [&first, &format!("{} {size} 0", 58 + 15 + size), "", &large]);
}

#[tokio::test]
async fn any_subscriber_receives_the_documented_message() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    let user = fresh_user();
    let client = redis::Client::open(server.url()).unwrap();
    let mut foreign = client.get_async_pubsub().await.unwrap();
    foreign.subscribe(format!("chat:user:{user}")).await.unwrap();
    publish(&store, user, durable("{\"n\":1}")).await.unwrap();
    let ephemeral = Event { name: "typing".into(), payload: "{}".into(), durable: false };
    publish(&store, user, ephemeral).await.unwrap();
    let position = store.positions(&[user]).await.unwrap().remove(0);
    let mut deliveries = futures_util::StreamExt::take(foreign.on_message(), 2);
    let mut next =
        async || futures_util::StreamExt::next(&mut deliveries).await.unwrap().get_payload::<String>().unwrap();
    let expected = format!(r#"{{"type":"test.durable","payload":{{"n":1}},"offset":1,"epoch":"{}"}}"#, position.epoch);
    assert_eq!(next().await, expected);
    assert_eq!(next().await, r#"{"type":"typing","payload":{}}"#);
}

#[tokio::test]
async fn a_prefix_and_a_database_separate_two_installations() {
    let server = RedisServer::start().await;
    let mut one = config(&format!("{}/3", server.url()));
    one.prefix = "one:".to_owned();
    let (one, other) = (RedisStore::open(one).await.unwrap(), open(&format!("{}/3", server.url())).await);
    let user = fresh_user();
    for (store, number) in [(&one, 1), (&other, 2)] {
        let key = Key::of_user(Space::UnreadTotal, user);
        committed(store, transaction(user).mutate(Mutation::Add { key, delta: number, floor: None })).await;
    }
    assert_eq!(server.ask::<Vec<String>>("KEYS *").await.len(), 0, "database 0 is not used");
    let mut client = server.client().await;
    redis::cmd("SELECT").arg(3).exec_async(&mut client).await.unwrap();
    assert_eq!(client.get(format!("one:unread:total:{user}")).await.unwrap().as_deref(), Some("1"));
    assert_eq!(client.get(format!("unread:total:{user}")).await.unwrap().as_deref(), Some("2"));
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again_and_nothing_is_applied_twice() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    let user = fresh_user();
    let counter = Key::of_user(Space::UnreadTotal, user);
    for number in 1..=3 {
        server.ask::<()>("SCRIPT FLUSH").await;
        let add = Mutation::Add { key: counter.clone(), delta: 1, floor: Some(0) };
        assert_eq!(committed(&store, transaction(user).mutate(add)).await, [number]);
    }
    server.ask::<()>("SCRIPT FLUSH").await;
    let index = Key::of_user(Space::UnreadSequence, user);
    let queries = vec![Query::IndexedCounters { index, space: Space::UnreadConversation }, Query::Counter(counter)];
    assert_eq!(store.read(queries).await.unwrap(), [Value::Counters(vec![]), Value::Counter(3)]);
}

#[tokio::test]
async fn a_full_server_refuses_the_whole_transaction() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    let user = fresh_user();
    let key = |item: &str| Key::app(Owner::User(user), item);
    committed(&store, transaction(user).mutate(Mutation::Set(key("a"), b"1".to_vec(), None))).await;
    server.ask::<()>("CONFIG SET maxmemory 1").await;
    let both = transaction(user)
        .check(Check::Present(key("a")))
        .mutate(Mutation::Delete(key("a")))
        .mutate(Mutation::Set(key("b"), b"1".to_vec(), None));
    let outcome = store.commit(vec![both]).await.unwrap().remove(0);
    assert!(matches!(outcome, Outcome::Failed(StoreError::Unavailable { .. })), "{outcome:?}");
    server.ask::<()>("CONFIG SET maxmemory 0").await;
    let found = store.read(vec![Query::Presence(key("a")), Query::Presence(key("b"))]).await.unwrap();
    assert_eq!(found, [Value::Presence(true), Value::Presence(false)], "nothing of it happened");
}

#[tokio::test]
async fn a_score_that_redis_would_round_is_refused() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    let user = fresh_user();
    let key = Key::app(Owner::User(user), "o");
    for exact in [1 << 53, -(1 << 53)] {
        committed(&store, transaction(user).mutate(Mutation::OrderedPut(key.clone(), "m".into(), exact))).await;
        let equals = transaction(user).check(Check::ScoreEquals(key.clone(), "m".into(), Some(exact)));
        committed(&store, equals).await;
    }
    let rounded = transaction(user).mutate(Mutation::OrderedPut(key, "m".into(), (1 << 53) + 1));
    let outcome = store.commit(vec![rounded]).await.unwrap().remove(0);
    assert!(matches!(outcome, Outcome::Failed(StoreError::TooLarge(_))), "{outcome:?}");
}

#[tokio::test]
async fn the_items_of_a_function_are_plain_keys_beside_a_ledger() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    let user = fresh_user();
    let item = |name: &str| Key { function: Some("polls".into()), ..Key::app(Owner::User(user), name) };
    let choose = transaction(user)
        .mutate(Mutation::Set(item("choice: 👍"), b"yes".to_vec(), Some(60_000)))
        .mutate(Mutation::Add { key: item("count"), delta: 7, floor: None });
    committed(&store, choose).await;
    let (chosen, counted) = ("choice%3A%20%F0%9F%91%8D", "count");
    assert_eq!(server.ask::<String>(&format!("GET app:polls:user:{user}:{chosen}")).await, "yes");
    assert_eq!(server.ask::<i64>(&format!("GET app:polls:user:{user}:{counted}")).await, 7);
    let ledger: BTreeMap<String, u64> = server.ask("HGETALL app_bytes:polls").await;
    let of = |name: &str, bytes: u64| (format!("user:{user}:{name}"), 512 + bytes);
    let expected = [of(chosen, 3), of(counted, 1), ("bytes".to_owned(), 1_028)];
    assert_eq!(ledger, expected.into_iter().collect());
    let due: Vec<(String, f64)> = server.ask("ZRANGE app_due:polls 0 -1 WITHSCORES").await;
    let expires: i64 = server.ask(&format!("PEXPIRETIME app:polls:user:{user}:{chosen}")).await;
    assert_eq!(due, [(format!("user:{user}:{chosen}"), expires as f64)]);
    assert_eq!(server.ask::<Vec<String>>("KEYS *").await.len(), 4, "nothing else");
    let forget = transaction(user).mutate(Mutation::Delete(item("choice: 👍"))).mutate(Mutation::Delete(item("count")));
    committed(&store, forget).await;
    assert_eq!(server.ask::<Vec<String>>("KEYS *").await, [""; 0], "a function without items leaves nothing behind");
}

#[tokio::test]
async fn more_expired_items_than_one_transaction_gives_back_are_given_back_by_the_next_ones() {
    let server = RedisServer::start().await;
    let store = open(&server.url()).await;
    let user = fresh_user();
    let set = |number: usize| {
        let key = Key { function: Some("polls".into()), ..Key::app(Owner::User(user), number.to_string()) };
        Mutation::Set(key, vec![], Some(1))
    };
    committed(&store, (0..200).map(set).fold(transaction(user), Transaction::mutate)).await;
    let bytes = async || server.ask::<Option<u64>>("HGET app_bytes:polls bytes").await.unwrap_or_default();
    assert_eq!(bytes().await, 200 * 512);
    let mut transactions = 0;
    eventually("only the newest item counts", async || {
        transactions += 1;
        committed(&store, transaction(user).mutate(set(1_000))).await;
        bytes().await == 512
    })
    .await;
    assert!(transactions >= 4, "{transactions} transactions gave back 200 items");
}

#[tokio::test]
async fn tls_and_acl_credentials_are_accepted_and_wrong_ones_are_refused() {
    roost::app::install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let SelfSigned { certificate, key, .. } = SelfSigned::write(folder.path(), "server");
    let user = "roost on >se%cret ~* &* +@all";
    let options =
        Options::new().tls(&certificate, &key, &certificate).set("user", &user.split(' ').collect::<Vec<_>>());
    let server = RedisServer::start_with(options.set("user", &["default", "off"])).await;
    let url = |password: &str| format!("rediss://roost:{password}@127.0.0.1:{}", server.port());
    let mut right = config(&url("se%25cret"));
    right.ca_file = Some(certificate.into());
    let store = RedisStore::open(right.clone()).await.unwrap_or_else(|error| panic!("{error:#}"));
    publish(&store, fresh_user(), durable("1")).await.unwrap();
    let unknown_authority = roost::config::RedisConfig { ca_file: None, ..right.clone() };
    assert!(RedisStore::open(short(unknown_authority)).await.is_err());
    let mut wrong = right;
    wrong.url = config(&url("guess")).url;
    let error = format!("{:#}", RedisStore::open(short(wrong)).await.err().unwrap());
    assert!(error.contains("rediss://127.0.0.1:") && !error.contains("guess"), "{error}");
}

/// The same configuration with short timeouts, for starts that must fail.
fn short(config: roost::config::RedisConfig) -> roost::config::RedisConfig {
    roost::config::RedisConfig { connect_timeout: std::time::Duration::from_millis(700), ..config }
}

#[tokio::test]
async fn a_start_without_redis_is_refused_with_the_url_and_the_reason() {
    let server = RedisServer::start().await;
    let port = server.port();
    drop(server);
    let message = |error: anyhow::Error| format!("{error:#}");
    let silent = RedisStore::open(short(config(&format!("redis://:hidden@127.0.0.1:{port}/2"))))
        .await
        .err()
        .map(message)
        .unwrap();
    assert!(silent.contains(&format!("redis://127.0.0.1:{port}/2")) && !silent.contains("hidden"), "{silent}");
    assert!(silent.to_lowercase().contains("refused"), "{silent}");
}
