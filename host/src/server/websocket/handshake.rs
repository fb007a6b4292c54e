//! The opening handshake of RFC 6455: checks the request, answers with the switch of protocols, and hands the socket
//! over. How sockets end is here too: a connection is closed so that its client can read the last frame.

use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use axum::response::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::config::SocketConfig;
use crate::server::auth::{SUBPROTOCOL, parse_subprotocols};
use crate::server::problem::{ApiError, ErrorCode};

/// These buffers take most of the memory of an idle connection.
const READ_BUFFER_BYTES: usize = 2_048;
const WRITE_BUFFER_BYTES: usize = 16 * 1_024;
/// The only version of the protocol.
const VERSION: &[u8] = b"13";
/// How long the host waits, after its last frame, for the client to close the connection.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// How much is read and dropped meanwhile.
const LINGER_BYTES_MAX: u64 = 1 << 20;

/// An open socket.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A valid request for a socket.
pub(super) struct Handshake {
    accept: HeaderValue,
    protocol: Option<HeaderValue>,
    upgrade: OnUpgrade,
}

impl Handshake {
    /// Reads the handshake of a request.
    pub(super) fn of(parts: &mut Parts) -> Result<Self, ApiError> {
        if parts.method != Method::GET || parts.version < Version::HTTP_11 {
            return Err(invalid("a handshake is a `GET` of HTTP/1.1"));
        }
        let headers = &parts.headers;
        if !asks_for_upgrade(headers) {
            return Err(ErrorCode::UpgradeRequired.into());
        }
        let version = headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
        if version.is_some_and(|version| version != VERSION) {
            let detail =
                "the host speaks version 13 of the WebSocket protocol and no other; connect with a client of it";
            return Err(ApiError::new(ErrorCode::UpgradeRequired, detail));
        }
        let accept = accept_of(headers)?;
        if version.is_none() {
            return Err(invalid("the header `Sec-WebSocket-Version` is missing"));
        }
        let protocol = offers_protocol(headers).then_some(HeaderValue::from_static(SUBPROTOCOL));
        // Missing where a proxy in front does not let connections switch.
        let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or(ErrorCode::UpgradeRequired)?;
        Ok(Self { accept, protocol, upgrade })
    }

    /// Answers with the switch of protocols. `serve` gets the socket as soon as the connection has switched.
    pub(super) fn accept<C, S>(self, bounds: &SocketConfig, serve: C) -> Response
    where
        C: FnOnce(Socket) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let Self { accept, protocol, upgrade } = self;
        // The session refuses frames beyond the bound and can still read on. Beyond this limit it cannot.
        let bytes_max = Some(bounds.frame_bytes_max.saturating_mul(2));
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(bytes_max)
            .max_frame_size(bytes_max);
        tokio::spawn(async move {
            // A client that has disconnected meanwhile needs no socket.
            let Ok(upgraded) = upgrade.await else { return };
            let stream = TokioIo::new(upgraded);
            serve(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await).await;
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(protocol) = protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response
    }
}

/// Whether a request asks for a socket at all.
pub(super) fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket") && has_token(headers, &CONNECTION, "upgrade")
}

/// Ends the connection of a socket after its last frame. To close it while the client's bytes are unread would reset
/// it, and a client may then lose the close frame.
pub(super) async fn end(socket: Socket) {
    let mut stream = socket.into_inner();
    let ending = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    };
    // The connection is closed in any case.
    let _ = timeout(LINGER_TIME, ending).await;
}

/// The proof for the client that the host has read its key: 16 bytes in base64.
fn accept_of(headers: &HeaderMap) -> Result<HeaderValue, ApiError> {
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter().map(HeaderValue::as_bytes);
    match (keys.next(), keys.next()) {
        (None, _) => Err(invalid("the header `Sec-WebSocket-Key` is missing")),
        (Some(key), None) if is_key(key) => HeaderValue::from_str(&derive_accept_key(key))
            .map_err(|_| invalid("the header `Sec-WebSocket-Key` cannot be answered")),
        _ => Err(invalid("the header `Sec-WebSocket-Key` must be sent once, and be 16 bytes in base64")),
    }
}

fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
}

/// Whether a header that is a list has this element.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|element| element.trim().eq_ignore_ascii_case(token))
}

fn offers_protocol(headers: &HeaderMap) -> bool {
    let mut offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offered.any(|value| parse_subprotocols(value).0)
}

fn invalid(what: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidUpgrade, format!("{what}; connect with a WebSocket client of version 13"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    /// The error of a handshake with these headers in place of the valid ones; a header without a value is left out.
    fn error(changed: &[(&str, Option<&str>)]) -> ApiError {
        let valid = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        let mut request = Request::get("/");
        for (name, value) in valid.into_iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name)) {
            request = request.header(name, value);
        }
        for (name, value) in changed {
            request = value.iter().fold(request, |request, value| request.header(*name, *value));
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        Handshake::of(&mut parts).err().expect("there is no connection to upgrade")
    }

    #[test]
    fn the_key_is_answered_as_in_the_rfc() {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static(KEY));
        assert_eq!(accept_of(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        headers.append(SEC_WEBSOCKET_KEY, HeaderValue::from_static(KEY));
        assert!(accept_of(&headers).is_err(), "a key is sent once");
    }

    #[test]
    fn a_handshake_that_is_not_valid_is_refused_with_what_is_wrong() {
        // Everything is valid here but the connection, which a test without a listener does not have.
        assert!(error(&[]).is(ErrorCode::UpgradeRequired));
        for (name, value) in [("upgrade", None), ("upgrade", Some("h2c")), ("connection", Some("close, upgrades"))] {
            assert!(error(&[(name, value)]).is(ErrorCode::UpgradeRequired), "{name}: {value:?}");
        }
        let other = error(&[("sec-websocket-version", Some("8")), ("sec-websocket-key", None)]);
        assert!(other.is(ErrorCode::UpgradeRequired) && other.detail.contains("version 13"), "{other:?}");
        for key in
            [None, Some(""), Some("c2hvcnQ="), Some("dGhlIHNhbXBsZSBub25jZ!=="), Some("dGhlIHNhbXBsZSBub25jZQAA")]
        {
            let found = error(&[("sec-websocket-key", key)]);
            assert!(found.is(ErrorCode::InvalidUpgrade) && found.detail.contains("Sec-WebSocket-Key"), "{key:?}");
        }
        let found = error(&[("sec-websocket-version", None)]);
        assert!(found.is(ErrorCode::InvalidUpgrade) && found.detail.contains("Sec-WebSocket-Version"));
    }

    #[test]
    fn other_methods_and_older_versions_have_no_handshake() {
        let (mut head, ()) = Request::head("/").body(()).unwrap().into_parts();
        assert!(Handshake::of(&mut head).err().unwrap().is(ErrorCode::InvalidUpgrade));
        let (mut old, ()) = Request::get("/").version(Version::HTTP_10).body(()).unwrap().into_parts();
        assert!(Handshake::of(&mut old).err().unwrap().is(ErrorCode::InvalidUpgrade));
    }
}
