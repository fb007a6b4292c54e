//! The JavaScript client with a host that is killed, a network that is cut, slow or silent, and tokens that end: every
//! message arrives once and in order, and the screen is right again afterwards.

use std::time::Duration;

use roost_tests::components;
use roost_tests::javascript::JavascriptClient;
use roost_tests::proxy::{NetworkCondition, Proxy};
use roost_tests::server::Server;
use roost_tests::token::Token;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::javascript::client::{connected, contents, shows_what_the_api_answers, token, url};

/// Waits are short, so that many losses fit into a test.
fn quick() -> Value {
    json!({ "backoffFirstMs": 50, "backoffLastMs": 500 })
}

/// A client behind a proxy.
async fn behind(proxy: &Proxy, user: Uuid, options: &Value) -> JavascriptClient {
    JavascriptClient::connected(&format!("http://{}", proxy.address), &token(user), options).await
}

/// The contents of a conversation as the host has stored them, oldest first.
async fn stored(server: &Server, user: Uuid, conversation: &str) -> Vec<String> {
    let history =
        server.user(user).get(&format!("/v1/conversations/{conversation}/messages?limit=100")).await.json(200);
    let messages = history["messages"].as_array().unwrap().iter().rev();
    messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("message {number}")).collect()
}

/// The contents of the events `message.new` that the client has received, in order.
fn received(state: &Value) -> Vec<&str> {
    state["messages"].as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn messages_arrive_once_and_in_order_over_a_network_that_is_cut_again_and_again() {
    let server = Server::start(&[]).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ada).conversation(&[ada, ben]).await;
    let (near, far) = (Proxy::before(server.listen).await, Proxy::before(server.listen).await);
    let mut sender = behind(&near, ada, &quick()).await;
    let mut receiver = behind(&far, ben, &quick()).await;
    receiver.store("open", json!([conversation])).await;
    let all = numbered(40);
    for (number, content) in all.iter().enumerate() {
        sender.begin("sendMessage", json!([conversation, content])).await;
        match number % 8 {
            2 => near.cut(),
            5 => far.cut(),
            _ => {}
        }
    }
    sender.until("everything is acknowledged", |state| state["queue"] == json!([])).await;
    let state = receiver.until("everything has arrived", |state| contents(state, &conversation) == all).await;
    assert_eq!(received(&state), all, "each event once and in order");
    assert_eq!(stored(&server, ben, &conversation).await, all);
    assert!(state["hellos"].as_array().unwrap().len() > 1, "the network was cut");
    assert_eq!((&state["resyncs"], &state["shown"]["total"]), (&json!(0), &json!(40)));
    for (client, user) in [(&mut sender, ada), (&mut receiver, ben)] {
        shows_what_the_api_answers(client, &server, user, &[]).await;
    }
}

#[tokio::test]
async fn a_killed_host_loses_no_message_and_leaves_no_wrong_screen() {
    let server = Server::start(&[]).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ada).conversation(&[ada, ben]).await;
    let listen = server.listen.to_string();
    let address = url(&server);
    let mut sender = JavascriptClient::connected(&address, &token(ada), &quick()).await;
    let mut receiver = JavascriptClient::connected(&address, &token(ben), &quick()).await;
    receiver.store("open", json!([conversation])).await;
    sender.client("sendMessage", json!([conversation, "message 0"])).await;
    receiver.until("the first message is shown", |state| contents(state, &conversation).len() == 1).await;

    let folder = server.kill().await;
    sender.until("the loss is noticed", |state| state["status"] != "online").await;
    let all = numbered(6);
    for content in &all[1..] {
        sender.begin("sendMessage", json!([conversation, content])).await;
    }
    let server = Server::serve_in(folder, &components(), &[("listen", &listen)]).await;
    sender.until("everything is acknowledged", |state| state["queue"] == json!([])).await;
    receiver.until("everything is shown", |state| contents(state, &conversation) == all).await;
    assert_eq!(stored(&server, ben, &conversation).await, all);
    for (client, user) in [(&mut sender, ada), (&mut receiver, ben)] {
        shows_what_the_api_answers(client, &server, user, &[]).await;
    }
}

#[tokio::test]
async fn a_stopping_host_is_left_and_its_successor_found() {
    let server = Server::start(&[]).await;
    let user = Uuid::new_v4();
    let listen = server.listen.to_string();
    let mut client = JavascriptClient::connected(&url(&server), &token(user), &quick()).await;
    let folder = server.stop().await;
    let _server = Server::serve_in(folder, &components(), &[("listen", &listen)]).await;
    let state =
        client.until("the client is connected again", |state| state["hellos"].as_array().unwrap().len() > 1).await;
    assert_eq!(state["closed"], Value::Null);
}

#[tokio::test]
async fn a_network_slower_than_the_timeout_stores_each_message_once() {
    let server = Server::start(&[]).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ada).conversation(&[ada, ben]).await;
    let proxy = Proxy::before(server.listen).await;
    let options = json!({ "ackTimeoutMs": 150, "backoffFirstMs": 50, "backoffLastMs": 100, "transport": "socket" });
    let mut sender = behind(&proxy, ada, &options).await;
    sender.store("open", json!([conversation])).await;
    proxy.set(NetworkCondition::Delayed(Duration::from_millis(200)));
    let all = numbered(4);
    for content in &all {
        sender.begin("sendMessage", json!([conversation, content])).await;
    }
    let state = sender.until("everything is acknowledged", |state| state["queue"] == json!([])).await;
    assert_eq!(stored(&server, ben, &conversation).await, all);
    assert_eq!(contents(&state, &conversation), all);
    let outcomes = state["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.get("error").is_some()).count(), 0, "{outcomes:?}");
}

#[tokio::test]
async fn a_network_that_carries_nothing_more_is_noticed_and_left() {
    let server = Server::start(&[]).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ada).conversation(&[ada, ben]).await;
    let proxy = Proxy::before(server.listen).await;
    let options = json!({ "idleMs": 500, "ackTimeoutMs": 500, "backoffFirstMs": 50, "backoffLastMs": 200 });
    let mut client = behind(&proxy, ada, &options).await;
    proxy.set(NetworkCondition::Held);
    client.begin("sendMessage", json!([conversation, "held"])).await;
    client.until("the dead connection is given up", |state| state["status"] != "online").await;
    proxy.cut();
    proxy.set(NetworkCondition::Normal);
    let state = client.until("the message is acknowledged", |state| state["queue"] == json!([])).await;
    assert!(state["hellos"].as_array().unwrap().len() > 1);
    assert_eq!(stored(&server, ben, &conversation).await, ["held"]);
}

#[tokio::test]
async fn where_the_network_lets_no_socket_through_an_event_stream_takes_its_place() {
    let server = Server::start(&[]).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ada).conversation(&[ada, ben]).await;
    let proxy = Proxy::before(server.listen).await;
    proxy.set(NetworkCondition::WithoutUpgrades);
    // No transport is named: the client finds out by itself.
    let mut inside = behind(&proxy, ada, &quick()).await;
    let mut outside = connected(&server, ben).await;
    inside.store("open", json!([conversation])).await;
    inside.client("sendMessage", json!([conversation, "from inside"])).await;
    outside.client("sendMessage", json!([conversation, "from outside"])).await;
    let both = ["from inside", "from outside"];
    let state = inside.until("both messages have arrived", |state| received(state) == both).await;
    assert_eq!(contents(&state, &conversation), both);
    assert_eq!((&state["transport"], &state["shown"]["total"]), (&json!("events"), &json!(1)));
    let transports = state["hellos"].as_array().unwrap().iter().map(|hello| &hello["transport"]).collect::<Vec<_>>();
    assert_eq!(transports, ["events"], "no socket was open before");
    assert_eq!(outside.state().await["transport"], "socket", "sockets work elsewhere");
    shows_what_the_api_answers(&mut inside, &server, ada, &[]).await;
    inside.store("read", json!([conversation])).await;
    inside.until("nothing is unread", |state| state["shown"]["total"] == 0 && state["queue"] == json!([])).await;
    shows_what_the_api_answers(&mut inside, &server, ada, &[]).await;
    assert_eq!(stored(&server, ben, &conversation).await, both);
}

#[tokio::test]
async fn who_was_away_for_longer_than_the_feed_reaches_gets_the_whole_state() {
    let server = Server::start(&[]).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ada).conversation(&[ada, ben]).await;
    let proxy = Proxy::before(server.listen).await;
    let mut away = behind(&proxy, ben, &quick()).await;
    let mut present = connected(&server, ada).await;
    away.store("open", json!([conversation])).await;
    proxy.set(NetworkCondition::Down);
    away.until("the loss is noticed", |state| state["status"] != "online").await;
    // The feed keeps 256 events.
    for number in 0..270 {
        present.client("sendMessage", json!([conversation, format!("message {number}")])).await;
    }
    proxy.set(NetworkCondition::Normal);
    let state = away.until("the newest message is shown", |state| {
        contents(state, &conversation).last().is_some_and(|last| last == "message 269")
    });
    let state = state.await;
    assert_eq!((&state["resyncs"], &state["shown"]["open"][&conversation]["has_older"]), (&json!(1), &json!(true)));
    shows_what_the_api_answers(&mut away, &server, ben, &[]).await;
    assert_eq!(away.state().await["shown"]["total"], 270);
}

#[tokio::test]
async fn a_token_that_has_ended_is_replaced_and_nothing_is_missed() {
    let server = Server::start(&[("token_leeway_ms", "1")]).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ada).conversation(&[ada, ben]).await;
    for transport in ["socket", "events"] {
        let options = json!({ "transport": transport, "backoffFirstMs": 50, "backoffLastMs": 300 });
        let mut client = JavascriptClient::start(&url(&server), "none yet", &options);
        client.state().await;
        // Node runs by now. The token ends before the client would renew it, which it does after five seconds at the
        // earliest.
        client.set_token(&Token::of(ben).lives(Duration::from_secs(4)).sign());
        client.client("connect", json!([])).await;
        let path = format!("/v1/conversations/{conversation}/messages");
        // Without any event so far there is no position to go on from, and nothing that could be missed.
        server.user(ada).post(&path, json!({ "content": "first" })).await.json(201);
        client.until("the first message has arrived", |state| received(state) == ["first"]).await;
        client.set_token(&token(ben));
        client
            .until("the connection has ended and was opened again", |state| {
                state["hellos"].as_array().unwrap().len() > 1 && state["status"] == "online"
            })
            .await;
        server.user(ada).post(&path, json!({ "content": transport })).await.json(201);
        let arrived = client.until("the second message has arrived", |state| received(state) == ["first", transport]);
        let state = arrived.await;
        assert_eq!((&state["hellos"][1]["resumed"], &state["resyncs"]), (&json!(true), &json!(0)));
    }
}
