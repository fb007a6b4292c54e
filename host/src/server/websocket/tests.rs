//! The session over channels: hello, answers, order, pushes, and every way to end. Time stands until a test waits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::extract::ws::Message;
use bytes::Bytes;
use futures_util::{Sink, Stream};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::PollSender;

use super::close;
use super::session::{End, ReadError, run};
use crate::runtime::{CallError, FailureKind, Request};
use crate::server::auth::Identity;
use crate::server::fake::{FakeHost, failure, http_config, reply, socket_config, user};
use crate::server::problem::Code;
use crate::server::session::{ClientSession, Kind, Opening};

/// The server's end of a socket made of channels.
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
    session: JoinHandle<End>,
}

struct Options {
    since: Option<&'static str>,
    life: Duration,
    /// Messages that fit between host and client.
    room: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { since: None, life: Duration::from_secs(100_000), room: 64 }
    }
}

async fn connect(host: &FakeHost, options: Options) -> Client {
    let identity = Identity::User { user: user(1), until: SystemTime::now() + options.life };
    let since = options.since.map(|since| since.parse().unwrap());
    let opening = Opening { identity, kind: Kind::Socket, since, trace: "trace".into() };
    let seat = host.hub.seat(user(1)).unwrap();
    let (visit, welcome) = ClientSession::open(host.state.clone(), seat, opening).await.unwrap();
    let (to_host, incoming) = mpsc::channel(64);
    let (outgoing, from_host) = mpsc::channel(options.room);
    let channels = Channels { incoming, outgoing: PollSender::new(outgoing) };
    Client { to_host, from_host, session: tokio::spawn(run(visit, welcome, channels)) }
}

impl Client {
    async fn send(&self, text: &str) {
        self.to_host.send(Ok(Message::Text(text.into()))).await.unwrap();
    }

    async fn message(&mut self) -> Message {
        timeout(Duration::from_secs(600), self.from_host.recv()).await.expect("nothing came").expect("the host left")
    }

    /// The next frame; pings are passed over.
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
                return frame.code;
            }
        }
    }

    /// Past the hello.
    async fn greeted(mut self) -> Self {
        assert_eq!(self.frame().await["type"], "hello");
        self
    }
}

async fn start() -> (FakeHost, Client) {
    let host = FakeHost::start();
    let client = connect(&host, Options::default()).await.greeted().await;
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
async fn a_hook_that_fails_costs_its_part_of_the_hello_only() {
    let host = FakeHost::start();
    host.functions.answer("connected", Err(CallError::Trapped));
    let mut client = connect(&host, Options::default()).await;
    assert!(client.frame().await["payload"]["connection"].is_string());
}

#[tokio::test(start_paused = true)]
async fn answers_carry_the_frames_id() {
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
async fn a_frame_that_cannot_be_taken_is_answered_and_the_socket_kept() {
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
async fn frames_of_one_lane_are_handled_in_order_and_others_pass() {
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
async fn a_client_that_asks_too_much_at_once_is_read_later() {
    let (host, mut client) = start().await;
    for id in 0..6 {
        client.send(&format!(r#"{{"id":"{id}","type":"slow"}}"#)).await;
    }
    client.send(r#"{"id":"echo","type":"echo"}"#).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Four calls fill the socket; the echo in its own lane is not read.
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

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_gets_what_it_missed_and_then_goes_on() {
    let (host, mut client) = start().await;
    host.store.publish(user(1), "a").await;
    let since = format!("{}:1", epoch(&client.frame().await));
    for text in ["b", "c"] {
        host.store.publish(user(1), text).await;
    }
    let since: &'static str = Box::leak(since.into_boxed_str());
    let mut back = connect(&host, Options { since: Some(since), ..Options::default() }).await;
    assert_eq!(back.frame().await["payload"]["offset"], 1);
    host.store.publish(user(1), "d").await;
    for text in ["b", "c", "d"] {
        assert_eq!(back.frame().await["payload"]["text"], text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_out_of_reach_is_answered_with_resync_never_in_part() {
    let host = FakeHost::start();
    host.store.publish(user(1), "a").await;
    for since in ["zzz:5", "zzz:0"] {
        let mut client = connect(&host, Options { since: Some(since), ..Options::default() }).await;
        let hello = client.frame().await;
        let resync = client.frame().await;
        assert_eq!((&resync["type"], &resync["payload"]["reason"]), (&json!("resync"), &json!("gap")));
        assert_eq!(resync["payload"]["offset"], hello["payload"]["offset"]);
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_the_feed_never_reached_is_answered_with_resync() {
    let (host, mut client) = start().await;
    host.store.publish(user(1), "a").await;
    let since = format!("{}:99", epoch(&client.frame().await));
    let since: &'static str = Box::leak(since.into_boxed_str());
    let mut back = connect(&host, Options { since: Some(since), ..Options::default() }).await.greeted().await;
    assert_eq!(back.frame().await["type"], "resync");
    host.store.publish(user(1), "b").await;
    assert_eq!(back.frame().await["payload"]["text"], "b");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_told_more_elsewhere_is_told_nothing_twice() {
    let (host, mut client) = start().await;
    host.store.publish(user(1), "a").await;
    let since: &'static str = Box::leak(format!("{}:2", epoch(&client.frame().await)).into_boxed_str());
    host.store.lose(3);
    for text in ["b", "c", "d"] {
        host.store.publish(user(1), text).await;
    }
    let mut back = connect(&host, Options { since: Some(since), ..Options::default() }).await.greeted().await;
    host.store.publish(user(1), "e").await;
    for text in ["c", "d", "e"] {
        assert_eq!(back.frame().await["payload"]["text"], text);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_hole_the_client_is_pushed_the_present_state() {
    let (host, mut client) = start().await;
    host.functions.answer("sync", reply(200, r#"{"presence":[]}"#));
    host.store.lose(1);
    host.store.publish(user(1), "a").await;
    host.store.publish(user(1), "b").await;
    assert_eq!(client.frame().await["payload"]["text"], "a");
    assert_eq!(client.frame().await["payload"]["text"], "b");
    let state = client.frame().await;
    assert_eq!((&state["type"], &state["payload"]["presence"]), (&json!("sync"), &json!([])));
}

#[tokio::test(start_paused = true)]
async fn sync_answers_position_state_and_what_was_missed() {
    let (host, mut client) = start().await;
    host.functions.answer("sync", reply(200, r#"{"unread":{"total":2}}"#));
    host.store.publish(user(1), "a").await;
    host.store.publish(user(1), "b").await;
    let since = format!("{}:1", epoch(&client.frame().await));
    client.frame().await;
    client.send(&format!(r#"{{"id":"s","type":"sync","payload":{{"since":"{since}"}}}}"#)).await;
    let answer = client.frame().await;
    let payload = &answer["payload"];
    assert_eq!((&payload["offset"], &payload["unread"]["total"]), (&json!(2), &json!(2)));
    assert_eq!(payload["events"][0]["payload"]["text"], "b");
    client.send(r#"{"id":"s","type":"sync","payload":{"since":"zzz:1"}}"#).await;
    assert_eq!(client.frame().await["payload"]["resync"]["reason"], "gap");
    host.functions.answer("sync", failure(FailureKind::Unavailable, "records_unavailable"));
    client.send(r#"{"id":"s","type":"sync"}"#).await;
    assert_eq!(client.frame().await["error"]["code"], "records_unavailable");
}

/// What the session ends with after this message.
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
async fn what_is_no_text_frame_within_the_bound_closes_the_socket() {
    ends_with(Ok(Message::Binary(Bytes::from_static(b"x"))), 1003).await;
    ends_with(Ok(Message::Text("x".repeat(1_025).into())), 1009).await;
    ends_with(Err(ReadError::TooLarge), 1009).await;
    ends_with(Err(ReadError::NotText), 1007).await;
    ends_with(Err(ReadError::Protocol), 1002).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_told_of_to_the_functions_once() {
    let (host, client) = start().await;
    let Client { to_host, session, .. } = client;
    drop(to_host);
    assert_eq!(session.await.unwrap(), End::Gone);
    host.hub.drain(Duration::ZERO);
    host.hub.drained().await;
    assert_eq!(host.functions.names(), ["connected", "disconnected"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_cut_down_says_goodbye_too() {
    let (host, client) = start().await;
    client.session.abort();
    assert!(client.session.await.unwrap_err().is_cancelled());
    host.hub.drain(Duration::ZERO);
    host.hub.drained().await;
    assert_eq!(host.functions.names(), ["connected", "disconnected"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sent_before_it_left_is_done() {
    let (host, client) = start().await;
    client.send(r#"{"id":"1","type":"slow"}"#).await;
    client.send(r#"{"id":"2","type":"slow.second"}"#).await;
    client.to_host.send(Ok(Message::Close(None))).await.unwrap();
    assert_eq!(client.session.await.unwrap(), End::Gone);
    host.functions.gate.add_permits(2);
    host.hub.drain(Duration::ZERO);
    host.hub.drained().await;
    assert!(host.functions.names().contains(&"slow.second".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn silence_is_pinged_and_then_closed() {
    let (_host, mut client) = start().await;
    assert!(matches!(client.message().await, Message::Ping(_)));
    assert!(matches!(client.message().await, Message::Ping(_)));
    assert_eq!(client.close_code().await, close::IDLE.code);
}

#[tokio::test(start_paused = true)]
async fn a_pong_keeps_the_socket_open_and_counts_as_a_beat() {
    let (host, mut client) = start().await;
    for _ in 0..10 {
        assert!(matches!(client.message().await, Message::Ping(_)));
        client.to_host.send(Ok(Message::Pong(Bytes::new()))).await.unwrap();
    }
    assert!(host.functions.names().contains(&"beat 1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_is_told_before_the_close() {
    let host = FakeHost::start();
    let options = Options { life: Duration::from_secs(10), ..Options::default() };
    let mut client = connect(&host, options).await.greeted().await;
    let notice = client.frame().await;
    assert_eq!((&notice["id"], &notice["error"]["code"]), (&json!(null), &json!("token_expired")));
    assert_eq!(client.close_code().await, 4001);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_closed_and_slows_nobody() {
    let host = FakeHost::start();
    let slow = connect(&host, Options { room: 1, ..Options::default() }).await;
    let mut quick = connect(&host, Options::default()).await.greeted().await;
    for number in 0..40 {
        host.store.publish(user(1), &number.to_string()).await;
        assert_eq!(quick.frame().await["payload"]["text"], number.to_string());
    }
    assert_eq!(slow.session.await.unwrap(), End::Close(close::SLOW_CLIENT));
}

#[tokio::test(start_paused = true)]
async fn a_stopping_host_says_so_and_spreads_the_closes() {
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
async fn a_beat_that_reached_nobody_is_repeated_with_the_next() {
    let (host, client) = start().await;
    client.to_host.send(Ok(Message::Pong(Bytes::new()))).await.unwrap();
    host.functions.answer("beat 1", Err(CallError::Busy { retry_after: Duration::from_secs(1) }));
    tokio::time::sleep(Duration::from_secs(51)).await;
    let beats = host.functions.names().into_iter().filter(|name| name == "beat 1").count();
    assert_eq!(beats, 2);
}

#[tokio::test(start_paused = true)]
async fn a_frame_reaches_the_function_with_its_caller_and_connection() {
    let (host, mut client) = start().await;
    client.send(r#"{"id":"1","type":"echo","payload":{"b":1,"a":2}}"#).await;
    client.frame().await;
    let invocation = host.functions.asked().pop().unwrap();
    assert_eq!(invocation.caller, crate::runtime::Caller::User(user(1)));
    let Request::Message { connection, payload, .. } = invocation.request else { panic!("not a message") };
    assert!(invocation.trace.starts_with(connection.as_str()));
    // The text as the client wrote it, not as a parser would write it again.
    assert_eq!(payload, r#"{"b":1,"a":2}"#);
}

#[tokio::test(start_paused = true)]
async fn bounds_come_from_the_configuration() {
    let socket = crate::config::SocketConfig { idle_timeout: Duration::from_secs(3), ..socket_config() };
    let host = FakeHost::with(socket, http_config());
    let mut client = connect(&host, Options::default()).await.greeted().await;
    assert_eq!(client.close_code().await, close::IDLE.code);
}

#[test]
fn errors_of_the_wire_are_told_apart_by_their_text() {
    for (text, expected) in [
        ("Space limit exceeded: Message too long: 9 > 8", ReadError::TooLarge),
        ("UTF-8 encoding error: invalid utf-8 sequence", ReadError::NotText),
        ("WebSocket protocol error: Reserved bits are non-zero", ReadError::Protocol),
        ("WebSocket protocol error: Connection reset without closing handshake", ReadError::Gone),
        ("IO error: broken pipe", ReadError::Gone),
    ] {
        assert_eq!(super::read_error(&axum::Error::new(std::io::Error::other(text))), expected, "{text}");
    }
}

#[test]
fn the_close_table_has_one_line_for_each_code() {
    let codes: std::collections::BTreeSet<u16> = close::TABLE.iter().map(|close| close.code).collect();
    assert_eq!(codes.len(), close::TABLE.len());
}

#[test]
fn every_code_of_the_host_stands_in_the_table_once() {
    let codes: std::collections::BTreeSet<&str> = Code::ALL.iter().map(|code| code.row().code).collect();
    assert_eq!(codes.len(), Code::ALL.len());
}
