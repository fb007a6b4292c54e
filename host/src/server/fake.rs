//! Fakes for the unit tests of the listeners: a store whose bus loses events on demand, and functions that answer as a
//! test says and record their invocations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roost_core::feed::Position;
use roost_core::ids::{ConnectionId, UserId};
use roost_core::port::{Bus, Delivery, Event, Feeds, PubSub, Publication, Replay, StoreError, Subscriber};
use roost_core::testing::{FakeStore, ManualClock};
use tokio::sync::{Semaphore, watch};

use crate::config::{AuthConfig, ConnectsConfig, HttpConfig, Secret, SocketConfig, TokenKey, UsersConfig};
use crate::delivery::hub::Hub;
use crate::ops::supervisor::TaskHealth;
use crate::runtime::dispatcher::{Callable, Dispatcher};
use crate::runtime::{
    Access, CallError, Cohort, Documented, Failure, FailureKind, Hook, Invocation, MatchedRoute, Method, Reply,
    Request, RouteLookup, SocketDescription,
};
use crate::server::auth::Authenticator;
use crate::server::refresh::RefreshGate;
use crate::server::state::{AppState, ListenerBounds};

pub(crate) const SECRET: &str = "a secret that is long enough for HS256";
pub(crate) const SERVICE_KEY: &str = "service-key";
/// The refreshes that a fake host runs at the same time.
pub(crate) const REFRESHES_MAX: usize = 2;

pub(crate) fn user(number: u128) -> UserId {
    UserId::from_u128(number)
}

/// The fake store behind a bus that can lose events and a connection that can break.
#[derive(Debug, Default)]
pub(crate) struct LossyStore {
    pub(crate) inner: FakeStore,
    pub(crate) clock: ManualClock,
    faults: Arc<BusFaults>,
    down: AtomicBool,
    pub(crate) joins: AtomicUsize,
    pub(crate) leaves: AtomicUsize,
    pub(crate) replays: AtomicUsize,
}

#[derive(Debug, Default)]
struct BusFaults {
    /// How many of the next events the bus loses.
    lose: AtomicUsize,
}

impl LossyStore {
    pub(crate) fn new() -> Arc<Self> {
        let clock = ManualClock::new();
        Arc::new(Self { inner: FakeStore::new(clock.clone()), clock, ..Self::default() })
    }

    /// Makes the bus lose this many of the next events.
    pub(crate) fn lose(&self, events: usize) {
        self.faults.lose.store(events, Ordering::SeqCst);
    }

    /// Makes the store unavailable, or available again. Publications are delivered in either case.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(crate) async fn publish(&self, user: UserId, text: &str) {
        self.publish_event(user, "message.new", text, true).await;
    }

    pub(crate) async fn publish_ephemeral(&self, user: UserId, text: &str) {
        self.publish_event(user, "typing", text, false).await;
    }

    async fn publish_event(&self, user: UserId, name: &str, text: &str, durable: bool) {
        let payload = format!("{{\"text\":{text:?}}}").into();
        let event = Event { name: name.into(), payload, durable };
        self.inner.follow(&[user]).await.unwrap();
        self.inner.publish(vec![Publication { user, event }]).await.unwrap();
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.down.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable { retry_after_ms: 10 }),
            false => Ok(()),
        }
    }
}

struct LossySubscriber {
    inner: Arc<dyn Subscriber>,
    faults: Arc<BusFaults>,
}

impl Subscriber for LossySubscriber {
    fn deliver(&self, user: UserId, delivery: Delivery) {
        let left = self.faults.lose.load(Ordering::SeqCst);
        if left == 0 {
            self.inner.deliver(user, delivery);
        } else {
            self.faults.lose.store(left - 1, Ordering::SeqCst);
        }
    }

    fn suspended(&self, users: &[UserId]) {
        self.inner.suspended(users);
    }

    fn interrupted(&self, users: &[UserId]) {
        self.inner.interrupted(users);
    }
}

impl Bus for LossyStore {
    async fn join(&self, user: UserId, subscriber: Arc<dyn Subscriber>) -> Result<(), StoreError> {
        self.check()?;
        self.joins.fetch_add(1, Ordering::SeqCst);
        let lossy = Arc::new(LossySubscriber { inner: subscriber, faults: self.faults.clone() });
        self.inner.join(user, lossy).await
    }

    async fn leave(&self, user: UserId) {
        self.leaves.fetch_add(1, Ordering::SeqCst);
        self.inner.leave(user).await;
    }
}

impl Feeds for LossyStore {
    async fn follow(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        self.check()?;
        self.inner.follow(users).await
    }

    async fn positions(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        self.check()?;
        self.inner.positions(users).await
    }

    async fn replay(&self, user: UserId, since: &Position) -> Result<Replay, StoreError> {
        self.check()?;
        self.replays.fetch_add(1, Ordering::SeqCst);
        self.inner.replay(user, since).await
    }
}

impl PubSub for LossyStore {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.check()?;
        self.inner.publish(publications).await
    }
}

/// The answer of a fake function.
pub(crate) type FakeAnswer = Result<Reply, CallError>;

pub(crate) fn reply(status: u16, body: &str) -> FakeAnswer {
    Ok(Reply { status, body: body.to_owned() })
}

pub(crate) fn failure(kind: FailureKind, code: &str) -> FakeAnswer {
    Err(CallError::Failed(Failure {
        kind,
        code: code.to_owned(),
        message: format!("the fake function failed with {code}"),
        retry: false,
        retry_after: None,
    }))
}

/// Fake functions: one of them answers every route and frame type.
pub(crate) struct FakeFunctions {
    routes: Vec<(Method, &'static str, Access)>,
    messages: Vec<&'static str>,
    answers: Mutex<BTreeMap<String, FakeAnswer>>,
    invocations: Mutex<Vec<Invocation>>,
    /// The names of calls that wait for a permit.
    gated: Mutex<BTreeSet<String>>,
    /// How heartbeats fail that name one of these connections.
    bad_connections: Mutex<BTreeMap<ConnectionId, CallError>>,
    /// Whether `hello` must have the answer of the hook.
    pub(crate) required: AtomicBool,
    pub(crate) gate: Semaphore,
    pub(crate) changes: watch::Sender<u64>,
}

impl FakeFunctions {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            routes: vec![
                (Method::Get, "/v1/things/{id}", Access::User),
                (Method::Post, "/v1/things", Access::User),
                (Method::Get, "/v1/open", Access::Public),
                (Method::Get, "/v1/service", Access::Service),
            ],
            messages: vec!["echo", "echo.fail", "slow", "slow.second"],
            answers: Mutex::default(),
            invocations: Mutex::default(),
            gated: Mutex::new(["slow", "slow.second"].map(str::to_owned).into()),
            bad_connections: Mutex::default(),
            required: AtomicBool::new(false),
            gate: Semaphore::new(0),
            changes: watch::Sender::new(1),
        })
    }

    /// Sets the answer to calls of this name: a route's path, a frame type, or a hook.
    pub(crate) fn answer(&self, name: &str, answer: FakeAnswer) {
        self.answers.lock().unwrap().insert(name.to_owned(), answer);
    }

    /// Makes calls of this name wait for a permit of the gate.
    pub(crate) fn hold(&self, name: &str) {
        self.gated.lock().unwrap().insert(name.to_owned());
    }

    /// Makes every heartbeat fail that names this connection.
    pub(crate) fn fail_heartbeats_of(&self, connection: ConnectionId, error: CallError) {
        self.bad_connections.lock().unwrap().insert(connection, error);
    }

    fn heartbeat_error(&self, request: &Request) -> Option<CallError> {
        let Request::Heartbeat(connections) = request else { return None };
        let bad = self.bad_connections.lock().unwrap();
        connections.iter().find_map(|connection| bad.get(&connection.id).cloned())
    }

    pub(crate) fn invocations(&self) -> Vec<Invocation> {
        self.invocations.lock().unwrap().clone()
    }

    /// The names of all invocations, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.invocations().iter().map(|invocation| self.name_of(&invocation.request)).collect()
    }

    fn name_of(&self, request: &Request) -> String {
        match request {
            Request::Http(http) => self.routes[http.route as usize].1.to_owned(),
            Request::Message { name, .. } => name.clone(),
            Request::Connected(_) => "connected".into(),
            Request::Heartbeat(connections) => format!("beat {}", connections.len()),
            Request::Disconnected(_) => "disconnected".into(),
            Request::Sync { .. } => "sync".into(),
            Request::Tick { .. } => "tick".into(),
            Request::Publication(_) => "publication".into(),
        }
    }
}

impl Callable for FakeFunctions {
    type Target = String;

    async fn call(&self, _target: &String, invocation: Invocation) -> FakeAnswer {
        let name = self.name_of(&invocation.request);
        let echo = match &invocation.request {
            Request::Message { payload, .. } => payload.clone(),
            _ => "{}".to_owned(),
        };
        let heartbeat_error = self.heartbeat_error(&invocation.request);
        self.invocations.lock().unwrap().push(invocation);
        if let Some(error) = heartbeat_error {
            return Err(error);
        }
        let gated = self.gated.lock().unwrap().contains(&name);
        if gated {
            self.gate.acquire().await.unwrap().forget();
        }
        let answer = self.answers.lock().unwrap().get(&name).cloned();
        answer.unwrap_or(Ok(Reply { status: 200, body: echo }))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Dispatcher for FakeFunctions {
    fn has_canaries(&self) -> bool {
        true
    }

    fn route(&self, method: &str, path: &str, _cohort: Cohort) -> RouteLookup<String> {
        let fits = |template: &str| match template.split_once('{') {
            Some((prefix, _)) => path.strip_prefix(prefix).filter(|rest| !rest.is_empty() && !rest.contains('/')),
            None => (template == path).then_some(""),
        };
        let known: Vec<_> = self.routes.iter().filter(|(_, template, _)| fits(template).is_some()).collect();
        match known.iter().find(|(known, _, _)| known.as_str() == method) {
            Some((_, template, access)) => RouteLookup::Found(MatchedRoute {
                target: (*template).to_owned(),
                access: *access,
                index: (0..).zip(&self.routes).find(|(_, (_, known, _))| known == template).unwrap().0,
                route: (*template).into(),
                parameters: vec![("id".into(), fits(template).unwrap_or_default().to_owned())],
            }),
            None if known.is_empty() => RouteLookup::NotFound,
            None => RouteLookup::MethodNotAllowed(known.iter().map(|(method, _, _)| *method).collect()),
        }
    }

    fn message(&self, name: &str, _cohort: Cohort) -> Option<String> {
        self.messages.contains(&name).then(|| name.to_owned())
    }

    fn hooks(&self, _hook: Hook) -> Vec<String> {
        vec!["hook".to_owned()]
    }

    fn is_required(&self, _target: &String) -> bool {
        self.required.load(Ordering::SeqCst)
    }

    fn documented(&self) -> Vec<Documented> {
        let documented = self.routes.iter().map(|(method, path, access)| Documented {
            function: "things".into(),
            method: *method,
            path: (*path).into(),
            access: *access,
            operation: serde_json::json!({ "summary": format!("{method} {path}") }),
        });
        documented.collect()
    }

    fn socket_descriptions(&self) -> Vec<SocketDescription> {
        Vec::new()
    }
}

pub(crate) fn socket_config() -> SocketConfig {
    SocketConfig {
        connections_max: 100,
        connections_per_user_max: 3,
        frame_bytes_max: 1_024,
        outbox_frames_max: 8,
        outbox_bytes_max: 64 * 1_024,
        calls_max: 4,
        ping_interval: Duration::from_secs(25),
        idle_timeout: Duration::from_secs(60),
        token_timeout: Duration::from_secs(5),
        unauthenticated_max: 2,
        beat_interval: Duration::from_secs(25),
    }
}

pub(crate) fn http_config() -> HttpConfig {
    HttpConfig {
        body_bytes_max: 1_024,
        read_timeout: Duration::from_secs(5),
        requests_max: 8,
        idle_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(10),
        connections_max: 100,
    }
}

/// Buckets that no test empties by accident.
pub(crate) fn users_config() -> UsersConfig {
    const MANY: u32 = 100_000;
    UsersConfig {
        requests_per_second_max: MANY,
        requests_burst_max: MANY,
        frames_per_second_max: MANY,
        frames_burst_max: MANY,
        sends_per_second_max: MANY,
        sends_burst_max: MANY,
        typing_per_second_max: MANY,
        typing_burst_max: MANY,
        connects_per_second_max: MANY,
        connects_burst_max: MANY,
        calls_max: 100,
        replays_max: 10,
    }
}

pub(crate) fn connects_config() -> ConnectsConfig {
    ConnectsConfig {
        per_second_max: 100_000,
        at_once_max: 16,
        wait_max: Duration::from_secs(5),
        replays_max: 16,
        replay_bytes_max: 1 << 20,
    }
}

pub(crate) fn auth_config() -> AuthConfig {
    AuthConfig {
        keys: vec![TokenKey::Secret(Secret(SECRET.into()))],
        issuer: None,
        audience: None,
        jwks_refresh: Duration::from_secs(300),
        leeway: Duration::ZERO,
        service_keys: vec![Secret(SERVICE_KEY.into())],
        admin_key: None,
        metrics_key: None,
        allowed_origins: vec!["https://chat.example".into()],
    }
}

/// A token for this user that expires after this time.
pub(crate) fn token(user: UserId, life: Duration) -> String {
    let expires = std::time::SystemTime::now() + life;
    let expires = expires.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let claims = serde_json::json!({ "sub": user.to_string(), "exp": expires });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    crate::server::auth::crypto::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// The parts of a host, with fakes in place of the functions and of the store.
pub(crate) struct FakeHost {
    pub(crate) store: Arc<LossyStore>,
    pub(crate) functions: Arc<FakeFunctions>,
    pub(crate) hub: Arc<Hub<LossyStore>>,
    pub(crate) state: Arc<AppState<FakeFunctions, LossyStore>>,
}

impl FakeHost {
    pub(crate) fn start() -> Self {
        Self::with(socket_config(), http_config())
    }

    pub(crate) fn with(socket: SocketConfig, http: HttpConfig) -> Self {
        Self::with_bounds(|bounds| (bounds.socket, bounds.http) = (socket, http))
    }

    /// With the bounds of the tests, which `change` may change.
    pub(crate) fn with_bounds(change: impl FnOnce(&mut ListenerBounds)) -> Self {
        let (users, connects) = (users_config(), connects_config());
        let (socket, http, refreshes) = (socket_config(), http_config(), RefreshGate::new(REFRESHES_MAX));
        let mut bounds = ListenerBounds { socket, http, users, connects, refreshes };
        change(&mut bounds);
        let store = LossyStore::new();
        let functions = FakeFunctions::new();
        let hub = Hub::start(store.clone(), &bounds.socket, TaskHealth::default());
        let auth = Authenticator::new(&auth_config()).unwrap();
        let state = AppState::with_bounds(functions.clone(), hub.clone(), auth, bounds, TaskHealth::default());
        Self { store, functions, hub, state }
    }
}
