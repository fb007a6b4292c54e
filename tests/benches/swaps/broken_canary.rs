//! Canaries of the guest `lifecycle` that trap, which the hosts take back by themselves, and the clients that call the
//! guest all the time. Calls that fail while such a canary may serve are counted apart from all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roost_tests::client::Client;
use roost_tests::deployment::{self, detail, version, withdrawal_of};
use roost_tests::eventually::{DEADLINE, eventually, retry_until_ok};
use roost_tests::fleet::Fleet;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::interval;
use uuid::Uuid;

use crate::HOSTS;
use crate::chat::{Failures, answer};

/// The number of users who call the guest. About half of them are in the cohorts of the canary.
const CALLERS: usize = 20;
/// The interval of each of them.
const PACE: Duration = Duration::from_millis(100);

/// What the callers and the deployments of broken canaries share.
#[derive(Default)]
struct Signals {
    end: AtomicBool,
    /// Whether a broken canary may serve, on any host.
    is_broken: AtomicBool,
    calls: AtomicU64,
    failed_on_canary: AtomicU64,
    failures: Failures,
}

/// The running callers of the guest.
pub struct LifecycleCallers {
    signals: Arc<Signals>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the callers experienced.
pub struct LifecycleCalls {
    pub calls: u64,
    /// Calls that failed while a broken canary could serve them.
    pub failed_on_canary: u64,
    pub failed: u64,
    pub first_failure: Option<String>,
}

/// How broken canaries ended.
#[derive(Default)]
pub struct BrokenCanaries {
    /// The time from the answer of each deployment until no host served the canary any more.
    pub withdrawn_after: Vec<Duration>,
    /// Canaries that no host took back.
    pub not_withdrawn: u32,
}

impl LifecycleCallers {
    /// Deploys a good version, and starts the callers, on all hosts.
    pub async fn start(fleet: &Fleet) -> Self {
        deployment::deploy(fleet.host(0), version("0.1.0", "ok"), "").await;
        // A host that has just started may not be known yet to the one that answers the deployment.
        for index in 0..HOSTS {
            eventually("every host serves the guest", async || {
                deployment::version_of(fleet.host(index), Uuid::new_v4()).await.is_some()
            })
            .await;
        }
        let signals = Arc::<Signals>::default();
        let tasks = (0..CALLERS).map(|number| {
            let client = fleet.host(number % HOSTS).user(Uuid::new_v4());
            tokio::spawn(call(client, Arc::clone(&signals)))
        });
        let tasks = tasks.collect();
        Self { tasks, signals }
    }

    /// Deploys a canary that traps, for half of the users, and waits until the hosts have taken it back.
    pub async fn deploy_broken(&self, fleet: &Fleet, number: u32, canaries: &mut BrokenCanaries) {
        let host = fleet.host(number as usize % HOSTS);
        self.signals.is_broken.store(true, Ordering::SeqCst);
        let outcome = deployment::deploy(host, version(&format!("0.2.{number}"), "traps"), "canary=50").await;
        let deployed = Instant::now();
        let withdrawn = retry_until_ok(DEADLINE, async || withdrawn_by_all(fleet, &outcome["revision"]).await).await;
        if withdrawn.is_ok() {
            canaries.withdrawn_after.push(deployed.elapsed());
        } else {
            canaries.not_withdrawn += 1;
            // Without a canary, this is refused: there is no revision before the only good one.
            deployment::change(host, "POST", "/rollback", "").await;
        }
        self.signals.is_broken.store(false, Ordering::SeqCst);
    }

    /// Stops the callers.
    pub async fn stop(self) -> LifecycleCalls {
        self.signals.end.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("a caller does not panic");
        }
        LifecycleCalls {
            calls: self.signals.calls.load(Ordering::SeqCst),
            failed_on_canary: self.signals.failed_on_canary.load(Ordering::SeqCst),
            failed: self.signals.failures.count(),
            first_failure: self.signals.failures.first(),
        }
    }
}

/// An error if any host still serves this canary, or does not know that it was taken back because of its calls.
async fn withdrawn_by_all(fleet: &Fleet, revision: &Value) -> Result<(), ()> {
    for index in 0..HOSTS {
        let host = fleet.host(index);
        let shown = detail(host).await;
        if shown["serving"]["canary"] != Value::Null || withdrawal_of(&shown, revision).is_none() {
            return Err(());
        }
    }
    Ok(())
}

async fn call(client: Client, signals: Arc<Signals>) {
    let mut ticks = interval(PACE);
    while !signals.end.load(Ordering::SeqCst) {
        ticks.tick().await;
        let was_broken = signals.is_broken.load(Ordering::SeqCst);
        let answered = answer(client.request("GET", "/v1/lifecycle/version")).await;
        signals.calls.fetch_add(1, Ordering::SeqCst);
        // A call counts for the canary if the canary could serve it at any time between its start and its end.
        let could_be_canary = was_broken || signals.is_broken.load(Ordering::SeqCst);
        match answered {
            Ok((200, _)) => {}
            // This is how a host answers a call whose function trapped.
            Ok((502, problem)) if could_be_canary && problem["code"] == "function_failed" => {
                signals.failed_on_canary.fetch_add(1, Ordering::SeqCst);
            }
            other => signals.failures.add(format!("the guest was answered with {other:?}")),
        }
    }
}
