//! One socket's loop: hello, what was missed, then frames in both directions until one side ends it.
//!
//! Generic over a sink and stream of messages, so that channels can stand in for a socket. Writes gather what
//! waits. Reading pauses while a write is blocked or too many calls are under way, so that a client which
//! floods or does not read slows only itself.

use std::time::Duration;

use axum::extract::ws::Message;
use bytes::Bytes;
use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use rand::Rng;
use roost_core::port::{Bus, Feeds};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::answer;
use super::calls::Calls;
use super::close::{self, Close};
use super::frame::{self, ClientFrame};
use super::timers::{Due, Timers};
use crate::delivery::event::{DRAINING, HELLO, PushedFrame};
use crate::delivery::{Batch, Item, Room};
use crate::runtime::dispatcher::Dispatcher;
use crate::server::problem::{ApiError, Code};
use crate::server::session::{ClientSession, Welcome};

/// How long the other side gets to take our close frame and to answer it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What went wrong while reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// A frame beyond the bound.
    TooLarge,
    /// Text that is not UTF-8.
    NotText,
    /// Not WebSocket.
    Protocol,
    /// The connection broke.
    Gone,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The host closes.
    Close(Close),
    /// The client left.
    Gone,
}

/// A socket, or what stands in for one.
pub trait Wire: Stream<Item = Result<Message, ReadError>> + Sink<Message> + Unpin + Send {}

impl<T: Stream<Item = Result<Message, ReadError>> + Sink<Message> + Unpin + Send> Wire for T {}

/// Runs one socket from `hello` to the close.
pub async fn run<F, S, W>(visit: ClientSession<F, S>, welcome: Welcome, mut wire: W) -> End
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
    W: Wire,
{
    let mut session = Session::new(visit);
    let end = session.serve(welcome, &mut wire).await;
    let Session { visit, calls, .. } = session;
    if calls.len() > 0 {
        let drain = visit.seat().drain_watch();
        tokio::spawn(async move {
            calls.finish().await;
            drop(drain);
        });
    }
    if let End::Close(close) = end {
        metrics::counter!("roost_sockets_closed_total", "reason" => close.reason).increment(1);
        say_goodbye(&mut wire, close).await;
    }
    drop(visit);
    end
}

struct Session<F: Dispatcher, S> {
    visit: ClientSession<F, S>,
    calls: Calls,
    timers: Timers,
    /// Frames so far: with the connection's id, a trace id for each.
    frames: u64,
}

/// What happened next.
enum Turn {
    Pushed(Batch),
    Answers(Vec<String>),
    Incoming(Message),
    Draining(Duration),
    Due,
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> Session<F, S> {
    fn new(visit: ClientSession<F, S>) -> Self {
        let timers = Timers::new(&visit.state.socket, visit.until);
        Self { visit, calls: Calls::default(), timers, frames: 0 }
    }

    async fn serve<W: Wire>(&mut self, welcome: Welcome, wire: &mut W) -> End {
        let hello = PushedFrame::ephemeral(HELLO, welcome.hello);
        let mut first = vec![Message::Text(hello.text())];
        first.extend(welcome.frames.iter().map(|frame| Message::Text(frame.text())));
        if let Err(end) = self.write(wire, first).await {
            return end;
        }
        let mut draining = false;
        loop {
            let turn = match self.turn(wire, draining).await {
                Ok(turn) => turn,
                Err(end) => return end,
            };
            draining |= matches!(turn, Turn::Draining(_));
            if let Err(end) = self.take(turn, wire).await {
                return end;
            }
        }
    }

    /// Waits for whatever comes first.
    async fn turn<W: Wire>(&mut self, wire: &mut W, draining: bool) -> Result<Turn, End> {
        let may_read = self.calls.len() < self.visit.state.socket.calls_max;
        let due = self.timers.next();
        let Self { visit, calls, .. } = self;
        let (seat, connection) = visit.parts();
        Ok(tokio::select! {
            batch = connection.outbox.take() => Turn::Pushed(batch.map_err(|_| End::Close(close::SLOW_CLIENT))?),
            Some(answer) = calls.next(), if calls.len() > 0 => Turn::Answers(vec![answer]),
            message = wire.next(), if may_read => Turn::Incoming(incoming(message)?),
            stop = seat.draining(), if !draining => Turn::Draining(stop.spread),
            () = sleep_until(due) => Turn::Due,
        })
    }

    async fn take<W: Wire>(&mut self, turn: Turn, wire: &mut W) -> Result<(), End> {
        match turn {
            Turn::Pushed(batch) => self.push(batch, wire).await,
            Turn::Answers(mut answers) => {
                // What is ready goes out in the same write.
                while let Some(Some(answer)) = self.calls.next().now_or_never() {
                    answers.push(answer);
                }
                self.write(wire, answers.into_iter().map(|answer| Message::Text(answer.into())).collect()).await
            }
            Turn::Incoming(message) => match self.read(message)? {
                Some(refusal) => self.write(wire, vec![Message::Text(refusal.into())]).await,
                None => Ok(()),
            },
            Turn::Draining(spread) => {
                let notice = self.announce_close(spread);
                self.write(wire, vec![notice]).await
            }
            Turn::Due => match self.timers.due(Instant::now()) {
                Due::Nothing => Ok(()),
                Due::Ping => self.write(wire, vec![Message::Ping(Bytes::new())]).await,
                Due::Close(close) => Err(self.last_words(wire, close).await),
            },
        }
    }

    async fn push<W: Wire>(&mut self, batch: Batch, wire: &mut W) -> Result<(), End> {
        let Batch { items, room } = batch;
        let mut messages = Vec::with_capacity(items.len());
        let mut refresh = false;
        for item in items {
            match item {
                Item::PushedFrame(frame) if self.visit.has(&frame) => {}
                Item::PushedFrame(frame) => messages.push(Message::Text(frame.text())),
                Item::Refresh => refresh = true,
            }
        }
        if refresh {
            let trace = self.next_trace();
            self.calls.submit(SYNC_LANE, answer::refresh(&self.visit, trace));
        }
        let written = self.write(wire, messages).await;
        self.release(room);
        written
    }

    fn release(&self, room: Room) {
        self.visit.connection.outbox.written(room);
    }

    /// Takes a message; answers what must be said at once.
    fn read(&mut self, message: Message) -> Result<Option<String>, End> {
        self.timers.heard(Instant::now());
        self.visit.connection.alive();
        match message {
            Message::Text(text) if text.len() > self.visit.state.socket.frame_bytes_max => {
                Err(End::Close(close::TOO_LARGE))
            }
            Message::Text(text) => Ok(self.frame(&text)),
            Message::Binary(_) => Err(End::Close(close::BINARY_REFUSED)),
            Message::Ping(_) | Message::Pong(_) => Ok(None),
            Message::Close(_) => Err(End::Gone),
        }
    }

    fn frame(&mut self, text: &str) -> Option<String> {
        let trace = self.next_trace();
        match ClientFrame::parse(text) {
            Ok(frame) => {
                let work = answer::work(&self.visit, &frame, trace);
                self.calls.submit(frame.lane(), work);
                None
            }
            Err(refusal) => {
                metrics::counter!("roost_frames_in_total", "type" => "invalid").increment(1);
                Some(frame::error(refusal.id.as_deref(), &refusal.fault, &trace))
            }
        }
    }

    fn next_trace(&mut self) -> String {
        self.frames += 1;
        format!("{}-{}", self.visit.connection.id, self.frames)
    }

    /// Chooses this socket's moment within the spread, so that not all clients come back at once.
    fn announce_close(&mut self, spread: Duration) -> Message {
        let wait = spread.mul_f64(rand::rng().random());
        self.timers.close_at(Instant::now() + wait);
        let payload = json!({ "close_in_ms": u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) });
        Message::Text(PushedFrame::ephemeral(DRAINING, payload.to_string()).text())
    }

    async fn last_words<W: Wire>(&mut self, wire: &mut W, close: Close) -> End {
        if close == close::TOKEN_EXPIRED {
            let fault = ApiError::from(Code::TokenExpired);
            let notice = frame::error(None, &fault, &self.next_trace());
            // The close frame says the same to a client that no longer takes this.
            let _ = self.write(wire, vec![Message::Text(notice.into())]).await;
        }
        End::Close(close)
    }

    /// Writes everything at once. A client that takes too long is not waited for.
    async fn write<W: Wire>(&mut self, wire: &mut W, messages: Vec<Message>) -> Result<(), End> {
        if messages.is_empty() {
            return Ok(());
        }
        metrics::counter!("roost_frames_out_total", "kind" => "socket").increment(messages.len() as u64);
        let writing = async {
            for message in messages {
                wire.feed(message).await?;
            }
            wire.flush().await
        };
        tokio::select! {
            biased;
            written = writing => written.map_err(|_| End::Gone),
            () = self.visit.connection.outbox.overflow() => Err(End::Close(close::SLOW_CLIENT)),
            () = sleep(self.visit.state.socket.idle_timeout) => Err(End::Close(close::IDLE)),
        }
    }
}

/// Answers of the host itself to a refresh share the lane of the client's `sync` frames.
const SYNC_LANE: &str = crate::delivery::event::SYNC;

fn incoming(message: Option<Result<Message, ReadError>>) -> Result<Message, End> {
    match message {
        Some(Ok(message)) => Ok(message),
        Some(Err(ReadError::TooLarge)) => Err(End::Close(close::TOO_LARGE)),
        Some(Err(ReadError::NotText)) => Err(End::Close(close::NOT_TEXT)),
        Some(Err(ReadError::Protocol)) => Err(End::Close(close::PROTOCOL_ERROR)),
        Some(Err(ReadError::Gone)) | None => Err(End::Gone),
    }
}

/// Sends the close frame and waits for the other side's, but not for long.
async fn say_goodbye<W: Wire>(wire: &mut W, close: Close) {
    let handshake = async {
        if wire.send(close.message()).await.is_err() {
            return;
        }
        loop {
            match wire.next().await {
                Some(Ok(_)) => {}
                // What cannot be read is still arriving; dropping the socket now would cut off our close frame.
                Some(Err(ReadError::TooLarge | ReadError::NotText | ReadError::Protocol)) => {
                    std::future::pending().await
                }
                Some(Err(ReadError::Gone)) | None => return,
            }
        }
    };
    let _ = timeout(CLOSE_TIMEOUT, handshake).await;
}
