//! Reads a request's body: JSON or nothing, bounded in bytes and in time. A larger body is refused, and the rest of it
//! is read and dropped, also within bounds.

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
use crate::server::problem::{ApiError, ErrorCode};

/// How much of a refused body is read and dropped. A client that sends more finds the connection closed.
const DROPPED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a refused body is read and dropped.
const DROPPED_TIME_MAX: Duration = Duration::from_secs(2);

/// A request's body, from the listener or from a test.
pub(crate) trait Incoming: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static> Incoming for B {}

/// Reads the whole body.
pub(super) async fn read<B: Incoming>(
    headers: &HeaderMap,
    mut body: B,
    bounds: &HttpConfig,
) -> Result<Bytes, ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bounds.body_bytes_max as u64) {
        // A client that sent `Expect` waits for permission: it sends no body if it is refused.
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
        match poll_twice(reading.as_mut()).await {
            Some(read) => read,
            None => timeout(bounds.read_timeout, reading).await.map_err(|_| read_timeout(bounds))?,
        }
    };
    let bytes = match read {
        Err(error) if error.is::<LengthLimitError>() => {
            drop_rest(body, bounds).await;
            return Err(too_large(bounds));
        }
        Err(_) => return Err(ErrorCode::InvalidBody.into()),
        Ok(collected) => collected.to_bytes(),
    };
    if !bytes.is_empty() {
        check_type(headers)?;
    }
    Ok(bytes)
}

/// Polls twice before a timer is set. Nearly every body arrives together with its head, and is there at the second
/// poll.
async fn poll_twice<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut polled = false;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if polled => Poll::Ready(None),
        Poll::Pending => {
            polled = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// Reads and drops the rest of a refused body. A connection that is closed while its client still sends is reset, and
/// the client may never see the answer.
async fn drop_rest<B: Incoming>(mut body: B, bounds: &HttpConfig) {
    let mut left = DROPPED_BYTES_MAX;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Some(less) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { break };
            left = less;
        }
    };
    // The answer is the same whether the rest arrives or not.
    let _ = timeout(DROPPED_TIME_MAX.min(bounds.read_timeout), rest).await;
}

fn too_large(bounds: &HttpConfig) -> ApiError {
    ApiError::new(
        ErrorCode::BodyTooLarge,
        format!("a body may have at most {} bytes; send less", bounds.body_bytes_max),
    )
}

fn read_timeout(bounds: &HttpConfig) -> ApiError {
    let allowed = bounds.read_timeout.as_millis();
    ApiError::new(ErrorCode::ReadTimeout, format!("the body did not arrive within {allowed} ms; send it again, faster"))
}

fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    if text(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(ApiError::new(
            ErrorCode::UnsupportedMediaType,
            "a body must not be compressed; send it without `Content-Encoding`",
        ));
    }
    match text(CONTENT_TYPE).map(|value| value.split(';').next().unwrap_or_default().trim()) {
        None => Ok(()),
        Some(essence) if essence.eq_ignore_ascii_case("application/json") => Ok(()),
        Some(_) => Err(ApiError::new(
            ErrorCode::UnsupportedMediaType,
            "a body must be JSON; send it with `Content-Type: application/json`",
        )),
    }
}
