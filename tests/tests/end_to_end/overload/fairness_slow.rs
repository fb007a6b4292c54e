//! Attackers who send slowly and do not read, herds of clients that connect, and kept connections: what they hold is
//! bounded, and others are served meanwhile.

use std::time::Duration;

use futures_util::future::join_all;
use roost_tests::client::Client;
use roost_tests::eventually::{DEADLINE, eventually, eventually_within};
use roost_tests::metrics::Metrics;
use roost_tests::server::Server;
use roost_tests::socket::{Socket, request};
use roost_tests::token::Token;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::overload::fairness::{Bystanders, check_refusal, refused};

/// A connection with a small receive buffer, so that the host soon cannot send more.
async fn narrow(host: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1_024).unwrap();
    socket.connect(host.listen).await.unwrap()
}

/// The head of a request of this user.
fn head(method: &str, path: &str, user: Uuid, more: &str) -> String {
    let token = Token::of(user).sign();
    format!("{method} {path} HTTP/1.1\r\nhost: roost\r\nauthorization: Bearer {token}\r\n{more}\r\n")
}

/// Reads an answer that ends with its connection, or what has arrived by then.
async fn read_to_end(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("the host closes in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn slow_bodies_hold_nothing_that_others_need() {
    // Fewer requests in flight than slow bodies, and fewer calls of a user than both.
    let set = [("http.requests_max", "8"), ("users.calls_max", "6"), ("http.read_timeout_ms", "3000")];
    let host = Server::start_limited(&set).await;
    let attacker = Uuid::new_v4();
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(host.listen).await.unwrap();
        let more = "content-type: application/json\r\ncontent-length: 1000\r\n";
        stream.write_all(head("POST", "/v1/presence", attacker, more).as_bytes()).await.unwrap();
        stream.write_all(b"{").await.unwrap();
        slow.push(stream);
    }
    let bystanders = Bystanders::start(&host).await;
    eventually("a refusal of the attacker", async || refused(&host, "calls").await > 0.0).await;
    for answer in join_all(slow.into_iter().map(read_first_line)).await {
        assert!(answer.contains(" 408 ") || answer.contains(" 429 "), "{answer}");
    }
    bystanders.finish(&host).await;
    host.stop().await;
}

/// The first line of an answer.
async fn read_first_line(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.contains(&b'\n') {
        let read = timeout(DEADLINE, stream.read_buf(&mut bytes)).await.expect("an answer in time").unwrap_or(0);
        if read == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned()
}

/// A conversation whose history is large.
async fn large_history(host: &Server, user: Uuid) -> String {
    let client = host.user(user);
    let conversation = client.conversation(&[Uuid::new_v4()]).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    for _ in 0..24 {
        client.post(&path, json!({ "content": "x".repeat(15_000) })).await.json(201);
    }
    format!("{path}?limit=24")
}

#[tokio::test]
async fn answers_that_are_not_read_are_given_up_and_count_for_their_user() {
    let host = Server::start(&[("http.write_timeout_ms", "2000"), ("users.calls_max", "4")]).await;
    let attacker = Uuid::new_v4();
    let path = large_history(&host, attacker).await;
    let bystanders = Bystanders::start(&host).await;
    let mut unread = Vec::new();
    for _ in 0..60 {
        let mut stream = narrow(&host).await;
        // Several requests, so that the answers are more than the system keeps for one connection.
        let requests = head("GET", &path, attacker, "").repeat(24);
        stream.write_all(requests.as_bytes()).await.unwrap();
        unread.push(stream);
    }
    let closed = async || {
        let metrics = Metrics::of(&host.operator()).await;
        metrics.sum("roost_http_connections_closed_total", &["reason=\"write_timeout\""])
    };
    eventually("a refusal of the attacker", async || refused(&host, "calls").await > 0.0).await;
    eventually("connections that were given up", async || closed().await >= 4.0).await;
    bystanders.finish(&host).await;
    drop(unread);
    host.stop().await;
}

/// Conversations whose last messages are large, so that every answer to `sync` is.
async fn large_inbox(host: &Server, user: Uuid) {
    let client = host.user(user);
    for _ in 0..20 {
        let conversation = client.conversation(&[Uuid::new_v4()]).await;
        let path = format!("/v1/conversations/{conversation}/messages");
        client.post(&path, json!({ "content": "x".repeat(15_000) })).await.json(201);
    }
}

#[tokio::test]
async fn a_socket_that_is_not_read_holds_no_calls() {
    const UNREAD: usize = 4;
    let set = [
        ("function.messaging.concurrency_max", "4"),
        ("users.calls_max", "24"),
        // So few that not many messages are enough to exceed it.
        ("socket.outbox_frames_max", "16"),
    ];
    let host = Server::start(&set).await;
    let (attacker, writer) = (Uuid::new_v4(), Uuid::new_v4());
    large_inbox(&host, attacker).await;
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        let mut socket = Socket::narrow(&host, attacker).await;
        for _ in 0..40 {
            let sync = json!({ "id": "1", "type": "sync", "payload": {} }).to_string();
            socket.text(&sync).await;
        }
        unread.push(socket);
    }
    let bystanders = Bystanders::start(&host).await;
    // Answers wait for the client, and nothing further is read from it. Events do not wait: too many of them close its
    // sockets with 4008.
    let to_attacker = host.user(writer).conversation(&[attacker]).await;
    let (path, messages) = (format!("/v1/conversations/{to_attacker}/messages"), host.user(writer));
    eventually("unread sockets that are closed with 4008", async || {
        messages.post(&path, json!({ "content": "to whoever does not read" })).await.json(201);
        let metrics = Metrics::of(&host.operator()).await;
        metrics.sum("roost_sockets_closed_total", &["reason=\"slow_client\""]) >= UNREAD as f64
    })
    .await;
    bystanders.finish(&host).await;
    drop(unread);
    host.stop().await;
}

#[tokio::test]
async fn every_client_of_a_herd_gets_a_whole_hello_or_a_time() {
    // So slow that most of the herd is refused, however slowly this machine makes it.
    const HERD: usize = 80;
    const RATE: usize = 10;
    let set = [("connects.per_second_max", "10"), ("connects.wait_max_ms", "500"), ("connects.at_once_max", "4")];
    let host = Server::start(&set).await;
    let bystanders = Bystanders::start(&host).await;
    let began = Instant::now();
    let clients = (0..HERD).map(|_| async {
        let user = Uuid::new_v4();
        let mut refusals = 0;
        loop {
            let query = format!("?token={}", Token::of(user).sign());
            match Socket::handshake(host.listen, request(host.listen, &query)).await {
                Ok((socket, _)) => {
                    let hello = &socket.hello;
                    assert!(hello["presence"].is_array() && hello["unread"]["total"].is_u64(), "{hello}");
                    return (socket, refusals);
                }
                Err((status, problem)) => {
                    assert_eq!((status, &problem["code"]), (503, &json!("too_many_connects")), "{problem}");
                    let after = problem["retry_after_ms"].as_u64().expect("a time to come back");
                    assert!(after <= 1_000 * HERD as u64 / RATE as u64 + 1_000, "{after} ms");
                    refusals += 1;
                    sleep(Duration::from_millis(after)).await;
                }
            }
        }
    });
    let connected = join_all(clients).await;
    let refused = connected.iter().filter(|(_, refusals)| *refusals > 0).count();
    assert!(refused > 0, "nobody was refused");
    assert!(began.elapsed() >= Duration::from_secs((HERD / RATE) as u64 - 1), "the rate is kept");
    let metrics = Metrics::of(&host.operator()).await;
    assert_eq!(metrics.sum("roost_connects_total", &["outcome=\"opened\""]), (HERD + 2) as f64);
    bystanders.finish(&host).await;
    host.stop().await;
}

#[tokio::test]
async fn a_page_that_is_refused_sees_the_reason_and_the_time() {
    let host = Server::start(&[("connects.per_second_max", "1"), ("connects.wait_max_ms", "1")]).await;
    let mut tries = 0;
    let close = loop {
        // A turn may have come meanwhile, but not twice in a row.
        tries += 1;
        assert!(tries < 100, "no page was refused");
        let mut asked = request(host.listen, &format!("?token={}", Token::of(Uuid::new_v4()).sign()));
        asked.headers_mut().insert("origin", "https://chat.example".parse().unwrap());
        let stream = TcpStream::connect(host.listen).await.unwrap();
        let (mut wire, _) = tokio_tungstenite::client_async(asked, stream).await.expect("the handshake succeeds");
        let message = timeout(DEADLINE, futures_util::StreamExt::next(&mut wire)).await.unwrap().unwrap().unwrap();
        if let tokio_tungstenite::tungstenite::Message::Close(Some(close)) = message {
            break close;
        }
    };
    assert_eq!(u16::from(close.code), 1013);
    assert!(close.reason.as_str().starts_with("too_many_connects retry_after_ms="), "{}", close.reason);
    host.stop().await;
}

#[tokio::test]
async fn idle_connections_give_way_when_there_are_too_many() {
    let host = Server::start(&[("http.connections_max", "20")]).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(host.listen).await.unwrap());
    }
    let user = Uuid::new_v4();
    eventually("an answer in spite of idle connections", async || {
        let mut stream = TcpStream::connect(host.listen).await.unwrap();
        stream.write_all(head("GET", "/v1/unread", user, "").as_bytes()).await.unwrap();
        let line = read_first_line(stream).await;
        assert!(line.is_empty() || line.contains(" 200 ") || line.contains(" 503 "), "{line}");
        line.contains(" 200 ")
    })
    .await;
    drop(idle);
    host.stop().await;
}

#[tokio::test]
async fn a_kept_connection_outlives_the_time_of_a_head_and_a_slow_head_does_not() {
    let set = [("http.read_timeout_ms", "500"), ("http.idle_timeout_ms", "20000")];
    let host = Server::start(&set).await;
    let user = Uuid::new_v4();
    let ask = async |stream: &mut TcpStream| {
        stream.write_all(head("GET", "/v1/unread", user, "").as_bytes()).await.unwrap();
        let mut bytes = vec![0; 4_096];
        let read = timeout(DEADLINE, stream.read(&mut bytes)).await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&bytes[..read]).contains(" 200 "), "the connection is kept");
    };
    let mut kept = TcpStream::connect(host.listen).await.unwrap();
    ask(&mut kept).await;
    let mut slow = TcpStream::connect(host.listen).await.unwrap();
    ask(&mut slow).await;
    let began = Instant::now();
    slow.write_all(b"GET /v1/unread HTTP/1.1\r\nhost: roost\r\nx-slow:").await.unwrap();
    assert!(!read_to_end(slow).await.contains(" 200 "));
    // The kept connection was idle for all of that time, and longer than a head may take.
    assert!(began.elapsed() >= Duration::from_millis(500) && began.elapsed() < Duration::from_secs(20));
    ask(&mut kept).await;

    let silent = TcpStream::connect(host.listen).await.unwrap();
    assert_eq!(read_to_end(silent).await, "", "a connection that never asks is closed after the time of a head");
    host.stop().await;
}

#[tokio::test]
async fn a_stopping_host_serves_until_load_balancers_have_noticed() {
    let mut host = Server::start(&[("drain_delay_ms", "15000")]).await;
    let user = Uuid::new_v4();
    let mut socket = Socket::open(&host, user).await;
    host.terminate().await;
    let admin = host.operator();
    eventually_within(Duration::from_secs(10), "a host that is not ready", async || {
        admin.get("/readyz").await.status == 503
    })
    .await;
    // New connections, new sockets and open sockets are served during the delay.
    Client::new(host.listen, Some(&Token::of(user).sign())).get("/v1/unread").await.json(200);
    let mut late = Socket::open(&host, Uuid::new_v4()).await;
    socket.ok("presence.beat", Value::Null).await;
    late.ok("presence.beat", Value::Null).await;
    for socket in [&mut socket, &mut late] {
        socket.expect("server.draining").await;
        assert_eq!(socket.closed().await.0, 1012);
    }
    assert_eq!(host.ended().await.code(), Some(0), "{}", host.log());
    assert!(TcpStream::connect(host.listen).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_refused_request_is_answered_again_after_the_time() {
    let host = Server::start(&[("users.requests_per_second_max", "2"), ("users.requests_burst_max", "2")]).await;
    let client = host.user(Uuid::new_v4());
    let mut tries = 0;
    let refusal = loop {
        tries += 1;
        assert!(tries < 1_000, "no request was refused");
        let answer = client.get("/v1/unread").await;
        if answer.status != 200 {
            break answer;
        }
    };
    check_refusal(&refusal);
    let after = refusal.problem(429, "rate_limited")["retry_after_ms"].as_u64().unwrap();
    sleep(Duration::from_millis(after)).await;
    client.get("/v1/unread").await.json(200);
    host.stop().await;
}
