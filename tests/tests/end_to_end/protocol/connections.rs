//! A service closes every connection of a user on every host: sockets and event streams, and nobody else's.

use roost_tests::events::Events;
use roost_tests::fleet::{Fleet, patient_settings_for};
use roost_tests::redis::RedisServer;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use roost_tests::token::Token;
use serde_json::{Value, json};
use uuid::Uuid;

async fn stream(server: &Server, user: Uuid) -> Events {
    let mut stream = Events::open(server.bearer(&Token::of(user).sign()).request("GET", "/v1/events")).await;
    stream.expect("hello").await;
    stream
}

/// Reads to the end of the stream; returns the last event.
async fn last_event(mut stream: Events) -> Value {
    let mut last = Value::Null;
    while let Some(event) = stream.next().await {
        last = json!({ "name": event.name, "data": event.data });
    }
    last
}

#[tokio::test]
async fn the_connections_of_a_user_are_closed_on_every_host() {
    let redis = RedisServer::start().await;
    let fleet = Fleet::start_identical(2, &patient_settings_for(&redis.url(), "sqlite::memory:")).await;
    let (banned, other) = (Uuid::new_v4(), Uuid::new_v4());
    let mut sockets = [
        Socket::open(fleet.host(0), banned).await,
        Socket::open(fleet.host(1), banned).await,
        Socket::open(fleet.host(1), banned).await,
    ];
    let streams = [stream(fleet.host(0), banned).await, stream(fleet.host(1), banned).await];
    let mut neighbor = Socket::open(fleet.host(1), other).await;

    let request = fleet.host(0).service().request("DELETE", &format!("/v1/users/{banned}/connections"));
    let answer = roost_tests::client::send(request.json(&json!({ "reason": "banned for a day" }))).await;
    assert_eq!((answer.status, answer.text.as_str()), (202, ""));
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, (4003, "banned for a day".to_owned()));
        let is_order = |frame: &Value| frame["type"].as_str().is_some_and(|name| name.starts_with("server."));
        assert!(!socket.pending_frames().any(is_order), "clients do not see the order");
    }
    for stream in streams {
        let last = last_event(stream).await;
        assert_eq!((&last["name"], &last["data"]["code"]), (&json!("error"), &json!("disconnected")), "{last}");
        assert_eq!((&last["data"]["message"], &last["data"]["retry"]), (&json!("banned for a day"), &json!(false)));
    }
    neighbor.ok("presence.beat", Value::Null).await;
    assert_eq!(neighbor.pending_frames().count(), 0);

    // Whoever still has a valid token can connect again, and without a reason the close says what happened.
    let mut again = Socket::open(fleet.host(1), banned).await;
    let path = format!("/v1/users/{banned}/connections");
    assert_eq!(fleet.host(0).service().delete(&path).await.status, 202);
    assert_eq!(again.closed().await, (4003, "disconnected".to_owned()));
}

#[tokio::test]
async fn only_a_service_closes_connections() {
    let server = Server::start(&[]).await;
    let (user, path) = (Uuid::new_v4(), |user: &str| format!("/v1/users/{user}/connections"));
    let mut socket = Socket::open(&server, user).await;
    let of_user = path(&user.to_string());
    server.anonymous().delete(&of_user).await.problem(401, "unauthenticated");
    server.user(user).delete(&of_user).await.problem(403, "service_only");
    server.service().delete(&path("anna")).await.problem(400, "invalid_path");
    let answer = server.service().get(&of_user).await;
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.allow(), "DELETE");
    for body in [json!({ "reason": "" }), json!({ "reason": "x".repeat(101) }), json!({ "why": "x" }), json!([])] {
        let request = server.service().request("DELETE", &of_user).json(&body);
        roost_tests::client::send(request).await.problem(400, "invalid_body");
    }
    socket.ok("presence.beat", Value::Null).await;
    assert_eq!(server.service().delete(&of_user).await.status, 202);
    assert_eq!(socket.closed().await, (4003, "disconnected".to_owned()));
    server.stop().await;
}
