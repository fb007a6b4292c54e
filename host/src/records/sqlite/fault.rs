//! Why an operation did not happen: refused by a rule, or broken by the database. What broke is logged here and
//! never told to callers.

use roost_core::port::{Answer, RecordsError};

/// Until trying again makes sense.
const RETRY_AFTER_MS: u32 = 200;

#[derive(Debug)]
pub(super) enum Fault {
    Refused(RecordsError),
    Broken(sqlx::Error),
    /// Every connection stayed taken.
    Crowded,
}

pub(super) type Stored<T> = Result<T, Fault>;

impl From<RecordsError> for Fault {
    fn from(error: RecordsError) -> Self {
        Self::Refused(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Broken(error)
    }
}

impl Fault {
    /// For the caller.
    pub(super) fn told(self, operation: &str) -> RecordsError {
        match self {
            Self::Refused(error) => return error,
            Self::Broken(error) => tracing::error!(operation, %error, "the records' database failed"),
            Self::Crowded => tracing::warn!(operation, "the records' database is busy"),
        }
        RecordsError::Unavailable { retry_after_ms: RETRY_AFTER_MS }
    }
}

pub(super) fn answer<T>(operation: &str, stored: Stored<T>) -> Answer<T> {
    stored.map_err(|fault| fault.told(operation))
}
