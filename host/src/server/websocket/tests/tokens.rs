//! The frame `token`: renewals of open sockets, sockets that are opened without a token, and connections that a service
//! closes.

use super::*;
use crate::delivery::disconnect::DisconnectReason;
use crate::server::fake::token;
use crate::server::websocket::first_frame::{self, Unauthenticated};

const HOUR: Duration = Duration::from_secs(3_600);

fn token_frame(id: &str, token: &str) -> String {
    json!({ "id": id, "type": "token", "payload": { "token": token } }).to_string()
}

/// A socket without a token, before its first frame.
fn open_without_token(host: &FakeHost) -> Client {
    let request =
        OpenRequest { identity: Identity::Anonymous, kind: SessionKind::Socket, since: None, trace: "trace".into() };
    let waiting = Unauthenticated::admit(&host.state, request).unwrap();
    let (to_host, incoming) = mpsc::channel(64);
    let (outgoing, from_host) = mpsc::channel(64);
    let (mut channels, state) = (Channels { incoming, outgoing: PollSender::new(outgoing) }, host.state.clone());
    let session = tokio::spawn(async move {
        first_frame::run(&state, waiting, "trace", &mut channels).await;
        SessionEnd::Disconnected
    });
    Client { to_host, from_host, session }
}

impl Client {
    async fn close_frame(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(Some(frame)) = self.message().await {
                return (frame.code.into(), frame.reason.as_str().to_owned());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_token_of_the_same_user_prolongs_the_socket() {
    let host = FakeHost::start();
    let options = Options { token_life: Duration::from_secs(30), ..Options::default() };
    let mut client = connect(&host, options).await.after_hello().await;
    client.send(&token_frame("7", &token(user(1), Duration::from_secs(90)))).await;
    let answer = client.frame().await;
    assert_eq!((&answer["id"], &answer["type"]), (&json!("7"), &json!("ok")));
    assert!(answer["payload"]["expires_at"].as_str().is_some_and(|end| end.ends_with('Z')), "{answer}");
    let began = tokio::time::Instant::now();
    let ping = async {
        loop {
            client.to_host.send(Ok(Message::Pong(Bytes::new()))).await.unwrap();
            if let Message::Text(notice) = client.message().await {
                return serde_json::from_str::<Value>(&notice).unwrap();
            }
        }
    };
    assert_eq!(ping.await["error"]["code"], "token_expired");
    assert!(began.elapsed() > Duration::from_secs(60), "the new end counts: {:?}", began.elapsed());
    assert_eq!(client.close_code().await, 4001);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_may_not_replace_the_current_one_is_refused_by_code_and_the_socket_goes_on() {
    let host = FakeHost::start();
    let options = Options { token_life: HOUR, ..Options::default() };
    let mut client = connect(&host, options).await.after_hello().await;
    let forged = token(user(1), 2 * HOUR).rsplit_once('.').unwrap().0.to_owned() + ".c2lnbmF0dXJl";
    for (token, code) in [
        (token(user(2), 2 * HOUR), "token_of_another_user"),
        (token(user(1), HOUR / 2), "token_ends_earlier"),
        (token(user(1), Duration::ZERO), "token_expired"),
        (forged, "token_invalid"),
        (crate::server::fake::SERVICE_KEY.to_owned(), "token_invalid"),
        (String::new(), "token_invalid"),
    ] {
        client.send(&token_frame("7", &token)).await;
        let answer = client.frame().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("7"), &json!(code)), "{answer}");
        assert!(token.is_empty() || !answer.to_string().contains(&token), "the answer repeats the token");
    }
    for payload in ["null", "{}", "[]", r#"{"token":7}"#, r#""hunter2""#] {
        client.send(&format!(r#"{{"id":"8","type":"token","payload":{payload}}}"#)).await;
        let answer = client.frame().await;
        assert_eq!(answer["error"]["code"], "invalid_payload", "{answer}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
    client.send(r#"{"id":"9","type":"echo"}"#).await;
    assert_eq!(client.frame().await["type"], "ok");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_does_not_wait_for_the_other_calls_of_the_user() {
    let host = FakeHost::with_bounds(|bounds| bounds.users.calls_max = 1);
    let mut client = connect(&host, Options { token_life: HOUR, ..Options::default() }).await.after_hello().await;
    client.send(r#"{"id":"1","type":"slow"}"#).await;
    while !host.functions.names().contains(&"slow".to_owned()) {
        tokio::task::yield_now().await;
    }
    client.send(r#"{"id":"2","type":"echo"}"#).await;
    client.send(&token_frame("3", &token(user(1), 2 * HOUR))).await;
    let answer = client.frame().await;
    assert_eq!((&answer["id"], &answer["type"]), (&json!("3"), &json!("ok")));
    host.functions.gate.add_permits(1);
    for id in ["1", "2"] {
        assert_eq!(client.frame().await["id"], id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_does_not_prolong_the_stop_of_the_host() {
    let host = FakeHost::start();
    let options = Options { token_life: Duration::from_secs(5), ..Options::default() };
    let mut client = connect(&host, options).await.after_hello().await;
    host.hub.drain(Duration::from_secs(20));
    assert_eq!(client.frame().await["type"], "server.draining");
    client.send(&token_frame("1", &token(user(1), HOUR))).await;
    assert_eq!(client.frame().await["type"], "ok");
    assert_eq!(client.close_code().await, 1012);
}

#[tokio::test(start_paused = true)]
async fn a_socket_without_a_token_is_opened_by_its_first_frame() {
    let host = FakeHost::start();
    let mut client = open_without_token(&host);
    assert_eq!(host.hub.connections(), 1, "it counts while it waits");
    client.to_host.send(Ok(Message::Ping(Bytes::new()))).await.unwrap();
    client.send(&token_frame("a", &token(user(1), HOUR))).await;
    let answer = client.frame().await;
    assert_eq!((&answer["id"], &answer["type"]), (&json!("a"), &json!("ok")));
    let hello = client.frame().await;
    assert_eq!((&hello["type"], &hello["payload"]["user"]), (&json!("hello"), &json!(user(1).to_string())));
    assert_eq!((host.hub.connections(), host.state.unauthenticated.available_permits()), (1, 2));
    host.store.publish(user(1), "a").await;
    assert_eq!(client.frame().await["type"], "message.new");
    client.send(&token_frame("b", &token(user(1), 2 * HOUR))).await;
    assert_eq!(client.frame().await["id"], "b", "and renewed by later ones");
}

#[tokio::test(start_paused = true)]
async fn a_first_frame_that_proves_nothing_closes_the_socket_with_the_reason() {
    let host = FakeHost::start();
    let sync = r#"{"id":"1","type":"sync"}"#.to_owned();
    for (first, id, code) in [
        (sync, json!("1"), "unauthenticated"),
        (token_frame("1", "hunter2"), json!("1"), "token_invalid"),
        (token_frame("1", &token(user(1), Duration::ZERO)), json!("1"), "token_expired"),
        ("nonsense".to_owned(), json!(null), "invalid_frame"),
        (r#"{"id":"1","type":"token"}"#.to_owned(), json!("1"), "invalid_payload"),
    ] {
        let mut client = open_without_token(&host);
        client.send(&first).await;
        let answer = client.frame().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(code)), "{answer}");
        assert_eq!(client.close_frame().await, (4004, "unauthenticated".to_owned()), "{first}");
        drop(client.to_host);
        client.session.await.unwrap();
    }
    for (message, code) in [
        (Ok(Message::Binary(Bytes::from_static(b"x"))), 1003),
        (Ok(Message::Text("x".repeat(1_025).into())), 1009),
        (Err(ReadError::NotUtf8), 1007),
    ] {
        let mut client = open_without_token(&host);
        client.to_host.send(message).await.unwrap();
        assert_eq!(client.close_code().await, code);
        drop(client.to_host);
        client.session.await.unwrap();
    }
    assert!(host.functions.names().is_empty(), "no function was called");
    assert_eq!((host.hub.connections(), host.state.unauthenticated.available_permits()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_token_in_time_is_closed_whatever_else_it_sends() {
    let host = FakeHost::start();
    let began = tokio::time::Instant::now();
    let mut silent = open_without_token(&host);
    assert_eq!(silent.close_frame().await, (4004, "unauthenticated".to_owned()));
    assert!(began.elapsed() >= host.state.socket.token_timeout, "{:?}", began.elapsed());
    let mut noisy = open_without_token(&host);
    for _ in 0..20 {
        noisy.to_host.send(Ok(Message::Ping(Bytes::new()))).await.unwrap();
    }
    assert_eq!(noisy.close_code().await, 4004);
}

#[tokio::test(start_paused = true)]
async fn sockets_without_a_token_are_bounded_and_a_stop_does_not_wait_for_them() {
    let host = FakeHost::start();
    let (mut one, other) = (open_without_token(&host), open_without_token(&host));
    let request =
        OpenRequest { identity: Identity::Anonymous, kind: SessionKind::Socket, since: None, trace: "trace".into() };
    let refused = Unauthenticated::admit(&host.state, request).err().unwrap();
    assert!(refused.is(crate::server::problem::ErrorCode::TooManyConnections) && refused.retry_after.is_some());
    drop(other);
    host.hub.drain(Duration::from_secs(60));
    assert_eq!(one.close_code().await, 1012);
    drop(one);
    host.hub.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_be_connected_after_its_token_is_refused_with_a_time() {
    let host = FakeHost::start();
    host.store.set_down(true);
    let mut client = open_without_token(&host);
    client.send(&token_frame("1", &token(user(1), HOUR))).await;
    let answer = client.frame().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("1"), &json!("store_unavailable")));
    assert_eq!(client.close_frame().await, (1013, "store_unavailable retry_after_ms=10".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_service_closes_the_sockets_of_a_user_with_its_reason_and_no_client_sees_the_order() {
    let host = FakeHost::start();
    let mut one = connect(&host, Options::default()).await.after_hello().await;
    let mut two = connect(&host, Options::default()).await.after_hello().await;
    let mut other = connect_as(&host, user(2), Options::default()).await.after_hello().await;
    // One that reads nothing is closed as well.
    let blocked = connect(&host, Options { capacity: 1, ..Options::default() }).await;
    host.hub.disconnect(user(1), &DisconnectReason::of("banned").unwrap()).await.unwrap();
    for client in [&mut one, &mut two] {
        assert!(matches!(client.message().await, Message::Close(Some(frame)) if frame.reason.as_str() == "banned"));
    }
    assert_eq!(blocked.session.await.unwrap(), SessionEnd::Closed(close::DISCONNECTED));
    host.store.publish(user(2), "still here").await;
    assert_eq!(other.frame().await["type"], "message.new");
    drop((one, two));

    let again = connect(&host, Options::default()).await.after_hello().await;
    host.hub.disconnect(user(1), &DisconnectReason::default()).await.unwrap();
    let mut again = again;
    assert_eq!(again.close_frame().await, (4003, "disconnected".to_owned()));
}
