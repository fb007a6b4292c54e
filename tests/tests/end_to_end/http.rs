//! The real binary over HTTP: every route with its statuses and shapes, every kind of refusal as a problem document,
//! the admin listener, and the commands for a running host.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream;
use jsonwebtoken::Algorithm;
use reqwest::Body;
use roost_tests::client::{Client, send};
use roost_tests::events::Events;
use roost_tests::server::{self, Server};
use roost_tests::socket::{Socket, position, request};
use roost_tests::token::{SERVICE_KEY, Token};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

fn has_exactly(value: &Value, names: &[&str]) {
    assert_eq!(keys(value), names.iter().copied().collect(), "{value}");
}

const CONVERSATION: &[&str] =
    &["id", "direct", "members", "member_count", "reads", "last_message", "unread", "seq", "read", "updated_at"];
const MESSAGE: &[&str] = &["id", "conversation", "seq", "sender_id", "type", "content", "created_at"];

#[tokio::test]
async fn messages_change_counters_and_last_messages_together() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id] = [Uuid::new_v4(), Uuid::new_v4()];
    let (ann, bob) = (server.user(ann_id), server.user(bob_id));

    let id = Uuid::new_v4();
    let new = json!({ "id": id, "members": [bob_id] });
    let created = ann.post("/v1/conversations", new.clone()).await.json(201);
    has_exactly(&created, CONVERSATION);
    let reads = json!({ ann_id.to_string(): 0, bob_id.to_string(): 0 });
    assert_eq!((&created["member_count"], &created["reads"], &created["read"]), (&json!(2), &reads, &json!(0)));
    assert_eq!(ann.post("/v1/conversations", new).await.json(200), created);
    let mut members = [ann_id, bob_id];
    members.sort();
    assert_eq!((&created["id"], &created["members"]), (&json!(id), &json!(members)));

    let here = format!("/v1/conversations/{id}");
    bob.get(&format!("{here}/last-message")).await.problem(404, "no_message");
    let draft = json!({ "id": Uuid::new_v4(), "content": "hello" });
    let first = ann.post(&format!("{here}/messages"), draft.clone()).await.json(201);
    has_exactly(&first, MESSAGE);
    assert_eq!((&first["seq"], &first["type"], &first["sender_id"]), (&json!(1), &json!("text"), &json!(ann_id)));
    assert_eq!(ann.post(&format!("{here}/messages"), draft).await.json(200), first);
    let typed = json!({ "type": "image", "content": "a cat" });
    let second = ann.post(&format!("{here}/messages"), typed).await.json(201);
    assert_eq!((&second["seq"], &second["type"]), (&json!(2), &json!("image")));

    let unread = bob.get("/v1/unread").await.json(200);
    assert_eq!(unread, json!({ "total": 2, "conversations": { id.to_string(): 2 } }));
    let one = bob.get(&format!("/v1/unread/{id}")).await.json(200);
    assert_eq!(one, json!({ "conversation": id, "unread": 2 }));
    assert_eq!(ann.get("/v1/unread").await.json(200)["total"], 0);
    assert_eq!(bob.get(&format!("{here}/last-message")).await.json(200), second);

    let page = bob.get(&format!("{here}/messages?limit=1")).await.json(200);
    assert_eq!(page, json!({ "messages": [second], "next_before": 2 }));
    let rest = bob.get(&format!("{here}/messages?before=2&limit=5")).await.json(200);
    assert_eq!(rest, json!({ "messages": [first], "next_before": null }));

    let read = bob.post(&format!("{here}/read"), json!({ "up_to": 1 })).await.json(200);
    assert_eq!(read, json!({ "conversation": id, "unread": 1, "total": 1, "up_to": 1 }));
    bob.delete("/v1/unread").await.problem(403, "service_only");
    server.service().delete("/v1/unread").await.problem(400, "user_required");
    server.service().delete_counters(bob_id).await.done();
    assert_eq!(bob.get("/v1/unread").await.json(200)["total"], 1);

    let path = format!("{here}/messages/{}", second["id"].as_str().unwrap());
    let edited = ann.patch(&path, json!({ "content": "a dog" })).await.json(200);
    assert!(edited["content"] == "a dog" && edited["edited_at"].is_string(), "{edited}");
    assert_eq!(bob.get(&format!("{here}/last-message")).await.json(200), edited);
    ann.delete(&path).await.done();
    assert_eq!(bob.get(&format!("{here}/last-message")).await.json(200), first);
    assert_eq!(bob.get("/v1/unread").await.json(200)["total"], 0, "a deleted message is not unread");
    let read = bob.post(&format!("{here}/read"), json!({})).await.json(200);
    assert_eq!((&read["unread"], &read["total"]), (&json!(0), &json!(0)));

    ann.conversation(&[bob_id]).await;
    let page = bob.get("/v1/conversations?limit=1").await.json(200);
    has_exactly(&page, &["conversations", "next_cursor"]);
    has_exactly(&page["conversations"][0], CONVERSATION);
    assert!(page["conversations"][0]["last_message"].is_null(), "{page}");
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = bob.get(&format!("/v1/conversations?cursor={cursor}")).await.json(200);
    assert_eq!((&page["conversations"][0]["id"], &page["next_cursor"]), (&json!(id), &Value::Null));
    assert_eq!(page["conversations"][0]["last_message"], first);

    // The records outlive the host, and the caches are rebuilt from them.
    let folder = server.stop().await;
    let server = Server::serve_in(folder, &roost_tests::components(), &[]).await;
    let (ann, bob) = (server.user(ann_id), server.user(bob_id));
    assert_eq!(bob.get(&format!("{here}/last-message")).await.json(200), first);
    ann.post(&format!("{here}/messages"), json!({ "content": "again" })).await.json(201);
    assert_eq!(bob.get("/v1/unread").await.json(200)["conversations"][id.to_string()], 1);
    server.stop().await;
}

#[tokio::test]
async fn contacts_members_and_sync_answer_as_documented() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, eve_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let (ann, bob, eve) = (server.user(ann_id), server.user(bob_id), server.user(eve_id));
    let service = server.service();

    for (one, other) in [(&ann, bob_id), (&bob, ann_id)] {
        one.put(&format!("/v1/contacts/{other}")).await.done();
        one.put(&format!("/v1/contacts/{other}")).await.done();
    }
    assert_eq!(ann.get("/v1/contacts").await.json(200), json!({ "contacts": [bob_id] }));

    let beat = ann.post("/v1/presence", json!({ "connection": "kiosk" })).await.json(200);
    has_exactly(&beat, &["beat_interval_ms"]);
    for asked_by in [&service, &bob] {
        let seen = asked_by.get(&format!("/v1/presence/{ann_id}")).await.json(200);
        has_exactly(&seen, &["user", "online", "last_seen", "generation"]);
        assert!(
            seen["online"] == true && seen["last_seen"].is_string() && seen["generation"].as_u64() > Some(0),
            "{seen}"
        );
    }
    let unseen = json!({ "user": ann_id, "online": false, "last_seen": null, "generation": 0 });
    assert_eq!(eve.get(&format!("/v1/presence/{ann_id}")).await.json(200), unseen, "a stranger sees nothing");
    let asked = json!({ "users": [eve_id, ann_id, eve_id] });
    let found = service.post("/v1/presence/query", asked).await.json(200);
    let printed: Vec<_> = found["presence"].as_array().unwrap().iter().map(|p| (&p["user"], &p["online"])).collect();
    let (ann_json, eve_json) = (json!(ann_id), json!(eve_id));
    assert_eq!(printed, [(&eve_json, &json!(false)), (&ann_json, &json!(true)), (&eve_json, &json!(false))]);
    send(ann.request("DELETE", "/v1/presence").json(&json!({ "connection": "kiosk" }))).await.done();

    let pair = ann.conversation(&[bob_id]).await;
    let group = ann.conversation(&[bob_id, eve_id]).await;
    ann.put(&format!("/v1/blocks/{bob_id}")).await.done();
    assert_eq!(bob.get(&format!("/v1/presence/{ann_id}")).await.json(200), unseen, "a blocked user sees nothing");
    bob.post(&format!("/v1/conversations/{pair}/messages"), json!({ "content": "x" })).await.problem(403, "blocked");
    bob.post(&format!("/v1/conversations/{group}/messages"), json!({ "content": "x" })).await.json(201);
    bob.post("/v1/conversations", json!({ "members": [ann_id] })).await.problem(403, "blocked");
    ann.delete(&format!("/v1/blocks/{bob_id}")).await.done();
    bob.post(&format!("/v1/conversations/{pair}/messages"), json!({ "content": "x" })).await.json(201);
    ann.delete(&format!("/v1/contacts/{bob_id}")).await.done();
    assert_eq!(ann.get("/v1/contacts").await.json(200), json!({ "contacts": [] }));

    let member = format!("/v1/conversations/{pair}/members/{eve_id}");
    let added = service.put(&member).await.json(200);
    assert_eq!(added["members"].as_array().unwrap().len(), 3);
    let history = eve.get(&format!("/v1/conversations/{pair}/messages")).await.json(200);
    assert_eq!(history["messages"], json!([]), "a new member sees only later messages");
    bob.delete(&member).await.problem(403, "forbidden");
    service.delete(&member).await.done();
    eve.get(&format!("/v1/conversations/{pair}/messages")).await.problem(403, "not_a_member");

    let on_behalf = service.request("GET", "/v1/unread").header("roost-user", ann_id.to_string());
    assert_eq!(send(on_behalf).await.json(200), ann.get("/v1/unread").await.json(200));

    let state = ann.get("/v1/sync").await.json(200);
    has_exactly(&state, &["epoch", "offset", "presence", "unread", "conversations", "next_cursor"]);
    assert_eq!(state["unread"]["total"], 2);
    let since = position(&state);
    bob.post(&format!("/v1/conversations/{pair}/messages"), json!({ "content": "y" })).await.json(201);
    let missed = ann.get(&format!("/v1/sync?since={since}")).await.json(200);
    let names: Vec<_> = missed["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(names, ["message.new"], "{missed}");
    assert_eq!(missed["conversations"].as_array().unwrap().len(), 1, "only what was missed: {missed}");
    let lost = ann.get("/v1/sync?since=elsewhere:5").await.json(200);
    has_exactly(&lost["resync"], &["reason", "epoch", "offset"]);

    let described = ann.get("/v1/openapi.json").await.json(200);
    for path in ["/v1/unread", "/v1/conversations/{id}/messages", "/v1/presence/query", "/v1/socket"] {
        assert!(described["paths"].get(path).is_some(), "{path} is not described");
    }
    let documentation = include_str!("../../../docs/api.md");
    for (path, methods) in described["paths"].as_object().unwrap() {
        let names = [format!("{path}`"), format!("{path}?")];
        let lines: Vec<_> = documentation.lines().filter(|line| names.iter().any(|name| line.contains(name))).collect();
        // Every `GET` is answered as `HEAD` too; the documentation says so once.
        let methods = methods.as_object().unwrap().keys().filter(|method| *method != "head");
        for method in methods.map(|method| method.to_ascii_uppercase()) {
            assert!(lines.iter().any(|line| line.contains(&method)), "docs/api.md does not show {method} {path}");
        }
    }
    let head = send(ann.request("HEAD", "/v1/unread")).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    server.stop().await;
}

#[tokio::test]
async fn every_kind_of_refusal_is_a_problem_document() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, eve_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let (ann, eve, service) = (server.user(ann_id), server.user(eve_id), server.service());

    let unauthenticated = server.anonymous().get("/v1/unread").await;
    let problem = unauthenticated.problem(401, "unauthenticated");
    has_exactly(&problem, &["type", "title", "status", "code", "detail", "trace", "retry"]);
    assert!(unauthenticated.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    let token = Token::of(ann_id);
    for (bad, code) in [
        (token.clone().secret("somebody-else-0123456789-abcdef-xyz").sign(), "token_invalid"),
        (token.clone().algorithm(Algorithm::HS512).sign(), "token_invalid"),
        (token.clone().without("sub").sign(), "token_invalid"),
        (token.clone().without("exp").sign(), "token_invalid"),
        (token.clone().claim("sub", json!("ann")).sign(), "token_invalid"),
        ("no-token-at-all".to_owned(), "token_invalid"),
        (format!("{SERVICE_KEY}x"), "token_invalid"),
        (token.clone().expired().sign(), "token_expired"),
        (token.clone().not_before(Duration::from_secs(3_600)).sign(), "token_not_yet_valid"),
    ] {
        server.bearer(&bad).get("/v1/unread").await.problem(401, code);
    }
    service.get("/v1/unread").await.problem(400, "user_required");
    let named = |user: &str| service.request("GET", "/v1/unread").header("roost-user", user);
    send(named("ann")).await.problem(400, "user_header_invalid");
    let refused = ann.request("GET", "/v1/unread").header("roost-user", bob_id.to_string());
    send(refused).await.problem(403, "user_header_refused");

    let pair = ann.conversation(&[bob_id]).await;
    let messages = format!("/v1/conversations/{pair}/messages");
    for path in [&messages, &format!("/v1/unread/{pair}"), &format!("/v1/conversations/{pair}/last-message")] {
        eve.get(path).await.problem(403, "not_a_member");
    }
    let unknown = Uuid::new_v4();
    eve.get(&format!("/v1/conversations/{unknown}/messages")).await.problem(403, "not_a_member");
    service.put(&format!("/v1/conversations/{unknown}/members/{eve_id}")).await.problem(404, "not_found");
    ann.patch(&format!("{messages}/{unknown}"), json!({ "content": "x" })).await.problem(404, "not_found");
    ann.get("/v1/nothing").await.problem(404, "route_not_found");

    for (method, path, allowed) in
        [("PATCH", "/v1/unread", ["GET", "DELETE"]), ("POST", "/v1/contacts/x", ["PUT", "DELETE"])]
    {
        let answer = send(ann.request(method, path)).await;
        answer.problem(405, "method_not_allowed");
        assert!(allowed.iter().all(|method| answer.allow().contains(method)), "{path}: {}", answer.allow());
    }
    let answer = ann.delete("/v1/socket").await;
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.allow(), "GET, HEAD");

    let taken = json!({ "id": pair, "members": [eve_id] });
    ann.post("/v1/conversations", taken).await.problem(409, "conflict");
    let draft = json!({ "id": Uuid::new_v4(), "content": "mine" });
    ann.post(&messages, draft.clone()).await.json(201);
    server.user(bob_id).post(&messages, draft).await.problem(409, "conflict");

    ann.post(&messages, json!({ "content": "x".repeat(16 * 1_024 + 1) })).await.problem(413, "too_large");
    ann.post(&messages, json!({ "content": "x".repeat(64 * 1_024) })).await.problem(413, "body_too_large");
    let text = ann.request("POST", &messages).header("content-type", "text/plain").body("{\"content\":\"x\"}");
    send(text).await.problem(415, "unsupported_media_type");
    let packed = ann.request("POST", &messages).header("content-encoding", "gzip").json(&json!({ "content": "x" }));
    send(packed).await.problem(415, "unsupported_media_type");

    ann.get("/v1/socket").await.problem(426, "upgrade_required");
    let half = ann.request("GET", "/v1/socket").header("connection", "upgrade").header("upgrade", "websocket");
    send(half).await.problem(400, "invalid_upgrade");
    ann.get("/v1/unread?a=%").await.problem(400, "invalid_query");
    ann.get("/v1/sync?since=x").await.problem(400, "invalid_since");
    ann.get("/v1/events?since=x").await.problem(400, "invalid_since");
    ann.get("/v1/unread/no-uuid").await.problem(400, "invalid");
    ann.get(&format!("{messages}?limit=101")).await.problem(400, "invalid");
    ann.get("/v1/conversations?cursor=x").await.problem(400, "invalid");
    ann.post(&messages, json!({})).await.problem(400, "invalid");
    ann.post(&messages, json!({ "content": 5 })).await.problem(400, "invalid");
    let broken = ann.request("POST", &messages).header("content-type", "application/json").body("{");
    send(broken).await.problem(400, "invalid");
    let many: Vec<Uuid> = (0..501).map(|_| Uuid::new_v4()).collect();
    let refused = service.post("/v1/presence/query", json!({ "users": many })).await;
    assert!((400..=413).contains(&refused.status), "{}: {}", refused.status, refused.text);
    server.stop().await;
}

#[tokio::test]
async fn configured_limits_are_enforced() {
    let set = [
        ("token_audience", "chat"),
        ("allowed_origins", "https://chat.example.com"),
        ("socket.connections_per_user_max", "1"),
        ("socket.connections_max", "2"),
        ("http.body_bytes_max", "2048"),
        ("http.read_timeout_ms", "200"),
    ];
    let server = Server::start(&set).await;
    let [ann, bob, eve] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let token = |user: Uuid| Token::of(user).claim("aud", json!(["chat", "mail"])).sign();
    server.user(ann).get("/v1/unread").await.problem(401, "token_audience");
    let client = server.bearer(&token(ann));
    client.get("/v1/unread").await.json(200);
    client.post("/v1/presence", json!({ "connection": "x".repeat(4_096) })).await.problem(413, "body_too_large");

    let paged = client.request("GET", "/v1/socket").header("origin", "https://evil.example.com");
    send(paged).await.problem(403, "origin_not_allowed");
    let _ann = Socket::with(&server, &token(ann), "").await;
    let refused = async |user: Uuid| {
        let handshake = request(server.listen, &format!("?token={}", token(user)));
        let (status, problem) = Socket::handshake(server.listen, handshake).await.err().unwrap();
        assert!(problem["retry"] == true && problem["retry_after_ms"].is_u64(), "{problem}");
        (status, problem["code"].clone())
    };
    assert_eq!(refused(ann).await, (429, json!("too_many_connections_of_user")));
    let _bob = Socket::with(&server, &token(bob), "").await;
    assert_eq!(refused(eve).await, (503, json!("too_many_connections")));
    // A browser's event source gives up on any other status.
    let mut stream = Events::open(server.bearer(&token(eve)).request("GET", "/v1/events")).await;
    let error = stream.next().await.unwrap();
    assert_eq!((error.name.as_str(), &error.data["code"]), ("error", &json!("too_many_connections")));
    assert_eq!(stream.next().await, None);

    let mut stream = TcpStream::connect(server.listen).await.unwrap();
    let head = format!("POST /v1/presence HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", token(ann));
    stream.write_all(format!("{head}content-length: 9\r\nconnection: close\r\n\r\n{{").as_bytes()).await.unwrap();
    let mut late = String::new();
    stream.read_to_string(&mut late).await.unwrap();
    assert!(late.starts_with("HTTP/1.1 408") && late.contains("\"read_timeout\""), "{late}");
}

/// A megabyte does not fit into the socket buffers, so the client is still sending when the host refuses the body.
#[tokio::test]
async fn a_client_that_is_still_sending_receives_the_body_too_large_answer() {
    let server = Server::start(&[]).await;
    let client = server.user(Uuid::new_v4());
    for _ in 0..8 {
        let announced = client.request("POST", "/v1/presence").body("x".repeat(1 << 20));
        send(announced).await.problem(413, "body_too_large");
        let chunks = stream::iter(vec![Ok::<_, std::convert::Infallible>("x".repeat(1 << 16)); 16]);
        let unannounced = client.request("POST", "/v1/presence").body(Body::wrap_stream(chunks));
        let response = unannounced.send().await.unwrap();
        assert_eq!(response.status(), 413);
    }
    server.stop().await;
}

#[tokio::test]
async fn operators_see_health_metrics_and_functions() {
    let server = Server::start(&[]).await;
    server.user(Uuid::new_v4()).get("/v1/unread").await.json(200);
    let operator = server.operator();
    let health = operator.get("/healthz").await;
    assert_eq!((health.status, health.text.as_str()), (200, "ok\n"));
    let ready = operator.get("/readyz").await.json(200);
    assert_eq!(
        ready["parts"],
        json!({ "functions": "ok", "host": "ok", "records": "ok", "store": "ok", "tasks": "ok", "token_keys": "ok" })
    );
    let metrics = operator.get("/metrics").await.text;
    for series in ["roost_function_calls_total{function=\"unread\"", "roost_store_seconds", "roost_records_seconds"] {
        assert!(metrics.contains(series), "{series} is not in:\n{metrics}");
    }

    let listed = operator.get("/functions").await.json(200);
    let names: Vec<_> = listed["functions"].as_array().unwrap().iter().map(|one| one["name"].as_str()).collect();
    let built_in = ["contacts", "last-message", "messaging", "presence", "typing", "unread"];
    assert_eq!(names, built_in.map(Some));
    for function in listed["functions"].as_array().unwrap() {
        for member in ["version", "digest", "routes", "limits", "calls"] {
            assert!(function.get(member).is_some(), "{member} is missing: {function}");
        }
    }
    let other = Client::new(server.admin, Some("another-key-of-tests"));
    other.get("/functions").await.problem(401, "token_invalid");
    other.get("/nothing").await.problem(404, "route_not_found");

    let shown = server.command(&["functions"]).output().await.unwrap();
    let table = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success() && table.starts_with("FUNCTION") && table.lines().count() == 7, "{table}");
    let shown = server.command(&["functions", "--json"]).output().await.unwrap();
    let parsed: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(parsed["functions"][0]["digest"], listed["functions"][0]["digest"]);

    let user = Uuid::new_v4().to_string();
    let made = server.command(&["token", "--user", &user, "--ttl", "1m"]).output().await.unwrap();
    let token = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    server.bearer(token.trim()).get("/v1/unread").await.json(200);
    server.stop().await;
}

#[tokio::test]
async fn a_broken_configuration_reports_every_error_and_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("roost.toml"), "listen = \"nowhere\"\nlisen = 1\n[socket]\ncalls_max = 0\n")
        .unwrap();
    for name in ["check-config", "serve"] {
        let mut command = server::command(folder.path());
        let refused = command.env_remove("ROOST_LISTEN").arg(name).output().await.unwrap();
        let printed = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{printed}");
        for line in ["has 3 errors", "roost.toml:1: listen:", "roost.toml:2: unknown key `lisen`", "socket.calls_max"] {
            assert!(printed.contains(line), "{line} is not in:\n{printed}");
        }
    }
    std::fs::remove_file(folder.path().join("roost.toml")).unwrap();
    let valid = server::command(folder.path()).arg("check-config").output().await.unwrap();
    let printed = String::from_utf8(valid.stdout).unwrap();
    assert!(valid.status.success() && printed.starts_with("# The configuration is valid."), "{printed}");
    assert!(printed.contains("\ncalls_max = 8 "), "{printed}");
    assert!(!printed.contains(SERVICE_KEY), "secrets are not shown:\n{printed}");
}
