//! Components that are prepared by all hosts before it is decided whether they are deployed: a host that has done so
//! does not do it again, a component that is refused leaves nothing, and each host decides by its own settings.

use std::fs;

use roost_tests::deployment::{DEPLOYED_WITHIN, deploy, refused, stamped, version, version_of};
use roost_tests::eventually::eventually_within;
use roost_tests::fleet::settings_for;
use roost_tests::guests;
use roost_tests::postgres::PostgresServer;
use roost_tests::redis::RedisServer;
use roost_tests::server::Server;
use serde_json::Value;
use uuid::Uuid;

/// A host with this name on this Redis and these records, which logs what it prepares. `setting` is one more.
async fn host(name: &str, (redis, records): (&RedisServer, &str), setting: Option<(&str, &str)>) -> Server {
    let shared = settings_for(&redis.url(), records);
    let shared = shared.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let own = [("deployments.host_name", name), ("log", "info,roost::runtime=debug")];
    Server::start(&shared.chain(own).chain(setting).collect::<Vec<_>>()).await
}

/// What a host has prepared since its start: the digest of the component, and what the log calls it.
fn prepared(host: &Server) -> Vec<(String, String)> {
    let log = host.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let prepared = lines.filter(|line| line["message"] == "component prepared");
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
    prepared.map(|line| (text(&line, "digest"), text(&line, "source"))).collect()
}

/// Whether a host has prepared a component that was only announced.
fn has_prepared_candidate(host: &Server) -> bool {
    prepared(host).iter().any(|(_, source)| source == "a candidate")
}

async fn serves(host: &Server, version: &str) {
    eventually_within(DEPLOYED_WITHIN, &format!("{version} serves"), async || {
        version_of(host, Uuid::new_v4()).await.as_deref() == Some(version)
    })
    .await;
}

/// The keys of components in Redis.
async fn shared_components(redis: &RedisServer) -> Vec<String> {
    redis.ask("KEYS deployments:component:*").await
}

#[tokio::test]
async fn an_announced_component_is_prepared_once_and_leaves_nothing_while_it_is_refused() {
    let redis = RedisServer::start().await;
    let records = PostgresServer::shared().database().await;
    let shared = (&redis, records.as_str());
    let (first, other) = (host("first", shared, None).await, host("other", shared, None).await);
    deploy(&first, version("0.1.0", "ok"), "").await;
    serves(&other, "0.1.0").await;
    let deployed = shared_components(&redis).await;
    assert_eq!(deployed.len(), 1, "{deployed:?}");

    // No host knows it, and it lacks a route of the version that serves.
    let smaller = stamped(&version("0.2.0", "smaller"), Uuid::new_v4().as_bytes());
    let before = prepared(&other).len();
    eventually_within(DEPLOYED_WITHIN, "the other host prepares what is announced", async || {
        let (status, code, reason) = refused(&first, smaller.clone(), "").await;
        assert_eq!((status, code.as_str()), (422, "removals_refused"), "{reason}");
        prepared(&other).len() > before
    })
    .await;
    assert_eq!(shared_components(&redis).await, deployed);
    serves(&other, "0.1.0").await;
    assert!(!other.log().contains("cannot run the deployed revision"), "{}", other.log());

    let outcome = deploy(&first, smaller, "allow_removals=true").await;
    serves(&other, "0.2.0").await;
    let digest = outcome["digest"].as_str().unwrap();
    let sources: Vec<String> =
        prepared(&other).into_iter().filter(|(prepared, _)| prepared == digest).map(|(_, source)| source).collect();
    assert!(!sources.is_empty() && sources.iter().all(|source| source == "a candidate"), "{sources:?}");
    assert_eq!(shared_components(&redis).await.len(), 2);
    let kept: i64 = redis.ask(&format!("TTL deployments:component:{digest}")).await;
    assert_eq!(kept, -1, "what a deployment names does not expire");
}

#[tokio::test]
async fn a_host_that_has_prepared_a_component_decides_itself_what_it_is_allowed() {
    let redis = RedisServer::start().await;
    let records = PostgresServer::shared().database().await;
    let shared = (&redis, records.as_str());
    let generous = host("generous", shared, Some(("function.watcher.grants.all", "true"))).await;
    let strict = host("strict", shared, None).await;
    let watcher = stamped(&fs::read(guests().join("watcher.wasm")).unwrap(), Uuid::new_v4().as_bytes());
    let serves = async |host: &Server| host.anonymous().get("/v1/watcher").await.status == 200;
    eventually_within(DEPLOYED_WITHIN, "the strict host prepares and refuses it", async || {
        let outcome = deploy(&generous, watcher.clone(), "").await;
        let hosts = outcome["hosts"].as_array().unwrap();
        let problem = hosts.iter().find(|host| host["host"] == "strict").and_then(|host| host["problem"].as_str());
        problem.is_some_and(|problem| problem.contains("not allowed by configuration"))
            && has_prepared_candidate(&strict)
    })
    .await;
    assert!(serves(&generous).await && !serves(&strict).await, "{}", strict.log());
    deploy(&generous, watcher, "allow_grants=all").await;
    eventually_within(DEPLOYED_WITHIN, "the strict host is allowed it, too", async || serves(&strict).await).await;
}

#[tokio::test]
async fn what_others_announce_on_the_channel_is_not_trusted() {
    let redis = RedisServer::start().await;
    let records = PostgresServer::shared().database().await;
    let shared = (&redis, records.as_str());
    let (first, other) = (host("first", shared, None).await, host("other", shared, None).await);
    let digest = "0".repeat(64);
    redis.ask::<i64>(&format!("HSET deployments:component:{digest} 0 text parts 1")).await;
    for text in ["../state", digest.as_str()] {
        redis.ask::<i64>(&format!("PUBLISH deployments:candidate {text}")).await;
    }
    deploy(&first, version("0.1.0", "ok"), "").await;
    serves(&other, "0.1.0").await;
    other.operator().get("/readyz").await.json(200);
}
