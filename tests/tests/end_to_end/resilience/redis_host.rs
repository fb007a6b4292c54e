//! The real binary with its live state in Redis: users chat, readiness names an unavailable store, and clients whose
//! feed is lost receive a resync.

use roost_tests::eventually::eventually;
use roost_tests::redis::{Data, RedisServer};
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::json;
use uuid::Uuid;

async fn host(server: &RedisServer) -> Server {
    Server::start(&[("store_url", &server.url()), ("store_response_timeout_ms", "300")]).await
}

async fn readiness(host: &Server) -> (u16, String) {
    let answer = host.operator().get("/readyz").await;
    (answer.status, answer.text)
}

#[tokio::test]
async fn users_chat_and_their_counters_are_in_redis() {
    let redis = RedisServer::start().await;
    let host = host(&redis).await;
    let (ann_id, bob_id) = (Uuid::new_v4(), Uuid::new_v4());
    let (mut ann, mut bob) = (Socket::open(&host, ann_id).await, Socket::open(&host, bob_id).await);
    let conversation = host.user(ann_id).conversation(&[bob_id]).await;
    for number in 1..=5 {
        let draft = json!({ "conversation": conversation, "content": number.to_string() });
        let sent = ann.ok("message.send", draft).await;
        assert_eq!(bob.payload("message.new").await, sent);
    }
    assert_eq!(redis.ask::<i64>(&format!("GET unread:conv:{bob_id}:{conversation}")).await, 5);
    assert_eq!(host.user(bob_id).get("/v1/unread").await.json(200)["total"], 5);
    bob.ok("conversation.read", json!({ "conversation": conversation })).await;
    assert_eq!(redis.ask::<i64>(&format!("GET unread:total:{bob_id}")).await, 0);
    let metrics = host.operator().get("/metrics").await.text;
    assert!(metrics.contains("roost_redis_round_trips_total ") && metrics.contains("roost_redis_commands_total "));
}

#[tokio::test]
async fn a_host_without_its_store_is_not_ready_and_comes_back_with_a_resync() {
    let redis = RedisServer::start().await;
    let host = host(&redis).await;
    let (ann_id, bob_id) = (Uuid::new_v4(), Uuid::new_v4());
    let (mut ann, mut bob) = (Socket::open(&host, ann_id).await, Socket::open(&host, bob_id).await);
    let conversation = host.user(ann_id).conversation(&[bob_id]).await;
    ann.ok("message.send", json!({ "conversation": conversation, "content": "before" })).await;
    bob.expect("message.new").await;
    assert_eq!(readiness(&host).await.0, 200);
    redis.kill();
    eventually("a host that is not ready", || async { readiness(&host).await.0 == 503 }).await;
    let (_, answer) = readiness(&host).await;
    assert!(answer.contains(&format!("\"store\":\"{}", redis.url())), "{answer}");
    redis.restart(Data::Empty).await;
    eventually("a host that is ready", || async { readiness(&host).await.0 == 200 }).await;
    bob.expect("resync").await;
    eventually("a rebuilt counter", || async { host.user(bob_id).get("/v1/unread").await.status == 200 }).await;
    assert_eq!(host.user(bob_id).get("/v1/unread").await.json(200)["total"], 1);
    ann.ok("message.send", json!({ "conversation": conversation, "content": "after" })).await;
    assert_eq!(bob.payload("message.new").await["content"], "after");
}

#[tokio::test]
async fn an_older_copy_of_the_state_is_repaired_without_a_further_message() {
    let redis = RedisServer::start().await;
    let host = host(&redis).await;
    let (ann_id, bob_id) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = host.user(ann_id).conversation(&[bob_id]).await;
    let messages = format!("/v1/conversations/{conversation}/messages");
    let send = async |content: &str| host.user(ann_id).post(&messages, json!({ "content": content })).await.json(201);
    assert_eq!(host.user(bob_id).get("/v1/unread").await.json(200)["total"], 0);
    send("in the snapshot").await;
    redis.save().await;
    send("after it").await;
    assert_eq!(redis.ask::<i64>(&format!("GET unread:total:{bob_id}")).await, 2);
    redis.restart(Data::Snapshot).await;
    let (counter, last) = (format!("GET unread:total:{bob_id}"), format!("HGET last_msg:{conversation} content"));
    // The repair drops and refills the counter, so it can be missing for a short time.
    eventually("a repaired counter", || async { redis.ask::<Option<i64>>(&counter).await == Some(2) }).await;
    eventually("a repaired last message", || async {
        redis.ask::<Option<String>>(&last).await.as_deref() == Some("after it")
    })
    .await;
}
