//! The parts that every handler of the public listener shares. The composition root makes them once.

use std::sync::Arc;
use std::time::SystemTime;

use axum::http::HeaderMap;
use roost_core::port::{Bus, Feeds};

use crate::config::{Config, HttpConfig, SocketConfig};
use crate::delivery::heartbeat;
use crate::delivery::hub::Hub;
use crate::ops::supervisor::{Supervisor, TaskHealth};
use crate::runtime::dispatcher::Dispatcher;
use crate::server::auth::{Authenticator, Credentials, Identity};
use crate::server::problem::ApiError;

/// The shared parts.
pub(crate) struct AppState<F, S> {
    /// The functions that answer requests and frames.
    pub(crate) functions: Arc<F>,
    /// The connections of this host.
    pub(crate) hub: Arc<Hub<S>>,
    pub(crate) auth: Authenticator,
    pub(crate) socket: SocketConfig,
    pub(crate) http: HttpConfig,
    /// Ends with the state.
    _tasks: Supervisor,
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> AppState<F, S> {
    /// Puts the parts together and starts the heartbeat of all connections.
    pub(crate) fn start(
        functions: Arc<F>,
        hub: Arc<Hub<S>>,
        auth: Authenticator,
        (config, health): (&Config, TaskHealth),
    ) -> Arc<Self> {
        Self::with_bounds(functions, hub, auth, (config.socket.clone(), config.http.clone()), health)
    }

    pub(crate) fn with_bounds(
        functions: Arc<F>,
        hub: Arc<Hub<S>>,
        auth: Authenticator,
        (socket, http): (SocketConfig, HttpConfig),
        health: TaskHealth,
    ) -> Arc<Self> {
        let mut tasks = Supervisor::new(health);
        let (called, connected, interval) = (functions.clone(), hub.clone(), socket.beat_interval);
        tasks.spawn("heartbeats", move || heartbeat::run(called.clone(), connected.clone(), interval));
        Arc::new(Self { functions, hub, auth, socket, http, _tasks: tasks })
    }
}

impl<F, S> AppState<F, S> {
    /// Identifies the sender of these headers.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Identity, ApiError> {
        self.identify_credentials(&Credentials::of_headers(headers)?)
    }

    /// Identifies the holder of these credentials.
    pub(crate) fn identify_credentials(&self, credentials: &Credentials) -> Result<Identity, ApiError> {
        self.auth.identify(credentials, SystemTime::now())
    }
}
