//! Sockets that are opened without a token: their first frame must be `token`, within a bounded time. The session is
//! opened then, completely, or the socket is closed with the reason.
//!
//! A socket that waits for its token counts as a connection, and only so many wait at a time. It belongs to no user,
//! receives nothing, and may send nothing else.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use roost_core::port::{Bus, Feeds};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::close::{self, CloseReason};
use super::frame::{self, ClientFrame};
use super::handshake::{self, Handshake, Socket};
use super::renewal::{self, TOKEN};
use super::session::{self, Transport, answer_close, close_handshake};
use crate::delivery::hub::ReservedPlace;
use crate::ops::metrics::{self, GaugeGuard};
use crate::runtime::dispatcher::Dispatcher;
use crate::server::limits::{Limited, connects};
use crate::server::problem::{ApiError, ErrorCode};
use crate::server::session::{ClientSession, FirstFrames, OpenRequest};
use crate::server::state::AppState;

/// The most pings and pongs that a client may send before its token.
const CONTROL_MESSAGES_MAX: usize = 16;

/// A socket that waits for the token of its client.
pub(super) struct Unauthenticated {
    /// What the client asked for. Its identity is not known yet.
    request: OpenRequest,
    place: ReservedPlace,
    _permit: OwnedSemaphorePermit,
    _waiting: GaugeGuard,
}

impl Unauthenticated {
    /// Takes the places that such a socket needs.
    pub(super) fn admit<F, S>(state: &AppState<F, S>, request: OpenRequest) -> Result<Self, ApiError>
    where
        F: Dispatcher,
        S: Bus + Feeds + 'static,
    {
        let permit = state.unauthenticated.clone().try_acquire_owned().map_err(|_| {
            let allowed = state.socket.unauthenticated_max;
            let detail = format!("{allowed} sockets wait for a token already; connect with a token, or again later");
            ApiError::new(ErrorCode::TooManyConnections, detail).after(state.socket.token_timeout)
        })?;
        let waiting = GaugeGuard::new(&metrics::UNAUTHENTICATED_SOCKETS);
        Ok(Self { request, place: state.hub.reserve()?, _permit: permit, _waiting: waiting })
    }
}

/// Why no session was opened.
enum NotOpened {
    /// The client is gone.
    Disconnected,
    /// The socket is closed for this reason.
    Closed(CloseReason),
    /// The first frame is answered with an error, and the socket is closed.
    Answered { id: Option<String>, error: ApiError },
}

impl From<CloseReason> for NotOpened {
    fn from(reason: CloseReason) -> Self {
        Self::Closed(reason)
    }
}

/// Answers a request without credentials that asks for a socket.
pub(super) fn upgrade<F, S>(
    state: Arc<AppState<F, S>>,
    parts: &mut Parts,
    request: OpenRequest,
) -> Result<Response, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    match Unauthenticated::admit(&state, request).map_err(connects::counted) {
        Ok(waiting) => {
            let handshake = Handshake::of(parts)?;
            let bounds = state.socket.clone();
            Ok(handshake.accept(&bounds, move |socket| serve(state, waiting, socket)))
        }
        Err(error) => super::refuse_upgrade(error, &state.socket, parts),
    }
}

async fn serve<F, S>(state: Arc<AppState<F, S>>, waiting: Unauthenticated, socket: Socket)
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let trace = waiting.request.trace.clone();
    let mut transport = super::transport(socket);
    run(&state, waiting, &trace, &mut transport).await;
    handshake::end(transport.into_inner()).await;
}

/// Waits for the token, opens the session, and runs it; or closes the socket.
pub(super) async fn run<F, S, T>(state: &Arc<AppState<F, S>>, waiting: Unauthenticated, trace: &str, transport: &mut T)
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
    T: Transport,
{
    match open(state, waiting, transport).await {
        Ok((answer, session, first)) => {
            connects::count_opened();
            // It is written together with `hello`.
            if transport.feed(Message::Text(answer.into())).await.is_ok() {
                let end = session::run(session, first, transport).await;
                tracing::debug!(trace, ?end, "socket ended");
            }
        }
        Err(refused) => refuse(refused, trace, transport).await,
    }
}

async fn open<F, S, T>(
    state: &Arc<AppState<F, S>>,
    mut waiting: Unauthenticated,
    transport: &mut T,
) -> Result<(String, ClientSession<F, S>, FirstFrames), NotOpened>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
    T: Transport,
{
    let first = tokio::select! {
        read = timeout(state.socket.token_timeout, read_frame(transport, state.socket.frame_bytes_max)) => {
            read.unwrap_or(Err(NotOpened::Closed(close::UNAUTHENTICATED)))?
        }
        () = waiting.place.draining() => return Err(close::DRAINING.into()),
    };
    let parsed =
        ClientFrame::parse(&first).map_err(|invalid| NotOpened::Answered { id: invalid.id, error: invalid.error });
    let frame = parsed?;
    let id = frame.id.clone();
    let refused = |error| NotOpened::Answered { id: Some(id.clone()), error };
    if frame.name != TOKEN {
        let detail = "the socket was opened without a token: its first frame must be `token`";
        return Err(refused(ApiError::new(ErrorCode::Unauthenticated, detail)));
    }
    metrics::FRAMES_IN.of([TOKEN]).inc();
    let identity = renewal::identify(state, &frame.payload).await.map_err(refused)?;
    let request = OpenRequest { identity, ..waiting.request };
    // From here on the session has a place of its own.
    drop(waiting.place);
    let opened = connect(state, request).await.map_err(connects::counted);
    let (session, first) = opened.map_err(refused)?;
    Ok((renewal::ok_frame(&frame.id, &identity), session, first))
}

async fn connect<F, S>(
    state: &Arc<AppState<F, S>>,
    request: OpenRequest,
) -> Result<(ClientSession<F, S>, FirstFrames), ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let user = request.identity.require_user()?;
    state.limits.count_request(&request.identity, [Limited::Connects]).await?;
    let registration = state.hub.register(user)?;
    ClientSession::connect(state, registration, request).await
}

/// The text of the first frame.
async fn read_frame<T: Transport>(transport: &mut T, bytes_max: usize) -> Result<String, NotOpened> {
    for _ in 0..=CONTROL_MESSAGES_MAX {
        match transport.next().await {
            Some(Ok(Message::Text(text))) if text.len() > bytes_max => return Err(close::TOO_LARGE.into()),
            Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
            Some(Ok(Message::Binary(_))) => return Err(close::BINARY_REFUSED.into()),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) | None => return Err(NotOpened::Disconnected),
            Some(Err(error)) => {
                return Err(session::close_of(error).map_or(NotOpened::Disconnected, NotOpened::Closed));
            }
        }
    }
    Err(close::UNAUTHENTICATED.into())
}

async fn refuse<T: Transport>(refused: NotOpened, trace: &str, transport: &mut T) {
    let (reason, close) = match refused {
        NotOpened::Disconnected => return answer_close(transport).await,
        NotOpened::Closed(reason) => (reason, reason.message()),
        NotOpened::Answered { id, error } => {
            let text = frame::error(id.as_deref(), &error, trace);
            if transport.feed(Message::Text(text.into())).await.is_err() {
                return;
            }
            match error.retry {
                true => (close::TRY_LATER, close::refused(&error)),
                false => (close::UNAUTHENTICATED, close::UNAUTHENTICATED.message()),
            }
        }
    };
    metrics::SOCKETS_CLOSED.of([reason.reason]).inc();
    close_handshake(transport, close).await;
}
