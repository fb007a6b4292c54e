//! Reads a backend's answer: within a bound of bytes, as JSON, as success, refusal or failure. What failed is logged
//! here; callers learn only that the records are unavailable.

use std::error::Error as _;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use roost_core::port::RecordsError;
use serde::de::DeserializeOwned;

use super::Problem;

/// The media type of questions and answers.
pub(super) const JSON: &str = "application/json";
/// Holds the largest page of the largest messages, as JSON.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// After this time a retry makes sense, when the backend names no time.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_millis(1_000);
/// A retry after this time makes sense, even when the backend asks for a longer pause.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// The log shows at most so many characters of what a backend answered, for it may hold what users wrote.
const EXCERPT_CHARS_MAX: usize = 160;
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
    /// Keeps the texts of all causes, because the last one says most.
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self::Unreachable(excerpt(&text))
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

/// The beginning of a text that a backend wrote.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS_MAX).collect()
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

async fn body(mut response: Response) -> Result<Vec<u8>, BackendError> {
    let too_large = || BackendError::Malformed(format!("its answer has more than {ANSWER_BYTES_MAX} bytes"));
    let announced = response.content_length().unwrap_or_default();
    if announced > ANSWER_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or_default());
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads whole seconds; a date is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
