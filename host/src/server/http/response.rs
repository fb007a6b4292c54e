//! Responses to requests that succeeded, and what is held until they are written.

use std::any::Any;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

/// Something that is held until a response is written, among the extensions of the response.
#[derive(Clone, Debug)]
pub(crate) struct HeldUntilWritten {
    _held: Arc<dyn Any + Send + Sync>,
}

/// Holds this until the response is written to its client.
pub(crate) fn until_written(mut response: Response, held: Option<impl Any + Send + Sync>) -> Response {
    if let Some(held) = held {
        response.extensions_mut().insert(HeldUntilWritten { _held: Arc::new(held) });
    }
    response
}

/// A response with this status and JSON text; without text, a response without a body.
pub(crate) fn json(status: u16, text: impl Into<String>) -> Response {
    let text = text.into();
    let empty = text.is_empty();
    let status = match StatusCode::from_u16(status) {
        Ok(StatusCode::OK) if empty => StatusCode::NO_CONTENT,
        Ok(status) => status,
        Err(_) => StatusCode::OK,
    };
    let mut response = Response::new(if empty { Body::empty() } else { Body::from(text) });
    *response.status_mut() = status;
    if !empty {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}
