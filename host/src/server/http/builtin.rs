//! The routes that the host itself answers. All of them are `GET`. Their paths are in `runtime::host_paths`.

use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::get;
use roost_core::port::{Bus, Feeds};

use super::response;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::host_paths;
use crate::server::document_cache::DocumentCache;
use crate::server::problem::{ApiError, TraceId, TracedError};
use crate::server::state::AppState;
use crate::server::{asyncapi, openapi, sse, sync, websocket};

/// Answers the built-in routes. A request carries its trace id among its extensions.
pub(super) fn router<F, S>(state: Arc<AppState<F, S>>) -> Router
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let (openapi, asyncapi) = (DocumentCache::new(openapi::compose), DocumentCache::new(asyncapi::compose));
    let (http, socket) = (Arc::clone(&state.functions), Arc::clone(&state.functions));
    let openapi = move || ready(response::json(200, openapi.get(http.as_ref()).as_ref()));
    let asyncapi = move || ready(response::json(200, asyncapi.get(socket.as_ref()).as_ref()));
    Router::new()
        .route(host_paths::SOCKET, get(websocket::get::<F, S>))
        .route(host_paths::EVENTS, get(sse::get::<F, S>))
        .route(host_paths::SYNC, get(sync::get::<F, S>))
        .route(host_paths::OPENAPI, get(openapi))
        .route(host_paths::ASYNCAPI, get(asyncapi))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(state)
}

async fn method_not_allowed(request: Request) -> impl IntoResponse {
    let error = ApiError::method_not_allowed(request.uri().path(), &["GET"]);
    TracedError(error, TraceId::of(request.extensions()))
}
