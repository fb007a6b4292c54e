//! The present state in one answer: what was missed, or that it cannot be told, and what the functions say now.
//!
//! The position is taken first, so that whatever happens meanwhile comes as an event after it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;
use roost_core::feed::Position;
use roost_core::ids::{ConversationId, UserId};
use roost_core::limits::LIST_MAX;
use roost_core::port::{Bus, Delivery, Feeds, Replay, StoreError};
use roost_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::delivery::event::{PushedFrame, Resync, ResyncReason, SYNC, parse_since};
use crate::runtime::CallError;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::hooks;
use crate::server::problem::{ApiError, Code, TraceId, Traced};
use crate::server::state::AppState;
use crate::{server::http::query, server::http::response};

/// The host's clock and the store's differ by less.
const CLOCK_DIFFERENCE_MS: u64 = 5_000;

/// `GET /v1/sync?since=`
pub(crate) async fn get<F, S>(State(state): State<Arc<AppState<F, S>>>, parts: Parts) -> Result<Response, Traced>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let trace = TraceId::of(&parts.extensions);
    let answer = async {
        let user = state.identify(&parts.headers)?.require_user()?;
        let query = query::parse(parts.uri.query().unwrap_or_default())?;
        let since = query::value(&query, "since").map(parse_since).transpose()?;
        let present = present(&state, user, since, &trace.0).await?;
        Ok(response::json(200, present.to_string()))
    };
    answer.await.map_err(|fault: ApiError| Traced(fault, trace))
}

/// The answer to `sync`: `{epoch, offset, …}` with what the functions add, and `events` or `resync` if the
/// caller said where it stands.
///
/// While the store is away: what functions can tell without it, `"source":"records"`, and a position from which
/// everything is told again that could have been missed.
pub(crate) async fn present<F, S>(
    state: &AppState<F, S>,
    user: UserId,
    since: Option<Position>,
    trace: &str,
) -> Result<Value, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let standing = match Standing::read(state.hub.store().as_ref(), user, since.as_ref()).await {
        Err(StoreError::Unavailable { .. }) => Standing::unknown(since.is_some()),
        standing => standing?,
    };
    gather(state, user, standing, trace).await
}

async fn gather<F, S>(state: &AppState<F, S>, user: UserId, standing: Standing, trace: &str) -> Result<Value, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let Standing { position, own, conversations, away } = standing;
    let gathered = hooks::sync(state.functions.as_ref(), trace, user, conversations).await;
    if let Some(error) = gathered.failures.into_iter().find(|error| !(away && needs_the_store(error))) {
        return Err(error.into());
    }
    let mut answer = gathered.members;
    answer.extend(own);
    answer.insert("epoch".into(), position.epoch.as_ref().into());
    answer.insert("offset".into(), position.offset.into());
    Ok(Value::Object(answer))
}

fn needs_the_store(error: &CallError) -> bool {
    matches!(error, CallError::Failed(failure) if failure.code == Code::StoreUnavailable.row().code)
}

/// Where the user's events stand, and what the caller missed of them.
struct Standing {
    position: Position,
    /// The host's own members of the answer.
    own: Map<String, Value>,
    /// Those that events are about; `None`: unknown.
    conversations: Option<Vec<ConversationId>>,
    /// The store could not be asked.
    away: bool,
}

impl Standing {
    async fn read<S: Feeds>(store: &S, user: UserId, since: Option<&Position>) -> Result<Self, StoreError> {
        let newest = store.positions(&[user]).await?.into_iter().next();
        let position = newest.ok_or_else(|| StoreError::Invalid("no position of the user".to_owned()))?;
        let mut standing = Self { position, own: Map::new(), conversations: None, away: false };
        let Some(since) = since else { return Ok(standing) };
        match store.replay(user, since).await? {
            Replay::Events(events) => {
                // Events after the position was taken are told as well, so the position moves with them.
                let last = events.last().and_then(|event| event.position.clone());
                standing.position = last.unwrap_or(standing.position);
                standing.conversations = named_by(&events);
                standing.own.insert("events".into(), events.into_iter().filter_map(as_value).collect());
            }
            Replay::Gap => standing.resync(ResyncReason::Gap),
        }
        Ok(standing)
    }

    /// Nobody knows where the user's events stand, or what the caller missed.
    fn unknown(has_position: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        // Rather too early than too late: what is told twice is dropped, what is missed is not noticed.
        let position = Position::nowhere(now.minus(CLOCK_DIFFERENCE_MS));
        let own = Map::from_iter([("source".to_owned(), Value::from("records"))]);
        let mut standing = Self { position, own, conversations: None, away: true };
        if has_position {
            standing.resync(ResyncReason::Interrupted);
        }
        standing
    }

    fn resync(&mut self, reason: ResyncReason) {
        let resync = Resync::new(reason, &self.position);
        self.own.insert("resync".into(), serde_json::to_value(resync).unwrap_or_default());
    }
}

/// A pushed frame with the present state; if it cannot be had, a `resync` that leaves asking to the client.
pub(crate) async fn refresh<F, S>(
    state: &AppState<F, S>,
    user: UserId,
    cursor: Option<Position>,
    trace: &str,
) -> PushedFrame
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let present = async {
        let standing = Standing::read(state.hub.store().as_ref(), user, None).await?;
        gather(state, user, standing, trace).await
    };
    match (present.await, cursor) {
        (Ok(present), _) => PushedFrame::ephemeral(SYNC, present.to_string()),
        (Err(fault), Some(cursor)) => {
            tracing::warn!(trace, code = %fault.code, "the present state could not be pushed");
            PushedFrame::resync(ResyncReason::Interrupted, &cursor)
        }
        (Err(_), None) => PushedFrame::resync(ResyncReason::Interrupted, &Position { epoch: "n0".into(), offset: 0 }),
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
    serde_json::from_str(&PushedFrame::from(event).encode_text()).ok()
}
