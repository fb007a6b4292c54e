//! The host's own routes. Each is for reading.

use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::get;
use roost_core::port::{Bus, Feeds};

use crate::runtime::dispatcher::Dispatcher;
use crate::server::problem::{ApiError, Code, TraceId, Traced};
use crate::server::state::AppState;
use crate::{server::http::response, server::openapi, server::sse, server::sync, server::websocket};

/// Their paths.
pub(super) const ROUTES: [&str; 4] = ["/v1/socket", "/v1/events", "/v1/sync", "/v1/openapi.json"];

/// Answers them. A request carries its trace id among its extensions.
pub(super) fn router<F, S>(state: Arc<AppState<F, S>>) -> Router
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let described = Arc::new(openapi::Cache::default());
    let functions = Arc::clone(&state.functions);
    let describe = move || ready(response::json(200, described.document(functions.as_ref()).as_ref()));
    Router::new()
        .route("/v1/socket", get(websocket::get::<F, S>))
        .route("/v1/events", get(sse::get::<F, S>))
        .route("/v1/sync", get(sync::get::<F, S>))
        .route("/v1/openapi.json", get(describe))
        .method_not_allowed_fallback(only_get)
        .with_state(state)
}

async fn only_get(request: Request) -> impl IntoResponse {
    let fault = ApiError::from(Code::MethodNotAllowed).allowing(&["GET".to_owned(), "HEAD".to_owned()]);
    Traced(fault, TraceId::of(request.extensions()))
}
