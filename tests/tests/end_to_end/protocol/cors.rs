//! The real binary and pages of another origin: which headers its answers have, refusals of every kind included. What
//! real browsers make of them is in `browsers.rs`.

use roost_tests::client::{Answer, Client, send};
use roost_tests::events::Events;
use roost_tests::eventually::eventually;
use roost_tests::server::Server;
use roost_tests::socket::{Socket, request};
use roost_tests::token::Token;
use serde_json::json;
use uuid::Uuid;

const PAGE: &str = "https://chat.example.com";
const SET: (&str, &str) = ("allowed_origins", "https://chat.example.com,http://localhost:3000");

async fn from_page(client: &Client, method: &str, path: &str) -> Answer {
    send(client.request(method, path).header("origin", PAGE)).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).and_then(|value| value.to_str().ok())
}

#[track_caller]
fn is_readable(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(header(answer, "access-control-allow-origin"), Some(PAGE), "{:?}", answer.headers);
    assert_eq!(header(answer, "vary"), Some("Origin"));
    let exposed = header(answer, "access-control-expose-headers").unwrap_or_default();
    assert!(["Retry-After", "Roost-Trace"].iter().all(|name| exposed.contains(name)), "{exposed}");
}

#[tokio::test]
async fn answers_of_every_kind_name_the_origin_of_the_page() {
    let server = Server::start(&[SET]).await;
    let user = Uuid::new_v4();
    let (client, anonymous) = (server.user(user), server.anonymous());
    is_readable(&from_page(&client, "GET", "/v1/unread").await, 200);
    is_readable(&from_page(&client, "PUT", &format!("/v1/contacts/{}", Uuid::new_v4())).await, 204);
    is_readable(&from_page(&client, "GET", "/v1/sync").await, 200);
    is_readable(&from_page(&client, "HEAD", "/v1/events").await, 200);
    is_readable(&from_page(&anonymous, "GET", "/v1/openapi.json").await, 200);
    is_readable(&from_page(&client, "GET", "/v1/unread?a=%").await, 400);
    is_readable(&from_page(&anonymous, "GET", "/v1/unread").await, 401);
    is_readable(&from_page(&anonymous, "GET", "/v1/events?token=x").await, 401);
    is_readable(&from_page(&client, "GET", "/v1/nothing").await, 404);
    is_readable(&from_page(&client, "PATCH", "/v1/unread").await, 405);
    let large = client.request("POST", "/v1/presence").header("origin", PAGE).body("x".repeat(100_000));
    is_readable(&send(large).await, 413);

    for origin in ["https://evil.example", "https://chat.example.com.evil.example", "http://chat.example.com", "null"] {
        let answer = send(client.request("GET", "/v1/unread").header("origin", origin)).await;
        assert_eq!((answer.status, header(&answer, "access-control-allow-origin")), (200, None), "{origin}");
        assert_eq!(header(&answer, "vary"), Some("Origin"));
        let mut handshake = request(server.listen, &format!("?token={}", Token::of(user).sign()));
        handshake.headers_mut().insert("origin", origin.parse().unwrap());
        assert_eq!(Socket::handshake(server.listen, handshake).await.err().map(|refusal| refusal.0), Some(403));
    }
    let admin = send(server.operator().request("GET", "/healthz").header("origin", PAGE)).await;
    assert_eq!((admin.status, header(&admin, "access-control-allow-origin")), (200, None), "operators use no pages");
    server.stop().await;
}

#[tokio::test]
async fn a_preflight_is_answered_for_listed_origins_only() {
    let server = Server::start(&[SET]).await;
    let preflight = async |path: &str, origin: &str, headers: &str| {
        let asked = server.anonymous().request("OPTIONS", path).header("origin", origin);
        send(asked.header("access-control-request-method", "PUT").header("access-control-request-headers", headers))
            .await
    };
    for path in ["/v1/contacts/x", "/v1/events", "/v1/nothing"] {
        let answer = preflight(path, PAGE, "authorization,content-type").await;
        is_readable(&answer, 204);
        let methods = header(&answer, "access-control-allow-methods").unwrap();
        assert!(["GET", "POST", "PUT", "PATCH", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
        let headers = header(&answer, "access-control-allow-headers").unwrap().to_ascii_lowercase();
        for name in ["authorization", "content-type", "last-event-id", "roost-user"] {
            assert!(headers.contains(name), "{headers}");
        }
        assert!(!methods.contains('*') && !headers.contains('*'));
        assert!(header(&answer, "access-control-max-age").unwrap().parse::<u64>().unwrap() >= 600);
    }
    let refused = preflight("/v1/unread", "https://evil.example", "authorization").await;
    refused.problem(405, "method_not_allowed");
    assert_eq!(header(&refused, "access-control-allow-origin"), None);
    server.stop().await;

    let server = Server::start(&[]).await;
    let answer = from_page(&server.user(Uuid::new_v4()), "GET", "/v1/unread").await;
    assert_eq!((header(&answer, "access-control-allow-origin"), header(&answer, "vary")), (None, None));
    let asked = server.anonymous().request("OPTIONS", "/v1/unread").header("origin", PAGE);
    send(asked.header("access-control-request-method", "GET")).await.problem(405, "method_not_allowed");
    server.stop().await;
}

#[tokio::test]
async fn a_page_can_read_that_it_asks_too_often() {
    let server =
        Server::start_limited(&[SET, ("users.requests_per_second_max", "1"), ("users.requests_burst_max", "1")]).await;
    let client = server.user(Uuid::new_v4());
    let refusal = loop {
        let answer = from_page(&client, "GET", "/v1/unread").await;
        if answer.status != 200 {
            break answer;
        }
    };
    is_readable(&refusal, 429);
    refusal.problem(429, "rate_limited");
    assert!(header(&refusal, "retry-after").is_some());
    server.stop().await;
}

/// The host refuses the connection itself, before it looks at the request.
#[tokio::test]
async fn a_page_can_read_that_there_is_no_place_for_its_connection() {
    let server = Server::start(&[SET, ("http.connections_max", "1")]).await;
    let user = Uuid::new_v4();
    let mut stream = Events::open(server.user(user).request("GET", "/v1/events")).await;
    stream.expect("hello").await;
    let other = server.user(Uuid::new_v4());
    let refusal = from_page(&other, "GET", "/v1/unread").await;
    is_readable(&refusal, 503);
    assert_eq!(header(&refusal, "connection"), Some("close"));
    refusal.problem(503, "too_many_connections");
    let asked = other.request("OPTIONS", "/v1/unread").header("origin", PAGE);
    let preflight = send(asked.header("access-control-request-method", "GET")).await;
    is_readable(&preflight, 204);

    let mut refused = Events::open(other.request("GET", "/v1/events").header("origin", PAGE)).await;
    let error = refused.next().await.unwrap();
    assert_eq!((error.name.as_str(), &error.data["code"]), ("error", &json!("too_many_connections")));
    assert_eq!(refused.next().await, None);
    drop(stream);
    eventually("a place for another stream", async || {
        let mut stream = Events::open(other.request("GET", "/v1/events")).await;
        stream.next().await.is_some_and(|event| event.name == "hello")
    })
    .await;
    server.stop().await;
}
