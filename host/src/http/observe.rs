//! Around every request: its trace id, the bound on requests in flight, and what is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use roost_core::port::{Bus, Feeds};

use super::PublicState;
use super::count::Labels;
use crate::calls::FunctionTable;
use crate::error::{Code, Fault, TraceId};
use crate::trace;

const TRACE_HEADER: HeaderName = HeaderName::from_static("roost-trace");
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The route that a response belongs to, for metrics: never the path, which anybody can make up.
#[derive(Clone, Debug)]
pub(super) struct RouteLabel(pub(super) Arc<str>);

pub(super) async fn observe<F, S>(
    State(state): State<Arc<PublicState<F, S>>>,
    mut request: Request,
    next: Next,
) -> Response
where
    F: FunctionTable,
    S: Bus + Feeds + 'static,
{
    let began = Instant::now();
    let trace = TraceId(trace::of_headers(request.headers()).into());
    request.extensions_mut().insert(trace.clone());
    let own_route = super::OWN_ROUTES.into_iter().find(|own| *own == request.uri().path());
    let method = method_label(request.method().as_str());
    let mut response = match state.in_flight.try_acquire() {
        // Streams and sockets are no longer in flight once they are answered; the hub bounds them.
        Ok(_in_flight) => next.run(request).await,
        Err(_) => Fault::from(Code::TooManyRequests).after(RETRY_AFTER).response(&trace.0),
    };
    let route: Arc<str> = match response.extensions_mut().remove::<RouteLabel>() {
        Some(route) => route.0,
        None => own_route.unwrap_or("none").into(),
    };
    let (status, took) = (response.status().as_u16(), began.elapsed());
    state.requests.count(Labels { route, method, status }, took);
    if let Ok(value) = HeaderValue::from_str(&trace.0) {
        response.headers_mut().insert(TRACE_HEADER, value);
    }
    tracing::debug!(trace = %trace.0, status, ?took, "request");
    response
}

/// A client can make up methods, a label must not.
fn method_label(method: &str) -> &'static str {
    match method {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
