//! The stream of a connection: notes what arrives, and ends the connection when its client does not read an answer in
//! time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connection_state::ConnectionState;
use crate::ops::metrics;

/// A stream whose client must read in time.
#[derive(Debug)]
pub(super) struct BoundedStream<T> {
    inner: T,
    state: Arc<ConnectionState>,
    write_timeout: Duration,
    /// Set while the client does not take what is to be written; it is removed when everything is written.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> BoundedStream<T> {
    pub(super) const fn new(inner: T, write_timeout: Duration, state: Arc<ConnectionState>) -> Self {
        Self { inner, state, write_timeout, deadline: None }
    }

    /// The outcome of a write that the client does not take now.
    fn blocked<O>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<O>> {
        if self.state.is_upgraded() {
            return Poll::Pending;
        }
        let write_timeout = self.write_timeout;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(write_timeout)));
        match deadline.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                metrics::HTTP_CONNECTIONS_CLOSED.of(["write_timeout"]).inc();
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not read the answer in time")))
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for BoundedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.state.note_bytes();
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for BoundedStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(context, bytes) {
            Poll::Pending => self.blocked(context),
            written => written,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write_vectored(context, parts) {
            Poll::Pending => self.blocked(context),
            written => written,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(context) {
            Poll::Pending => self.blocked(context),
            flushed => {
                self.deadline = None;
                self.state.note_written();
                flushed
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_shutdown(context) {
            Poll::Pending => self.blocked(context),
            ended => ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::server::http::response::{json, until_written};

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (_client, host) = duplex(8);
        let mut stream = BoundedStream::new(host, TIMEOUT, Arc::default());
        let began = Instant::now();
        let error = stream.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_too_slowly_is_given_up() {
        let (mut client, host) = duplex(8);
        let mut stream = BoundedStream::new(host, TIMEOUT, Arc::default());
        let reading = tokio::spawn(async move {
            let mut bytes = [0; 1];
            while client.read_exact(&mut bytes).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(stream.write_all(&[0; 64]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(stream);
        reading.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_the_whole_time() {
        let (mut client, host) = duplex(8);
        let mut stream = BoundedStream::new(host, TIMEOUT, Arc::default());
        let reading = tokio::spawn(async move {
            let mut bytes = [0; 16];
            while client.read_exact(&mut bytes).await.is_ok() {
                sleep(Duration::from_secs(8)).await;
            }
        });
        for _ in 0..5 {
            stream.write_all(&[0; 16]).await.unwrap();
            stream.flush().await.unwrap();
            sleep(Duration::from_secs(8)).await;
        }
        drop(stream);
        reading.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_is_not_bounded_here() {
        let (_client, host) = duplex(8);
        let state = Arc::<ConnectionState>::default();
        state.end_answer(None, true);
        let mut stream = BoundedStream::new(host, TIMEOUT, state);
        assert!(timeout(TIMEOUT * 100, stream.write_all(&[0; 64])).await.is_err());
    }

    #[tokio::test]
    async fn what_is_held_is_dropped_when_the_answer_is_written() {
        let (_client, host) = duplex(64);
        let state = Arc::<ConnectionState>::default();
        let mut stream = BoundedStream::new(host, TIMEOUT, state.clone());
        let held = Arc::new(());
        state.begin_answer();
        let mut response = until_written(json(200, "{}"), Some(held.clone()));
        state.end_answer(response.extensions_mut().remove(), false);
        drop(response);
        stream.write_all(b"answer").await.unwrap();
        assert!(state.is_busy() && Arc::strong_count(&held) == 2);
        stream.flush().await.unwrap();
        assert!(!state.is_busy() && Arc::strong_count(&held) == 1);
    }
}
