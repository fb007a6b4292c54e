//! What a handler answers when it cannot, and how the core's errors become one. The codes of the rules stand in
//! `roost_core::error`; here are only those that parsing can come to.

use std::borrow::Cow;

use roost_core::error::{Error, ErrorKind};

/// A considered refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    pub(crate) retry: bool,
    pub(crate) retry_after_ms: Option<u32>,
    /// For the operator's log, when the message does not say it.
    pub(crate) cause: Option<String>,
}

impl Failure {
    /// A failure of your own. The code is stable, `a-z` and `_`; the message says what was wrong and what is allowed.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: Cow::Borrowed(code),
            message: message.into(),
            retry: kind == ErrorKind::Unavailable,
            retry_after_ms: None,
            cause: None,
        }
    }

    /// The request makes no sense; the message says what does.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, "invalid", message)
    }

    /// Beyond a bound, which the message names.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::TooLarge, "too_large", message)
    }

    /// A service asked on its own for what only a user can have.
    pub fn user_required() -> Self {
        Self::new(
            ErrorKind::Invalid,
            "user_required",
            "this is done for a user: send a user's token, or name the user in the header Roost-User",
        )
    }

    /// Our fault. The cause goes to the log, not to the caller.
    pub fn internal(cause: impl Into<String>) -> Self {
        let message = "the function could not do this; the operator's log has the reason";
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
    fn internal_text_goes_to_the_log_and_not_to_the_caller() {
        let failure = Failure::from(Error::Store(StoreError::WrongType("online:7".to_owned())));
        assert_eq!(failure.cause.as_deref(), Some("wrong type: online:7"));
        assert!(!failure.message.contains("online:7"), "{}", failure.message);
        assert!(!failure.retry);
    }

    #[test]
    fn an_outage_says_when_to_try_again() {
        let failure = Failure::from(Error::Store(StoreError::Unavailable { retry_after_ms: 250 }));
        assert_eq!((failure.retry, failure.retry_after_ms, failure.cause), (true, Some(250), None));
    }
}
