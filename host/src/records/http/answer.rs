//! Reads a backend's answer: within a bound of bytes, as JSON, as success, refusal or failure. What failed is logged
//! here; callers learn only that the records are unavailable.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use roost_core::port::RecordsError;
use serde::de::DeserializeOwned;

use super::Problem;
use crate::http_answer::{self, causes, excerpt};

/// The media type of questions and answers.
pub(super) const JSON: &str = "application/json";
/// Holds the largest page of the largest messages, as JSON.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// After this time a retry makes sense, when the backend names no time.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_millis(1_000);
/// A retry after this time makes sense, even when the backend asks for a longer pause.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// A client is told at most so many characters of the `detail` of a refusal.
const DETAIL_CHARS_MAX: usize = 1_000;

/// The reason why a backend's answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::records) enum BackendError {
    /// A rule of the records refuses the operation.
    #[error("{0}")]
    Refused(RecordsError),
    #[error("it answered status {status}; look at the backend's own log")]
    Failed { status: u16, retry_after: Option<Duration> },
    #[error("it refuses records_key; set the key that the backend expects")]
    Unauthenticated,
    #[error("{0}; docs/records-http.md says what the backend must answer")]
    Malformed(String),
    #[error("it did not answer within records_timeout_ms; whether a write happened is unknown")]
    TimedOut,
    #[error("it cannot be reached: {0}; check records_url, and that the backend is running")]
    Unreachable(String),
    #[error("this host is stopping")]
    Closed,
}

impl From<reqwest::Error> for BackendError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(excerpt(&causes(error)))
    }
}

impl BackendError {
    /// The error that the caller of the port receives. What the caller must not see is logged here.
    pub(super) fn into_records_error(self, operation: &str) -> RecordsError {
        let retry_after = match &self {
            Self::Failed { retry_after: Some(retry_after), .. } => *retry_after,
            _ => RETRY_AFTER_DEFAULT,
        };
        match self {
            Self::Refused(error) => return error,
            Self::Closed => {}
            error @ (Self::Unauthenticated | Self::Malformed(_)) => {
                tracing::error!(operation, problem = %error, "the answer of the records backend cannot be used");
            }
            error @ (Self::Failed { .. } | Self::TimedOut | Self::Unreachable(_)) => {
                tracing::warn!(operation, problem = %error, "the records backend failed");
            }
        }
        RecordsError::Unavailable { retry_after_ms: u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX) }
    }
}

/// Reads the answer's body, or the reason why there is none.
pub(super) async fn read<A: DeserializeOwned>(response: Response) -> Result<A, BackendError> {
    let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
    let body = body(response).await?;
    if (200..300).contains(&status) {
        return success(&body);
    }
    let refusal = serde_json::from_slice::<Problem>(&body);
    match (status, refusal) {
        (401, _) => Err(BackendError::Unauthenticated),
        (408 | 425 | 429 | 500..600, _) => Err(BackendError::Failed { status, retry_after }),
        (_, Ok(problem)) => {
            let problem = Problem { detail: problem.detail.chars().take(DETAIL_CHARS_MAX).collect(), ..problem };
            Err(problem.refusal().map_or(BackendError::Failed { status, retry_after }, BackendError::Refused))
        }
        (_, Err(error)) => {
            Err(BackendError::Malformed(format!("it answered status {status} without a known `code`: {error}")))
        }
    }
}

/// An empty body stands for an answer without content.
fn success<A: DeserializeOwned>(body: &[u8]) -> Result<A, BackendError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        BackendError::Malformed(format!("its answer is not as described: {}", excerpt(&error.to_string())))
    })
}

async fn body(response: Response) -> Result<Vec<u8>, BackendError> {
    let body = http_answer::body(response, ANSWER_BYTES_MAX).await?;
    body.ok_or_else(|| BackendError::Malformed(format!("its answer has more than {ANSWER_BYTES_MAX} bytes")))
}

/// Reads whole seconds; a date is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
