//! A request's body: JSON or nothing, within a bound of bytes and of time. A larger one is refused, and what is still
//! under way is taken and dropped, within bounds as well.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use axum::BoxError;
use axum::body::HttpBody as Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::config::HttpConfig;
use crate::server::problem::{ApiError, Code};

/// Of a body that is refused, so much is taken and dropped; more meets a closed connection.
const DROPPED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// And for so long.
const DROPPED_TIME_MAX: Duration = Duration::from_secs(2);

/// A body as the listener, or a test, gives it.
pub trait Incoming: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static> Incoming for B {}

/// Reads the body to its end.
pub(super) async fn read<B: Incoming>(
    headers: &HeaderMap,
    mut body: B,
    bounds: &HttpConfig,
) -> Result<Bytes, ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bounds.body_bytes_max as u64) {
        // Whoever asks before sending has sent nothing, and goes on only if the body is read.
        if !headers.contains_key(EXPECT) {
            drop_rest(body, bounds).await;
        }
        return Err(too_large(bounds));
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let read = {
        let mut reading = pin!(Limited::new(&mut body, bounds.body_bytes_max).collect());
        match soon(reading.as_mut()).await {
            Some(read) => read,
            None => timeout(bounds.read_timeout, reading).await.map_err(|_| Code::ReadTimeout)?,
        }
    };
    let bytes = match read {
        Err(error) if error.is::<LengthLimitError>() => {
            drop_rest(body, bounds).await;
            return Err(too_large(bounds));
        }
        Err(_) => return Err(ApiError::new(Code::InvalidBody, "the body broke off")),
        Ok(collected) => collected.to_bytes(),
    };
    if !bytes.is_empty() {
        check_type(headers)?;
    }
    Ok(bytes)
}

/// Looks twice, and sets no timer for that: nearly every body came together with its head, and is there once the
/// connection knows that somebody wants it.
async fn soon<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut looked = false;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if looked => Poll::Ready(None),
        Poll::Pending => {
            looked = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// A connection that is closed while its client still sends is reset, and the client may never see the answer.
async fn drop_rest<B: Incoming>(mut body: B, bounds: &HttpConfig) {
    let mut left = DROPPED_BYTES_MAX;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Some(less) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { break };
            left = less;
        }
    };
    // Whatever comes of it: the answer is the same.
    let _ = timeout(DROPPED_TIME_MAX.min(bounds.read_timeout), rest).await;
}

fn too_large(bounds: &HttpConfig) -> ApiError {
    ApiError::new(Code::BodyTooLarge, format!("a body has at most {} bytes", bounds.body_bytes_max))
}

fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    if text(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(ApiError::new(Code::UnsupportedMediaType, "bodies are sent without a Content-Encoding"));
    }
    match text(CONTENT_TYPE).map(|value| value.split(';').next().unwrap_or_default().trim()) {
        None => Ok(()),
        Some(essence) if essence.eq_ignore_ascii_case("application/json") => Ok(()),
        Some(_) => Err(ApiError::new(Code::UnsupportedMediaType, "a body's Content-Type is application/json")),
    }
}
