//! The admin listener: health, readiness, metrics, the live functions and their deployments, and the consistency check.
//!
//! Health and readiness need no key. `/metrics` needs the metrics key or the admin key, if a metrics key is configured.
//! All other routes need the admin key; if none is configured, they refuse every request. `functions` has the routes of
//! deployments, `logs` the records of functions. `action_log` logs who asked for what, and with which outcome.

mod action_log;
mod functions;
mod keys;
mod logs;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::Semaphore;

use action_log::{Detail, Refused};

use crate::config::Secret;
use crate::ops::supervisor::TaskHealth;
use crate::ops::{consistency, metrics};
use crate::runtime::deployments::Deployments;
use crate::runtime::{FunctionLogs, HostWorld};
use crate::server::auth::TokenKeys;
use crate::server::http::response;
use crate::server::problem::{ApiError, ErrorCode};

/// The text form of the Prometheus exposition format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counts the live functions.
pub type CountFunctions = Box<dyn Fn() -> usize + Send + Sync>;

/// How many components may be uploaded at a time.
pub(crate) const UPLOADS_MAX: usize = 2;

/// What the routes of the admin listener use.
pub struct AdminState {
    /// The store and the records: asked whether they answer, and compared by `/verify`.
    pub world: HostWorld,
    /// How many functions are live.
    pub functions: CountFunctions,
    /// The deployments of the functions.
    pub(crate) deployments: Deployments,
    /// The logs of the functions.
    pub(crate) logs: FunctionLogs,
    /// One permit for each upload of a component.
    pub(crate) uploads: Arc<Semaphore>,
    /// The background tasks of the host.
    pub tasks: TaskHealth,
    /// The keys that verify users' tokens.
    pub(crate) token_keys: Arc<TokenKeys>,
    /// The key for everything but health and readiness.
    pub key: Option<Secret>,
    /// The key for `/metrics`; `None`: it needs no key.
    pub metrics_key: Option<Secret>,
    /// Whether the functions are loaded.
    pub started: AtomicBool,
    /// Whether the host is stopping.
    pub draining: AtomicBool,
}

/// Whether a load balancer should send clients to this host, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether all parts are ready.
    pub ready: bool,
    /// By part: `ok`, or what is wrong.
    pub parts: BTreeMap<&'static str, String>,
}

impl AdminState {
    /// Checks every part.
    pub async fn readiness(&self) -> Readiness {
        let store = self.world.store.ready().await;
        let records = self.world.records.readiness().await;
        let functions = match (self.started.load(Ordering::Acquire), (self.functions)()) {
            (false, _) => Err("still loading"),
            (true, 0) => Err("none is loaded"),
            (true, _) => Ok(()),
        };
        let host = if self.draining.load(Ordering::Acquire) { Err("stopping") } else { Ok(()) };
        let parts = BTreeMap::from([
            ("functions", state_of(functions)),
            ("host", state_of(host)),
            ("records", state_of(records)),
            ("store", state_of(store)),
            ("tasks", state_of(self.tasks.ready())),
            ("token_keys", state_of(self.token_keys.ready())),
        ]);
        Readiness { ready: parts.values().all(|part| part == "ok"), parts }
    }
}

fn state_of<E: ToString>(part: Result<(), E>) -> String {
    part.map_or_else(|error| error.to_string(), |()| "ok".to_owned())
}

/// The routes of the admin listener.
pub fn router(state: Arc<AdminState>) -> Router {
    let admin_only = from_fn_with_state(state.clone(), keys::admin_only);
    let metrics_only = from_fn_with_state(state.clone(), keys::metrics_only);
    let record = from_fn_with_state(state.clone(), action_log::record);
    // A route belongs here unless it is safe to show to everybody.
    let with_admin_key = functions::router().route("/verify", post(verify)).route_layer(admin_only);
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text).route_layer(metrics_only))
        .merge(with_admin_key)
        .fallback(async || {
            Refused(ApiError::new(
                ErrorCode::NotFound,
                "try /healthz, /readyz, /metrics, /functions, /reload or /verify",
            ))
        })
        .layer(record)
        .with_state(state)
}

async fn readyz(State(state): State<Arc<AdminState>>) -> Response<Body> {
    let readiness = state.readiness().await;
    json(if readiness.ready { 200 } else { 503 }, &readiness)
}

async fn metrics_text(State(state): State<Arc<AdminState>>) -> Response<Body> {
    let as_gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    metrics::FUNCTIONS.set(as_gauge((state.functions)() as u64));
    metrics::DEPLOYMENTS_VERSION.set(as_gauge(state.deployments.version()));
    let mut response = Response::new(Body::from(metrics::render()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(METRICS_TEXT));
    response
}

/// Compares a page of the live state with the records: takes a [`consistency::CheckRequest`], answers a
/// [`consistency::CheckPage`].
async fn verify(State(state): State<Arc<AdminState>>, body: Bytes) -> Result<Response<Body>, Refused> {
    let request: consistency::CheckRequest = serde_json::from_slice(&body).map_err(|error| {
        let example = r#"{"of": "users", "limit": 100, "repair": false}"#;
        let detail = format!("the body cannot be read: {error}; send an object such as {example}");
        Refused(ApiError::new(ErrorCode::InvalidBody, detail))
    })?;
    let checked = consistency::check(&state.world, &request).await;
    let page = checked.map_err(|error| Refused(consistency::problem(&error)))?;
    let mut response = json(200, &page);
    let done = if request.repair { "compared and repaired" } else { "compared" };
    let which = request.named.as_ref().map_or_else(|| "a page".to_owned(), |named| format!("{} named", named.len()));
    response.extensions_mut().insert(Detail(format!("{done} {which} of {:?}", request.of)));
    Ok(response)
}

fn json(status: u16, body: &impl Serialize) -> Response<Body> {
    // Texts and numbers can always be encoded.
    response::json(status, serde_json::to_string(body).unwrap_or_default())
}

#[cfg(test)]
mod tests;
