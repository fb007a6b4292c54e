//! The phase of swaps: the functions `presence` and `messaging` in turn get new versions, canaries that an operator
//! takes back, and versions that were compiled before. Refused uploads and broken canaries come between them.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use roost_tests::components;
use roost_tests::deployment::{self, version};
use tokio::time::sleep;

use crate::HOSTS;
use crate::broken_canary::{BrokenCanaries, LifecycleCallers};
use crate::deploy::{Deployed, Deployer};

/// The functions that are swapped in turn.
pub const NAMES: [&str; 2] = ["presence", "messaging"];
/// The number of swaps after which the memory is read for the first time.
pub const WARM_SWAPS: u32 = 50;
/// Before the memory is read, the hosts have nothing but their clients for this time.
const MEMORY_PAUSE: Duration = Duration::from_secs(2);
/// Before one in so many swaps, uploads are refused.
const REFUSED_EVERY: u32 = 5;

/// Whether the hosts had to compile what was deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preparation {
    Compiled,
    Cached,
}

/// The times until all hosts served, by function.
pub type DeploymentTimes = BTreeMap<(&'static str, Preparation), Vec<Duration>>;

/// What was swapped, and how long it took.
#[derive(Default)]
pub struct Swaps {
    pub count: u32,
    /// Canaries that an operator took back.
    pub canaries: u32,
    pub refused: u32,
    pub broken: BrokenCanaries,
    /// Changes that not every host followed before they were answered.
    pub not_followed: u32,
    /// The time until all hosts served, by function.
    pub took: DeploymentTimes,
    /// The resident memory of each host in MiB after [`WARM_SWAPS`], if there were so many, and at the end.
    pub warm_mib: Option<[f64; HOSTS]>,
    pub end_mib: [f64; HOSTS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    NewVersion,
    /// A canary of half of the users, which an operator takes back.
    Canary,
    /// Back to the revision before.
    RollBack,
    /// The bytes of an earlier revision are uploaded again.
    Redeploy,
}

/// One swap of one function on one host.
#[derive(Clone, Copy, Debug)]
struct Swap {
    number: u32,
    function: usize,
    host: usize,
    change: Change,
}

impl Swap {
    /// The swap with this number. Functions alternate; after each pair, the hosts do.
    const fn plan(number: u32) -> Self {
        let pair = number / 2;
        let change = match pair % 10 {
            3 | 8 => Change::Canary,
            4 => Change::RollBack,
            9 => Change::Redeploy,
            _ => Change::NewVersion,
        };
        Self { number, function: number as usize % NAMES.len(), host: pair as usize % HOSTS, change }
    }

    /// For a redeployment: the swap that deployed the last version but one, three pairs before.
    const fn earlier(self) -> u32 {
        self.number - 6
    }
}

/// Makes the swaps one after the other.
pub struct Swapping<'a> {
    deployer: &'a Deployer<'a>,
    callers: &'a LifecycleCallers,
    components: [Vec<u8>; 2],
    swaps: Swaps,
}

impl<'a> Swapping<'a> {
    pub fn new(deployer: &'a Deployer<'a>, callers: &'a LifecycleCallers) -> Self {
        let read = |name: &str| fs::read(components().join(format!("{name}.wasm"))).unwrap();
        Self { deployer, callers, components: NAMES.map(read), swaps: Swaps::default() }
    }

    /// Makes so many swaps.
    pub async fn swap(mut self, count: u32, broken_every: u32) -> Swaps {
        self.swaps.count = count;
        for number in 0..count {
            let swap = Swap::plan(number);
            if number % REFUSED_EVERY == REFUSED_EVERY - 1 {
                self.upload_refused(swap).await;
            }
            self.change(swap).await;
            if number % broken_every == broken_every - 1 {
                self.callers.deploy_broken(self.deployer.fleet, number, &mut self.swaps.broken).await;
            }
            if number + 1 == WARM_SWAPS {
                self.swaps.warm_mib = Some(self.memory_mib().await);
            }
        }
        self.swaps.end_mib = self.memory_mib().await;
        self.swaps
    }

    async fn change(&mut self, swap: Swap) {
        let Swap { number, function, host, change } = swap;
        let (name, deployer) = (NAMES[function], self.deployer);
        let stamped = |number| deployer.stamped(&self.components[function], number);
        let (preparation, deployed) = match change {
            Change::NewVersion => (Preparation::Compiled, deployer.deploy(host, stamped(number), "").await),
            Change::Canary => (Preparation::Compiled, deployer.deploy(host, stamped(number), "canary=50").await),
            Change::RollBack => (Preparation::Cached, deployer.roll_back(host, name).await),
            Change::Redeploy => (Preparation::Cached, deployer.deploy(host, stamped(swap.earlier()), "").await),
        };
        self.note(name, preparation, &deployed);
        if change == Change::Canary {
            let back = deployer.roll_back(host, name).await;
            self.swaps.canaries += 1;
            self.swaps.not_followed += u32::from(!back.by_all_hosts);
        }
    }

    fn note(&mut self, name: &'static str, preparation: Preparation, deployed: &Deployed) {
        self.swaps.took.entry((name, preparation)).or_default().push(deployed.took);
        self.swaps.not_followed += u32::from(!deployed.by_all_hosts);
    }

    /// Uploads what must be refused: a broken build, and a version that traps.
    async fn upload_refused(&mut self, swap: Swap) {
        let component = &self.components[swap.function];
        let operator = self.deployer.fleet.host(swap.host).operator();
        for refused in [component[..component.len() / 2].to_vec(), version("0.1.0", "undescribed")] {
            let (status, problem) = deployment::post(&operator, "/functions", refused).await;
            assert_eq!(status, 422, "{problem}");
            self.swaps.refused += 1;
        }
    }

    async fn memory_mib(&self) -> [f64; HOSTS] {
        sleep(MEMORY_PAUSE).await;
        std::array::from_fn(|index| self.deployer.fleet.host(index).resident_kib() as f64 / 1_024.0)
    }
}
