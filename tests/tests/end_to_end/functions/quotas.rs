//! Quotas: a function that uses what it is granted without measure is stopped, is told by what, and takes nothing from
//! the others. The space `app` is a function's own.

use std::fs;
use std::time::{Duration, Instant};

use roost_tests::client::Answer;
use roost_tests::eventually::{eventually, eventually_true};
use roost_tests::metrics::Metrics;
use roost_tests::redis::RedisServer;
use roost_tests::server::Server;
use roost_tests::{components, guests};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

const BUILT_IN: [&str; 6] = ["contacts", "last-message", "messaging", "presence", "typing", "unread"];

/// A host with the built-in functions, the greedy one, and one that keeps notes.
async fn host(set: &[(&str, &str)]) -> Server {
    host_in(tempfile::tempdir().unwrap(), set).await
}

/// As `host`, in a folder that may hold what another host has left.
async fn host_in(data: TempDir, set: &[(&str, &str)]) -> Server {
    let folder = tempfile::tempdir().unwrap();
    for name in BUILT_IN {
        fs::copy(components().join(name).with_extension("wasm"), folder.path().join(name).with_extension("wasm"))
            .unwrap();
    }
    for name in ["greedy.wasm", "conformance.wasm"] {
        fs::copy(guests().join(name), folder.path().join(name)).unwrap();
    }
    let allowed = [
        ("function.greedy.grants.all", "true"),
        ("function.conformance.grants.all", "true"),
        ("function.greedy.deadline_ms", "20000"),
        ("shutdown_timeout_ms", "30000"),
    ];
    Server::serve_in(data, folder.path(), &[&allowed, set].concat()).await
}

async fn call(server: &Server, way: &str) -> Answer {
    server.anonymous().get(&format!("/v1/greedy/{way}")).await
}

/// How often something succeeded, and what ended it.
async fn spree(server: &Server, way: &str) -> (u64, String) {
    let answer = call(server, way).await.json(200);
    (answer["succeeded"].as_u64().unwrap(), answer["error"].as_str().unwrap().to_owned())
}

/// A user writes to another, who is told the right counter.
async fn built_in_functions_answer(server: &Server) {
    let (ann, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let (from, to) = (server.user(ann), server.user(ben));
    let conversation = from.conversation(&[ann, ben]).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    from.post(&path, json!({ "content": "still here" })).await.json(201);
    assert_eq!(to.get("/v1/unread").await.json(200)["total"], 1);
}

async fn note(server: &Server) -> Value {
    server.anonymous().get("/v1/notes").await.json(200)["app"].clone()
}

#[tokio::test]
async fn each_quota_of_a_call_stops_the_function_with_its_reason() {
    let quotas = [
        ("ask", "store_operations_max", "5000", 10),
        ("read", "store_read_bytes_max", "1200000", 20),
        ("write", "store_written_bytes_max", "1300000", 21),
        ("publish", "publications_max", "1000", 10),
        ("publish-with", "publications_max", "1000", 10),
        ("records", "records_operations_max", "30", 30),
    ];
    let keys: Vec<String> = quotas.iter().map(|(_, key, ..)| format!("function.greedy.{key}")).collect();
    let set: Vec<(&str, &str)> = keys.iter().zip(quotas).map(|(key, (_, _, value, _))| (key.as_str(), value)).collect();
    let server = host(&set).await;
    for (way, key, _, expected) in quotas {
        for _ in 0..2 {
            let (succeeded, error) = spree(&server, way).await;
            assert_eq!(succeeded, expected, "{way}, in each call anew: {error}");
            assert!(error.contains(&format!("let the operator raise function.greedy.{key}")), "{way}: {error}");
        }
    }
    let metrics = Metrics::of(&server.operator()).await;
    let refused = ["function=\"greedy\"", "revision=\"", "quota=\"records_operations_max\""];
    assert_eq!(metrics.sum("roost_function_quota_refusals_total", &refused), 2.0);
    built_in_functions_answer(&server).await;
}

#[tokio::test]
async fn a_function_that_does_not_handle_a_refusal_fails_and_the_log_has_the_reason() {
    let server = host(&[("function.conformance.records_operations_max", "1")]).await;
    let answer = server.anonymous().post("/v1/notes", json!({ "text": "kept" })).await;
    let problem = answer.problem(500, "quota_exceeded");
    assert!(!answer.text.contains("records_operations_max"), "{problem}");
    let reason = "let the operator raise function.conformance.records_operations_max";
    eventually_true("the reason in the log", || server.log().contains(reason)).await;
}

#[tokio::test]
async fn log_lines_beyond_the_bytes_of_a_call_are_dropped() {
    let server = host(&[("function.greedy.log_bytes_max", "10000")]).await;
    for round in 1..=2 {
        assert_eq!(call(&server, "log").await.json(200), 200);
        let lines = || server.log().lines().filter(|line| line.contains("yyyyyyyy")).count();
        eventually_true("the lines of this call", || lines() >= 10 * round).await;
        assert_eq!(lines(), 10 * round);
    }
}

#[tokio::test]
async fn calls_beyond_the_rate_are_refused_and_others_are_answered() {
    let server = host(&[("function.greedy.calls_per_second_max", "5")]).await;
    let began = Instant::now();
    let answers = futures_util::future::join_all((0..60).map(|_| call(&server, "idle"))).await;
    let took = began.elapsed();
    let admitted = answers.iter().filter(|answer| answer.status == 200).count();
    // The bucket holds five calls, and five more for each second that the calls have taken.
    let most = 5 + 5 * (took.as_secs() as usize + 1);
    assert!((5..=most).contains(&admitted), "{admitted} in {took:?}");
    let refused = answers.iter().find(|answer| answer.status != 200).expect("a call was refused");
    let problem = refused.problem(503, "busy");
    assert_eq!(problem["retry"], true);
    assert_eq!(refused.headers["retry-after"], "1");
    built_in_functions_answer(&server).await;
    eventually("the function answers again", async || call(&server, "idle").await.status == 200).await;
}

/// Fills the space of the greedy function, which ends at its bound.
async fn fills_up_and_recovers(server: &Server) {
    let (succeeded, error) = spree(server, "fill").await;
    assert!((90..=100).contains(&succeeded), "{succeeded} items of 10512 bytes fit into 1 MiB: {error}");
    assert!(error.contains("function.greedy.app_bytes_max"), "{error}");
    assert_eq!(spree(server, "write").await.0, 0, "another call and another owner are refused as well");
    let kept = server.anonymous().post("/v1/notes", json!({ "text": "kept" })).await.json(200);
    assert_eq!(kept["app"], "kept", "another function has room");
    built_in_functions_answer(server).await;
    assert_eq!(call(server, "clear").await.json(200), json!({ "Ok": null }));
    let (succeeded, _) = spree(server, "fill-briefly").await;
    assert!((90..=100).contains(&succeeded), "what was deleted was given back: {succeeded}");
    eventually("what expired is given back", async || spree(server, "fill-briefly").await.0 > 90).await;
}

#[tokio::test]
async fn a_function_fills_only_its_own_room() {
    let server = host(&[("function.greedy.app_bytes_max", "1048576")]).await;
    fills_up_and_recovers(&server).await;
}

#[tokio::test]
async fn a_function_fills_only_its_own_room_in_redis() {
    let redis = RedisServer::start().await;
    let server = host(&[("function.greedy.app_bytes_max", "1048576"), ("store_url", &redis.url())]).await;
    fills_up_and_recovers(&server).await;
}

#[tokio::test]
async fn a_function_keeps_only_so_many_bytes_of_documents_over_all_owners() {
    let server = host(&[("function.greedy.documents_bytes_max", "1048576")]).await;
    let (succeeded, error) = spree(&server, "hoard").await;
    assert_eq!(succeeded, 99, "99 documents of 10521 bytes fit into 1 MiB: {error}");
    assert!(error.contains("let the operator raise function.greedy.documents_bytes_max"), "{error}");
    let metrics = Metrics::of(&server.operator()).await;
    let refused = ["function=\"greedy\"", "quota=\"documents_bytes_max\""];
    assert_eq!(metrics.sum("roost_function_quota_refusals_total", &refused), 1.0);
    let kept = server.anonymous().post("/v1/notes", json!({ "text": "kept" })).await.json(200);
    assert_eq!(kept["document"], json!({ "text": "kept" }), "another function has room");

    // Also a restart forgets nothing of it.
    let folder = server.stop().await;
    let server = host_in(folder, &[("function.greedy.documents_bytes_max", "1048576")]).await;
    assert_eq!(call(&server, "discard").await.json(200), 10);
    let (succeeded, error) = spree(&server, "hoard").await;
    assert_eq!(succeeded, 10, "what was deleted was given back: {error}");
    assert!(error.contains("VersionMismatch"), "{error}");
    built_in_functions_answer(&server).await;
}

async fn items_of_two_functions_are_apart(server: &Server) {
    server.anonymous().post("/v1/notes", json!({ "text": "theirs" })).await.json(200);
    assert_eq!(call(server, "peek").await.json(200), 0);
    assert_eq!(call(server, "keep").await.json(200), "mine");
    assert_eq!(note(server).await, "theirs", "an item of the same name was not touched");
    assert_eq!(call(server, "peek").await.json(200), 1, "it finds its own");
}

#[tokio::test]
async fn two_functions_do_not_see_each_others_items() {
    let server = host(&[]).await;
    items_of_two_functions_are_apart(&server).await;
    let redis = RedisServer::start().await;
    let server = host(&[("store_url", &redis.url())]).await;
    items_of_two_functions_are_apart(&server).await;
    let mut keys: Vec<String> = redis.ask("KEYS app:*").await;
    keys.sort();
    assert_eq!(keys, ["app:conformance:shard:0:note", "app:greedy:shard:0:note"]);
}

#[tokio::test]
async fn events_that_clients_trust_cannot_be_forged() {
    let server = host(&[]).await;
    let outcomes = call(&server, "forge").await.json(200);
    let outcomes = outcomes.as_array().unwrap();
    assert_eq!(outcomes.len(), 12);
    for outcome in outcomes {
        assert!(outcome.as_str().unwrap().starts_with("Denied(\"publishing `"), "{outcome}");
    }
    assert_eq!(spree(&server, "publish").await.0, 100, "an event with a name of its own is published");
}

#[tokio::test]
async fn many_endless_calls_of_one_function_leave_room_for_the_others() {
    let server = host(&[("function.greedy.store_operations_max", "1000000000")]).await;
    let client = server.anonymous();
    let stuck = async {
        // The calls that are not refused end at the deadline of the function.
        loop {
            futures_util::future::join_all((0..120).map(|_| client.get("/v1/greedy/ask"))).await;
        }
    };
    let answered = tokio::time::timeout(Duration::from_secs(60), async {
        for _ in 0..5 {
            built_in_functions_answer(&server).await;
        }
    });
    tokio::select! {
        () = stuck => {}
        answered = answered => answered.expect("the others are answered while the endless calls go on"),
    }
}
