//! Keys that rotate: JWKS files that are read again, and a JWKS document behind a URL of the test's own server, with
//! rotation, outages, unknown keys and answers that cannot be used.

use std::fs;

use futures_util::StreamExt;
use futures_util::future::join_all;
use roost_tests::client::{Answer, send};
use roost_tests::eventually::eventually;
use roost_tests::key_server::KeyServer;
use roost_tests::metrics::Metrics;
use roost_tests::server::Server;
use roost_tests::socket::{self, Socket};
use roost_tests::token::{Token, key_set};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

/// The answer to a request with a token of this key.
async fn ask(server: &Server, kid: &str) -> Answer {
    server.bearer(&Token::of(Uuid::new_v4()).kid(kid).sign()).get("/v1/unread").await
}

async fn is_accepted(server: &Server, kid: &str) -> bool {
    ask(server, kid).await.status == 200
}

/// The sum of the series of a metric with these labels.
async fn metric(server: &Server, name: &str, labels: &[&str]) -> f64 {
    Metrics::of(&server.operator()).await.sum(name, labels)
}

#[tokio::test]
async fn a_changed_key_file_is_used_and_a_broken_one_leaves_the_keys_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    fs::write(&path, key_set("one")).unwrap();
    let server = Server::start(&[("token_jwks", path.to_str().unwrap())]).await;
    ask(&server, "one").await.json(200);
    ask(&server, "two").await.problem(401, "token_invalid");

    fs::write(&path, key_set("two")).unwrap();
    eventually("the changed file is used", async || is_accepted(&server, "two").await).await;
    ask(&server, "one").await.problem(401, "token_invalid");
    fs::write(&path, "{").unwrap();
    let failed = [r#"source="file""#, r#"outcome="failed""#];
    eventually("the broken file is counted", async || {
        metric(&server, "roost_token_key_reads_total", &failed).await > 0.0
    })
    .await;
    ask(&server, "two").await.json(200);
    assert!(metric(&server, "roost_token_keys_failing", &[r#"source="file""#]).await > 0.0);
    assert!(server.log().contains("cannot be used"), "the problem is logged");
    fs::write(&path, key_set("three")).unwrap();
    eventually("the repaired file is used", async || is_accepted(&server, "three").await).await;
    server.stop().await;
}

#[tokio::test]
async fn keys_behind_a_url_rotate_and_outlive_an_outage() {
    let keys = KeyServer::start(&key_set("one")).await;
    let server = Server::start(&[("token_jwks_url", &keys.url())]).await;
    ask(&server, "one").await.json(200);
    let mut socket = Socket::with(&server, &Token::of(Uuid::new_v4()).kid("one").sign(), "").await;

    keys.publish(200, &key_set("two"));
    ask(&server, "two").await.json(200);
    ask(&server, "one").await.problem(401, "token_invalid");
    let huge = format!("{{\"keys\":[],\"padding\":\"{}\"}}", "x".repeat(1 << 20));
    for (status, text) in [(500, ""), (200, "garbage"), (200, huge.as_str())] {
        keys.publish(status, text);
        let problem = ask(&server, "three").await.problem(503, "token_keys_unavailable");
        assert!(problem["retry"] == true && problem["retry_after_ms"].is_u64(), "{problem}");
        ask(&server, "two").await.json(200);
    }
    keys.fall_silent();
    ask(&server, "three").await.problem(503, "token_keys_unavailable");
    assert!(metric(&server, "roost_token_keys_failing", &[r#"source="url""#]).await > 0.0);
    server.operator().get("/readyz").await.json(200);
    keys.publish(200, &key_set("three"));
    eventually("the server is asked again", async || is_accepted(&server, "three").await).await;
    socket.ok("presence.beat", Value::Null).await;
    server.stop().await;
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_named_once_in_the_log_and_the_others_verify() {
    let mut set: Value = serde_json::from_str(&key_set("one")).unwrap();
    let short = json!({ "kty": "RSA", "kid": "too-short", "n": format!("{}w", "r".repeat(170)), "e": "AQAB" });
    set["keys"].as_array_mut().unwrap().insert(0, short);
    let keys = KeyServer::start(&set.to_string()).await;
    let server = Server::start(&[("token_jwks_url", &keys.url()), ("token_jwks_refresh_ms", "1000")]).await;
    ask(&server, "one").await.json(200);
    let before = keys.asked();
    eventually("the same document is read again", async || keys.asked() > before + 1).await;
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("too-short")).collect();
    assert!(lines.len() == 1 && lines[0].contains("2,048 to 8,192 bits"), "{lines:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_page_that_opens_a_socket_while_the_keys_are_unavailable_learns_when_to_come_back() {
    let keys = KeyServer::start(&key_set("one")).await;
    let server = Server::start(&[("token_jwks_url", &keys.url())]).await;
    keys.publish(500, "");
    let token = Token::of(Uuid::new_v4()).kid("two").sign();
    let mut asked = socket::request(server.listen, &format!("?token={token}"));
    asked.headers_mut().insert("origin", "https://chat.example".parse().unwrap());
    let stream = TcpStream::connect(server.listen).await.unwrap();
    let (mut wire, _) = tokio_tungstenite::client_async(asked, stream).await.expect("the handshake succeeds");
    let message = wire.next().await.unwrap().unwrap();
    let Message::Close(Some(close)) = message else { panic!("{message:?} is no close") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1013, "token_keys_unavailable retry_after_ms=2000"));
    server.stop().await;
}

#[tokio::test]
async fn a_flood_of_unknown_keys_asks_the_server_rarely_and_known_keys_go_on() {
    let keys = KeyServer::start(&key_set("one")).await;
    let server = Server::start(&[("token_jwks_url", &keys.url())]).await;
    // To make a token or a client takes longer than a request.
    let made_up = |number: u32| Token::of(Uuid::new_v4()).kid(&format!("made-up-{number}")).sign();
    let (client, tokens) = (server.anonymous(), (0..200).map(made_up).collect::<Vec<_>>());
    let (began, before) = (Instant::now(), keys.asked());
    let request = |token: &str| send(client.request("GET", "/v1/unread").bearer_auth(token));
    let flood = join_all(tokens.iter().map(|token| request(token)));
    let good = Token::of(Uuid::new_v4()).kid("one").sign();
    let known = async {
        for _ in 0..20 {
            request(&good).await.json(200);
        }
    };
    let (answers, ()) = tokio::join!(flood, known);
    assert!(answers.iter().all(|answer| matches!(answer.status, 401 | 503)), "{answers:?}");
    // At most one request in two seconds, and those at both ends.
    let most = began.elapsed().as_secs() / 2 + 2;
    let asked = (keys.asked() - before) as u64;
    assert!((1..=most).contains(&asked), "{asked} requests, at most {most} are allowed");
    server.stop().await;
}

#[tokio::test]
async fn a_host_starts_without_its_keys_and_is_ready_once_it_has_them() {
    let keys = KeyServer::start("").await;
    keys.publish(503, "");
    let set = [("token_jwks_url", keys.url()), ("token_jwks_refresh_ms", "1000".to_owned())];
    let set: Vec<(&str, &str)> = set.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let server = Server::start(&set).await;
    let parts = server.operator().get("/readyz").await.json(503)["parts"].take();
    let problem = parts["token_keys"].as_str().unwrap_or_default().to_owned();
    assert!(problem.contains("token_jwks_url") && problem.contains("status 503"), "{parts}");
    server.user(Uuid::new_v4()).get("/v1/unread").await.json(200);
    ask(&server, "one").await.problem(503, "token_keys_unavailable");
    keys.publish(200, &key_set("one"));
    let is_ready = async || server.operator().get("/readyz").await.status == 200;
    eventually("the host is ready", is_ready).await;
    ask(&server, "one").await.json(200);
    assert_eq!(server.operator().get("/readyz").await.json(200)["parts"]["token_keys"], json!("ok"));
    server.stop().await;
}
