//! Errors of the use cases: who caused the failure, whether a retry can help, and which message the caller may see.
//!
//! [`Error::code`] lists every code of the core that clients see. HTTP and sockets only translate the kind.

use crate::limits::{DEVICES_MAX, HEARTBEAT_INTERVAL_MS};
use crate::port::{Outcome, RecordsError, StoreError};

/// The kind of a failure; each kind has one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is invalid: 400.
    Invalid,
    /// The caller is not allowed to do this: 403.
    Forbidden,
    /// The requested object does not exist: 404.
    NotFound,
    /// The request contradicts an object that exists already: 409.
    Conflict,
    /// The request exceeds a limit: 413.
    TooLarge,
    /// The caller asks too much at once: 429.
    RateLimited,
    /// The request cannot be served at present: 503.
    Unavailable,
    /// An internal error: 500.
    Internal,
}

/// The error of a use case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request is invalid; the text says what is allowed.
    #[error("{0}")]
    Invalid(String),
    /// The conversation has no message that the caller may see.
    #[error("the conversation has no message yet")]
    NoMessage,
    /// Other callers changed the same state during each of [`crate::limits::TRIES_MAX`] attempts.
    #[error("too many changes at once, try again")]
    Contended,
    /// The user has too many devices to add one by a heartbeat.
    #[error(
        "a user may have {DEVICES_MAX} devices at a time; let one of them leave, or wait until one has sent no heartbeat for a \
         minute"
    )]
    TooManyDevices,
    /// A value has no JSON form. The text says why.
    #[error("not expressible as JSON: {0}")]
    Encoding(String),
    /// An error of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An error of the records.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Error {
    /// The kind of the failure, which decides the HTTP status.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Records(RecordsError::Invalid(_)) => ErrorKind::Invalid,
            Self::NoMessage | Self::Records(RecordsError::NotFound(_)) => ErrorKind::NotFound,
            Self::Records(RecordsError::NotAMember | RecordsError::Forbidden(_) | RecordsError::Blocked) => {
                ErrorKind::Forbidden
            }
            Self::Records(
                RecordsError::Conflict(_)
                | RecordsError::Direct
                | RecordsError::VersionMismatch { .. }
                | RecordsError::TooManyConversations(_),
            ) => ErrorKind::Conflict,
            Self::Records(RecordsError::TooLarge(_)) => ErrorKind::TooLarge,
            Self::TooManyDevices => ErrorKind::RateLimited,
            Self::Contended
            | Self::Store(StoreError::Unavailable { .. })
            | Self::Records(RecordsError::Unavailable { .. }) => ErrorKind::Unavailable,
            Self::Encoding(_)
            | Self::Store(_)
            | Self::Records(RecordsError::Denied(_) | RecordsError::QuotaExceeded(_)) => ErrorKind::Internal,
        }
    }

    /// The stable code that clients compare.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) | Self::Records(RecordsError::Invalid(_)) => "invalid",
            Self::NoMessage => "no_message",
            Self::Contended => "contended",
            Self::TooManyDevices => "rate_limited",
            Self::Store(StoreError::Unavailable { .. }) => "store_unavailable",
            Self::Records(RecordsError::Unavailable { .. }) => "records_unavailable",
            Self::Store(StoreError::Denied(_)) | Self::Records(RecordsError::Denied(_)) => "denied",
            Self::Store(StoreError::QuotaExceeded(_)) | Self::Records(RecordsError::QuotaExceeded(_)) => {
                "quota_exceeded"
            }
            Self::Encoding(_) | Self::Store(_) => "internal",
            Self::Records(RecordsError::NotFound(_)) => "not_found",
            Self::Records(RecordsError::NotAMember) => "not_a_member",
            Self::Records(RecordsError::Forbidden(_)) => "forbidden",
            Self::Records(RecordsError::Blocked) => "blocked",
            Self::Records(RecordsError::Conflict(_)) => "conflict",
            Self::Records(RecordsError::Direct) => "direct_conversation",
            Self::Records(RecordsError::VersionMismatch { .. }) => "version_mismatch",
            Self::Records(RecordsError::TooLarge(_)) => "too_large",
            Self::Records(RecordsError::TooManyConversations(_)) => "too_many_conversations",
        }
    }

    /// The message for the caller. The text of an internal error is not part of it, and the code is not repeated.
    pub fn public_message(&self) -> String {
        if self.kind() == ErrorKind::Internal {
            return "the function could not do this; the operator's log has the reason".to_owned();
        }
        match self {
            Self::Records(error) => error.detail(),
            _ => self.to_string(),
        }
    }

    /// Whether the store is unavailable. The records can then answer what they know as well.
    pub const fn is_store_unavailable(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable { .. }))
    }

    /// Whether the store or the records are unavailable.
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable { .. }) | Self::Records(RecordsError::Unavailable { .. }))
    }

    /// Whether repeating the same request can help.
    pub const fn retry(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::RateLimited)
    }

    /// How long to wait before a retry, in milliseconds, if known.
    pub const fn retry_after_ms(&self) -> Option<u32> {
        match self {
            Self::Store(StoreError::Unavailable { retry_after_ms })
            | Self::Records(RecordsError::Unavailable { retry_after_ms }) => Some(*retry_after_ms),
            Self::TooManyDevices => Some(HEARTBEAT_INTERVAL_MS as u32),
            _ => None,
        }
    }
}

/// The first failure among many outcomes. It is reported at the end, so that the failure of one user, or of a part of
/// the store, does not stop the work for the others.
#[derive(Debug, Default)]
pub(crate) struct FirstFailure(Option<Error>);

impl FirstFailure {
    /// Keeps the error, unless there was one before.
    pub(crate) fn keep(&mut self, error: impl Into<Error>) {
        self.0.get_or_insert_with(|| error.into());
    }

    /// Keeps the first error of these outcomes, unless there was one before.
    pub(crate) fn keep_all(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            if let Outcome::Failed(error) = outcome {
                self.keep(error);
            }
        }
    }

    /// As [`FirstFailure::keep`] for an error that lasts.
    ///
    /// # Errors
    /// The error if a retry can help. It is not kept.
    pub(crate) fn keep_lasting(&mut self, outcome: Result<(), Error>) -> Result<(), Error> {
        match outcome {
            Err(error) if !error.retry() => {
                self.keep(error);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Whether nothing has failed.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// # Errors
    /// The failure, if there is one.
    pub(crate) fn report(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_failures_is_reported() {
        let unavailable = |retry_after_ms| StoreError::Unavailable { retry_after_ms };
        let mut failures = FirstFailure::default();
        assert!(failures.is_empty());
        failures.keep_all(vec![Outcome::Committed(vec![]), Outcome::Failed(unavailable(1)), Outcome::Refused(0)]);
        failures.keep(unavailable(2));
        assert!(!failures.is_empty());
        assert_eq!(failures.report(), Err(unavailable(1).into()));
        assert_eq!(FirstFailure::default().report(), Ok(()));
    }

    #[test]
    fn only_a_failure_that_lasts_is_kept_for_the_end() {
        let mut failures = FirstFailure::default();
        assert_eq!(failures.keep_lasting(Ok(())), Ok(()));
        assert_eq!(failures.keep_lasting(Err(Error::Contended)), Err(Error::Contended));
        assert!(failures.is_empty());
        assert_eq!(failures.keep_lasting(Err(Error::NoMessage)), Ok(()));
        assert_eq!(failures.report(), Err(Error::NoMessage));
    }

    #[test]
    fn the_text_of_an_internal_error_is_not_shown_to_the_caller() {
        let internal = Error::from(StoreError::WrongType("presence:7 does not hold a hash".into()));
        assert_eq!((internal.kind(), internal.code()), (ErrorKind::Internal, "internal"));
        let message = internal.public_message();
        assert!(!message.is_empty() && !message.contains("presence:7"), "{message}");
        assert_eq!(Error::Invalid("the limit is 1 to 100".into()).public_message(), "the limit is 1 to 100");
    }

    #[test]
    fn the_message_of_a_refusal_does_not_repeat_its_code() {
        let refusal = Error::from(RecordsError::Forbidden("only the sender may edit a message".into()));
        assert_eq!(refusal.code(), "forbidden");
        assert_eq!(refusal.public_message(), "only the sender may edit a message");
    }

    #[test]
    fn too_many_devices_are_a_refusal_with_a_time() {
        let error = Error::TooManyDevices;
        assert_eq!((error.kind(), error.code(), error.retry()), (ErrorKind::RateLimited, "rate_limited", true));
        assert_eq!(error.retry_after_ms(), Some(25_000));
    }

    #[test]
    fn only_an_unavailable_side_and_lost_races_are_worth_a_retry() {
        let store = Error::from(StoreError::Unavailable { retry_after_ms: 7 });
        let records = Error::from(RecordsError::Unavailable { retry_after_ms: 9 });
        assert!(store.retry() && records.retry() && Error::Contended.retry());
        assert!(!Error::NoMessage.retry() && !Error::Invalid(String::new()).retry());
        assert_eq!((store.retry_after_ms(), records.retry_after_ms()), (Some(7), Some(9)));
        assert_eq!(Error::Contended.retry_after_ms(), None);
        assert!(store.is_store_unavailable() && !records.is_store_unavailable());
    }
}
