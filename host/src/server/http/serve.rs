//! The connections of a listener, plain or with TLS: they are bounded, a handshake and a request's head must arrive in
//! time, answers must be read in time, and a stop lets the open requests finish.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HOST};
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use roost_core::port::{Bus, Feeds, PubSub};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::HttpService;
use super::bounded_stream::BoundedStream;
use super::connection_places::{ConnectionPlace, ConnectionPlaces};
use super::connection_state::ConnectionState;
use super::head_timer::HeadTimer;
use crate::config::HttpConfig;
use crate::ops::{metrics, trace};
use crate::runtime::dispatcher::Dispatcher;
use crate::server::problem::{ApiError, ErrorCode};

/// How long a refused client should wait before it connects again.
const REFUSED_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The largest head of a request. As much is read ahead of a connection, whatever it sends.
const HEAD_BYTES_MAX: usize = 64 * 1_024;
/// The pause after an error of the listener itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How much of what was sent the kernel keeps until a client has received it; Linux doubles this number for its own
/// bookkeeping. Without a bound it is several MiB for each connection of a client who reads slowly.
const SEND_BUFFER_BYTES: u32 = 128 << 10;
/// The connections that wait to be accepted: as many as Linux allows by default (`net.core.somaxconn`). Where more
/// connect at once, their systems try again after a second.
const BACKLOG: u32 = 4_096;

/// A bound address, and how its connections are encrypted.
pub(crate) struct HttpListener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl HttpListener {
    /// Binds an address, with a bound on what is kept for each connection.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A host that is restarted takes its port although old connections are still being closed.
        socket.set_reuseaddr(true)?;
        // Accepted connections inherit it.
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    }

    /// A listener with TLS.
    pub(crate) const fn encrypted(tcp: TcpListener, tls: TlsAcceptor) -> Self {
        Self { tcp, tls: Some(tls) }
    }
}

impl From<TcpListener> for HttpListener {
    /// A listener without TLS.
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None }
    }
}

/// Serves until `shutdown` resolves, and returns when every request that had begun is answered. The hub ends sockets
/// and event streams.
pub(crate) async fn serve<A: Answerer>(
    listener: Arc<HttpListener>,
    answerer: A,
    bounds: &HttpConfig,
    shutdown: impl Future<Output = ()>,
) {
    // Every connection holds a receiver: it is told of the stop, and the stop waits until it is dropped.
    let stop = watch::Sender::new(());
    let places = ConnectionPlaces::new(bounds.connections_max);
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.tcp.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let Some(place) = places.take() else { continue };
        // Frames and answers are small, and are already sent together.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps delaying small packets");
        }
        let connection = AcceptedConnection {
            answerer: answerer.clone(),
            peer,
            times: ConnectionTimes::of(bounds),
            place,
            stop: stop.subscribe(),
            idle_shed: places.idle_shed.subscribe(),
        };
        match listener.tls.clone() {
            Some(tls) => tokio::spawn(connection.encrypt(stream, tls)),
            None => tokio::spawn(connection.serve(stream)),
        };
        // Everything else that is ready has its turn before the next connection. So a herd is accepted no faster than
        // it is answered, and waits in the kernel rather than before the requests of others.
        yield_now().await;
    }
    drop(listener);
    stop.send_replace(());
    stop.closed().await;
}

/// Answers the requests of a connection, one after the other.
pub(crate) trait Answerer: Clone + Send + Sync + 'static {
    /// Answers one request of this peer.
    fn answer(&self, request: Request<Incoming>, peer: Peer) -> impl Future<Output = Response> + Send;

    /// Refuses a request that is not to be answered.
    fn refuse(&self, _: &Request<Incoming>, error: &ApiError, trace: &str) -> Response {
        error.response(trace)
    }
}

/// The address from which a connection comes. Routers find it among the extensions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// One accepted connection, and what serving it needs.
struct AcceptedConnection<A> {
    answerer: A,
    peer: SocketAddr,
    times: ConnectionTimes,
    place: ConnectionPlace,
    stop: watch::Receiver<()>,
    idle_shed: watch::Receiver<()>,
}

/// How long the parts of a connection may take.
#[derive(Clone, Copy)]
struct ConnectionTimes {
    /// The handshake of TLS, and the head of each request.
    read: Duration,
    /// The wait for the next request.
    idle: Duration,
    /// The writing of an answer.
    write: Duration,
}

impl ConnectionTimes {
    const fn of(bounds: &HttpConfig) -> Self {
        Self { read: bounds.read_timeout, idle: bounds.idle_timeout, write: bounds.write_timeout }
    }
}

impl<A: Answerer> AcceptedConnection<A> {
    /// Serves a connection with TLS.
    async fn encrypt(mut self, stream: TcpStream, tls: TlsAcceptor) {
        let handshake = timeout(self.times.read, tls.accept(stream));
        let encrypted = tokio::select! {
            encrypted = handshake => encrypted,
            _ = self.stop.changed() => return,
        };
        match encrypted {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %self.peer, "a TLS handshake took too long"),
        }
    }

    /// Serves a connection, plain or decrypted.
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { answerer, peer, times, place, mut stop, mut idle_shed } = self;
        let state = Arc::<ConnectionState>::default();
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX);
        // A first head has `times.read` from the start, and each further one from its first byte on.
        builder.timer(HeadTimer::new(times.read, state.clone())).header_read_timeout(times.idle);
        let (answering, refuses) = (state.clone(), place.refuses);
        let service = service_fn(move |request| {
            let (answerer, state) = (answerer.clone(), answering.clone());
            async move {
                state.begin_answer();
                let mut response = match check(&request, refuses) {
                    Ok(()) => answerer.answer(request, Peer(peer)).await,
                    Err(error) => refuse(&answerer, &request, &error),
                };
                let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                state.end_answer(response.extensions_mut().remove(), upgraded);
                Ok::<_, Infallible>(response)
            }
        });
        let stream = TokioIo::new(BoundedStream::new(stream, times.write, state.clone()));
        let mut connection = pin!(builder.serve_connection(stream, service).with_upgrades());
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = must_close(&mut stop, &mut idle_shed, &state) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::trace!(%error, "a connection ended before its request did");
        }
        drop((place, stop));
    }
}

/// Returns when the connection shall close: the host stops, or too many connections are open and this one is idle.
async fn must_close(stop: &mut watch::Receiver<()>, idle_shed: &mut watch::Receiver<()>, state: &ConnectionState) {
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            changed = idle_shed.changed() => {
                if changed.is_err() {
                    return;
                }
                // A request that has begun to arrive is answered.
                if !state.is_busy() && !state.bytes_arrived() {
                    metrics::HTTP_CONNECTIONS_CLOSED.of(["idle_shed"]).inc();
                    return;
                }
            }
        }
    }
}

/// Checks what must hold before a request is answered: there is a place for its connection, and it says what host it is
/// for, once. A proxy that finds another host in it than this listener would apply the rules of that host.
fn check<B>(request: &Request<B>, refuses: bool) -> Result<(), ApiError> {
    if refuses {
        return Err(ApiError::from(ErrorCode::TooManyConnections).after(REFUSED_RETRY_AFTER));
    }
    match request.headers().get_all(HOST).iter().count() {
        1 => Ok(()),
        0 if request.version() < Version::HTTP_11 => Ok(()),
        _ => Err(ErrorCode::InvalidHost.into()),
    }
}

fn refuse(answerer: &impl Answerer, request: &Request<Incoming>, error: &ApiError) -> Response {
    let mut response = answerer.refuse(request, error, &trace::new_id());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

impl Answerer for Router {
    async fn answer(&self, mut request: Request<Incoming>, peer: Peer) -> Response {
        request.extensions_mut().insert(peer);
        let Ok(response) = self.clone().oneshot(request.map(Body::new)).await;
        response
    }
}

impl<F: Dispatcher, S: Bus + Feeds + PubSub + 'static> Answerer for HttpService<F, S> {
    async fn answer(&self, request: Request<Incoming>, _: Peer) -> Response {
        Self::answer(self, request).await
    }

    fn refuse(&self, request: &Request<Incoming>, error: &ApiError, trace: &str) -> Response {
        Self::refuse(self, request, error, trace)
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
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};

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
            serve(Arc::new(listener.into()), router, &bounds, async { drop(stopped.await) }).await;
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

    /// Counts its clones, one for each connection and each request, up to the first answer.
    #[derive(Default)]
    struct CountingAnswerer {
        clones: Arc<AtomicUsize>,
        at_first_answer: Arc<OnceLock<usize>>,
    }

    impl Clone for CountingAnswerer {
        fn clone(&self) -> Self {
            self.clones.fetch_add(1, Ordering::Relaxed);
            Self { clones: self.clones.clone(), at_first_answer: self.at_first_answer.clone() }
        }
    }

    impl Answerer for CountingAnswerer {
        async fn answer(&self, _: Request<Incoming>, _: Peer) -> Response {
            self.at_first_answer.get_or_init(|| self.clones.load(Ordering::Relaxed));
            Response::new(Body::empty())
        }
    }

    #[tokio::test]
    async fn a_herd_is_accepted_no_faster_than_it_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut herd = Vec::new();
        for _ in 0..64 {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            herd.push(client);
        }
        let answerer = CountingAnswerer::default();
        let at_first_answer = answerer.at_first_answer.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            serve(Arc::new(listener.into()), answerer, &http_config(), async { drop(stopped.await) }).await;
        });
        for client in &mut herd {
            assert!(rest(client).await.contains("200"));
        }
        drop(stop);
        timeout(DEADLINE, serving).await.unwrap().unwrap();
        let accepted = at_first_answer.get().copied().unwrap();
        assert!(accepted <= 8, "{accepted} clones before the first answer");
    }
}
