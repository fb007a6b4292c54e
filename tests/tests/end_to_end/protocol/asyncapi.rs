//! `GET /v1/asyncapi.json` describes the real frames: clients send every frame and cause every event, each frame is
//! compared with its schema, and everything that the document describes occurs. What `docs/socket.md` lists is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use roost_tests::json_schema::differences;
use roost_tests::markdown::table;
use roost_tests::redis::RedisServer;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use roost_tests::sources::{read, root};
use roost_tests::token::Token;
use serde_json::{Value, json};
use uuid::Uuid;

/// The schemas of the frames by the names of the messages, and the messages that have occurred.
struct Document {
    schemas: BTreeMap<String, Value>,
    seen: BTreeSet<String>,
}

impl Document {
    async fn of(server: &Server) -> Self {
        let document = server.anonymous().get("/v1/asyncapi.json").await.json(200);
        assert_eq!(document["asyncapi"], "3.0.0");
        let messages = document["components"]["messages"].as_object().unwrap();
        let schemas = messages.iter().map(|(name, message)| (name.clone(), message["payload"].clone())).collect();
        Self { schemas, seen: BTreeSet::new() }
    }

    fn check(&mut self, message: &str, frame: &Value) {
        let schema = self.schemas.get(message).unwrap_or_else(|| panic!("{message} is not described: {frame}"));
        let differences = differences(schema, frame);
        assert!(differences.is_empty(), "{message} is not as described: {differences:#?}\n{frame:#}\n{schema:#}");
        self.seen.insert(message.to_owned());
    }

    fn check_pushed(&mut self, frame: &Value) {
        let name = frame["type"].as_str().unwrap();
        if name == "error" { self.check("error", frame) } else { self.check(&format!("event.{name}"), frame) }
    }

    fn unseen(&self) -> Vec<&String> {
        self.schemas.keys().filter(|message| !self.seen.contains(*message)).collect()
    }
}

/// A user's socket, all frames of which are compared with the document.
struct Client {
    user: Uuid,
    socket: Socket,
}

impl Client {
    async fn open(document: &mut Document, server: &Server) -> Self {
        let user = Uuid::new_v4();
        Self::with(document, user, Socket::open(server, user).await)
    }

    fn with(document: &mut Document, user: Uuid, socket: Socket) -> Self {
        document.check("event.hello", &json!({ "type": "hello", "payload": socket.hello }));
        Self { user, socket }
    }

    /// Sends a frame and returns the payload of its answer.
    async fn ok(&mut self, document: &mut Document, name: &str, payload: Value) -> Value {
        let mut answer = self.ask(document, name, payload).await;
        assert_eq!(answer["type"], "ok", "{name}: {answer}");
        document.check(&format!("ok.{name}"), &answer);
        answer["payload"].take()
    }

    async fn ask(&mut self, document: &mut Document, name: &str, payload: Value) -> Value {
        let id = self.socket.send_request(name, payload.clone()).await;
        document.check(&format!("request.{name}"), &json!({ "id": id, "type": name, "payload": payload }));
        self.socket.answer(&id).await
    }

    /// Waits for an event of this type.
    async fn expect(&mut self, document: &mut Document, name: &str) -> Value {
        let frame = self.socket.expect(name).await;
        document.check_pushed(&frame);
        frame
    }

    /// Compares the frames that arrived while the test waited for others.
    fn finish(self, document: &mut Document) {
        for frame in self.socket.pending_frames() {
            document.check_pushed(frame);
        }
    }
}

async fn meet(document: &mut Document, server: &Server, ann: &mut Client, bob: &mut Client) {
    server.befriend(ann.user, bob.user).await;
    ann.expect(document, "contact.update").await;
    ann.expect(document, "user.online").await;
    bob.expect(document, "user.online").await;
}

async fn gather(document: &mut Document, server: &Server, (ann, bob): (&mut Client, &mut Client)) -> String {
    let conversation = server.user(ann.user).conversation(&[bob.user]).await;
    bob.expect(document, "conversation.added").await;
    let mut carol = Client::open(document, server).await;
    let member = format!("/v1/conversations/{conversation}/members/{}", carol.user);
    server.user(ann.user).put(&member).await.json(200);
    bob.expect(document, "conversation.members").await;
    carol.expect(document, "conversation.added").await;
    server.user(ann.user).delete(&member).await.done();
    carol.expect(document, "conversation.removed").await;
    server.service().erase_user(carol.user).await;
    carol.expect(document, "user.erased").await;
    assert_eq!(carol.expect(document, "resync").await["payload"]["reason"], "behind");
    carol.finish(document);
    conversation
}

async fn chat(document: &mut Document, (ann, bob): (&mut Client, &mut Client), conversation: &str) {
    let draft = json!({ "conversation": conversation, "content": "hello", "type": "text", "id": Uuid::new_v4() });
    let sent = ann.ok(document, "message.send", draft.clone()).await;
    bob.expect(document, "message.new").await;
    ann.ok(document, "message.send", draft.clone()).await;
    let edit = json!({ "conversation": conversation, "id": sent["id"], "content": "hello, you" });
    ann.ok(document, "message.edit", edit).await;
    bob.expect(document, "message.updated").await;
    bob.ok(document, "typing", json!({ "conversation": conversation })).await;
    ann.expect(document, "typing").await;
    bob.ok(document, "conversation.read", json!({ "conversation": conversation, "up_to": sent["seq"] })).await;
    bob.expect(document, "unread.update").await;
    ann.expect(document, "message.read_update").await;
    ann.ok(document, "message.delete", json!({ "conversation": conversation, "id": sent["id"] })).await;
    bob.expect(document, "message.deleted").await;
    // A message that is sent again after it was deleted is answered as a deleted one.
    assert_eq!(ann.ok(document, "message.send", draft).await["deleted"], true);
}

async fn keep_up(document: &mut Document, server: &Server, ann: &mut Client) {
    ann.ok(document, "presence.beat", Value::Null).await;
    ann.ok(document, "sync", json!({})).await;
    let position = ann.socket.position();
    let missed = ann.ok(document, "sync", json!({ "since": position })).await;
    assert!(missed["events"].as_array().is_some_and(|events| !events.is_empty()), "{missed}");
    for event in missed["events"].as_array().unwrap() {
        document.check_pushed(event);
    }
    let later = Token::of(ann.user).lives(Duration::from_secs(7_200)).sign();
    ann.ok(document, "token", json!({ "token": later })).await;
    let elsewhere = json!({ "conversation": Uuid::new_v4(), "content": "x" });
    let refused = ann.ask(document, "message.send", elsewhere).await;
    document.check("error", &refused);
    ann.socket.text("{").await;
    document.check("error", &ann.socket.expect_error().await);
    let mut lost = Client::with(document, ann.user, Socket::resume(server, ann.user, "elsewhere:5").await);
    lost.expect(document, "resync").await;
    lost.finish(document);
}

#[tokio::test]
async fn every_frame_is_as_described_and_everything_described_occurs() {
    let redis = RedisServer::start().await;
    let server = Server::start(&[("store_url", &redis.url())]).await;
    let mut document = Document::of(&server).await;
    let (mut ann, mut bob) = (Client::open(&mut document, &server).await, Client::open(&mut document, &server).await);
    meet(&mut document, &server, &mut ann, &mut bob).await;
    let conversation = gather(&mut document, &server, (&mut ann, &mut bob)).await;
    chat(&mut document, (&mut ann, &mut bob), &conversation).await;
    keep_up(&mut document, &server, &mut ann).await;
    server.user(bob.user).put(&format!("/v1/blocks/{}", ann.user)).await.done();
    ann.expect(&mut document, "user.offline").await;
    assert!(redis.kill_subscribers().await >= 1);
    ann.expect(&mut document, "sync").await;
    server.terminate().await;
    ann.expect(&mut document, "server.draining").await;
    ann.finish(&mut document);
    bob.finish(&mut document);
    assert_eq!(document.unseen(), Vec::<&String>::new(), "described, and never seen");
}

#[tokio::test]
async fn the_state_that_is_answered_without_a_store_is_as_described() {
    let redis = RedisServer::start().await;
    let server = Server::start(&[("store_url", &redis.url())]).await;
    let mut document = Document::of(&server).await;
    let mut ann = Client::open(&mut document, &server).await;
    let position = ann.socket.position();
    redis.kill();
    let state = ann.ok(&mut document, "sync", json!({ "since": position })).await;
    assert_eq!((&state["source"], &state["resync"]["reason"]), (&json!("records"), &json!("interrupted")), "{state}");
}

#[tokio::test]
async fn the_golden_frames_are_as_described_and_a_resync_with_another_reason_is_not() {
    let server = Server::start(&[]).await;
    let mut document = Document::of(&server).await;
    server.stop().await;
    let (_, frames) = read(&root().join("tests/golden/frames/pushed.jsonl"));
    let mut reasons = BTreeSet::new();
    for line in frames.lines() {
        let mut frame: Value = serde_json::from_str(line).unwrap();
        document.check_pushed(&frame);
        if frame["type"] == "resync" {
            let reason = frame["payload"]["reason"].take();
            reasons.insert(reason.as_str().unwrap().to_owned());
            frame["payload"]["reason"] = json!("another");
            assert!(!differences(&document.schemas["event.resync"], &frame).is_empty(), "{frame}");
        }
    }
    let (_, page) = read(&root().join("docs/socket.md"));
    let listed: BTreeSet<String> = first_names(&page, "## Missed events").into_iter().collect();
    assert_eq!(reasons, listed, "the golden frames lack a reason, or the page does");
}

/// The texts in backticks.
fn in_backticks(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What the rows of the first table after a heading are about: the texts in backticks of their first cell, up to a
/// comma.
fn first_names(page: &str, heading: &str) -> Vec<String> {
    let rows = table(page, heading);
    rows.iter().skip(1).flat_map(|row| in_backticks(row[0].split(',').next().unwrap_or_default())).collect()
}

#[tokio::test]
async fn the_document_has_every_type_reason_and_code_of_the_page_about_the_socket() {
    let server = Server::start(&[]).await;
    let document = server.anonymous().get("/v1/asyncapi.json").await.json(200);
    server.stop().await;
    let (_, page) = read(&root().join("docs/socket.md"));
    let messages = &document["components"]["messages"];
    let has = |part: &Value, text: &str| assert!(part.to_string().contains(text), "{text} is missing: {part:#}");
    for (heading, kind, listed_min) in [("## Frames", "request", 8), ("## Events", "event", 17)] {
        let names = first_names(&page, heading);
        assert!(names.len() >= listed_min, "{names:?}");
        for name in names {
            assert!(messages.get(format!("{kind}.{name}")).is_some(), "{kind}.{name} is missing");
        }
    }
    for (heading, message) in [("## Missed events", "event.resync"), ("### Errors of frames", "error")] {
        let names = first_names(&page, heading);
        assert!(names.len() > 1, "{heading}: {names:?}");
        for name in names {
            has(&messages[message], &name);
        }
    }
    let before_colon = |text: &str| text.split(": ").next().unwrap().to_owned();
    let socket = document["channels"]["socket"]["description"].as_str().unwrap();
    let described: Vec<_> = socket.lines().filter_map(|line| line.strip_prefix("- ")).map(before_colon).collect();
    let rows = table(&page, "## Why a socket closes");
    let listed: Vec<_> = rows.iter().skip(1).map(|row| format!("{} {}", row[0], before_colon(row[1]))).collect();
    assert_eq!(described, listed);
    has(&messages["event.message.new"]["summary"], "before the answer");
    has(&messages["event.message.new"]["payload"]["properties"]["epoch"], "`n<milliseconds>:0`");
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let server = Server::start(&[]).await;
    let document = server.anonymous().get("/v1/asyncapi.json").await.json(200);
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 50, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    server.stop().await;
}

fn collect_references<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().filter(|_| name == "$ref") {
                    Some(reference) => references.push(reference),
                    None => collect_references(member, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, references)),
        _ => {}
    }
}
