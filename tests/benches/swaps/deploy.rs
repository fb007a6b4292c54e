//! Deploys components, and measures the time from before the upload until every host of the cluster serves it.

use std::fs;
use std::time::{Duration, Instant};

use roost_tests::components;
use roost_tests::deployment::{post, stamped};
use roost_tests::fleet::Fleet;
use serde_json::Value;
use uuid::Uuid;

use crate::{Arguments, HOSTS};

/// A change of deployments that a host has made.
pub struct Deployed {
    /// The time from before the request until its answer.
    pub took: Duration,
    /// Whether every host serves what was deployed.
    pub by_all_hosts: bool,
}

/// Makes deployments on all hosts in turn.
pub struct Deployer<'a> {
    pub fleet: &'a Fleet,
    /// A part of all stamps of this run, so that no cache knows the components from an earlier run.
    run: Uuid,
}

impl<'a> Deployer<'a> {
    pub fn new(fleet: &'a Fleet) -> Self {
        Self { fleet, run: Uuid::new_v4() }
    }

    /// A component with a stamp of this run, a different one for each number.
    pub fn stamped(&self, component: &[u8], number: u32) -> Vec<u8> {
        stamped(component, &[&self.run.as_bytes()[..], &number.to_le_bytes()[..]].concat())
    }

    /// Deploys a component on one host.
    pub async fn deploy(&self, host: usize, component: Vec<u8>, query: &str) -> Deployed {
        self.change(host, &format!("/functions?{query}"), component).await
    }

    /// Returns to the revision before, or takes the canary back.
    pub async fn roll_back(&self, host: usize, name: &str) -> Deployed {
        self.change(host, &format!("/functions/{name}/rollback"), Vec::new()).await
    }

    async fn change(&self, host: usize, path: &str, body: Vec<u8>) -> Deployed {
        let operator = self.fleet.host(host).operator();
        let began = Instant::now();
        let (status, outcome) = post(&operator, path, body).await;
        let took = began.elapsed();
        assert_eq!(status, 200, "{outcome}\n{}", self.fleet.host(host).log());
        Deployed { took, by_all_hosts: is_done_by_all(&outcome) }
    }

    /// Deploys a component that no host knows, again and again, until this time is over.
    pub async fn compile_for(&self, span: Duration, arguments: &Arguments) -> Vec<Duration> {
        let file = arguments.component.clone().unwrap_or_else(|| components().join("messaging.wasm"));
        let component = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut query = "allow_removals=true".to_owned();
        if !arguments.allow_grants.is_empty() {
            query += &format!("&allow_grants={}", arguments.allow_grants);
        }
        let (began, mut took) = (Instant::now(), Vec::new());
        while began.elapsed() < span {
            // Swaps have the numbers from the other end.
            let number = u32::MAX - u32::try_from(took.len()).expect("few deployments");
            let deployed = self.deploy(took.len() % HOSTS, self.stamped(&component, number), &query).await;
            took.push(deployed.took);
        }
        took
    }
}

fn is_done_by_all(outcome: &Value) -> bool {
    let hosts = outcome["hosts"].as_array().expect("the outcome lists the hosts");
    hosts.len() == HOSTS && hosts.iter().all(|host| host["done"] == true)
}
