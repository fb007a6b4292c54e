//! Every code that the host itself tells a client, with its HTTP status, title and socket form. Functions bring
//! codes of their own; their kind decides the status here.
//!
//! Internal text never passes through: a detail is written for the caller.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use axum::http::{Extensions, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use roost_core::port::StoreError;
use serde::Serialize;

use crate::runtime::{CallError, Failure, FailureKind};

/// The media type of every error document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What the host refuses, or fails at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the table below says what each means")]
pub enum Code {
    Unauthenticated,
    TokenInvalid,
    TokenExpired,
    TokenNotYetValid,
    TokenAudience,
    UserRequired,
    UserHeaderInvalid,
    UserHeaderRefused,
    ServiceOnly,
    OriginNotAllowed,
    NotFound,
    MethodNotAllowed,
    UpgradeRequired,
    InvalidUpgrade,
    InvalidQuery,
    InvalidSince,
    InvalidBody,
    UnsupportedMediaType,
    BodyTooLarge,
    ReadTimeout,
    InvalidFrame,
    IdRequired,
    TypeRequired,
    UnknownType,
    InvalidPayload,
    TooManyRequests,
    TooManyConnections,
    TooManyConnectionsOfUser,
    SlowClient,
    Draining,
    StoreUnavailable,
    Busy,
    FunctionFailed,
    FunctionTimeout,
    ReplyTooLarge,
    Internal,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What clients branch on. Never changes once published.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// For people; the same for every occurrence.
    pub title: &'static str,
    /// Trying the same again can help.
    pub retry: bool,
}

const fn no(status: u16, code: &'static str, title: &'static str) -> Row {
    Row { code, status, title, retry: false }
}

const fn again(status: u16, code: &'static str, title: &'static str) -> Row {
    Row { code, status, title, retry: true }
}

impl Code {
    /// Every code, in the order of the table.
    pub const ALL: [Self; 36] = [
        Self::Unauthenticated,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::TokenAudience,
        Self::UserRequired,
        Self::UserHeaderInvalid,
        Self::UserHeaderRefused,
        Self::ServiceOnly,
        Self::OriginNotAllowed,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UpgradeRequired,
        Self::InvalidUpgrade,
        Self::InvalidQuery,
        Self::InvalidSince,
        Self::InvalidBody,
        Self::UnsupportedMediaType,
        Self::BodyTooLarge,
        Self::ReadTimeout,
        Self::InvalidFrame,
        Self::IdRequired,
        Self::TypeRequired,
        Self::UnknownType,
        Self::InvalidPayload,
        Self::TooManyRequests,
        Self::TooManyConnections,
        Self::TooManyConnectionsOfUser,
        Self::SlowClient,
        Self::Draining,
        Self::StoreUnavailable,
        Self::Busy,
        Self::FunctionFailed,
        Self::FunctionTimeout,
        Self::ReplyTooLarge,
        Self::Internal,
    ];

    /// The code's line.
    pub const fn row(self) -> Row {
        match self {
            Self::Unauthenticated => no(401, "unauthenticated", "The request shows no token"),
            Self::TokenInvalid => no(401, "token_invalid", "The token is not valid"),
            Self::TokenExpired => no(401, "token_expired", "The token has expired"),
            Self::TokenNotYetValid => again(401, "token_not_yet_valid", "The token is not valid yet"),
            Self::TokenAudience => no(401, "token_audience", "The token is meant for somebody else"),
            Self::UserRequired => no(400, "user_required", "The request needs a user"),
            Self::UserHeaderInvalid => no(400, "user_header_invalid", "The header Roost-User is no user id"),
            Self::UserHeaderRefused => no(403, "user_header_refused", "Only a service may name a user"),
            Self::ServiceOnly => no(403, "service_only", "Only a service may do this"),
            Self::OriginNotAllowed => no(403, "origin_not_allowed", "The page's origin is not allowed"),
            Self::NotFound => no(404, "route_not_found", "No such route"),
            Self::MethodNotAllowed => no(405, "method_not_allowed", "The route has other methods"),
            Self::UpgradeRequired => no(426, "upgrade_required", "The route speaks WebSocket"),
            Self::InvalidUpgrade => no(400, "invalid_upgrade", "The WebSocket handshake is not valid"),
            Self::InvalidQuery => no(400, "invalid_query", "The query is not valid"),
            Self::InvalidSince => no(400, "invalid_since", "The position is not valid"),
            Self::InvalidBody => no(400, "invalid_body", "The body did not arrive"),
            Self::UnsupportedMediaType => no(415, "unsupported_media_type", "Bodies are JSON"),
            Self::BodyTooLarge => no(413, "body_too_large", "The body is too large"),
            Self::ReadTimeout => again(408, "read_timeout", "The request took too long to arrive"),
            Self::InvalidFrame => no(400, "invalid_frame", "The frame is not valid"),
            Self::IdRequired => no(400, "id_required", "The frame needs an id"),
            Self::TypeRequired => no(400, "type_required", "The frame needs a type"),
            Self::UnknownType => no(404, "unknown_type", "No function answers frames of this type"),
            Self::InvalidPayload => no(400, "invalid_payload", "The frame's payload is not valid"),
            Self::TooManyRequests => again(503, "too_many_requests", "The host has all the requests it can take"),
            Self::TooManyConnections => {
                again(503, "too_many_connections", "The host has all the connections it can take")
            }
            Self::TooManyConnectionsOfUser => {
                no(429, "too_many_connections_of_user", "The user has too many connections")
            }
            Self::SlowClient => again(503, "slow_client", "The client does not read what it is sent"),
            Self::Draining => again(503, "draining", "The host is stopping"),
            Self::StoreUnavailable => again(503, "store_unavailable", "The store does not answer"),
            Self::Busy => again(503, "busy", "The function has all the calls it can take"),
            Self::FunctionFailed => no(502, "function_failed", "The function failed"),
            Self::FunctionTimeout => again(504, "function_timeout", "The function took too long"),
            Self::ReplyTooLarge => no(502, "reply_too_large", "The function's reply was too large"),
            Self::Internal => no(500, "internal", "Something went wrong"),
        }
    }
}

/// Something that did not work, on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// Stable, `a-z` and `_`.
    pub code: Cow<'static, str>,
    /// For people; the same for every occurrence.
    pub title: &'static str,
    /// For the caller: what was wrong this time.
    pub detail: String,
    /// Trying the same again can help.
    pub retry: bool,
    /// After so long, if known.
    pub retry_after: Option<Duration>,
    /// What the answer's `Allow` header says: a 405's methods.
    pub allow: Option<String>,
}

impl ApiError {
    /// One of the host's own.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let row = code.row();
        Self {
            status: row.status,
            code: Cow::Borrowed(row.code),
            title: row.title,
            detail: detail.into(),
            retry: row.retry,
            retry_after: None,
            allow: None,
        }
    }

    /// With the time after which trying again makes sense.
    #[must_use]
    pub const fn after(mut self, span: Duration) -> Self {
        self.retry_after = Some(span);
        self
    }

    /// With the methods that a route has.
    #[must_use]
    pub fn allowing(mut self, methods: &[String]) -> Self {
        self.allow = Some(methods.join(", "));
        self
    }

    /// This is the host's own code.
    pub fn is(&self, code: Code) -> bool {
        self.code == code.row().code
    }

    /// The problem document, as a response.
    pub fn response(&self, trace: &str) -> Response<Body> {
        let mut response = Response::new(Body::from(self.problem(trace)));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(span) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds_up(span)));
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        if self.status == 426 {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        if self.status == 401 {
            headers.insert(WWW_AUTHENTICATE, self.challenge());
        }
        response
    }

    /// The problem document's text (RFC 9457).
    pub fn problem(&self, trace: &str) -> String {
        #[derive(Serialize)]
        struct Problem<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            code: &'a str,
            detail: &'a str,
            trace: &'a str,
            retry: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            retry_after_ms: Option<u64>,
        }
        encode(&Problem {
            r#type: format!("urn:roost:error:{}", self.code),
            title: self.title,
            status: self.status,
            code: &self.code,
            detail: &self.detail,
            trace,
            retry: self.retry,
            retry_after_ms: self.retry_after.map(milliseconds),
        })
    }

    /// The `error` member of a socket frame.
    pub fn socket_form<'a>(&'a self, trace: &'a str) -> SocketError<'a> {
        SocketError {
            code: &self.code,
            message: &self.detail,
            retry: self.retry,
            retry_after_ms: self.retry_after.map(milliseconds),
            trace,
        }
    }

    fn challenge(&self) -> HeaderValue {
        if self.is(Code::Unauthenticated) {
            return HeaderValue::from_static("Bearer realm=\"roost\"");
        }
        let text = format!("Bearer realm=\"roost\", error=\"invalid_token\", error_description=\"{}\"", self.title);
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer realm=\"roost\""))
    }
}

/// What a socket frame says of an error.
#[derive(Clone, Debug, Serialize)]
pub struct SocketError<'a> {
    code: &'a str,
    message: &'a str,
    retry: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    trace: &'a str,
}

impl From<Code> for ApiError {
    /// With the title as the detail.
    fn from(code: Code) -> Self {
        Self::new(code, code.row().title)
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let (status, title) = of_kind(failure.kind);
        Self {
            status,
            code: Cow::Owned(failure.code),
            title,
            detail: failure.message,
            retry: failure.retry,
            retry_after: failure.retry_after,
            allow: None,
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed(failure) => failure.into(),
            CallError::Busy { retry_after } => Self::from(Code::Busy).after(retry_after),
            CallError::Trapped => Code::FunctionFailed.into(),
            CallError::DeadlineExceeded => Code::FunctionTimeout.into(),
            CallError::ReplyTooLarge => Code::ReplyTooLarge.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { retry_after_ms } => {
                Self::from(Code::StoreUnavailable).after(Duration::from_millis(retry_after_ms.into()))
            }
            other => {
                tracing::error!(error = %other, "the store refused the host");
                Code::Internal.into()
            }
        }
    }
}

/// The trace id of a request, kept with it for whoever answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceId(pub std::sync::Arc<str>);

impl TraceId {
    /// Of the request with these extensions.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_else(|| Self(crate::ops::trace::new_id().into()))
    }
}

/// A fault that knows its request's trace id.
#[derive(Clone, Debug)]
pub struct Traced(pub ApiError, pub TraceId);

impl IntoResponse for Traced {
    fn into_response(self) -> axum::response::Response {
        self.0.response(&self.1.0)
    }
}

const fn of_kind(kind: FailureKind) -> (u16, &'static str) {
    match kind {
        FailureKind::Invalid => (400, "The request is not valid"),
        FailureKind::Forbidden => (403, "Not allowed"),
        FailureKind::NotFound => (404, "Not found"),
        FailureKind::Conflict => (409, "Something else is there"),
        FailureKind::TooLarge => (413, "Too large"),
        FailureKind::RateLimited => (429, "Too often"),
        FailureKind::Unavailable => (503, "Not now"),
        FailureKind::Internal => (500, "Something went wrong"),
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// `Retry-After` counts whole seconds: rounded up, at least one.
fn seconds_up(span: Duration) -> u64 {
    milliseconds(span).div_ceil(1_000).max(1)
}

/// Strings and numbers always encode.
pub(crate) fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
