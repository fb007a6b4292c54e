//! The admin listener: health, readiness, metrics, the list of live functions, and the consistency check.
//!
//! `/functions` and `/verify` need the admin key; if none is configured, they refuse every request. Only `/verify` with
//! `repair` changes anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::config::Secret;
use crate::ops::supervisor::TaskHealth;
use crate::ops::{consistency, metrics, trace};
use crate::runtime::HostWorld;
use crate::server::auth::Credentials;
use crate::server::http::response;
use crate::server::problem::{ApiError, ErrorCode};

/// The text form of the Prometheus exposition format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Lists the live functions, each as the JSON value that operators see.
pub type ListFunctions = Box<dyn Fn() -> Vec<serde_json::Value> + Send + Sync>;

/// What the routes of the admin listener use.
pub struct AdminState {
    /// The store and the records: asked whether they answer, and compared by `/verify`.
    pub world: HostWorld,
    /// The live functions.
    pub functions: ListFunctions,
    /// The background tasks of the host.
    pub tasks: TaskHealth,
    /// The key for `/functions` and `/verify`.
    pub key: Option<Secret>,
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
        let records = self.world.records.ready().await;
        let functions = match (self.started.load(Ordering::Acquire), (self.functions)().len()) {
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
        ]);
        Readiness { ready: parts.values().all(|part| part == "ok"), parts }
    }

    fn check_key(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(key) = &self.key else {
            let detail =
                "set admin_key (ROOST_ADMIN_KEY) in the configuration of the host, and send it as a bearer token";
            let problem = ApiError::new(ErrorCode::Internal, detail);
            return Err(ApiError {
                status: 403,
                code: "admin_key_unset".into(),
                title: "There is no admin key",
                ..problem
            });
        };
        match Credentials::of_headers(headers)?.bearer {
            Some(shown) if bool::from(shown.as_bytes().ct_eq(key.0.as_bytes())) => Ok(()),
            Some(_) => Err(ApiError::new(
                ErrorCode::TokenInvalid,
                "this is not the admin key; send the value of admin_key (ROOST_ADMIN_KEY) as a bearer token",
            )),
            None => Err(ApiError::new(ErrorCode::Unauthenticated, "send the admin key as a bearer token")),
        }
    }
}

fn state_of<E: ToString>(part: Result<(), E>) -> String {
    part.map_or_else(|error| error.to_string(), |()| "ok".to_owned())
}

/// The routes of the admin listener.
pub fn router(state: Arc<AdminState>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .route("/functions", get(functions))
        .route("/verify", post(verify))
        .fallback(async || {
            ApiError::new(ErrorCode::NotFound, "try /healthz, /readyz, /metrics, /functions or /verify")
                .response(&trace::new_id())
        })
        .with_state(state)
}

async fn readyz(State(state): State<Arc<AdminState>>) -> Response<Body> {
    let readiness = state.readiness().await;
    json(if readiness.ready { 200 } else { 503 }, &readiness)
}

async fn metrics_text(State(state): State<Arc<AdminState>>) -> Response<Body> {
    metrics::FUNCTIONS.set(i64::try_from((state.functions)().len()).unwrap_or(i64::MAX));
    let mut response = Response::new(Body::from(metrics::render()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(METRICS_TEXT));
    response
}

async fn functions(State(state): State<Arc<AdminState>>, headers: HeaderMap) -> Response<Body> {
    #[derive(Serialize)]
    struct FunctionList {
        functions: Vec<serde_json::Value>,
    }
    match state.check_key(&headers) {
        Ok(()) => json(200, &FunctionList { functions: (state.functions)() }),
        Err(problem) => problem.response(&trace::new_id()),
    }
}

/// Compares a page of the live state with the records: takes a [`consistency::CheckRequest`], answers a
/// [`consistency::CheckPage`].
async fn verify(State(state): State<Arc<AdminState>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let answer = async {
        state.check_key(&headers)?;
        let request = serde_json::from_slice(&body).map_err(|error| {
            let example = r#"{"of": "users", "limit": 100, "repair": false}"#;
            ApiError::new(
                ErrorCode::InvalidBody,
                format!("the body cannot be read: {error}; send an object such as {example}"),
            )
        })?;
        consistency::check(&state.world, &request).await.map_err(|error| consistency::problem(&error))
    };
    match answer.await {
        Ok(page) => json(200, &page),
        Err(problem) => problem.response(&trace::new_id()),
    }
}

fn json(status: u16, body: &impl Serialize) -> Response<Body> {
    // Texts and numbers can always be encoded.
    response::json(status, serde_json::to_string(body).unwrap_or_default())
}

#[cfg(test)]
mod tests;
