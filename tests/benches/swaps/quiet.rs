//! Deployments on hosts that have nothing else to do: how long it takes until every host serves a new version, and
//! until every host serves a version that it has compiled before.

use std::fs;

use roost_tests::components;

use crate::HOSTS;
use crate::deploy::Deployer;
use crate::swapping::{DeploymentTimes, NAMES, Preparation};

/// The stamps of this phase are not those of the others.
const FIRST_NUMBER: u32 = 1_000_000;

/// Deploys so many versions of each function, each two times.
pub async fn deploy(deployer: &Deployer<'_>, count: u32) -> DeploymentTimes {
    let mut times = DeploymentTimes::new();
    for name in NAMES {
        let component = fs::read(components().join(format!("{name}.wasm"))).unwrap();
        for preparation in [Preparation::Compiled, Preparation::Cached] {
            for number in 0..count {
                let stamped = deployer.stamped(&component, FIRST_NUMBER + number);
                let deployed = deployer.deploy(number as usize % HOSTS, stamped, "").await;
                times.entry((name, preparation)).or_default().push(deployed.took);
            }
        }
    }
    times
}
