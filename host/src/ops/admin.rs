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
mod tests {
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::config::{RecordsUrl, SqliteLocation};
    use crate::golden::Messages;
    use crate::records::RecordStore;
    use crate::store::Store;

    const KEY: &str = "the-operators-key";

    async fn state(key: Option<&str>) -> Arc<AdminState> {
        let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
        Arc::new(AdminState {
            world: HostWorld { store: Store::memory(), records },
            functions: Box::new(|| vec![serde_json::Value::Null]),
            tasks: TaskHealth::default(),
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
        let ready = r#"{"ready":true,"parts":{"functions":"ok","host":"ok","records":"ok","store":"ok","tasks":"ok"}}"#;
        assert_eq!(get(&state, "/readyz", None).await, (200, ready.to_owned()));
    }

    #[tokio::test]
    async fn a_host_that_is_loading_or_stopping_is_alive_but_not_ready() {
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
    async fn a_host_whose_records_do_not_answer_is_not_ready() {
        let state = state(None).await;
        state.world.records.close().await;
        let readiness = state.readiness().await;
        assert!(!readiness.ready && readiness.parts["records"] != "ok", "{readiness:?}");
    }

    #[tokio::test]
    async fn functions_are_listed_only_with_the_admin_key() {
        let keyed = state(Some(KEY)).await;
        for (shown, status) in [(Some(KEY), 200), (None, 401), (Some("another-key"), 401)] {
            assert_eq!(get(&keyed, "/functions", shown).await.0, status, "{shown:?}");
        }
        let (status, problem) = get(&state(None).await, "/functions", Some(KEY)).await;
        assert!(status == 403 && problem.contains("admin_key_unset"), "{status} {problem}");
    }

    #[tokio::test]
    async fn pages_of_the_state_are_checked_only_with_the_admin_key() {
        let keyed = state(Some(KEY)).await;
        let ask = async |key: &str, body: &'static str| {
            let request = axum::http::Request::post("/verify").header("authorization", format!("Bearer {key}"));
            let response = router(keyed.clone()).oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        };
        let (status, page) = ask(KEY, r#"{"of":"users"}"#).await;
        assert!(status == 200 && page.contains(r#""users":0"#) && page.contains(r#""next":null"#), "{status} {page}");
        assert_eq!(ask("another-key", r#"{"of":"users"}"#).await.0, 401);
        for wrong in ["", r#"{"of":"presence"}"#, r#"{"of":"users","limit":0}"#, r#"{"of":"users","limt":5}"#] {
            let (status, problem) = ask(KEY, wrong).await;
            assert!(status == 400 && problem.contains("\"detail\""), "{wrong}: {status} {problem}");
        }
    }

    #[tokio::test]
    async fn metrics_need_no_key_and_unknown_paths_are_problems() {
        let state = state(Some(KEY)).await;
        let (status, text) = get(&state, "/metrics", None).await;
        assert!(status == 200 && text.contains("# TYPE roost_functions gauge"), "{status} {text}");
        assert_eq!(get(&state, "/nothing", None).await.0, 404);
    }

    async fn add(messages: &mut Messages, situation: &str, request: axum::http::Request<Body>, key: Option<&str>) {
        let response = router(state(key).await).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let text = |name: &str| problem[name].as_str().unwrap().to_owned();
        messages.add(situation, format!("{status} {}: {}\n{}", text("code"), text("title"), text("detail")));
    }

    #[tokio::test]
    async fn every_message_of_the_listener_is_in_the_golden_file() {
        let get = |path: &str| axum::http::Request::get(path);
        let ask = |body: &'static str| {
            let request = axum::http::Request::post("/verify").header("authorization", format!("Bearer {KEY}"));
            request.body(Body::from(body)).unwrap()
        };
        let bearer = |key: &str| get("/functions").header("authorization", format!("Bearer {key}"));
        let empty = |request: axum::http::request::Builder| request.body(Body::empty()).unwrap();
        let mut messages = Messages::new("Messages of the admin listener");
        messages.group("Requests");
        for (situation, request, key) in [
            ("An unknown path", empty(get("/nothing")), Some(KEY)),
            ("A host without an admin key", empty(bearer(KEY)), None),
            ("A request without the admin key", empty(get("/functions")), Some(KEY)),
            ("A request with another key", empty(bearer("another-key")), Some(KEY)),
            ("A check without a body", ask(""), Some(KEY)),
            ("A check of something else", ask(r#"{"of": "presence"}"#), Some(KEY)),
            ("A misspelled field", ask(r#"{"of": "users", "limt": 5}"#), Some(KEY)),
            ("A limit out of bounds", ask(r#"{"of": "users", "limit": 0}"#), Some(KEY)),
        ] {
            add(&mut messages, situation, request, key).await;
        }

        messages.group("Why a host is not ready");
        let state = state(None).await;
        for (situation, started, draining) in
            [("A host that loads its functions", false, false), ("A host that stops", true, true)]
        {
            state.started.store(started, Ordering::Release);
            state.draining.store(draining, Ordering::Release);
            let parts = state.readiness().await.parts;
            let waiting = parts.iter().filter(|(_, part)| *part != "ok").map(|(name, part)| format!("{name}: {part}"));
            messages.add(situation, waiting.collect::<Vec<_>>().join("\n"));
        }
        messages.check("admin");
    }
}
