//! A client of the event stream: reads Server-Sent Events one after the other, each with its id.

use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::time::timeout;

use crate::eventually::DEADLINE;

/// An open stream.
pub struct Events {
    response: reqwest::Response,
    /// Received text that is not parsed yet.
    text: String,
}

/// One event of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSentEvent {
    /// The position in the feed; ephemeral events have none.
    pub id: Option<String>,
    /// The event type.
    pub name: String,
    /// The payload as JSON.
    pub data: Value,
}

impl Events {
    /// Opens a stream.
    pub async fn open(request: RequestBuilder) -> Self {
        // An event stream does not end, so the client's limit for a whole answer does not apply.
        let response = request.timeout(Duration::from_secs(600)).send().await.expect("the stream opens");
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        assert_eq!((response.status().as_u16(), kind), (200, Some("text/event-stream")));
        Self { response, text: String::new() }
    }

    /// The next event, or `None` when the stream has ended. Comments that keep the stream alive do not extend the
    /// deadline.
    pub async fn next(&mut self) -> Option<ServerSentEvent> {
        timeout(DEADLINE, self.read()).await.expect("an event in time")
    }

    async fn read(&mut self) -> Option<ServerSentEvent> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (parse(block), rest.to_owned());
                self.text = rest;
                if event.is_some() {
                    return event;
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).expect("events are text"));
        }
    }

    /// The next event of this type; events of other types are skipped.
    pub async fn expect(&mut self, name: &str) -> ServerSentEvent {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("waiting for {name}: the stream has ended"));
            if event.name == name {
                return event;
            }
        }
    }
}

/// A block of comments alone is not an event.
fn parse(block: &str) -> Option<ServerSentEvent> {
    let field = |name: &'static str| block.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "));
    let (name, id) = (field("event").next(), field("id").next());
    let data: String = field("data").collect();
    Some(ServerSentEvent {
        id: id.map(str::to_owned),
        name: name?.to_owned(),
        data: serde_json::from_str(&data).expect("data is JSON"),
    })
}
