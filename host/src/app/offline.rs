//! A host without listeners, on an embedded store whose time moves only when it is told to. It is asked in this
//! process, through the same services as clients: their credentials, bounds and errors apply. `roost test` runs
//! scenarios on it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Body;
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use http_body_util::BodyExt;
use roost_core::ids::{ConnectionId, ConversationId, UserId};
use roost_core::port::{Bus, Delivery, Feeds, Subscriber};
use serde_json::{Value, json};

use crate::config::{Config, RecordsUrl, Secret, Sources, SqliteLocation, TokenKey};
use crate::delivery::hub::Hub;
use crate::ops::supervisor::TaskHealth;
use crate::records::RecordStore;
use crate::runtime::{
    self, CallError, Caller, Engine, Functions, HostWorld, Invocation, MEMORY_BYTES_MAX, Options, OwnSources, hooks,
    host_paths, triggers,
};
use crate::server::auth::{Authenticator, issuer};
use crate::server::http::HttpService;
use crate::server::problem::ApiError;
use crate::server::state::AppState;
use crate::server::websocket;
use crate::store::{StepClock, Store};

/// The life of the tokens that requests are made with. They follow the clock of this machine.
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);
/// The trace id of everything that is not an HTTP request.
const TRACE: &str = "offline";

/// A host without listeners. Dropping it ends it.
pub(crate) struct OfflineHost {
    /// Moves the time of the host.
    pub(crate) clock: StepClock,
    /// The live state.
    pub(crate) store: Store,
    /// The system of record.
    pub(crate) records: RecordStore,
    /// The names of the functions, in the order of their components.
    pub(crate) names: Vec<String>,
    config: Config,
    functions: Functions,
    state: Arc<AppState<Functions, Store>>,
    service: HttpService<Functions, Store>,
    events: Arc<RecordedEvents>,
}

/// On whose behalf a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfflineCaller {
    /// A user, by a token.
    User(UserId),
    /// A service that acts for itself.
    Service,
    /// A service that acts for a user.
    ServiceFor(UserId),
    /// A caller without credentials.
    Nobody,
}

/// What a client would get.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OfflineAnswer {
    /// The status of an HTTP answer.
    pub(crate) status: Option<u16>,
    /// The code and the message of a refusal or a failure.
    pub(crate) refusal: Option<(String, String)>,
    /// The body of an HTTP answer, the payload of a frame, or the members that hooks answered. Null if there is none.
    pub(crate) body: Value,
}

/// An event that a user's devices would get.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OfflineEvent {
    pub(crate) user: UserId,
    pub(crate) name: String,
    pub(crate) payload: Value,
    pub(crate) durable: bool,
}

/// A life-cycle hook of a connection, or a client's request to synchronise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OfflineHook {
    Connected(runtime::Connection),
    Heartbeat(Vec<runtime::Connection>),
    Disconnected(runtime::Connection),
    Sync(UserId, Option<Vec<ConversationId>>),
}

/// The configuration of hosts without listeners: the defaults, with a secret and a service key of their own.
pub(crate) fn offline_config() -> anyhow::Result<Config> {
    // No file of the current directory has an influence.
    let file = Some(PathBuf::from("/dev/null"));
    let mut config = Sources { defaults: vec![("log", "warn".to_owned())], file, ..Sources::default() }.load()?;
    let random = || Secret(format!("{:032x}", rand::random::<u128>()));
    config.auth.keys = vec![TokenKey::Secret(random())];
    config.auth.service_keys = vec![random()];
    // The clock of a scenario moves by itself, and that of the buckets does not: a scenario is not to meet their
    // bounds.
    let users = &mut config.users;
    for rate in [
        &mut users.requests_per_second_max,
        &mut users.requests_burst_max,
        &mut users.frames_per_second_max,
        &mut users.frames_burst_max,
        &mut users.sends_per_second_max,
        &mut users.sends_burst_max,
        &mut users.typing_per_second_max,
        &mut users.typing_burst_max,
    ] {
        *rate = u32::MAX;
    }
    // Enough for components made from languages with an engine of their own.
    config.function_defaults.memory_bytes_max = MEMORY_BYTES_MAX;
    Ok(config)
}

impl OfflineHost {
    /// Starts a host with an empty world, in which these components serve. Compiled components are kept in `cache_dir`.
    pub(crate) async fn start(
        engine: Engine,
        config: &Config,
        (components, cache_dir): (&[PathBuf], &Path),
        clock: StepClock,
    ) -> anyhow::Result<Self> {
        let store = Store::memory_on(clock.clone());
        let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await?;
        // A scenario tries what a function does, and not what an operator allows it.
        let own_sources = Some(OwnSources::new(|_| true));
        let cache_dir = Some(cache_dir.to_owned());
        let options = Options { cache_dir, own_sources, ..Options::of_config(config) };
        let functions = Functions::new(
            engine,
            HostWorld::new(store.clone(), records.clone()).with_additions(config.conversations.add),
            options,
        )?;
        let mut names = Vec::with_capacity(components.len());
        for component in components {
            names.push(functions.deploy_file(component).await?.name);
        }
        let (auth, tasks) = (Authenticator::new(&config.auth)?, TaskHealth::default());
        let hub = Hub::start(Arc::new(store.clone()), &config.socket, tasks.clone());
        let state = AppState::start(Arc::new(functions.clone()), hub, auth, (config, tasks));
        let service = HttpService::new(Arc::clone(&state));
        let events = Arc::<RecordedEvents>::default();
        Ok(Self { clock, store, records, names, config: config.clone(), functions, state, service, events })
    }

    /// Records the events of a user from now on.
    pub(crate) async fn follow(&self, user: UserId) -> anyhow::Result<()> {
        Ok(self.store.join(user, Arc::<RecordedEvents>::clone(&self.events)).await?)
    }

    /// Renews for how long the events of these users are kept, as their heartbeats do.
    pub(crate) async fn renew_followed(&self, users: &[UserId]) -> anyhow::Result<()> {
        self.store.follow(users).await?;
        Ok(())
    }

    /// The events of the followed users since this was last called, in the order of publication.
    pub(crate) fn take_events(&self) -> Vec<OfflineEvent> {
        std::mem::take(&mut *self.events.lock())
    }

    /// Makes an HTTP request. The path is percent-encoded.
    pub(crate) async fn request(
        &self,
        caller: OfflineCaller,
        (method, path): (&str, &str),
        body: Option<&Value>,
    ) -> anyhow::Result<OfflineAnswer> {
        let without_query = path.split('?').next().unwrap_or_default();
        if [host_paths::SOCKET, host_paths::EVENTS].contains(&without_query) {
            bail!("{without_query} streams events and never ends; name the events that a step expects in `events`");
        }
        let mut request = Request::builder().method(method).uri(path);
        if let Some(bearer) = self.bearer(caller)? {
            request = request.header(AUTHORIZATION, format!("Bearer {bearer}"));
        }
        if let OfflineCaller::ServiceFor(user) = caller {
            request = request.header("roost-user", user.to_string());
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.body(body).with_context(|| format!("{method} {path} is no HTTP request"))?;
        let response = self.service.answer(request).await;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        let body: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let refusal = (!status.is_success()).then(|| (text("code"), text("detail")));
        Ok(OfflineAnswer { status: Some(status.as_u16()), refusal, body })
    }

    fn bearer(&self, caller: OfflineCaller) -> anyhow::Result<Option<String>> {
        Ok(match caller {
            OfflineCaller::User(user) => Some(issuer::sign(&self.config.auth, user, TOKEN_LIFE)?),
            OfflineCaller::Service | OfflineCaller::ServiceFor(_) => {
                self.config.auth.service_keys.first().map(|key| key.0.clone())
            }
            OfflineCaller::Nobody => None,
        })
    }

    /// Sends a frame, as a client's socket would.
    pub(crate) async fn frame(&self, from: (UserId, ConnectionId), name: &str, payload: &Value) -> OfflineAnswer {
        let frame = json!({ "id": "1", "type": name, "payload": payload }).to_string();
        let answer = websocket::answer_text(&self.state, from, &frame, TRACE).await;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        let error = answer.get("error").cloned();
        let text = |error: &Value, name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        OfflineAnswer {
            status: None,
            refusal: error.as_ref().map(|error| (text(error, "code"), text(error, "message"))),
            body: error.or_else(|| answer.get("payload").cloned()).unwrap_or_default(),
        }
    }

    /// Calls every function that declares the hook.
    pub(crate) async fn hook(&self, hook: OfflineHook) -> OfflineAnswer {
        let functions = &self.functions;
        let replies = match hook {
            OfflineHook::Connected(connection) => hooks::connected(functions, TRACE, &connection).await,
            OfflineHook::Heartbeat(connections) => hooks::heartbeat(functions, TRACE, &connections).await,
            OfflineHook::Disconnected(connection) => hooks::disconnected(functions, TRACE, &connection).await,
            OfflineHook::Sync(user, conversations) => hooks::sync(functions, TRACE, user, conversations).await,
        };
        let refusal = replies.failures.first().map(refusal_of);
        OfflineAnswer { status: None, refusal, body: Value::Object(replies.members) }
    }

    /// Makes one repetition of a schedule, for one shard or for all. `None`: the function has no such schedule.
    pub(crate) async fn tick(&self, function: &str, schedule: &str, shard: Option<u32>) -> Option<OfflineAnswer> {
        let all = self.functions.schedules();
        let (target, found) =
            all.into_iter().find(|(target, known)| target.name() == function && known.name == schedule)?;
        let mut answer = OfflineAnswer { status: None, refusal: None, body: Value::Null };
        for shard in shard.map_or(0..found.shards, |shard| shard..shard.saturating_add(1)) {
            let request = runtime::Request::Tick { schedule: schedule.to_owned(), shard };
            let invocation = Invocation { caller: Caller::Host, trace: TRACE.into(), request };
            match self.functions.call(&target, invocation).await {
                Ok(reply) => answer.body = serde_json::from_str(&reply.body).unwrap_or_default(),
                Err(error) => answer.refusal = Some(refusal_of(&error)),
            }
        }
        Some(answer)
    }

    /// Makes the calls for publications that are due, and those that these cause.
    pub(crate) async fn make_triggered_calls(&self) -> anyhow::Result<()> {
        if triggers::make_due(&Arc::new(self.functions.clone()), &self.store).await? {
            return Ok(());
        }
        bail!("one step led to more than a thousand calls for publications; publish less in one step")
    }
}

fn refusal_of(error: &CallError) -> (String, String) {
    let error = ApiError::from(error.clone());
    (error.code.into_owned(), error.detail)
}

/// Keeps the events of users in the order in which the store delivers them.
#[derive(Debug, Default)]
struct RecordedEvents(Mutex<Vec<OfflineEvent>>);

impl RecordedEvents {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<OfflineEvent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for RecordedEvents {
    fn deliver(&self, user: UserId, delivery: Delivery) {
        let payload = serde_json::from_str(&delivery.payload);
        let payload = payload.unwrap_or_else(|_| Value::String(delivery.payload.to_string()));
        let (name, durable) = (delivery.name.to_string(), delivery.position.is_some());
        self.lock().push(OfflineEvent { user, name, payload, durable });
    }

    fn interrupted(&self, _: &[UserId]) {}
}
