//! The real binary over WebSocket: two users chat with every frame type, refusals keep the socket open, closes end it,
//! clients resume, slow clients and expired tokens are closed, and a stopping host notifies its clients.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use roost_tests::server::Server;
use roost_tests::socket::{Socket, is_error, position, request};
use roost_tests::token::Token;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::Message;
use uuid::Uuid;

/// Two users who are each other's contacts.
async fn pair(server: &Server) -> (Uuid, Uuid) {
    let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
    server.befriend(ann, bob).await;
    (ann, bob)
}

fn sees(hello: &Value, user: Uuid) -> bool {
    let presence = hello["presence"].as_array().unwrap_or_else(|| panic!("no presence: {hello}"));
    presence.iter().any(|one| one["user"] == json!(user) && one["online"] == true)
}

#[tokio::test]
async fn two_users_chat_with_correct_presence_counters_and_last_messages() {
    let server = Server::start(&[]).await;
    let (ann_id, bob_id) = pair(&server).await;
    let mut ann = Socket::open(&server, ann_id).await;
    for member in ["connection", "user", "epoch", "offset", "beat_interval_ms", "presence", "unread"] {
        assert!(ann.hello.get(member).is_some(), "{member} is missing: {}", ann.hello);
    }
    assert!(ann.hello["user"] == json!(ann_id) && !sees(&ann.hello, bob_id), "{}", ann.hello);
    let mut bob = Socket::open(&server, bob_id).await;
    assert!(sees(&bob.hello, ann_id), "{}", bob.hello);
    let online = ann.payload("user.online").await;
    assert!(online["user"] == json!(bob_id) && online["generation"].is_u64(), "{online}");

    let conversation = server.user(ann_id).conversation(&[bob_id]).await;
    ann.ok("typing", json!({ "conversation": conversation })).await;
    assert_eq!(bob.payload("typing").await, json!({ "conversation": conversation, "user": ann_id }));

    let draft = json!({ "conversation": conversation, "id": Uuid::new_v4(), "content": "hello" });
    let sent = ann.ok("message.send", draft.clone()).await;
    assert_eq!(ann.ok("message.send", draft).await, sent, "the same id again is harmless");
    let first = bob.expect("message.new").await;
    assert_eq!(first["payload"], sent);
    assert_eq!(ann.payload("message.new").await, sent, "the sender's own devices receive it too");
    let counters = server.user(bob_id).get("/v1/unread").await.json(200);
    assert_eq!(counters, json!({ "total": 1, "conversations": { conversation.as_str(): 1 } }));

    let edit = json!({ "conversation": conversation, "id": sent["id"], "content": "hello!" });
    let edited = ann.ok("message.edit", edit).await;
    assert_eq!(bob.payload("message.updated").await, edited);
    let last = format!("/v1/conversations/{conversation}/last-message");
    assert_eq!(server.user(bob_id).get(&last).await.json(200), edited);

    // The edit has its own sequence in the conversation.
    let read = bob.ok("conversation.read", json!({ "conversation": conversation })).await;
    assert_eq!(read, json!({ "conversation": conversation, "unread": 0, "total": 0, "up_to": 2 }));
    let update = bob.expect("unread.update").await;
    let expected = json!({ "conversation": conversation, "unread": 0, "total": 0, "read": 2, "seq": 2 });
    assert_eq!(update["payload"], expected);
    assert!(first["offset"].as_u64() < update["offset"].as_u64() && first["epoch"] == update["epoch"], "{update}");
    let receipt = json!({ "conversation": conversation, "reader": bob_id, "up_to": 2 });
    assert_eq!(ann.payload("message.read_update").await, receipt);

    let which = json!({ "conversation": conversation, "id": sent["id"] });
    assert_eq!(ann.ok("message.delete", which.clone()).await, which);
    let deleted = json!({ "conversation": conversation, "id": sent["id"], "seq": 1 });
    assert_eq!(bob.payload("message.deleted").await, deleted);
    server.user(bob_id).get(&last).await.problem(404, "no_message");

    assert!(ann.ok("presence.beat", Value::Null).await["beat_interval_ms"].is_u64());
    let state = ann.ok("sync", json!({})).await;
    assert!(state["conversations"][0]["id"] == json!(conversation) && sees(&state, bob_id), "{state}");
    let missed = ann.ok("sync", json!({ "since": ann.position() })).await;
    assert!(missed["events"].as_array().is_some_and(|events| !events.is_empty()), "{missed}");
    server.stop().await;
}

#[tokio::test]
async fn presence_follows_the_last_device_after_the_grace() {
    let server = Server::start(&[]).await;
    let ann_id = Uuid::new_v4();
    let friends @ [bob_id, carol_id, dora_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    for friend in friends {
        server.befriend(ann_id, friend).await;
    }
    let mut ann = Socket::open(&server, ann_id).await;
    let (phone, laptop) = (Socket::open(&server, bob_id).await, Socket::open(&server, bob_id).await);
    let (carol, dora) = (Socket::open(&server, carol_id).await, Socket::open(&server, dora_id).await);
    let mut online = BTreeMap::new();
    for friend in friends {
        let received = ann.payload("user.online").await;
        assert_eq!(received["user"], json!(friend), "a second device causes no event");
        online.insert(friend, received["generation"].as_u64());
    }

    let left = Instant::now();
    phone.close().await;
    dora.close().await;
    carol.reset();
    let mut gone = BTreeSet::new();
    for _ in 0..2 {
        let received = ann.payload("user.offline").await;
        assert!(left.elapsed() >= Duration::from_secs(8), "the grace was {:?}", left.elapsed());
        assert!(received["last_seen"].is_string(), "{received}");
        let user: Uuid = received["user"].as_str().unwrap().parse().unwrap();
        assert!(received["generation"].as_u64() > online[&user], "{received} {online:?}");
        gone.insert(user);
    }
    assert_eq!(gone, BTreeSet::from([carol_id, dora_id]), "Bob is still online on his other device");
    assert_eq!(ann.pending_frames().count(), 0, "no other event was pushed");
    for (user, is_online) in [(bob_id, true), (carol_id, false), (dora_id, false)] {
        let seen = server.user(ann_id).get(&format!("/v1/presence/{user}")).await.json(200);
        assert!(seen["online"] == is_online && seen["last_seen"].is_string(), "{seen}");
    }
    laptop.close().await;
    server.stop().await;
}

#[tokio::test]
async fn invalid_frames_are_answered_and_non_frames_close_the_socket() {
    let server = Server::start(&[("socket.frame_bytes_max", "2048"), ("allowed_origins", "https://ok.example")]).await;
    let user = Uuid::new_v4();
    let mut socket = Socket::open(&server, user).await;
    socket.refused("nobody.knows", Value::Null, "unknown_type").await;
    for (text, code) in [
        ("{", "invalid_frame"),
        ("[]", "invalid_frame"),
        ("{\"type\":\"sync\"}", "id_required"),
        ("{\"id\":7,\"type\":\"sync\"}", "id_required"),
    ] {
        socket.text(text).await;
        let answer = socket.expect_error().await;
        assert_eq!(answer["id"], Value::Null, "{answer}");
        is_error(&answer, code);
    }
    socket.text("{\"id\":\"a\"}").await;
    is_error(&socket.answer("a").await, "type_required");
    socket.refused("sync", json!({ "since": 5 }), "invalid_payload").await;
    socket.refused("sync", json!({ "since": "x" }), "invalid_since").await;
    socket.refused("message.send", json!({ "content": "x" }), "invalid").await;
    socket.refused("message.send", Value::Null, "invalid").await;
    let conversation = server.user(Uuid::new_v4()).conversation(&[]).await;
    let id = Uuid::new_v4();
    for (name, payload) in [
        ("message.send", json!({ "conversation": conversation, "content": "x" })),
        ("message.edit", json!({ "conversation": conversation, "id": id, "content": "x" })),
        ("message.delete", json!({ "conversation": conversation, "id": id })),
        ("conversation.read", json!({ "conversation": conversation })),
        ("typing", json!({ "conversation": conversation })),
    ] {
        socket.refused(name, payload, "not_a_member").await;
    }
    socket.ok("presence.beat", Value::Null).await;

    socket.send(Message::binary(vec![1, 2, 3])).await;
    assert_eq!(socket.closed().await, (1003, "binary_refused".to_owned()));
    for bytes in [2_049, 5_000] {
        let mut socket = Socket::open(&server, user).await;
        socket.text(&"x".repeat(bytes)).await;
        assert_eq!(socket.closed().await, (1009, "frame_too_large".to_owned()), "{bytes}");
    }

    let token = Token::of(user).sign();
    let mut offered = request(server.listen, "");
    offered.headers_mut().insert("sec-websocket-protocol", format!("roost.v1, {token}").parse().unwrap());
    offered.headers_mut().insert("origin", "https://ok.example".parse().unwrap());
    let (_socket, response) = Socket::handshake(server.listen, offered).await.unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(response.headers()["sec-websocket-protocol"], "roost.v1");
    let shown = request(server.listen, &format!("?token={token}"));
    Socket::handshake(server.listen, shown).await.unwrap_or_else(|e| panic!("{e:?}"));
    let expired = request(server.listen, &format!("?token={}", Token::of(user).expired().sign()));
    let mut foreign = request(server.listen, &format!("?token={token}"));
    foreign.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    for (request, status) in [(expired, 401), (foreign, 403)] {
        assert_eq!(Socket::handshake(server.listen, request).await.err().map(|refusal| refusal.0), Some(status));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_returning_client_receives_missed_events_or_a_resync() {
    let server = Server::start(&[]).await;
    let (ann_id, bob_id) = (Uuid::new_v4(), Uuid::new_v4());
    let ann = server.user(ann_id);
    let conversation = ann.conversation(&[bob_id]).await;
    let send = async |text: &str| {
        ann.post(&format!("/v1/conversations/{conversation}/messages"), json!({ "content": text })).await.json(201)
    };
    let mut bob = Socket::open(&server, bob_id).await;
    let nothing_yet = bob.position();
    send("one").await;
    let since = position(&bob.expect("message.new").await);
    bob.reset();
    send("two").await;
    send("three").await;

    let mut bob = Socket::resume(&server, bob_id, &since).await;
    assert_eq!(bob.position(), since, "what follows begins after the position that hello names");
    assert_eq!(bob.hello["unread"]["total"], 3, "hello has the present counters");
    let mut offset = bob.hello["offset"].as_u64();
    for text in ["two", "three"] {
        let frame = bob.next().await;
        assert!(frame["type"] == "message.new" && frame["payload"]["content"] == text, "{frame}");
        assert_eq!(frame["offset"].as_u64(), offset.map(|offset| offset + 1), "{frame}");
        offset = frame["offset"].as_u64();
    }
    send("four").await;
    assert_eq!(bob.payload("message.new").await["content"], "four", "and goes on live");
    let mut from_nowhere = Socket::resume(&server, bob_id, &nothing_yet).await;
    assert_eq!(from_nowhere.payload("message.new").await["content"], "one");

    let mut lost = Socket::resume(&server, bob_id, "elsewhere:3").await;
    let resync = lost.next().await;
    assert_eq!((&resync["type"], &resync["payload"]["reason"]), (&json!("resync"), &json!("gap")), "{resync}");
    assert_eq!(position(&resync["payload"]), lost.position());
    send("five").await;
    assert_eq!(lost.payload("message.new").await["content"], "five");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_the_others_go_on() {
    let server = Server::start(&[("socket.outbox_frames_max", "16")]).await;
    let (ann_id, bob_id) = (Uuid::new_v4(), Uuid::new_v4());
    let mut ann = Socket::open(&server, ann_id).await;
    let conversation = server.user(ann_id).conversation(&[bob_id]).await;
    let mut slow = Socket::narrow(&server, bob_id).await;
    let mut fast = Socket::open(&server, bob_id).await;
    let content = "x".repeat(15 * 1_024);
    let dropped = "roost_outbox_drops_total";
    let mut sent = 0;
    while !counted(&server.operator().get("/metrics").await.text, dropped) {
        assert!(sent < 4_000, "the slow client was never closed");
        for _ in 0..4 {
            ann.ok("message.send", json!({ "conversation": conversation, "content": content })).await;
            fast.expect("message.new").await;
            sent += 1;
        }
    }
    assert_eq!(slow.closed().await, (4008, "slow_client".to_owned()));
    ann.ok("message.send", json!({ "conversation": conversation, "content": "last" })).await;
    assert_eq!(fast.payload("message.new").await["content"], "last");
    let received = slow.pending_frames().filter(|frame| frame["type"] == "message.new").count();
    assert!(received < sent, "{received} of {sent}");
    server.stop().await;
}

/// Whether the counter is above zero.
fn counted(metrics: &str, name: &str) -> bool {
    metrics.lines().filter(|line| line.starts_with(name)).any(|line| !line.ends_with(" 0"))
}

#[tokio::test]
async fn an_expired_token_and_an_idle_client_close_the_socket() {
    let set = [("token_leeway_ms", "1"), ("socket.ping_interval_ms", "100"), ("socket.idle_timeout_ms", "4000")];
    let server = Server::start(&set).await;
    let user = Uuid::new_v4();
    let short = Token::of(user).lives(Duration::from_secs(6)).sign();
    let mut socket = Socket::with(&server, &short, "").await;
    let silent = Socket::open(&server, Uuid::new_v4()).await;
    let notice = socket.expect_error().await;
    is_error(&notice, "token_expired");
    assert_eq!(notice["id"], Value::Null);
    assert_eq!(socket.closed().await, (4001, "token_expired".to_owned()));
    assert_eq!(silent.closed_while_silent().await, (4002, "idle_timeout".to_owned()));
    server.bearer(&short).get("/v1/unread").await.problem(401, "token_expired");
    server.stop().await;
}

#[tokio::test]
async fn a_stopping_host_notifies_its_clients_and_ends_in_time() {
    let mut server = Server::start(&[("drain_spread_ms", "300"), ("shutdown_timeout_ms", "15000")]).await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(Socket::open(&server, Uuid::new_v4()).await);
    }
    let began = Instant::now();
    server.terminate().await;
    for socket in &mut sockets {
        let notice = socket.payload("server.draining").await;
        assert!(notice["close_in_ms"].as_u64().is_some_and(|wait| wait <= 300), "{notice}");
    }
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, (1012, "server_draining".to_owned()));
    }
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_second_signal_ends_a_stop_at_once() {
    let mut server = Server::start(&[("drain_spread_ms", "50000"), ("shutdown_timeout_ms", "60000")]).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(Socket::open(&server, Uuid::new_v4()).await);
    }
    server.terminate().await;
    for socket in &mut sockets {
        socket.expect("server.draining").await;
    }
    server.operator().get("/readyz").await.json(503);
    assert_eq!(server.operator().get("/healthz").await.status, 200, "it is alive while it stops");
    let began = Instant::now();
    server.terminate().await;
    assert_eq!(server.ended().await.code(), Some(130), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}
