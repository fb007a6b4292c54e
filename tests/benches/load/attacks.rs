//! The attacks of one user with one token, each at full speed until it is stopped.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use roost_tests::server::Server;
use roost_tests::socket::{position, request};
use roost_tests::token::Token;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::Message;
use uuid::Uuid;

use crate::client::Connection;

/// How many connections an attacker uses at the same time.
const CONNECTIONS: usize = 64;
/// How many of them only hold a place.
const HELD: usize = 200;
/// The pause before an attacker replaces what the host has closed.
const AGAIN: Duration = Duration::from_millis(20);

/// What one user does to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    Requests,
    Sends,
    Replays,
    Devices,
    Frames,
    Typing,
    Connects,
    SlowBodies,
    SlowReaders,
}

impl Attack {
    pub const ALL: [Self; 9] = [
        Self::Requests,
        Self::Sends,
        Self::Replays,
        Self::Devices,
        Self::Frames,
        Self::Typing,
        Self::Connects,
        Self::SlowBodies,
        Self::SlowReaders,
    ];

    /// The name in tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Sends => "sends",
            Self::Replays => "replays",
            Self::Devices => "devices",
            Self::Frames => "frames",
            Self::Typing => "typing",
            Self::Connects => "connects",
            Self::SlowBodies => "slow-bodies",
            Self::SlowReaders => "slow-readers",
        }
    }
}

/// An attack that goes on until it is stopped.
///
/// It has a thread of its own, so that the users who are measured do not wait for it in this process.
pub struct Attacker {
    tasks: JoinSet<()>,
    runtime: Runtime,
}

/// What the tasks of an attack know.
struct Target {
    host: std::net::SocketAddr,
    token: String,
    conversation: String,
    /// The position of the attacker's feed before it was filled; empty unless replays are asked for.
    since: String,
}

impl Attacker {
    pub async fn start(host: &Server, attack: Attack) -> Self {
        let user = Uuid::new_v4();
        let members: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
        let conversation = host.user(user).conversation(&members).await;
        let since = if attack == Attack::Replays { fill_feed(host, user, &conversation).await } else { String::new() };
        let target = Arc::new(Target { host: host.listen, token: Token::of(user).sign(), conversation, since });
        let tasks = match attack {
            Attack::SlowBodies | Attack::SlowReaders => HELD,
            Attack::Frames | Attack::Typing => 4,
            _ => CONNECTIONS,
        };
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let mut attacker = Self { tasks: JoinSet::new(), runtime: threads.expect("a thread of the attacker") };
        for number in 0..tasks {
            attacker.tasks.spawn_on(run(target.clone(), attack, number), attacker.runtime.handle());
        }
        attacker
    }

    /// Ends every task and closes its connections.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.runtime.shutdown_background();
    }
}

/// Makes the attacker miss as much as a feed keeps; returns the position before that.
async fn fill_feed(host: &Server, attacker: Uuid, conversation: &str) -> String {
    let client = host.user(attacker);
    // A `sync` makes sure that the events after it are kept.
    let before = position(&client.get("/v1/sync").await.json(200));
    let path = format!("/v1/conversations/{conversation}/messages");
    // Fewer than a user may send at once, and together less than a feed keeps.
    for _ in 0..50 {
        client.post(&path, json!({ "content": "x".repeat(4_000) })).await.json(201);
    }
    before
}

/// Attacks again and again; whatever fails is tried again.
async fn run(target: Arc<Target>, attack: Attack, number: usize) {
    loop {
        // The host may refuse and close whatever it likes.
        let _ = once(&target, attack, number).await;
        tokio::time::sleep(AGAIN).await;
    }
}

async fn once(target: &Target, attack: Attack, number: usize) -> anyhow::Result<()> {
    let messages = format!("/v1/conversations/{}/messages", target.conversation);
    match attack {
        Attack::Requests => flood(target, |_| target.render("GET", "/v1/unread", "")).await,
        Attack::Replays => {
            let path = format!("/v1/sync?since={}", target.since);
            flood(target, |_| target.render("GET", &path, "")).await
        }
        Attack::Sends => {
            flood(target, |_| target.render("POST", &messages, &json!({ "content": "x".repeat(1_000) }).to_string()))
                .await
        }
        Attack::Devices => {
            let device = |round| json!({ "connection": format!("made-up-{number}-{round}") }).to_string();
            flood(target, |round| target.render("POST", "/v1/presence", &device(round))).await
        }
        Attack::Frames => frames(target, "presence.beat", &json!({})).await,
        Attack::Typing => frames(target, "typing", &json!({ "conversation": target.conversation })).await,
        Attack::Connects => {
            let stream = TcpStream::connect(target.host).await?;
            let request = request(target.host, &format!("?token={}", target.token));
            tokio_tungstenite::client_async(request, stream).await?;
            Ok(())
        }
        Attack::SlowBodies => {
            let mut stream = TcpStream::connect(target.host).await?;
            let request = target.render("POST", &messages, &"x".repeat(1_000));
            let (head, body) = request.split_at(request.len() - 1_000);
            stream.write_all(head).await?;
            for byte in body {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Ok(())
        }
        Attack::SlowReaders => {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(4 * 1_024)?;
            let mut stream = socket.connect(target.host).await?;
            stream.write_all(&target.render("GET", "/v1/openapi.json", "").repeat(100)).await?;
            stream.write_all(&target.render("GET", &messages, "").repeat(100)).await?;
            tokio::time::sleep(Duration::from_secs(5)).await;
            let _ = stream.read(&mut [0; 1]).await?;
            Ok(())
        }
    }
}

/// Sends requests over one connection, one after the other, whatever the answers are.
async fn flood(target: &Target, request: impl Fn(usize) -> Vec<u8>) -> anyhow::Result<()> {
    let mut connection = Connection::open(target.host).await?;
    for round in 0.. {
        connection.status_of(&request(round)).await?;
    }
    Ok(())
}

/// Sends frames over one socket as fast as it takes them, and reads the answers.
async fn frames(target: &Target, name: &str, payload: &serde_json::Value) -> anyhow::Result<()> {
    let stream = TcpStream::connect(target.host).await?;
    let request = request(target.host, &format!("?token={}", target.token));
    let (wire, _) = tokio_tungstenite::client_async(request, stream).await?;
    let (mut sink, mut stream) = wire.split();
    let frame = json!({ "id": "1", "type": name, "payload": payload }).to_string();
    let sending = async {
        loop {
            sink.send(Message::text(frame.clone())).await?;
        }
    };
    let reading = async { while let Some(Ok(_)) = stream.next().await {} };
    tokio::select! {
        sent = sending => sent,
        () = reading => Ok(()),
    }
}

impl Target {
    fn render(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let (token, length) = (&self.token, body.len());
        let kind = if body.is_empty() { String::new() } else { "content-type: application/json\r\n".to_owned() };
        format!(
            "{method} {path} HTTP/1.1\r\nhost: roost\r\nauthorization: Bearer {token}\r\n{kind}content-length: {length}\r\n\r\n\
             {body}"
        )
        .into_bytes()
    }
}
