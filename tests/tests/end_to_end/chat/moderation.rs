//! Who deletes what, and which messages only services send; and what is done again in another order.

use roost_tests::client::{Client, send};
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::{Value, json};
use uuid::Uuid;

async fn send_text(client: &Client, group: &str, content: &str) -> String {
    let path = format!("/v1/conversations/{group}/messages");
    let sent = client.post(&path, json!({ "content": content })).await.json(201);
    sent["id"].as_str().unwrap().to_owned()
}

async fn contents(client: &Client, group: &str) -> Vec<Value> {
    let history = client.get(&format!("/v1/conversations/{group}/messages")).await.json(200);
    history["messages"].as_array().unwrap().iter().map(|message| message["content"].clone()).collect()
}

#[tokio::test]
async fn the_creator_and_services_delete_messages_also_of_former_members() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, cat_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let [ann, bob, cat] = [ann_id, bob_id, cat_id].map(|user| server.user(user));
    let group = ann.conversation(&[bob_id, cat_id]).await;
    let path = |message: &str| format!("/v1/conversations/{group}/messages/{message}");
    let [first, second, third] = [
        send_text(&bob, &group, "one").await,
        send_text(&bob, &group, "two").await,
        send_text(&bob, &group, "three").await,
    ];
    cat.delete(&path(&first)).await.problem(403, "forbidden");
    ann.delete(&path(&first)).await.done();
    ann.delete(&format!("/v1/conversations/{group}/members/{bob_id}")).await.done();
    bob.delete(&path(&second)).await.problem(403, "not_a_member");
    ann.delete(&path(&second)).await.done();
    server.service().delete(&path(&third)).await.done();
    server.service().delete(&path(&third)).await.done();
    server.service().delete(&path(&Uuid::new_v4().to_string())).await.problem(404, "not_found");
    assert!(contents(&cat, &group).await.is_empty());
    assert_eq!(cat.get("/v1/unread").await.json(200)["total"], 0);
    server.stop().await;
}

#[tokio::test]
async fn the_creator_deletes_over_a_socket_and_edits_nothing_of_others() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id] = [Uuid::new_v4(), Uuid::new_v4()];
    let [ann, bob] = [ann_id, bob_id].map(|user| server.user(user));
    let group = ann.conversation(&[bob_id]).await;
    let message = send_text(&bob, &group, "mine").await;
    let path = format!("/v1/conversations/{group}/messages/{message}");
    ann.patch(&path, json!({ "content": "rewritten" })).await.problem(403, "forbidden");
    let mut socket = Socket::open(&server, ann_id).await;
    let edit = json!({ "conversation": group, "id": message, "content": "rewritten" });
    socket.refused("message.edit", edit, "forbidden").await;
    assert_eq!(contents(&ann, &group).await, [json!("mine")]);
    socket.ok("message.delete", json!({ "conversation": group, "id": message })).await;
    assert!(contents(&bob, &group).await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn messages_of_the_application_are_sent_and_edited_by_services_only() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id] = [Uuid::new_v4(), Uuid::new_v4()];
    let ann = server.user(ann_id);
    let group = ann.conversation(&[bob_id]).await;
    let path = format!("/v1/conversations/{group}/messages");
    let body = json!({ "type": "system.call-ended", "content": "The call has ended." });
    let refused = ann.post(&path, body.clone()).await.problem(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("services"), "{refused}");
    let as_ann =
        |method: &str, path: &str| server.service().request(method, path).header("roost-user", ann_id.to_string());
    let sent = send(as_ann("POST", &path).json(&body)).await.json(201);
    assert_eq!((&sent["type"], &sent["sender_id"]), (&body["type"], &json!(ann_id)));
    let path = format!("{path}/{}", sent["id"].as_str().unwrap());
    let edit = json!({ "content": "The call took 3 minutes." });
    ann.patch(&path, edit.clone()).await.problem(403, "forbidden");
    send(as_ann("PATCH", &path).json(&edit)).await.json(200);
    assert_eq!(contents(&server.user(bob_id), &group).await, [edit["content"].clone()]);
    server.stop().await;
}

#[tokio::test]
async fn what_is_done_again_in_another_order_has_an_answer_that_a_client_can_draw() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, cat_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let ann = server.user(ann_id);
    let group = ann.conversation(&[bob_id]).await;
    let messages = format!("/v1/conversations/{group}/messages");
    let message = json!({ "id": Uuid::new_v4(), "content": "oops" });
    let sent = ann.post(&messages, message.clone()).await.json(201);
    let path = format!("{messages}/{}", message["id"].as_str().unwrap());
    ann.delete(&path).await.done();
    let again = ann.post(&messages, message.clone()).await.json(200);
    assert_eq!((&again["deleted"], &again["content"], &again["seq"]), (&json!(true), &json!(""), &sent["seq"]));
    assert_eq!(sent.get("deleted"), None, "{sent}");
    ann.patch(&path, json!({ "content": "back" })).await.problem(404, "not_found");
    ann.delete(&path).await.done();

    let member = format!("/v1/conversations/{group}/members/{cat_id}");
    let added = ann.put(&member).await.json(200);
    assert_eq!(ann.put(&member).await.json(200), added);
    ann.delete(&member).await.done();
    ann.delete(&member).await.done();
    server.stop().await;
}
