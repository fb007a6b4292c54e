//! A socket that may fail at any moment, as a client on a bad day sees it: every loss is an answer, none a panic.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::socket::request;

/// How long a client waits for `hello`, or for the host to take a frame.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no line; for people.
#[derive(Debug)]
pub(super) struct Lost(pub(super) String);

/// An open socket.
pub(super) struct Line {
    wire: WebSocketStream<TcpStream>,
}

impl Line {
    /// Opens a socket that goes on after a position; answers the payload of `hello` beside it.
    pub(super) async fn open(host: SocketAddr, token: &str, since: Option<String>) -> Result<(Self, Value), Lost> {
        let opening = async {
            let query = since.map_or_else(String::new, |since| format!("?since={since}"));
            let mut request = request(host, &query);
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
            let stream = TcpStream::connect(host).await.map_err(lost)?;
            let (wire, _) = tokio_tungstenite::client_async(request, stream).await.map_err(lost)?;
            let mut line = Self { wire };
            let mut hello = line.next().await?;
            if hello["type"] != "hello" {
                return Err(Lost(format!("no hello but {hello}")));
            }
            Ok((line, hello["payload"].take()))
        };
        timeout(PATIENCE, opening).await.map_err(lost)?
    }

    /// The next frame.
    pub(super) async fn next(&mut self) -> Result<Value, Lost> {
        loop {
            match self.wire.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).map_err(lost),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => return Err(Lost(format!("{other:?}"))),
                Some(Err(error)) => return Err(lost(error)),
                None => return Err(Lost("the end".to_owned())),
            }
        }
    }

    /// Sends a frame.
    pub(super) async fn say(&mut self, frame: &Value) -> Result<(), Lost> {
        let sent = timeout(PATIENCE, self.wire.send(Message::text(frame.to_string()))).await;
        sent.map_err(lost)?.map_err(lost)
    }
}

fn lost(error: impl std::fmt::Display) -> Lost {
    Lost(error.to_string())
}
