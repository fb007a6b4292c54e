//! The admin listener: is the host alive, is it ready, what does it count, which functions does it serve.
//!
//! `/functions` and `/verify` need the admin key; without one configured they answer nobody. Only a verification that is
//! told to repair changes anything.

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
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::config::Secret;
use crate::ops::consistency;
use crate::ops::trace;
use crate::records::RecordStore;
use crate::server::auth::Credentials;
use crate::server::http::response;
use crate::server::problem::{ApiError, ErrorCode};
use crate::store::Store;

/// The text form of the Prometheus exposition format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Lists the live functions, each as it is shown.
pub type List = Box<dyn Fn() -> Vec<serde_json::Value> + Send + Sync>;

/// What the admin listener is made of.
pub struct AdminState {
    /// Asked whether they answer.
    pub store: Store,
    /// Asked whether they answer.
    pub records: RecordStore,
    /// The live functions.
    pub functions: List,
    /// What was counted.
    pub metrics: PrometheusHandle,
    /// Opens `/functions` and `/verify`.
    pub key: Option<Secret>,
    /// The host has loaded everything it was told to.
    pub started: AtomicBool,
    /// The host is stopping.
    pub draining: AtomicBool,
}

/// Whether a load balancer should send clients here, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// All parts are.
    pub ready: bool,
    /// `ok`, or what is wrong, by part.
    pub parts: BTreeMap<&'static str, String>,
}

impl AdminState {
    /// Looks at every part.
    pub async fn readiness(&self) -> Readiness {
        let store = self.store.ready().await;
        let records = self.records.ready().await;
        let functions = match (self.started.load(Ordering::Acquire), (self.functions)().len()) {
            (false, _) => Err("still loading"),
            (true, 0) => Err("none is loaded"),
            (true, _) => Ok(()),
        };
        let host = if self.draining.load(Ordering::Acquire) { Err("stopping") } else { Ok(()) };
        let parts = BTreeMap::from([
            ("functions", told(functions)),
            ("host", told(host)),
            ("records", told(records)),
            ("store", told(store)),
        ]);
        Readiness { ready: parts.values().all(|part| part == "ok"), parts }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(key) = &self.key else {
            let detail = "set admin_key (ROOST_ADMIN_KEY) to read this";
            let fault = ApiError::new(ErrorCode::Internal, detail);
            return Err(ApiError {
                status: 403,
                code: "admin_key_unset".into(),
                title: "There is no admin key",
                ..fault
            });
        };
        match Credentials::of_headers(headers)?.bearer {
            Some(shown) if bool::from(shown.as_bytes().ct_eq(key.0.as_bytes())) => Ok(()),
            Some(_) => Err(ApiError::new(ErrorCode::TokenInvalid, "this is not the admin key")),
            None => Err(ApiError::new(ErrorCode::Unauthenticated, "send the admin key as a bearer token")),
        }
    }
}

fn told<E: ToString>(part: Result<(), E>) -> String {
    part.map_or_else(|error| error.to_string(), |()| "ok".to_owned())
}

/// Everything that the admin listener answers.
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
    metrics::gauge!("roost_functions").set((state.functions)().len() as f64);
    let mut response = Response::new(Body::from(crate::ops::metrics::render(&state.metrics)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(METRICS_TEXT));
    response
}

async fn functions(State(state): State<Arc<AdminState>>, headers: HeaderMap) -> Response<Body> {
    #[derive(Serialize)]
    struct Functions {
        functions: Vec<serde_json::Value>,
    }
    match state.admit(&headers) {
        Ok(()) => json(200, &Functions { functions: (state.functions)() }),
        Err(fault) => fault.response(&trace::new_id()),
    }
}

/// Compares a part of the live state with the records: [`consistency::Order`] in, [`consistency::Part`] out.
async fn verify(State(state): State<Arc<AdminState>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let answer = async {
        state.admit(&headers)?;
        let order = serde_json::from_slice(&body).map_err(|error| {
            ApiError::new(ErrorCode::InvalidBody, format!("the body is no order to verify: {error}"))
        })?;
        let world = consistency::World { store: state.store.clone(), records: state.records.clone() };
        consistency::carry_out(&world, &order).await.map_err(|error| consistency::fault(&error))
    };
    match answer.await {
        Ok(part) => json(200, &part),
        Err(fault) => fault.response(&trace::new_id()),
    }
}

fn json(status: u16, body: &impl Serialize) -> Response<Body> {
    // Texts and numbers always encode.
    response::json(status, serde_json::to_string(body).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::config::{RecordsUrl, SqliteLocation};
    use crate::ops::metrics;

    const KEY: &str = "the-operators-key";

    async fn state(key: Option<&str>) -> Arc<AdminState> {
        Arc::new(AdminState {
            store: Store::memory(),
            records: RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap(),
            functions: Box::new(|| vec![serde_json::Value::Null]),
            metrics: metrics::install(),
            key: key.map(|key| Secret(key.to_owned())),
            started: AtomicBool::new(true),
            draining: AtomicBool::new(false),
        })
    }

    async fn get(state: &Arc<AdminState>, path: &str, key: Option<&str>) -> (u16, String) {
        let mut request = axum::http::Request::get(path);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let response = router(state.clone()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_host_is_ready_when_all_of_its_parts_are() {
        let state = state(None).await;
        let ready = r#"{"ready":true,"parts":{"functions":"ok","host":"ok","records":"ok","store":"ok"}}"#;
        assert_eq!(get(&state, "/readyz", None).await, (200, ready.to_owned()));
    }

    #[tokio::test]
    async fn a_host_that_loads_or_stops_is_alive_but_not_ready() {
        let state = state(None).await;
        state.started.store(false, Ordering::Release);
        let (status, body) = get(&state, "/readyz", None).await;
        assert!(status == 503 && body.contains(r#""functions":"still loading""#), "{status} {body}");
        state.started.store(true, Ordering::Release);
        state.draining.store(true, Ordering::Release);
        let (status, body) = get(&state, "/readyz", None).await;
        assert!(status == 503 && body.contains(r#""host":"stopping""#), "{status} {body}");
        assert_eq!(get(&state, "/healthz", None).await, (200, "ok\n".to_owned()));
    }

    #[tokio::test]
    async fn a_host_whose_records_are_gone_is_not_ready() {
        let state = state(None).await;
        state.records.close().await;
        let readiness = state.readiness().await;
        assert!(!readiness.ready && readiness.parts["records"] != "ok", "{readiness:?}");
    }

    #[tokio::test]
    async fn functions_are_listed_to_the_admin_key_only() {
        let keyed = state(Some(KEY)).await;
        for (shown, status) in [(Some(KEY), 200), (None, 401), (Some("another-key"), 401)] {
            assert_eq!(get(&keyed, "/functions", shown).await.0, status, "{shown:?}");
        }
        let (status, problem) = get(&state(None).await, "/functions", Some(KEY)).await;
        assert!(status == 403 && problem.contains("admin_key_unset"), "{status} {problem}");
    }

    #[tokio::test]
    async fn parts_of_the_state_are_verified_for_the_admin_key() {
        let keyed = state(Some(KEY)).await;
        let ask = async |key: &str, body: &'static str| {
            let request = axum::http::Request::post("/verify").header("authorization", format!("Bearer {key}"));
            let response = router(keyed.clone()).oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        };
        let (status, part) = ask(KEY, r#"{"of":"users"}"#).await;
        assert!(status == 200 && part.contains(r#""users":0"#) && part.contains(r#""next":null"#), "{status} {part}");
        assert_eq!(ask("another-key", r#"{"of":"users"}"#).await.0, 401);
        for wrong in ["", r#"{"of":"presence"}"#, r#"{"of":"users","limit":0}"#, r#"{"of":"users","limt":5}"#] {
            let (status, problem) = ask(KEY, wrong).await;
            assert!(status == 400 && problem.contains("\"detail\""), "{wrong}: {status} {problem}");
        }
    }

    #[tokio::test]
    async fn metrics_are_open_and_unknown_paths_are_problems() {
        let state = state(Some(KEY)).await;
        let (status, text) = get(&state, "/metrics", None).await;
        assert!(status == 200 && text.contains("# TYPE roost_functions gauge"), "{status} {text}");
        assert_eq!(get(&state, "/nothing", None).await.0, 404);
    }
}
