//! The parts that every handler of the public listener shares. The composition root makes them once.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::HeaderMap;
use roost_core::port::{Bus, Feeds};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::{Config, ConnectsConfig, HttpConfig, SocketConfig, UsersConfig};
use crate::delivery::heartbeat;
use crate::delivery::hub::Hub;
use crate::ops::supervisor::{Supervisor, TaskHealth};
use crate::runtime::dispatcher::Dispatcher;
use crate::server::auth::{Authenticator, Credentials, Identity};
use crate::server::limits::{ConnectAdmission, UserLimits};
use crate::server::problem::{ApiError, ErrorCode};
use crate::server::refresh::RefreshGate;

/// How long a client should wait when too many requests are in flight.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The shared parts.
pub(crate) struct AppState<F, S> {
    /// The functions that answer requests and frames.
    pub(crate) functions: Arc<F>,
    /// The connections of this host.
    pub(crate) hub: Arc<Hub<S>>,
    pub(crate) auth: Authenticator,
    pub(crate) socket: SocketConfig,
    pub(crate) http: HttpConfig,
    /// What one user may ask.
    pub(crate) limits: Arc<UserLimits>,
    /// Admits clients that connect.
    pub(crate) connects: ConnectAdmission,
    /// Bounds how many disconnects are told to the functions at the same time.
    pub(crate) disconnects: Arc<Semaphore>,
    /// Bounds the requests in flight, from the end of their body to their answer.
    requests: Semaphore,
    /// Bounds the sockets that wait for the token of their client.
    pub(crate) unauthenticated: Arc<Semaphore>,
    /// Spreads the refreshes of all connections over time.
    pub(crate) refreshes: RefreshGate,
    /// Ends with the state.
    _tasks: Supervisor,
}

/// The bounds of the public listener.
#[derive(Debug)]
pub(crate) struct ListenerBounds {
    pub(crate) socket: SocketConfig,
    pub(crate) http: HttpConfig,
    pub(crate) users: UsersConfig,
    pub(crate) connects: ConnectsConfig,
    pub(crate) refreshes: RefreshGate,
}

impl ListenerBounds {
    fn of(config: &Config) -> Self {
        Self {
            socket: config.socket.clone(),
            http: config.http.clone(),
            users: config.users.clone(),
            connects: config.connects.clone(),
            refreshes: RefreshGate::for_functions(config),
        }
    }
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> AppState<F, S> {
    /// Puts the parts together and starts the heartbeat of all connections.
    pub(crate) fn start(
        functions: Arc<F>,
        hub: Arc<Hub<S>>,
        auth: Authenticator,
        (config, health): (&Config, TaskHealth),
    ) -> Arc<Self> {
        Self::with_bounds(functions, hub, auth, ListenerBounds::of(config), health)
    }

    pub(crate) fn with_bounds(
        functions: Arc<F>,
        hub: Arc<Hub<S>>,
        auth: Authenticator,
        bounds: ListenerBounds,
        health: TaskHealth,
    ) -> Arc<Self> {
        let ListenerBounds { socket, http, users, connects, refreshes } = bounds;
        let limits = Arc::new(UserLimits::new(&users, &connects));
        let mut tasks = Supervisor::new(health);
        let cleaned = limits.clone();
        tasks.spawn("user_limits", move || {
            let limits = cleaned.clone();
            async move { limits.clean().await }
        });
        let (called, connected, interval) = (functions.clone(), hub.clone(), socket.beat_interval);
        tasks.spawn("heartbeats", move || heartbeat::run(called.clone(), connected.clone(), interval));
        Arc::new(Self {
            functions,
            hub,
            auth,
            limits,
            connects: ConnectAdmission::new(&connects),
            disconnects: Arc::new(Semaphore::new(connects.at_once_max)),
            requests: Semaphore::new(http.requests_max.min(Semaphore::MAX_PERMITS)),
            unauthenticated: Arc::new(Semaphore::new(socket.unauthenticated_max)),
            refreshes,
            socket,
            http,
            _tasks: tasks,
        })
    }
}

impl<F, S> AppState<F, S> {
    /// Admits a request whose body has arrived, if not too many are in flight. Streams and sockets are bounded by the
    /// hub.
    pub(crate) fn begin_request(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.requests.try_acquire().map_err(|_| ApiError::from(ErrorCode::TooManyRequests).after(RETRY_AFTER))
    }

    /// Identifies the sender of these headers.
    pub(crate) async fn identify(&self, headers: &HeaderMap) -> Result<Identity, ApiError> {
        self.identify_credentials(&Credentials::of_headers(headers)?).await
    }

    /// Identifies the holder of these credentials. A token of an unknown key waits for the keys to be read again.
    pub(crate) async fn identify_credentials(&self, credentials: &Credentials) -> Result<Identity, ApiError> {
        self.auth.identify_or_ask(credentials, SystemTime::now()).await
    }

    /// Identifies the sender of these headers with the keys that are known.
    pub(crate) fn identify_at_once(&self, headers: &HeaderMap) -> Result<Identity, ApiError> {
        self.auth.identify(&Credentials::of_headers(headers)?, SystemTime::now())
    }
}
