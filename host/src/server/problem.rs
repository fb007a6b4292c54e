//! The two forms in which clients receive an error: a problem document, and the `error` member of a frame. The host's
//! own codes are in `error_code.rs`; functions bring codes of their own, and the kind of a failure decides its status.
//!
//! Internal text never reaches a client: a detail is written for the caller.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE};
use axum::http::{Extensions, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use roost_core::port::StoreError;
use schemars::JsonSchema;
use serde::Serialize;

pub use super::error_code::{ErrorCode, ErrorSpec};
use crate::runtime::{CallError, Failure, FailureKind};

/// The media type of every error document.
const PROBLEM_JSON: &str = "application/problem+json";

/// An error as clients receive it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The stable code, `a-z` and `_`.
    pub code: Cow<'static, str>,
    /// A title for people, the same for every occurrence.
    pub title: &'static str,
    /// What was wrong this time, what is allowed, and what to do next.
    pub detail: String,
    /// Whether trying the same again can help.
    pub retry: bool,
    /// How long to wait before trying again, if known.
    pub retry_after: Option<Duration>,
    /// The header `Allow` of a 405 answer: the methods of the path.
    pub(crate) allow: Option<String>,
}

impl ApiError {
    /// An error of the host itself.
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let spec = code.spec();
        Self {
            status: spec.status,
            code: Cow::Borrowed(spec.code),
            title: spec.title,
            detail: detail.into(),
            retry: spec.retry,
            retry_after: None,
            allow: None,
        }
    }

    /// Adds how long to wait before trying again.
    #[must_use]
    pub(crate) const fn after(mut self, span: Duration) -> Self {
        self.retry_after = Some(span);
        self
    }

    /// A 405 answer for a path that has only these methods.
    pub(crate) fn method_not_allowed(path: &str, methods: &[&str]) -> Self {
        // Every `GET` is answered as `HEAD` too.
        let head = methods.contains(&"GET").then_some("HEAD");
        let allow = methods.iter().copied().chain(head).collect::<Vec<_>>().join(", ");
        let error = Self::new(ErrorCode::MethodNotAllowed, format!("{path} does not accept this method, only {allow}"));
        Self { allow: Some(allow), ..error }
    }

    /// Whether the error has this code of the host.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code == code.spec().code
    }

    /// The response that carries the problem document.
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
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if self.status == 401 {
            headers.insert(WWW_AUTHENTICATE, self.challenge());
        }
        response
    }

    /// The text of the problem document (RFC 9457).
    pub(crate) fn problem(&self, trace: &str) -> String {
        encode(&ProblemDocument {
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
    pub(crate) fn socket_form<'a>(&'a self, trace: &'a str) -> SocketError<'a> {
        SocketError {
            code: &self.code,
            message: &self.detail,
            retry: self.retry,
            retry_after_ms: self.retry_after.map(milliseconds),
            trace,
        }
    }

    fn challenge(&self) -> HeaderValue {
        if self.is(ErrorCode::Unauthenticated) {
            return HeaderValue::from_static("Bearer realm=\"roost\"");
        }
        let text = format!("Bearer realm=\"roost\", error=\"invalid_token\", error_description=\"{}\"", self.title);
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer realm=\"roost\""))
    }
}

/// An error in a socket frame.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(crate) struct SocketError<'a> {
    /// The stable code of the error, for programs. Only frames are answered with `invalid_frame` (the frame is not a
    /// JSON object), `id_required`, `type_required`, `unknown_type`, `invalid_payload` (the payload of `sync` or
    /// `token` is not valid; the frames of functions answer `invalid`), `token_of_another_user` and
    /// `token_ends_earlier` (both answer `token`). Only streams end with `slow_client` or `disconnected`. HTTP has all
    /// other codes as well.
    code: &'a str,
    /// What was wrong and what is allowed, for people.
    message: &'a str,
    /// Whether the same frame can succeed later.
    retry: bool,
    /// The time after which the same frame makes sense again, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    retry_after_ms: Option<u64>,
    /// The trace id of the frame, as in the log of the host.
    trace: &'a str,
}

/// The members of a problem document.
#[derive(JsonSchema, Serialize)]
pub(crate) struct ProblemDocument<'a> {
    /// A URI that names the kind of error: `urn:roost:error:` and the code.
    r#type: String,
    /// The kind of error in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// The stable code of the error, for programs.
    code: &'a str,
    /// What was wrong with this request and what is allowed, for people.
    detail: &'a str,
    /// The trace id of the request, as in the header `Roost-Trace` and in the log of the host.
    trace: &'a str,
    /// Whether the same request can succeed later.
    retry: bool,
    /// The time after which the same request makes sense again, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    retry_after_ms: Option<u64>,
}

impl From<ErrorCode> for ApiError {
    /// An error with the default detail of its code.
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.spec().detail)
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let (status, title) = status_and_title(failure.kind);
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
            CallError::Busy { retry_after } => Self::from(ErrorCode::Busy).after(retry_after),
            CallError::Trapped => ErrorCode::FunctionFailed.into(),
            CallError::DeadlineExceeded => ErrorCode::FunctionTimeout.into(),
            CallError::ReplyTooLarge => ErrorCode::ReplyTooLarge.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { retry_after_ms } => {
                Self::from(ErrorCode::StoreUnavailable).after(Duration::from_millis(retry_after_ms.into()))
            }
            other => {
                tracing::error!(error = %other, "the store refused an operation of the host: a defect");
                ErrorCode::Internal.into()
            }
        }
    }
}

/// The trace id of a request. It is stored among the request's extensions, for the handlers of the built-in routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(pub(crate) std::sync::Arc<str>);

impl TraceId {
    /// The trace id in these extensions, or a new one.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_else(|| Self(crate::ops::trace::new_id().into()))
    }
}

/// An error with the trace id of its request, as a response.
#[derive(Clone, Debug)]
pub(crate) struct TracedError(pub(crate) ApiError, pub(crate) TraceId);

impl IntoResponse for TracedError {
    fn into_response(self) -> axum::response::Response {
        self.0.response(&self.1.0)
    }
}

const fn status_and_title(kind: FailureKind) -> (u16, &'static str) {
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

/// `Retry-After` is in whole seconds: rounded up, and at least one.
fn seconds_up(span: Duration) -> u64 {
    milliseconds(span).div_ceil(1_000).max(1)
}

/// JSON text of a value without maps, which always can be encoded.
pub(crate) fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
