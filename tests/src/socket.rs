//! A client over WebSocket: questions and their answers by id, and pushed frames in the order they came.

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

use crate::server::{DEADLINE, Server};
use crate::token::Token;

/// An open socket.
pub struct Socket {
    /// The payload of the first frame.
    pub hello: Value,
    wire: WebSocketStream<TcpStream>,
    /// Came while something else was waited for.
    pending: VecDeque<Value>,
    asked: u64,
}

impl Socket {
    /// Opens a socket of this user.
    pub async fn open(server: &Server, user: Uuid) -> Self {
        Self::with(server, &Token::of(user).sign(), "").await
    }

    /// Opens a socket of this user that goes on after a position, `<epoch>:<offset>`.
    pub async fn resume(server: &Server, user: Uuid, since: &str) -> Self {
        Self::with(server, &Token::of(user).sign(), &format!("?since={since}")).await
    }

    /// Opens a socket with this token and this query.
    pub async fn with(server: &Server, token: &str, query: &str) -> Self {
        let mut request = request(server.listen, query);
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        Self::handshake(server.listen, request).await.expect("the socket opens").0
    }

    /// Opens a socket with whatever this request says; `Err`: the status, the code and the answer's text.
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

    /// Opens a socket over a connection that takes little before somebody reads it.
    pub async fn narrow(server: &Server, user: Uuid) -> Self {
        let tcp = TcpSocket::new_v4().expect("a socket");
        tcp.set_recv_buffer_size(32 * 1_024).expect("a small buffer");
        let stream = tcp.connect(server.listen).await.expect("the host accepts");
        let request = request(server.listen, &format!("?token={}", Token::of(user).sign()));
        let (wire, _) = tokio_tungstenite::client_async(request, stream).await.expect("the socket opens");
        Self { hello: Value::Null, wire, pending: VecDeque::new(), asked: 0 }
    }

    /// Where the feed stood at `hello`.
    pub fn position(&self) -> String {
        position(&self.hello)
    }

    /// Says something and answers the whole answer, `ok` or `error`.
    pub async fn request(&mut self, name: &str, payload: Value) -> Value {
        let id = self.say(name, payload).await;
        self.answer(&id).await
    }

    /// Says something without waiting for the answer; its id.
    pub async fn say(&mut self, name: &str, payload: Value) -> String {
        self.asked += 1;
        let id = self.asked.to_string();
        self.text(&json!({ "id": id, "type": name, "payload": payload }).to_string()).await;
        id
    }

    /// The answer to what was said under this id.
    pub async fn answer(&mut self, id: &str) -> Value {
        self.find(&format!("the answer to {id}"), |frame| frame["id"] == id).await
    }

    /// Says something that must work; the answer's payload.
    pub async fn ok(&mut self, name: &str, payload: Value) -> Value {
        let mut answer = self.request(name, payload).await;
        assert_eq!(answer["type"], "ok", "{name}: {answer}");
        answer["payload"].take()
    }

    /// Says something that must be refused with this code.
    pub async fn refused(&mut self, name: &str, payload: Value, code: &str) {
        let answer = self.request(name, payload).await;
        is_error(&answer, code);
    }

    /// The next pushed frame of this type; what else comes is kept.
    pub async fn expect(&mut self, name: &str) -> Value {
        self.find(name, |frame| frame["type"] == name && frame.get("id").is_none()).await
    }

    /// The next error that answers no frame with an id.
    pub async fn expect_error(&mut self) -> Value {
        self.find("an error", |frame| frame["type"] == "error" && frame["id"].is_null()).await
    }

    /// The payload of the next pushed frame of this type.
    pub async fn payload(&mut self, name: &str) -> Value {
        self.expect(name).await["payload"].take()
    }

    /// The next frame whatever it is.
    pub async fn next(&mut self) -> Value {
        match self.pending.pop_front() {
            Some(frame) => frame,
            None => self.read().await.unwrap_or_else(|close| panic!("the socket was closed: {close:?}")),
        }
    }

    /// Frames that came while others were waited for.
    pub fn kept(&self) -> impl Iterator<Item = &Value> {
        self.pending.iter()
    }

    /// Sends text as it is.
    pub async fn text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    /// Sends a message as it is.
    pub async fn send(&mut self, message: Message) {
        timeout(DEADLINE, self.wire.send(message)).await.expect("in time").expect("the socket is open");
    }

    /// Reads for so long, which answers the host's pings. What comes is kept.
    ///
    /// # Panics
    /// When the host closes.
    pub async fn listen(&mut self, span: Duration) {
        let reading = async {
            loop {
                match read(&mut self.wire).await {
                    Ok(frame) => self.pending.push_back(frame),
                    Err(close) => panic!("the socket was closed: {close:?}; {:?}", self.pending),
                }
            }
        };
        // It always ends with the time.
        let _ = timeout(span, reading).await;
    }

    /// Reads until the host closes; the close code and reason. What came before is kept.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.read().await {
                Ok(frame) => self.pending.push_back(frame),
                Err(close) => return close,
            }
        }
    }

    /// Reads until the host closes and says nothing meanwhile, not even pongs; the close code and reason.
    pub async fn watched_in_silence(self) -> (u16, String) {
        let mut bytes = Vec::new();
        let mut stream = self.wire.into_inner();
        timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("in time").expect("the host closes");
        // The last frame: its first byte says that it closes, the next how long it is.
        let close = bytes.windows(2).rposition(|head| head[0] == 0x88 && usize::from(head[1]) + 2 <= bytes.len());
        let frame = &bytes[close.expect("a close frame") + 2..];
        (u16::from_be_bytes([frame[0], frame[1]]), String::from_utf8_lossy(&frame[2..]).into_owned())
    }

    /// Leaves with a goodbye.
    pub async fn close(mut self) {
        self.wire.close(None).await.expect("a close frame is sent");
        while let Some(Ok(_)) = timeout(DEADLINE, self.wire.next()).await.expect("in time") {}
    }

    /// Vanishes without a word: the connection is reset.
    pub fn vanish(self) {
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

    /// The next frame, or how the socket was closed. Pings do not extend the deadline.
    async fn read(&mut self) -> Result<Value, (u16, String)> {
        let read = timeout(DEADLINE, read(&mut self.wire)).await;
        read.unwrap_or_else(|_| panic!("nothing came; before: {:?}", self.pending))
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

/// The handshake of a client that shows nothing.
pub fn request(address: SocketAddr, query: &str) -> Request {
    format!("ws://{address}/v1/socket{query}").into_client_request().expect("a request")
}

/// Where a frame or a `hello` stands in the feed.
pub fn position(value: &Value) -> String {
    let (epoch, offset) = (value["epoch"].as_str(), value["offset"].as_u64());
    format!("{}:{}", epoch.expect("an epoch"), offset.expect("an offset"))
}

/// Holds an error frame against its code.
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
