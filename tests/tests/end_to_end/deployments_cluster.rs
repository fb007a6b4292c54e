//! Deployments on several hosts: every host follows, also one that was down, a Redis that comes back empty is given them
//! again, and a host that cannot run a revision says so.

use std::fs;

use roost_tests::deployment::{
    DEPLOYED_WITHIN, changed, deploy, detail, folder_of_components, post, version, version_of,
};
use roost_tests::eventually::eventually_within;
use roost_tests::fleet::{Fleet, settings_for};
use roost_tests::postgres::PostgresServer;
use roost_tests::redis::{Data, RedisCluster, RedisServer};
use roost_tests::server::Server;
use roost_tests::{components, guests};
use serde_json::Value;
use uuid::Uuid;

/// Two hosts on the store at this URL.
async fn fleet(store: &str) -> Fleet {
    let settings = settings_for(store, &PostgresServer::shared().database().await);
    Fleet::start_identical(2, &settings).await
}

/// Waits until this version answers on all of these hosts.
async fn converged(fleet: &Fleet, hosts: &[usize], version: Option<&str>) {
    eventually_within(DEPLOYED_WITHIN, &format!("{version:?} on {hosts:?}"), async || {
        for host in hosts {
            if version_of(fleet.host(*host), Uuid::new_v4()).await.as_deref() != version {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test]
async fn a_deployment_reaches_every_host_and_those_that_were_down() {
    let redis = RedisServer::start().await;
    hosts_follow(&mut fleet(&redis.url()).await).await;
}

#[tokio::test]
async fn a_deployment_reaches_every_host_of_a_redis_cluster_too() {
    let redis = RedisCluster::start_without_failovers().await;
    hosts_follow(&mut fleet(&redis.url()).await).await;
}

/// Deploys on one host, on one while the other is down, and takes a deployment back on the other.
async fn hosts_follow(fleet: &mut Fleet) {
    let first = deploy(fleet.host(0), version("0.1.0", "ok"), "").await;
    let hosts = first["hosts"].as_array().unwrap();
    assert!(hosts.len() == 2 && hosts.iter().all(|host| host["done"] == true), "{first}");
    converged(fleet, &[0, 1], Some("0.1.0")).await;
    fleet.kill(1).await;
    deploy(fleet.host(0), version("0.2.0", "ok"), "").await;
    fleet.revive(1).await;
    converged(fleet, &[0, 1], Some("0.2.0")).await;
    changed(fleet.host(1), "POST", "/rollback", "").await;
    converged(fleet, &[0, 1], Some("0.1.0")).await;
    let listed = fleet.host(0).operator().get("/functions?cluster=true").await.json(200);
    let serving = |host: &Value| host["functions"]["lifecycle"]["revision"].clone();
    let hosts: Vec<Value> = listed["hosts"].as_array().unwrap().iter().map(serving).collect();
    assert!(hosts.len() >= 2 && hosts.iter().take(2).all(|revision| *revision == 1), "{listed}");
}

#[tokio::test]
async fn of_two_deployments_at_once_both_are_made_or_one_is_superseded() {
    let redis = RedisServer::start().await;
    let fleet = fleet(&redis.url()).await;
    let (one, other) = (fleet.host(0).operator(), fleet.host(1).operator());
    let both = tokio::join!(
        post(&one, "/functions", version("0.1.0", "ok")),
        post(&other, "/functions", version("0.2.0", "ok")),
    );
    let mut statuses = [both.0.0, both.1.0];
    statuses.sort_unstable();
    assert!(statuses == [200, 200] || statuses == [200, 409], "{both:?}");
    let kept = detail(fleet.host(0)).await;
    let revisions = kept["revisions"].as_array().unwrap().len();
    assert_eq!(revisions, statuses.iter().filter(|status| **status == 200).count(), "{kept}");
    let serving = kept["serving"]["version"].as_str().unwrap().to_owned();
    converged(&fleet, &[0, 1], Some(&serving)).await;
}

#[tokio::test]
async fn a_store_that_comes_back_empty_is_given_the_deployments_again() {
    let redis = RedisServer::start().await;
    let mut fleet = fleet(&redis.url()).await;
    deploy(fleet.host(0), version("0.1.0", "ok"), "").await;
    deploy(fleet.host(0), version("0.2.0", "ok"), "").await;
    redis.restart(Data::Empty).await;
    converged(&fleet, &[0, 1], Some("0.2.0")).await;
    // A host that lost its own copy gets it from the store, which has it again.
    eventually_within(DEPLOYED_WITHIN, "another deployment is possible", async || {
        post(&fleet.host(1).operator(), "/functions", version("0.3.0", "ok")).await.0 == 200
    })
    .await;
    converged(&fleet, &[0, 1], Some("0.3.0")).await;
    redis.kill();
    assert_eq!(
        version_of(fleet.host(1), Uuid::new_v4()).await.as_deref(),
        Some("0.3.0"),
        "losing Redis loses no function"
    );
    fleet.kill(0).await;
    redis.restart(Data::Empty).await;
    fleet.revive(0).await;
    converged(&fleet, &[0, 1], Some("0.3.0")).await;
}

#[tokio::test]
async fn a_host_that_cannot_run_a_revision_reports_it_and_keeps_what_it_runs() {
    let redis = RedisServer::start().await;
    let settings = settings_for(&redis.url(), &PostgresServer::shared().database().await);
    let set: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    // The routes of the guest belong to a function that only the second host has.
    let fewer = folder_of_components();
    for name in ["unread.wasm", "typing.wasm"] {
        fs::remove_file(fewer.path().join(name)).unwrap();
    }
    let (able, unable) = (Server::serve(fewer.path(), &set).await, Server::serve(&components(), &set).await);
    let thief = fs::read(guests().join("route-thief.wasm")).unwrap();
    let outcome = deploy(&able, thief, "").await;
    let hosts = outcome["hosts"].as_array().unwrap();
    let problem = hosts.iter().find_map(|host| host["problem"].as_str()).unwrap_or_else(|| panic!("{outcome}"));
    assert!(problem.contains("of the function"), "{problem}");
    assert_eq!(hosts.iter().filter(|host| host["done"] == true).count(), 1, "{outcome}");
    unable.user(Uuid::new_v4()).get("/v1/unread").await.json(200);
    let (status, _) =
        post(&able.operator(), &format!("/functions/{}/rollback", outcome["name"].as_str().unwrap()), Vec::new()).await;
    assert_eq!(status, 404, "there is no earlier revision");
}
