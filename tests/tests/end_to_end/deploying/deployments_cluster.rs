//! Deployments on several hosts: every host follows, also one that was down, a Redis that comes back empty is given
//! them again, the calls of a canary are counted over all hosts, and a host that cannot run a revision says so and
//! tries again.

use std::fs;

use roost_tests::deployment::{
    DEPLOYED_WITHIN, changed, deploy, detail, folder_of_components, post, version, version_of, withdrawal_of,
};
use roost_tests::eventually::{eventually, eventually_true, eventually_within};
use roost_tests::fleet::{Fleet, Settings, settings_for};
use roost_tests::guests;
use roost_tests::postgres::PostgresServer;
use roost_tests::redis::{Data, RedisCluster, RedisServer};
use roost_tests::server::Server;
use serde_json::Value;
use uuid::Uuid;

/// The settings of hosts on the store at this URL.
async fn settings(store: &str) -> Settings {
    settings_for(store, &PostgresServer::shared().database().await)
}

/// Two hosts on the store at this URL.
async fn fleet(store: &str) -> Fleet {
    Fleet::start_identical(2, &settings(store).await).await
}

/// These settings and those of a host with this name, as a server takes them.
fn named<'s>(settings: &'s Settings, name: &'s str) -> Vec<(&'s str, &'s str)> {
    let settings = settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    settings.chain([("deployments.host_name", name)]).collect()
}

/// What the host with this name reports of a function, as another host shows it; null if nothing.
async fn reported(shown_by: &Server, host: &str, function: &str) -> Value {
    let listed = shown_by.operator().get("/functions?cluster=true").await.json(200);
    let report = listed["hosts"].as_array().unwrap().iter().find(|report| report["host"] == host);
    report.map_or(Value::Null, |report| report["functions"][function].clone())
}

/// Whether this text of a host's report has this part.
fn has(text: &Value, part: &str) -> bool {
    text.as_str().is_some_and(|text| text.contains(part))
}

/// Whether this version answers on this host; `None`: whether none does.
async fn serves(host: &Server, version: Option<&str>) -> bool {
    version_of(host, Uuid::new_v4()).await.as_deref() == version
}

/// Waits until this version answers on all of these hosts.
async fn converged(fleet: &Fleet, hosts: &[usize], version: Option<&str>) {
    eventually_within(DEPLOYED_WITHIN, &format!("{version:?} on {hosts:?}"), async || {
        for host in hosts {
            if !serves(fleet.host(*host), version).await {
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
async fn the_calls_of_a_canary_are_counted_over_all_hosts() {
    const CALLS: usize = 30;
    let redis = RedisServer::start().await;
    let mut settings = settings(&redis.url()).await;
    // More than the calls of one host, and fewer than those of both.
    settings.push(("deployments.canary_calls_min".to_owned(), "40".to_owned()));
    let fleet = Fleet::start_identical(2, &settings).await;
    deploy(fleet.host(0), version("0.1.0", "ok"), "").await;
    converged(&fleet, &[0, 1], Some("0.1.0")).await;
    let outcome = deploy(fleet.host(0), version("0.2.0", "traps"), "canary=100").await;
    let hosts = [fleet.host(0), fleet.host(1)];
    for host in hosts {
        eventually_within(DEPLOYED_WITHIN, "the canary serves on every host", async || {
            detail(host).await["serving"]["canary"]["revision"] == outcome["revision"]
        })
        .await;
    }
    for host in hosts {
        for _ in 0..CALLS {
            version_of(host, Uuid::new_v4()).await;
        }
    }
    for host in hosts {
        eventually_within(DEPLOYED_WITHIN, "the canary is taken back on every host", async || {
            withdrawal_of(&detail(host).await, &outcome["revision"]).is_some()
        })
        .await;
    }
    converged(&fleet, &[0, 1], Some("0.1.0")).await;
}

#[tokio::test]
async fn a_host_without_the_memory_for_a_revision_keeps_the_one_before() {
    let redis = RedisServer::start().await;
    let settings = settings(&redis.url()).await;
    let mut narrow_settings = named(&settings, "narrow");
    narrow_settings.push(("function.lifecycle.memory_bytes_max", "2000000"));
    let (wide, narrow) = (Server::start(&named(&settings, "wide")).await, Server::start(&narrow_settings).await);
    deploy(&wide, version("0.1.0", "ok"), "").await;
    eventually_within(DEPLOYED_WITHIN, "the second host follows", async || serves(&narrow, Some("0.1.0")).await).await;

    let outcome = deploy(&wide, version("0.2.0", "large"), "").await;
    let reason = "function.lifecycle.memory_bytes_max is 2000000; raise it";
    let of_narrow = outcome["hosts"].as_array().unwrap().iter().find(|host| host["host"] == "narrow").unwrap();
    assert!(of_narrow["done"] == false && has(&of_narrow["problem"], reason), "{outcome}");
    assert!(serves(&wide, Some("0.2.0")).await && serves(&narrow, Some("0.1.0")).await, "{}", narrow.log());
    eventually("the report of the host has the problem", async || {
        has(&reported(&wide, "narrow", "lifecycle").await["problem"], reason)
    })
    .await;
    let is_logged = |line: &str| line.contains("keeps what it runs") && line.contains(reason);
    eventually_true("the log of the host has the problem", || narrow.log().lines().any(is_logged)).await;
}

#[tokio::test]
async fn a_host_that_cannot_run_a_revision_reports_it_keeps_what_it_runs_and_tries_again() {
    let redis = RedisServer::start().await;
    let settings = settings(&redis.url()).await;
    // The routes of the guest belong to a function that only the second host has.
    let (fewer, all) = (folder_of_components(), folder_of_components());
    let taken = ["unread.wasm", "typing.wasm"];
    for name in taken {
        fs::remove_file(fewer.path().join(name)).unwrap();
    }
    let able = Server::serve(fewer.path(), &named(&settings, "able")).await;
    let unable = Server::serve(all.path(), &named(&settings, "unable")).await;
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

    eventually("the report of the host has the problem", async || {
        has(&reported(&able, "unable", "route-thief").await["problem"], "of the function")
    })
    .await;
    for name in taken {
        fs::remove_file(all.path().join(name)).unwrap();
    }
    let (status, removed) = post(&unable.operator(), "/reload", Vec::new()).await;
    assert_eq!(status, 200, "{removed}");
    eventually("the host has tried again and has no problem any more", async || {
        let report = reported(&able, "unable", "route-thief").await;
        report["problem"].is_null() && report["revision"] == outcome["revision"]
    })
    .await;
    unable.user(Uuid::new_v4()).get("/v1/unread").await.done();
}
