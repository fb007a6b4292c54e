//! Around every request: its trace id, the bound on requests in flight, and what is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request};
use axum::response::Response;
use roost_core::port::{Bus, Feeds};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::body::Incoming;
use super::metrics::{Labels, Requests};
use super::{builtin, route};
use crate::ops::trace;
use crate::runtime::dispatcher::Dispatcher;
use crate::server::problem::{ApiError, Code, TraceId};
use crate::server::state::AppState;

const TRACE_HEADER: HeaderName = HeaderName::from_static("roost-trace");
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The label of a path that nothing answers: never the path itself, which anybody can make up.
const NO_ROUTE: &str = "none";

/// Everything that the public listener answers: routes of functions, called straight away because most requests are
/// for one, and the host's own behind a router.
pub struct HttpService<F, S> {
    state: Arc<AppState<F, S>>,
    own: Router,
    counts: Arc<Counts>,
}

/// What is counted about all requests.
struct Counts {
    in_flight: Semaphore,
    requests: Requests,
}

impl<F, S> Clone for HttpService<F, S> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), own: self.own.clone(), counts: Arc::clone(&self.counts) }
    }
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> HttpService<F, S> {
    /// On these parts.
    pub fn new(state: Arc<AppState<F, S>>) -> Self {
        let counts = Counts { in_flight: Semaphore::new(state.http.requests_max), requests: Requests::default() };
        Self { own: builtin::router(Arc::clone(&state)), state, counts: Arc::new(counts) }
    }

    /// Answers one request. An answer that is an error is a problem document.
    pub async fn answer<B: Incoming>(&self, request: Request<B>) -> Response {
        let began = Instant::now();
        let trace = TraceId(trace::of_headers(request.headers()).into());
        let method = method_label(request.method().as_str());
        let (mut response, route) = match self.counts.in_flight.try_acquire() {
            // Streams and sockets are no longer in flight once they are answered; the hub bounds them.
            Ok(_in_flight) => match builtin::ROUTES.into_iter().find(|own| *own == request.uri().path()) {
                Some(own) => (Box::pin(self.ask_own(request, &trace)).await, own.into()),
                None => {
                    let (response, route) = route::call(&self.state, request, &trace).await;
                    (response, route.unwrap_or_else(|| NO_ROUTE.into()))
                }
            },
            Err(_) => (ApiError::from(Code::TooManyRequests).after(RETRY_AFTER).response(&trace.0), NO_ROUTE.into()),
        };
        let (status, took) = (response.status().as_u16(), began.elapsed());
        self.counts.requests.count(Labels { route, method, status }, took);
        if let Ok(value) = HeaderValue::from_str(&trace.0) {
            response.headers_mut().insert(TRACE_HEADER, value);
        }
        tracing::debug!(trace = %trace.0, status, ?took, "request");
        response
    }

    async fn ask_own<B: Incoming>(&self, request: Request<B>, trace: &TraceId) -> Response {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(trace.clone());
        let Ok(response) = self.own.clone().oneshot(request).await;
        response
    }
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
