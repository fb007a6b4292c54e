//! The HTTP service: credentials, bodies, bounds, problem documents, and the built-in routes.

mod browsers;
mod streams;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::HttpService;
use crate::config::HttpConfig;
use crate::runtime::{self, CallError, Caller, FailureKind};
use crate::server::fake::{
    FakeFunctions, FakeHost, LossyStore, SERVICE_KEY, failure, http_config, reply, socket_config, token, user,
};

const DAY: Duration = Duration::from_secs(86_400);

fn bearer() -> String {
    format!("Bearer {}", token(user(1), DAY))
}

fn get(path: &str) -> axum::http::request::Builder {
    Request::get(path)
}

fn as_user(builder: axum::http::request::Builder) -> axum::http::request::Builder {
    builder.header("authorization", bearer())
}

fn empty(builder: axum::http::request::Builder) -> Request<Body> {
    builder.body(Body::empty()).unwrap()
}

async fn send(host: &FakeHost, request: Request<Body>) -> Response {
    HttpService::<FakeFunctions, LossyStore>::new(host.state.clone()).answer(request).await
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[track_caller]
fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("no header {name}"));
    value.to_str().unwrap().to_owned()
}

/// Checks the status, the code and the form of a problem document, and returns it.
async fn problem(response: Response, status: u16, code: &str) -> Value {
    assert_eq!(header(&response, "content-type"), "application/problem+json");
    let (found, trace) = (response.status().as_u16(), header(&response, "roost-trace"));
    let document: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!((found, &document["code"]), (status, &json!(code)), "{document}");
    assert_eq!((&document["status"], &document["trace"]), (&json!(status), &json!(trace)));
    document
}

#[tokio::test]
async fn a_function_gets_the_caller_the_parameters_and_the_query() {
    let host = FakeHost::start();
    host.functions.answer("/v1/things/{id}", reply(200, r#"{"a":1}"#));
    let response = send(&host, empty(as_user(get("/v1/things/7?x=1&y=a%20b").header("x-request-id", "t-1")))).await;
    assert_eq!((response.status(), header(&response, "roost-trace").as_str()), (StatusCode::OK, "t-1"));
    assert_eq!(header(&response, "content-type"), "application/json");
    assert_eq!(text(response).await, r#"{"a":1}"#);
    let invocation = host.functions.invocations().pop().unwrap();
    assert_eq!((invocation.caller, invocation.trace.as_ref()), (Caller::User(user(1)), "t-1"));
    let runtime::Request::Http(http) = invocation.request else { panic!("not an HTTP request") };
    assert_eq!(http.parameters, [("id".to_owned(), "7".to_owned())]);
    assert_eq!(http.query, [("x".to_owned(), "1".to_owned()), ("y".to_owned(), "a b".to_owned())]);
}

#[tokio::test]
async fn statuses_and_empty_bodies_are_passed_on() {
    let host = FakeHost::start();
    host.functions.answer("/v1/things", reply(201, r#"{"id":1}"#));
    let post = || as_user(Request::post("/v1/things")).body(Body::from("{}")).unwrap();
    assert_eq!(send(&host, post()).await.status(), StatusCode::CREATED);
    host.functions.answer("/v1/things", reply(200, ""));
    let response = send(&host, post()).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn unknown_paths_and_other_methods_have_different_errors() {
    let host = FakeHost::start();
    problem(send(&host, empty(get("/v1/nothing"))).await, 404, "route_not_found").await;
    let response = send(&host, empty(Request::delete("/v1/things"))).await;
    assert_eq!(header(&response, "allow"), "POST");
    problem(response, 405, "method_not_allowed").await;
    let response = send(&host, empty(Request::post("/v1/sync"))).await;
    assert!(header(&response, "allow").starts_with("GET"));
    problem(response, 405, "method_not_allowed").await;
}

#[tokio::test]
async fn head_is_answered_like_get() {
    let host = FakeHost::start();
    let response = send(&host, empty(as_user(Request::head("/v1/things/7")))).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn callers_without_access_get_the_reason() {
    let host = FakeHost::start();
    let response = send(&host, empty(get("/v1/things/7"))).await;
    assert_eq!(header(&response, "www-authenticate"), "Bearer realm=\"roost\"");
    problem(response, 401, "unauthenticated").await;
    let old = format!("Bearer {}", token(user(1), Duration::ZERO));
    let response = send(&host, empty(get("/v1/things/7").header("authorization", old))).await;
    assert!(header(&response, "www-authenticate").contains("error=\"invalid_token\""));
    problem(response, 401, "token_expired").await;
    problem(send(&host, empty(as_user(get("/v1/service")))).await, 403, "service_only").await;
    let service = || get("/v1/things/7").header("authorization", format!("Bearer {SERVICE_KEY}"));
    problem(send(&host, empty(service())).await, 400, "user_required").await;
    let named = service().header("roost-user", user(2).to_string());
    assert_eq!(send(&host, empty(named)).await.status(), StatusCode::OK);
    assert_eq!(host.functions.invocations().pop().unwrap().caller, Caller::ServiceFor(user(2)));
    assert_eq!(send(&host, empty(get("/v1/open"))).await.status(), StatusCode::OK);
    // Only streams accept a token in the address.
    let in_address = get(&format!("/v1/things/7?token={}", token(user(1), DAY)));
    problem(send(&host, empty(in_address)).await, 401, "unauthenticated").await;
}

#[tokio::test]
async fn bodies_are_bounded_json() {
    let host = FakeHost::start();
    let post = |kind: &str, body: Body| as_user(Request::post("/v1/things")).header("content-type", kind).body(body);
    let ok = send(&host, post("application/json; charset=utf-8", Body::from("{}")).unwrap()).await;
    assert_eq!(ok.status(), StatusCode::OK);
    let plain = send(&host, post("text/plain", Body::from("{}")).unwrap()).await;
    problem(plain, 415, "unsupported_media_type").await;
    let large = send(&host, post("application/json", Body::from(" ".repeat(1_025))).unwrap()).await;
    problem(large, 413, "body_too_large").await;
    let announced = as_user(Request::post("/v1/things")).header("content-length", "9999");
    problem(send(&host, empty(announced)).await, 413, "body_too_large").await;
    let packed = as_user(Request::post("/v1/things")).header("content-encoding", "gzip");
    problem(send(&host, packed.body(Body::from("{}")).unwrap()).await, 415, "unsupported_media_type").await;
    problem(send(&host, empty(as_user(get("/v1/things/7?a=%zz")))).await, 400, "invalid_query").await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_in_time_is_refused() {
    let host = FakeHost::start();
    let never = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let request = as_user(Request::post("/v1/things")).body(never).unwrap();
    problem(send(&host, request).await, 408, "read_timeout").await;
}

#[tokio::test]
async fn failures_of_functions_keep_their_code_and_get_the_status_of_their_kind() {
    let host = FakeHost::start();
    for (kind, status) in [
        (FailureKind::Invalid, 400),
        (FailureKind::Forbidden, 403),
        (FailureKind::NotFound, 404),
        (FailureKind::Conflict, 409),
        (FailureKind::TooLarge, 413),
        (FailureKind::RateLimited, 429),
        (FailureKind::Unavailable, 503),
        (FailureKind::Internal, 500),
    ] {
        host.functions.answer("/v1/open", failure(kind, "some_code"));
        problem(send(&host, empty(get("/v1/open"))).await, status, "some_code").await;
    }
    for (error, status, code) in [
        (CallError::Trapped, 502, "function_failed"),
        (CallError::ReplyTooLarge, 502, "reply_too_large"),
        (CallError::DeadlineExceeded, 504, "function_timeout"),
    ] {
        host.functions.answer("/v1/open", Err(error));
        problem(send(&host, empty(get("/v1/open"))).await, status, code).await;
    }
    host.functions.answer("/v1/open", Err(CallError::Busy { retry_after: Duration::from_millis(1_200) }));
    let response = send(&host, empty(get("/v1/open"))).await;
    assert_eq!(header(&response, "retry-after"), "2");
    let document = problem(response, 503, "busy").await;
    assert_eq!((&document["retry"], &document["retry_after_ms"]), (&json!(true), &json!(1_200)));
}

#[tokio::test]
async fn requests_in_flight_are_bounded() {
    let bounds = HttpConfig { requests_max: 0, ..http_config() };
    let host = FakeHost::with(socket_config(), bounds);
    let response = send(&host, empty(get("/v1/open"))).await;
    assert_eq!(header(&response, "retry-after"), "1");
    problem(response, 503, "too_many_requests").await;
}

#[tokio::test]
async fn sync_answers_over_http_too() {
    let host = FakeHost::start();
    host.functions.answer("sync", reply(200, r#"{"conversations":[],"next_cursor":null}"#));
    host.store.publish(user(1), "a").await;
    let response = send(&host, empty(as_user(get("/v1/sync")))).await;
    let state: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!((&state["offset"], &state["conversations"]), (&json!(1), &json!([])));
    assert!(state.get("events").is_none() && state.get("resync").is_none());
    problem(send(&host, empty(as_user(get("/v1/sync?since=x")))).await, 400, "invalid_since").await;
    problem(send(&host, empty(get("/v1/sync"))).await, 401, "unauthenticated").await;
}

#[tokio::test]
async fn sync_answers_from_the_records_while_the_store_is_unavailable() {
    let host = FakeHost::start();
    host.store.set_down(true);
    host.functions.answer("sync", reply(200, r#"{"unread":{"total":2,"source":"records"}}"#));
    let response = send(&host, empty(as_user(get("/v1/sync?since=abc:7")))).await;
    let state: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!((&state["source"], &state["unread"]["total"]), (&json!("records"), &json!(2)));
    assert_eq!(state["resync"]["reason"], "interrupted", "the missed events are unknown");
    let position = format!("{}:{}", state["epoch"].as_str().unwrap(), state["offset"]);
    assert!(position.parse::<roost_core::feed::Position>().unwrap().without_feed_since().is_some(), "{position}");

    host.functions.answer("sync", failure(FailureKind::Unavailable, "store_unavailable"));
    let response = send(&host, empty(as_user(get("/v1/sync")))).await;
    assert_eq!(response.status(), StatusCode::OK, "a part that needs the store is left out");
    host.functions.answer("sync", failure(FailureKind::Unavailable, "records_unavailable"));
    problem(send(&host, empty(as_user(get("/v1/sync")))).await, 503, "records_unavailable").await;
    let refused = events(&mut stream(&host, get("/v1/events")).await, 2).await;
    assert_eq!(refused.len(), 1, "the stream ends: {refused:?}");
    assert!(refused[0].starts_with("retry: 10\nevent: error\ndata: {\"code\":\"store_unavailable\""), "{refused:?}");
}

#[tokio::test]
async fn the_socket_route_refuses_requests_that_are_no_handshake() {
    let host = FakeHost::start();
    problem(send(&host, empty(as_user(get("/v1/socket")))).await, 426, "upgrade_required").await;
    problem(send(&host, empty(get("/v1/socket"))).await, 401, "unauthenticated").await;
    let elsewhere = as_user(get("/v1/socket")).header("origin", "https://evil.example");
    problem(send(&host, empty(elsewhere)).await, 403, "origin_not_allowed").await;
    problem(send(&host, empty(as_user(get("/v1/socket?since=x")))).await, 400, "invalid_since").await;
    host.hub.drain(Duration::ZERO);
    let upgrade = as_user(get("/v1/socket")).header("upgrade", "websocket").header("connection", "upgrade");
    problem(send(&host, empty(upgrade)).await, 503, "draining").await;
}

#[tokio::test]
async fn the_openapi_document_describes_the_routes() {
    let host = FakeHost::start();
    let describe =
        || async { serde_json::from_str::<Value>(&text(send(&host, empty(get("/v1/openapi.json"))).await).await) };
    let document = describe().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let operation = &document["paths"]["/v1/things/{id}"]["get"];
    assert_eq!(operation["summary"], "GET /v1/things/{id}");
    assert_eq!(operation["parameters"][0]["name"], "id");
    assert_eq!(document["paths"]["/v1/open"]["get"]["security"], json!([]));
    assert!(document["paths"]["/v1/socket"]["get"].is_object());
}

/// Reads a stream until it has this many blank lines.
async fn events(body: &mut Body, count: usize) -> Vec<String> {
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        let frame =
            tokio::time::timeout(Duration::from_secs(600), body.frame()).await.expect("no event within ten minutes");
        let Some(frame) = frame else { break };
        text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
    }
    text.split_terminator("\n\n").map(str::to_owned).collect()
}

async fn stream(host: &FakeHost, builder: axum::http::request::Builder) -> Body {
    let response = send(host, empty(as_user(builder))).await;
    assert_eq!(header(&response, "content-type"), "text/event-stream");
    response.into_body()
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_hello_and_continues_with_events() {
    let host = FakeHost::start();
    let mut body = stream(&host, get("/v1/events")).await;
    let hello = events(&mut body, 1).await.remove(0);
    assert!(hello.starts_with("retry: 2000\nid: n") && hello.contains("\nevent: hello\ndata: {"), "{hello}");
    host.store.publish(user(1), "a").await;
    host.store.publish_ephemeral(user(1), "t").await;
    let received = events(&mut body, 2).await;
    assert!(
        received[0].starts_with("id: ") && received[0].ends_with(":1\nevent: message.new\ndata: {\"text\":\"a\"}"),
        "{received:?}"
    );
    assert_eq!(received[1], "event: typing\ndata: {\"text\":\"t\"}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_resumes_from_the_last_event_id() {
    let host = FakeHost::start();
    let mut body = stream(&host, get("/v1/events")).await;
    events(&mut body, 1).await;
    host.store.publish(user(1), "a").await;
    let first = events(&mut body, 1).await.remove(0);
    let id = first.lines().next().unwrap().strip_prefix("id: ").unwrap().to_owned();
    drop(body);
    host.store.publish(user(1), "b").await;
    let mut body = stream(&host, get("/v1/events").header("last-event-id", &id)).await;
    let received = events(&mut body, 2).await;
    assert!(received[0].contains(&format!("id: {id}\nevent: hello")), "{received:?}");
    assert!(received[1].contains("\"text\":\"b\""), "{received:?}");
    let response = send(&host, empty(as_user(get("/v1/events").header("last-event-id", "x")))).await;
    problem(response, 400, "invalid_since").await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_is_kept_alive_and_a_stopping_host_ends_it() {
    let host = FakeHost::start();
    let mut body = stream(&host, get("/v1/events")).await;
    events(&mut body, 1).await;
    assert_eq!(events(&mut body, 1).await, [":"]);
    host.hub.drain(Duration::from_secs(5));
    let received = events(&mut body, 3).await;
    assert!(received[0].starts_with("event: server.draining\n"), "{received:?}");
    assert!(received[1].contains("\"code\":\"draining\""), "{received:?}");
    assert_eq!(received.len(), 2);
    host.hub.drained().await;
    assert_eq!(host.functions.names(), ["connected", "disconnected"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_is_closed() {
    let host = FakeHost::start();
    let body = stream(&host, get("/v1/events")).await;
    for number in 0..40 {
        host.store.publish(user(1), &number.to_string()).await;
        tokio::task::yield_now().await;
    }
    host.hub.drain(Duration::ZERO);
    host.hub.drained().await;
    drop(body);
    assert_eq!(host.functions.names().last().unwrap(), "disconnected");
}
