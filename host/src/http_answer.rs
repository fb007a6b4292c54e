//! What the host does with the answers of other HTTP servers, whatever they are asked: reads a body within a bound, and
//! shortens what servers and connections report, for the log.

use std::error::Error as _;

use reqwest::Response;

/// The log shows at most so many characters of what a server answered, for it may hold what users wrote.
const EXCERPT_CHARS_MAX: usize = 160;

/// The whole body of an answer; `None` if it has more bytes than this.
pub(crate) async fn body(mut response: Response, bytes_max: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let announced = response.content_length().unwrap_or_default();
    if announced > bytes_max as u64 {
        return Ok(None);
    }
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or_default());
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > bytes_max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The texts of all causes of an error, because the last one says most. The URL is left out: it may contain a secret.
pub(crate) fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The beginning of a text that a server wrote.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS_MAX).collect()
}
