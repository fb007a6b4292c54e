//! `GET /v1/socket`: the handshake, and axum's socket as the transport of a session.
//!
//! What is exchanged over a socket is in `session.rs`; only this file uses axum's socket type.

mod answer;
pub(crate) mod close;
pub mod frame;
mod pending;
#[cfg(test)]
mod read_error_tests;
mod session;
#[cfg(test)]
pub(crate) mod tests;
mod timers;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, State};
use axum::http::header::{CONNECTION, ORIGIN, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use futures_util::StreamExt;
use roost_core::feed::Position;
use roost_core::port::{Bus, Feeds};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

pub(crate) use answer::answer_text;
use session::ReadError;

use crate::config::SocketConfig;
use crate::delivery::event::parse_since;
use crate::runtime::dispatcher::Dispatcher;
use crate::server::auth::{Credentials, Identity, SUBPROTOCOL, parse_subprotocols};
use crate::server::http::query;
use crate::server::limits::{Limited, connects};
use crate::server::problem::{ApiError, ErrorCode, TraceId, TracedError};
use crate::server::session::{ClientSession, FirstFrames, OpenRequest, SessionKind};
use crate::server::state::AppState;

/// These buffers take most of the memory of an idle connection.
const READ_BUFFER_BYTES: usize = 2_048;
const WRITE_BUFFER_BYTES: usize = 16 * 1_024;
/// How long a refused client may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers `GET /v1/socket`.
pub(crate) async fn get<F, S>(State(state): State<Arc<AppState<F, S>>>, parts: Parts) -> Result<Response, TracedError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let trace = TraceId::of(&parts.extensions);
    upgrade(state, parts, &trace.0).await.map_err(|error| TracedError(error, trace))
}

/// Opens the whole session before the handshake, so that a client that cannot be connected is told with a status and a time.
async fn upgrade<F, S>(state: Arc<AppState<F, S>>, mut parts: Parts, trace: &str) -> Result<Response, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let is_page = parts.headers.contains_key(ORIGIN);
    let request = check(&state, &parts, trace)?;
    let user = request.identity.require_user()?;
    let admitted = state.limits.count_request(&request.identity, [Limited::Connects]).await;
    let registered = admitted.and_then(|()| state.hub.register(user)).map_err(connects::counted);
    let handshake = match &registered {
        Err(error) if !(is_page && error.retry) => return Err(error.clone()),
        _ => handshake(&mut parts, &state.socket).await?,
    };
    let opened = match registered {
        Ok(registration) => {
            let opened = ClientSession::connect(&state, registration, request).await;
            opened.map_err(connects::counted)
        }
        Err(error) => Err(error),
    };
    match opened {
        Ok((session, first)) => {
            connects::count_opened();
            Ok(handshake.on_upgrade(move |socket| serve(session, first, socket)))
        }
        // A page cannot see the status of a refused handshake, and sees the reason of a close.
        Err(error) if is_page && error.retry => Ok(handshake.on_upgrade(move |socket| refuse(error, socket))),
        Err(error) => Err(error),
    }
}

async fn handshake(parts: &mut Parts, bounds: &SocketConfig) -> Result<WebSocketUpgrade, ApiError> {
    let offers_protocol = offers_protocol(&parts.headers);
    let handshake = WebSocketUpgrade::from_request_parts(parts, &()).await;
    let mut handshake = handshake.map_err(|rejection| handshake_error(&rejection, &parts.headers))?;
    if offers_protocol {
        handshake.set_selected_protocol(HeaderValue::from_static(SUBPROTOCOL));
    }
    let bytes_max = bounds.frame_bytes_max;
    Ok(handshake
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        // The session refuses frames beyond the bound and can still read on. Beyond this limit it cannot.
        .max_message_size(bytes_max.saturating_mul(2))
        .max_frame_size(bytes_max.saturating_mul(2)))
}

/// Makes every check that needs nothing but the request.
fn check<F, S>(state: &Arc<AppState<F, S>>, parts: &Parts, trace: &str) -> Result<OpenRequest, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let headers = &parts.headers;
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    if !state.auth.origin_allowed(origin) {
        return Err(ErrorCode::OriginNotAllowed.into());
    }
    let query = query::parse(parts.uri.query().unwrap_or_default())?;
    let since: Option<Position> = query::value(&query, "since").map(parse_since).transpose()?;
    let identity: Identity = state.identify_credentials(&Credentials::of_stream(headers, &query)?)?;
    identity.require_user()?;
    if !headers.contains_key(UPGRADE) || !headers.contains_key(CONNECTION) {
        return Err(ErrorCode::UpgradeRequired.into());
    }
    Ok(OpenRequest { identity, kind: SessionKind::Socket, since, trace: trace.to_owned() })
}

fn offers_protocol(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offered.into_iter().any(|value| parse_subprotocols(value).0)
}

fn handshake_error(rejection: &WebSocketUpgradeRejection, headers: &HeaderMap) -> ApiError {
    match rejection {
        WebSocketUpgradeRejection::ConnectionNotUpgradable(_) => ErrorCode::UpgradeRequired.into(),
        _ if headers.get(UPGRADE).is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"websocket")) => {
            ErrorCode::UpgradeRequired.into()
        }
        other => {
            let detail = format!("{}; connect with a WebSocket client of version 13", other.body_text());
            ApiError::new(ErrorCode::InvalidUpgrade, detail)
        }
    }
}

async fn serve<F, S>(session: ClientSession<F, S>, first: FirstFrames, socket: WebSocket)
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let trace = session.trace.clone();
    let transport = socket.map(|message| message.map_err(read_error));
    let end = session::run(session, first, transport).await;
    tracing::debug!(trace, ?end, "socket ended");
}

/// Closes a socket whose session could not be opened, with the code of the refusal and the time to come back.
async fn refuse(error: ApiError, mut socket: WebSocket) {
    // A client that is gone already needs no reason.
    let _ = timeout(REFUSAL_TIMEOUT, socket.send(close::refused(&error))).await;
}

/// Translates an error of axum's socket, which wraps an error of tungstenite.
fn read_error(error: axum::Error) -> ReadError {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError;
    match error.into_inner().downcast::<Error>().map(|error| *error) {
        Ok(Error::Capacity(_)) => ReadError::TooLarge,
        Ok(Error::Utf8(_)) => ReadError::NotUtf8,
        Ok(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => ReadError::Disconnected,
        Ok(Error::Protocol(_)) => ReadError::Protocol,
        _ => ReadError::Disconnected,
    }
}
