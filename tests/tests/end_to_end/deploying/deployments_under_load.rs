//! Functions are deployed again and again on two hosts with Redis while clients chat: good versions, broken builds,
//! versions that trap, and canaries that an operator or the hosts themselves take back. No client notices, and the
//! ledger proves that nothing is lost.

use std::fs;

use roost_tests::components;
use roost_tests::deployment::{DEPLOYED_WITHIN, deploy, detail, post, stamped, version, version_of, withdrawal_of};
use roost_tests::eventually::eventually_within;
use roost_tests::fleet::{Fleet, patient_settings_for};
use roost_tests::ledger::{Ledger, RedisCounters};
use roost_tests::postgres::PostgresServer;
use roost_tests::redis::RedisServer;
use roost_tests::server::Server;
use serde_json::Value;
use uuid::Uuid;

const HOSTS: usize = 2;
/// The benchmark `swaps` makes many more.
const ROUNDS: u8 = 6;
const NAMES: [&str; 3] = ["messaging", "presence", "unread"];
/// After one in so many rounds, a canary of the guest `lifecycle` traps.
const BROKEN_CANARY_EVERY: u8 = 3;

/// Deploys a canary that traps, and calls it until every host has taken it back by itself.
async fn broken_canary_is_taken_back(fleet: &Fleet, round: u8) {
    let outcome = deploy(fleet.host(0), version(&format!("0.2.{round}"), "traps"), "canary=50").await;
    for host in [fleet.host(0), fleet.host(1)] {
        eventually_within(DEPLOYED_WITHIN, &format!("the canary is taken back: {outcome}"), async || {
            for _ in 0..10 {
                version_of(host, Uuid::new_v4()).await;
            }
            let shown = detail(host).await;
            shown["serving"]["canary"] == Value::Null && withdrawal_of(&shown, &outcome["revision"]).is_some()
        })
        .await;
        assert_eq!(version_of(host, Uuid::new_v4()).await.as_deref(), Some("0.1.0"), "{}", host.log());
    }
}

/// Waits until both hosts run what was deployed. The answer of a deployment waits for this, but not for ever.
async fn followed_everywhere(host: &Server, name: &str, outcome: &Value) {
    eventually_within(DEPLOYED_WITHIN, &format!("every host follows {outcome}"), async || {
        let detail = host.operator().get(&format!("/functions/{name}?cluster=true")).await.json(200);
        let runs = |report: &Value| {
            let function = &report["functions"][name];
            assert_eq!(function["problem"], Value::Null, "{report}");
            match outcome["canary"] {
                Value::Null => function["digest"] == outcome["digest"],
                _ => function["canary"]["revision"] == outcome["revision"],
            }
        };
        let hosts = detail["hosts"].as_array().unwrap();
        hosts.len() >= HOSTS && hosts.iter().all(runs)
    })
    .await;
}

#[tokio::test]
async fn no_client_notices_that_functions_are_deployed_on_every_host() {
    let redis = RedisServer::start().await;
    let mut settings = patient_settings_for(&redis.url(), &PostgresServer::shared().database().await);
    settings.push(("deployments.canary_calls_min".to_owned(), "20".to_owned()));
    let fleet = Fleet::start_identical(HOSTS, &settings).await;
    let ledger = Ledger::open("functions deployed again and again", fleet.addresses()).await;
    deploy(fleet.host(0), version("0.1.0", "ok"), "").await;
    for round in 0..ROUNDS {
        for (index, name) in NAMES.into_iter().enumerate() {
            let host = fleet.host((usize::from(round) + index) % HOSTS);
            let component = fs::read(components().join(format!("{name}.wasm"))).unwrap();
            let broken = component[..component.len() / 2].to_vec();
            let (status, problem) = post(&host.operator(), "/functions", broken).await;
            assert_eq!(status, 422, "{problem}");
            let (status, problem) = post(&host.operator(), "/functions", version("0.1.0", "undescribed")).await;
            assert_eq!((status, &problem["code"]), (422, &"describe_failed".into()), "{problem}");
            let is_canary = round % 2 == 1;
            let path = if is_canary { "/functions?canary=50" } else { "/functions" };
            let (status, outcome) = post(&host.operator(), path, stamped(&component, &[round])).await;
            assert_eq!(status, 200, "{outcome}\n{}", host.log());
            followed_everywhere(host, name, &outcome).await;
            if is_canary {
                ledger.wait_for_acknowledgements(4).await;
                let (status, outcome) =
                    post(&host.operator(), &format!("/functions/{name}/rollback"), Vec::new()).await;
                assert_eq!(status, 200, "{outcome}");
            }
        }
        if round % BROKEN_CANARY_EVERY == BROKEN_CANARY_EVERY - 1 {
            broken_canary_is_taken_back(&fleet, round).await;
        }
        ledger.wait_for_flow().await;
    }
    let tally = ledger.finish(&mut RedisCounters::standalone(redis.client().await)).await;
    assert!(tally.is_undisturbed(), "{tally}");
}
