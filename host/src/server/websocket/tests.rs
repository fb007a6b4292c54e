//! The session over channels: hello, answers, order, pushes, and every way to end. Time is paused and advances only
//! while a test waits.

mod refresh;
mod resume;
mod tokens;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use roost_core::ids::UserId;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::PollSender;

use super::close;
use super::session::{ReadError, SessionEnd, run};
use crate::runtime::{CallError, FailureKind, Request};
use crate::server::auth::Identity;
use crate::server::fake::{FakeHost, failure, http_config, reply, socket_config, user};
use crate::server::session::{ClientSession, OpenRequest, SessionKind};

/// The host's end of a socket that is made of channels.
struct Channels {
    incoming: mpsc::Receiver<Result<Message, ReadError>>,
    outgoing: PollSender<Message>,
}

impl Stream for Channels {
    type Item = Result<Message, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_recv(context)
    }
}

impl Sink<Message> for Channels {
    type Error = ();

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), ()>> {
        self.outgoing.poll_reserve(context).map_err(|_| ())
    }

    fn start_send(mut self: Pin<&mut Self>, item: Message) -> Result<(), ()> {
        self.outgoing.send_item(item).map_err(|_| ())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }
}

/// The client's end.
struct Client {
    to_host: mpsc::Sender<Result<Message, ReadError>>,
    from_host: mpsc::Receiver<Message>,
    session: JoinHandle<SessionEnd>,
}

struct Options {
    since: Option<&'static str>,
    token_life: Duration,
    /// How many messages fit between the host and the client.
    capacity: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { since: None, token_life: Duration::from_secs(100_000), capacity: 64 }
    }
}

async fn connect(host: &FakeHost, options: Options) -> Client {
    connect_as(host, user(1), options).await
}

async fn connect_as(host: &FakeHost, user: UserId, options: Options) -> Client {
    let identity = Identity::User { user, expires_at: SystemTime::now() + options.token_life };
    let since = options.since.map(|since| since.parse().unwrap());
    let request = OpenRequest { identity, kind: SessionKind::Socket, since, trace: "trace".into() };
    let registration = host.hub.register(user).unwrap();
    let (session, first) = ClientSession::open(host.state.clone(), registration, request).await.unwrap();
    let (to_host, incoming) = mpsc::channel(64);
    let (outgoing, from_host) = mpsc::channel(options.capacity);
    let mut channels = Channels { incoming, outgoing: PollSender::new(outgoing) };
    let session = tokio::spawn(async move { run(session, first, &mut channels).await });
    Client { to_host, from_host, session }
}

impl Client {
    async fn send(&self, text: &str) {
        self.to_host.send(Ok(Message::Text(text.into()))).await.unwrap();
    }

    async fn message(&mut self) -> Message {
        timeout(Duration::from_secs(600), self.from_host.recv())
            .await
            .expect("no message within ten minutes")
            .expect("the session ended")
    }

    /// The next frame. Pings are skipped.
    async fn frame(&mut self) -> Value {
        loop {
            match self.message().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn close_code(&mut self) -> u16 {
        loop {
            if let Message::Close(Some(frame)) = self.message().await {
                return frame.code.into();
            }
        }
    }

    /// Reads the first frame, which is `hello`.
    async fn after_hello(mut self) -> Self {
        assert_eq!(self.frame().await["type"], "hello");
        self
    }
}

async fn start() -> (FakeHost, Client) {
    let host = FakeHost::start();
    let client = connect(&host, Options::default()).await.after_hello().await;
    (host, client)
}

#[tokio::test(start_paused = true)]
async fn hello_comes_first_with_what_the_functions_add() {
    let host = FakeHost::start();
    let unread = r#"{"unread":{"total":0},"user":"an impostor"}"#;
    host.functions.answer("connected", reply(200, unread));
    host.store.publish(user(1), "before").await;
    let mut client = connect(&host, Options::default()).await;
    let hello = client.frame().await;
    assert_eq!(hello["type"], "hello");
    let payload = &hello["payload"];
    assert_eq!(payload["user"], user(1).to_string());
    assert_eq!(payload["unread"], json!({ "total": 0 }));
    assert_eq!((&payload["offset"], &payload["beat_interval_ms"]), (&json!(1), &json!(25_000)));
    assert!(payload["epoch"].is_string() && payload["connection"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_failed_hook_leaves_out_only_its_part_of_hello() {
    let host = FakeHost::start();
    host.functions.answer("connected", Err(CallError::Trapped));
    let mut client = connect(&host, Options::default()).await;
    assert!(client.frame().await["payload"]["connection"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_session_without_a_part_that_clients_rely_on_is_refused_with_a_time() {
    let host = FakeHost::start();
    host.functions.required.store(true, std::sync::atomic::Ordering::SeqCst);
    for (failure, code, seconds) in [
        (Err(CallError::Trapped), "function_failed", 5),
        (Err(CallError::DeadlineExceeded), "function_timeout", 1),
        (Err(CallError::Busy { retry_after: Duration::from_secs(2) }), "busy", 2),
    ] {
        host.functions.answer("connected", failure);
        let identity = Identity::User { user: user(1), expires_at: SystemTime::now() + Duration::from_secs(60) };
        let request = OpenRequest { identity, kind: SessionKind::Socket, since: None, trace: "trace".into() };
        let registration = host.hub.register(user(1)).unwrap();
        let error = ClientSession::connect(&host.state, registration, request).await.err().unwrap();
        assert_eq!((error.code.as_ref(), error.retry), (code, true));
        assert_eq!(error.retry_after, Some(Duration::from_secs(seconds)));
    }
    host.hub.drain(Duration::ZERO);
    host.hub.drained().await;
    assert_eq!(host.functions.names().last().unwrap(), "disconnected", "the functions are told that it is gone");
}

#[tokio::test(start_paused = true)]
async fn frames_beyond_the_limit_are_refused_and_the_socket_is_read_later() {
    let host = FakeHost::with_bounds(|bounds| {
        (bounds.users.frames_per_second_max, bounds.users.frames_burst_max) = (1, 2);
    });
    let mut client = connect(&host, Options::default()).await.after_hello().await;
    for id in 1..=3 {
        client.send(&format!(r#"{{"id":"{id}","type":"echo"}}"#)).await;
    }
    let mut answers = [client.frame().await, client.frame().await, client.frame().await];
    answers.sort_by_key(|answer| answer["id"].to_string());
    assert_eq!([&answers[0]["type"], &answers[1]["type"]], ["ok", "ok"]);
    let error = &answers[2]["error"];
    assert_eq!((&error["code"], &error["retry"]), (&json!("rate_limited"), &json!(true)));
    assert!(error["retry_after_ms"].as_u64().is_some_and(|after| after > 0 && after <= 1_000), "{error}");
    let began = tokio::time::Instant::now();
    client.send("nonsense").await;
    client.frame().await;
    assert!(!began.elapsed().is_zero(), "the next frame is read only after a pause");
}

#[tokio::test(start_paused = true)]
async fn answers_have_the_id_of_their_frame() {
    let (host, mut client) = start().await;
    client.send(r#"{"id":"7","type":"echo","payload":{"a":[1]}}"#).await;
    assert_eq!(client.frame().await, json!({ "id": "7", "type": "ok", "payload": { "a": [1] } }));
    client.send(r#"{"id":"8","type":"echo"}"#).await;
    assert_eq!(client.frame().await, json!({ "id": "8", "type": "ok", "payload": null }));
    host.functions.answer("echo.fail", failure(FailureKind::Forbidden, "blocked"));
    client.send(r#"{"id":"9","type":"echo.fail"}"#).await;
    let answer = client.frame().await;
    assert_eq!((&answer["id"], &answer["type"]), (&json!("9"), &json!("error")));
    assert_eq!(answer["error"]["code"], "blocked");
    assert_eq!(answer["error"]["retry"], false);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_frame_gets_an_error_and_the_socket_remains_open() {
    let (_host, mut client) = start().await;
    for (frame, id, code) in [
        ("nonsense", json!(null), "invalid_frame"),
        ("[]", json!(null), "invalid_frame"),
        (r#"{"type":"echo"}"#, json!(null), "id_required"),
        (r#"{"id":7,"type":"echo"}"#, json!(null), "id_required"),
        (r#"{"id":"7"}"#, json!("7"), "type_required"),
        (r#"{"id":"7","type":"nobody.answers"}"#, json!("7"), "unknown_type"),
        (r#"{"id":"7","type":"hello"}"#, json!("7"), "unknown_type"),
        (r#"{"id":"7","type":"sync","payload":{"since":"x"}}"#, json!("7"), "invalid_since"),
        (r#"{"id":"7","type":"sync","payload":[7]}"#, json!("7"), "invalid_payload"),
    ] {
        client.send(frame).await;
        let answer = client.frame().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(code)), "{frame}");
    }
    client.send(r#"{"id":"1","type":"echo"}"#).await;
    assert_eq!(client.frame().await["type"], "ok");
}

#[tokio::test(start_paused = true)]
async fn frames_with_one_ordering_key_are_answered_in_order_and_others_overtake_them() {
    let (host, mut client) = start().await;
    client.send(r#"{"id":"1","type":"slow"}"#).await;
    client.send(r#"{"id":"2","type":"slow.second"}"#).await;
    client.send(r#"{"id":"3","type":"echo"}"#).await;
    assert_eq!(client.frame().await["id"], "3");
    assert!(!host.functions.names().contains(&"slow.second".to_owned()));
    host.functions.gate.add_permits(2);
    assert_eq!(client.frame().await["id"], "1");
    assert_eq!(client.frame().await["id"], "2");
}

#[tokio::test(start_paused = true)]
async fn a_client_with_too_many_pending_answers_is_read_later() {
    let (host, mut client) = start().await;
    for id in 0..6 {
        client.send(&format!(r#"{{"id":"{id}","type":"slow"}}"#)).await;
    }
    client.send(r#"{"id":"echo","type":"echo"}"#).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Four pending answers are the maximum; the echo is not read yet, although it has another ordering key.
    assert!(!host.functions.names().contains(&"echo".to_owned()));
    host.functions.gate.add_permits(6);
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(client.frame().await["id"].as_str().unwrap().to_owned());
    }
    ids.retain(|id| id != "echo");
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn events_are_pushed_with_their_position() {
    let (host, mut client) = start().await;
    host.store.publish(user(1), "a").await;
    host.store.publish_ephemeral(user(1), "t").await;
    let durable = client.frame().await;
    assert_eq!((&durable["type"], &durable["payload"]), (&json!("message.new"), &json!({ "text": "a" })));
    assert_eq!(durable["offset"], 1);
    let ephemeral = client.frame().await;
    assert_eq!(ephemeral["type"], "typing");
    assert!(ephemeral.get("epoch").is_none() && ephemeral.get("offset").is_none());
}

fn epoch(frame: &Value) -> String {
    frame["epoch"].as_str().unwrap().to_owned()
}

/// Checks that this message ends the session with this close code.
async fn ends_with(message: Result<Message, ReadError>, code: u16) {
    let (host, mut client) = start().await;
    client.to_host.send(message).await.unwrap();
    assert_eq!(client.close_code().await, code);
    drop(client.to_host);
    client.session.await.unwrap();
    host.hub.drain(Duration::ZERO);
    host.hub.drained().await;
    assert_eq!(host.functions.names().last().unwrap(), "disconnected");
}

#[tokio::test(start_paused = true)]
async fn invalid_messages_close_the_socket_with_their_code() {
    ends_with(Ok(Message::Binary(Bytes::from_static(b"x"))), 1003).await;
    ends_with(Ok(Message::Text("x".repeat(1_025).into())), 1009).await;
    ends_with(Err(ReadError::TooLarge), 1009).await;
    ends_with(Err(ReadError::NotUtf8), 1007).await;
    ends_with(Err(ReadError::Protocol), 1002).await;
}

#[tokio::test(start_paused = true)]
async fn functions_are_notified_once_of_a_client_that_disconnects() {
    let (host, client) = start().await;
    let Client { to_host, session, .. } = client;
    drop(to_host);
    assert_eq!(session.await.unwrap(), SessionEnd::Disconnected);
    host.hub.drain(Duration::ZERO);
    host.hub.drained().await;
    assert_eq!(host.functions.names(), ["connected", "disconnected"]);
}

#[tokio::test(start_paused = true)]
async fn functions_are_notified_of_a_session_that_is_aborted() {
    let (host, client) = start().await;
    client.session.abort();
    assert!(client.session.await.unwrap_err().is_cancelled());
    host.hub.drain(Duration::ZERO);
    host.hub.drained().await;
    assert_eq!(host.functions.names(), ["connected", "disconnected"]);
}

#[tokio::test(start_paused = true)]
async fn frames_sent_before_a_disconnect_are_still_handled() {
    let (host, client) = start().await;
    client.send(r#"{"id":"1","type":"slow"}"#).await;
    client.send(r#"{"id":"2","type":"slow.second"}"#).await;
    client.to_host.send(Ok(Message::Close(None))).await.unwrap();
    assert_eq!(client.session.await.unwrap(), SessionEnd::Disconnected);
    host.functions.gate.add_permits(2);
    host.hub.drain(Duration::ZERO);
    host.hub.drained().await;
    assert!(host.functions.names().contains(&"slow.second".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_pinged_and_then_closed() {
    let (_host, mut client) = start().await;
    assert!(matches!(client.message().await, Message::Ping(_)));
    assert!(matches!(client.message().await, Message::Ping(_)));
    assert_eq!(client.close_code().await, close::IDLE.code);
}

#[tokio::test(start_paused = true)]
async fn a_pong_keeps_the_socket_open_and_leads_to_a_heartbeat() {
    let (host, mut client) = start().await;
    for _ in 0..10 {
        assert!(matches!(client.message().await, Message::Ping(_)));
        client.to_host.send(Ok(Message::Pong(Bytes::new()))).await.unwrap();
    }
    assert!(host.functions.names().contains(&"beat 1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_error_frame_announces_the_close_for_an_expired_token() {
    let host = FakeHost::start();
    let options = Options { token_life: Duration::from_secs(10), ..Options::default() };
    let mut client = connect(&host, options).await.after_hello().await;
    let notice = client.frame().await;
    assert_eq!((&notice["id"], &notice["error"]["code"]), (&json!(null), &json!("token_expired")));
    assert_eq!(client.close_code().await, 4001);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_closed_and_does_not_delay_others() {
    let host = FakeHost::start();
    let slow = connect(&host, Options { capacity: 1, ..Options::default() }).await;
    let mut quick = connect(&host, Options::default()).await.after_hello().await;
    for number in 0..40 {
        host.store.publish(user(1), &number.to_string()).await;
        assert_eq!(quick.frame().await["payload"]["text"], number.to_string());
    }
    assert_eq!(slow.session.await.unwrap(), SessionEnd::Closed(close::SLOW_CLIENT));
}

#[tokio::test(start_paused = true)]
async fn a_stopping_host_announces_its_closes_and_spreads_them() {
    let (host, mut client) = start().await;
    host.hub.drain(Duration::from_secs(10));
    let notice = client.frame().await;
    assert_eq!(notice["type"], "server.draining");
    assert!(notice["payload"]["close_in_ms"].as_u64().unwrap() < 10_000);
    client.send(r#"{"id":"1","type":"echo"}"#).await;
    assert_eq!(client.frame().await["id"], "1");
    assert_eq!(client.close_code().await, 1012);
}

#[tokio::test(start_paused = true)]
async fn a_failed_heartbeat_is_repeated_before_the_next_is_due() {
    let (host, client) = start().await;
    client.to_host.send(Ok(Message::Pong(Bytes::new()))).await.unwrap();
    host.functions.answer("beat 1", Err(CallError::Busy { retry_after: Duration::from_secs(1) }));
    tokio::time::sleep(Duration::from_secs(26)).await;
    let heartbeats = || host.functions.names().into_iter().filter(|name| name == "beat 1").count();
    let failed = heartbeats();
    host.functions.answer("beat 1", reply(200, "{}"));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(failed > 0, "the first heartbeat was due");
    assert_eq!(heartbeats(), failed + 1, "one that succeeds is not repeated");
}

#[tokio::test(start_paused = true)]
async fn a_frame_reaches_the_function_with_its_caller_and_connection() {
    let (host, mut client) = start().await;
    client.send(r#"{"id":"1","type":"echo","payload":{"b":1,"a":2}}"#).await;
    client.frame().await;
    let invocation = host.functions.invocations().pop().unwrap();
    assert_eq!(invocation.caller, crate::runtime::Caller::User(user(1)));
    let Request::Message { connection, payload, .. } = invocation.request else { panic!("not a message") };
    assert!(invocation.trace.starts_with(connection.as_str()));
    // The payload is the text that the client sent, not re-encoded.
    assert_eq!(payload, r#"{"b":1,"a":2}"#);
}

#[tokio::test(start_paused = true)]
async fn bounds_come_from_the_configuration() {
    let socket = crate::config::SocketConfig { idle_timeout: Duration::from_secs(3), ..socket_config() };
    let host = FakeHost::with(socket, http_config());
    let mut client = connect(&host, Options::default()).await.after_hello().await;
    assert_eq!(client.close_code().await, close::IDLE.code);
}

/// The answer to one frame of a client, without its trace id.
pub(crate) async fn answer_to(frame: &str) -> Value {
    let (_host, mut client) = start().await;
    client.send(frame).await;
    let mut answer = client.frame().await;
    answer["error"].as_object_mut().unwrap().remove("trace");
    answer
}
