//! Routes that functions declare: found, entered, called, answered.

use std::sync::Arc;

use axum::http::Request;
use axum::response::{IntoResponse, Response};
use roost_core::port::{Bus, Feeds};

use super::body::{self, Incoming};
use crate::runtime::dispatcher::{Dispatcher, Lookup, Matched};
use crate::runtime::{self, HttpRequest, Invocation};
use crate::server::problem::{ApiError, Code, TraceId, Traced};
use crate::server::state::AppState;
use crate::{server::http::query, server::http::response};

/// The answer, and the route as its manifest spells it; `None`: no function answers.
pub(super) async fn call<F, S, B>(
    state: &AppState<F, S>,
    request: Request<B>,
    trace: &TraceId,
) -> (Response, Option<Arc<str>>)
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
    B: Incoming,
{
    // `HEAD` is answered like `GET`; the server leaves the body out.
    let method = match request.method().as_str() {
        "HEAD" => "GET",
        other => other,
    };
    let refused = |fault| (Traced(fault, trace.clone()).into_response(), None);
    let matched = match state.functions.route(method, request.uri().path()) {
        Lookup::Found(matched) => matched,
        Lookup::OtherMethods(methods) => {
            let methods: Vec<String> = methods.iter().map(ToString::to_string).collect();
            return refused(ApiError::from(Code::MethodNotAllowed).allowing(&methods));
        }
        Lookup::Unknown => {
            let path = request.uri().path();
            let detail = format!("nothing answers {path}; GET /v1/openapi.json lists what does");
            return refused(ApiError::new(Code::NotFound, detail));
        }
    };
    let route = Arc::clone(&matched.route);
    let response = match answer(state, matched, request, trace).await {
        Ok(response) => response,
        Err(fault) => Traced(fault, trace.clone()).into_response(),
    };
    (response, Some(route))
}

async fn answer<F, S, B>(
    state: &AppState<F, S>,
    matched: Matched<F::Target>,
    request: Request<B>,
    trace: &TraceId,
) -> Result<Response, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
    B: Incoming,
{
    let Matched { target, access, index, parameters, .. } = matched;
    // Who asks comes before what is asked: a stranger learns nothing and costs nothing.
    let caller = state.identify(request.headers())?.enter(access)?;
    let query = query::parse(request.uri().query().unwrap_or_default())?;
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, &state.http).await?;
    let request = HttpRequest { route: index, parameters, query, body };
    let request = runtime::Request::Http(request);
    let invocation = Invocation { caller, trace: Arc::clone(&trace.0), request };
    let reply = state.functions.call(&target, invocation).await?;
    Ok(response::json(reply.status, reply.body))
}
