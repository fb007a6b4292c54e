//! Reads a backend's answer: within a bound of bytes, as JSON, and as success, refusal or failure.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::de::DeserializeOwned;

use super::Problem;
use super::fault::{Fault, short};

/// What questions and answers are.
pub(super) const JSON: &str = "application/json";
/// Holds the largest page of the largest messages, as JSON.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A backend that asks for a longer pause is asked again after this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// The answer's body, or why there is none.
pub(super) async fn read<A: DeserializeOwned>(response: Response) -> Result<A, Fault> {
    let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
    let body = body(response).await?;
    if (200..300).contains(&status) {
        return success(&body);
    }
    let refusal = serde_json::from_slice::<Problem>(&body);
    match (status, refusal) {
        (401, _) => Err(Fault::Unauthenticated),
        (408 | 425 | 429 | 500..600, _) => Err(Fault::Failed { status, retry_after }),
        (_, Ok(problem)) => Err(problem.refusal().map_or(Fault::Failed { status, retry_after }, Fault::Refused)),
        (_, Err(error)) => Err(Fault::Malformed(format!("status {status} without a known `code`: {error}"))),
    }
}

/// Nothing at all stands for an answer that says nothing.
fn success<A: DeserializeOwned>(body: &[u8]) -> Result<A, Fault> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Fault::Malformed(short(&error.to_string())))
}

async fn body(mut response: Response) -> Result<Vec<u8>, Fault> {
    let too_large = || Fault::Malformed(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"));
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

/// Whole seconds; dates are not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
