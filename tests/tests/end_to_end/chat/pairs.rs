//! Pairs from end to end: one for two users, under a race of both sides, after a block, and with each value of
//! `conversations.add`; and one conversation asked for by its id.

use futures_util::future::join_all;
use roost_tests::client::{Client, send};
use roost_tests::server::Server;
use serde_json::{Value, json};
use uuid::Uuid;

const PATH: &str = "/v1/conversations";

async fn ask(client: &Client, other: Uuid) -> (u16, Value) {
    let answer = client.post(PATH, json!({ "direct": other })).await;
    (answer.status, serde_json::from_str(&answer.text).unwrap())
}

/// The pair, which exists.
async fn existing(client: &Client, other: Uuid) -> String {
    let found = client.post(PATH, json!({ "direct": other })).await.json(200);
    found["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn both_sides_get_the_same_pair_when_they_ask_at_once() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id] = [Uuid::new_v4(), Uuid::new_v4()];
    let [ann, bob] = [ann_id, bob_id].map(|user| server.user(user));
    let asked = (0..8).flat_map(|_| [ask(&ann, bob_id), ask(&bob, ann_id)]);
    let answers = join_all(asked.collect::<Vec<_>>()).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 15, "{answers:?}");
    let pair = &answers[0].1;
    assert!(answers.iter().all(|(_, found)| found["id"] == pair["id"] && found["direct"] == true), "{answers:?}");
    let mut members = [ann_id.to_string(), bob_id.to_string()];
    members.sort();
    assert_eq!(pair["members"], json!(members));
    let listed = bob.get(PATH).await.json(200);
    assert_eq!(listed["conversations"].as_array().unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn the_members_of_a_pair_do_not_change() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, cat_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let ann = server.user(ann_id);
    let pair = ann.post(PATH, json!({ "direct": bob_id })).await.json(201);
    let members = format!("{PATH}/{}/members", pair["id"].as_str().unwrap());
    for client in [&ann, &server.service()] {
        client.put(&format!("{members}/{cat_id}")).await.problem(409, "direct_conversation");
        client.delete(&format!("{members}/{bob_id}")).await.problem(409, "direct_conversation");
    }
    ann.delete(&format!("{members}/{ann_id}")).await.problem(409, "direct_conversation");
    server.stop().await;
}

#[tokio::test]
async fn a_body_is_about_a_group_or_about_a_pair() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id] = [Uuid::new_v4(), Uuid::new_v4()];
    let ann = server.user(ann_id);
    for body in [
        json!({}),
        json!({ "members": [bob_id], "direct": bob_id }),
        json!({ "id": Uuid::new_v4(), "direct": bob_id }),
        json!({ "direct": ann_id }),
    ] {
        ann.post(PATH, body).await.problem(400, "invalid");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_pair_that_exists_is_answered_after_a_block_and_a_new_one_is_refused() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, cat_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let [ann, bob] = [ann_id, bob_id].map(|user| server.user(user));
    let pair = ann.post(PATH, json!({ "direct": bob_id })).await.json(201);
    bob.put(&format!("/v1/blocks/{ann_id}")).await.done();
    server.user(cat_id).put(&format!("/v1/blocks/{ann_id}")).await.done();
    for (client, other) in [(&ann, bob_id), (&bob, ann_id)] {
        assert_eq!(existing(client, other).await, pair["id"]);
    }
    let messages = format!("{PATH}/{}/messages", pair["id"].as_str().unwrap());
    ann.post(&messages, json!({ "content": "hello" })).await.problem(403, "blocked");
    ann.post(PATH, json!({ "direct": cat_id })).await.problem(403, "blocked");
    server.user(cat_id).post(PATH, json!({ "direct": ann_id })).await.problem(403, "blocked");
    server.stop().await;
}

#[tokio::test]
async fn a_user_who_may_not_add_others_gets_the_pairs_that_exist() {
    let server = Server::start(&[("conversations.add", "service")]).await;
    let [ann_id, bob_id, cat_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let ann = server.user(ann_id);
    ann.post(PATH, json!({ "direct": bob_id })).await.problem(403, "forbidden");
    let request = server.service().request("POST", PATH).header("roost-user", ann_id.to_string());
    let pair = send(request.json(&json!({ "direct": bob_id }))).await.json(201);
    assert_eq!(existing(&ann, bob_id).await, pair["id"]);
    assert_eq!(existing(&server.user(bob_id), ann_id).await, pair["id"]);
    ann.post(PATH, json!({ "direct": cat_id })).await.problem(403, "forbidden");
    server.stop().await;
}

#[tokio::test]
async fn one_conversation_is_answered_as_in_a_page() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id] = [Uuid::new_v4(), Uuid::new_v4()];
    let [ann, bob] = [ann_id, bob_id].map(|user| server.user(user));
    let group = ann.conversation(&[bob_id]).await;
    let path = format!("{PATH}/{group}");
    ann.post(&format!("{path}/messages"), json!({ "content": "hello" })).await.json(201);
    let page = bob.get(PATH).await.json(200);
    let found = bob.get(&path).await.json(200);
    assert_eq!(found, page["conversations"][0]);
    assert_eq!((&found["unread"], &found["direct"], &found["read"]), (&json!(1), &json!(false), &json!(0)));
    assert_eq!(found["last_message"]["content"], "hello");
    for stranger in [&path, &format!("{PATH}/{}", Uuid::new_v4())] {
        server.user(Uuid::new_v4()).get(stranger).await.problem(403, "not_a_member");
    }
    server.service().get(&path).await.problem(400, "user_required");
    server.stop().await;
}
