//! Why a use case did not do what was asked: whose fault it is, whether trying again can help, and what the
//! caller may be told.
//!
//! Every client-visible code of the rules stands in [`Error::code`]; HTTP and sockets only translate the kind.

use crate::port::{RecordsError, StoreError};

/// What kind of failure it is; each has one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request makes no sense. 400
    Invalid,
    /// Not allowed. 403
    Forbidden,
    /// Nothing there. 404
    NotFound,
    /// Something else is there. 409
    Conflict,
    /// Beyond a bound. 413
    TooLarge,
    /// Not now. 503
    Unavailable,
    /// Our fault. 500
    Internal,
}

/// A use case's failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request makes no sense; the text says what is allowed.
    #[error("{0}")]
    Invalid(String),
    /// The conversation has no message that the caller may see.
    #[error("the conversation has no message yet")]
    NoMessage,
    /// The race was lost [`crate::limits::TRIES_MAX`] times.
    #[error("too many changes at once, try again")]
    Contended,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records'.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Error {
    /// Whose fault, as an HTTP status class.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Records(RecordsError::Invalid(_)) => ErrorKind::Invalid,
            Self::NoMessage | Self::Records(RecordsError::NotFound(_)) => ErrorKind::NotFound,
            Self::Records(RecordsError::NotAMember | RecordsError::Forbidden(_) | RecordsError::Blocked) => {
                ErrorKind::Forbidden
            }
            Self::Records(RecordsError::Conflict(_)) => ErrorKind::Conflict,
            Self::Records(RecordsError::TooLarge(_)) => ErrorKind::TooLarge,
            Self::Contended
            | Self::Store(StoreError::Unavailable { .. })
            | Self::Records(RecordsError::Unavailable { .. }) => ErrorKind::Unavailable,
            Self::Store(_) | Self::Records(RecordsError::Denied(_)) => ErrorKind::Internal,
        }
    }

    /// The stable code that clients branch on.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) | Self::Records(RecordsError::Invalid(_)) => "invalid",
            Self::NoMessage => "no_message",
            Self::Contended => "contended",
            Self::Store(StoreError::Unavailable { .. }) => "store_unavailable",
            Self::Records(RecordsError::Unavailable { .. }) => "records_unavailable",
            Self::Store(StoreError::Denied(_)) | Self::Records(RecordsError::Denied(_)) => "denied",
            Self::Store(_) => "internal",
            Self::Records(RecordsError::NotFound(_)) => "not_found",
            Self::Records(RecordsError::NotAMember) => "not_a_member",
            Self::Records(RecordsError::Forbidden(_)) => "forbidden",
            Self::Records(RecordsError::Blocked) => "blocked",
            Self::Records(RecordsError::Conflict(_)) => "conflict",
            Self::Records(RecordsError::TooLarge(_)) => "too_large",
        }
    }

    /// What the caller is told. Internal text stays inside.
    pub fn public_message(&self) -> String {
        match self.kind() {
            ErrorKind::Internal => "the function could not do this; the operator's log has the reason".to_owned(),
            _ => self.to_string(),
        }
    }

    /// The store could not be asked: what the records know as well may be had from them.
    pub const fn store_is_away(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable { .. }))
    }

    /// Trying the same again can help.
    pub const fn retry(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unavailable)
    }

    /// Milliseconds until trying again makes sense, if known.
    pub const fn retry_after_ms(&self) -> Option<u32> {
        match self {
            Self::Store(StoreError::Unavailable { retry_after_ms })
            | Self::Records(RecordsError::Unavailable { retry_after_ms }) => Some(*retry_after_ms),
            _ => None,
        }
    }
}
