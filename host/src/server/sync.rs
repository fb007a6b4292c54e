//! `sync`: the current state in one answer. The host adds the position and the missed events, or a `resync`; the
//! functions add the rest.
//!
//! The position is read first, so that whatever happens meanwhile arrives as an event after it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;
use roost_core::event::CONVERSATION_ADDED;
use roost_core::feed::Position;
use roost_core::ids::{ConversationId, UserId};
use roost_core::limits::{LIST_MAX, SYNC_PART_BYTES_MAX};
use roost_core::port::{Bus, Delivery, Feeds, Replay, StoreError};
use roost_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::delivery::event::{PushedFrame, Resync, ResyncReason, SYNC, parse_since};
use crate::ops::metrics;
use crate::runtime::CallError;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::hooks;
use crate::runtime::keyed_places::KeyedPlace;
use crate::server::http::{query, response};
use crate::server::limits::{Limited, event_bytes};
use crate::server::problem::{ApiError, ErrorCode, TraceId, TracedError};
use crate::server::state::AppState;

/// The clocks of the host and of the store differ by less than this.
const CLOCK_DIFFERENCE_MS: u64 = 5_000;

/// Answers `GET /v1/sync?since=`.
pub(crate) async fn get<F, S>(State(state): State<Arc<AppState<F, S>>>, parts: Parts) -> Result<Response, TracedError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let trace = TraceId::of(&parts.extensions);
    let answer = async {
        let identity = state.identify(&parts.headers).await?;
        let user = identity.require_user()?;
        state.limits.count_request(&identity, [Limited::Requests]).await?;
        let query = query::parse(parts.uri.query().unwrap_or_default())?;
        let since = query::value(&query, "since").map(parse_since).transpose()?;
        let call = state.limits.begin_call(&identity).await?;
        let _replay = begin_replay(&state, user, since.as_ref()).await?;
        let _request = state.begin_request()?;
        let answer = current_state(&state, user, since, &trace.0).await?;
        Ok(response::until_written(response::json(200, answer.to_string()), call))
    };
    answer.await.map_err(|error: ApiError| TracedError(error, trace))
}

/// A place among the replays of the user, if what was missed is asked for. It is taken before any place that others
/// need.
pub(crate) async fn begin_replay<F, S>(
    state: &AppState<F, S>,
    user: UserId,
    since: Option<&Position>,
) -> Result<Option<KeyedPlace<UserId>>, ApiError> {
    match since {
        Some(_) => state.limits.begin_replay(user).await.map(Some),
        None => Ok(None),
    }
}

/// The answer to `sync`: `{epoch, offset, …}` with what the functions add, and with `events` or `resync` if the
/// caller named a position.
///
/// While the store is unavailable, the answer has what the functions can say without it, `"source":"records"`, and a
/// position from which every event that might have been missed is sent again.
pub(crate) async fn current_state<F, S>(
    state: &AppState<F, S>,
    user: UserId,
    since: Option<Position>,
    trace: &str,
) -> Result<Value, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let feed = match FeedStatus::read(state, user, since.as_ref()).await {
        Err(StoreError::Unavailable { .. }) => FeedStatus::unknown(since.is_some()),
        status => status?,
    };
    gather(state, user, feed, trace).await
}

async fn gather<F, S>(state: &AppState<F, S>, user: UserId, feed: FeedStatus, trace: &str) -> Result<Value, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let FeedStatus { position, events, resync, conversations, store_unavailable } = feed;
    let gathered = hooks::sync(state.functions.as_ref(), trace, user, conversations).await;
    let mut failures = gathered.failures.into_iter();
    if let Some(error) = failures.find(|error| !(store_unavailable && is_store_unavailable(error))) {
        return Err(error.into());
    }
    let mut answer = gathered.members;
    let host = SyncAnswer {
        epoch: &position.epoch,
        offset: position.offset,
        events,
        resync: resync.map(|reason| Resync::new(reason, &position)),
        source: store_unavailable.then_some("records"),
    };
    if let Ok(Value::Object(host)) = serde_json::to_value(host) {
        answer.extend(host);
    }
    Ok(Value::Object(answer))
}

fn is_store_unavailable(error: &CallError) -> bool {
    matches!(error, CallError::Failed(failure) if failure.code == ErrorCode::StoreUnavailable.spec().code)
}

/// The members of the answer that the host writes. The functions add theirs.
#[derive(JsonSchema, Serialize)]
pub(crate) struct SyncAnswer<'a> {
    /// The epoch of the caller's feed.
    epoch: &'a str,
    /// The offset of the newest event that the answer takes into account.
    offset: u64,
    /// The events after `since`, oldest first. Absent without `since`, and if they are not known any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Map<String, Value>>")]
    events: Option<Vec<Value>>,
    /// Events after `since` are missing: the state in this answer replaces what the client knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Resync<'_>")]
    resync: Option<Resync<'a>>,
    /// `records` if the store could not be asked. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "&str")]
    source: Option<&'static str>,
}

/// The position of a user's feed, and what the caller missed.
struct FeedStatus {
    position: Position,
    /// The events after the caller's position; `None` without a position or with a gap.
    events: Option<Vec<Value>>,
    resync: Option<ResyncReason>,
    /// The conversations that the missed events are about; `None` if they are unknown.
    conversations: Option<Vec<ConversationId>>,
    store_unavailable: bool,
}

impl FeedStatus {
    async fn read<F, S>(state: &AppState<F, S>, user: UserId, since: Option<&Position>) -> Result<Self, StoreError>
    where
        F: Dispatcher,
        S: Bus + Feeds + 'static,
    {
        let store = state.hub.store().as_ref();
        // The client goes on from this position, so the events after it are kept.
        let newest = store.follow(&[user]).await?.into_iter().next();
        let position = newest.ok_or_else(|| StoreError::Invalid("no position of the user".to_owned()))?;
        let mut status = Self { position, events: None, resync: None, conversations: None, store_unavailable: false };
        let Some(since) = since else { return Ok(status) };
        match state.limits.replay(store, user, since).await? {
            Replay::Events(events) if event_bytes(&events) > SYNC_PART_BYTES_MAX => {
                status.resync = Some(ResyncReason::Gap)
            }
            Replay::Events(events) => {
                // The replay includes events that came after the position was read: the position moves with them.
                let last = events.last().and_then(|event| event.position.clone());
                status.position = last.unwrap_or(status.position);
                status.conversations = conversations_of(&events);
                status.events = Some(events.into_iter().filter_map(event_value).collect());
            }
            Replay::Gap => status.resync = Some(ResyncReason::Gap),
        }
        Ok(status)
    }

    /// The store does not answer: neither the position nor the missed events are known.
    fn unknown(has_position: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        // Rather too early than too late: a client drops repeated events, but does not notice missing ones.
        let position = Position::without_feed(now.minus(CLOCK_DIFFERENCE_MS));
        let resync = has_position.then_some(ResyncReason::Interrupted);
        Self { position, events: None, resync, conversations: None, store_unavailable: true }
    }
}

/// A frame with the current state, to be pushed. `None` if the state cannot be read: the client is then sent a
/// `resync`, and asks for it.
pub(crate) async fn refresh<F, S>(state: &AppState<F, S>, user: UserId, trace: &str) -> Option<PushedFrame>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let current = async {
        let feed = FeedStatus::read(state, user, None).await?;
        gather(state, user, feed, trace).await
    };
    match current.await {
        Ok(current) => {
            metrics::REFRESHES.of(["sent"]).inc();
            Some(PushedFrame::ephemeral(SYNC, current.to_string()))
        }
        Err(error) => {
            metrics::REFRESHES.of(["failed"]).inc();
            tracing::warn!(trace, code = %error.code, "the current state could not be pushed; a resync is sent");
            None
        }
    }
}

/// The conversations that these events are about; `None` if they are too many to name.
fn conversations_of(events: &[Delivery]) -> Option<Vec<ConversationId>> {
    #[derive(Deserialize)]
    struct ConversationEvent {
        conversation: ConversationId,
    }
    #[derive(Deserialize)]
    struct AddedId {
        id: ConversationId,
    }
    let named = |event: &Delivery| {
        if &*event.name == CONVERSATION_ADDED {
            return serde_json::from_str::<AddedId>(&event.payload).ok().map(|added| added.id);
        }
        serde_json::from_str::<ConversationEvent>(&event.payload).ok().map(|event| event.conversation)
    };
    let named: BTreeSet<ConversationId> = events.iter().filter_map(named).collect();
    (named.len() <= LIST_MAX).then(|| named.into_iter().collect())
}

fn event_value(event: Delivery) -> Option<Value> {
    serde_json::from_str(&PushedFrame::from(event).encode_text()).ok()
}
