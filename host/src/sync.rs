//! The present state in one answer: what was missed, or that it cannot be told, and what the functions say now.
//!
//! The position is taken first, so that whatever happens meanwhile comes as an event after it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;
use roost_core::feed::Position;
use roost_core::ids::{ConversationId, UserId};
use roost_core::limits::LIST_MAX;
use roost_core::port::{Bus, Delivery, Feeds, Replay};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::calls::FunctionTable;
use crate::error::{Code, Fault, Traced};
use crate::feed::{Frame, Resync, ResyncReason, SYNC, parse_since};
use crate::hooks;
use crate::http::{PublicState, query, respond, trace_of};

/// `GET /v1/sync?since=`
pub(crate) async fn get<F, S>(State(state): State<Arc<PublicState<F, S>>>, parts: Parts) -> Result<Response, Traced>
where
    F: FunctionTable,
    S: Bus + Feeds + 'static,
{
    let trace = trace_of(&parts.extensions);
    let answer = async {
        let user = state.identify(&parts.headers)?.require_user()?;
        let query = query::parse(parts.uri.query().unwrap_or_default())?;
        let since = query::value(&query, "since").map(parse_since).transpose()?;
        let present = present(&state, user, since, &trace.0).await?;
        Ok(respond::json(200, present.to_string()))
    };
    answer.await.map_err(|fault: Fault| Traced(fault, trace))
}

/// The answer to `sync`: `{epoch, offset, …}` with what the functions add, and `events` or `resync` if the
/// caller said where it stands.
pub(crate) async fn present<F, S>(
    state: &PublicState<F, S>,
    user: UserId,
    since: Option<Position>,
    trace: &str,
) -> Result<Value, Fault>
where
    F: FunctionTable,
    S: Bus + Feeds + 'static,
{
    let store = state.hub.store();
    let newest = store.positions(&[user]).await?;
    let mut position = newest.into_iter().next().ok_or(Code::Internal)?;
    let mut own = Map::new();
    let mut conversations = None;
    if let Some(since) = since {
        match store.replay(user, &since).await? {
            Replay::Events(events) => {
                // Events after the position was taken are told as well, so the position moves with them.
                position = events.last().and_then(|event| event.position.clone()).unwrap_or(position);
                conversations = named_by(&events);
                own.insert("events".into(), events.into_iter().filter_map(as_value).collect());
            }
            Replay::Gap => {
                let resync = Resync::new(ResyncReason::Gap, &position);
                own.insert("resync".into(), serde_json::to_value(resync).unwrap_or_default());
            }
        }
    }
    let gathered = hooks::sync(state.functions.as_ref(), trace, user, conversations).await;
    if let Some(error) = gathered.failures.into_iter().next() {
        return Err(error.into());
    }
    let mut answer = gathered.members;
    answer.extend(own);
    answer.insert("epoch".into(), position.epoch.as_ref().into());
    answer.insert("offset".into(), position.offset.into());
    Ok(Value::Object(answer))
}

/// A pushed frame with the present state; if it cannot be had, a `resync` that leaves asking to the client.
pub(crate) async fn refresh<F, S>(
    state: &PublicState<F, S>,
    user: UserId,
    cursor: Option<Position>,
    trace: &str,
) -> Frame
where
    F: FunctionTable,
    S: Bus + Feeds + 'static,
{
    match (present(state, user, None, trace).await, cursor) {
        (Ok(present), _) => Frame::ephemeral(SYNC, present.to_string()),
        (Err(fault), Some(cursor)) => {
            tracing::warn!(trace, code = %fault.code, "the present state could not be pushed");
            Frame::resync(ResyncReason::Interrupted, &cursor)
        }
        (Err(_), None) => Frame::resync(ResyncReason::Interrupted, &Position { epoch: "n0".into(), offset: 0 }),
    }
}

/// The conversations that these events are about. `None`: too many to name.
fn named_by(events: &[Delivery]) -> Option<Vec<ConversationId>> {
    #[derive(Deserialize)]
    struct About {
        conversation: ConversationId,
    }
    let about = events.iter().filter_map(|event| serde_json::from_str::<About>(&event.payload).ok());
    let named: BTreeSet<ConversationId> = about.map(|about| about.conversation).collect();
    (named.len() <= LIST_MAX).then(|| named.into_iter().collect())
}

fn as_value(event: Delivery) -> Option<Value> {
    serde_json::from_str(&Frame::from(event).encode_text()).ok()
}
