//! Pages of another origin in headless Chromium: `fetch` with preflights, `EventSource` and `WebSocket`, and event
//! streams that outlast an outage. The origins of the page and of the host differ in their ports.

use std::net::SocketAddr;

use roost_tests::browser::{Browser, Site};
use roost_tests::eventually::eventually;
use roost_tests::proxy::{NetworkCondition, Proxy};
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use roost_tests::token::Token;
use serde_json::json;
use uuid::Uuid;

/// Calls the host in each way that a page has.
const CALLS: &str = r#"
const [host, token, friend] = ["host", "token", "friend"].map((name) => query.get(name));
const call = async (name, path, options = {}) => {
    const { bearer = token, ...rest } = options;
    const headers = { authorization: `Bearer ${bearer}`, ...rest.headers };
    const response = await fetch(`http://${host}${path}`, { ...rest, headers });
    const text = await response.text();
    const trace = response.headers.get("roost-trace"), after = response.headers.get("retry-after");
    await report(name, { status: response.status, body: text === "" ? null : JSON.parse(text), trace, after });
};
await call("get", "/v1/unread");
await call("put", `/v1/contacts/${friend}`, { method: "PUT" });
const headers = { "content-type": "application/json", "x-request-id": "page-1" };
await call("post", "/v1/conversations", { method: "POST", headers, body: JSON.stringify({ members: [friend] }) });
await call("with_credentials", "/v1/unread", { credentials: "include" });
await call("unauthenticated", "/v1/unread", { bearer: "wrong" });
await call("not_found", "/v1/nothing", { method: "DELETE" });

const events = new EventSource(`http://${host}/v1/events?token=${token}`);
await new Promise((resolve) => events.addEventListener("hello", resolve, { once: true }));
events.addEventListener("message.new", (event) => report("event", { id: event.lastEventId, data: JSON.parse(event.data) }));

const socket = new WebSocket(`ws://${host}/v1/socket`, ["roost.v1", token]);
const frame = () => new Promise((resolve) => { socket.onmessage = (event) => resolve(JSON.parse(event.data)); });
const hello = await frame();
socket.send(JSON.stringify({ id: "7", type: "presence.beat" }));
const answer = await frame();
await report("socket", { protocol: socket.protocol, hello: hello.type, user: hello.payload.user, answer });
socket.onclose = ({ code, reason, wasClean }) => report("closed", { code, reason, wasClean });
socket.close(4999, "bye");
"#;

/// The address of a page for this user.
fn address(host: SocketAddr, user: Uuid) -> String {
    format!("/?host={host}&token={}", Token::of(user).sign())
}

#[tokio::test]
async fn a_page_of_a_listed_origin_uses_fetch_event_source_and_websocket() {
    let site = Site::with_script(CALLS).await;
    let server = Server::start(&[("allowed_origins", site.origin().as_str())]).await;
    let (user, friend) = (Uuid::new_v4(), Uuid::new_v4());
    let mut page = Browser::open(&site, &format!("{}&friend={friend}", address(server.listen, user)));
    let get = page.report("get").await;
    assert_eq!((&get["status"], &get["body"]["total"]), (&json!(200), &json!(0)), "{get}");
    assert!(get["trace"].is_string(), "{get}");
    assert_eq!(page.report("put").await["status"], 204);
    let created = page.report("post").await;
    assert_eq!((&created["status"], &created["trace"]), (&json!(201), &json!("page-1")), "{created}");
    assert_eq!(page.report("with_credentials").await["status"], 200);
    let refused = page.report("unauthenticated").await;
    assert_eq!((&refused["status"], &refused["body"]["code"]), (&json!(401), &json!("token_invalid")), "{refused}");
    let absent = page.report("not_found").await;
    assert_eq!((&absent["status"], &absent["body"]["code"]), (&json!(404), &json!("route_not_found")), "{absent}");

    let socket = page.report("socket").await;
    assert_eq!((&socket["protocol"], &socket["hello"]), (&json!("roost.v1"), &json!("hello")), "{socket}");
    assert_eq!((&socket["user"], &socket["answer"]["type"]), (&json!(user), &json!("ok")), "{socket}");
    let closed = page.report("closed").await;
    assert_eq!(closed, json!({ "code": 4999, "reason": "bye", "wasClean": true }), "the host answers the close");

    let conversation = created["body"]["id"].as_str().unwrap();
    let path = format!("/v1/conversations/{conversation}/messages");
    let sent = server.user(friend).post(&path, json!({ "content": "to the page" })).await.json(201);
    let event = page.report("event").await;
    assert_eq!(event["data"], sent);
    assert!(event["id"].as_str().is_some_and(|id| id.contains(':')), "{event}");
    server.stop().await;
}

/// Tries each way of calling, and reports what came of it.
const TRIES: &str = r#"
const [host, token] = ["host", "token"].map((name) => query.get(name));
const fetched = await fetch(`http://${host}/v1/unread`, { headers: { authorization: `Bearer ${token}` } })
    .then((response) => `read with ${response.status}`, (error) => error.name);
const events = new EventSource(`http://${host}/v1/events?token=${token}`);
const streamed = await new Promise((resolve) => {
    events.addEventListener("hello", () => resolve("hello"));
    events.onerror = () => resolve(events.readyState);
});
const socket = new WebSocket(`ws://${host}/v1/socket`, ["roost.v1", token]);
const connected = await new Promise((resolve) => {
    socket.onopen = () => resolve("open");
    socket.onclose = (event) => resolve(event.code);
});
await report("tried", { fetched, streamed, connected });
"#;

#[tokio::test]
async fn a_page_of_any_other_origin_reads_nothing() {
    let site = Site::with_script(TRIES).await;
    let server = Server::start(&[("allowed_origins", "https://chat.example.com")]).await;
    let mut page = Browser::open(&site, &address(server.listen, Uuid::new_v4()));
    const CLOSED: u8 = 2;
    let tried = page.report("tried").await;
    assert_eq!(tried, json!({ "fetched": "TypeError", "streamed": CLOSED, "connected": 1006 }));
    server.stop().await;
}

/// An event source for as long as the page is open, with all that it receives.
const LISTENS: &str = r#"
const events = new EventSource(`http://${query.get("host")}/v1/events?token=${query.get("token")}`);
events.addEventListener("hello", (event) => report("hello", JSON.parse(event.data)));
events.addEventListener("message.new", (event) => report("message", JSON.parse(event.data).content));
events.addEventListener("resync", (event) => report("resync", JSON.parse(event.data).reason));
// An event of the host has data, and an error of the connection has none.
events.addEventListener("error", (event) => {
    if (event.data === undefined) report("interrupted", events.readyState);
    else report("refused", JSON.parse(event.data).code);
});
"#;

#[tokio::test]
async fn an_event_source_outlasts_a_network_that_is_down_and_a_host_that_restarts() {
    const CONNECTING: u8 = 0;
    let site = Site::with_script(LISTENS).await;
    let origin = site.origin();
    let server = Server::start(&[("allowed_origins", origin.as_str())]).await;
    let proxy = Proxy::before(server.listen).await;
    let (ann_id, user) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ann_id).conversation(&[user]).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    let send = async |server: &Server, text: &str| {
        server.user(ann_id).post(&path, json!({ "content": text })).await.json(201);
    };
    let mut page = Browser::open(&site, &address(proxy.address, user));
    page.report("hello").await;
    send(&server, "before").await;
    assert_eq!(page.report("message").await, "before");

    proxy.set(NetworkCondition::Down);
    assert_eq!(page.report("interrupted").await, CONNECTING);
    send(&server, "meanwhile").await;
    // The first attempt to connect again fails, too.
    assert_eq!(page.report("interrupted").await, CONNECTING);
    proxy.set(NetworkCondition::Normal);
    page.report("hello").await;
    assert_eq!(page.report("message").await, "meanwhile", "the missed event is sent again");
    send(&server, "after").await;
    assert_eq!(page.report("message").await, "after");
    assert!(!page.pending().contains(&"resync"), "nothing was lost: {:?}", page.pending());

    let address = server.listen.to_string();
    let folder = server.stop().await;
    assert_eq!(page.report("refused").await, "draining");
    let set = [("allowed_origins", origin.as_str()), ("listen", address.as_str())];
    let server = Server::serve_in(folder, &roost_tests::components(), &set).await;
    page.report("hello").await;
    assert_eq!(page.report("resync").await, "gap", "the store in memory ended with its host");
    send(&server, "restarted").await;
    assert_eq!(page.report("message").await, "restarted");
    server.stop().await;
}

#[tokio::test]
async fn an_event_source_that_is_refused_for_a_time_comes_back() {
    let site = Site::with_script(LISTENS).await;
    let origin = site.origin();
    let bounds = [("socket.connections_max", "1"), ("socket.connections_per_user_max", "1")];
    let server = Server::start(&[&bounds[..], &[("allowed_origins", origin.as_str())]].concat()).await;
    let other = Socket::open(&server, Uuid::new_v4()).await;
    let mut page = Browser::open(&site, &address(server.listen, Uuid::new_v4()));
    assert_eq!(page.report("refused").await, "too_many_connections");
    assert!(!page.pending().contains(&"hello"), "{:?}", page.pending());
    other.close().await;
    page.report("hello").await;
    let connections =
        async || server.operator().get("/metrics").await.text.contains("roost_connections{kind=\"events\"} 1");
    eventually("an open stream", connections).await;
    server.stop().await;
}
