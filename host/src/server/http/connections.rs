//! `DELETE /v1/users/{user}/connections`: a backend has every host close the sockets and event streams of a user, for
//! example because the user was banned or has signed out everywhere.
//!
//! The order goes over the bus. The answer says that the store has taken it; hosts carry it out within moments. It does
//! not make tokens invalid: a client with a valid one can connect again, so the issuer of tokens has to refuse new
//! ones.

use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use roost_core::ids::UserId;
use roost_core::port::{Bus, Feeds, PubSub};
use schemars::JsonSchema;
use serde::Deserialize;

use super::body::{Incoming, RequestBody};
use super::response;
use crate::delivery::disconnect::{DisconnectReason, REASON_BYTES_MAX};
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::{Access, host_paths};
use crate::server::problem::{ApiError, ErrorCode, TraceId, TracedError};
use crate::server::state::AppState;

/// The body of the request. It can be left out.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DisconnectBody {
    /// Why the connections are closed: 1 to 100 bytes without control characters. Clients receive it.
    reason: Option<String>,
}

/// Answers a request to the path.
pub(super) async fn call<F, S, B>(
    state: &AppState<F, S>,
    request: &Parts,
    body: &mut RequestBody<B>,
    trace: &TraceId,
) -> Response
where
    F: Dispatcher,
    S: Bus + Feeds + PubSub + 'static,
    B: Incoming,
{
    match disconnect(state, request, body, trace).await {
        Ok(()) => response::json(202, ""),
        Err(error) => TracedError(error, trace.clone()).into_response(),
    }
}

async fn disconnect<F, S, B>(
    state: &AppState<F, S>,
    request: &Parts,
    body: &mut RequestBody<B>,
    trace: &TraceId,
) -> Result<(), ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + PubSub + 'static,
    B: Incoming,
{
    let method = host_paths::method(host_paths::CONNECTIONS);
    if request.method != method {
        return Err(ApiError::method_not_allowed(request.uri.path(), &[method]));
    }
    state.identify(&request.headers).await?.authorize(Access::Service)?;
    let user = user_of(request.uri.path())?;
    let body = body.read(&request.headers, &state.http).await?;
    let _request = state.begin_request()?;
    let reason = reason_of(&body)?;
    state.hub.disconnect(user, &reason).await?;
    tracing::info!(trace = %trace.0, %user, "a service has the connections of a user closed");
    Ok(())
}

fn user_of(path: &str) -> Result<UserId, ApiError> {
    let detail = "the user in the path must be a UUID, such as 6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55";
    let user = path.split('/').nth(3).and_then(|user| user.parse().ok());
    user.ok_or_else(|| ApiError::new(ErrorCode::InvalidPath, detail))
}

fn reason_of(body: &Bytes) -> Result<DisconnectReason, ApiError> {
    if body.is_empty() {
        return Ok(DisconnectReason::default());
    }
    let invalid = |detail: String| ApiError::new(ErrorCode::InvalidBody, detail);
    let request: DisconnectBody = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("the body must be an object such as {{\"reason\":\"banned\"}}: {error}")))?;
    let Some(reason) = request.reason else { return Ok(DisconnectReason::default()) };
    let detail = || format!("`reason` must have 1 to {REASON_BYTES_MAX} bytes and no control characters");
    DisconnectReason::of(&reason).ok_or_else(|| invalid(detail()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use axum::http::Request;
    use axum::http::request::Builder;
    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;
    use crate::delivery::OutboxClosed;
    use crate::server::fake::{FakeFunctions, FakeHost, LossyStore, SERVICE_KEY, token, user};
    use crate::server::http::HttpService;

    fn path(number: u128) -> String {
        format!("/v1/users/{}/connections", user(number))
    }

    fn delete(path: &str, bearer: &str) -> Builder {
        Request::delete(path).header("authorization", format!("Bearer {bearer}"))
    }

    /// The status, and the code of a refusal.
    async fn answer(host: &FakeHost, request: Request<Body>) -> (u16, String) {
        let response = HttpService::<FakeFunctions, LossyStore>::new(host.state.clone()).answer(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn every_connection_of_the_user_is_closed_and_no_other() {
        let host = FakeHost::start();
        let mut registrations = [1, 1, 2].map(|number| host.hub.register(user(number)).unwrap());
        let mut connections = Vec::new();
        for (registration, id) in registrations.iter_mut().zip(["a", "b", "c"]) {
            connections.push(registration.join(id.parse().unwrap()).await.unwrap().0);
        }
        let about_to_open = host.hub.register(user(1)).unwrap();
        let request = delete(&path(1), SERVICE_KEY).body(Body::from(r#"{"reason":"banned"}"#)).unwrap();
        assert_eq!(answer(&host, request).await, (202, String::new()));
        let banned = OutboxClosed::Disconnected(DisconnectReason::of("banned").unwrap());
        for connection in &connections[..2] {
            assert_eq!(connection.outbox.why_closed(), Some(banned.clone()));
        }
        assert_eq!(connections[2].outbox.why_closed(), None);

        let mut about_to_open = about_to_open;
        let (late, _) = about_to_open.join("d".parse().unwrap()).await.unwrap();
        assert_eq!(late.outbox.why_closed(), Some(banned), "it was admitted before the order");
        drop(registrations);
        let mut later = host.hub.register(user(1)).unwrap();
        let (again, _) = later.join("e".parse().unwrap()).await.unwrap();
        assert_eq!(again.outbox.why_closed(), None, "who connects later is connected");
    }

    #[tokio::test(start_paused = true)]
    async fn only_services_may_and_wrong_requests_are_refused_by_code() {
        let host = FakeHost::start();
        let empty = |request: Builder| request.body(Body::empty()).unwrap();
        let with = |text: &'static str| delete(&path(1), SERVICE_KEY).body(Body::from(text)).unwrap();
        let own = token(user(1), Duration::from_secs(60));
        let long = format!("{{\"reason\":\"{}\"}}", "x".repeat(REASON_BYTES_MAX + 1));
        let too_long = delete(&path(1), SERVICE_KEY).body(Body::from(long)).unwrap();
        for (request, status, code) in [
            (empty(Request::delete(path(1))), 401, "unauthenticated"),
            (empty(delete(&path(1), &own)), 403, "service_only"),
            (empty(delete("/v1/users/anna/connections", SERVICE_KEY)), 400, "invalid_path"),
            (empty(Request::get(path(1))), 405, "method_not_allowed"),
            (with("[]"), 400, "invalid_body"),
            (with(r#"{"why":"x"}"#), 400, "invalid_body"),
            (with(r#"{"reason":""}"#), 400, "invalid_body"),
            (too_long, 400, "invalid_body"),
            (empty(delete(&path(1), SERVICE_KEY)), 202, ""),
            (with("{}"), 202, ""),
            (with(r#"{"reason":null}"#), 202, ""),
        ] {
            assert_eq!(answer(&host, request).await, (status, code.to_owned()));
        }
        host.store.set_down(true);
        assert_eq!(answer(&host, with("{}")).await, (503, "store_unavailable".to_owned()));
    }
}
