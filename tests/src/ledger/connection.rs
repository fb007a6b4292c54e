//! A socket that may fail at any time: every lost connection is reported as an error, and none causes a panic.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::socket::request;

/// How long a client waits for `hello`, or for the host to accept a frame.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The reason why there is no connection, for messages.
#[derive(Debug)]
pub(super) struct ConnectionLost(pub(super) String);

/// An open connection of a device.
pub(super) struct DeviceConnection {
    wire: WebSocketStream<TcpStream>,
}

impl DeviceConnection {
    /// Opens a connection that resumes after a position; returns it with the payload of `hello`.
    pub(super) async fn open(
        host: SocketAddr,
        token: &str,
        since: Option<String>,
    ) -> Result<(Self, Value), ConnectionLost> {
        let opening = async {
            let query = since.map_or_else(String::new, |since| format!("?since={since}"));
            let mut request = request(host, &query);
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
            let stream = TcpStream::connect(host).await.map_err(connection_lost)?;
            let (wire, _) = tokio_tungstenite::client_async(request, stream).await.map_err(connection_lost)?;
            let mut connection = Self { wire };
            let mut hello = connection.next().await?;
            if hello["type"] != "hello" {
                return Err(ConnectionLost(format!("no hello but {hello}")));
            }
            Ok((connection, hello["payload"].take()))
        };
        timeout(RESPONSE_TIMEOUT, opening).await.map_err(connection_lost)?
    }

    /// Reads the next frame.
    pub(super) async fn next(&mut self) -> Result<Value, ConnectionLost> {
        loop {
            match self.wire.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).map_err(connection_lost),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => return Err(ConnectionLost(format!("{other:?}"))),
                Some(Err(error)) => return Err(connection_lost(error)),
                None => return Err(ConnectionLost("the connection has ended".to_owned())),
            }
        }
    }

    /// Sends a frame.
    pub(super) async fn send(&mut self, frame: &Value) -> Result<(), ConnectionLost> {
        let sent = timeout(RESPONSE_TIMEOUT, self.wire.send(Message::text(frame.to_string()))).await;
        sent.map_err(connection_lost)?.map_err(connection_lost)
    }
}

fn connection_lost(error: impl std::fmt::Display) -> ConnectionLost {
    ConnectionLost(error.to_string())
}
