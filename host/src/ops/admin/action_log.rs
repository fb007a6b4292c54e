//! The log of what was asked of the admin listener: with which key, from where, what, and with which outcome. Refused
//! requests are in it, too. Probes of the health routes and successful readings of the metrics are left out.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use super::AdminState;
use super::keys::ShownKey;
use crate::ops::log::{ADMIN_ACTIONS, milliseconds};
use crate::ops::trace;
use crate::server::http::Peer;
use crate::server::problem::ApiError;

/// How many characters of a path are logged.
const PATH_CHARS_MAX: usize = 256;

/// A refusal. It is answered with the trace id that the log has.
pub(super) struct Refused(pub(super) ApiError);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = self.0.response("");
        response.extensions_mut().insert(self.0);
        response
    }
}

/// What a request did, in addition to its method and path. A handler puts it among the extensions of its response.
#[derive(Clone, Debug)]
pub(super) struct Detail(pub(super) String);

/// How work ended that went on after the head of its response was sent.
pub(super) struct LateOutcome {
    /// `ok`, or the code of the problem.
    pub(super) code: Cow<'static, str>,
    pub(super) detail: Option<String>,
}

/// The work of a request ends after the head of its response. A handler puts it among the extensions of its response;
/// the request is logged when the outcome is sent.
#[derive(Clone)]
pub(super) struct EndsLater(Arc<Mutex<Option<oneshot::Receiver<LateOutcome>>>>);

impl EndsLater {
    pub(super) fn new(ended: oneshot::Receiver<LateOutcome>) -> Self {
        Self(Arc::new(Mutex::new(Some(ended))))
    }

    fn take(self) -> Option<oneshot::Receiver<LateOutcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Answers a request, and logs it together with its outcome.
pub(super) async fn record(State(state): State<Arc<AdminState>>, request: Request, next: Next) -> Response {
    let mut asked = AdminRequest::new(&request, state.shown_key(request.headers()));
    let mut response = next.run(request).await;
    let refusal = response.extensions_mut().remove::<ApiError>();
    if let Some(error) = &refusal {
        response = error.response(&asked.trace);
    }
    match response.extensions_mut().remove::<EndsLater>().and_then(EndsLater::take) {
        Some(ended) => drop(tokio::spawn(asked.ends_later(response.status().as_u16(), ended))),
        None => asked.answered(&response, refusal.as_ref()),
    }
    response
}

/// One request to the admin listener. If it is dropped without an answer, because the connection was lost, it is logged
/// too: part of the work may be done.
struct AdminRequest {
    began: Instant,
    key: ShownKey,
    peer: Option<SocketAddr>,
    method: Method,
    path: String,
    query: Option<String>,
    trace: String,
    is_answered: bool,
}

impl AdminRequest {
    fn new(request: &Request, key: ShownKey) -> Self {
        let bounded = |text: &str| text.chars().take(PATH_CHARS_MAX).collect();
        Self {
            began: Instant::now(),
            key,
            peer: request.extensions().get::<Peer>().map(|peer| peer.0),
            method: request.method().clone(),
            path: bounded(request.uri().path()),
            query: request.uri().query().map(bounded),
            trace: trace::of_headers(request.headers()),
            is_answered: false,
        }
    }

    fn answered(&mut self, response: &Response, refusal: Option<&ApiError>) {
        self.is_answered = true;
        let succeeded = response.status().is_success();
        if self.is_probe() || (self.path == "/metrics" && succeeded) {
            return;
        }
        let code = match refusal {
            Some(error) => error.code.as_ref(),
            None if succeeded => "ok",
            None => "refused",
        };
        let detail = response.extensions().get::<Detail>().map(|detail| detail.0.as_str());
        self.log(Some(response.status().as_u16()), code, detail);
    }

    /// Logs the request when its work has ended.
    async fn ends_later(mut self, status: u16, ended: oneshot::Receiver<LateOutcome>) {
        let outcome = ended.await;
        self.is_answered = true;
        match outcome {
            Ok(LateOutcome { code, detail }) => self.log(Some(status), &code, detail.as_deref()),
            Err(_) => self.log(Some(status), "internal", Some("the work ended without an outcome")),
        }
    }

    /// Whether the request asks for the health of the host, as load balancers do every few seconds.
    fn is_probe(&self) -> bool {
        matches!(self.path.as_str(), "/healthz" | "/readyz")
    }

    fn log(&self, status: Option<u16>, code: &str, detail: Option<&str>) {
        tracing::info!(
            target: ADMIN_ACTIONS,
            key = self.key.name(),
            peer = self.peer.map(tracing::field::display),
            method = self.method.as_str(),
            path = self.path,
            query = self.query,
            detail,
            status,
            code,
            trace = self.trace,
            took_ms = milliseconds(self.began.elapsed()),
            "admin request"
        );
    }
}

impl Drop for AdminRequest {
    fn drop(&mut self) {
        if !self.is_answered && !self.is_probe() {
            self.log(None, "connection_lost", None);
        }
    }
}
