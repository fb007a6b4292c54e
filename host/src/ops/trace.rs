//! Trace ids: each request has one, which is in its answer, in every log line about it, and in the requests that the host
//! makes to other services for it.

use std::future::Future;
use std::sync::Arc;

use axum::http::HeaderMap;
use uuid::Uuid;

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
    let parent = text("traceparent").and_then(parse_traceparent);
    let own = || text("x-request-id").filter(|id| is_acceptable(id));
    parent.or_else(own).map_or_else(new_id, str::to_owned)
}

/// The trace id of a W3C `traceparent`.
pub fn parse_traceparent(text: &str) -> Option<&str> {
    let mut parts = text.split('-');
    let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let shaped = hex(version, 2) && hex(id, 32) && hex(parent, 16) && hex(flags, 2);
    let known = version != "ff" && (version != "00" || parts.next().is_none());
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    (shaped && known && !zero(id) && !zero(parent)).then_some(id)
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
    fn an_acceptable_request_id_is_kept_and_any_other_is_replaced() {
        assert_eq!(of("x-request-id", "req_7.a-B"), "req_7.a-B");
        for bad in ["a b", "a\"b", "", &"x".repeat(65)] {
            assert_eq!(of("x-request-id", bad).len(), 32, "{bad}");
        }
    }
}
