//! What the errors of Redis mean: where a request goes next, and what its caller is told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind, Value};
use roost_core::port::StoreError;

use super::connections::Address;
use crate::ops::metrics;

/// When a caller may repeat a request that failed for the moment.
const RETRY_AFTER_MS: u32 = 1_000;
/// When a caller may repeat a write that the server refuses until an operator does something.
const REFUSED_RETRY_AFTER_MS: u32 = 5_000;

/// What to do about the replies to a unit. Every verdict but `Answer` means that nothing of the unit was carried out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReplyVerdict {
    /// The replies are the answer, including errors about the contents of keys.
    Answer,
    /// The server does not have the scripts any more.
    ScriptsMissing,
    /// Another node leads the slot.
    Moved(Address),
    /// Another node is about to lead the slot, and has the keys in question already.
    Ask(Address),
    /// The server has become a replica.
    Demoted,
    /// The slot is being moved, or the Cluster is electing a leader; the request can be repeated shortly.
    TryLater,
}

/// Judges the replies to one unit. The last of them may be the replies of a transaction.
pub(super) fn judge(replies: &[Value], from: &Address) -> ReplyVerdict {
    let inner = match replies.last() {
        Some(Value::Array(values)) => values.as_slice(),
        _ => &[],
    };
    let errors = replies.iter().chain(inner).filter_map(|value| match value {
        Value::ServerError(error) => Some(error),
        _ => None,
    });
    let mut verdicts = errors.map(|error| verdict(error, from));
    verdicts.find(|verdict| *verdict != ReplyVerdict::Answer).unwrap_or(ReplyVerdict::Answer)
}

fn verdict(error: &ServerError, from: &Address) -> ReplyVerdict {
    let address = || redirection(error.details()?, from);
    match error.kind() {
        Some(ServerErrorKind::NoScript) => ReplyVerdict::ScriptsMissing,
        Some(ServerErrorKind::Moved) => address().map_or(ReplyVerdict::TryLater, ReplyVerdict::Moved),
        Some(ServerErrorKind::Ask) => address().map_or(ReplyVerdict::TryLater, ReplyVerdict::Ask),
        Some(ServerErrorKind::ReadOnly) => ReplyVerdict::Demoted,
        Some(ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => ReplyVerdict::TryLater,
        _ => ReplyVerdict::Answer,
    }
}

/// Why a server refuses every write and still answers reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteRefusal {
    /// It has as much data as it may have.
    Full,
    /// It cannot write its snapshots or its log.
    NotPersisted,
    /// It has fewer replicas than it needs.
    TooFewReplicas,
}

impl WriteRefusal {
    const ALL: [Self; 3] = [Self::Full, Self::NotPersisted, Self::TooFewReplicas];

    fn of(error: &ServerError) -> Option<Self> {
        match error.code() {
            "OOM" => Some(Self::Full),
            "MISCONF" => Some(Self::NotPersisted),
            "NOREPLICAS" => Some(Self::TooFewReplicas),
            _ => None,
        }
    }

    /// A number above 0, for [`WriteRefusal::numbered`].
    pub(super) const fn number(self) -> u8 {
        self as u8 + 1
    }

    pub(super) fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.number() == number)
    }

    /// The label of the metric.
    const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NotPersisted => "not_persisted",
            Self::TooFewReplicas => "too_few_replicas",
        }
    }

    /// What is wrong and what an operator does about it.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::Full => {
                "it is full and accepts no writes; raise its maxmemory, or delete what is not Roost's, until used_memory is below"
            }
            Self::NotPersisted => {
                "it cannot save its data and accepts no writes; give its disk space or permissions, or turn \
                 stop-writes-on-bgsave-error off"
            }
            Self::TooFewReplicas => {
                "it has too few replicas and accepts no writes; repair its replicas, or lower min-replicas-to-write"
            }
        }
    }
}

/// Whether a server accepts writes, as the replies of one sending show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum WriteObservation {
    /// There was no write.
    #[default]
    Nothing,
    Accepted,
    Refused(WriteRefusal),
}

impl WriteObservation {
    /// Takes the replies to one unit into account; `is_write`: it is refused whenever writes are. One refusal outweighs
    /// what was accepted beside it.
    pub(super) fn observe(&mut self, is_write: bool, replies: &[Value]) {
        let refusal = replies.iter().find_map(|reply| match reply {
            Value::ServerError(error) => WriteRefusal::of(error),
            _ => None,
        });
        match (refusal, &self) {
            (Some(refusal), _) => *self = Self::Refused(refusal),
            (None, Self::Nothing) if is_write => *self = Self::Accepted,
            (None, _) => {}
        }
    }
}

/// Reads `<slot> <host>:<port>`. Without a host it is the host of the node that answered.
fn redirection(details: &str, from: &Address) -> Option<Address> {
    let (host, port) = details.split_whitespace().nth(1)?.rsplit_once(':')?;
    let host = if host.is_empty() { &from.host } else { host };
    Some(Address { host: host.to_owned(), port: port.parse().ok()? })
}

/// The error of a request without an answer. Whether a write was carried out is unknown.
pub(super) const fn unavailable() -> StoreError {
    StoreError::Unavailable { retry_after_ms: RETRY_AFTER_MS }
}

/// What the caller is told when the reply about this key is an error.
fn refused(error: &ServerError, key: &str) -> StoreError {
    let details = error.details().unwrap_or_default();
    let is_no_number = details.contains("not an integer") || details.contains("overflow");
    if error.code() == "WRONGTYPE" || (error.code() == "ERR" && is_no_number) {
        return StoreError::WrongType(format!("{key}: {details}"));
    }
    if let Some(refusal) = WriteRefusal::of(error) {
        return write_refused(error, refusal);
    }
    log_refusal(error.code(), details);
    unavailable()
}

/// What the caller is told when one of these replies says that the server accepts no writes. The last reply of a
/// transaction of Redis says only that the transaction was not carried out.
pub(super) fn refused_write(replies: &[Value]) -> Option<StoreError> {
    replies.iter().find_map(|reply| match reply {
        Value::ServerError(error) => WriteRefusal::of(error).map(|refusal| write_refused(error, refusal)),
        _ => None,
    })
}

fn write_refused(error: &ServerError, refusal: WriteRefusal) -> StoreError {
    metrics::REDIS_REFUSALS.of([refusal.label()]).inc();
    log_refusal(error.code(), &format!("{}; {}", error.details().unwrap_or_default(), refusal.advice()));
    StoreError::Unavailable { retry_after_ms: REFUSED_RETRY_AFTER_MS }
}

/// What the caller is told when the reply about this key is an error, or of a kind that the command never returns.
pub(super) fn unexpected(key: &str, reply: &Value) -> StoreError {
    match reply {
        Value::ServerError(error) => refused(error, key),
        other => {
            log_refusal("unexpected reply", &format!("{key}: {other:?}"));
            unavailable()
        }
    }
}

/// Whether the configuration or the server must be changed first, so that trying again does not help.
pub(super) fn is_permanent(error: &RedisError) -> bool {
    let code = error.code().unwrap_or_default();
    matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig) || code == "NOPERM"
}

/// Logs what the server refused, at most once a second, because a full server refuses every request.
fn log_refusal(code: &str, details: &str) {
    static LAST_SECOND: AtomicU64 = AtomicU64::new(0);
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if LAST_SECOND.swap(second, Ordering::Relaxed) != second {
        tracing::error!(code, details, "Redis refused a request");
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
        assert_eq!(judge(&[error("-MOVED 3 10.0.0.7:7000\r\n")], &here()), ReplyVerdict::Moved(there.clone()));
        assert_eq!(judge(&[Value::Okay, error("-ASK 3 10.0.0.7:7000\r\n")], &here()), ReplyVerdict::Ask(there));
        let own = Address { host: "here".to_owned(), port: 7000 };
        assert_eq!(judge(&[error("-MOVED 3 :7000\r\n")], &here()), ReplyVerdict::Moved(own));
    }

    #[test]
    fn only_a_request_that_was_not_carried_out_is_sent_again() {
        assert_eq!(judge(&[error("-NOSCRIPT No matching script.\r\n")], &here()), ReplyVerdict::ScriptsMissing);
        let inside = Value::Array(vec![Value::Int(1), error("-NOSCRIPT No matching script.\r\n")]);
        assert_eq!(judge(&[Value::Okay, inside], &here()), ReplyVerdict::ScriptsMissing);
        assert_eq!(judge(&[error("-READONLY You can't\r\n")], &here()), ReplyVerdict::Demoted);
        assert_eq!(judge(&[error("-TRYAGAIN Multiple keys\r\n")], &here()), ReplyVerdict::TryLater);
        let answer = [error("-WRONGTYPE Operation\r\n"), error("-OOM command\r\n")];
        assert_eq!(judge(&answer, &here()), ReplyVerdict::Answer);
    }

    #[test]
    fn a_wrong_type_is_the_fault_of_the_caller_and_other_errors_are_the_stores() {
        let of = |text| unexpected("key", &error(text));
        assert!(matches!(of("-WRONGTYPE Operation\r\n"), StoreError::WrongType(_)));
        assert!(matches!(of("-ERR value is not an integer or out of range\r\n"), StoreError::WrongType(_)));
        assert!(matches!(of("-ERR increment or decrement would overflow\r\n"), StoreError::WrongType(_)));
        for text in ["-LOADING\r\n", "-NOPERM no\r\n", "-ERR syntax error\r\n"] {
            assert_eq!(of(text), unavailable(), "{text}");
        }
    }

    #[test]
    fn a_refused_write_can_be_repeated_later_and_names_the_remedy() {
        for (text, refusal) in [
            ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", WriteRefusal::Full),
            ("-MISCONF Redis is configured to save RDB snapshots\r\n", WriteRefusal::NotPersisted),
            ("-NOREPLICAS Not enough good replicas to write.\r\n", WriteRefusal::TooFewReplicas),
        ] {
            let later = StoreError::Unavailable { retry_after_ms: REFUSED_RETRY_AFTER_MS };
            assert_eq!(unexpected("key", &error(text)), later, "{text}");
            let mut writes = WriteObservation::default();
            writes.observe(true, &[Value::Okay]);
            assert_eq!(writes, WriteObservation::Accepted);
            writes.observe(false, &[error(text)]);
            writes.observe(true, &[Value::Okay]);
            assert_eq!(writes, WriteObservation::Refused(refusal));
            assert_eq!(WriteRefusal::numbered(refusal.number()), Some(refusal));
            assert!(refusal.advice().contains("accepts no writes; "));
        }
        assert_eq!(WriteRefusal::numbered(0), None);
    }

    #[test]
    fn a_read_does_not_show_whether_writes_are_accepted() {
        let mut writes = WriteObservation::default();
        writes.observe(false, &[Value::Okay]);
        assert_eq!(writes, WriteObservation::Nothing);
    }
}
