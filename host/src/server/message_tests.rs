//! Writes every message of the public listener to `tests/golden/messages/server.txt`: errors of requests and of frames,
//! and the reasons for which sockets and streams are closed.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::golden::Messages;
use crate::runtime::{CallError, Failure, FailureKind};
use crate::server::auth::Credentials;
use crate::server::error_code::ErrorCode;
use crate::server::fake::{FakeFunctions, FakeHost, LossyStore, SERVICE_KEY, token, user};
use crate::server::http::{HttpService, query};
use crate::server::limits::Limited;
use crate::server::problem::ApiError;
use crate::server::websocket::frame::ClientFrame;
use crate::server::websocket::{self, close};

const DAY: Duration = Duration::from_secs(86_400);

fn error(error: &ApiError) -> String {
    let after = error.retry_after.map(|after| format!(", after {} ms", after.as_millis())).unwrap_or_default();
    let retry = if error.retry { format!(" (trying again can help{after})") } else { String::new() };
    format!("{} {}: {}{retry}\n{}", error.status, error.code, error.title, error.detail)
}

/// Sends a request to a host and adds the problem document that answers it.
async fn add(messages: &mut Messages, host: &FakeHost, situation: &str, request: Request<Body>) {
    let response = HttpService::<FakeFunctions, LossyStore>::new(host.state.clone()).answer(request).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: Value =
        serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{situation}: {status} is no problem"));
    let text = |name: &str| problem[name].as_str().unwrap().to_owned();
    let retry = if problem["retry"] == true { " (trying again can help)" } else { "" };
    let head = format!("{} {}: {}{retry}", status.as_u16(), text("code"), text("title"));
    messages.add(situation, format!("{head}\n{}", text("detail")));
}

fn empty(request: Builder) -> Request<Body> {
    request.body(Body::empty()).unwrap()
}

fn bearer(request: Builder, token: &str) -> Builder {
    request.header("authorization", format!("Bearer {token}"))
}

async fn add_credentials(messages: &mut Messages, host: &FakeHost) {
    messages.group("Credentials");
    let get = || Request::get("/v1/things/7");
    let valid = || token(user(1), DAY);
    let forged = valid().rsplit_once('.').unwrap().0.to_owned() + ".c2lnbmF0dXJl";
    for (situation, request) in [
        ("A request without a token, to a route that needs one", get()),
        ("A request with a wrong service key", bearer(get(), "srv-0123456789abcdef")),
        ("A request with an expired token", bearer(get(), &token(user(1), Duration::ZERO))),
        ("A request with a forged token", bearer(get(), &forged)),
        ("A request with `Authorization: Basic …`", get().header("authorization", "Basic YTpi")),
        ("A request with two headers `Authorization`", bearer(bearer(get(), "a"), "b")),
        ("A user on a route for services", bearer(Request::get("/v1/service"), &valid())),
        ("A service key alone on a route that needs a user", bearer(get(), SERVICE_KEY)),
        ("A service key with an invalid `Roost-User`", bearer(get(), SERVICE_KEY).header("roost-user", "anna")),
        ("A user's token with `Roost-User`", bearer(get(), &valid()).header("roost-user", user(2).to_string())),
    ] {
        add(messages, host, situation, empty(request)).await;
    }
}

/// Claims that are refused although the signature is valid.
fn add_claims(messages: &mut Messages) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let (issuer, audience) = (Some("https://login.example".into()), Some("chat".into()));
    let config = crate::config::AuthConfig { issuer, audience, ..crate::server::fake::auth_config() };
    let authenticator = crate::server::auth::Authenticator::new(&config).unwrap();
    let uuid = user(1).to_string();
    for (situation, claims) in [
        ("A token without `sub`", serde_json::json!({ "exp": 1_790_000_060 })),
        ("A token whose `sub` is not a UUID", serde_json::json!({ "sub": "anna", "exp": 1_790_000_060 })),
        ("A token without `exp`", serde_json::json!({ "sub": uuid })),
        ("A token whose `exp` is text", serde_json::json!({ "sub": uuid, "exp": "soon" })),
        (
            "A token that is not valid yet",
            serde_json::json!({ "sub": uuid, "exp": 1_790_000_060, "nbf": 1_790_000_030 }),
        ),
        (
            "A token of another issuer",
            serde_json::json!({ "sub": uuid, "exp": 1_790_000_060, "iss": "https://other.example" }),
        ),
        (
            "A token for another service",
            serde_json::json!({ "sub": uuid, "exp": 1_790_000_060, "iss": "https://login.example", "aud": "shop" }),
        ),
    ] {
        let key = jsonwebtoken::EncodingKey::from_secret(crate::server::fake::SECRET.as_bytes());
        let token = crate::server::auth::crypto::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
        let credentials = Credentials { bearer: Some(token), ..Credentials::default() };
        messages.add(situation, error(&authenticator.identify(&credentials, now).unwrap_err()));
    }
}

async fn add_requests(messages: &mut Messages, host: &FakeHost) {
    messages.group("Requests");
    let valid = token(user(1), DAY);
    let get = |path: &str| bearer(Request::get(path), &valid);
    let post = || bearer(Request::post("/v1/things"), &valid);
    add(messages, host, "A path without a route", empty(get("/v1/nothing"))).await;
    add(messages, host, "Another method of a function's route", empty(Request::delete("/v1/things"))).await;
    add(messages, host, "Another method of a built-in route", empty(Request::post("/v1/sync"))).await;
    add(messages, host, "An invalid escape in the query", empty(get("/v1/things/7?a=%zz"))).await;
    add(messages, host, "A query that is not UTF-8", empty(get("/v1/things/7?a=%ff"))).await;
    messages.add("A query with 65 parameters", error(&query::parse(&"a&".repeat(65)).unwrap_err()));
    add(messages, host, "A `since` that is not a position", empty(get("/v1/sync?since=yesterday"))).await;
    let stream = get("/v1/events").header("last-event-id", "yesterday");
    add(messages, host, "A `Last-Event-ID` that is not a position", empty(stream)).await;
    let large = post().header("content-type", "application/json").body(Body::from(" ".repeat(1_025))).unwrap();
    add(messages, host, "A body beyond the bound", large).await;
    let plain = post().header("content-type", "text/plain").body(Body::from("{}")).unwrap();
    add(messages, host, "A body that is declared as text", plain).await;
    let packed = post().header("content-encoding", "gzip").body(Body::from("{}")).unwrap();
    add(messages, host, "A compressed body", packed).await;
    let never = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    add(messages, host, "A body that does not arrive", post().body(never).unwrap()).await;
    let broken = futures_util::stream::iter([Err::<bytes::Bytes, _>(std::io::Error::other("broken"))]);
    add(messages, host, "A body that ends early", post().body(Body::from_stream(broken)).unwrap()).await;
}

async fn add_connections(messages: &mut Messages, host: &FakeHost) {
    messages.group("Opening a socket or a stream");
    let socket = || bearer(Request::get("/v1/socket"), &token(user(1), DAY));
    let upgrade = || socket().header("upgrade", "websocket").header("connection", "upgrade");
    let origin = socket().header("origin", "https://other.example");
    add(messages, host, "A page of another origin", empty(origin)).await;
    add(messages, host, "A request without an upgrade", empty(socket())).await;
    add(messages, host, "An incomplete handshake", empty(upgrade())).await;
    let events = || bearer(Request::get("/v1/events"), &token(user(1), DAY));
    let open: Vec<_> = (0..3).map(|_| host.hub.register(user(1)).unwrap()).collect();
    add(messages, host, "One connection too many of a user", empty(upgrade())).await;
    drop(open);
    let others: Vec<_> = (0..100).map(|number| host.hub.register(user(100 + number)).unwrap()).collect();
    add(messages, host, "One connection too many of the host", empty(upgrade())).await;
    drop(others);
    host.store.set_down(true);
    add_stream(messages, host, "The store is unavailable, to an event stream", empty(events())).await;
    host.store.set_down(false);
    add_limits(messages).await;
    host.hub.drain(Duration::ZERO);
    add(messages, host, "The host is stopping", empty(upgrade())).await;
    add_stream(messages, host, "The host is stopping, to an event stream", empty(events())).await;
}

/// Adds the whole text of a stream that refuses its client.
async fn add_stream(messages: &mut Messages, host: &FakeHost, situation: &str, request: Request<Body>) {
    let response = HttpService::<FakeFunctions, LossyStore>::new(host.state.clone()).answer(request).await;
    assert_eq!(response.status(), 200, "{situation}");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    // The trace id is different each time.
    let (text, _) = text.split_once(",\"trace\"").unwrap();
    messages.add(situation, format!("{text},…}}"));
}

/// What a user is told who asks too much at once.
async fn add_limits(messages: &mut Messages) {
    let host = FakeHost::with_bounds(|bounds| {
        bounds.users.requests_burst_max = 1;
        bounds.users.connects_burst_max = 1;
        (bounds.users.requests_per_second_max, bounds.users.connects_per_second_max) = (1, 1);
        bounds.connects.wait_max = Duration::from_millis(1);
        bounds.connects.per_second_max = 1;
    });
    let get = |path: &str, number| bearer(Request::get(path), &token(user(number), DAY));
    let limits = &host.state.limits;
    let exhaust = |kind| while limits.count(user(1), kind).is_ok() {};
    exhaust(Limited::Requests);
    add(messages, &host, "One request too many of a user", empty(get("/v1/things/7", 1))).await;
    let socket = get("/v1/socket", 1).header("upgrade", "websocket").header("connection", "upgrade");
    exhaust(Limited::Connects);
    add(messages, &host, "One connect too many of a user", empty(socket)).await;
    host.state.connects.turn().await.unwrap();
    add_stream(messages, &host, "A herd connects, to an event stream", empty(get("/v1/events", 2))).await;
}

fn add_frames(messages: &mut Messages) {
    messages.group("Frames of a socket");
    let long_id = format!("{{\"id\":\"{}\",\"type\":\"sync\"}}", "7".repeat(65));
    for frame in
        ["hello", "[1]", "{\"id\":\"7\",", "{\"id\":\"7\"} {}", "{\"type\":\"sync\"}", &long_id, "{\"id\":\"7\"}"]
    {
        messages.add(&format!("The frame {frame}"), error(&ClientFrame::parse(frame).unwrap_err().error));
    }
}

async fn add_answers(messages: &mut Messages) {
    for frame in [
        r#"{"id":"7","type":"message.sned"}"#,
        r#"{"id":"7","type":"sync","payload":{"since":7}}"#,
        r#"{"id":"7","type":"sync","payload":{"since":"x"}}"#,
    ] {
        messages.add(&format!("The frame {frame}"), websocket::tests::answer_to(frame).await["error"].to_string());
    }
}

fn add_calls(messages: &mut Messages) {
    messages.group("Calls of functions");
    let retry_after = Duration::from_millis(250);
    let failed = Failure {
        kind: FailureKind::Forbidden,
        code: "not_a_member".into(),
        message: "the function's own message".into(),
        retry: false,
        retry_after: None,
    };
    for (situation, call) in [
        ("The function refuses the request", CallError::Failed(failed)),
        ("The function has no free instance", CallError::Busy { retry_after }),
        ("The function crashes", CallError::Trapped),
        ("The function exceeds its deadline", CallError::DeadlineExceeded),
        ("The function replies too much", CallError::ReplyTooLarge),
    ] {
        messages.add(situation, error(&call.into()));
    }
    messages.add("The host has too many requests in flight", error(&ErrorCode::TooManyRequests.into()));
    messages.add("The host fails", error(&ErrorCode::Internal.into()));
}

fn add_closes(messages: &mut Messages) {
    messages.group("Why the host closes a socket (the advice is in docs/socket.md)");
    for reason in close::ALL {
        messages.add(&format!("Close code {}", reason.code), format!("{}\n{}", reason.described(), reason.advice));
    }
    messages.group("Why the host ends a stream or announces a close");
    for code in [ErrorCode::TokenExpired, ErrorCode::Disconnected, ErrorCode::Draining, ErrorCode::SlowClient] {
        messages.add(&format!("The event or frame `error` with {}", code.spec().code), error(&code.into()));
    }
}

/// Every code, so that none is missing in this file.
fn add_codes(messages: &mut Messages) {
    messages.group("Every code, with the text that it has where nothing more precise is known");
    for code in ErrorCode::ALL {
        messages.add(code.spec().code, error(&(*code).into()));
    }
}

#[tokio::test(start_paused = true)]
async fn every_message_of_the_listener_is_in_the_golden_file() {
    let mut messages = Messages::new("Messages of the public listener");
    let host = FakeHost::start();
    add_credentials(&mut messages, &host).await;
    add_claims(&mut messages);
    add_requests(&mut messages, &host).await;
    add_connections(&mut messages, &host).await;
    add_frames(&mut messages);
    add_answers(&mut messages).await;
    add_calls(&mut messages);
    add_closes(&mut messages);
    add_codes(&mut messages);
    messages.check("server");
}
