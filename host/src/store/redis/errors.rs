//! What Redis's errors mean: for the way a request takes, and for whoever made it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind, Value};
use roost_core::port::StoreError;

use super::connections::Address;

/// Until a request that failed for now may be tried again.
const RETRY_AFTER_MS: u32 = 1_000;

/// What to do about the replies to one unit. Whatever is not an answer means that nothing of the unit was carried out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are the answer, errors about its contents included.
    Answer,
    /// The server forgot the scripts.
    Reload,
    /// Another node leads the slot.
    Moved(Address),
    /// Another node is about to lead the slot and has this part already.
    Ask(Address),
    /// The server leads nothing any more.
    Demoted,
    /// The slot is being moved, or the Cluster makes up its mind: soon.
    Soon,
}

/// Judges the replies to one unit, of which the last may be a transaction's.
pub(super) fn judge(replies: &[Value], from: &Address) -> Verdict {
    let inner = match replies.last() {
        Some(Value::Array(values)) => values.as_slice(),
        _ => &[],
    };
    let errors = replies.iter().chain(inner).filter_map(|value| match value {
        Value::ServerError(error) => Some(error),
        _ => None,
    });
    errors.map(|error| verdict(error, from)).find(|verdict| *verdict != Verdict::Answer).unwrap_or(Verdict::Answer)
}

fn verdict(error: &ServerError, from: &Address) -> Verdict {
    let address = || redirect(error.details()?, from);
    match error.kind() {
        Some(ServerErrorKind::NoScript) => Verdict::Reload,
        Some(ServerErrorKind::Moved) => address().map_or(Verdict::Soon, Verdict::Moved),
        Some(ServerErrorKind::Ask) => address().map_or(Verdict::Soon, Verdict::Ask),
        Some(ServerErrorKind::ReadOnly) => Verdict::Demoted,
        Some(ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => Verdict::Soon,
        _ => Verdict::Answer,
    }
}

/// Reads `<slot> <host>:<port>`; without a host the node that answers means its own.
fn redirect(details: &str, from: &Address) -> Option<Address> {
    let (host, port) = details.split_whitespace().nth(1)?.rsplit_once(':')?;
    let host = if host.is_empty() { &from.host } else { host };
    Some(Address { host: host.to_owned(), port: port.parse().ok()? })
}

/// The error of a request that did not get through; for a write it is open whether it happened.
pub(super) const fn unavailable() -> StoreError {
    StoreError::Unavailable { retry_after_ms: RETRY_AFTER_MS }
}

/// An error in an answer about this key.
pub(super) fn refused(error: &ServerError, key: &str) -> StoreError {
    let details = error.details().unwrap_or_default();
    let is_no_number = details.contains("not an integer") || details.contains("overflow");
    if error.code() == "WRONGTYPE" || (error.code() == "ERR" && is_no_number) {
        return StoreError::WrongType(format!("{key}: {details}"));
    }
    complain(error.code(), details);
    unavailable()
}

/// An answer of a shape that the command does not have.
pub(super) fn unexpected(key: &str, value: &Value) -> StoreError {
    match value {
        Value::ServerError(error) => refused(error, key),
        other => {
            complain("an unexpected answer", &format!("{key}: {other:?}"));
            unavailable()
        }
    }
}

/// No answer arrived, but the connection may be sound.
pub(super) fn is_timeout(error: &RedisError) -> bool {
    error.is_timeout()
}

/// Trying again does not help: the configuration or the server must change.
pub(super) fn is_permanent(error: &RedisError) -> bool {
    let code = error.code().unwrap_or_default();
    matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig)
        || matches!(code, "NOAUTH" | "WRONGPASS" | "NOPERM")
}

/// Says at most once a second what the server refuses: a full server refuses every request.
fn complain(code: &str, details: &str) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if LAST.swap(second, Ordering::Relaxed) != second {
        tracing::error!(code, details, "redis refuses a request");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> Value {
        redis::parse_redis_value(text.as_bytes()).unwrap()
    }

    fn here() -> Address {
        Address { host: "here".to_owned(), port: 1 }
    }

    #[test]
    fn a_redirection_names_the_node_that_leads() {
        let there = Address { host: "10.0.0.7".to_owned(), port: 7000 };
        assert_eq!(judge(&[error("-MOVED 3 10.0.0.7:7000\r\n")], &here()), Verdict::Moved(there.clone()));
        assert_eq!(judge(&[Value::Okay, error("-ASK 3 10.0.0.7:7000\r\n")], &here()), Verdict::Ask(there));
        let own = Address { host: "here".to_owned(), port: 7000 };
        assert_eq!(judge(&[error("-MOVED 3 :7000\r\n")], &here()), Verdict::Moved(own));
    }

    #[test]
    fn only_what_was_not_carried_out_is_sent_again() {
        assert_eq!(judge(&[error("-NOSCRIPT No matching script.\r\n")], &here()), Verdict::Reload);
        let inside = Value::Array(vec![Value::Int(1), error("-NOSCRIPT No matching script.\r\n")]);
        assert_eq!(judge(&[Value::Okay, inside], &here()), Verdict::Reload);
        assert_eq!(judge(&[error("-READONLY You can't\r\n")], &here()), Verdict::Demoted);
        assert_eq!(judge(&[error("-TRYAGAIN Multiple keys\r\n")], &here()), Verdict::Soon);
        assert_eq!(judge(&[error("-WRONGTYPE Operation\r\n"), error("-OOM command\r\n")], &here()), Verdict::Answer);
    }

    #[test]
    fn a_wrong_type_is_the_callers_and_the_rest_the_stores() {
        let of = |text| unexpected("key", &error(text));
        assert!(matches!(of("-WRONGTYPE Operation\r\n"), StoreError::WrongType(_)));
        assert!(matches!(of("-ERR value is not an integer or out of range\r\n"), StoreError::WrongType(_)));
        assert!(matches!(of("-ERR increment or decrement would overflow\r\n"), StoreError::WrongType(_)));
        for text in ["-OOM command not allowed\r\n", "-LOADING\r\n", "-NOPERM no\r\n", "-ERR syntax error\r\n"] {
            assert_eq!(of(text), unavailable(), "{text}");
        }
    }
}
