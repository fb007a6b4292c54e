//! Who puts whom into a conversation: blocks, and the three values of `conversations.add`.

use std::fs;

use roost_tests::client::{Client, send};
use roost_tests::deployment::folder_of_components;
use roost_tests::guests;
use roost_tests::server::Server;
use serde_json::json;
use uuid::Uuid;

async fn create(client: &Client, members: &[Uuid]) -> (u16, String) {
    let answer = client.post("/v1/conversations", json!({ "members": members })).await;
    let body: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    (answer.status, body["code"].as_str().or(body["id"].as_str()).unwrap().to_owned())
}

fn refused(code: &str) -> (u16, String) {
    (403, code.to_owned())
}

/// A backend that creates a conversation for a user.
async fn create_as_backend(server: &Server, user: Uuid, members: &[Uuid]) -> u16 {
    let request = server.service().request("POST", "/v1/conversations").header("roost-user", user.to_string());
    send(request.json(&json!({ "members": members }))).await.status
}

#[tokio::test]
async fn nobody_is_put_into_a_group_with_whoever_blocked_them() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, cat_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let [ann, bob, cat] = [ann_id, bob_id, cat_id].map(|user| server.user(user));
    let before = ann.conversation(&[bob_id, cat_id]).await;
    ann.put(&format!("/v1/blocks/{bob_id}")).await.done();
    for (creator, members) in [(&bob, [ann_id, cat_id]), (&ann, [bob_id, cat_id]), (&cat, [ann_id, bob_id])] {
        assert_eq!(create(creator, &members).await, refused("blocked"));
    }
    assert_eq!(create_as_backend(&server, cat_id, &[ann_id, bob_id]).await, 403);
    let group = cat.conversation(&[ann_id]).await;
    let path = format!("/v1/conversations/{group}/members/{bob_id}");
    for client in [&ann, &cat, &server.service()] {
        client.put(&path).await.problem(403, "blocked");
    }
    let messages = format!("/v1/conversations/{before}/messages");
    bob.post(&messages, json!({ "content": "groups go on" })).await.json(201);
    ann.delete(&format!("/v1/blocks/{bob_id}")).await.done();
    cat.put(&path).await.json(200);
    server.stop().await;
}

#[tokio::test]
async fn anyone_may_be_added_by_default() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, cat_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let ann = server.user(ann_id);
    let group = ann.conversation(&[bob_id]).await;
    ann.put(&format!("/v1/conversations/{group}/members/{cat_id}")).await.json(200);
    server.stop().await;
}

#[tokio::test]
async fn only_mutual_contacts_may_be_added_where_that_is_configured() {
    let server = Server::start(&[("conversations.add", "contacts")]).await;
    let [ann_id, bob_id, cat_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let ann = server.user(ann_id);
    server.befriend(ann_id, bob_id).await;
    ann.put(&format!("/v1/contacts/{cat_id}")).await.done();
    assert_eq!(create(&ann, &[bob_id, cat_id]).await, refused("forbidden"), "Cat has not added Ann");
    let (status, group) = create(&ann, &[bob_id]).await;
    assert_eq!(status, 201);
    let path = format!("/v1/conversations/{group}/members/{cat_id}");
    ann.put(&path).await.problem(403, "forbidden");
    assert_eq!(create(&server.user(cat_id), &[ann_id]).await, refused("forbidden"));
    assert_eq!(create(&ann, &[]).await.0, 201, "a conversation of one's own");
    server.user(cat_id).put(&format!("/v1/contacts/{ann_id}")).await.done();
    ann.put(&path).await.json(200);
    let stranger = Uuid::new_v4();
    assert_eq!(create_as_backend(&server, ann_id, &[stranger]).await, 201);
    server.service().put(&format!("/v1/conversations/{group}/members/{stranger}")).await.json(200);
    server.stop().await;
}

/// The guest `greedy` adds without an actor, as a service does.
#[tokio::test]
async fn a_function_adds_only_whom_its_caller_may_add() {
    let folder = folder_of_components();
    fs::copy(guests().join("greedy.wasm"), folder.path().join("greedy.wasm")).unwrap();
    let set = [("conversations.add", "contacts"), ("function.greedy.grants.all", "true")];
    let server = Server::serve(folder.path(), &set).await;
    let [ann_id, bob_id, cat_id, dan_id] = [(); 4].map(|()| Uuid::new_v4());
    let ann = server.user(ann_id);
    server.befriend(ann_id, bob_id).await;
    let group = ann.conversation(&[bob_id]).await;
    let path = |user: Uuid| format!("/v1/greedy/members/{group}/{user}");
    let refused = ann.put(&path(cat_id)).await.json(200);
    assert!(refused.as_str().unwrap().starts_with("Forbidden("), "{refused}");
    server.befriend(ann_id, cat_id).await;
    assert_eq!(ann.put(&path(cat_id)).await.json(200), "added");
    let backend = server.service().request("PUT", &path(dan_id)).header("roost-user", ann_id.to_string());
    assert_eq!(send(backend).await.json(200), "added");
    server.stop().await;
}

#[tokio::test]
async fn only_backends_create_and_add_where_that_is_configured() {
    let server = Server::start(&[("conversations.add", "service")]).await;
    let [ann_id, bob_id, cat_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let ann = server.user(ann_id);
    server.befriend(ann_id, bob_id).await;
    for members in [&[bob_id][..], &[]] {
        assert_eq!(create(&ann, members).await, refused("forbidden"));
    }
    let request = server.service().request("POST", "/v1/conversations").header("roost-user", ann_id.to_string());
    let created = send(request.json(&json!({ "members": [bob_id] }))).await.json(201);
    let path = format!("/v1/conversations/{}/members/{cat_id}", created["id"].as_str().unwrap());
    ann.put(&path).await.problem(403, "forbidden");
    server.service().put(&path).await.json(200);
    ann.post(&format!("/v1/conversations/{}/messages", created["id"].as_str().unwrap()), json!({ "content": "hi" }))
        .await
        .json(201);
    ann.delete(&format!("/v1/conversations/{}/members/{ann_id}", created["id"].as_str().unwrap())).await.done();
    server.stop().await;
}
