//! The real binary over Server-Sent Events: the feed with positions as ids, resumed with `Last-Event-ID`.

use std::time::Duration;

use roost_tests::events::{Events, ServerSentEvent};
use roost_tests::json_schema::differences;
use roost_tests::server::Server;
use roost_tests::socket::{Socket, position};
use roost_tests::token::Token;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn a_stream_delivers_the_feed_and_resumes_after_the_last_event() {
    let server = Server::start(&[]).await;
    let (ann_id, bob_id) = (Uuid::new_v4(), Uuid::new_v4());
    let (ann, bob) = (server.user(ann_id), server.user(bob_id));
    let conversation = ann.conversation(&[bob_id]).await;
    let send = async |text: &str| {
        ann.post(&format!("/v1/conversations/{conversation}/messages"), json!({ "content": text })).await.json(201)
    };
    let mut stream = Events::open(bob.request("GET", "/v1/events")).await;
    let hello = stream.next().await.unwrap();
    assert_eq!((hello.name.as_str(), hello.id.as_deref()), ("hello", Some(position(&hello.data).as_str())));
    assert_eq!(hello.data["user"], json!(bob_id));

    let sent = send("one").await;
    let first = stream.expect("message.new").await;
    assert_eq!(first.data, sent);
    bob.post(&format!("/v1/conversations/{conversation}/read"), json!({})).await.json(200);
    let update = stream.expect("unread.update").await;
    let expected = json!({ "conversation": conversation, "unread": 0, "total": 0, "read": 1, "seq": 1 });
    assert_eq!(update.data, expected);
    let mut ann_socket = Socket::open(&server, ann_id).await;
    ann_socket.ok("typing", json!({ "conversation": conversation })).await;
    let typing = stream.expect("typing").await;
    assert_eq!((typing.id, &typing.data["user"]), (None, &json!(ann_id)), "an event that is not replayed has no id");
    drop(stream);

    send("two").await;
    let resumed = bob.request("GET", "/v1/events").header("last-event-id", update.id.as_deref().unwrap());
    let mut stream = Events::open(resumed).await;
    let hello = stream.next().await.unwrap();
    assert_eq!((hello.id, &hello.data["unread"]["total"]), (update.id, &json!(1)));
    let missed = stream.next().await.unwrap();
    assert_eq!((missed.name.as_str(), &missed.data["content"]), ("message.new", &json!("two")));
    let mut stream = Events::open(bob.request("GET", "/v1/events?since=elsewhere:9")).await;
    assert_eq!(stream.next().await.unwrap().name, "hello");
    let resync = stream.next().await.unwrap();
    assert_eq!((resync.name.as_str(), &resync.data["reason"]), ("resync", &json!("gap")));
    server.stop().await;
}

/// Compares an event of a stream with its message in the document.
fn check_described(document: &Value, event: &ServerSentEvent) {
    let (message, part) = match event.name.as_str() {
        "error" => ("error".to_owned(), "error"),
        name => (format!("event.{name}"), "payload"),
    };
    let reference = document["channels"]["events"]["messages"][&message]["$ref"].as_str();
    let reference = reference.unwrap_or_else(|| panic!("{message} is not described"));
    let described = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
    let differences = differences(&described["payload"]["properties"][part], &event.data);
    assert!(differences.is_empty(), "{differences:#?}\n{event:#?}");
}

#[tokio::test]
async fn the_events_of_a_stream_are_described() {
    let server = Server::start(&[("token_leeway_ms", "1")]).await;
    let document = server.anonymous().get("/v1/asyncapi.json").await.json(200);
    assert_eq!(document["channels"]["events"]["address"], "/v1/events");
    let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
    let mut stream = Events::open(server.user(bob).request("GET", "/v1/events?since=elsewhere:9")).await;
    for name in ["hello", "resync"] {
        check_described(&document, &stream.expect(name).await);
    }
    let conversation = server.user(ann).conversation(&[bob]).await;
    check_described(&document, &stream.expect("conversation.added").await);
    let path = format!("/v1/conversations/{conversation}/messages");
    server.user(ann).post(&path, json!({ "content": "hello" })).await.json(201);
    check_described(&document, &stream.expect("message.new").await);
    let short = Token::of(ann).lives(Duration::from_secs(5)).sign();
    let mut ending = Events::open(server.bearer(&short).request("GET", "/v1/events")).await;
    check_described(&document, &ending.expect("error").await);
    server.stop().await;
}

#[tokio::test]
async fn a_stream_reports_why_it_ends() {
    let mut server = Server::start(&[("token_leeway_ms", "1")]).await;
    let short = Token::of(Uuid::new_v4()).lives(Duration::from_secs(5)).sign();
    let mut stream = Events::open(server.bearer(&short).request("GET", "/v1/events")).await;
    let notice = stream.expect("error").await;
    assert_eq!((notice.id, &notice.data["code"]), (None, &json!("token_expired")));
    assert_eq!(stream.next().await, None);

    let mut stream = Events::open(server.user(Uuid::new_v4()).request("GET", "/v1/events")).await;
    stream.expect("hello").await;
    server.terminate().await;
    assert!(stream.expect("server.draining").await.data["close_in_ms"].is_u64());
    assert_eq!(stream.expect("error").await.data["code"], "draining");
    assert_eq!(stream.next().await, None);
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
}
