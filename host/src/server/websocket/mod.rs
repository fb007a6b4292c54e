//! `GET /v1/socket`: admits a client, opens its session, and serves it over a socket of tungstenite.
//!
//! What is exchanged over a socket is in `session.rs`; only this file and `handshake.rs` know the type of the socket.

mod answer;
pub(crate) mod close;
mod first_frame;
pub mod frame;
mod handshake;
mod pending;
#[cfg(test)]
mod read_error_tests;
pub(crate) mod renewal;
mod session;
#[cfg(test)]
pub(crate) mod tests;
mod timers;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::ORIGIN;
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::TryStreamExt;
use futures_util::stream::MapErr;
use roost_core::feed::Position;
use roost_core::port::{Bus, Feeds};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;

pub(crate) use answer::{SyncPayload, answer_text};
use handshake::{Handshake, Socket};
use session::ReadError;

use crate::config::SocketConfig;
use crate::delivery::event::parse_since;
use crate::runtime::dispatcher::Dispatcher;
use crate::server::auth::{Credentials, Identity};
use crate::server::http::query;
use crate::server::limits::{Limited, connects};
use crate::server::problem::{ApiError, ErrorCode, TraceId, TracedError};
use crate::server::session::{ClientSession, FirstFrames, OpenRequest, SessionKind};
use crate::server::state::AppState;

/// Answers `GET /v1/socket`.
pub(crate) async fn get<F, S>(State(state): State<Arc<AppState<F, S>>>, parts: Parts) -> Result<Response, TracedError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let trace = TraceId::of(&parts.extensions);
    upgrade(state, parts, &trace.0).await.map_err(|error| TracedError(error, trace))
}

/// Opens the whole session before the handshake, so that a client that cannot be connected is told with a status and a
/// time.
async fn upgrade<F, S>(state: Arc<AppState<F, S>>, mut parts: Parts, trace: &str) -> Result<Response, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let is_page = parts.headers.contains_key(ORIGIN);
    let request = match check(&state, &parts, trace).await {
        Ok(request) => request,
        Err(error) => return refuse_upgrade(error, &state.socket, &mut parts),
    };
    if request.identity == Identity::Anonymous {
        return first_frame::upgrade(state, &mut parts, request);
    }
    let user = request.identity.require_user()?;
    let admitted = state.limits.count_request(&request.identity, [Limited::Connects]).await;
    let registration = match admitted.and_then(|()| state.hub.register(user)).map_err(connects::counted) {
        Ok(registration) => registration,
        Err(error) => return refuse_upgrade(error, &state.socket, &mut parts),
    };
    let handshake = Handshake::of(&mut parts)?;
    match ClientSession::connect(&state, registration, request).await.map_err(connects::counted) {
        Ok((session, first)) => {
            connects::count_opened();
            Ok(handshake.accept(&state.socket, move |socket| serve(session, first, socket)))
        }
        Err(error) if is_page && error.retry => {
            Ok(handshake.accept(&state.socket, move |socket| refuse(error, socket)))
        }
        Err(error) => Err(error),
    }
}

/// Refuses a request before its handshake. A page cannot see the status of a refused handshake, and sees the reason of
/// a close: so the handshake succeeds where the page may come back.
fn refuse_upgrade(error: ApiError, bounds: &SocketConfig, parts: &mut Parts) -> Result<Response, ApiError> {
    let is_page = parts.headers.contains_key(ORIGIN);
    if !(is_page && error.retry && handshake::asks_for_upgrade(&parts.headers)) {
        return Err(error);
    }
    Ok(Handshake::of(parts)?.accept(bounds, move |socket| refuse(error, socket)))
}

/// Makes every check that needs nothing but the request. A socket without credentials gets its user later.
async fn check<F, S>(state: &Arc<AppState<F, S>>, parts: &Parts, trace: &str) -> Result<OpenRequest, ApiError>
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
    let identity: Identity = state.identify_credentials(&Credentials::of_stream(headers, &query)?).await?;
    let asks_for_upgrade = handshake::asks_for_upgrade(headers);
    if identity != Identity::Anonymous || !asks_for_upgrade {
        identity.require_user()?;
    }
    if !asks_for_upgrade {
        return Err(ErrorCode::UpgradeRequired.into());
    }
    Ok(OpenRequest { identity, kind: SessionKind::Socket, since, trace: trace.to_owned() })
}

async fn serve<F, S>(session: ClientSession<F, S>, first: FirstFrames, socket: Socket)
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let trace = session.trace.clone();
    let mut socket = transport(socket);
    let end = session::run(session, first, &mut socket).await;
    tracing::debug!(trace, ?end, "socket ended");
    handshake::end(socket.into_inner()).await;
}

/// Closes a socket whose session could not be opened, with the code of the refusal and the time to come back.
async fn refuse(error: ApiError, socket: Socket) {
    let mut socket = transport(socket);
    session::close_handshake(&mut socket, close::refused(&error)).await;
    handshake::end(socket.into_inner()).await;
}

/// The socket as a session reads and writes it.
fn transport(socket: Socket) -> MapErr<Socket, fn(Error) -> ReadError> {
    socket.map_err(read_error as fn(Error) -> ReadError)
}

/// What an error of the socket means for its session.
fn read_error(error: Error) -> ReadError {
    match error {
        Error::Capacity(_) => ReadError::TooLarge,
        Error::Utf8(_) => ReadError::NotUtf8,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => ReadError::Disconnected,
        Error::Protocol(_) => ReadError::Protocol,
        _ => ReadError::Disconnected,
    }
}
