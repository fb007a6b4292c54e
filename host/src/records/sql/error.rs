//! Why an operation did not happen: refused by a rule, or broken by the database. What broke is logged here and
//! never told to callers.

use roost_core::port::{Answer, RecordsError};

/// Until trying again makes sense.
const RETRY_AFTER_MS: u32 = 200;

#[derive(Debug)]
pub(in crate::records) enum Fault {
    Refused(RecordsError),
    Broken(sqlx::Error),
    /// Every connection stayed taken.
    Crowded,
    /// The database did not answer in time.
    Slow,
}

pub(in crate::records) type Stored<T> = Result<T, Fault>;

impl From<RecordsError> for Fault {
    fn from(error: RecordsError) -> Self {
        Self::Refused(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Crowded,
            error => Self::Broken(error),
        }
    }
}

impl Fault {
    /// For the caller.
    fn told(self, operation: &str) -> RecordsError {
        match self {
            Self::Refused(error) => return error,
            Self::Broken(error) => tracing::error!(operation, %error, "the records' database failed"),
            Self::Crowded => tracing::warn!(operation, "no connection to the records' database could be had in time"),
            Self::Slow => tracing::warn!(operation, "the records' database did not answer in time"),
        }
        RecordsError::Unavailable { retry_after_ms: RETRY_AFTER_MS }
    }
}

pub(in crate::records) fn answer<T>(operation: &str, stored: Stored<T>) -> Answer<T> {
    stored.map_err(|fault| fault.told(operation))
}
