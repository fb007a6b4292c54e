//! A token never reaches the log of a host or its spans, whichever way it was sent and whether it was accepted, with
//! every line logged.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use roost_tests::events::Events;
use roost_tests::server::Server;
use roost_tests::socket::{Socket, request};
use roost_tests::token::{SERVICE_KEY, Token};
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

/// Everything that was sent as a token, in any way.
#[derive(Default)]
struct Sent(Vec<String>);

impl Sent {
    /// A new token, which is remembered.
    fn token(&mut self, token: &Token) -> String {
        let token = token.clone().claim("jti", json!(Uuid::new_v4())).sign();
        self.0.push(token.clone());
        token
    }
}

/// Starts a collector of spans; returns its URL and what it receives.
async fn start_collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let received = Arc::<Mutex<Vec<u8>>>::default();
    let kept = received.clone();
    let router = Router::new().fallback(async move |body: Bytes| kept.lock().unwrap().extend_from_slice(&body));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

/// Sends tokens in each way that a host accepts.
async fn send_accepted(server: &Server, sent: &mut Sent) {
    let user = Uuid::new_v4();
    let mut token = || sent.token(&Token::of(user));
    server.bearer(&token()).get("/v1/unread").await.json(200);
    let mut socket = Socket::with(server, &token(), "").await;
    socket.ok("token", json!({ "token": token() })).await;
    let queried = request(server.listen, &format!("?token={}", token()));
    Socket::handshake(server.listen, queried).await.unwrap_or_else(|refused| panic!("{refused:?}"));
    let mut offered = request(server.listen, "");
    offered.headers_mut().insert("sec-websocket-protocol", format!("roost.v1, {}", token()).parse().unwrap());
    Socket::handshake(server.listen, offered).await.unwrap_or_else(|refused| panic!("{refused:?}"));
    let mut first = Socket::without_token(server, "").await;
    first.ok("token", json!({ "token": token() })).await;
    let stream = server.anonymous().request("GET", &format!("/v1/events?token={}", token()));
    Events::open(stream).await.expect("hello").await;
}

/// Sends tokens that are refused, and tokens where none belong.
async fn send_refused(server: &Server, sent: &mut Sent) {
    let (user, forged) = (Uuid::new_v4(), "another-secret-of-32-bytes-and-more");
    let expired = sent.token(&Token::of(user).expired());
    server.bearer(&expired).get("/v1/unread").await.problem(401, "token_expired");
    let forged = sent.token(&Token::of(user).secret(forged));
    server.bearer(&forged).get("/v1/unread").await.problem(401, "token_invalid");
    let unknown = sent.token(&Token::of(user).kid("unknown"));
    server.bearer(&unknown).get("/v1/unread").await.problem(401, "token_invalid");
    for path in ["/v1/events", "/v1/socket", "/v1/unread", "/v1/nothing", "/v1/sync"] {
        let token = sent.token(&Token::of(user).expired());
        let answer = server.anonymous().get(&format!("{path}?token={token}&since=%zz")).await;
        assert!(answer.status >= 400 && !answer.text.contains(&token), "{path}: {}", answer.text);
    }
    let mut socket = Socket::open(server, user).await;
    let token = sent.token(&Token::of(user).expired());
    for frame in [
        json!({ "id": "1", "type": "token", "payload": { "token": token } }).to_string(),
        json!({ "id": "1", "type": "token", "payload": token }).to_string(),
        json!({ "id": "1", "type": "message.send", "payload": { "token": token } }).to_string(),
        format!("{{\"id\":\"1\",\"type\":\"token\",\"payload\":{{\"token\":\"{token}\""),
    ] {
        socket.text(&frame).await;
        let answer = socket.next().await;
        assert!(answer["type"] == "error" && !answer.to_string().contains(&token), "{answer}");
    }
}

#[tokio::test]
async fn no_token_and_no_key_is_in_the_log_of_a_host_that_logs_everything() {
    let (collector, spans) = start_collector().await;
    let mut server = Server::start(&[("log", "trace"), ("otlp_endpoint", &collector)]).await;
    let mut sent = Sent::default();
    send_accepted(&server, &mut sent).await;
    send_refused(&server, &mut sent).await;
    server.service().delete("/v1/unread").await;
    let path = format!("/v1/users/{}/connections", Uuid::new_v4());
    assert_eq!(server.service().delete(&path).await.status, 202);
    server.terminate().await;
    server.ended().await;
    let log = server.log();
    assert!(log.contains("request answered"), "the log lacks the lines of fine levels");
    let spans = String::from_utf8_lossy(&spans.lock().unwrap()).into_owned();
    assert!(spans.contains("GET /v1/unread"), "no spans were received");
    for token in sent.0 {
        let (claims, signature) = token.rsplit_once('.').expect("a token has three parts");
        let claims = claims.rsplit_once('.').expect("a token has three parts").1;
        for part in [token.as_str(), claims, signature] {
            let line = log.lines().find(|line| line.contains(part));
            assert_eq!(line, None, "a part of a token is in the log");
            assert!(!spans.contains(part), "a part of a token is in a span");
        }
    }
    assert!(!log.contains(SERVICE_KEY) && !spans.contains(SERVICE_KEY), "the service key is shown");
}
