//! The spans of the real binary, as a collector of the test receives them: their parents, what they say and do not say,
//! and that a collector that is away or does not answer delays nothing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use futures_util::future::join_all;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use prost::Message;
use roost_tests::client::send;
use roost_tests::eventually::{DEADLINE, eventually, eventually_within};
use roost_tests::metrics::Metrics;
use roost_tests::port::closed_port;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use roost_tests::token::{ADMIN_KEY, SECRET, SERVICE_KEY, Token};
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Receives spans as an OpenTelemetry collector does.
struct Collector {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    async fn start() -> Self {
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let received = Arc::clone(&requests);
        let receive = post(async move |body: Bytes| {
            received.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Router::new().route("/v1/traces", receive);
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { address, requests }
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().unwrap();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    fn spans_of(&self, trace: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| hex(&span.trace_id) == trace).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The attribute with this key, as text.
fn attribute(span: &Span, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?;
    Some(match value.value? {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => panic!("{key}: {other:?}"),
    })
}

fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {:?}", names(spans));
    found[0]
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

async fn traced(collector: SocketAddr) -> Server {
    Server::start(&[("otlp_endpoint", &format!("http://{collector}"))]).await
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32)
}

#[tokio::test]
async fn a_request_its_call_and_its_operations_are_spans_of_the_callers_trace() {
    let collector = Collector::start().await;
    let server = traced(collector.address).await;
    let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ann).conversation(&[bob]).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    let token = Token::of(ann).sign();
    let sending = server.bearer(&token).request("POST", &path).json(&json!({ "content": "for bob alone" }));
    let answer = send(sending.header("traceparent", format!("00-{TRACE}-{PARENT}-01"))).await;
    answer.json(201);
    assert_eq!(answer.headers["roost-trace"], TRACE);
    // A stop sends the spans that still wait.
    server.stop().await;

    let spans = collector.spans_of(TRACE);
    let request = only(&spans, "POST /v1/conversations/{id}/messages");
    assert_eq!(hex(&request.parent_span_id), PARENT);
    let shown = ["http.request.method", "http.response.status_code", "roost.trace"].map(|key| attribute(request, key));
    assert_eq!(shown.map(Option::unwrap), ["POST", "201", TRACE]);
    let call = only(&spans, "call messaging");
    assert_eq!(call.parent_span_id, request.span_id);
    assert_eq!(attribute(call, "outcome").unwrap(), "ok");
    let operations: Vec<_> = spans.iter().filter(|span| attribute(span, "operation").is_some()).collect();
    for operation in &operations {
        assert_eq!(operation.parent_span_id, call.span_id, "{}", operation.name);
        assert!(operation.start_time_unix_nano >= call.start_time_unix_nano, "{operation:?}");
        assert!(operation.end_time_unix_nano <= call.end_time_unix_nano, "{operation:?}");
    }
    assert!(operations.iter().any(|span| span.name == "store commit"), "{:?}", names(&spans));
    only(&spans, "records append-message");
    assert_eq!(operations.len() + 2, spans.len(), "{:?}", names(&spans));
    assert!(!spans.iter().any(is_error), "{spans:?}");

    let everything = format!("{:?}", collector.requests.lock().unwrap());
    for secret in [token.as_str(), SECRET, SERVICE_KEY, ADMIN_KEY, "for bob alone", &conversation, &ann.to_string()] {
        assert!(!everything.contains(secret), "a span contains {secret}");
    }
}

#[tokio::test]
async fn requests_without_a_traceparent_ticks_and_frames_begin_traces_of_their_own() {
    let collector = Collector::start().await;
    let server = traced(collector.address).await;
    let user = Uuid::new_v4();
    let client = server.user(user);
    let plain = client.get("/v1/unread").await;
    let chosen = send(client.request("GET", "/v1/unread").header("x-request-id", "req-7")).await;
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    send(client.request("GET", "/v1/unread").header("traceparent", &unsampled)).await.json(200);
    let refused = server.anonymous().get("/v1/unread").await;
    let absent = server.anonymous().get("/no/such/route").await;
    assert_eq!((refused.status, absent.status), (401, 404));
    let mut socket = Socket::open(&server, user).await;
    socket.ok("presence.beat", json!({})).await;
    drop(socket);
    eventually("a tick is traced", async || names(&collector.spans()).contains(&"call presence")).await;
    server.stop().await;

    let spans = collector.spans_of(plain.headers["roost-trace"].to_str().unwrap());
    let request = only(&spans, "GET /v1/unread");
    assert!(request.parent_span_id.is_empty(), "{request:?}");
    assert_eq!(only(&spans, "call unread").parent_span_id, request.span_id);
    let of_request = |id: &str| {
        let spans = collector.spans();
        let found =
            spans.iter().find(|span| span.name.starts_with("GET") && attribute(span, "roost.trace").unwrap() == id);
        found.cloned()
    };
    assert_ne!(hex(&of_request(chosen.headers["roost-trace"].to_str().unwrap()).unwrap().trace_id), "req-7");
    assert_eq!(names(&collector.spans_of(TRACE)), Vec::<&str>::new(), "a trace that is not sampled has spans");
    for (answer, name) in [(refused, "GET /v1/unread"), (absent, "GET none")] {
        let span = of_request(answer.headers["roost-trace"].to_str().unwrap()).unwrap();
        assert_eq!((span.name.as_str(), is_error(&span)), (name, false));
        assert_eq!(attribute(&span, "http.response.status_code").unwrap(), answer.status.to_string());
    }
    let roots =
        collector.spans().into_iter().filter(|span| span.name.starts_with("call ") && span.parent_span_id.is_empty());
    assert!(roots.count() > 0, "frames and ticks have no spans");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let (_closed, address) = closed_port();
    let server = traced(address).await;
    let client = server.user(Uuid::new_v4());
    client.get("/v1/unread").await.json(200);
    let line = "spans are lost: the collector at otlp_endpoint does not take them, or not fast enough";
    eventually("the loss is logged", async || server.log().contains(line)).await;
    client.get("/v1/unread").await.json(200);
    let failed = spans(&server, "failed").await;
    eventually("more spans are lost", async || spans(&server, "failed").await > failed).await;
    let log = server.log();
    assert_eq!(log.matches(line).count(), 1, "losses are logged more than once a minute:\n{log}");
    assert!(log.contains("Connection refused"), "the reason is missing:\n{log}");
    server.stop().await;
}

#[tokio::test]
async fn a_collector_that_does_not_answer_fills_the_queue_and_delays_neither_requests_nor_the_stop() {
    // Connections are accepted by the operating system, and nobody reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = traced(silent.local_addr().unwrap()).await;
    let client = server.user(Uuid::new_v4());
    eventually_within(4 * DEADLINE, "the queue is full", async || {
        join_all((0..100).map(async |_| client.get("/v1/unread").await.json(200))).await;
        spans(&server, "queue_full").await > 0.0
    })
    .await;
    client.get("/v1/unread").await.json(200);
    server.terminate().await;
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
    assert!(server.log().contains("the last spans are lost"), "{}", server.log());
}

/// How many spans had this outcome.
async fn spans(server: &Server, outcome: &str) -> f64 {
    Metrics::of(&server.operator()).await.sum("roost_spans_total", &[&format!("outcome=\"{outcome}\"")])
}
