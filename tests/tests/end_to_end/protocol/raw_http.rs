//! HTTP/1.1 on raw bytes against the real binary, as proxies use it: kept connections and their announced end,
//! pipelining, `Expect`, `HEAD`, `OPTIONS`, and requests that are not valid.

use std::collections::BTreeSet;
use std::time::Duration;

use roost_tests::eventually::eventually_within;
use roost_tests::raw::{RawAnswer, RawConnection};
use roost_tests::server::Server;
use roost_tests::token::Token;
use serde_json::Value;
use uuid::Uuid;

/// The head of a request of this user, without the empty line at its end.
fn head(user: Uuid, request_line: &str) -> String {
    format!("{request_line}\r\nhost: roost\r\nauthorization: Bearer {}\r\n", Token::of(user).sign())
}

fn get(user: Uuid, path: &str) -> String {
    head(user, &format!("GET {path} HTTP/1.1")) + "\r\n"
}

/// A heartbeat, whose body is of the client's choice.
fn post(user: Uuid, headers: &str, body: &str) -> String {
    format!("{}{headers}\r\n{body}", head(user, "POST /v1/presence HTTP/1.1"))
}

/// Sends these bytes over a connection of their own; returns the first answer.
async fn asked(server: &Server, bytes: impl AsRef<[u8]>) -> (RawAnswer, RawConnection) {
    let mut connection = RawConnection::open(server.listen).await;
    connection.send(bytes).await;
    (connection.answer().await, connection)
}

#[track_caller]
fn is_problem(answer: &RawAnswer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}{}", answer.head, answer.body);
    let problem: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    assert_eq!(problem["code"], code, "{}{}", answer.head, answer.body);
}

#[tokio::test]
async fn a_connection_is_kept_until_its_announced_end() {
    let (server, user) = (Server::start(&[]).await, Uuid::new_v4());
    let (first, mut kept) = asked(&server, get(user, "/v1/unread")).await;
    assert_eq!((first.status, first.closes()), (200, false));
    kept.send(head(user, "GET /v1/unread HTTP/1.1") + "connection: close\r\n\r\n").await;
    let last = kept.answer().await;
    assert_eq!((last.status, last.closes()), (200, true), "{}", last.head);
    assert!(kept.rest().await.is_empty());

    let old = head(user, "GET /v1/unread HTTP/1.0");
    let (answer, mut closed) = asked(&server, old.clone() + "\r\n").await;
    assert!(answer.status == 200 && answer.head.starts_with("HTTP/1.0") && answer.header("connection").is_none());
    assert!(closed.rest().await.is_empty(), "a client of HTTP/1.0 gets one answer");
    let (answer, mut kept) = asked(&server, old + "connection: keep-alive\r\n\r\n").await;
    assert_eq!(answer.header("connection"), Some("keep-alive"), "unless it asks for more");
    kept.send(get(user, "/v1/unread")).await;
    assert_eq!(kept.answer().await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let (server, user) = (Server::start(&[]).await, Uuid::new_v4());
    let body = r#"{"connection":"pipe"}"#;
    let requests = [
        get(user, "/v1/unread"),
        get(user, "/v1/nothing"),
        post(user, &format!("content-length: {}\r\n", body.len()), body),
        head(user, "HEAD /v1/unread HTTP/1.1") + "\r\n",
        get(user, "/v1/openapi.json"),
    ];
    let (unread, mut connection) = asked(&server, requests.concat()).await;
    assert!(unread.status == 200 && unread.body.contains("total"), "{unread:?}");
    is_problem(&connection.answer().await, 404, "route_not_found");
    assert!(connection.answer().await.body.contains("beat_interval_ms"));
    let without_body = connection.head().await;
    assert_eq!(without_body.header("content-length"), Some(unread.body.len().to_string().as_str()));
    assert!(connection.answer().await.body.contains("\"openapi\""));
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_held_back_is_asked_for_or_refused() {
    let (server, user) = (Server::start(&[]).await, Uuid::new_v4());
    let expects = "expect: 100-continue\r\ncontent-length: 2\r\n";
    let mut connection = RawConnection::open(server.listen).await;
    connection.send(post(user, expects, "")).await;
    assert_eq!(connection.head().await.status, 100);
    connection.send("{}").await;
    let answer = connection.answer().await;
    assert_eq!((answer.status, answer.closes()), (200, false), "{}", answer.head);
    connection.send(get(user, "/v1/unread")).await;
    assert_eq!(connection.answer().await.status, 200);

    let anonymous = format!("POST /v1/presence HTTP/1.1\r\nhost: roost\r\n{expects}\r\n");
    let large = post(user, "expect: 100-continue\r\ncontent-length: 1000000\r\n", "");
    let absent = head(user, "POST /v1/nothing HTTP/1.1") + expects + "\r\n";
    for (request, status, code) in
        [(anonymous, 401, "unauthenticated"), (large, 413, "body_too_large"), (absent, 404, "route_not_found")]
    {
        let (answer, mut connection) = asked(&server, request).await;
        is_problem(&answer, status, code);
        assert!(answer.closes(), "whether the client will send the body cannot be known: {}", answer.head);
        assert!(connection.rest().await.is_empty());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_refused_body_is_read_so_that_the_connection_goes_on() {
    let (server, user) = (Server::start(&[]).await, Uuid::new_v4());
    let body = " ".repeat(300_000);
    let length = format!("content-length: {}\r\n", body.len());
    let mut connection = RawConnection::open(server.listen).await;
    connection.send(format!("POST /v1/presence HTTP/1.1\r\nhost: roost\r\n{length}\r\n{body}")).await;
    is_problem(&connection.answer().await, 401, "unauthenticated");
    connection.send(post(user, &length, &body)).await;
    is_problem(&connection.answer().await, 413, "body_too_large");
    connection.send(format!("{}{length}\r\n{body}", head(user, "GET /v1/sync HTTP/1.1"))).await;
    assert_eq!(connection.answer().await.status, 200);
    connection.send(get(user, "/v1/unread")).await;
    assert_eq!(connection.answer().await.status, 200, "one connection for all of them");
    server.stop().await;
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_options_names_the_methods() {
    let (server, user) = (Server::start(&[]).await, Uuid::new_v4());
    let mut connection = RawConnection::open(server.listen).await;
    for (path, status) in [
        ("/v1/unread", 200),
        ("/v1/sync", 200),
        ("/v1/events", 200),
        ("/v1/socket", 426),
        ("/v1/nothing", 404),
        ("/v1/openapi.json", 200),
    ] {
        connection.send(head(user, &format!("HEAD {path} HTTP/1.1")) + "\r\n").await;
        let answer = connection.head().await;
        assert_eq!(answer.status, status, "{path}: {}", answer.head);
        assert!(answer.header("roost-trace").is_some(), "{path}: {}", answer.head);
    }
    for (path, allow) in
        [("/v1/unread", "GET, DELETE, HEAD"), ("/v1/sync", "GET, HEAD"), ("/v1/presence", "POST, DELETE")]
    {
        connection.send(head(user, &format!("OPTIONS {path} HTTP/1.1")) + "\r\n").await;
        let answer = connection.answer().await;
        is_problem(&answer, 405, "method_not_allowed");
        let methods = |list: &str| list.split(", ").map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(methods(answer.header("allow").unwrap_or_default()), methods(allow), "{path}");
    }
    for path in ["/v1/nothing", "*"] {
        connection.send(head(user, &format!("OPTIONS {path} HTTP/1.1")) + "\r\n").await;
        is_problem(&connection.answer().await, 404, "route_not_found");
    }
    connection.send(get(user, "http://roost/v1/unread")).await;
    assert_eq!(connection.answer().await.status, 200, "a proxy may name the whole address");
    server.stop().await;
}

#[tokio::test]
async fn bodies_have_one_length() {
    let (server, user) = (Server::start(&[]).await, Uuid::new_v4());
    let chunked = "transfer-encoding: chunked\r\n";
    let (answer, mut connection) =
        asked(&server, post(user, chunked, "1;a=b\r\n{\r\n1\r\n}\r\n0\r\nx-trailer: 1\r\n\r\n")).await;
    assert_eq!((answer.status, answer.closes()), (200, false), "{}{}", answer.head, answer.body);
    connection.send(get(user, "/v1/unread")).await;
    assert_eq!(connection.answer().await.status, 200);

    // Where two lengths are given, the chunks count, and nothing that follows is taken for a request.
    let smuggled = post(user, "content-length: 2\r\ntransfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n");
    let (answer, mut connection) = asked(&server, smuggled + &get(user, "/v1/unread")).await;
    assert_eq!((answer.status, answer.closes()), (200, true), "{}{}", answer.head, answer.body);
    assert!(!String::from_utf8_lossy(&connection.rest().await).contains("HTTP/1.1"));

    let (answer, _) = asked(&server, post(user, chunked, "z\r\n{}\r\n0\r\n\r\n")).await;
    is_problem(&answer, 400, "invalid_body");
    for headers in [
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: -2\r\n",
        "content-length: 2, 3\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
    ] {
        let (answer, mut connection) = asked(&server, post(user, headers, "{}")).await;
        assert_eq!((answer.status, answer.closes()), (400, true), "{headers}: {}", answer.head);
        connection.rest().await;
    }
    let mut cut = RawConnection::open(server.listen).await;
    cut.send(post(user, "content-length: 9\r\n", "{")).await;
    cut.end_sending().await;
    let rest = String::from_utf8(cut.rest().await).unwrap();
    assert!(!rest.contains(" 200 "), "{rest}");
    server.stop().await;
}

#[tokio::test]
async fn heads_that_are_not_valid_are_refused() {
    let (server, user) = (Server::start(&[]).await, Uuid::new_v4());
    let ask = |line: &str, headers: &str| format!("{line}\r\n{headers}\r\n");
    for headers in ["", "host: roost\r\nhost: roost\r\n", "host: roost\r\nHost: other\r\n"] {
        let (answer, mut connection) = asked(&server, ask("GET /v1/openapi.json HTTP/1.1", headers)).await;
        is_problem(&answer, 400, "invalid_host");
        assert!(answer.closes() && connection.rest().await.is_empty(), "{headers}: {}", answer.head);
    }
    let (answer, _) = asked(&server, ask("GET /v1/openapi.json HTTP/1.0", "")).await;
    assert_eq!(answer.status, 200, "clients of HTTP/1.0 name no host");

    let host = "host: roost\r\n";
    let many = host.to_owned() + &"x: y\r\n".repeat(101);
    for (line, headers, status) in [
        ("GET /v1/openapi.json HTTP/9.9", host, 400),
        ("GET /v1/openapi.json", host, 400),
        ("G{}T /v1/openapi.json HTTP/1.1", host, 400),
        ("GET /v1/ openapi.json HTTP/1.1", host, 400),
        ("GET /v1/openapi.json HTTP/1.1", "host : roost\r\n", 400),
        ("GET /v1/openapi.json HTTP/1.1", "host: roost\r\nx: a\0b\r\n", 400),
        ("GET /v1/openapi.json HTTP/1.1", "host: roost\r\nx: a\r\n b\r\n", 400),
        ("GET /v1/openapi.json HTTP/1.1", many.as_str(), 431),
    ] {
        let (answer, mut connection) = asked(&server, ask(line, headers)).await;
        assert_eq!((answer.status, answer.closes()), (status, true), "{line} {headers}: {}", answer.head);
        connection.rest().await;
    }
    let mut connection = RawConnection::open(server.listen).await;
    connection.send(head(user, "GET /v1/unread HTTP/1.1") + "x: ").await;
    connection.send("y".repeat(64 * 1_024)).await;
    assert_eq!(connection.answer().await.status, 431);

    // What is not strict and harms nobody is accepted.
    let lenient =
        ["\r\nGET /v1/openapi.json HTTP/1.1\r\nhost: roost\r\n\r\n", "GET /v1/openapi.json HTTP/1.1\nhost: roost\n\n"];
    for request in lenient {
        assert_eq!(asked(&server, request).await.0.status, 200, "{request:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_host_that_prepares_to_stop_announces_the_end_of_its_connections() {
    let mut server = Server::start(&[("drain_delay_ms", "15000")]).await;
    let user = Uuid::new_v4();
    let (first, mut kept) = asked(&server, get(user, "/v1/unread")).await;
    assert!(!first.closes());
    server.terminate().await;
    eventually_within(Duration::from_secs(10), "an announced end", async || {
        kept.send(get(user, "/v1/unread")).await;
        let answer = kept.answer().await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        answer.closes()
    })
    .await;
    assert!(kept.rest().await.is_empty());
    let (late, _) = asked(&server, get(user, "/v1/unread")).await;
    assert_eq!((late.status, late.closes()), (200, true), "a new connection is served, once");
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
}
