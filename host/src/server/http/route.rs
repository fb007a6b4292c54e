//! Routes that functions declare: a request is matched, authorized, read, and answered by the function.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use roost_core::port::{Bus, Feeds};

use super::body::{Incoming, RequestBody};
use super::{query, response};
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::{self, Cohort, HttpRequest, Invocation, MatchedRoute, Method, RouteLookup};
use crate::server::limits::Limited;
use crate::server::problem::{ApiError, ErrorCode, TraceId, TracedError};
use crate::server::state::AppState;

/// Answers a request. The second value is the route as its manifest writes it; `None` if no function has the route.
pub(super) async fn call<F, S, B>(
    state: &AppState<F, S>,
    request: &Parts,
    body: &mut RequestBody<B>,
    trace: &TraceId,
) -> (Response, Option<Arc<str>>)
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
    B: Incoming,
{
    // `HEAD` is answered like `GET`; the server leaves the body out.
    let method = match request.method.as_str() {
        "HEAD" => "GET",
        other => other,
    };
    let refused = |error| (TracedError(error, trace.clone()).into_response(), None);
    let path = request.uri.path();
    let cohort = if state.functions.has_canaries() { cohort(state, &request.headers, trace) } else { Cohort::STABLE };
    let matched = match state.functions.route(method, path, cohort) {
        RouteLookup::Found(matched) => matched,
        RouteLookup::MethodNotAllowed(methods) => {
            let methods: Vec<&str> = methods.into_iter().map(Method::as_str).collect();
            return refused(ApiError::method_not_allowed(path, &methods));
        }
        RouteLookup::NotFound => {
            let detail = format!("no route has the path {path}; GET /v1/openapi.json lists the routes");
            return refused(ApiError::new(ErrorCode::NotFound, detail));
        }
    };
    let route = Arc::clone(&matched.route);
    let response = match answer(state, matched, (request, body), trace).await {
        Ok(response) => response,
        Err(error) => TracedError(error, trace.clone()).into_response(),
    };
    (response, Some(route))
}

/// The cohort of whoever sent the request. Credentials that are refused are refused later, with their reason.
fn cohort<F, S>(state: &AppState<F, S>, headers: &HeaderMap, trace: &TraceId) -> Cohort
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let identity = state.identify_at_once(headers).ok();
    let user = identity.and_then(|identity| identity.user());
    user.map_or_else(|| Cohort::of_trace(&trace.0), Cohort::of_user)
}

async fn answer<F, S, B>(
    state: &AppState<F, S>,
    matched: MatchedRoute<F::Target>,
    (request, body): (&Parts, &mut RequestBody<B>),
    trace: &TraceId,
) -> Result<Response, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
    B: Incoming,
{
    let MatchedRoute { target, access, index, parameters, route } = matched;
    // The caller is checked before the request is read: an unknown caller learns nothing and costs little.
    let identity = state.identify(&request.headers).await?;
    let caller = identity.authorize(access)?;
    let limited = [Limited::Requests].into_iter().chain(Limited::of_request(request.method.as_str(), &route));
    state.limits.count_request(&identity, limited).await?;
    let query = query::parse(request.uri.query().unwrap_or_default())?;
    let call = state.limits.begin_call(&identity).await?;
    let body = body.read(&request.headers, &state.http).await?;
    // Taken when the body has arrived: a slow one takes nothing that others need.
    let _request = state.begin_request()?;
    let request = HttpRequest { route: index, parameters, query, body };
    let request = runtime::Request::Http(request);
    let invocation = Invocation { caller, trace: Arc::clone(&trace.0), request };
    let reply = state.functions.call(&target, invocation).await?;
    Ok(response::until_written(response::json(reply.status, reply.body), call))
}
