//! Why a backend's answer is none: refused by a rule, or anything that callers are told as unavailable. What broke is
//! logged here and never told to callers.

use std::error::Error as _;
use std::time::Duration;

use roost_core::port::RecordsError;

/// When the backend names no time.
const RETRY_AFTER: Duration = Duration::from_millis(1_000);
/// Of what a backend said, in the log: it may hold what people wrote.
const SHORT_CHARS_MAX: usize = 160;

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Refused(RecordsError),
    #[error("it answered status {status}")]
    Failed { status: u16, retry_after: Option<Duration> },
    #[error("it refuses records_key")]
    Unauthenticated,
    #[error("{0}")]
    Malformed(String),
    #[error("it did not answer in time")]
    Slow,
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("this host is stopping")]
    Closed,
}

impl From<reqwest::Error> for Fault {
    /// With its causes, of which the last says most.
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self::Unreachable(short(&text))
    }
}

impl Fault {
    /// For the caller.
    pub(super) fn told(self, operation: &str) -> RecordsError {
        let retry_after = match &self {
            Self::Failed { retry_after: Some(retry_after), .. } => *retry_after,
            _ => RETRY_AFTER,
        };
        match self {
            Self::Refused(error) => return error,
            Self::Closed => {}
            fault @ (Self::Unauthenticated | Self::Malformed(_)) => {
                tracing::error!(operation, %fault, "the records' backend answered what cannot be used");
            }
            fault @ (Self::Failed { .. } | Self::Slow | Self::Unreachable(_)) => {
                tracing::warn!(operation, %fault, "the records' backend failed");
            }
        }
        RecordsError::Unavailable { retry_after_ms: u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX) }
    }
}

/// The beginning of a text that somebody else wrote.
pub(super) fn short(text: &str) -> String {
    text.chars().take(SHORT_CHARS_MAX).collect()
}
