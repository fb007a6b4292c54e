//! What the real binary refuses over HTTP: every kind of refusal is a problem document, also beyond configured limits.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream;
use jsonwebtoken::Algorithm;
use reqwest::Body;
use roost_tests::client::send;
use roost_tests::events::Events;
use roost_tests::server::Server;
use roost_tests::socket::{Socket, request};
use roost_tests::token::{SERVICE_KEY, Token};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

#[tokio::test]
async fn wrong_credentials_are_refused_with_a_problem_document() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id] = [Uuid::new_v4(), Uuid::new_v4()];
    let (ann, service) = (server.user(ann_id), server.service());

    let unauthenticated = server.anonymous().get("/v1/unread").await;
    let problem = unauthenticated.problem(401, "unauthenticated");
    let members: BTreeSet<&str> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["type", "title", "status", "code", "detail", "trace", "retry"]));
    assert!(unauthenticated.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    let token = Token::of(ann_id);
    for (bad, code) in [
        (token.clone().secret("somebody-else-0123456789-abcdef-xyz").sign(), "token_invalid"),
        (token.clone().algorithm(Algorithm::HS512).sign(), "token_invalid"),
        (token.clone().without("sub").sign(), "token_invalid"),
        (token.clone().without("exp").sign(), "token_invalid"),
        (token.clone().claim("sub", json!("ann")).sign(), "token_invalid"),
        ("no-token-at-all".to_owned(), "token_invalid"),
        (format!("{SERVICE_KEY}x"), "token_invalid"),
        (token.clone().expired().sign(), "token_expired"),
        (token.clone().not_before(Duration::from_secs(3_600)).sign(), "token_not_yet_valid"),
    ] {
        server.bearer(&bad).get("/v1/unread").await.problem(401, code);
    }
    service.get("/v1/unread").await.problem(400, "user_required");
    let named = |user: &str| service.request("GET", "/v1/unread").header("roost-user", user);
    send(named("ann")).await.problem(400, "user_header_invalid");
    let refused = ann.request("GET", "/v1/unread").header("roost-user", bob_id.to_string());
    send(refused).await.problem(403, "user_header_refused");
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_refused_with_a_problem_document() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, eve_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let (ann, bob, eve) = (server.user(ann_id), server.user(bob_id), server.user(eve_id));
    let service = server.service();
    let pair = ann.conversation(&[bob_id]).await;
    let messages = format!("/v1/conversations/{pair}/messages");
    for path in [&messages, &format!("/v1/unread/{pair}"), &format!("/v1/conversations/{pair}/last-message")] {
        eve.get(path).await.problem(403, "not_a_member");
    }
    let unknown = Uuid::new_v4();
    eve.get(&format!("/v1/conversations/{unknown}/messages")).await.problem(403, "not_a_member");
    service.put(&format!("/v1/conversations/{unknown}/members/{eve_id}")).await.problem(404, "not_found");
    ann.patch(&format!("{messages}/{unknown}"), json!({ "content": "x" })).await.problem(404, "not_found");
    ann.get("/v1/nothing").await.problem(404, "route_not_found");

    for (method, path, allowed) in
        [("PATCH", "/v1/unread", ["GET", "DELETE"]), ("POST", "/v1/contacts/x", ["PUT", "DELETE"])]
    {
        let answer = send(ann.request(method, path)).await;
        answer.problem(405, "method_not_allowed");
        assert!(allowed.iter().all(|method| answer.allow().contains(method)), "{path}: {}", answer.allow());
    }
    let answer = ann.delete("/v1/socket").await;
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.allow(), "GET, HEAD");

    let taken = json!({ "id": pair, "members": [eve_id] });
    ann.post("/v1/conversations", taken).await.problem(409, "conflict");
    let draft = json!({ "id": Uuid::new_v4(), "content": "mine" });
    ann.post(&messages, draft.clone()).await.json(201);
    bob.post(&messages, draft).await.problem(409, "conflict");
    server.stop().await;
}

#[tokio::test]
async fn requests_that_cannot_be_read_are_refused_with_a_problem_document() {
    let server = Server::start(&[]).await;
    let ann = server.user(Uuid::new_v4());
    let messages = format!("/v1/conversations/{}/messages", ann.conversation(&[Uuid::new_v4()]).await);
    ann.post(&messages, json!({ "content": "x".repeat(16 * 1_024 + 1) })).await.problem(413, "too_large");
    ann.post(&messages, json!({ "content": "x".repeat(64 * 1_024) })).await.problem(413, "body_too_large");
    let text = ann.request("POST", &messages).header("content-type", "text/plain").body("{\"content\":\"x\"}");
    send(text).await.problem(415, "unsupported_media_type");
    let packed = ann.request("POST", &messages).header("content-encoding", "gzip").json(&json!({ "content": "x" }));
    send(packed).await.problem(415, "unsupported_media_type");

    ann.get("/v1/socket").await.problem(426, "upgrade_required");
    let half = ann.request("GET", "/v1/socket").header("connection", "upgrade").header("upgrade", "websocket");
    send(half).await.problem(400, "invalid_upgrade");
    ann.get("/v1/unread?a=%").await.problem(400, "invalid_query");
    ann.get("/v1/sync?since=x").await.problem(400, "invalid_since");
    ann.get("/v1/events?since=x").await.problem(400, "invalid_since");
    ann.get("/v1/unread/no-uuid").await.problem(400, "invalid");
    ann.get(&format!("{messages}?limit=101")).await.problem(400, "invalid");
    ann.get("/v1/conversations?cursor=x").await.problem(400, "invalid");
    ann.post(&messages, json!({})).await.problem(400, "invalid");
    ann.post(&messages, json!({ "content": 5 })).await.problem(400, "invalid");
    let broken = ann.request("POST", &messages).header("content-type", "application/json").body("{");
    send(broken).await.problem(400, "invalid");
    let many: Vec<Uuid> = (0..501).map(|_| Uuid::new_v4()).collect();
    let refused = server.service().post("/v1/presence/query", json!({ "users": many })).await;
    assert!((400..=413).contains(&refused.status), "{}: {}", refused.status, refused.text);
    server.stop().await;
}

#[tokio::test]
async fn configured_limits_are_enforced() {
    let set = [
        ("token_audience", "chat"),
        ("allowed_origins", "https://chat.example.com"),
        ("socket.connections_per_user_max", "1"),
        ("socket.connections_max", "2"),
        ("http.body_bytes_max", "2048"),
        ("http.read_timeout_ms", "200"),
    ];
    let server = Server::start(&set).await;
    let [ann, bob, eve] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let token = |user: Uuid| Token::of(user).claim("aud", json!(["chat", "mail"])).sign();
    server.user(ann).get("/v1/unread").await.problem(401, "token_audience");
    let client = server.bearer(&token(ann));
    client.get("/v1/unread").await.json(200);
    client.post("/v1/presence", json!({ "connection": "x".repeat(4_096) })).await.problem(413, "body_too_large");

    let paged = client.request("GET", "/v1/socket").header("origin", "https://evil.example.com");
    send(paged).await.problem(403, "origin_not_allowed");
    let _ann = Socket::with(&server, &token(ann), "").await;
    let refused = async |user: Uuid| {
        let handshake = request(server.listen, &format!("?token={}", token(user)));
        let (status, problem) = Socket::handshake(server.listen, handshake).await.err().unwrap();
        assert!(problem["retry"] == true && problem["retry_after_ms"].is_u64(), "{problem}");
        (status, problem["code"].clone())
    };
    assert_eq!(refused(ann).await, (429, json!("too_many_connections_of_user")));
    let _bob = Socket::with(&server, &token(bob), "").await;
    assert_eq!(refused(eve).await, (503, json!("too_many_connections")));
    // A browser's event source gives up on any other status.
    let mut stream = Events::open(server.bearer(&token(eve)).request("GET", "/v1/events")).await;
    let error = stream.next().await.unwrap();
    assert_eq!((error.name.as_str(), &error.data["code"]), ("error", &json!("too_many_connections")));
    assert_eq!(stream.next().await, None);

    let mut stream = TcpStream::connect(server.listen).await.unwrap();
    let head = format!("POST /v1/presence HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", token(ann));
    stream.write_all(format!("{head}content-length: 9\r\nconnection: close\r\n\r\n{{").as_bytes()).await.unwrap();
    let mut late = String::new();
    stream.read_to_string(&mut late).await.unwrap();
    assert!(late.starts_with("HTTP/1.1 408") && late.contains("\"read_timeout\""), "{late}");
}

/// A megabyte does not fit into the socket buffers, so the client is still sending when the host refuses the body.
#[tokio::test]
async fn a_client_that_is_still_sending_receives_the_body_too_large_answer() {
    let server = Server::start(&[]).await;
    let client = server.user(Uuid::new_v4());
    for _ in 0..8 {
        let announced = client.request("POST", "/v1/presence").body("x".repeat(1 << 20));
        send(announced).await.problem(413, "body_too_large");
        let chunks = stream::iter(vec![Ok::<_, std::convert::Infallible>("x".repeat(1 << 16)); 16]);
        let unannounced = client.request("POST", "/v1/presence").body(Body::wrap_stream(chunks));
        let response = unannounced.send().await.unwrap();
        assert_eq!(response.status(), 413);
    }
    server.stop().await;
}
