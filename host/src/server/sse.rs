//! The same feed as Server-Sent Events, for clients without WebSocket: `id` is the position, `event` the type.
//!
//! Such a client cannot give a sign of life over its stream, so it posts its beats.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::poll_fn;
use rand::Rng;
use roost_core::feed::Position;
use roost_core::port::{Bus, Feeds};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::delivery::event::{DRAINING, HELLO, PushedFrame, parse_since, server_sent};
use crate::delivery::{Batch, Item};
use crate::runtime::dispatcher::Dispatcher;
use crate::server::auth::Credentials;
use crate::server::http::query;
use crate::server::problem::{ApiError, Code, TraceId, Traced, encode};
use crate::server::session::{ClientSession, Kind, Opening, Welcome};
use crate::server::state::AppState;
use crate::server::sync;

/// A comment this often keeps proxies from closing a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_COMMENT: &[u8] = b":\n\n";
/// How long a client waits before it connects again.
const RETRY_MS: u64 = 2_000;

/// `GET /v1/events`
pub(crate) async fn get<F, S>(State(state): State<Arc<AppState<F, S>>>, parts: Parts) -> Result<Response, Traced>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let trace = TraceId::of(&parts.extensions);
    open(state, &parts, &trace.0).await.map_err(|fault| Traced(fault, trace))
}

async fn open<F, S>(state: Arc<AppState<F, S>>, parts: &Parts, trace: &str) -> Result<Response, ApiError>
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
{
    let headers = &parts.headers;
    let query = query::parse(parts.uri.query().unwrap_or_default())?;
    let since = last_seen(headers, &query)?;
    let identity = state.identify_credentials(&Credentials::of_stream(headers, &query)?)?;
    let seat = state.hub.seat(identity.require_user()?)?;
    let opening = Opening { identity, kind: Kind::Events, since, trace: trace.to_owned() };
    let (visit, welcome) = ClientSession::open(state, seat, opening).await?;
    let (chunks, mut body) = mpsc::channel(1);
    tokio::spawn(EventStream::new(visit, chunks).run(welcome));
    let stream = poll_fn(move |context| body.poll_recv(context).map(|chunk| chunk.map(Ok::<Bytes, Infallible>)));
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Where the client stands: its `Last-Event-ID`, which a browser sends when it comes back, before `since`.
fn last_seen(headers: &HeaderMap, query: &[(String, String)]) -> Result<Option<Position>, ApiError> {
    let unreadable = || ApiError::new(Code::InvalidSince, "Last-Event-ID is no position");
    match headers.get("last-event-id").filter(|id| !id.is_empty()) {
        Some(id) => id.to_str().map_err(|_| unreadable()).and_then(parse_since).map(Some),
        None => query::value(query, "since").map(parse_since).transpose(),
    }
}

/// Writes the stream until the client leaves, is too slow, its token ends or the host stops.
struct EventStream<F: Dispatcher, S> {
    visit: ClientSession<F, S>,
    /// Towards the response's body; its receiver is dropped when the client leaves.
    chunks: mpsc::Sender<Bytes>,
    ends: Option<(Instant, Code)>,
    draining: bool,
}

/// What happened next.
enum Turn {
    Pushed(Batch),
    Draining(Duration),
    Quiet,
    Ended(Code),
    Gone,
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> EventStream<F, S> {
    fn new(visit: ClientSession<F, S>, chunks: mpsc::Sender<Bytes>) -> Self {
        let ends = visit.until.map(|until| (until, Code::TokenExpired));
        Self { visit, chunks, ends, draining: false }
    }

    async fn run(mut self, welcome: Welcome) {
        let mut chunk = first(&welcome);
        while self.send(chunk).await {
            chunk = match self.turn().await {
                Turn::Pushed(batch) => self.render(batch).await,
                Turn::Draining(spread) => self.announce_end(spread),
                Turn::Quiet => Bytes::from_static(KEEP_ALIVE_COMMENT),
                Turn::Ended(code) => return self.last_words(code),
                Turn::Gone => return,
            };
        }
    }

    async fn turn(&mut self) -> Turn {
        let Self { visit, chunks, ends, draining } = self;
        let (seat, connection) = visit.parts();
        tokio::select! {
            batch = connection.outbox.take() => batch.map_or(Turn::Ended(Code::SlowClient), Turn::Pushed),
            stop = seat.draining(), if !*draining => Turn::Draining(stop.spread),
            code = ending(*ends) => Turn::Ended(code),
            () = sleep(KEEP_ALIVE) => Turn::Quiet,
            () = chunks.closed() => Turn::Gone,
        }
    }

    /// Hands a chunk to the connection; `false`: nobody takes it any more.
    async fn send(&self, chunk: Bytes) -> bool {
        if chunk.is_empty() {
            return true;
        }
        tokio::select! {
            biased;
            sent = self.chunks.send(chunk) => sent.is_ok(),
            () = self.visit.connection.outbox.overflow() => false,
        }
    }

    async fn render(&self, batch: Batch) -> Bytes {
        let Batch { items, room } = batch;
        let mut text = Vec::new();
        for item in items {
            match item {
                Item::PushedFrame(frame) if self.visit.has(&frame) => {}
                Item::PushedFrame(frame) => text.extend_from_slice(&frame.server_sent()),
                Item::Refresh => text.extend_from_slice(&self.present().await.server_sent()),
            }
            metrics::counter!("roost_frames_out_total", "kind" => "events").increment(1);
        }
        self.visit.connection.outbox.written(room);
        text.into()
    }

    async fn present(&self) -> PushedFrame {
        let ClientSession { state, connection, trace, .. } = &self.visit;
        sync::refresh(state, connection.user, self.visit.seat().cursor(), trace).await
    }

    /// Chooses this stream's moment within the spread, so that not all clients come back at once.
    fn announce_end(&mut self, spread: Duration) -> Bytes {
        self.draining = true;
        let wait = spread.mul_f64(rand::rng().random());
        let moment = Instant::now() + wait;
        if self.ends.is_none_or(|(earlier, _)| moment < earlier) {
            self.ends = Some((moment, Code::Draining));
        }
        let payload = json!({ "close_in_ms": u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) });
        PushedFrame::ephemeral(DRAINING, payload.to_string()).server_sent()
    }

    /// Says why the stream ends, unless the client takes nothing any more.
    fn last_words(&self, code: Code) {
        let fault = ApiError::from(code);
        let error = encode(&fault.socket_form(&self.visit.trace));
        let _ = self.chunks.try_send(server_sent("error", &error, None).into());
    }
}

async fn ending(ends: Option<(Instant, Code)>) -> Code {
    match ends {
        Some((moment, code)) => {
            sleep_until(moment).await;
            code
        }
        None => std::future::pending().await,
    }
}

fn first(welcome: &Welcome) -> Bytes {
    let mut text = format!("retry: {RETRY_MS}\n");
    text.push_str(&server_sent(HELLO, &welcome.hello, Some(&welcome.position)));
    let mut bytes = text.into_bytes();
    for frame in &welcome.frames {
        bytes.extend_from_slice(&frame.server_sent());
    }
    bytes.into()
}
