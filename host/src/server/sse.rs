//! `GET /v1/events`: the events as Server-Sent Events, for clients without WebSocket. `id` is the position, `event` the
//! type.
//!
//! Such a client cannot give a sign of life over its stream, so it posts its heartbeats. A refusal that can pass is a
//! stream as well, because a browser's `EventSource` gives up for good on any status but 200.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::poll_fn;
use rand::Rng;
use roost_core::feed::Position;
use roost_core::port::{Bus, Feeds};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::delivery::event::{HELLO, PushedFrame, parse_since, server_sent};
use crate::delivery::{OutboxBatch, OutboxClosed, OutboxItem};
use crate::ops::metrics;
use crate::runtime::dispatcher::Dispatcher;
use crate::server::auth::Credentials;
use crate::server::http::query;
use crate::server::limits::{Limited, connects};
use crate::server::problem::{ApiError, ErrorCode, TraceId, encode};
use crate::server::refresh;
use crate::server::session::{ClientSession, FirstFrames, OpenRequest, SessionKind};
use crate::server::state::AppState;
use crate::server::sync;

/// A comment after so long without an event keeps proxies from closing a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_COMMENT: &[u8] = b":\n\n";
/// How long the event that says why a stream ends waits for the connection to take it.
const LAST_EVENT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a client waits before it connects again.
const RETRY_MS: u64 = 2_000;

/// Answers `GET /v1/events`.
pub(crate) async fn get<F, S>(State(state): State<Arc<AppState<F, S>>>, parts: Parts) -> Response
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let trace = TraceId::of(&parts.extensions);
    let opened = open(state, &parts, &trace.0).await;
    opened.unwrap_or_else(|error| refusal(&error, &trace.0, (&parts.headers, &parts.uri)))
}

async fn open<F, S>(state: Arc<AppState<F, S>>, parts: &Parts, trace: &str) -> Result<Response, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let headers = &parts.headers;
    let query = query::parse(parts.uri.query().unwrap_or_default())?;
    let since = position_of_client(headers, &query)?;
    let identity = state.identify_credentials(&Credentials::of_stream(headers, &query)?).await?;
    let user = identity.require_user()?;
    if parts.method == Method::HEAD {
        // It opens no stream: nobody would read it, and the user would seem to be online.
        return Ok(stream_of(Body::empty()));
    }
    state.limits.count_request(&identity, [Limited::Connects]).await.map_err(connects::counted)?;
    let registration = state.hub.register(user).map_err(connects::counted)?;
    let request = OpenRequest { identity, kind: SessionKind::Events, since, trace: trace.to_owned() };
    let opened = ClientSession::connect(&state, registration, request).await;
    let (session, first) = opened.map_err(connects::counted)?;
    connects::count_opened();
    let (chunks, mut body) = mpsc::channel(1);
    tokio::spawn(EventStream::new(session, chunks).run(first));
    let stream = poll_fn(move |context| body.poll_recv(context).map(|chunk| chunk.map(Ok::<Bytes, Infallible>)));
    Ok(stream_of(Body::from_stream(stream)))
}

/// Whether the same client may be served later. A client with a wrong token or a wrong request is not.
const fn can_pass(error: &ApiError) -> bool {
    error.retry && error.status != 401
}

/// A refusal: if it can pass, a stream that tells the client when to come back, and ends. It repeats the position that
/// the request names: by the letter of the standard, a client forgets its own at the first event without an `id`.
pub(crate) fn refusal(error: &ApiError, trace: &str, (headers, uri): (&HeaderMap, &Uri)) -> Response {
    if !can_pass(error) {
        return error.response(trace);
    }
    let retry_ms = error.retry_after.map_or(RETRY_MS, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    let query = query::parse(uri.query().unwrap_or_default()).unwrap_or_default();
    let position = position_of_client(headers, &query).unwrap_or_default();
    let event = server_sent("error", &encode(&error.socket_form(trace)), position.as_ref());
    stream_of(Body::from(format!("retry: {retry_ms}\n{event}")))
}

fn stream_of(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// The position of the client. `Last-Event-ID`, which a browser sends when it reconnects, comes before `since`.
fn position_of_client(headers: &HeaderMap, query: &[(String, String)]) -> Result<Option<Position>, ApiError> {
    match headers.get("last-event-id").filter(|id| !id.is_empty()) {
        // A header that is not ASCII is refused like any other text that is not a position.
        Some(id) => parse_since(id.to_str().unwrap_or_default()).map(Some),
        None => query::value(query, "since").map(parse_since).transpose(),
    }
}

/// Writes the stream until the client disconnects or reads too slowly, its token expires, or the host stops.
struct EventStream<F: Dispatcher, S> {
    session: ClientSession<F, S>,
    /// The sender to the response's body. The receiver is dropped when the client disconnects.
    chunks: mpsc::Sender<Bytes>,
    /// When the host ends the stream, and the code that it sends then.
    end: Option<(Instant, ErrorCode)>,
    draining: bool,
    /// The current state is to be pushed, and this may begin at this time.
    refresh: Option<Instant>,
    /// When a quiet stream gets a comment.
    keep_alive_at: Instant,
}

/// What an event stream has to react to.
enum StreamInput {
    Events(OutboxBatch),
    Refresh,
    Draining(Duration),
    KeepAlive,
    Closed(OutboxClosed),
    End(ErrorCode),
    Disconnected,
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> EventStream<F, S> {
    fn new(session: ClientSession<F, S>, chunks: mpsc::Sender<Bytes>) -> Self {
        let end = session.expires_at.map(|expires_at| (expires_at, ErrorCode::TokenExpired));
        Self { session, chunks, end, draining: false, refresh: None, keep_alive_at: Instant::now() + KEEP_ALIVE }
    }

    async fn run(mut self, first: FirstFrames) {
        let mut chunk = first_chunk(&first);
        while self.send(chunk).await {
            chunk = match self.next_input().await {
                StreamInput::Events(batch) => self.render(batch),
                StreamInput::Refresh => self.current_state().await,
                StreamInput::Draining(spread) => self.announce_drain(spread),
                StreamInput::KeepAlive => Bytes::from_static(KEEP_ALIVE_COMMENT),
                StreamInput::Closed(closed) => return self.send_final_error(&error_of(closed)).await,
                StreamInput::End(code) => return self.send_final_error(&code.into()).await,
                StreamInput::Disconnected => return,
            };
        }
        // While the last chunk waited.
        if let Some(closed) = self.session.connection.outbox.why_closed() {
            self.send_final_error(&error_of(closed)).await;
        }
    }

    async fn next_input(&mut self) -> StreamInput {
        let Self { session, chunks, end, draining, refresh, keep_alive_at } = self;
        let (registration, connection) = session.split();
        tokio::select! {
            batch = connection.outbox.take() => {
                batch.map_or_else(StreamInput::Closed, StreamInput::Events)
            }
            () = refresh::due(*refresh) => StreamInput::Refresh,
            drain = registration.draining(), if !*draining => StreamInput::Draining(drain.spread),
            code = wait_for_end(*end) => StreamInput::End(code),
            () = sleep_until(*keep_alive_at) => StreamInput::KeepAlive,
            () = chunks.closed() => StreamInput::Disconnected,
        }
    }

    /// Hands a chunk to the connection. Returns `false` if the client is gone or too slow.
    async fn send(&mut self, chunk: Bytes) -> bool {
        if chunk.is_empty() {
            return true;
        }
        let sent = tokio::select! {
            biased;
            sent = self.chunks.send(chunk) => sent.is_ok(),
            _ = self.session.connection.outbox.closed() => false,
        };
        self.keep_alive_at = Instant::now() + KEEP_ALIVE;
        sent
    }

    fn render(&mut self, batch: OutboxBatch) -> Bytes {
        let OutboxBatch { items, usage } = batch;
        let mut text = Vec::new();
        for item in items {
            match item {
                OutboxItem::Frame(frame) if self.session.already_has(&frame) => {}
                OutboxItem::Frame(frame) => {
                    self.session.note_sent(&frame);
                    text.extend_from_slice(&frame.server_sent());
                    metrics::FRAMES_OUT.of(["events"]).inc();
                }
                // One that has not begun yet shows what this one would.
                OutboxItem::Refresh => {
                    self.refresh.get_or_insert_with(|| self.session.state.refreshes.reserve());
                }
            }
        }
        self.session.connection.outbox.release(usage);
        text.into()
    }

    /// The current state. Nothing, if too many others read theirs: it is read later.
    async fn current_state(&mut self) -> Bytes {
        let Some(permit) = self.session.state.refreshes.try_begin() else {
            self.refresh = Some(self.session.state.refreshes.reserve_again());
            return Bytes::new();
        };
        self.refresh = None;
        let ClientSession { state, connection, trace, .. } = &self.session;
        let current = sync::refresh(state, connection.user, trace).await;
        drop(permit);
        metrics::FRAMES_OUT.of(["events"]).inc();
        current.unwrap_or_else(|| self.session.resync_from_here()).server_sent()
    }

    /// Picks a random time within the spread for the end of this stream, so that not all clients reconnect at once.
    fn announce_drain(&mut self, spread: Duration) -> Bytes {
        self.draining = true;
        let wait = spread.mul_f64(rand::rng().random());
        let at = Instant::now() + wait;
        if self.end.is_none_or(|(earlier, _)| at < earlier) {
            self.end = Some((at, ErrorCode::Draining));
        }
        PushedFrame::draining(wait).server_sent()
    }

    /// Sends the event `error` that says why the stream ends. The connection may still have to take the chunk before
    /// it.
    async fn send_final_error(&mut self, error: &ApiError) {
        let error = encode(&error.socket_form(&self.session.trace));
        let event = Bytes::from(server_sent("error", &error, None));
        // A client that reads nothing any more misses it.
        let _ = timeout(LAST_EVENT_TIMEOUT, self.chunks.send(event)).await;
    }
}

/// The error that ends a stream after its outbox was closed.
fn error_of(closed: OutboxClosed) -> ApiError {
    match closed {
        OutboxClosed::Overflowed => ErrorCode::SlowClient.into(),
        OutboxClosed::Disconnected(reason) => ApiError::new(ErrorCode::Disconnected, reason.as_str()),
    }
}

async fn wait_for_end(end: Option<(Instant, ErrorCode)>) -> ErrorCode {
    match end {
        Some((at, code)) => {
            sleep_until(at).await;
            code
        }
        None => std::future::pending().await,
    }
}

fn first_chunk(first: &FirstFrames) -> Bytes {
    let mut text = format!("retry: {RETRY_MS}\n");
    text.push_str(&server_sent(HELLO, &first.hello, Some(&first.position)));
    let mut bytes = text.into_bytes();
    for frame in &first.missed {
        bytes.extend_from_slice(&frame.server_sent());
    }
    bytes.into()
}
