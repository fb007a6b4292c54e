//! What the public listener is made of, for everything that answers there: routes, sockets, event streams.

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

/// The parts, made once by the composition root.
pub struct AppState<F, S> {
    /// Who answers.
    pub functions: Arc<F>,
    /// Who is connected.
    pub hub: Arc<Hub<S>>,
    /// Who may come in.
    pub auth: Authenticator,
    /// Socket bounds.
    pub socket: SocketConfig,
    /// HTTP bounds.
    pub http: HttpConfig,
    beat: AbortHandle,
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> AppState<F, S> {
    /// Puts the parts together and starts the beat of all connections.
    pub fn start(functions: Arc<F>, hub: Arc<Hub<S>>, auth: Authenticator, config: &Config) -> Arc<Self> {
        Self::with_bounds(functions, hub, auth, (config.socket.clone(), config.http.clone()))
    }

    pub(crate) fn with_bounds(
        functions: Arc<F>,
        hub: Arc<Hub<S>>,
        auth: Authenticator,
        (socket, http): (SocketConfig, HttpConfig),
    ) -> Arc<Self> {
        let beat = tokio::spawn(heartbeat::run(functions.clone(), hub.clone(), socket.beat_interval)).abort_handle();
        Arc::new(Self { functions, hub, auth, socket, http, beat })
    }
}

impl<F, S> AppState<F, S> {
    /// Who sends these headers.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Identity, ApiError> {
        self.identify_credentials(&Credentials::of_headers(headers)?)
    }

    /// Who shows these credentials.
    pub(crate) fn identify_credentials(&self, credentials: &Credentials) -> Result<Identity, ApiError> {
        self.auth.identify(credentials, SystemTime::now())
    }
}

impl<F, S> Drop for AppState<F, S> {
    fn drop(&mut self) {
        self.beat.abort();
    }
}
