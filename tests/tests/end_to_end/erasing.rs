//! Erasing a user from end to end: what is left, what the others see, and that a repetition goes on.

use roost_tests::server::Server;
use serde_json::{Value, json};
use uuid::Uuid;

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

/// One step leaves 100 conversations or deletes 20 messages, so that this takes several. How many calls they take depends on
/// the machine.
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
