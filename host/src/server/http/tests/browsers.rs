//! What browsers and proxies need of every answer: CORS headers, whether the connection closes, and `HEAD` without
//! effects.

use std::sync::atomic::Ordering;

use super::*;
use crate::server::problem::{ApiError, ErrorCode};

/// The origin that the fake host lists.
const PAGE: &str = "https://chat.example";

#[track_caller]
fn is_readable(response: &Response) {
    assert_eq!(header(response, "access-control-allow-origin"), PAGE, "{}", response.status());
    assert_eq!(header(response, "access-control-allow-credentials"), "true");
    assert_eq!(header(response, "vary"), "Origin");
    assert!(header(response, "access-control-expose-headers").contains("Retry-After"));
}

#[tokio::test]
async fn a_page_can_read_every_answer_refusals_included() {
    let host = FakeHost::start();
    let page = |builder: axum::http::request::Builder| builder.header("origin", PAGE);
    host.functions.answer("/v1/open", Err(CallError::Busy { retry_after: Duration::from_secs(1) }));
    let large = as_user(page(Request::post("/v1/things"))).body(Body::from(" ".repeat(1_025))).unwrap();
    for (request, status) in [
        (empty(as_user(page(get("/v1/things/7")))), 200),
        (empty(as_user(page(get("/v1/events")))), 200),
        (empty(page(get("/v1/openapi.json"))), 200),
        (empty(as_user(page(get("/v1/things/7?a=%zz")))), 400),
        (empty(page(get("/v1/things/7"))), 401),
        (empty(as_user(page(get("/v1/service")))), 403),
        (empty(page(get("/v1/nothing"))), 404),
        (empty(page(Request::delete("/v1/things"))), 405),
        (empty(page(Request::post("/v1/sync"))), 405),
        (large, 413),
        (empty(as_user(page(get("/v1/socket")))), 426),
        (empty(page(get("/v1/open"))), 503),
    ] {
        let response = send(&host, request).await;
        assert_eq!(response.status(), status);
        is_readable(&response);
    }
    let elsewhere = send(&host, empty(as_user(get("/v1/things/7").header("origin", "https://evil.example")))).await;
    assert_eq!(elsewhere.status(), StatusCode::OK);
    assert!(elsewhere.headers().get("access-control-allow-origin").is_none());
    assert_eq!(header(&elsewhere, "vary"), "Origin");
}

#[tokio::test]
async fn a_preflight_needs_no_credentials_and_reaches_no_function() {
    let host = FakeHost::start();
    let preflight = |path: &str, origin: &str| {
        let request = Request::options(path).header("origin", origin);
        empty(request.header("access-control-request-method", "POST"))
    };
    for path in ["/v1/things", "/v1/sync", "/v1/nothing"] {
        let response = send(&host, preflight(path, PAGE)).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{path}");
        is_readable(&response);
        assert!(header(&response, "access-control-allow-headers").contains("Authorization"));
    }
    assert!(host.functions.names().is_empty());
    problem(send(&host, preflight("/v1/things", "https://evil.example")).await, 405, "method_not_allowed").await;
    let options = send(&host, empty(Request::options("/v1/things").header("origin", PAGE))).await;
    assert_eq!(header(&options, "allow"), "POST");
    problem(options, 405, "method_not_allowed").await;
}

#[tokio::test]
async fn a_connection_without_a_place_is_refused_in_the_form_that_its_client_can_read() {
    let host = FakeHost::start();
    let service = HttpService::<FakeFunctions, LossyStore>::new(host.state.clone());
    let refusal = ApiError::from(ErrorCode::TooManyConnections).after(Duration::from_secs(1));
    let refused = service.refuse(&empty(get("/v1/unread").header("origin", PAGE)), &refusal, "t-1");
    is_readable(&refused);
    assert_eq!(refused.status(), 503);
    let refused = service.refuse(&empty(get("/v1/events").header("origin", PAGE)), &refusal, "t-1");
    is_readable(&refused);
    assert_eq!(header(&refused, "content-type"), "text/event-stream");
    assert!(text(refused).await.starts_with("retry: 1000\nevent: error\n"));
}

#[tokio::test]
async fn a_refused_body_that_the_client_holds_back_closes_the_connection() {
    let host = FakeHost::start();
    let post = |builder: axum::http::request::Builder| builder.body(Body::from("{}")).unwrap();
    let kept = send(&host, post(Request::post("/v1/things"))).await;
    assert!(kept.headers().get("connection").is_none());
    problem(kept, 401, "unauthenticated").await;
    let closed = send(&host, post(Request::post("/v1/things").header("expect", "100-continue"))).await;
    assert_eq!(header(&closed, "connection"), "close");
    problem(closed, 401, "unauthenticated").await;
    let accepted = as_user(Request::post("/v1/things")).header("expect", "100-continue");
    assert!(send(&host, post(accepted)).await.headers().get("connection").is_none());
}

#[tokio::test]
async fn every_answer_announces_the_close_while_the_host_prepares_to_stop() {
    let host = FakeHost::start();
    let service = HttpService::<FakeFunctions, LossyStore>::new(host.state.clone());
    let ask = async || service.answer(empty(as_user(get("/v1/things/7")))).await;
    assert!(ask().await.headers().get("connection").is_none());
    service.stopping().store(true, Ordering::Relaxed);
    let response = ask().await;
    assert_eq!((response.status(), header(&response, "connection").as_str()), (StatusCode::OK, "close"));
}

#[tokio::test]
async fn head_of_the_event_stream_connects_nobody() {
    let host = FakeHost::start();
    let response = send(&host, empty(as_user(Request::head("/v1/events")))).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-type"), "text/event-stream");
    assert_eq!((host.hub.connections(), host.functions.names().len()), (0, 0));
    assert_eq!(send(&host, empty(Request::head("/v1/events"))).await.status(), StatusCode::UNAUTHORIZED);
}
