//! The keys of the admin listener: which one a request shows, and which routes it opens.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::AdminState;
use super::action_log::Refused;
use crate::config::Secret;
use crate::server::auth::Credentials;
use crate::server::problem::{ApiError, ErrorCode};

/// The key that a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShownKey {
    Admin,
    Metrics,
    /// None of the configured keys, or a header that cannot be read.
    Unknown,
    Missing,
}

impl ShownKey {
    /// The name of the key in the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin_key",
            Self::Metrics => "metrics_key",
            Self::Unknown => "unknown",
            Self::Missing => "none",
        }
    }
}

/// Lets only requests with the admin key pass.
pub(super) async fn admin_only(State(state): State<Arc<AdminState>>, request: Request, next: Next) -> Response {
    pass(state.check_admin_key(request.headers()), request, next).await
}

/// Lets only requests with the metrics key or the admin key pass, or all if there is no metrics key.
pub(super) async fn metrics_only(State(state): State<Arc<AdminState>>, request: Request, next: Next) -> Response {
    pass(state.check_metrics_key(request.headers()), request, next).await
}

async fn pass(checked: Result<(), ApiError>, request: Request, next: Next) -> Response {
    match checked {
        Ok(()) => next.run(request).await,
        Err(error) => Refused(error).into_response(),
    }
}

impl AdminState {
    pub(super) fn shown_key(&self, headers: &HeaderMap) -> ShownKey {
        match Credentials::of_headers(headers).map(|credentials| credentials.bearer) {
            Ok(None) => ShownKey::Missing,
            Ok(Some(shown)) if is_key(&shown, self.key.as_ref()) => ShownKey::Admin,
            Ok(Some(shown)) if is_key(&shown, self.metrics_key.as_ref()) => ShownKey::Metrics,
            Ok(Some(_)) | Err(_) => ShownKey::Unknown,
        }
    }

    fn check_admin_key(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        if self.key.is_none() {
            let detail =
                "set admin_key (ROOST_ADMIN_KEY) in the configuration of the host, and send it as a bearer token";
            let problem = ApiError::new(ErrorCode::Internal, detail);
            return Err(ApiError {
                status: 403,
                code: "admin_key_unset".into(),
                title: "There is no admin key",
                ..problem
            });
        }
        // A header that cannot be read is refused with its own reason.
        Credentials::of_headers(headers)?;
        match self.shown_key(headers) {
            ShownKey::Admin => Ok(()),
            ShownKey::Missing => Err(ApiError::new(ErrorCode::Unauthenticated, "send the admin key as a bearer token")),
            ShownKey::Metrics | ShownKey::Unknown => Err(ApiError::new(
                ErrorCode::TokenInvalid,
                "this is not the admin key; send the value of admin_key (ROOST_ADMIN_KEY) as a bearer token",
            )),
        }
    }

    fn check_metrics_key(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        if self.metrics_key.is_none() {
            return Ok(());
        }
        Credentials::of_headers(headers)?;
        match self.shown_key(headers) {
            ShownKey::Admin | ShownKey::Metrics => Ok(()),
            ShownKey::Missing => {
                Err(ApiError::new(ErrorCode::Unauthenticated, "send the metrics key as a bearer token"))
            }
            ShownKey::Unknown => Err(ApiError::new(
                ErrorCode::TokenInvalid,
                "this is not the metrics key; send the value of metrics_key (ROOST_METRICS_KEY) as a bearer token",
            )),
        }
    }
}

/// Compares in constant time, so that the time taken reveals nothing but the length.
fn is_key(shown: &str, key: Option<&Secret>) -> bool {
    key.is_some_and(|key| bool::from(shown.as_bytes().ct_eq(key.0.as_bytes())))
}
