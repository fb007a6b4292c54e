//! Reads a request's body: JSON or nothing, bounded in bytes and in time. What is left of a body after the answer is
//! made is read and dropped, also within bounds, so that the connection can take another request.

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

/// How much of a body that nobody wants is read and dropped. A client that sends more finds the connection closed.
const DROPPED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a body that nobody wants is read and dropped.
const DROPPED_TIME_MAX: Duration = Duration::from_secs(2);

/// A request's body, from the listener or from a test.
pub(crate) trait Incoming: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static> Incoming for B {}

/// The body of one request, and how far it has been read.
pub(super) struct RequestBody<B> {
    body: B,
    progress: ReadState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadState {
    /// The client sends it in any case.
    Unread,
    /// The client sent `Expect: 100-continue`. To read the body is to ask for it.
    Expected,
    /// A part of it has been read.
    Begun,
    /// All of it has been read.
    Read,
    /// The rest is not waited for: the client is too slow, or its connection is broken.
    GivenUp,
}

impl<B: Incoming> RequestBody<B> {
    pub(super) fn new(headers: &HeaderMap, body: B) -> Self {
        let progress = match body.is_end_stream() {
            true => ReadState::Read,
            false if headers.contains_key(EXPECT) => ReadState::Expected,
            false => ReadState::Unread,
        };
        Self { body, progress }
    }

    /// Reads the whole body.
    pub(super) async fn read(&mut self, headers: &HeaderMap, bounds: &HttpConfig) -> Result<Bytes, ApiError> {
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > bounds.body_bytes_max as u64) {
            return Err(too_large(bounds));
        }
        if self.progress == ReadState::Read {
            return Ok(Bytes::new());
        }
        self.progress = ReadState::Begun;
        let read = {
            let mut reading = pin!(Limited::new(&mut self.body, bounds.body_bytes_max).collect());
            match poll_twice(reading.as_mut()).await {
                Some(read) => Ok(read),
                None => timeout(bounds.read_timeout, reading).await,
            }
        };
        let Ok(read) = read else {
            self.progress = ReadState::GivenUp;
            return Err(read_timeout(bounds));
        };
        let bytes = match read {
            Err(error) if error.is::<LengthLimitError>() => return Err(too_large(bounds)),
            Err(_) => {
                self.progress = ReadState::GivenUp;
                return Err(ErrorCode::InvalidBody.into());
            }
            Ok(collected) => collected.to_bytes(),
        };
        self.progress = ReadState::Read;
        if !bytes.is_empty() {
            check_type(headers)?;
        }
        Ok(bytes)
    }

    /// Reads and drops what is left of the body. Returns whether all of it has been read: otherwise the connection must
    /// close after the answer. A connection that is closed while its client still sends is reset, and the client may
    /// never see the answer.
    pub(super) async fn finish(mut self, bounds: &HttpConfig) -> bool {
        if matches!(self.progress, ReadState::Unread | ReadState::Begun) {
            // The answer is the same whether the rest arrives or not.
            let _ = timeout(DROPPED_TIME_MAX.min(bounds.read_timeout), self.drop_rest()).await;
        }
        self.progress == ReadState::Read
    }

    async fn drop_rest(&mut self) {
        let mut left = DROPPED_BYTES_MAX;
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(less) => left = less,
                    None => return,
                },
                Some(Err(_)) => return,
                None => {
                    self.progress = ReadState::Read;
                    return;
                }
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use axum::body::Body as AnyBody;
    use axum::http::HeaderValue;
    use futures_util::stream;

    use super::*;
    use crate::server::fake::http_config;

    type Pieces = Vec<Result<&'static str, std::io::Error>>;

    fn body(headers: &HeaderMap, pieces: Pieces) -> RequestBody<AnyBody> {
        RequestBody::new(headers, AnyBody::from_stream(stream::iter(pieces)))
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_is_dropped_and_the_connection_goes_on() {
        let headers = HeaderMap::new();
        assert!(body(&headers, vec![Ok("a"), Ok("b")]).finish(&http_config()).await);
        assert!(RequestBody::new(&headers, AnyBody::empty()).finish(&http_config()).await);
        let broken = Err(std::io::ErrorKind::ConnectionReset.into());
        assert!(!body(&headers, vec![Ok("a"), broken]).finish(&http_config()).await);
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 64 * 1_024])));
        assert!(!RequestBody::new(&headers, AnyBody::from_stream(endless)).finish(&http_config()).await);
    }

    #[tokio::test]
    async fn a_body_that_the_client_holds_back_is_not_asked_for_by_dropping_it() {
        let headers = HeaderMap::from_iter([(EXPECT, HeaderValue::from_static("100-continue"))]);
        let asked_for = stream::poll_fn(|_| -> Poll<Option<Result<Bytes, std::io::Error>>> { panic!("it is read") });
        let unread = RequestBody::new(&headers, AnyBody::from_stream(asked_for));
        assert!(!unread.finish(&http_config()).await, "the connection has to close");
        let mut read = body(&headers, vec![Ok("{}")]);
        assert_eq!(read.read(&headers, &http_config()).await.unwrap(), "{}");
        assert!(read.finish(&http_config()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_not_waited_for_twice() {
        let headers = HeaderMap::new();
        let never = stream::pending::<Result<Bytes, std::io::Error>>();
        let mut slow = RequestBody::new(&headers, AnyBody::from_stream(never));
        assert!(slow.read(&headers, &http_config()).await.unwrap_err().is(ErrorCode::ReadTimeout));
        let began = tokio::time::Instant::now();
        assert!(!slow.finish(&http_config()).await);
        assert!(began.elapsed().is_zero());
    }
}
