//! Many members write to one group at the same time, through the real functions: no message is refused, and every
//! member receives every message in order.

use futures_util::future::join_all;
use roost_tests::eventually::eventually;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::json;
use uuid::Uuid;

const MEMBERS: usize = 200;
const SENDERS: usize = 32;

#[tokio::test]
async fn all_members_can_write_to_one_group_at_once() {
    let host = Server::start(&[]).await;
    let members: Vec<Uuid> = (0..MEMBERS).map(|_| Uuid::new_v4()).collect();
    let conversation = host.user(members[0]).conversation(&members[1..]).await;
    let listener = members[MEMBERS - 1];
    let mut socket = Socket::open(&host, listener).await;
    // The first message fills the counters of every member.
    let messages = format!("/v1/conversations/{conversation}/messages");
    host.user(members[0]).post(&messages, json!({ "content": "first" })).await.json(201);
    let crowd = members.iter().take(SENDERS).map(|sender| {
        let (host, messages) = (&host, &messages);
        async move { host.user(*sender).post(messages, json!({ "content": sender })).await }
    });
    for answer in join_all(crowd).await {
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    for seq in 1..=SENDERS + 1 {
        assert_eq!(socket.payload("message.new").await["seq"], seq);
    }
    eventually("a counter that is right", || async {
        host.user(listener).get("/v1/unread").await.json(200)["total"] == SENDERS + 1
    })
    .await;
}
