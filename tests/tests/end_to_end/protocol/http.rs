//! The real binary over HTTP: every route with its statuses and shapes, the admin listener, and the commands for a
//! running host. What it refuses is in `refusals.rs`.

use std::collections::BTreeSet;

use roost_tests::client::{Client, send};
use roost_tests::server::{self, Server};
use roost_tests::socket::position;
use roost_tests::token::SERVICE_KEY;
use serde_json::{Value, json};
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

/// Two users, and a conversation of theirs with two messages of Ann.
struct Chat {
    server: Server,
    ann_id: Uuid,
    bob_id: Uuid,
    ann: Client,
    bob: Client,
    id: Uuid,
    /// The path of the conversation.
    here: String,
    first: Value,
    second: Value,
}

impl Chat {
    async fn start() -> Self {
        let server = Server::start(&[]).await;
        let [ann_id, bob_id, id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
        let (ann, bob) = (server.user(ann_id), server.user(bob_id));
        ann.post("/v1/conversations", json!({ "id": id, "members": [bob_id] })).await.json(201);
        let here = format!("/v1/conversations/{id}");
        let write =
            async |content: &str| ann.post(&format!("{here}/messages"), json!({ "content": content })).await.json(201);
        let (first, second) = (write("hello").await, write("a cat").await);
        Self { server, ann_id, bob_id, ann, bob, id, here, first, second }
    }
}

#[tokio::test]
async fn conversations_and_messages_are_stored_once() {
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
    server.stop().await;
}

#[tokio::test]
async fn messages_change_counters_and_last_messages_together() {
    let Chat { server, bob_id, ann, bob, id, here, first, second, .. } = Chat::start().await;
    let unread = bob.get("/v1/unread").await.json(200);
    assert_eq!(unread, json!({ "total": 2, "conversations": { id.to_string(): 2 } }));
    let one = bob.get(&format!("/v1/unread/{id}")).await.json(200);
    assert_eq!(one, json!({ "conversation": id, "unread": 2 }));
    assert_eq!(ann.get("/v1/unread").await.json(200)["total"], 0);
    assert_eq!(bob.get(&format!("{here}/last-message")).await.json(200), second);

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
    server.stop().await;
}

#[tokio::test]
async fn messages_and_conversations_are_read_in_pages() {
    let Chat { server, bob_id, ann, bob, id, here, first, second, .. } = Chat::start().await;
    let page = bob.get(&format!("{here}/messages?limit=1")).await.json(200);
    assert_eq!(page, json!({ "messages": [second], "next_before": 2 }));
    let rest = bob.get(&format!("{here}/messages?before=2&limit=5")).await.json(200);
    assert_eq!(rest, json!({ "messages": [first], "next_before": null }));

    ann.conversation(&[bob_id]).await;
    let page = bob.get("/v1/conversations?limit=1").await.json(200);
    has_exactly(&page, &["conversations", "next_cursor"]);
    has_exactly(&page["conversations"][0], CONVERSATION);
    assert!(page["conversations"][0]["last_message"].is_null(), "{page}");
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = bob.get(&format!("/v1/conversations?cursor={cursor}")).await.json(200);
    assert_eq!((&page["conversations"][0]["id"], &page["next_cursor"]), (&json!(id), &Value::Null));
    assert_eq!(page["conversations"][0]["last_message"], second);
    server.stop().await;
}

#[tokio::test]
async fn the_records_outlive_the_host_and_the_caches_are_rebuilt_from_them() {
    let Chat { server, ann_id, bob_id, bob, id, here, second, .. } = Chat::start().await;
    bob.post(&format!("{here}/read"), json!({})).await.json(200);
    let folder = server.stop().await;
    let server = Server::serve_in(folder, &roost_tests::components(), &[]).await;
    let (ann, bob) = (server.user(ann_id), server.user(bob_id));
    assert_eq!(bob.get(&format!("{here}/last-message")).await.json(200), second);
    ann.post(&format!("{here}/messages"), json!({ "content": "again" })).await.json(201);
    assert_eq!(bob.get("/v1/unread").await.json(200)["conversations"][id.to_string()], 1);
    server.stop().await;
}

#[tokio::test]
async fn contacts_and_presence_answer_as_documented() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, eve_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let (ann, bob, eve) = (server.user(ann_id), server.user(bob_id), server.user(eve_id));
    let service = server.service();

    for (one, other) in [(&ann, bob_id), (&bob, ann_id)] {
        one.put(&format!("/v1/contacts/{other}")).await.done();
        one.put(&format!("/v1/contacts/{other}")).await.done();
    }
    assert_eq!(ann.get("/v1/contacts").await.json(200), json!({ "contacts": [bob_id] }));

    let heartbeat = ann.post("/v1/presence", json!({ "connection": "kiosk" })).await.json(200);
    has_exactly(&heartbeat, &["beat_interval_ms"]);
    for asked_by in [&service, &bob] {
        let seen = asked_by.get(&format!("/v1/presence/{ann_id}")).await.json(200);
        has_exactly(&seen, &["user", "online", "last_seen", "generation"]);
        assert!(
            seen["online"] == true && seen["last_seen"].is_string() && seen["generation"].as_u64() > Some(0),
            "{seen}"
        );
    }
    assert_eq!(eve.get(&format!("/v1/presence/{ann_id}")).await.json(200), unseen(ann_id), "a stranger sees nothing");
    let asked = json!({ "users": [eve_id, ann_id, eve_id] });
    let found = service.post("/v1/presence/query", asked).await.json(200);
    let printed: Vec<_> = found["presence"].as_array().unwrap().iter().map(|p| (&p["user"], &p["online"])).collect();
    let (ann_json, eve_json) = (json!(ann_id), json!(eve_id));
    assert_eq!(printed, [(&eve_json, &json!(false)), (&ann_json, &json!(true)), (&eve_json, &json!(false))]);
    send(ann.request("DELETE", "/v1/presence").json(&json!({ "connection": "kiosk" }))).await.done();
    ann.delete(&format!("/v1/contacts/{bob_id}")).await.done();
    assert_eq!(ann.get("/v1/contacts").await.json(200), json!({ "contacts": [] }));
    server.stop().await;
}

/// The presence of a user as somebody sees it to whom it is not shown.
fn unseen(user: Uuid) -> Value {
    json!({ "user": user, "online": false, "last_seen": null, "generation": 0 })
}

#[tokio::test]
async fn a_blocked_user_sees_nothing_and_writes_only_in_groups() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, eve_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let (ann, bob) = (server.user(ann_id), server.user(bob_id));
    server.befriend(ann_id, bob_id).await;
    ann.post("/v1/presence", json!({ "connection": "kiosk" })).await.json(200);
    let pair = ann.conversation(&[bob_id]).await;
    let group = ann.conversation(&[bob_id, eve_id]).await;
    let write = async |conversation: &str| {
        bob.post(&format!("/v1/conversations/{conversation}/messages"), json!({ "content": "x" })).await
    };

    ann.put(&format!("/v1/blocks/{bob_id}")).await.done();
    let seen = bob.get(&format!("/v1/presence/{ann_id}")).await.json(200);
    assert_eq!(seen, unseen(ann_id), "a blocked user sees nothing");
    write(&pair).await.problem(403, "blocked");
    write(&group).await.json(201);
    bob.post("/v1/conversations", json!({ "members": [ann_id] })).await.problem(403, "blocked");
    ann.delete(&format!("/v1/blocks/{bob_id}")).await.done();
    write(&pair).await.json(201);
    server.stop().await;
}

#[tokio::test]
async fn a_service_adds_and_removes_members_and_acts_for_users() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, eve_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let (ann, bob, eve) = (server.user(ann_id), server.user(bob_id), server.user(eve_id));
    let service = server.service();
    let conversation = ann.conversation(&[bob_id]).await;
    let messages = format!("/v1/conversations/{conversation}/messages");
    bob.post(&messages, json!({ "content": "x" })).await.json(201);

    let member = format!("/v1/conversations/{conversation}/members/{eve_id}");
    let added = service.put(&member).await.json(200);
    assert_eq!(added["members"].as_array().unwrap().len(), 3);
    assert_eq!(eve.get(&messages).await.json(200)["messages"], json!([]), "a new member sees only later messages");
    bob.delete(&member).await.problem(403, "forbidden");
    service.delete(&member).await.done();
    eve.get(&messages).await.problem(403, "not_a_member");

    let on_behalf = service.request("GET", "/v1/unread").header("roost-user", ann_id.to_string());
    let (answered, own) = (send(on_behalf).await.json(200), ann.get("/v1/unread").await.json(200));
    assert_eq!((&answered, &answered["total"]), (&own, &json!(1)));
    server.stop().await;
}

#[tokio::test]
async fn sync_answers_the_state_and_what_was_missed() {
    let server = Server::start(&[]).await;
    let [ann_id, bob_id, eve_id] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let (ann, bob) = (server.user(ann_id), server.user(bob_id));
    ann.post("/v1/presence", json!({ "connection": "kiosk" })).await.json(200);
    let pair = ann.conversation(&[bob_id]).await;
    let group = ann.conversation(&[bob_id, eve_id]).await;
    let write = async |conversation: &str| {
        bob.post(&format!("/v1/conversations/{conversation}/messages"), json!({ "content": "x" })).await.json(201)
    };
    write(&pair).await;
    write(&group).await;

    let state = ann.get("/v1/sync").await.json(200);
    has_exactly(&state, &["epoch", "offset", "presence", "unread", "conversations", "next_cursor"]);
    assert_eq!(state["unread"]["total"], 2);
    let since = position(&state);
    write(&pair).await;
    let missed = ann.get(&format!("/v1/sync?since={since}")).await.json(200);
    let names: Vec<_> = missed["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(names, ["message.new"], "{missed}");
    assert_eq!(missed["conversations"].as_array().unwrap().len(), 1, "only what was missed: {missed}");
    let lost = ann.get("/v1/sync?since=elsewhere:5").await.json(200);
    has_exactly(&lost["resync"], &["reason", "epoch", "offset"]);
    server.stop().await;
}

#[tokio::test]
async fn every_route_that_is_described_is_documented() {
    let server = Server::start(&[]).await;
    let ann = server.user(Uuid::new_v4());
    let described = ann.get("/v1/openapi.json").await.json(200);
    for path in ["/v1/unread", "/v1/conversations/{id}/messages", "/v1/presence/query", "/v1/socket"] {
        assert!(described["paths"].get(path).is_some(), "{path} is not described");
    }
    let documentation = include_str!("../../../../docs/api.md");
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
