//! Answers a client's frame: by a function, with the current state, or with an error under the frame's id.

use roost_core::feed::Position;
use roost_core::ids::{ConnectionId, UserId};
use roost_core::port::{Bus, Feeds};
use schemars::JsonSchema;
use serde::Deserialize;

use super::frame::{self, ClientFrame};
use super::pending::{PendingAnswer, SocketAnswer};
use crate::delivery::event::{SYNC, parse_since};
use crate::ops::metrics;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::{Caller, Cohort, Invocation, Request};
use crate::server::auth::Identity;
use crate::server::problem::{ApiError, ErrorCode};
use crate::server::refresh::RefreshPermit;
use crate::server::session::ClientSession;
use crate::server::state::AppState;
use crate::server::sync;

/// Who has sent a frame.
struct FrameSender {
    user: UserId,
    connection: ConnectionId,
    /// Whether a service has opened the socket for the user.
    is_service: bool,
}

/// The answer to one frame. It always resolves to a frame, of success or of failure.
pub(super) fn answer<F, S>(client: &ClientSession<F, S>, frame: &ClientFrame, trace: String) -> PendingAnswer
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let state = client.state.clone();
    let (frame, limited) = (frame.clone(), client.limited);
    let sender = FrameSender {
        user: client.connection.user,
        connection: client.connection.id.clone(),
        is_service: matches!(client.identity, Identity::Service { .. }),
    };
    Box::pin(async move {
        // Waiting for the user's other calls takes nothing that others need.
        let place = match limited {
            Some(user) => Some(state.limits.begin_frame(user).await),
            None => None,
        };
        SocketAnswer::Frame(answer_frame(&state, sender, frame, &trace).await, place)
    })
}

/// The answer to the text of one frame, for a client without a socket.
pub(crate) async fn answer_text<F, S>(
    state: &AppState<F, S>,
    (user, connection): (UserId, ConnectionId),
    text: &str,
    trace: &str,
) -> String
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    match ClientFrame::parse(text) {
        Ok(frame) => answer_frame(state, FrameSender { user, connection, is_service: false }, frame, trace).await,
        Err(invalid) => frame::error(invalid.id.as_deref(), &invalid.error, trace),
    }
}

async fn answer_frame<F, S>(state: &AppState<F, S>, sender: FrameSender, frame: ClientFrame, trace: &str) -> String
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let id = frame.id.clone();
    let answer = if frame.name == SYNC {
        metrics::FRAMES_IN.of([SYNC]).inc();
        match since_of(&frame.payload) {
            Ok(since) => sync_state(state, sender.user, since, trace).await,
            Err(error) => Err(error),
        }
    } else {
        call(state, sender, frame, trace).await
    };
    match answer {
        Ok(payload) => frame::ok(&id, &payload),
        Err(error) => frame::error(Some(&id), &error, trace),
    }
}

async fn sync_state<F, S>(
    state: &AppState<F, S>,
    user: UserId,
    since: Option<Position>,
    trace: &str,
) -> Result<String, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let _replay = sync::begin_replay(state, user, since.as_ref()).await?;
    sync::current_state(state, user, since, trace).await.map(|current| current.to_string())
}

/// A pushed frame with the current state, after the host may have missed ephemeral events. It must begin at once,
/// because of its permit: it is submitted when no answer with its ordering key runs.
pub(super) fn refresh<F, S>(client: &ClientSession<F, S>, trace: String, permit: RefreshPermit) -> PendingAnswer
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let (state, user) = (client.state.clone(), client.connection.user);
    Box::pin(async move {
        let current = sync::refresh(&state, user, &trace).await;
        drop(permit);
        current.map_or(SocketAnswer::StateUnavailable, |current| SocketAnswer::Frame(current.encode_text(), None))
    })
}

async fn call<F: Dispatcher, S>(
    state: &AppState<F, S>,
    sender: FrameSender,
    frame: ClientFrame,
    trace: &str,
) -> Result<String, ApiError> {
    let FrameSender { user, connection, is_service } = sender;
    let caller = if is_service { Caller::ServiceFor(user) } else { Caller::User(user) };
    let ClientFrame { name, payload, .. } = frame;
    let Some(target) = state.functions.message(&name, cohort(&caller, state.functions.as_ref())) else {
        metrics::FRAMES_IN.of(["unknown"]).inc();
        return Err(unknown_type(&name));
    };
    // The types that functions answer are few: they can be labels.
    metrics::FRAMES_IN.of([&name]).inc();
    let request = Request::Message { connection, name, payload };
    let invocation = Invocation { caller, trace: trace.into(), request };
    Ok(state.functions.call(&target, invocation).await?.body)
}

fn cohort(caller: &Caller, functions: &impl Dispatcher) -> Cohort {
    match caller {
        Caller::User(user) | Caller::ServiceFor(user) if functions.has_canaries() => Cohort::of_user(*user),
        _ => Cohort::STABLE,
    }
}

fn unknown_type(name: &str) -> ApiError {
    let detail = format!(
        "no function answers frames of the type {name:?}; check its spelling, and that the function is deployed"
    );
    ApiError::new(ErrorCode::UnknownType, detail)
}

/// The payload of a client's `sync`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncPayload {
    /// The position of the last event that the client has. With it, the answer has the missed events or `resync`.
    #[schemars(with = "Option<Position>")]
    since: Option<String>,
}

fn since_of(payload: &str) -> Result<Option<Position>, ApiError> {
    let detail = "the payload of `sync` must be `{}` or `{\"since\":\"<epoch>:<offset>\"}`";
    let invalid = || ApiError::new(ErrorCode::InvalidPayload, detail);
    // Checked here, because serde would read an array as an object's members in order.
    if payload.starts_with('[') {
        return Err(invalid());
    }
    let payload: Option<SyncPayload> = serde_json::from_str(payload).map_err(|_| invalid())?;
    payload.unwrap_or_default().since.as_deref().map(parse_since).transpose()
}
