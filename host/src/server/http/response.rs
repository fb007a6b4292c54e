//! Responses to requests that succeeded.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

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
