//! The HTTP service: gives every request its trace id and its span, has it answered, and counts it. Every answer says
//! which page may read it, and whether its connection closes.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use axum::response::Response;
use roost_core::port::{Bus, Feeds, PubSub};
use tower::ServiceExt;
use tracing::Instrument;

use super::body::{Incoming, RequestBody};
use super::cors::Cors;
use super::metrics::{RequestLabels, RequestMetrics};
use super::{builtin, connections, route};
use crate::ops::log::microseconds;
use crate::ops::trace;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::host_paths;
use crate::server::problem::{ApiError, TraceId};
use crate::server::sse;
use crate::server::state::AppState;

const TRACE_HEADER: HeaderName = HeaderName::from_static("roost-trace");
/// The label of paths without a route. The path itself is no label, because a client can make up any number of them.
const NO_ROUTE: &str = "none";

/// Answers every request of the public listener. Most are for routes of functions, which are called directly; the
/// built-in routes are behind a router.
pub(crate) struct HttpService<F, S> {
    state: Arc<AppState<F, S>>,
    builtin: Router,
    cors: Arc<Cors>,
    /// Shared by all clones of the service.
    metrics: Arc<RequestMetrics>,
    stopping: Arc<AtomicBool>,
}

impl<F, S> Clone for HttpService<F, S> {
    fn clone(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            builtin: self.builtin.clone(),
            cors: Arc::clone(&self.cors),
            metrics: Arc::clone(&self.metrics),
            stopping: Arc::clone(&self.stopping),
        }
    }
}

impl<F: Dispatcher, S: Bus + Feeds + PubSub + 'static> HttpService<F, S> {
    pub(crate) fn new(state: Arc<AppState<F, S>>) -> Self {
        Self {
            builtin: builtin::router(Arc::clone(&state)),
            cors: Arc::new(Cors::new(state.auth.origins())),
            state,
            metrics: Arc::default(),
            stopping: Arc::default(),
        }
    }

    /// Set it when the host is about to stop: from then on every answer says that its connection closes, so that
    /// clients and proxies have no kept connections when the listener ends.
    pub(crate) fn stopping(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopping)
    }

    /// Answers one request. Errors are answered as problem documents.
    pub(crate) async fn answer<B: Incoming>(&self, request: Request<B>) -> Response {
        let began = Instant::now();
        let trace = TraceId(trace::of_headers(request.headers()).into());
        let method = method_label(request.method().as_str());
        let span = trace::request_span(request.headers(), method, &trace.0);
        let (parts, body) = request.into_parts();
        let grant = self.cors.grant(&parts.headers);
        let mut body = RequestBody::new(&parts.headers, body);
        let (mut response, route) = match grant.preflight(&parts.method, &parts.headers) {
            Some(response) => (response, NO_ROUTE.into()),
            None => {
                // Pinned here, because `instrument` moves what it takes, and this future is large.
                let answered = pin!(self.call(parts, &mut body, &trace));
                answered.instrument(span.clone()).await
            }
        };
        if !body.finish(&self.state.http).await || self.stopping.load(Ordering::Relaxed) {
            announce_close(&mut response);
        }
        grant.add_to(&mut response);
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
    async fn call<B: Incoming>(
        &self,
        parts: Parts,
        body: &mut RequestBody<B>,
        trace: &TraceId,
    ) -> (Response, Arc<str>) {
        match host_paths::find(parts.uri.path()) {
            Some(path @ host_paths::CONNECTIONS) => {
                (Box::pin(connections::call(&self.state, &parts, body, trace)).await, path.into())
            }
            Some(path) => (Box::pin(self.call_builtin(parts, trace)).await, path.into()),
            None => {
                let (response, route) = route::call(&self.state, &parts, body, trace).await;
                (response, route.unwrap_or_else(|| NO_ROUTE.into()))
            }
        }
    }

    /// Has one of the built-in routes answer. None of them reads a body.
    async fn call_builtin(&self, mut parts: Parts, trace: &TraceId) -> Response {
        parts.extensions.insert(trace.clone());
        let Ok(response) = self.builtin.clone().oneshot(Request::from_parts(parts, Body::empty())).await;
        response
    }

    /// Refuses a request that is not to be answered, in the form in which its client can read the refusal.
    pub(crate) fn refuse<B>(&self, request: &Request<B>, refusal: &ApiError, trace: &str) -> Response {
        let grant = self.cors.grant(request.headers());
        let mut response = match grant.preflight(request.method(), request.headers()) {
            // The request that follows is refused as well, and the page can read that.
            Some(response) => response,
            None if request.uri().path() == host_paths::EVENTS => {
                sse::refusal(refusal, trace, (request.headers(), request.uri()))
            }
            None => refusal.response(trace),
        };
        grant.add_to(&mut response);
        response
    }
}

/// Says that the connection closes after this answer.
fn announce_close(response: &mut Response) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
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
