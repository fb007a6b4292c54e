//! Failures: what a handler answers when it refuses or cannot do what it was asked.
//!
//! The codes of the rules are in `roost_core::error`; this file has only those of parsing and of function writers.

use std::borrow::Cow;

use roost_core::error::{Error, ErrorKind};

/// A refusal with a stable code, a message for the caller, and whether trying again can help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    pub(crate) retry: bool,
    pub(crate) retry_after_ms: Option<u32>,
    /// The reason for the operator's log, where the message for the caller does not give it.
    pub(crate) cause: Option<String>,
}

impl Failure {
    /// A failure with a code of your own. The code is stable and consists of `a-z` and `_`; the message says what was
    /// wrong and what is allowed.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: Cow::Borrowed(code),
            message: message.into(),
            retry: matches!(kind, ErrorKind::Unavailable | ErrorKind::RateLimited),
            retry_after_ms: None,
            cause: None,
        }
    }

    /// The request is not valid; the message says what is allowed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, "invalid", message)
    }

    /// The request exceeds a bound, which the message names.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::TooLarge, "too_large", message)
    }

    /// The request needs a user, and a service sent it for itself.
    pub fn user_required() -> Self {
        Self::new(
            ErrorKind::Invalid,
            "user_required",
            "this request needs a user: send a user's token, or send `Roost-User` with the service key",
        )
    }

    /// The function is at fault. The cause goes to the operator's log, not to the caller.
    pub fn internal(cause: impl Into<String>) -> Self {
        let message = "the function failed; the operator's log has the reason";
        Self { cause: Some(cause.into()), ..Self::new(ErrorKind::Internal, "internal", message) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = error.kind();
        Self {
            kind,
            code: Cow::Borrowed(error.code()),
            message: error.public_message(),
            retry: error.retry(),
            retry_after_ms: error.retry_after_ms(),
            cause: (kind == ErrorKind::Internal).then(|| error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use roost_core::port::StoreError;

    use super::*;

    #[test]
    fn the_cause_of_an_internal_failure_goes_to_the_log_and_not_to_the_caller() {
        let failure = Failure::from(Error::Store(StoreError::WrongType("online:7".to_owned())));
        assert_eq!(failure.cause.as_deref(), Some("wrong type: online:7"));
        assert!(!failure.message.contains("online:7"), "{}", failure.message);
        assert!(!failure.retry);
    }

    #[test]
    fn an_outage_reports_when_to_try_again() {
        let failure = Failure::from(Error::Store(StoreError::Unavailable { retry_after_ms: 250 }));
        assert_eq!((failure.retry, failure.retry_after_ms, failure.cause), (true, Some(250), None));
    }
}
