//! The loop of one socket: `hello`, the missed events, then frames in both directions until one side ends it.
//!
//! It is generic over a sink and stream of messages, so that tests can use channels in place of a socket. Writes are
//! batched. Reading pauses while a write is blocked, too many answers are pending or the user has sent too many frames,
//! so that a client which floods or does not read delays only itself.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use rand::Rng;
use roost_core::port::{Bus, Feeds};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::answer;
use super::close::{self, CloseReason};
use super::frame::{self, ClientFrame};
use super::pending::{PendingAnswers, SocketAnswer};
use super::renewal::{self, TOKEN, TokenRenewal};
use super::timers::{TimerAction, Timers};
use crate::delivery::event::{HELLO, PushedFrame, SYNC};
use crate::delivery::{OutboxBatch, OutboxItem};
use crate::ops::metrics;
use crate::runtime::dispatcher::Dispatcher;
use crate::server::limits::{CallOfUser, Limited};
use crate::server::problem::{ApiError, ErrorCode};
use crate::server::refresh;
use crate::server::session::{ClientSession, FirstFrames};

/// How long the client may take to read the close frame and to answer it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest time for which nothing is read after too many frames.
const READ_PAUSE_MAX: Duration = Duration::from_secs(1);
/// A refresh by the host and the client's own `sync` frames are answered one after the other.
const REFRESH_ORDERING_KEY: &str = SYNC;

/// Why a message could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The message is larger than the transport can read.
    TooLarge,
    /// The text is not UTF-8.
    NotUtf8,
    /// The client does not keep to the WebSocket protocol.
    Protocol,
    /// The connection is gone.
    Disconnected,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The host closes the socket.
    Closed(CloseReason),
    /// The client disconnected.
    Disconnected,
}

/// A socket, or what replaces it in tests.
pub(crate) trait Transport: Stream<Item = Result<Message, ReadError>> + Sink<Message> + Unpin + Send {}

impl<T: Stream<Item = Result<Message, ReadError>> + Sink<Message> + Unpin + Send> Transport for T {}

/// Runs one socket from `hello` to the close.
pub(crate) async fn run<F, S, T>(client: ClientSession<F, S>, first: FirstFrames, transport: &mut T) -> SessionEnd
where
    F: Dispatcher,
    S: Bus + Feeds + 'static,
    T: Transport,
{
    let mut session = SocketSession::new(client);
    let end = session.serve(first, transport).await;
    let SocketSession { client, answers, .. } = session;
    if answers.len() > 0 {
        let drain = client.registration().drain_watch();
        tokio::spawn(async move {
            answers.finish().await;
            drop(drain);
        });
    }
    match end {
        SessionEnd::Closed(reason) => {
            metrics::SOCKETS_CLOSED.of([reason.reason]).inc();
            let closed = client.connection.outbox.why_closed();
            close_handshake(transport, close::message_of(reason, closed.as_ref())).await;
        }
        SessionEnd::Disconnected => answer_close(transport).await,
    }
    drop(client);
    end
}

struct SocketSession<F: Dispatcher, S> {
    client: ClientSession<F, S>,
    answers: PendingAnswers,
    timers: Timers,
    /// Nothing is read before this time, because the user has sent too many frames.
    read_at: Option<Instant>,
    /// The current state is to be pushed, and this may begin at this time.
    refresh: Option<Instant>,
    /// How many trace ids this session has made: the connection's id with this number is a trace id.
    traces: u64,
}

/// What a session has to react to.
enum SocketInput {
    Events(OutboxBatch),
    Answers(Vec<SocketAnswer>),
    Refresh,
    Message(Message),
    Draining(Duration),
    Timer,
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> SocketSession<F, S> {
    fn new(client: ClientSession<F, S>) -> Self {
        let timers = Timers::new(&client.state.socket, client.expires_at);
        Self { client, answers: PendingAnswers::default(), timers, read_at: None, refresh: None, traces: 0 }
    }

    async fn serve<T: Transport>(&mut self, first: FirstFrames, transport: &mut T) -> SessionEnd {
        let hello = PushedFrame::ephemeral(HELLO, first.hello);
        let mut messages = vec![Message::Text(hello.text())];
        messages.extend(first.missed.iter().map(|frame| Message::Text(frame.text())));
        if let Err(end) = self.write(transport, messages).await {
            return end;
        }
        let mut draining = false;
        loop {
            let input = match self.next_input(transport, draining).await {
                Ok(input) => input,
                Err(end) => return end,
            };
            draining |= matches!(input, SocketInput::Draining(_));
            if let Err(end) = self.handle(input, transport).await {
                return end;
            }
        }
    }

    async fn next_input<T: Transport>(&mut self, transport: &mut T, draining: bool) -> Result<SocketInput, SessionEnd> {
        if self.read_at.is_some_and(|at| at <= Instant::now()) {
            self.read_at = None;
        }
        let may_read = self.read_at.is_none() && self.answers.len() < self.client.state.socket.calls_max;
        // Its permit must not wait for the client's own frames, which wait for the user's other calls.
        let may_refresh = !self.answers.is_pending(REFRESH_ORDERING_KEY);
        let due = self.read_at.map_or(self.timers.next(), |at| at.min(self.timers.next()));
        let Self { client, answers, refresh, .. } = self;
        let (registration, connection) = client.split();
        Ok(tokio::select! {
            batch = connection.outbox.take() => {
                SocketInput::Events(batch.map_err(|closed| SessionEnd::Closed(close::of_outbox(&closed)))?)
            }
            Some(answer) = answers.next(), if answers.len() > 0 => SocketInput::Answers(vec![answer]),
            () = refresh::due(*refresh), if may_refresh => SocketInput::Refresh,
            message = transport.next(), if may_read => SocketInput::Message(received(message)?),
            drain = registration.draining(), if !draining => SocketInput::Draining(drain.spread),
            () = sleep_until(due) => SocketInput::Timer,
        })
    }

    async fn handle<T: Transport>(&mut self, input: SocketInput, transport: &mut T) -> Result<(), SessionEnd> {
        match input {
            SocketInput::Events(batch) => self.push(batch, transport).await,
            SocketInput::Answers(mut answers) => {
                // All answers that are ready go out in one write.
                while let Some(Some(answer)) = self.answers.next().now_or_never() {
                    answers.push(answer);
                }
                let (messages, places): (_, Vec<_>) = answers.into_iter().map(|answer| self.message(answer)).unzip();
                let written = self.write(transport, messages).await;
                drop(places);
                written
            }
            SocketInput::Refresh => {
                self.begin_refresh();
                Ok(())
            }
            SocketInput::Message(message) => match self.handle_message(message)? {
                Some(refusal) => self.write(transport, vec![Message::Text(refusal.into())]).await,
                None => Ok(()),
            },
            SocketInput::Draining(spread) => {
                let notice = self.announce_drain(spread);
                self.write(transport, vec![notice]).await
            }
            SocketInput::Timer => match self.timers.due(Instant::now()) {
                TimerAction::Nothing => Ok(()),
                TimerAction::Ping => self.write(transport, vec![Message::Ping(Bytes::new())]).await,
                TimerAction::Close(reason) => {
                    self.announce_close(transport, reason).await;
                    Err(SessionEnd::Closed(reason))
                }
            },
        }
    }

    async fn push<T: Transport>(&mut self, batch: OutboxBatch, transport: &mut T) -> Result<(), SessionEnd> {
        let OutboxBatch { items, usage } = batch;
        let mut messages = Vec::with_capacity(items.len());
        for item in items {
            match item {
                OutboxItem::Frame(frame) if self.client.already_has(&frame) => {}
                OutboxItem::Frame(frame) => {
                    self.client.note_sent(&frame);
                    messages.push(Message::Text(frame.text()));
                }
                // One that has not begun yet shows what this one would.
                OutboxItem::Refresh => {
                    self.refresh.get_or_insert_with(|| self.client.state.refreshes.reserve());
                }
            }
        }
        let written = self.write(transport, messages).await;
        self.client.connection.outbox.release(usage);
        written
    }

    /// Begins to read the current state, or tries again later if too many others do so.
    fn begin_refresh(&mut self) {
        let Some(permit) = self.client.state.refreshes.try_begin() else {
            self.refresh = Some(self.client.state.refreshes.reserve_again());
            return;
        };
        self.refresh = None;
        let trace = self.next_trace();
        self.answers.submit(REFRESH_ORDERING_KEY, answer::refresh(&self.client, trace, permit));
    }

    /// The message of an answer, and what is held until it is written.
    fn message(&mut self, answer: SocketAnswer) -> (Message, Option<CallOfUser>) {
        match answer {
            SocketAnswer::Frame(frame, place) => (Message::Text(frame.into()), place),
            SocketAnswer::StateUnavailable => (Message::Text(self.client.resync_from_here().text()), None),
            SocketAnswer::Renewal(renewal) => (self.renew(renewal), None),
        }
    }

    /// Replaces the client's token, if the offered one may do so.
    fn renew(&mut self, renewal: TokenRenewal) -> Message {
        let TokenRenewal { id, trace, offered } = renewal;
        let frame = match offered.and_then(|offered| renewal::renewed(&self.client.identity, offered)) {
            Ok(identity) => {
                self.client.renew(identity);
                self.timers.renew(self.client.expires_at);
                renewal::ok_frame(&id, &identity)
            }
            Err(error) => frame::error(Some(&id), &error, &trace),
        };
        Message::Text(frame.into())
    }

    /// Handles a message of the client. Returns the frame that refuses it, if it is not valid.
    fn handle_message(&mut self, message: Message) -> Result<Option<String>, SessionEnd> {
        self.timers.restart_idle(Instant::now());
        self.client.connection.mark_alive();
        match message {
            Message::Text(text) if text.len() > self.client.state.socket.frame_bytes_max => {
                Err(SessionEnd::Closed(close::TOO_LARGE))
            }
            Message::Text(text) => Ok(self.handle_frame(&text)),
            Message::Binary(_) => Err(SessionEnd::Closed(close::BINARY_REFUSED)),
            Message::Ping(_) | Message::Pong(_) => {
                // A flood of them costs as much as one of frames. There is no frame to refuse; reading pauses.
                let _ = self.count_frame();
                Ok(None)
            }
            Message::Close(_) => Err(SessionEnd::Disconnected),
            // Only what is sent has this form.
            Message::Frame(_) => Ok(None),
        }
    }

    fn handle_frame(&mut self, text: &str) -> Option<String> {
        let trace = self.next_trace();
        let parsed = ClientFrame::parse(text);
        if let Err(error) = self.count_frame() {
            let id = parsed.as_ref().map_or_else(|invalid| invalid.id.as_deref(), |frame| Some(frame.id.as_str()));
            return Some(frame::error(id, &error, &trace));
        }
        match parsed {
            Ok(frame) => {
                if let Err(error) = self.count(Limited::of_frame(&frame.name)) {
                    return Some(frame::error(Some(&frame.id), &error, &trace));
                }
                let answer = match frame.name.as_str() {
                    TOKEN => renewal::answer(&self.client, &frame, trace),
                    _ => answer::answer(&self.client, &frame, trace),
                };
                self.answers.submit(frame.ordering_key(), answer);
                None
            }
            Err(invalid) => {
                metrics::FRAMES_IN.of(["invalid"]).inc();
                Some(frame::error(invalid.id.as_deref(), &invalid.error, &trace))
            }
        }
    }

    /// Counts a frame. After a refusal nothing is read until the user may send a frame again: to refuse each frame of a
    /// flood would cost more than to leave them unread.
    fn count_frame(&mut self) -> Result<(), ApiError> {
        self.count(Some(Limited::Frames)).inspect_err(|error| {
            metrics::FRAMES_IN.of(["rate_limited"]).inc();
            self.read_at = error.retry_after.map(|span| Instant::now() + span.min(READ_PAUSE_MAX));
        })
    }

    fn count(&self, limited: Option<Limited>) -> Result<(), ApiError> {
        match (self.client.limited, limited) {
            (Some(user), Some(limited)) => self.client.state.limits.count(user, limited),
            _ => Ok(()),
        }
    }

    fn next_trace(&mut self) -> String {
        self.traces += 1;
        format!("{}-{}", self.client.connection.id, self.traces)
    }

    /// Picks a random time within the spread to close this socket, so that not all clients reconnect at once.
    fn announce_drain(&mut self, spread: Duration) -> Message {
        let wait = spread.mul_f64(rand::rng().random());
        self.timers.drain_at(Instant::now() + wait);
        Message::Text(PushedFrame::draining(wait).text())
    }

    /// Sends an error frame before the socket is closed because of an expired token.
    async fn announce_close<T: Transport>(&mut self, transport: &mut T, reason: CloseReason) {
        if reason == close::TOKEN_EXPIRED {
            let notice = frame::error(None, &ErrorCode::TokenExpired.into(), &self.next_trace());
            // The close frame says the same to a client that no longer reads this.
            let _ = self.write(transport, vec![Message::Text(notice.into())]).await;
        }
    }

    /// Writes all messages. A client that takes too long is not waited for.
    async fn write<T: Transport>(&mut self, transport: &mut T, messages: Vec<Message>) -> Result<(), SessionEnd> {
        if messages.is_empty() {
            return Ok(());
        }
        metrics::FRAMES_OUT.of(["socket"]).inc_by(messages.len() as u64);
        let writing = async {
            for message in messages {
                transport.feed(message).await?;
            }
            transport.flush().await
        };
        tokio::select! {
            biased;
            written = writing => written.map_err(|_| SessionEnd::Disconnected),
            closed = self.client.connection.outbox.closed() => Err(SessionEnd::Closed(close::of_outbox(&closed))),
            () = sleep(self.client.state.socket.idle_timeout) => Err(SessionEnd::Closed(close::IDLE)),
        }
    }
}

fn received(message: Option<Result<Message, ReadError>>) -> Result<Message, SessionEnd> {
    match message {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(close_of(error).map_or(SessionEnd::Disconnected, SessionEnd::Closed)),
        None => Err(SessionEnd::Disconnected),
    }
}

/// Why a socket is closed from which a message could not be read; `None` if its client is gone.
pub(super) const fn close_of(error: ReadError) -> Option<CloseReason> {
    match error {
        ReadError::TooLarge => Some(close::TOO_LARGE),
        ReadError::NotUtf8 => Some(close::NOT_UTF8),
        ReadError::Protocol => Some(close::PROTOCOL_ERROR),
        ReadError::Disconnected => None,
    }
}

/// Sends a close frame and waits a short time for that of the client.
pub(super) async fn close_handshake<T: Transport>(transport: &mut T, close: Message) {
    let handshake = async {
        if transport.send(close).await.is_ok() {
            // What the client sent before it read the close frame is dropped.
            while let Some(Ok(_)) = transport.next().await {}
        }
    };
    let _ = timeout(CLOSE_TIMEOUT, handshake).await;
}

/// Sends the answer to the client's close frame: the transport has it ready, and sends it with the next flush. There is
/// none if the client disconnected without a close frame.
pub(super) async fn answer_close<T: Transport>(transport: &mut T) {
    let _ = timeout(CLOSE_TIMEOUT, transport.flush()).await;
}
