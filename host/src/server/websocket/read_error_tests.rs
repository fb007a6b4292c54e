//! What is wrong with a client's bytes, as a real socket of axum reports it. If an upgrade brings another version of
//! tungstenite than the one that axum uses, its errors can no longer be recognized, and this test fails.

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::read_error;
use super::session::ReadError;
use crate::server::fake::http_config;
use crate::server::http;

const BYTES_MAX: usize = 8;
const HANDSHAKE: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A masked frame, with a mask that changes nothing.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let length = 0x80 | u8::try_from(payload.len()).unwrap();
    [&[first_byte, length, 0, 0, 0, 0], payload].concat()
}

/// The error that the host reads when a client sends these bytes and then closes the connection.
async fn error_after(bytes: &[u8]) -> ReadError {
    let (errors, mut received) = mpsc::channel(1);
    let upgrade = move |handshake: WebSocketUpgrade| async move {
        let limited = handshake.max_message_size(BYTES_MAX).max_frame_size(BYTES_MAX);
        limited.on_upgrade(move |mut socket| async move {
            if let Some(Err(error)) = socket.recv().await {
                errors.send(read_error(error)).await.unwrap();
            }
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
    serving.abort();
    error
}

#[tokio::test]
async fn errors_of_a_socket_are_distinguished_by_their_type() {
    const TEXT: u8 = 0x81;
    const RESERVED_BIT: u8 = 0x40;
    for (bytes, expected) in [
        (frame(TEXT, &[b'x'; BYTES_MAX + 1]), ReadError::TooLarge),
        (frame(TEXT, b"\xff\xfe"), ReadError::NotUtf8),
        (frame(TEXT | RESERVED_BIT, b"x"), ReadError::Protocol),
        (Vec::new(), ReadError::Disconnected),
    ] {
        assert_eq!(error_after(&bytes).await, expected, "{bytes:?}");
    }
}
