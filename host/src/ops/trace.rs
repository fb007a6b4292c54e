//! Trace ids: each request has one, which is in its answer, in every log line about it, and in the requests that the
//! host makes to other services for it. And spans: which of them exist, and what each of them says.
//!
//! Spans are enabled only while `otlp` exports them. A disabled span costs about 20 ns in a release build, and a
//! request has about five. A span says what was done, never what was sent: no token, no key and no body is in a field.

use std::future::Future;
use std::sync::Arc;

use axum::http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::trace::{self as otel, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceState};
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

/// The target of every span. No log line has it.
pub(crate) const SPAN_TARGET: &str = "roost::span";
/// The value of `otel.status_code` for what failed through no fault of the caller.
const ERROR: &str = "error";

/// The header with the trace and the span that a request belongs to, as the W3C specifies it.
const TRACEPARENT: &str = "traceparent";
/// The longest id that is accepted from a client, in bytes.
const ID_BYTES_MAX: usize = 64;

tokio::task_local! {
    static CURRENT: Arc<str>;
}

/// Runs a future with a trace id, which [`current`] returns to everything that the future calls.
pub async fn within<T>(id: Arc<str>, work: impl Future<Output = T>) -> T {
    CURRENT.scope(id, work).await
}

/// The trace id of the current call; `None` outside of a call.
pub fn current() -> Option<Arc<str>> {
    CURRENT.try_with(Clone::clone).ok()
}

/// A new id of 32 hexadecimal digits, as in a `traceparent`. It comes from the generator of the thread, because the one
/// for UUIDs makes a system call for each id.
pub fn new_id() -> String {
    Uuid::from_u128(rand::random()).as_simple().to_string()
}

/// The trace id of a request: that of its `traceparent`, else its `X-Request-Id`, else a new one.
pub fn of_headers(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let parent = text(TRACEPARENT).and_then(parse_traceparent).map(|parent| parent.trace);
    let own = || text("x-request-id").filter(|id| is_acceptable(id));
    parent.or_else(own).map_or_else(new_id, str::to_owned)
}

/// The fields of a valid W3C `traceparent`, in hexadecimal digits.
#[derive(Debug, PartialEq, Eq)]
struct TraceParent<'a> {
    trace: &'a str,
    span: &'a str,
    flags: &'a str,
}

fn parse_traceparent(text: &str) -> Option<TraceParent<'_>> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let well_formed = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    let known = version != "ff" && (version != "00" || parts.next().is_none());
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    (well_formed && known && !zero(trace) && !zero(span)).then_some(TraceParent { trace, span, flags })
}

/// The span of an HTTP request. If the request has a `traceparent`, the span that it names is the parent.
pub(crate) fn request_span(headers: &HeaderMap, method: &str, trace: &str) -> Span {
    let span = tracing::info_span!(
        target: SPAN_TARGET,
        "request",
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = Empty,
        http.response.status_code = Empty,
        roost.trace = trace,
    );
    if !span.is_disabled() {
        if let Some(parent) = headers.get(TRACEPARENT).and_then(|value| remote_parent(value.to_str().ok()?)) {
            // It fails only for a span that is disabled or has begun.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
        begin(&span, trace);
    }
    span
}

/// Adds to the span of a request how it was answered.
pub(crate) fn end_request(span: &Span, method: &str, route: &str, status: u16) {
    if span.is_disabled() {
        return;
    }
    span.context().span().update_name(format!("{method} {route}"));
    span.record("http.route", route);
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", ERROR);
    }
}

/// The span of a call to a function.
pub(crate) fn call_span(function: &str, revision: &str, trace: &str) -> Span {
    let span = tracing::info_span!(
        target: SPAN_TARGET,
        "call",
        otel.name = %format_args!("call {function}"),
        otel.status_code = Empty,
        function,
        revision,
        outcome = Empty,
        roost.trace = trace,
    );
    if !span.is_disabled() {
        begin(&span, trace);
    }
    span
}

/// Adds to the span of a call how the call ended. A refusal by the function is no fault.
pub(crate) fn end_call(span: &Span, outcome: &str, is_fault: bool) {
    span.record("outcome", outcome);
    if is_fault {
        span.record("otel.status_code", ERROR);
    }
}

/// The span of an operation of a part of the host.
macro_rules! operation_span {
    ($part:literal, $operation:expr) => {
        tracing::info_span!(
            target: SPAN_TARGET,
            $part,
            otel.name = %format_args!(concat!($part, " {}"), $operation),
            otel.status_code = Empty,
            operation = $operation,
        )
    };
}

/// The span of an operation of the store.
pub(crate) fn store_span(operation: &'static str) -> Span {
    operation_span!("store", operation)
}

/// The span of an operation of the records.
pub(crate) fn records_span(operation: &'static str) -> Span {
    operation_span!("records", operation)
}

/// Marks the span of an operation that got no answer.
pub(crate) fn mark_unavailable(span: &Span) {
    span.record("otel.status_code", ERROR);
}

/// Gives the span its ids. If it has no parent, its trace has the id that the answer and the log lines show.
fn begin(span: &Span, trace: &str) {
    CURRENT.sync_scope(trace.into(), || drop(span.context()));
}

/// The current trace id as OpenTelemetry has it. `None` if it has another form, as the id of a client may have.
pub(crate) fn current_otel_id() -> Option<otel::TraceId> {
    let id = current().filter(|id| id.len() == 32)?;
    otel::TraceId::from_hex(&id).ok().filter(|id| *id != otel::TraceId::INVALID)
}

fn remote_parent(text: &str) -> Option<SpanContext> {
    let TraceParent { trace, span, flags } = parse_traceparent(text)?;
    Some(SpanContext::new(
        otel::TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    ))
}

fn is_acceptable(id: &str) -> bool {
    let clean = id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    !id.is_empty() && id.len() <= ID_BYTES_MAX && clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        of_headers(&headers)
    }

    #[test]
    fn the_trace_id_of_a_traceparent_is_used() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(of("traceparent", &format!("00-{id}-00f067aa0ba902b7-01")), id);
        for bad in ["", "00-xyz-00f067aa0ba902b7-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
            assert_eq!(parse_traceparent(bad), None, "{bad}");
        }
        assert_eq!(parse_traceparent("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(parse_traceparent(&format!("00-{id}-00f067aa0ba902b7-01-more")), None);
    }

    #[test]
    fn the_span_of_a_traceparent_is_the_parent_and_decides_about_sampling() {
        for (flags, is_sampled) in [("00", false), ("01", true)] {
            let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            let parent = remote_parent(&text).unwrap();
            assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7");
            assert_eq!((parent.is_remote(), parent.is_sampled()), (true, is_sampled));
        }
        assert_eq!(remote_parent("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"), None);
    }

    #[tokio::test]
    async fn a_trace_has_the_id_that_is_shown_if_it_has_the_form_of_one() {
        let id = new_id();
        let found = within(id.as_str().into(), async { current_otel_id() }).await;
        assert_eq!(found.map(|found| found.to_string()), Some(id));
        for other in ["req-7", "abc", &"0".repeat(32), &format!("{:-<32}", "4f")] {
            assert_eq!(within(other.into(), async { current_otel_id() }).await, None, "{other}");
        }
        assert_eq!(current_otel_id(), None);
    }

    #[test]
    fn an_acceptable_request_id_is_kept_and_any_other_is_replaced() {
        assert_eq!(of("x-request-id", "req_7.a-B"), "req_7.a-B");
        for bad in ["a b", "a\"b", "", &"x".repeat(65)] {
            assert_eq!(of("x-request-id", bad).len(), 32, "{bad}");
        }
    }
}
