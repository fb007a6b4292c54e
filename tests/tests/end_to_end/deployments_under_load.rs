//! Functions are deployed again and again on two hosts with Redis while clients chat: good versions, broken builds,
//! versions that trap, and canaries that are taken back. No client notices, and the ledger proves that nothing is lost.

use std::fs;

use roost_tests::components;
use roost_tests::deployment::version;
use roost_tests::fleet::{Fleet, patient_settings_for};
use roost_tests::ledger::{Ledger, RedisCounters};
use roost_tests::postgres::PostgresServer;
use roost_tests::redis::RedisServer;
use roost_tests::server::Server;
use serde_json::Value;

/// The benchmark `swaps` makes many more.
const ROUNDS: u8 = 6;
const NAMES: [&str; 3] = ["messaging", "presence", "unread"];

/// The same function with different bytes: one more custom section.
fn stamped(component: &[u8], stamp: u8) -> Vec<u8> {
    const NAME: &[u8] = b"\x05stamp";
    let length = u8::try_from(NAME.len() + 1).unwrap();
    [component, &[0, length], NAME, &[stamp]].concat()
}

async fn post(server: &Server, path: &str, body: Vec<u8>) -> (u16, Value) {
    let response = server.operator().request("POST", path).body(body).send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

#[tokio::test]
async fn no_client_notices_that_functions_are_deployed_on_every_host() {
    let redis = RedisServer::start().await;
    let settings = patient_settings_for(&redis.url(), &PostgresServer::shared().database().await);
    let fleet = Fleet::start_identical(2, &settings).await;
    let ledger = Ledger::open("functions deployed again and again", fleet.addresses()).await;
    for round in 0..ROUNDS {
        for (index, name) in NAMES.into_iter().enumerate() {
            let host = fleet.host((usize::from(round) + index) % 2);
            let component = fs::read(components().join(format!("{name}.wasm"))).unwrap();
            let broken = component[..component.len() / 2].to_vec();
            let (status, problem) = post(host, "/functions", broken).await;
            assert_eq!(status, 422, "{problem}");
            let (status, problem) = post(host, "/functions", version("0.1.0", "undescribed")).await;
            assert_eq!((status, &problem["code"]), (422, &"describe_failed".into()), "{problem}");
            let is_canary = round % 2 == 1;
            let path = if is_canary { "/functions?canary=50" } else { "/functions" };
            let (status, outcome) = post(host, path, stamped(&component, round)).await;
            assert_eq!(status, 200, "{outcome}\n{}", host.log());
            assert!(outcome["hosts"].as_array().unwrap().iter().all(|host| host["done"] == true), "{outcome}");
            if is_canary {
                ledger.wait_for_acknowledgements(4).await;
                let (status, outcome) = post(host, &format!("/functions/{name}/rollback"), Vec::new()).await;
                assert_eq!(status, 200, "{outcome}");
            }
        }
        ledger.wait_for_flow().await;
    }
    let tally = ledger.finish(&mut RedisCounters::standalone(redis.client().await)).await;
    assert!(tally.is_undisturbed(), "{tally}");
}
