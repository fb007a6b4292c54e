//! Tries what a row of the table is about, as one role in one world.

use std::time::Duration;

use reqwest::RequestBuilder;
use roost_tests::client::{Answer, Client, send};
use roost_tests::eventually::DEADLINE;
use roost_tests::server::Server;
use roost_tests::socket::{self, Socket};
use roost_tests::token::{SERVICE_KEY, Token};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::table::{Row, Subject};
use super::world::{Role, World};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The other user, who is online, is shown as offline and never seen.
    Hidden,
    /// Refused with this code, and over HTTP with this status.
    Refused {
        code: String,
        status: Option<u16>,
    },
}

impl Outcome {
    fn of_problem(status: u16, problem: &Value) -> Self {
        let code = problem["code"].as_str().unwrap_or_else(|| panic!("{status} without a code: {problem}"));
        Self::Refused { code: code.to_owned(), status: Some(status) }
    }

    fn of_answer(answer: &Answer) -> Self {
        match answer.status {
            200..=299 => Self::Done,
            status => Self::of_problem(status, &serde_json::from_str(&answer.text).unwrap_or_default()),
        }
    }

    /// What an answer tells of the presence of the other user.
    fn of_presence(answer: &Answer) -> Self {
        if answer.status != 200 {
            return Self::of_answer(answer);
        }
        let body = answer.json(200);
        let shown = body.pointer("/presence/0").unwrap_or(&body);
        match (&shown["online"], &shown["last_seen"]) {
            (Value::Bool(true), Value::String(_)) => Self::Done,
            (Value::Bool(false), Value::Null) => Self::Hidden,
            _ => panic!("neither online nor hidden: {shown}"),
        }
    }
}

/// Tries the row. `for_member` makes a service act for the member of the world.
pub(crate) async fn attempt(server: &Server, row: &Row, world: &World, for_member: bool) -> Outcome {
    match &row.subject {
        Subject::Route { path, .. } if path == "/v1/socket" => match open(server, world, for_member).await {
            Ok(_) => Outcome::Done,
            Err(outcome) => outcome,
        },
        Subject::Route { path, .. } if path == "/v1/events" => listen(server, world).await,
        Subject::Route { method, path } => request(server, world, (row, method, path), for_member).await,
        Subject::Frame(name) => match open(server, world, for_member).await {
            Ok(mut socket) => {
                let answer = socket.request(name, frame_payload(world, name, &row.case)).await;
                match answer["error"]["code"].as_str() {
                    Some(code) => Outcome::Refused { code: code.to_owned(), status: None },
                    None => Outcome::Done,
                }
            }
            Err(outcome) => outcome,
        },
    }
}

/// The status and the code of a request without credentials.
pub(crate) async fn attempt_anonymously(server: &Server, method: &str, path: &str) -> (u16, Option<String>) {
    let answer = send(server.anonymous().request(method, path)).await;
    let problem: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    (answer.status, problem["code"].as_str().map(str::to_owned))
}

fn client(server: &Server, world: &World) -> Client {
    if world.role == Role::Service { server.service() } else { server.user(world.caller) }
}

async fn request(server: &Server, world: &World, (row, method, path): (&Row, &str, &str), for_member: bool) -> Outcome {
    let user = match row.case.as_str() {
        "oneself" => world.caller,
        "if a member and `{user}` have a block" => {
            server.user(world.other).put(&format!("/v1/blocks/{}", world.outsider)).await.done();
            world.outsider
        }
        _ if method == "PUT" && path.contains("/members/") => world.outsider,
        _ => world.other,
    };
    let filled_in = world.path(path, user, world.message(&row.case));
    let request = client(server, world).request(method, &filled_in);
    let request = match body(world, method, &row.subject.to_string(), &row.case) {
        Some(body) => request.json(&body),
        None => request,
    };
    let answer = send(as_member(request, world, for_member)).await;
    match (method, path) {
        ("GET", "/v1/presence/{user}") | ("POST", "/v1/presence/query") => Outcome::of_presence(&answer),
        _ => Outcome::of_answer(&answer),
    }
}

fn as_member(request: RequestBuilder, world: &World, for_member: bool) -> RequestBuilder {
    if for_member { request.header("roost-user", world.caller.to_string()) } else { request }
}

/// The body of a request; `None` if the route has none.
fn body(world: &World, method: &str, route: &str, case: &str) -> Option<Value> {
    let last = route.rsplit('/').next().unwrap_or_default();
    Some(match (method, last) {
        ("POST", "conversations") if case.contains("`direct`") => json!({ "direct": world.other }),
        ("POST", "conversations") => json!({ "members": [world.other] }),
        ("POST", "query") => json!({ "users": [world.other] }),
        ("POST", "messages") if case.contains("`system`") => json!({ "type": "system.note", "content": "x" }),
        ("POST", "messages") => json!({ "content": "x" }),
        ("PATCH", _) => json!({ "content": "changed" }),
        ("POST", _) => json!({}),
        _ => return None,
    })
}

fn frame_payload(world: &World, name: &str, case: &str) -> Value {
    let conversation = &world.conversation;
    let id = world.message(case);
    match name {
        "message.send" if case.contains("`system`") => {
            json!({ "conversation": conversation, "type": "system.note", "content": "x" })
        }
        "message.send" => json!({ "conversation": conversation, "content": "x" }),
        "message.edit" => json!({ "conversation": conversation, "id": id, "content": "changed" }),
        "message.delete" => json!({ "conversation": conversation, "id": id }),
        "conversation.read" | "typing" => json!({ "conversation": conversation }),
        "token" => json!({ "token": Token::of(world.caller).lives(Duration::from_secs(7_200)).sign() }),
        "presence.beat" | "sync" => Value::Null,
        other => panic!("no payload for the frame {other}"),
    }
}

/// Opens a socket with the credentials of the role.
async fn open(server: &Server, world: &World, for_member: bool) -> Result<Socket, Outcome> {
    let mut request = socket::request(server.listen, "");
    let bearer = match world.role {
        Role::Service => SERVICE_KEY.to_owned(),
        _ => Token::of(world.caller).sign(),
    };
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {bearer}").parse().expect("a header"));
    if for_member {
        headers.insert("roost-user", world.caller.to_string().parse().expect("a header"));
    }
    let opened = Socket::handshake(server.listen, request).await;
    opened.map(|(socket, _)| socket).map_err(|(status, problem)| Outcome::of_problem(status, &problem))
}

/// Opens an event stream. It does not end, so only its beginning is read.
async fn listen(server: &Server, world: &World) -> Outcome {
    let sent = client(server, world).request("GET", "/v1/events").send();
    let mut response = timeout(DEADLINE, sent).await.expect("in time").expect("an answer");
    let status = response.status().as_u16();
    if status != 200 {
        let problem = response.text().await.expect("a body");
        return Outcome::of_problem(status, &serde_json::from_str(&problem).unwrap_or_default());
    }
    let mut text = String::new();
    while !text.contains("event: ") {
        let chunk = timeout(DEADLINE, response.chunk()).await.expect("in time").expect("a chunk").expect("no end");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(text.contains("event: hello"), "{text}");
    Outcome::Done
}
