//! Tokens of open sockets, and sockets that are opened without one, over the real binary.

use std::time::Duration;

use roost_tests::server::Server;
use roost_tests::socket::{Socket, is_error, request};
use roost_tests::token::Token;
use serde_json::{Value, json};
use uuid::Uuid;

/// A host whose sockets end as soon as their token does.
async fn exact_host(set: &[(&str, &str)]) -> Server {
    Server::start(&[&[("token_leeway_ms", "1")][..], set].concat()).await
}

fn token_payload(token: &Token) -> Value {
    json!({ "token": token.sign() })
}

#[tokio::test]
async fn a_socket_lives_as_long_as_its_latest_token() {
    let server = exact_host(&[]).await;
    let (user, short, long) = (Uuid::new_v4(), Duration::from_secs(8), Duration::from_secs(14));
    let mut kept = Socket::with(&server, &Token::of(user).lives(short).sign(), "").await;
    let mut left = Socket::with(&server, &Token::of(user).lives(short).sign(), "").await;
    let renewed = kept.ok("token", token_payload(&Token::of(user).lives(long))).await;
    assert!(renewed["expires_at"].as_str().is_some_and(|end| end.ends_with('Z')), "{renewed}");
    left.refused("token", token_payload(&Token::of(user).lives(short / 2)), "token_ends_earlier").await;
    left.refused("token", token_payload(&Token::of(Uuid::new_v4()).lives(long)), "token_of_another_user").await;
    left.refused("token", token_payload(&Token::of(user).expired()), "token_expired").await;
    left.refused(
        "token",
        token_payload(&Token::of(user).secret("another-secret-of-32-bytes-and-more")),
        "token_invalid",
    )
    .await;
    left.refused("token", json!({ "token": 7 }), "invalid_payload").await;
    left.ok("presence.beat", Value::Null).await;

    assert_eq!(left.closed().await, (4001, "token_expired".to_owned()), "refused tokens prolong nothing");
    kept.ok("presence.beat", Value::Null).await;
    is_error(&kept.expect_error().await, "token_expired");
    assert_eq!(kept.closed().await, (4001, "token_expired".to_owned()));
    server.stop().await;
}

#[tokio::test]
async fn a_socket_without_credentials_is_opened_by_its_first_frame_and_resumes() {
    let server = Server::start(&[]).await;
    let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ann).conversation(&[bob]).await;
    let mut first = Socket::without_token(&server, "").await;
    let answer = first.request("token", token_payload(&Token::of(bob))).await;
    assert!(answer["type"] == "ok" && answer["payload"]["expires_at"].is_string(), "{answer}");
    let hello = first.next().await;
    assert_eq!((&hello["type"], &hello["payload"]["user"]), (&json!("hello"), &json!(bob)), "{hello}");
    let since = roost_tests::socket::position(&hello["payload"]);
    first.close().await;

    let path = format!("/v1/conversations/{conversation}/messages");
    server.user(ann).post(&path, json!({ "content": "missed" })).await.json(201);
    let mut again = Socket::without_token(&server, &format!("?since={since}")).await;
    again.ok("token", token_payload(&Token::of(bob))).await;
    assert_eq!(again.next().await["type"], "hello");
    assert_eq!(again.payload("message.new").await["content"], "missed");
    server.stop().await;
}

#[tokio::test]
async fn a_first_frame_that_is_no_valid_token_or_none_in_time_closes_the_socket() {
    let server = exact_host(&[("socket.token_timeout_ms", "4000"), ("socket.unauthenticated_max", "2")]).await;
    let user = Uuid::new_v4();
    for (name, payload, code) in [
        ("sync", json!({}), "unauthenticated"),
        ("token", json!({}), "invalid_payload"),
        ("token", token_payload(&Token::of(user).expired()), "token_expired"),
        ("token", json!({ "token": roost_tests::token::SERVICE_KEY }), "token_invalid"),
    ] {
        let mut socket = Socket::without_token(&server, "").await;
        socket.refused(name, payload, code).await;
        assert_eq!(socket.closed().await, (4004, "unauthenticated".to_owned()), "{code}");
    }
    let (mut one, _two) = (Socket::without_token(&server, "").await, Socket::without_token(&server, "").await);
    let third = Socket::handshake(server.listen, request(server.listen, "")).await.err().expect("two are allowed");
    assert_eq!((third.0, &third.1["code"]), (503, &json!("too_many_connections")), "{}", third.1);
    Socket::open(&server, user).await;
    assert_eq!(one.closed().await, (4004, "unauthenticated".to_owned()), "a silent client is not waited for");
    server.anonymous().get("/v1/socket").await.problem(401, "unauthenticated");
    server.stop().await;
}

#[tokio::test]
async fn issuer_and_audience_are_checked_where_they_are_set() {
    let server = Server::start(&[("token_issuer", "https://login.example"), ("token_audience", "chat")]).await;
    let token = || Token::of(Uuid::new_v4());
    let ask = async |token: Token| server.bearer(&token.sign()).get("/v1/unread").await;
    let issued = token().claim("iss", json!("https://login.example"));
    ask(issued.clone().claim("aud", json!(["mail", "chat"]))).await.json(200);
    ask(issued.clone()).await.problem(401, "token_audience");
    ask(token().claim("aud", json!("chat"))).await.problem(401, "token_issuer");
    ask(issued.claim("iss", json!("https://evil.example"))).await.problem(401, "token_issuer");
    server.stop().await;
}
