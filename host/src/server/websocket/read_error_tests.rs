//! What is wrong with a client's bytes, as a real socket reports it, and that the client can read the last frame of a
//! socket whatever it has sent.

use axum::Router;
use axum::http::request::Parts;
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::handshake::{self, Handshake};
use super::session::ReadError;
use super::{close, transport};
use crate::config::SocketConfig;
use crate::server::fake::{http_config, socket_config};
use crate::server::http;

const BYTES_MAX: usize = 8;
const HANDSHAKE: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A masked frame, with a mask that changes nothing.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    [&[first_byte, length, 0, 0, 0, 0], payload].concat()
}

/// The error that the host reads when a client sends these bytes and then ends its side, and what the client reads
/// until the host closes the connection.
async fn error_after(bytes: &[u8]) -> (ReadError, Vec<u8>) {
    let (errors, mut received) = mpsc::channel(1);
    let upgrade = move |mut parts: Parts| async move {
        let bounds = SocketConfig { frame_bytes_max: BYTES_MAX, ..socket_config() };
        let handshake = Handshake::of(&mut parts).unwrap();
        handshake.accept(&bounds, move |socket| async move {
            let mut socket = transport(socket);
            if let Some(Err(error)) = socket.next().await {
                errors.send(error).await.unwrap();
            }
            // A client that has disconnected reads nothing.
            let _ = socket.send(close::PROTOCOL_ERROR.message()).await;
            handshake::end(socket.into_inner()).await;
        })
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let router = Router::new().route("/", get(upgrade));
    let serving = tokio::spawn(async move {
        http::serve(std::sync::Arc::new(listener.into()), router, &http_config(), std::future::pending()).await;
    });
    client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let error = received.recv().await.expect("the host read no error");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("the connection ends without a reset");
    serving.abort();
    (error, rest)
}

#[tokio::test]
async fn errors_of_a_socket_are_distinguished_and_its_last_frame_arrives() {
    const TEXT: u8 = 0x81;
    const RESERVED_BIT: u8 = 0x40;
    // The host reads no further than the head of the first frame; the rest must not cost the client the close frame.
    let flood = [frame(TEXT, &[b'x'; 2 * BYTES_MAX + 1]), vec![0; 64 * 1_024]].concat();
    for (bytes, expected) in [
        (flood, ReadError::TooLarge),
        (frame(TEXT, b"\xff\xfe"), ReadError::NotUtf8),
        (frame(TEXT | RESERVED_BIT, b"x"), ReadError::Protocol),
    ] {
        let (error, rest) = error_after(&bytes).await;
        assert_eq!(error, expected);
        assert_eq!(rest, [&[0x88, 16, 3, 234], "protocol_error".as_bytes()].concat(), "{expected:?}");
    }
    assert_eq!(error_after(&[]).await.0, ReadError::Disconnected);
}
