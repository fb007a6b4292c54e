//! The public listener's routes: the host's own four, and whatever the functions declare.
//!
//! Every answer that is an error is a problem document with a trace id. The composition root makes one
//! [`PublicState`] and one [`Face`]; nothing here makes parts.

mod body;
mod count;
mod face;
mod head_timer;
mod own;
pub mod query;
pub mod respond;
mod route;
mod serve;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use axum::http::{Extensions, HeaderMap};
use roost_core::port::{Bus, Feeds};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

pub use face::Face;
pub use serve::{Answerer, serve};

use crate::auth::{Authenticator, Credentials, Identity};
use crate::calls::FunctionTable;
use crate::config::{Config, HttpConfig, SocketConfig};
use crate::error::{Fault, TraceId};
use crate::hub::Hub;
use crate::{beat, openapi};

/// What the public listener is made of.
pub struct PublicState<F, S> {
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
    in_flight: Semaphore,
    requests: count::Requests,
    openapi: openapi::Cache,
    beat: AbortHandle,
}

impl<F: FunctionTable, S: Bus + Feeds + 'static> PublicState<F, S> {
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
        let beat = tokio::spawn(beat::run(functions.clone(), hub.clone(), socket.beat_interval)).abort_handle();
        let in_flight = Semaphore::new(http.requests_max);
        let (requests, openapi) = (count::Requests::default(), openapi::Cache::default());
        Arc::new(Self { functions, hub, auth, socket, http, in_flight, requests, openapi, beat })
    }
}

impl<F, S> PublicState<F, S> {
    /// Who sends these headers.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Identity, Fault> {
        self.identify_credentials(&Credentials::of_headers(headers)?)
    }

    /// Who shows these credentials.
    pub(crate) fn identify_credentials(&self, credentials: &Credentials) -> Result<Identity, Fault> {
        self.auth.identify(credentials, SystemTime::now())
    }

    pub(crate) const fn openapi(&self) -> &openapi::Cache {
        &self.openapi
    }
}

impl<F, S> Drop for PublicState<F, S> {
    fn drop(&mut self) {
        self.beat.abort();
    }
}

/// The request's trace id.
pub(crate) fn trace_of(extensions: &Extensions) -> TraceId {
    let known = extensions.get::<TraceId>().cloned();
    known.unwrap_or_else(|| TraceId(crate::trace::new_id().into()))
}
