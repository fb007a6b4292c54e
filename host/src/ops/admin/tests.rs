//! The routes of the admin listener, without a listener.

use std::io::Write;
use std::sync::Mutex;

use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::config::{RecordsUrl, Sources, SqliteLocation};
use crate::golden::Messages;
use crate::records::RecordStore;
use crate::runtime::deployments::{CanaryLimits, DeploymentOptions};
use crate::runtime::{Engine, Functions, Options};
use crate::server::auth::Authenticator;
use crate::server::http::Peer;
use crate::store::Store;

const KEY: &str = "the-operators-key";
const METRICS_KEY: &str = "the-collectors-key";

async fn state(key: Option<&str>) -> Arc<AdminState> {
    state_with(key, None).await
}

async fn state_with(key: Option<&str>, metrics_key: Option<&str>) -> Arc<AdminState> {
    let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
    Arc::new(AdminState {
        world: HostWorld::new(Store::memory(), records.clone()),
        functions: Box::new(|| 1),
        deployments: deployments(&records).await,
        logs: FunctionLogs::new(),
        uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
        tasks: TaskHealth::default(),
        token_keys: Authenticator::new(&Sources::default().load().unwrap().auth).unwrap().keys().clone(),
        key: key.map(|key| Secret(key.to_owned())),
        metrics_key: metrics_key.map(|key| Secret(key.to_owned())),
        started: AtomicBool::new(true),
        draining: AtomicBool::new(false),
    })
}

/// Deployments of a host without functions, in a folder that is not there until something is deployed.
async fn deployments(records: &RecordStore) -> Deployments {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::of_config(&Sources::default().load().unwrap());
    let world = HostWorld::new(Store::memory(), records.clone());
    let functions = Functions::new(Engine::new().unwrap(), world, options).unwrap();
    let options = DeploymentOptions {
        folder: folder.path().join("deployments"),
        functions_dir: folder.path().join("functions"),
        bytes_max: 1 << 20,
        canary: CanaryLimits { calls_min: 50, margin_percent: 5 },
        host: "host".to_owned(),
    };
    Deployments::open(functions, Store::memory(), options).await.unwrap()
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
    let ready = r#"{"ready":true,"parts":{"functions":"ok","host":"ok","records":"ok","store":"ok","tasks":"ok","token_keys":"ok"}}"#;
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
async fn uploads_are_bounded_in_number_and_time_and_must_arrive_as_a_whole() {
    let state = state(Some(KEY)).await;
    let upload = async |body: Body| {
        let request = axum::http::Request::post("/functions").header("authorization", format!("Bearer {KEY}"));
        let response = router(state.clone()).oneshot(request.body(body).unwrap()).await.unwrap();
        let (status, retry_after) = (response.status().as_u16(), response.headers().get("retry-after").cloned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (status, problem["code"].as_str().unwrap().to_owned(), retry_after)
    };
    let begin = Bytes::from_static(b"\0asm\x0d\0\x01\0");
    let torn = [Ok(begin), Err(std::io::Error::other("the connection is lost"))];
    let torn = upload(Body::from_stream(futures_util::stream::iter(torn))).await;
    assert_eq!(torn, (400, "invalid_body".to_owned(), None));

    let permits: Vec<_> = (0..UPLOADS_MAX).map(|_| Arc::clone(&state.uploads).try_acquire_owned().unwrap()).collect();
    let (status, code, retry_after) = upload(Body::from("text")).await;
    assert_eq!((status, code.as_str(), retry_after.unwrap().as_bytes()), (503, "too_many_requests", &b"2"[..]));
    drop(permits);
    assert_eq!(upload(Body::from("text")).await, (422, "not_a_component".to_owned(), None), "there is room again");

    tokio::time::pause();
    let stuck = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let (status, code, _) = upload(Body::from_stream(stuck)).await;
    assert_eq!((status, code.as_str()), (408, "read_timeout"));
    assert_eq!(state.uploads.available_permits(), UPLOADS_MAX, "whoever sends nothing holds no place");
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
async fn with_a_metrics_key_the_metrics_need_it_or_the_admin_key() {
    let state = state_with(Some(KEY), Some(METRICS_KEY)).await;
    for (shown, status) in [(None, 401), (Some("another-key"), 401), (Some(METRICS_KEY), 200), (Some(KEY), 200)] {
        assert_eq!(get(&state, "/metrics", shown).await.0, status, "{shown:?}");
    }
    assert_eq!(get(&state, "/functions", Some(METRICS_KEY)).await.0, 401, "the metrics key opens nothing else");
    assert_eq!((get(&state, "/healthz", None).await.0, get(&state, "/readyz", None).await.0), (200, 200));
    let without_admin_key = state_with(None, Some(METRICS_KEY)).await;
    assert_eq!(get(&without_admin_key, "/metrics", Some(METRICS_KEY)).await.0, 200);
    assert_eq!(get(&without_admin_key, "/functions", Some(METRICS_KEY)).await.0, 403);
}

#[tokio::test]
async fn metrics_need_no_key_and_unknown_paths_are_problems() {
    let state = state(Some(KEY)).await;
    let (status, text) = get(&state, "/metrics", None).await;
    assert!(status == 200 && text.contains("# TYPE roost_functions gauge"), "{status} {text}");
    assert_eq!(get(&state, "/nothing", None).await.0, 404);
}

/// What was written to a log.
#[derive(Clone, Default)]
struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl CapturedLog {
    /// The lines about requests, without what differs from run to run.
    fn lines(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let about_requests = lines.filter(|line| line["target"] == crate::ops::log::ADMIN_ACTIONS);
        let stable = |mut line: serde_json::Value| {
            let fields = line.as_object_mut().unwrap();
            assert!(fields["took_ms"].is_u64(), "{fields:?}");
            fields.retain(|name, _| !["timestamp", "level", "message", "target", "took_ms"].contains(&name.as_str()));
            line
        };
        about_requests.map(stable).collect()
    }
}

#[tokio::test]
async fn every_request_but_probes_is_logged_with_its_key_its_peer_and_its_outcome() {
    let state = state_with(Some(KEY), Some(METRICS_KEY)).await;
    let log = CapturedLog::default();
    let written = log.clone();
    let lines = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || written.clone()).finish();
    let _logging = tracing::subscriber::set_default(lines);
    let ask = async |method: &str, path: &str, key: Option<&str>, body: &'static str| {
        let mut request = axum::http::Request::builder().method(method).uri(path).header("x-request-id", "t");
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut request = request.body(Body::from(body)).unwrap();
        request.extensions_mut().insert(Peer(([10, 0, 0, 7], 4000).into()));
        router(state.clone()).oneshot(request).await.unwrap();
    };
    ask("GET", "/healthz", None, "").await;
    ask("GET", "/readyz", None, "").await;
    ask("GET", "/metrics", Some(METRICS_KEY), "").await;
    assert_eq!(log.lines(), [] as [serde_json::Value; 0]);

    ask("GET", "/functions?cluster=true", Some(KEY), "").await;
    ask("GET", "/functions", None, "").await;
    ask("GET", "/functions", Some(METRICS_KEY), "").await;
    ask("GET", "/metrics", Some("another-key"), "").await;
    ask("POST", "/verify", Some(KEY), r#"{"of":"users","repair":true}"#).await;
    ask("POST", "/verify", Some(KEY), r#"{"of":"users","limit":0}"#).await;
    ask("DELETE", "/verify", Some(KEY), "").await;
    ask("GET", "/nothing", None, "").await;
    let expected = [
        ("admin_key", "GET", "/functions", 200, "ok"),
        ("none", "GET", "/functions", 401, "unauthenticated"),
        ("metrics_key", "GET", "/functions", 401, "token_invalid"),
        ("unknown", "GET", "/metrics", 401, "token_invalid"),
        ("admin_key", "POST", "/verify", 200, "ok"),
        ("admin_key", "POST", "/verify", 400, "invalid"),
        ("admin_key", "DELETE", "/verify", 405, "refused"),
        ("none", "GET", "/nothing", 404, "route_not_found"),
    ];
    let mut expected = expected.map(|(key, method, path, status, code)| {
        serde_json::json!({
            "key": key, "peer": "10.0.0.7:4000", "method": method, "path": path, "status": status, "code": code, "trace": "t"
        })
    });
    expected[0]["query"] = "cluster=true".into();
    expected[4]["detail"] = "compared and repaired a page of Users".into();
    assert_eq!(log.lines(), expected);
}

#[tokio::test]
async fn a_request_whose_connection_is_lost_is_logged() {
    let state = state(Some(KEY)).await;
    let log = CapturedLog::default();
    let written = log.clone();
    let lines = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || written.clone()).finish();
    let _logging = tracing::subscriber::set_default(lines);
    // The body never arrives.
    let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let request = axum::http::Request::post("/verify").header("authorization", format!("Bearer {KEY}")).body(body);
    let answer = router(state).oneshot(request.unwrap());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1), answer).await.is_err(), "it was answered");
    let logged = log.lines();
    assert_eq!((logged.len(), &logged[0]["code"]), (1, &"connection_lost".into()), "{logged:?}");
}

async fn add(messages: &mut Messages, situation: &str, request: axum::http::Request<Body>, key: Option<&str>) {
    let response = router(state_with(key, Some(METRICS_KEY)).await).oneshot(request).await.unwrap();
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
        ("Metrics without a key where one is configured", empty(get("/metrics")), Some(KEY)),
        ("Metrics with another key", empty(get("/metrics").header("authorization", "Bearer another-key")), Some(KEY)),
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
