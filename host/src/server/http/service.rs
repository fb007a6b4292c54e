//! The HTTP service: gives every request its trace id and its span, has it answered, and counts it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request};
use axum::response::Response;
use roost_core::port::{Bus, Feeds};
use tower::ServiceExt;
use tracing::Instrument;

use super::body::Incoming;
use super::metrics::{RequestLabels, RequestMetrics};
use super::{builtin, route};
use crate::ops::log::microseconds;
use crate::ops::trace;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::host_paths;
use crate::server::problem::TraceId;
use crate::server::state::AppState;

const TRACE_HEADER: HeaderName = HeaderName::from_static("roost-trace");
/// The label of paths without a route. The path itself is no label, because a client can make up any number of them.
const NO_ROUTE: &str = "none";

/// Answers every request of the public listener. Most are for routes of functions, which are called directly; the
/// built-in routes are behind a router.
pub(crate) struct HttpService<F, S> {
    state: Arc<AppState<F, S>>,
    builtin: Router,
    /// Shared by all clones of the service.
    metrics: Arc<RequestMetrics>,
}

impl<F, S> Clone for HttpService<F, S> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), builtin: self.builtin.clone(), metrics: Arc::clone(&self.metrics) }
    }
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> HttpService<F, S> {
    pub(crate) fn new(state: Arc<AppState<F, S>>) -> Self {
        Self { builtin: builtin::router(Arc::clone(&state)), state, metrics: Arc::default() }
    }

    /// Answers one request. Errors are answered as problem documents.
    pub(crate) async fn answer<B: Incoming>(&self, request: Request<B>) -> Response {
        let began = Instant::now();
        let trace = TraceId(trace::of_headers(request.headers()).into());
        let method = method_label(request.method().as_str());
        let span = trace::request_span(request.headers(), method, &trace.0);
        // Pinned here, because `instrument` moves what it takes, and this future is large.
        let answered = pin!(self.call(request, &trace));
        let (mut response, route) = answered.instrument(span.clone()).await;
        let (status, took) = (response.status().as_u16(), began.elapsed());
        trace::end_request(&span, method, &route, status);
        self.metrics.count(RequestLabels { route, method, status }, took);
        if let Ok(value) = HeaderValue::from_str(&trace.0) {
            response.headers_mut().insert(TRACE_HEADER, value);
        }
        tracing::debug!(trace = %trace.0, status, took_us = microseconds(took), "request answered");
        response
    }

    /// Has a request answered. The second value is the label of its route.
    async fn call<B: Incoming>(&self, request: Request<B>, trace: &TraceId) -> (Response, Arc<str>) {
        match host_paths::ALL.into_iter().find(|path| *path == request.uri().path()) {
            Some(path) => (Box::pin(self.call_builtin(request, trace)).await, path.into()),
            None => {
                let (response, route) = route::call(&self.state, request, trace).await;
                (response, route.unwrap_or_else(|| NO_ROUTE.into()))
            }
        }
    }

    async fn call_builtin<B: Incoming>(&self, request: Request<B>, trace: &TraceId) -> Response {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(trace.clone());
        let Ok(response) = self.builtin.clone().oneshot(request).await;
        response
    }
}

/// The label of a method. A client can make up methods; a label must be one of few.
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
