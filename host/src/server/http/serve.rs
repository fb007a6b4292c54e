//! The connections of a listener: a request's head must arrive in time, and a stop lets the open requests finish.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use roost_core::port::{Bus, Feeds};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

use super::HttpService;
use super::head_timer::HeadTimer;
use crate::config::HttpConfig;
use crate::runtime::dispatcher::Dispatcher;

/// The pause after an error of the listener itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown` resolves, and returns when every request that had begun is answered. The hub ends sockets and
/// event streams.
pub(crate) async fn serve<A: Answerer>(
    listener: Arc<TcpListener>,
    answerer: A,
    bounds: &HttpConfig,
    shutdown: impl Future<Output = ()>,
) {
    // Every connection holds a receiver: it is told of the stop, and the stop waits until it is dropped.
    let stop = watch::Sender::new(());
    let mut shutdown = pin!(shutdown);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        spawn(stream, answerer.clone(), bounds, stop.subscribe());
    }
    drop(listener);
    stop.send_replace(());
    stop.closed().await;
}

/// Answers the requests of a connection, one after the other.
pub(crate) trait Answerer: Clone + Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response> + Send;
}

fn spawn<A: Answerer>(stream: TcpStream, answerer: A, bounds: &HttpConfig, mut stop: watch::Receiver<()>) {
    // Frames and answers are small, and are already sent together.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps delaying small packets");
    }
    let mut builder = http1::Builder::new();
    builder.timer(HeadTimer::default()).header_read_timeout(bounds.read_timeout);
    let service = service_fn(move |request| {
        let answerer = answerer.clone();
        async move { Ok::<_, Infallible>(answerer.answer(request).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stop.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::trace!(%error, "a connection ended before its request did");
        }
        drop(stop);
    });
}

impl Answerer for Router {
    async fn answer(&self, request: Request<Incoming>) -> Response {
        let Ok(response) = self.clone().oneshot(request.map(Body::new)).await;
        response
    }
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> Answerer for HttpService<F, S> {
    async fn answer(&self, request: Request<Incoming>) -> Response {
        Self::answer(self, request).await
    }
}

async fn pause_after(error: &io::Error) {
    let of_one_client = matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    );
    if !of_one_client {
        tracing::error!(%error, "the listener cannot accept connections; trying again");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};
    use tokio::time::timeout;

    use super::*;
    use crate::server::fake::http_config;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// A client of a listener whose only route signals each request and waits for permission to answer, and the means
    /// to stop the listener.
    async fn start(read_timeout: Duration) -> (TcpStream, Arc<Notify>, Arc<Notify>, impl FnOnce() -> Stopped) {
        let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (asked, answer) = (asked.clone(), answer.clone());
            move || async move {
                asked.notify_one();
                answer.notified().await;
                "done"
            }
        };
        let router = Router::new().route("/", get(handler));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let bounds = HttpConfig { read_timeout, ..http_config() };
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            serve(Arc::new(listener), router, &bounds, async { drop(stopped.await) }).await;
        });
        (client, asked, answer, move || {
            drop(stop);
            serving
        })
    }

    type Stopped = tokio::task::JoinHandle<()>;

    async fn rest(client: &mut TcpStream) -> String {
        let mut text = String::new();
        timeout(DEADLINE, client.read_to_string(&mut text)).await.expect("the connection stays open").unwrap();
        text
    }

    #[tokio::test]
    async fn a_head_that_never_ends_closes_the_connection() {
        let (mut client, _asked, _answer, stop) = start(Duration::from_millis(50)).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-slow:").await.unwrap();
        assert!(!rest(&mut client).await.contains("200"));
        timeout(DEADLINE, stop()).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_stop_waits_for_the_request_that_had_begun() {
        let (mut client, asked, answer, stop) = start(DEADLINE).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        asked.notified().await;
        let mut stopped = stop();
        assert!(timeout(Duration::from_millis(50), &mut stopped).await.is_err());
        answer.notify_one();
        assert!(rest(&mut client).await.ends_with("done"));
        timeout(DEADLINE, stopped).await.unwrap().unwrap();
    }
}
