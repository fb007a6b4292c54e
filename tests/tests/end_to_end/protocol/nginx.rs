//! nginx with the sample configuration in front of a host: sockets and streams pass, and no part of a token reaches a
//! log, also when TLS breaks and when the host is killed. With errors written, the same requests would show their
//! tokens.

use std::fs;

use futures_util::StreamExt;
use roost_tests::eventually::{DEADLINE, eventually_true};
use roost_tests::nginx::Nginx;
use roost_tests::server::Server;
use roost_tests::socket::request;
use roost_tests::sources::root;
use roost_tests::token::Token;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use uuid::Uuid;

/// A TLS record that cannot be decrypted.
const BROKEN_RECORD: &[u8] = b"\x17\x03\x03\x00\x20xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// The requests of a test through nginx, and the tokens that they have in their queries.
struct Traffic<'a> {
    nginx: &'a Nginx,
    tokens: Vec<String>,
}

impl Traffic<'_> {
    /// The query with a new token.
    fn query(&mut self) -> String {
        let token = Token::of(Uuid::new_v4()).sign();
        self.tokens.push(token.clone());
        format!("?token={token}")
    }

    /// An open socket, whose `hello` has arrived.
    async fn socket(&mut self) -> WebSocketStream<TlsStream<TcpStream>> {
        let request = request(self.nginx.address, &self.query());
        let opened = tokio_tungstenite::client_async(request, self.nginx.connect().await);
        let (mut socket, _) = timeout(DEADLINE, opened).await.expect("in time").unwrap();
        let hello = timeout(DEADLINE, socket.next()).await.expect("in time").unwrap().unwrap();
        assert!(hello.to_text().unwrap().contains("\"hello\""), "{hello}");
        socket
    }

    /// A connection on which this much of a request was sent. `TOKEN` in it becomes a query with a token.
    async fn sent(&mut self, text: &str) -> TlsStream<TcpStream> {
        let text = text.replace("TOKEN", &self.query());
        let mut stream = self.nginx.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        stream
    }
}

async fn read_until(stream: &mut TlsStream<TcpStream>, expected: &str) {
    let mut arrived = Vec::new();
    while !String::from_utf8_lossy(&arrived).contains(expected) {
        let read = timeout(DEADLINE, stream.read_buf(&mut arrived)).await.expect("in time").unwrap();
        assert!(read > 0, "closed before {expected}: {}", String::from_utf8_lossy(&arrived));
    }
}

/// Sends what is no TLS, and waits until nginx closes the connection.
async fn break_tls(stream: &mut TlsStream<TcpStream>) {
    let (tcp, _) = stream.get_mut();
    tcp.write_all(BROKEN_RECORD).await.unwrap();
    // A reset is an end as well.
    let _ = timeout(DEADLINE, tcp.read_to_end(&mut Vec::new())).await.expect("nginx closes the connection");
}

/// Requests that end well and badly, each with a token in its query; returns the tokens. The host is killed on the way.
async fn send_requests(nginx: &Nginx, server: Server) -> Vec<String> {
    let mut traffic = Traffic { nginx, tokens: Vec::new() };
    break_tls(traffic.socket().await.get_mut()).await;
    // While nginx waits for the other headers, it has the request line already.
    let mut unfinished = traffic.sent("GET /v1/socketTOKEN HTTP/1.1\r\nHost: localhost\r\n").await;
    break_tls(&mut unfinished).await;
    let elsewhere = "GET /elsewhereTOKEN HTTP/1.1\r\nHost: localhost\r\n\r\n";
    read_until(&mut traffic.sent(elsewhere).await, "404 Not Found").await;

    let mut socket = traffic.socket().await;
    let events = "GET /v1/eventsTOKEN HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut stream = traffic.sent(events).await;
    read_until(&mut stream, "event: hello").await;
    server.kill().await;
    while let Some(Ok(_)) = timeout(DEADLINE, socket.next()).await.expect("nginx closes the socket") {}
    let _ = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.expect("nginx ends the stream");
    read_until(&mut traffic.sent(events).await, "502 Bad Gateway").await;

    // A line of the access log is written when its request ends.
    let logged = || nginx.logs().matches("\"GET /").count();
    eventually_true("every request is logged", || logged() >= traffic.tokens.len()).await;
    traffic.tokens
}

/// The parts of a token that are its own. All tokens have the same header.
fn parts(token: &str) -> Vec<&str> {
    token.split('.').skip(1).collect()
}

fn sample() -> String {
    fs::read_to_string(root().join("docs/deploy/nginx.conf")).unwrap()
}

#[tokio::test]
async fn the_sample_of_nginx_passes_sockets_and_streams_and_logs_no_token() {
    let server = Server::start(&[]).await;
    let nginx = Nginx::start(&sample(), server.listen).await;
    let tokens = send_requests(&nginx, server).await;
    let logs = nginx.logs();
    assert!(logs.contains("\"GET /v1/socket\" 101") && logs.contains("\"GET /v1/events\" 502"), "{logs}");
    assert!(!logs.contains("token="), "a query is in a log:\n{logs}");
    for part in tokens.iter().flat_map(|token| parts(token)) {
        assert!(!logs.contains(part), "a part of a token is in a log:\n{logs}");
    }
}

/// Ensures that the requests of the other test reach the lines about errors, which it would not notice otherwise.
#[tokio::test]
async fn with_errors_written_the_same_requests_show_their_tokens() {
    let server = Server::start(&[]).await;
    let sample = sample();
    let written = sample.replace("error_log /dev/null emerg;", "error_log /var/log/nginx/errors.log info;");
    assert_ne!(sample, written);
    let nginx = Nginx::start(&written, server.listen).await;
    let tokens = send_requests(&nginx, server).await;
    let logs = nginx.logs();
    // Whether nginx reads the unfinished request before it meets the broken record, is chance.
    for action in ["proxying upgraded connection", "connecting to upstream"] {
        let is_shown = |line: &str| line.contains(action) && tokens.iter().any(|token| line.contains(token));
        assert!(logs.lines().any(is_shown), "no line about {action} has a token:\n{logs}");
    }
}
