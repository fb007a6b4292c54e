//! The largest states that are allowed, through the real binary: pages end at 512 KiB and their cursors go on, crowded
//! groups fit into every answer, and a user with 20,000 conversations is served like any other.

use std::collections::BTreeSet;

use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, UserId};
use roost_core::limits::{CONVERSATIONS_MAX, PAGE_BYTES_MAX, UNREAD_PAGE};
use roost_core::port::{Confirmation, Draft, NewConversation, Records, RecordsError};
use roost_core::time::Timestamp;
use roost_tests::client::Client;
use roost_tests::redis::RedisServer;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::{Value, json};
use uuid::Uuid;

/// Follows the cursor to the last page. Every page fits.
async fn pages(client: &Client, path: &str, (list, cursor): (&str, &str), next: &str) -> Vec<Value> {
    let (mut found, mut query) = (Vec::new(), String::new());
    loop {
        let answer = client.get(&format!("{path}?limit=100{query}")).await;
        assert!(answer.text.len() <= PAGE_BYTES_MAX + 1_000, "{} bytes", answer.text.len());
        let mut page = answer.json(200);
        found.append(page[list].as_array_mut().unwrap());
        match &page[next] {
            Value::Null => return found,
            Value::String(text) => query = format!("&{cursor}={text}"),
            number => query = format!("&{cursor}={number}"),
        }
    }
}

fn ids(entries: &[Value]) -> BTreeSet<String> {
    entries.iter().map(|entry| entry["id"].to_string()).collect()
}

/// A control character takes six bytes in JSON, so that the longest one that a request can carry has about 10,000.
#[tokio::test]
async fn a_history_of_long_messages_with_escapes_is_answered_in_pages_that_fit() {
    let server = Server::start(&[]).await;
    let (ann_id, bob_id) = (Uuid::new_v4(), Uuid::new_v4());
    let (ann, bob) = (server.user(ann_id), server.user(bob_id));
    let mut conversations = Vec::new();
    for _ in 0..8 {
        conversations.push(ann.conversation(&[bob_id]).await);
    }
    let contents = ["\u{1}".repeat(10_000), "\"".repeat(16_384), "x".repeat(16_384), "\u{1f408}".repeat(4_096)];
    let messages = format!("/v1/conversations/{}/messages", conversations[0]);
    let mut sent = BTreeSet::new();
    for number in 0..100 {
        let message = ann.post(&messages, json!({ "content": contents[number % 4] })).await.json(201);
        sent.insert(message["id"].to_string());
    }
    let found = pages(&bob, &messages, ("messages", "before"), "next_before").await;
    assert_eq!((found.len(), ids(&found)), (100, sent));
    for conversation in &conversations {
        let path = format!("/v1/conversations/{conversation}/messages");
        ann.post(&path, json!({ "content": contents[0] })).await.json(201);
    }
    let inbox = pages(&bob, "/v1/conversations", ("conversations", "cursor"), "next_cursor").await;
    assert_eq!((inbox.len(), ids(&inbox).len()), (8, 8));
    let hello = Socket::open(&server, bob_id).await;
    let since = hello.position();
    for conversation in &conversations {
        let path = format!("/v1/conversations/{conversation}/messages");
        ann.post(&path, json!({ "content": contents[0] })).await.json(201);
    }
    for path in ["/v1/sync".to_owned(), format!("/v1/sync?since={since}")] {
        let answer = bob.get(&path).await;
        assert!(answer.text.len() < 1 << 20, "{path}: {} bytes", answer.text.len());
        let sync = answer.json(200);
        assert!(!sync["conversations"].as_array().unwrap().is_empty(), "{path}");
        assert!(sync["next_cursor"].is_string(), "{path}: what does not fit is on further pages");
    }
    server.stop().await;
}

#[tokio::test]
async fn many_groups_of_999_members_fit_into_the_inbox_and_into_sync() {
    let server = Server::start(&[]).await;
    let (ann_id, last_id) = (Uuid::from_u128(1), Uuid::from_u128(u128::MAX));
    let ann = server.user(ann_id);
    let others: Vec<Uuid> = (0..997).map(|_| Uuid::new_v4()).chain([last_id]).collect();
    let mut groups = Vec::new();
    for _ in 0..28 {
        groups.push(ann.conversation(&others).await);
    }
    for asked_by in [&ann, &server.user(last_id)] {
        for path in ["/v1/conversations?limit=100", "/v1/sync"] {
            let answer = asked_by.get(path).await.json(200);
            let entries = answer["conversations"].as_array().unwrap();
            assert_eq!((entries.len(), &answer["next_cursor"]), (28, &Value::Null), "{path}");
            for entry in entries {
                let shown = entry["members"].as_array().unwrap().len();
                assert_eq!((shown, &entry["member_count"], &entry["reads"]), (20, &json!(999), &json!({})));
            }
        }
    }
    let path = format!("/v1/conversations/{}/members", groups[0]);
    let members = pages(&ann, &path, ("members", "cursor"), "next_cursor").await;
    let users: BTreeSet<String> = members.iter().map(|member| member["user"].to_string()).collect();
    assert_eq!((members.len(), users.len()), (999, 999));
    assert_eq!(members[0], json!({ "user": ann_id, "read": 0, "joined": 0 }));
    server.user(Uuid::new_v4()).get(&path).await.problem(403, "not_a_member");
    assert_eq!(server.service().get(&path).await.json(200)["members"].as_array().unwrap().len(), 50);
    server.stop().await;
}

fn conversation(number: u128) -> ConversationId {
    ConversationId::from_u128(number)
}

/// A user with so many conversations, written past the host. A few more of them have an unread message than one page of
/// counters names.
async fn write_big_user(server: &Server, user: UserId, other: UserId, conversations: usize) {
    let file = SqliteLocation::File(server.data().join("records.db"));
    let records = RecordStore::open(&RecordsUrl::Sqlite(file)).await.unwrap();
    let at = Timestamp(1_790_000_000_000);
    let new = |number| NewConversation { id: Some(conversation(number)), creator: other, members: vec![user], at };
    for number in 1..=conversations as u128 {
        records.create_conversation(new(number)).await.unwrap();
        // Otherwise the host announces it while the next ones are written.
        records.announced(vec![Confirmation::Creation(conversation(number), 1)]).await.unwrap();
    }
    if conversations == CONVERSATIONS_MAX {
        let refused = records.create_conversation(new(0)).await;
        assert!(matches!(refused, Err(RecordsError::TooManyConversations(_))), "{refused:?}");
    }
    for number in 1..=UNREAD_PAGE as u128 + 100 {
        let conversation = conversation(number);
        let draft = Draft { conversation, sender: other, id: None, kind: "text".into(), content: "hi".into(), at };
        let change = records.append_message(draft).await.unwrap().change;
        records.announced(vec![Confirmation::Change(conversation, change.seq)]).await.unwrap();
    }
    records.close().await;
}

async fn unread_counters(client: &Client) -> (Value, usize) {
    let first = client.get("/v1/unread").await.json(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = client.get(&format!("/v1/unread?cursor={cursor}")).await.json(200);
    assert!(rest.get("next_cursor").is_none(), "the last page");
    let named = |page: &Value| page["conversations"].as_object().unwrap().len();
    assert_eq!((named(&first), &first["total"]), (UNREAD_PAGE, &rest["total"]));
    (first["total"].clone(), named(&first) + named(&rest))
}

async fn serves_a_big_user(server: &Server, conversations: usize) {
    let (big_id, other_id) = (Uuid::new_v4(), Uuid::new_v4());
    let (big, other) = (server.user(big_id), server.user(other_id));
    write_big_user(server, UserId::from_u128(big_id.as_u128()), UserId::from_u128(other_id.as_u128()), conversations)
        .await;
    let messages = |number: u128| format!("/v1/conversations/{}/messages", conversation(number));
    let sent = other
        .post(&messages(conversations as u128), json!({ "content": "to a user without counters" }))
        .await
        .json(201);
    assert!(sent.get("delivery").is_none(), "{sent}");
    let unread = UNREAD_PAGE + 101;
    assert_eq!(unread_counters(&big).await, (json!(unread), unread));
    let mut socket = Socket::open(server, big_id).await;
    let sync = socket.ok("sync", json!({})).await;
    assert_eq!(sync["unread"]["total"], unread);
    assert!(sync["next_cursor"].is_string());
    let sent =
        other.post(&messages(conversations as u128), json!({ "content": "to a user with counters" })).await.json(201);
    assert_eq!(socket.payload("message.new").await, sent);
    let inbox = pages(&big, "/v1/conversations", ("conversations", "cursor"), "next_cursor").await;
    assert_eq!((inbox.len(), ids(&inbox).len()), (conversations, conversations));
    server.service().delete_counters(big_id).await.done();
    // The user is followed and nobody has read the counters since, so the sender's call fills them. It is answered
    // before its deadline, and nothing is left to recovery.
    let sent = other
        .post(&messages(conversations as u128), json!({ "content": "to a follower without counters" }))
        .await
        .json(201);
    assert!(sent.get("delivery").is_none(), "{sent}");
    assert_eq!(socket.payload("message.new").await, sent);
    assert_eq!(unread_counters(&big).await, (json!(unread + 2), unread));
    server.service().delete_counters(big_id).await.done();
    assert_eq!(unread_counters(&big).await, (json!(unread + 2), unread));
    for command in ["verify", "repair"] {
        let output = server.command(&[command, "--user", &big_id.to_string()]).output().await.unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }
    if conversations < CONVERSATIONS_MAX {
        return;
    }
    let one_more = json!({ "members": [big_id] });
    server.user(Uuid::new_v4()).post("/v1/conversations", one_more).await.problem(409, "too_many_conversations");
    let group = server.user(Uuid::new_v4()).conversation(&[]).await;
    let path = format!("/v1/conversations/{group}/members/{big_id}");
    server.service().put(&path).await.problem(409, "too_many_conversations");
}

#[tokio::test]
async fn a_user_with_20000_conversations_is_served_from_memory() {
    // A message to a big user whose counters are missing fills them first. Without optimisation, that may take longer
    // than the usual five seconds on a busy machine.
    let server = Server::start(&[("function.messaging.deadline_ms", "20000"), ("shutdown_timeout_ms", "20000")]).await;
    serves_a_big_user(&server, CONVERSATIONS_MAX).await;
    server.stop().await;
}

/// Without optimisation, a host and its Redis client take tens of seconds for 20,000 conversations on a busy machine.
/// These are more than one chunk of a fill, and than one page of an answer.
#[tokio::test]
async fn a_user_with_6000_conversations_is_served_from_redis() {
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
    serves_a_big_user(&server, 6_000).await;
    server.stop().await;
}
