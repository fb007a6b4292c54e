//! RFC 6455 on raw bytes against the real binary: the opening handshake, frames and messages, and the closing
//! handshake.

use roost_tests::eventually::eventually;
use roost_tests::metrics::Metrics;
use roost_tests::raw::{RawAnswer, RawConnection, RawFrame, client_frame};
use roost_tests::server::Server;
use roost_tests::token::Token;
use serde_json::{Value, json};
use uuid::Uuid;

/// The bit of the last frame of a message.
const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// The largest frame that the host of these tests accepts.
const FRAME_BYTES_MAX: usize = 2_048;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to the key, as the RFC has it.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
static VALID: [(&str, &str); 4] = [
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", KEY),
];

async fn start() -> Server {
    let bytes_max = FRAME_BYTES_MAX.to_string();
    Server::start(&[("socket.frame_bytes_max", bytes_max.as_str())]).await
}

/// A handshake with these headers in place of the valid ones. Headers without a value are left out.
fn handshake(request_line: &str, changed: &[(&str, &str)]) -> String {
    let token = Token::of(Uuid::new_v4()).sign();
    let kept = VALID.iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
    let headers = kept.chain(changed).filter(|(_, value)| !value.is_empty());
    let lines: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{request_line}\r\nhost: roost\r\nauthorization: Bearer {token}\r\n{lines}\r\n")
}

/// The answer to a handshake that switches protocols.
async fn switched(server: &Server, changed: &[(&str, &str)]) -> (RawAnswer, RawConnection) {
    let mut connection = RawConnection::open(server.listen).await;
    connection.send(handshake("GET /v1/socket HTTP/1.1", changed)).await;
    let answer = connection.head().await;
    assert_eq!(answer.status, 101, "{}", answer.head);
    (answer, connection)
}

/// An open socket whose `hello` has been read.
async fn open(server: &Server) -> RawConnection {
    let (_, mut socket) = switched(server, &[]).await;
    assert_eq!(text(&socket.frame().await)["type"], "hello");
    socket
}

#[track_caller]
fn text(frame: &RawFrame) -> Value {
    assert_eq!(frame.first_byte, FIN | TEXT, "{frame:?}");
    serde_json::from_slice(&frame.payload).expect("frames are JSON")
}

/// The next close frame; text frames before it are skipped.
async fn closed(socket: &mut RawConnection) -> Vec<u8> {
    loop {
        let frame = socket.frame().await;
        match frame.first_byte {
            first_byte if first_byte == FIN | CLOSE => return frame.payload,
            first_byte => assert_eq!(first_byte, FIN | TEXT, "{frame:?}"),
        }
    }
}

/// The payload of a close frame.
fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

fn ask(id: &str) -> String {
    json!({ "id": id, "type": "presence.beat" }).to_string()
}

/// Sends a frame and reads its answer.
async fn is_open(socket: &mut RawConnection) {
    socket.send(client_frame(FIN | TEXT, ask("last").as_bytes())).await;
    let answer = text(&socket.frame().await);
    assert_eq!((&answer["id"], &answer["type"]), (&json!("last"), &json!("ok")), "{answer}");
}

#[tokio::test]
async fn the_handshake_is_answered_as_in_the_rfc() {
    let server = start().await;
    let (plain, _) = switched(&server, &[]).await;
    assert_eq!(plain.header("sec-websocket-accept"), Some(ACCEPT));
    assert!(plain.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
    assert!(plain.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
    for (offered, selected) in
        [("", None), ("roost.v1", Some("roost.v1")), ("a, roost.v1", Some("roost.v1")), ("a", None)]
    {
        let (answer, _) = switched(&server, &[("sec-websocket-protocol", offered)]).await;
        assert_eq!(answer.header("sec-websocket-protocol"), selected, "{offered}");
    }
    let (answer, _) =
        switched(&server, &[("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")]).await;
    assert_eq!(answer.header("sec-websocket-extensions"), None, "no extension is offered");

    // A client may send frames before it has read the answer.
    let mut hasty = RawConnection::open(server.listen).await;
    let frame = client_frame(FIN | TEXT, ask("1").as_bytes());
    hasty.send([handshake("GET /v1/socket HTTP/1.1", &[]).into_bytes(), frame].concat()).await;
    assert_eq!(hasty.head().await.status, 101);
    assert_eq!(text(&hasty.frame().await)["type"], "hello");
    assert_eq!(text(&hasty.frame().await)["id"], "1");
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_that_is_not_valid_is_refused() {
    let server = start().await;
    let get = "GET /v1/socket HTTP/1.1";
    for (line, changed, status, code) in [
        (get, ("upgrade", ""), 426, "upgrade_required"),
        (get, ("upgrade", "h2c"), 426, "upgrade_required"),
        (get, ("connection", "keep-alive"), 426, "upgrade_required"),
        (get, ("sec-websocket-version", "8"), 426, "upgrade_required"),
        (get, ("sec-websocket-version", ""), 400, "invalid_upgrade"),
        (get, ("sec-websocket-key", ""), 400, "invalid_upgrade"),
        (get, ("sec-websocket-key", "c2hvcnQ="), 400, "invalid_upgrade"),
        ("GET /v1/socket HTTP/1.0", ("sec-websocket-key", KEY), 400, "invalid_upgrade"),
        ("POST /v1/socket HTTP/1.1", ("sec-websocket-key", KEY), 405, "method_not_allowed"),
    ] {
        let mut connection = RawConnection::open(server.listen).await;
        connection.send(handshake(line, &[changed])).await;
        let answer = connection.answer().await;
        let problem: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{line} {changed:?}: {}", answer.head);
        if status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{}", answer.head);
            assert_eq!(answer.header("upgrade"), Some("websocket"), "{}", answer.head);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_message_may_come_in_fragments_with_control_frames_between() {
    let server = start().await;
    let mut socket = open(&server).await;
    let message = ask("\u{1f426}");
    // The last fragment begins inside of a character.
    let cut = message.find('\u{1f426}').unwrap() + 2;
    let (start, rest) = message.as_bytes().split_at(cut);
    socket.send(client_frame(TEXT, &start[..5])).await;
    socket.send(client_frame(FIN | PING, b"between")).await;
    assert_eq!(socket.frame().await, RawFrame { first_byte: FIN | PONG, payload: b"between".to_vec() });
    socket.send(client_frame(CONTINUATION, &start[5..])).await;
    socket.send(client_frame(FIN | PONG, b"nobody asked")).await;
    socket.send(client_frame(CONTINUATION, b"")).await;
    socket.send(client_frame(FIN | CONTINUATION, rest)).await;
    assert_eq!(text(&socket.frame().await)["id"], "\u{1f426}");

    let long = [b'p'; 125];
    for payload in [&b""[..], b"a", &long] {
        socket.send(client_frame(FIN | PING, payload)).await;
        assert_eq!(socket.frame().await, RawFrame { first_byte: FIN | PONG, payload: payload.to_vec() });
    }
    for byte in client_frame(FIN | TEXT, ask("byte by byte").as_bytes()) {
        socket.send([byte]).await;
    }
    assert_eq!(text(&socket.frame().await)["id"], "byte by byte");
    let many = (0..20).flat_map(|id| client_frame(FIN | TEXT, ask(&id.to_string()).as_bytes()));
    socket.send(many.collect::<Vec<_>>()).await;
    for id in 0..20 {
        assert_eq!(text(&socket.frame().await)["id"], id.to_string(), "frames of one kind are answered in their order");
    }
    let padded = format!("{:1$}", ask("long"), FRAME_BYTES_MAX);
    socket.send(client_frame(FIN | TEXT, padded.as_bytes())).await;
    assert_eq!(text(&socket.frame().await)["id"], "long", "a frame as long as the bound, with a length of 16 bits");
    server.stop().await;
}

/// A frame without a mask.
fn unmasked() -> Vec<u8> {
    let payload = ask("1");
    [&[FIN | TEXT, u8::try_from(payload.len()).unwrap()], payload.as_bytes()].concat()
}

/// The head of a masked text frame with a length of 64 bits.
fn announced(length: u64) -> Vec<u8> {
    [&[FIN | TEXT, 0xff], &length.to_be_bytes()[..], &[0; 4]].concat()
}

/// What clients do wrong, and the close code that it leads to.
fn violations() -> Vec<(&'static str, Vec<u8>, u16)> {
    let frame = client_frame;
    let half = FRAME_BYTES_MAX + 1;
    vec![
        ("the first reserved bit", frame(FIN | 0x40 | TEXT, b"{}"), 1002),
        ("the second reserved bit", frame(FIN | 0x20 | TEXT, b"{}"), 1002),
        ("the third reserved bit", frame(FIN | 0x10 | PING, b""), 1002),
        ("a reserved data opcode", frame(FIN | 0x3, b""), 1002),
        ("a reserved control opcode", frame(FIN | 0xb, b""), 1002),
        ("no mask", unmasked(), 1002),
        ("a ping in fragments", frame(PING, b""), 1002),
        ("a close in fragments", frame(CLOSE, b""), 1002),
        ("a ping that is too long", frame(FIN | PING, &[b'p'; 126]), 1002),
        ("a close that is too long", frame(FIN | CLOSE, &close_payload(1000, &"r".repeat(124))), 1002),
        ("a continuation of nothing", frame(FIN | CONTINUATION, b"{}"), 1002),
        ("a message within a message", [frame(TEXT, b"{"), frame(FIN | TEXT, b"{}")].concat(), 1002),
        ("half of a close code", frame(FIN | CLOSE, &[3]), 1002),
        ("a close reason that is not UTF-8", frame(FIN | CLOSE, &[3, 232, 0xff]), 1007),
        ("text that is not UTF-8", frame(FIN | TEXT, b"{\xc0\xaf}"), 1007),
        ("half of a surrogate pair", frame(FIN | TEXT, b"\xed\xa0\x80"), 1007),
        ("an incomplete character", frame(FIN | TEXT, b"\xf0\x9f\x90"), 1007),
        ("an incomplete character, by fragments", [frame(TEXT, b"\xf0\x9f"), frame(FIN, b"\x90")].concat(), 1007),
        ("an invalid character, by fragments", [frame(TEXT, b"\xf0\x9f"), frame(CONTINUATION, b"{")].concat(), 1007),
        ("binary data", frame(FIN | BINARY, b"{}"), 1003),
        ("a frame beyond the bound", frame(FIN | TEXT, &vec![b' '; half]), 1009),
        ("fragments beyond the bound", [frame(TEXT, &vec![b' '; half]), frame(FIN, &vec![b' '; half])].concat(), 1009),
        ("a length far beyond the bound", announced(1 << 40), 1009),
        ("a length with the reserved bit", announced(1 << 63), 1009),
    ]
}

#[tokio::test]
async fn a_violation_closes_the_socket_with_its_code() {
    let server = start().await;
    for (violation, bytes, code) in violations() {
        let mut socket = open(&server).await;
        socket.send(bytes).await;
        let payload = closed(&mut socket).await;
        assert_eq!(payload.get(..2), Some(&code.to_be_bytes()[..]), "{violation}: {payload:?}");
        assert!(std::str::from_utf8(&payload[2..]).is_ok_and(|reason| !reason.is_empty()), "{violation}");
        socket.send(client_frame(FIN | CLOSE, &payload)).await;
        assert!(socket.rest().await.is_empty(), "{violation}");
    }
    let mut other = open(&server).await;
    is_open(&mut other).await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_still_sends_reads_why_it_is_closed() {
    let server = start().await;
    for _ in 0..4 {
        let mut socket = open(&server).await;
        socket.send([announced(1 << 40), vec![b'x'; 200_000]].concat()).await;
        assert_eq!(closed(&mut socket).await, close_payload(1009, "frame_too_large"));
        assert!(socket.rest().await.is_empty());
    }
    server.stop().await;
}

#[tokio::test]
async fn the_close_of_a_client_is_answered_with_its_code() {
    let server = start().await;
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999] {
        let mut socket = open(&server).await;
        let payload = close_payload(code, "good\u{a0}bye");
        socket.send(client_frame(FIN | CLOSE, &payload)).await;
        assert_eq!(closed(&mut socket).await, payload);
        assert!(socket.rest().await.is_empty(), "the host ends the connection first");
    }
    let mut socket = open(&server).await;
    // Whatever follows a close frame is not read.
    socket.send([client_frame(FIN | CLOSE, b""), client_frame(FIN | TEXT, ask("late").as_bytes())].concat()).await;
    assert_eq!(closed(&mut socket).await, b"");
    assert!(socket.rest().await.is_empty());
    for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let mut socket = open(&server).await;
        socket.send(client_frame(FIN | CLOSE, &close_payload(code, ""))).await;
        assert_eq!(closed(&mut socket).await.get(..2), Some(&1002_u16.to_be_bytes()[..]), "{code} may not be sent");
        assert!(socket.rest().await.is_empty(), "{code}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_ends_without_a_close_frame_is_gone() {
    let server = start().await;
    let mut socket = open(&server).await;
    socket.send(client_frame(FIN | TEXT, ask("1").as_bytes())).await;
    assert_eq!(text(&socket.frame().await)["id"], "1");
    socket.end_sending().await;
    assert!(socket.rest().await.is_empty(), "the host ends its side as well");
    let connections = async || {
        let metrics = Metrics::of(&server.operator()).await;
        metrics.sum("roost_connections", &["kind=\"socket\""])
    };
    eventually("no connection", async || connections().await == 0.0).await;
    server.stop().await;
}

#[tokio::test]
async fn the_host_closes_with_a_handshake_of_its_own() {
    let mut server = start().await;
    let (mut polite, mut silent) = (open(&server).await, open(&server).await);
    server.terminate().await;
    for socket in [&mut polite, &mut silent] {
        assert_eq!(closed(socket).await, close_payload(1012, "server_draining"));
    }
    // Until it has read the client's close frame, the host reads on.
    polite.send(client_frame(FIN | TEXT, ask("late").as_bytes())).await;
    polite.send(client_frame(FIN | CLOSE, &close_payload(1012, ""))).await;
    assert!(polite.rest().await.is_empty());
    assert!(silent.rest().await.is_empty(), "a client that does not answer is not waited for");
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
}
