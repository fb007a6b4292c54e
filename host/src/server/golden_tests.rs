//! Compares frames, server-sent events, problem documents and close codes with golden files. A change there is a change
//! for every client.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use roost_core::event::{self, ConversationView, UnreadUpdatePayload};
use roost_core::feed::Position;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::port::{Change, ChangeKind, Delivery, Event, Message};
use roost_core::time::Timestamp;

use crate::delivery::event::{PushedFrame, ResyncReason};
use crate::golden::check;
use crate::runtime::{CallError, Failure, FailureKind};
use crate::server::problem::{ApiError, ErrorCode};
use crate::server::websocket::{close, frame};

fn lines<T: AsRef<str>>(items: impl IntoIterator<Item = (T, String)>) -> String {
    items.into_iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{}: {value}", name.as_ref());
        text
    })
}

fn at() -> Position {
    "k3f9:17".parse().unwrap()
}

fn user(number: u128) -> UserId {
    UserId::from_u128(number)
}

fn message(content: &str, edited: bool, deleted: bool) -> Message {
    Message {
        id: MessageId::from_u128(0xA1),
        conversation: ConversationId::from_u128(0xC1),
        seq: Seq(7),
        sender: user(1),
        kind: "text".into(),
        content: content.into(),
        created_at: Timestamp(1_790_000_000_123),
        edited_at: edited.then_some(Timestamp(1_790_000_060_000)),
        deleted,
    }
}

fn changed(kind: ChangeKind, message: Message) -> Event {
    event::change(&Change { seq: Seq(7), kind, message }).unwrap()
}

fn conversation_view(members: &[UserId]) -> ConversationView<'_> {
    ConversationView {
        id: ConversationId::from_u128(0xC1),
        direct: false,
        members,
        member_count: 2,
        reads: BTreeMap::from([(user(1), Seq(7)), (user(2), Seq(0))]),
        last_message: None,
        unread: 1,
        seq: Seq(9),
        read: Seq(7),
        updated_at: Timestamp(1_790_000_000_123),
    }
}

/// Every event that the core publishes.
fn events() -> Vec<Event> {
    let conversation = ConversationId::from_u128(0xC1);
    let seen = Some(Timestamp(1_790_000_000_000));
    vec![
        changed(ChangeKind::Sent, message("hello, \"you\"\n", false, false)),
        changed(ChangeKind::Edited, message("hello", true, false)),
        changed(ChangeKind::Deleted, message("", false, true)),
        event::read_update(conversation, user(2), Seq(7)),
        event::unread_update(&UnreadUpdatePayload { conversation, unread: 0, total: 3, read: Seq(7), seq: Seq(9) }),
        event::conversation_added(&conversation_view(&[user(1), user(2)])),
        event::conversation_members(conversation, &[user(3)], &[], 3),
        event::conversation_removed(conversation, 2),
        event::contact_update(user(2), true, false),
        event::user_erased(user(2)),
        event::presence(user(1), true, seen, 4),
        event::presence(user(1), false, None, 5),
        event::typing(conversation, user(1)),
    ]
}

fn delivered(event: Event) -> PushedFrame {
    let position = event.durable.then(at);
    Delivery { name: event.name, payload: event.payload, position }.into()
}

#[test]
fn pushed_frames_keep_their_form() {
    let mut frames: Vec<PushedFrame> = events().into_iter().map(delivered).collect();
    frames.push(PushedFrame::resync(ResyncReason::Gap, &at()));
    frames.push(PushedFrame::resync(ResyncReason::Interrupted, &at()));
    frames.push(delivered(event::resync()));
    frames.push(PushedFrame::draining(Duration::from_millis(1_500)));
    let found: String = frames.iter().map(|frame| format!("{}\n", frame.text().as_str())).collect();
    check("frames/pushed.jsonl", &found);
}

#[test]
fn server_sent_events_keep_their_form() {
    let mut frames: Vec<PushedFrame> = events().into_iter().map(delivered).collect();
    let multiline = Delivery { name: "typing".into(), payload: "{\n \"a\": 1\r\n}".into(), position: None };
    frames.push(multiline.into());
    let found: String = frames.iter().map(|frame| String::from_utf8(frame.server_sent().to_vec()).unwrap()).collect();
    check("frames/server-sent.txt", &found);
}

#[test]
fn answers_keep_their_form() {
    let busy = ApiError::from(ErrorCode::Busy).after(Duration::from_millis(250));
    let denied = ApiError::from(CallError::Failed(failure()));
    let found = [
        frame::ok("7", r#"{"unread":0}"#),
        frame::ok("a \"quoted\" id", ""),
        frame::error(Some("7"), &denied, "c1-7"),
        frame::error(Some("8"), &busy, "c1-8"),
        frame::error(None, &ErrorCode::TokenExpired.into(), "c1-9"),
    ];
    check("frames/answers.jsonl", &(found.join("\n") + "\n"));
}

fn failure() -> Failure {
    Failure {
        kind: FailureKind::Forbidden,
        code: "not_a_member".into(),
        message: "you are not a member of this conversation".into(),
        retry: false,
        retry_after: None,
    }
}

#[test]
fn problem_documents_keep_their_form() {
    let mut problems: Vec<String> =
        ErrorCode::ALL.iter().map(|code| ApiError::from(*code).problem("4bf92f3577b34da6a3ce929d0e0e4736")).collect();
    problems.push(ApiError::from(failure()).problem("t-1"));
    problems.push(ApiError::from(ErrorCode::Busy).after(Duration::from_millis(1_200)).problem("t-2"));
    check("problems.jsonl", &(problems.join("\n") + "\n"));
}

#[test]
fn close_codes_keep_their_meaning() {
    let table = close::ALL.map(|close| (close.code.to_string(), format!("{} - {}", close.described(), close.advice)));
    check("frames/close-codes.txt", &lines(table));
}

/// Every code, close code and frame is described in docs/api.md or docs/socket.md.
#[test]
fn codes_and_frames_are_documented() {
    let documentation = concat!(include_str!("../../../docs/api.md"), include_str!("../../../docs/socket.md"));
    let (errors, closes) = documentation.split_once("## Why a socket closes").unwrap();
    for code in ErrorCode::ALL.iter().copied() {
        let code = code.spec().code;
        assert!(errors.contains(&format!("`{code}`")), "the documents do not describe the error {code}");
    }
    for close in close::ALL {
        let row = format!("| {} | {}", close.code, close.described());
        assert!(closes.contains(&row), "docs/socket.md has no row that begins with {row}");
    }
    let of_host = ["hello", "resync", "server.draining", "message.send", "presence.beat", "sync"].map(Arc::from);
    for frame in events().into_iter().map(|event| event.name).chain(of_host) {
        assert!(documentation.contains(&format!("`{frame}`")), "docs/socket.md does not describe the frame {frame}");
    }
}

#[test]
fn channel_payloads_keep_their_form() {
    let channel = events().into_iter().map(|event| {
        let name: Arc<str> = event.name.clone();
        (name, event.payload.as_ref().to_owned())
    });
    check("channel/payloads.txt", &lines(channel));
}
