//! `GET /v1/socket`: the handshake, and axum's socket as the session's wire.
//!
//! What is said over a socket stands in `session.rs`; nothing else here knows axum's socket type.

mod answer;
mod calls;
pub mod close;
pub mod frame;
mod session;
#[cfg(test)]
mod tests;
mod timers;

use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, State};
use axum::http::header::{CONNECTION, ORIGIN, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use roost_core::feed::Position;
use roost_core::port::{Bus, Feeds};

pub use session::{End, ReadError, Wire, run};

use crate::delivery::event::parse_since;
use crate::delivery::hub::Registration;
use crate::runtime::dispatcher::Dispatcher;
use crate::server::auth::{Credentials, Identity, SUBPROTOCOL, parse_subprotocols};
use crate::server::http::query;
use crate::server::problem::{ApiError, Code, TraceId, Traced};
use crate::server::session::{ClientSession, Kind, Opening};
use crate::server::state::AppState;

/// Memory of an idle connection is mostly these buffers.
const READ_BUFFER_BYTES: usize = 2_048;
const WRITE_BUFFER_BYTES: usize = 16 * 1_024;

/// `GET /v1/socket`
pub(crate) async fn get<F, S>(State(state): State<Arc<AppState<F, S>>>, parts: Parts) -> Result<Response, Traced>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let trace = TraceId::of(&parts.extensions);
    upgrade(state, parts, &trace.0).await.map_err(|fault| Traced(fault, trace))
}

async fn upgrade<F, S>(state: Arc<AppState<F, S>>, mut parts: Parts, trace: &str) -> Result<Response, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let (opening, seat) = admit(&state, &parts, trace)?;
    let offers_protocol = offers_protocol(&parts.headers);
    let handshake = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let mut handshake = handshake.map_err(|rejection| refused(&rejection, &parts.headers))?;
    if offers_protocol {
        handshake.set_selected_protocol(HeaderValue::from_static(SUBPROTOCOL));
    }
    let bytes_max = state.socket.frame_bytes_max;
    Ok(handshake
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        // The session itself refuses what is beyond the bound, and can still read on; this is the hard end.
        .max_message_size(bytes_max.saturating_mul(2))
        .max_frame_size(bytes_max.saturating_mul(2))
        .on_upgrade(move |socket| serve(state, seat, opening, socket)))
}

/// Everything that can be refused before there is a socket.
fn admit<F, S>(state: &Arc<AppState<F, S>>, parts: &Parts, trace: &str) -> Result<(Opening, Registration<S>), ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let headers = &parts.headers;
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    if !state.auth.origin_allowed(origin) {
        return Err(Code::OriginNotAllowed.into());
    }
    let query = query::parse(parts.uri.query().unwrap_or_default())?;
    let since: Option<Position> = query::value(&query, "since").map(parse_since).transpose()?;
    let identity: Identity = state.identify_credentials(&Credentials::of_stream(headers, &query)?)?;
    let user = identity.require_user()?;
    if !headers.contains_key(UPGRADE) || !headers.contains_key(CONNECTION) {
        return Err(upgrade_required());
    }
    let seat = state.hub.seat(user)?;
    Ok((Opening { identity, kind: Kind::Socket, since, trace: trace.to_owned() }, seat))
}

fn offers_protocol(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offered.into_iter().any(|value| parse_subprotocols(value).0)
}

fn upgrade_required() -> ApiError {
    ApiError::new(Code::UpgradeRequired, "connect with a WebSocket client; GET /v1/events streams the same events")
}

fn refused(rejection: &WebSocketUpgradeRejection, headers: &HeaderMap) -> ApiError {
    match rejection {
        WebSocketUpgradeRejection::ConnectionNotUpgradable(_) => upgrade_required(),
        _ if headers.get(UPGRADE).is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"websocket")) => {
            upgrade_required()
        }
        other => ApiError::new(Code::InvalidUpgrade, other.body_text()),
    }
}

async fn serve<F, S>(state: Arc<AppState<F, S>>, seat: Registration<S>, opening: Opening, socket: WebSocket)
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let trace = opening.trace.clone();
    let mut wire = socket.map(|message| message.map_err(|error| read_error(&error)));
    match ClientSession::open(state, seat, opening).await {
        Ok((visit, welcome)) => {
            let end = run(visit, welcome, wire).await;
            tracing::debug!(trace, ?end, "socket ended");
        }
        Err(fault) => {
            tracing::warn!(trace, code = %fault.code, "a socket could not be opened");
            let close = if fault.retry { close::TRY_LATER } else { close::INTERNAL };
            // A client that is gone already needs no reason.
            let _ = wire.send(close.message()).await;
        }
    }
}

/// axum hides the error's type, so its text decides.
fn read_error(error: &axum::Error) -> ReadError {
    let text = error.to_string();
    if text.starts_with("Space limit exceeded") {
        ReadError::TooLarge
    } else if text.starts_with("UTF-8") {
        ReadError::NotText
    } else if text.starts_with("WebSocket protocol error") && !text.contains("without closing handshake") {
        ReadError::Protocol
    } else {
        ReadError::Gone
    }
}
