//! A WebSocket client for tests: requests with their answers by id, and pushed frames in the order of arrival.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::{self, Error};
use uuid::Uuid;

use crate::eventually::DEADLINE;
use crate::server::Server;
use crate::token::Token;

/// An open WebSocket connection.
pub struct Socket {
    /// The payload of `hello`, the first frame.
    pub hello: Value,
    wire: WebSocketStream<TcpStream>,
    /// Frames that arrived while the test waited for another one.
    pending: VecDeque<Value>,
    asked: u64,
}

impl Socket {
    /// Opens a socket for this user.
    pub async fn open(server: &Server, user: Uuid) -> Self {
        Self::with(server, &Token::of(user).sign(), "").await
    }

    /// Opens a socket for this user that resumes after a position, `<epoch>:<offset>`.
    pub async fn resume(server: &Server, user: Uuid, since: &str) -> Self {
        Self::with(server, &Token::of(user).sign(), &format!("?since={since}")).await
    }

    /// Opens a socket with this token and this query string.
    pub async fn with(server: &Server, token: &str, query: &str) -> Self {
        let mut request = request(server.listen, query);
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        Self::handshake(server.listen, request).await.expect("the socket opens").0
    }

    /// Opens a socket with this request as it is. `Err` holds the status and the problem document of a refusal.
    pub async fn handshake(address: SocketAddr, request: Request) -> Result<(Self, Response), (u16, Value)> {
        let stream = TcpStream::connect(address).await.expect("the host accepts");
        let opened = timeout(DEADLINE, tokio_tungstenite::client_async(request, stream)).await.expect("in time");
        let (wire, response) = opened.map_err(refusal)?;
        let mut socket = Self { hello: Value::Null, wire, pending: VecDeque::new(), asked: 0 };
        let mut hello = socket.next().await;
        assert_eq!(hello["type"], "hello", "{hello}");
        socket.hello = hello["payload"].take();
        Ok((socket, response))
    }

    /// Opens a socket without credentials and with this query string. No frame has been read from it yet.
    pub async fn without_token(server: &Server, query: &str) -> Self {
        let stream = TcpStream::connect(server.listen).await.expect("the host accepts");
        let opened = tokio_tungstenite::client_async(request(server.listen, query), stream);
        let (wire, _) = timeout(DEADLINE, opened).await.expect("in time").expect("the socket opens");
        Self { hello: Value::Null, wire, pending: VecDeque::new(), asked: 0 }
    }

    /// Opens a socket over a connection with a small receive buffer, so that the host soon cannot send more.
    pub async fn narrow(server: &Server, user: Uuid) -> Self {
        let tcp = TcpSocket::new_v4().expect("a socket");
        tcp.set_recv_buffer_size(32 * 1_024).expect("a small buffer");
        let stream = tcp.connect(server.listen).await.expect("the host accepts");
        let request = request(server.listen, &format!("?token={}", Token::of(user).sign()));
        let (wire, _) = tokio_tungstenite::client_async(request, stream).await.expect("the socket opens");
        Self { hello: Value::Null, wire, pending: VecDeque::new(), asked: 0 }
    }

    /// The position of the feed in `hello`.
    pub fn position(&self) -> String {
        position(&self.hello)
    }

    /// Sends a request and returns its whole answer, `ok` or `error`.
    pub async fn request(&mut self, name: &str, payload: Value) -> Value {
        let id = self.send_request(name, payload).await;
        self.answer(&id).await
    }

    /// Sends a request without waiting for the answer; returns its id.
    pub async fn send_request(&mut self, name: &str, payload: Value) -> String {
        self.asked += 1;
        let id = self.asked.to_string();
        self.text(&json!({ "id": id, "type": name, "payload": payload }).to_string()).await;
        id
    }

    /// The answer to the request with this id.
    pub async fn answer(&mut self, id: &str) -> Value {
        self.find(&format!("the answer to {id}"), |frame| frame["id"] == id).await
    }

    /// Sends a request that must succeed; returns the payload of the answer.
    pub async fn ok(&mut self, name: &str, payload: Value) -> Value {
        let mut answer = self.request(name, payload).await;
        assert_eq!(answer["type"], "ok", "{name}: {answer}");
        answer["payload"].take()
    }

    /// Sends a request that must be refused with this code.
    pub async fn refused(&mut self, name: &str, payload: Value, code: &str) {
        let answer = self.request(name, payload).await;
        is_error(&answer, code);
    }

    /// The next pushed frame of this type; other frames are kept for later.
    pub async fn expect(&mut self, name: &str) -> Value {
        self.find(name, |frame| frame["type"] == name && frame.get("id").is_none()).await
    }

    /// The next error frame without an id.
    pub async fn expect_error(&mut self) -> Value {
        self.find("an error", |frame| frame["type"] == "error" && frame["id"].is_null()).await
    }

    /// The payload of the next pushed frame of this type.
    pub async fn payload(&mut self, name: &str) -> Value {
        self.expect(name).await["payload"].take()
    }

    /// The next frame of any type.
    pub async fn next(&mut self) -> Value {
        match self.pending.pop_front() {
            Some(frame) => frame,
            None => self.read().await.unwrap_or_else(|close| panic!("the socket was closed: {close:?}")),
        }
    }

    /// The next frame of any type, or the close code and the reason. `None` if nothing arrives within this time.
    pub async fn next_within(&mut self, span: Duration) -> Option<Result<Value, (u16, String)>> {
        match self.pending.pop_front() {
            Some(frame) => Some(Ok(frame)),
            None => timeout(span, read(&mut self.wire)).await.ok(),
        }
    }

    /// Frames that arrived while the test waited for others.
    pub fn pending_frames(&self) -> impl Iterator<Item = &Value> {
        self.pending.iter()
    }

    /// Sends a text frame as it is.
    pub async fn text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    /// Sends a WebSocket message as it is.
    pub async fn send(&mut self, message: Message) {
        timeout(DEADLINE, self.wire.send(message)).await.expect("in time").expect("the socket is open");
    }

    /// Reads for this long, which answers the host's pings. Frames that arrive are kept for later.
    ///
    /// # Panics
    /// If the host closes the connection.
    pub async fn listen(&mut self, span: Duration) {
        let reading = async {
            loop {
                match read(&mut self.wire).await {
                    Ok(frame) => self.pending.push_back(frame),
                    Err(close) => panic!("the socket was closed: {close:?}; {:?}", self.pending),
                }
            }
        };
        // Reading ends only with the timeout.
        let _ = timeout(span, reading).await;
    }

    /// Reads until the host closes; returns the close code and the reason. Frames before the close are kept.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.read().await {
                Ok(frame) => self.pending.push_back(frame),
                Err(close) => return close,
            }
        }
    }

    /// Reads until the host closes and sends nothing meanwhile, not even pongs; returns the close code and the reason.
    pub async fn closed_while_silent(self) -> (u16, String) {
        let mut bytes = Vec::new();
        let mut stream = self.wire.into_inner();
        timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("in time").expect("the host closes");
        // In the last frame, the first byte marks a close frame and the next byte is its length.
        let close = bytes.windows(2).rposition(|head| head[0] == 0x88 && usize::from(head[1]) + 2 <= bytes.len());
        let frame = &bytes[close.expect("a close frame") + 2..];
        (u16::from_be_bytes([frame[0], frame[1]]), String::from_utf8_lossy(&frame[2..]).into_owned())
    }

    /// Closes the connection with a close frame.
    pub async fn close(mut self) {
        self.wire.close(None).await.expect("a close frame is sent");
        while let Some(Ok(_)) = timeout(DEADLINE, self.wire.next()).await.expect("in time") {}
    }

    /// Resets the connection without a close frame.
    pub fn reset(self) {
        let stream = self.wire.into_inner();
        stream.set_zero_linger().expect("no lingering");
    }

    async fn find(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        if let Some(index) = self.pending.iter().position(&is) {
            return self.pending.remove(index).expect("it is there");
        }
        loop {
            match self.read().await {
                Ok(frame) if is(&frame) => return frame,
                Ok(frame) => self.pending.push_back(frame),
                Err(close) => panic!("waiting for {what}: closed: {close:?}; {:?}", self.pending),
            }
        }
    }

    /// The next frame, or the close code and reason. Pings do not extend the deadline.
    async fn read(&mut self) -> Result<Value, (u16, String)> {
        let read = timeout(DEADLINE, read(&mut self.wire)).await;
        read.unwrap_or_else(|_| panic!("no frame arrived in time; before: {:?}", self.pending))
    }
}

async fn read(wire: &mut WebSocketStream<TcpStream>) -> Result<Value, (u16, String)> {
    loop {
        match wire.next().await {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("frames are JSON")),
            Some(Ok(Message::Close(Some(close)))) => return Err((close.code.into(), close.reason.as_str().to_owned())),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => return Err((0, format!("{other:?}"))),
        }
    }
}

/// A handshake request without credentials.
pub fn request(address: SocketAddr, query: &str) -> Request {
    format!("ws://{address}/v1/socket{query}").into_client_request().expect("a request")
}

/// The feed position of a frame or a `hello`.
pub fn position(value: &Value) -> String {
    let (epoch, offset) = (value["epoch"].as_str(), value["offset"].as_u64());
    format!("{}:{}", epoch.expect("an epoch"), offset.expect("an offset"))
}

/// Asserts that a frame is an error with this code.
pub fn is_error(answer: &Value, code: &str) {
    assert_eq!((&answer["type"], &answer["error"]["code"]), (&json!("error"), &json!(code)), "{answer}");
    let error = &answer["error"];
    assert!(error["message"].is_string() && error["retry"].is_boolean() && error["trace"].is_string(), "{answer}");
}

fn refusal(error: Error) -> (u16, Value) {
    let tungstenite::Error::Http(response) = error else { panic!("no refusal: {error}") };
    let status = response.status().as_u16();
    (status, serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap_or_default())
}
