//! Routes that functions declare: found, entered, called, answered.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use roost_core::port::{Bus, Feeds};

use super::observe::RouteLabel;
use super::{PublicState, body, query, respond, trace_of};
use crate::calls::{FunctionTable, Lookup, Matched};
use crate::error::{Code, Fault, Traced};
use crate::functions::{self, HttpRequest, Invocation};

pub(super) async fn call<F, S>(State(state): State<Arc<PublicState<F, S>>>, request: Request) -> Response
where
    F: FunctionTable,
    S: Bus + Feeds + 'static,
{
    let trace = trace_of(request.extensions());
    let method = method(&request);
    let matched = match state.functions.route(&method, request.uri().path()) {
        Lookup::Found(matched) => matched,
        Lookup::OtherMethods(methods) => {
            let methods: Vec<String> = methods.iter().map(ToString::to_string).collect();
            return Traced(Fault::from(Code::MethodNotAllowed).allowing(&methods), trace).into_response();
        }
        Lookup::Unknown => {
            let detail = format!("nothing answers {}; GET /v1/openapi.json lists what does", request.uri().path());
            return Traced(Fault::new(Code::NotFound, detail), trace).into_response();
        }
    };
    let label = RouteLabel(matched.route.clone());
    let mut response = match answer(&state, matched, method, request).await {
        Ok(response) => response,
        Err(fault) => Traced(fault, trace).into_response(),
    };
    response.extensions_mut().insert(label);
    response
}

/// `HEAD` is answered like `GET`; the server leaves the body out.
fn method(request: &Request) -> String {
    match request.method().as_str() {
        "HEAD" => "GET".to_owned(),
        other => other.to_owned(),
    }
}

async fn answer<F, S>(
    state: &PublicState<F, S>,
    matched: Matched<F::Target>,
    method: String,
    request: Request,
) -> Result<Response, Fault>
where
    F: FunctionTable,
    S: Bus + Feeds + 'static,
{
    let trace = trace_of(request.extensions());
    let Matched { target, access, route, parameters } = matched;
    // Who asks comes before what is asked: a stranger learns nothing and costs nothing.
    let caller = state.identify(request.headers())?.enter(access)?;
    let query = query::parse(request.uri().query().unwrap_or_default())?;
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, &state.http).await?;
    let request = HttpRequest { method, route: route.as_ref().to_owned(), parameters, query, body };
    let request = functions::Request::Http(request);
    let invocation = Invocation { caller, trace: trace.0.as_ref().to_owned(), request };
    let reply = state.functions.call(&target, invocation).await?;
    Ok(respond::json(reply.status, reply.body))
}
