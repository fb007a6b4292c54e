//! What a client's frame leads to: a function's answer, the present state, or an error under the frame's id.

use roost_core::ids::ConnectionId;
use roost_core::port::{Bus, Feeds};
use serde::Deserialize;

use super::calls::Work;
use super::frame::{self, ClientFrame};
use crate::delivery::event::{SYNC, parse_since};
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::{Caller, Invocation, Request};
use crate::server::problem::{ApiError, Code};
use crate::server::session::ClientSession;
use crate::server::state::AppState;
use crate::server::sync;

/// The work for one frame: its answer, whatever happens.
pub(super) fn work<F, S>(visit: &ClientSession<F, S>, frame: &ClientFrame, trace: String) -> Work
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let state = visit.state.clone();
    let (user, connection) = (visit.connection.user, visit.connection.id.clone());
    let frame = frame.clone();
    Box::pin(async move {
        let id = frame.id.clone();
        let answer = if frame.name == SYNC {
            metrics::counter!("roost_frames_in_total", "type" => SYNC).increment(1);
            match since(&frame.payload) {
                Ok(since) => sync::present(&state, user, since, &trace).await.map(|present| present.to_string()),
                Err(fault) => Err(fault),
            }
        } else {
            call(&state, Caller::User(user), connection, frame, &trace).await
        };
        match answer {
            Ok(payload) => frame::ok(&id, &payload),
            Err(fault) => frame::error(Some(&id), &fault, &trace),
        }
    })
}

/// The host missed something that no feed keeps: the client is pushed the present state, or told to ask for it.
pub(super) fn refresh<F, S>(visit: &ClientSession<F, S>, trace: String) -> Work
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let (state, user) = (visit.state.clone(), visit.connection.user);
    let cursor = visit.seat().cursor();
    Box::pin(async move { sync::refresh(&state, user, cursor, &trace).await.encode_text() })
}

async fn call<F: Dispatcher, S>(
    state: &AppState<F, S>,
    caller: Caller,
    connection: ConnectionId,
    frame: ClientFrame,
    trace: &str,
) -> Result<String, ApiError> {
    let ClientFrame { name, payload, .. } = frame;
    let Some(target) = state.functions.message(&name) else {
        metrics::counter!("roost_frames_in_total", "type" => "unknown").increment(1);
        return Err(ApiError::new(Code::UnknownType, format!("no function answers frames of the type {name:?}")));
    };
    // A type that a function answers is one of few.
    metrics::counter!("roost_frames_in_total", "type" => name.clone()).increment(1);
    let request = Request::Message { connection, name, payload };
    let invocation = Invocation { caller, trace: trace.into(), request };
    Ok(state.functions.call(&target, invocation).await?.body)
}

fn since(payload: &str) -> Result<Option<roost_core::feed::Position>, ApiError> {
    #[derive(Default, Deserialize)]
    struct Payload {
        since: Option<String>,
    }
    let payload: Option<Payload> = serde_json::from_str(payload).map_err(|_| {
        ApiError::new(Code::InvalidPayload, "the payload of `sync` is `{}` or `{\"since\":\"<epoch>:<offset>\"}`")
    })?;
    payload.unwrap_or_default().since.as_deref().map(parse_since).transpose()
}
