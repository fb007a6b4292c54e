//! Erasing a user from end to end: what is left, what the others see, that a repetition goes on, and that a user of
//! thousands of conversations is erased in a bounded time.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, UserId};
use roost_core::port::{Confirmation, NewConversation, Records};
use roost_core::time::Timestamp;
use roost_tests::client::Client;
use roost_tests::eventually::eventually;
use roost_tests::redis::RedisServer;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::{Value, json};
use uuid::Uuid;

/// The conversations of a big user: more than one step leaves, than one chunk of counters, and than one page of them.
/// An unoptimised host takes a few milliseconds for each, so that the largest number that is allowed would take minutes
/// on a busy machine. `ROOST_ERASED_CONVERSATIONS` names another one; `tests/soak` runs 20,000.
const CONVERSATIONS: usize = 2_000;
/// The time that the erasing of so many may take.
const ERASED_WITHIN: Duration = Duration::from_secs(75);
/// The big user has written in so many of the conversations: more than one step deletes.
const WRITTEN_IN: usize = 30;
/// Another user has written in so many of them.
const UNREAD: usize = 40;
/// The first conversation that the big user leaves.
const SAMPLE: Uuid = Uuid::from_u128(1);

#[tokio::test]
async fn nothing_but_deleted_messages_is_left_of_an_erased_user() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, cat_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let [ann, bob, cat] = [ann_id, bob_id, cat_id].map(|user| server.user(user));
    let group = ann.conversation(&[bob_id, cat_id]).await;
    let pair = ann.post("/v1/conversations", json!({ "direct": bob_id })).await.json(201);
    let pair = pair["id"].as_str().unwrap();
    for (one, other) in [(&ann, bob_id), (&bob, ann_id), (&cat, ann_id)] {
        one.put(&format!("/v1/contacts/{other}")).await.done();
    }
    ann.put(&format!("/v1/blocks/{cat_id}")).await.done();
    for conversation in [&group, pair] {
        ann.post(&format!("/v1/conversations/{conversation}/messages"), json!({ "content": "of Ann" })).await.json(201);
    }
    bob.post(&format!("/v1/conversations/{group}/messages"), json!({ "content": "of Bob" })).await.json(201);
    assert_eq!(cat.get("/v1/unread").await.json(200)["total"], 2);
    server.service().erase_user(ann_id).await;

    assert_eq!(ann.get("/v1/conversations").await.json(200)["conversations"], json!([]));
    assert_eq!(ann.get("/v1/unread").await.json(200), json!({ "total": 0, "conversations": {} }));
    assert_eq!(ann.get("/v1/contacts").await.json(200), json!({ "contacts": [] }));
    for client in [&bob, &cat] {
        assert_eq!(client.get("/v1/contacts").await.json(200), json!({ "contacts": [] }));
    }
    let history = cat.get(&format!("/v1/conversations/{group}/messages")).await.json(200);
    let contents: Vec<&Value> = history["messages"].as_array().unwrap().iter().map(|found| &found["content"]).collect();
    assert_eq!(contents, [&json!("of Bob")]);
    assert_eq!(cat.get("/v1/unread").await.json(200)["total"], 1);
    let members = cat.get(&format!("/v1/conversations/{group}/members")).await.json(200);
    assert_eq!(members["members"].as_array().unwrap().len(), 2, "{members}");
    let left = bob.get(&format!("/v1/conversations/{pair}")).await.json(200);
    assert_eq!(
        (&left["direct"], &left["members"], &left["last_message"]),
        (&json!(true), &json!([bob_id]), &Value::Null)
    );
    assert_eq!(server.service().erase_user(ann_id).await, 1, "nothing is left to erase");
    server.stop().await;
}

/// One step leaves 100 conversations or deletes 20 messages, so that this takes several. How many calls they take
/// depends on the machine.
#[tokio::test]
async fn a_user_of_many_conversations_and_messages_is_erased_in_several_steps() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id] = [Uuid::new_v4(), Uuid::new_v4()];
    let [ann, bob] = [ann_id, bob_id].map(|user| server.user(user));
    let group = bob.conversation(&[ann_id]).await;
    for number in 0..50 {
        let body = json!({ "content": format!("number {number}") });
        ann.post(&format!("/v1/conversations/{group}/messages"), body).await.json(201);
    }
    for _ in 0..120 {
        ann.conversation(&[]).await;
    }
    server.service().erase_user(ann_id).await;
    assert_eq!(ann.get("/v1/conversations").await.json(200)["conversations"], json!([]));
    assert_eq!(bob.get(&format!("/v1/conversations/{group}/messages")).await.json(200)["messages"], json!([]));
    assert_eq!(bob.get("/v1/unread").await.json(200)["total"], 0);
    server.stop().await;
}

#[tokio::test]
async fn only_services_erase() {
    let server = Server::start(&[]).await;
    let ann_id = Uuid::new_v4();
    server.user(ann_id).delete(&format!("/v1/users/{ann_id}")).await.problem(403, "service_only");
    server.anonymous().delete(&format!("/v1/users/{ann_id}")).await.problem(401, "unauthenticated");
    server.stop().await;
}

/// The conversations of the big user, with [`SAMPLE`].
fn conversations() -> usize {
    let named = std::env::var("ROOST_ERASED_CONVERSATIONS").ok();
    named.map_or(CONVERSATIONS, |text| text.parse().expect("a number of conversations"))
}

/// A conversation of the big user and one other, after [`SAMPLE`].
fn conversation(number: usize) -> ConversationId {
    ConversationId::from_u128(number as u128 + 2)
}

/// Makes the two members of so many conversations, past the host.
async fn write_conversations(server: &Server, big: Uuid, other: Uuid, count: usize) {
    let file = SqliteLocation::File(server.data().join("records.db"));
    let records = RecordStore::open(&RecordsUrl::Sqlite(file)).await.unwrap();
    let [big, other] = [big, other].map(|user| UserId::from_u128(user.as_u128()));
    for number in 0..count {
        let id = conversation(number);
        let at = Timestamp(1_790_000_000_000);
        let new = NewConversation { id: Some(id), creator: other, members: vec![big], at };
        records.create_conversation(new).await.unwrap();
        // Otherwise the host announces it while the next ones are written.
        records.announced(vec![Confirmation::Creation(id, 1)]).await.unwrap();
    }
    records.close().await;
}

async fn send(client: &Client, conversation: impl Display) -> Value {
    let path = format!("/v1/conversations/{conversation}/messages");
    client.post(&path, json!({ "content": "hello" })).await.json(201)
}

/// Erases a user while the socket of somebody else is read, which answers the pings of the host.
async fn erase(service: &Client, user: Uuid, socket: &mut Socket) {
    let within = ERASED_WITHIN * u32::try_from(conversations().div_ceil(CONVERSATIONS)).unwrap();
    let erasing = service.erase_user_within(user, within);
    tokio::pin!(erasing);
    loop {
        tokio::select! {
            _ = &mut erasing => return,
            () = socket.listen(Duration::from_secs(1)) => {}
        }
    }
}

#[tokio::test]
async fn a_user_of_thousands_of_conversations_is_erased_to_the_end() {
    let redis = RedisServer::start().await;
    let (url, time_ms) = (redis.url(), "20000");
    let settings = [
        ("store_url", &*url),
        ("store_response_timeout_ms", time_ms),
        ("function.unread.deadline_ms", time_ms),
        ("function.messaging.deadline_ms", time_ms),
        ("shutdown_timeout_ms", time_ms),
    ];
    let server = Server::start(&settings).await;
    let [big_id, other_id, cat_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let [big, other, cat] = [big_id, other_id, cat_id].map(|user| server.user(user));
    let others = conversations() - 1;
    write_conversations(&server, big_id, other_id, others).await;
    cat.post("/v1/conversations", json!({ "id": SAMPLE, "members": [big_id] })).await.json(201);

    for number in 0..UNREAD {
        send(&other, conversation(number)).await;
    }
    assert_eq!(big.get("/v1/unread").await.json(200)["total"], UNREAD);
    Socket::open(&server, big_id).await.close().await;
    let sent = [send(&big, SAMPLE).await, send(&big, SAMPLE).await];
    for number in 0..WRITTEN_IN {
        send(&big, conversation(number)).await;
    }
    assert_eq!(other.get("/v1/unread").await.json(200)["total"], WRITTEN_IN);
    let keys = async || redis.ask::<Vec<String>>(&format!("KEYS *{big_id}*")).await;
    assert!(keys().await.len() > UNREAD, "at least a counter for each conversation with unread messages");

    let mut socket = Socket::open(&server, cat_id).await;
    erase(&server.service(), big_id, &mut socket).await;
    let moved = json!({ "conversation": SAMPLE, "added": [], "removed": [big_id], "member_count": 1 });
    assert_eq!(socket.payload("conversation.members").await, moved);
    let mut deleted = BTreeSet::new();
    for _ in &sent {
        deleted.insert(socket.payload("message.deleted").await["id"].to_string());
    }
    let ids: BTreeSet<String> = sent.iter().map(|message| message["id"].to_string()).collect();
    assert_eq!(deleted, ids);
    assert_eq!(server.service().erase_user(big_id).await, 1, "nothing is left to erase");

    eventually("no key names the erased user", async || keys().await.is_empty()).await;
    assert_eq!(big.get("/v1/conversations").await.json(200)["conversations"], json!([]));
    assert_eq!(big.get("/v1/unread").await.json(200), json!({ "total": 0, "conversations": {} }));
    // Only the places of the messages are left, and each deletion has one, too.
    let messages = format!("/v1/conversations/{SAMPLE}/messages");
    assert_eq!(cat.get(&messages).await.json(200)["messages"], json!([]));
    assert_eq!(send(&cat, SAMPLE).await["seq"], 2 * sent.len() + 1);
    for number in [0, WRITTEN_IN, others - 1] {
        let path = format!("/v1/conversations/{}", conversation(number));
        assert_eq!(other.get(&path).await.json(200)["members"], json!([other_id]));
    }
    // What there was no time for is left to recovery.
    eventually("the others have exact counters", async || other.get("/v1/unread").await.json(200)["total"] == 0).await;
    server.stop().await;
}
