//! The parts that every handler of the public listener shares. The composition root makes them once.

use std::sync::Arc;
use std::time::SystemTime;

use axum::http::HeaderMap;
use roost_core::port::{Bus, Feeds};
use tokio::task::AbortHandle;

use crate::config::{Config, HttpConfig, SocketConfig};
use crate::delivery::heartbeat;
use crate::delivery::hub::Hub;
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
    heartbeat: AbortHandle,
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> AppState<F, S> {
    /// Puts the parts together and starts the heartbeat of all connections.
    pub(crate) fn start(functions: Arc<F>, hub: Arc<Hub<S>>, auth: Authenticator, config: &Config) -> Arc<Self> {
        Self::with_bounds(functions, hub, auth, (config.socket.clone(), config.http.clone()))
    }

    pub(crate) fn with_bounds(
        functions: Arc<F>,
        hub: Arc<Hub<S>>,
        auth: Authenticator,
        (socket, http): (SocketConfig, HttpConfig),
    ) -> Arc<Self> {
        let task = tokio::spawn(heartbeat::run(functions.clone(), hub.clone(), socket.beat_interval));
        Arc::new(Self { functions, hub, auth, socket, http, heartbeat: task.abort_handle() })
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

impl<F, S> Drop for AppState<F, S> {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}
