//! Changes while other hosts make some, too: the fence of the desired state, on a store that the tests play.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use roost_core::port::StoreError;
use tokio::sync::watch;

use super::desired::{ComponentRecord, RevisionRecord};
use super::*;
use crate::config::Sources;
use crate::runtime::{Engine, HostWorld, Options};

/// What the hosts share. Before each change that is tried, another host makes one of `races`.
struct RacedCluster {
    state: SyncMutex<DesiredState>,
    races: SyncMutex<Vec<DesiredState>>,
    is_away: AtomicBool,
    announced: watch::Sender<u64>,
}

impl RacedCluster {
    fn new(state: DesiredState) -> Arc<Self> {
        let (races, announced) = (SyncMutex::default(), watch::Sender::new(0));
        Arc::new(Self { state: SyncMutex::new(state), races, is_away: AtomicBool::new(false), announced })
    }

    fn answer<T: Send + 'static>(&self, answer: impl FnOnce() -> T) -> BoxFuture<'_, ClusterResult<T>> {
        let is_away = self.is_away.load(Ordering::Relaxed);
        let answer = if is_away { Err(StoreError::Unavailable { retry_after_ms: 100 }) } else { Ok(answer()) };
        Box::pin(std::future::ready(answer))
    }
}

impl ClusterDeployments for RacedCluster {
    fn state(&self) -> BoxFuture<'_, ClusterResult<Option<DesiredState>>> {
        self.answer(|| Some(self.state.lock().unwrap().clone()))
    }

    fn replace<'s>(&'s self, before: u64, next: &'s DesiredState) -> BoxFuture<'s, ClusterResult<bool>> {
        self.answer(|| {
            let mut state = self.state.lock().unwrap();
            if let Some(raced) = self.races.lock().unwrap().pop() {
                *state = raced;
            }
            let is_next = state.version == before;
            if is_next {
                *state = next.clone();
            }
            is_next
        })
    }

    fn component<'s>(&'s self, _: &'s str) -> BoxFuture<'s, ClusterResult<Option<Vec<u8>>>> {
        self.answer(|| None)
    }

    fn put_component<'s>(&'s self, _: &'s str, _: &'s [u8]) -> BoxFuture<'s, ClusterResult<()>> {
        self.answer(|| ())
    }

    fn keep_component<'s>(&'s self, _: &'s str) -> BoxFuture<'s, ClusterResult<bool>> {
        self.answer(|| true)
    }

    fn remove_component<'s>(&'s self, _: &'s str) -> BoxFuture<'s, ClusterResult<()>> {
        self.answer(|| ())
    }

    fn report<'s>(&'s self, _: &'s HostReport, _: &'s [String]) -> BoxFuture<'s, ClusterResult<()>> {
        self.answer(|| ())
    }

    fn reports(&self) -> BoxFuture<'_, ClusterResult<BTreeMap<String, HostReport>>> {
        self.answer(BTreeMap::new)
    }

    fn announcements(&self) -> watch::Receiver<u64> {
        self.announced.subscribe()
    }
}

/// A state of this version: `name` keeps a revision of this number, and `typing` one as well; both are undeployed.
fn state(version: u64, name: &str, revision: u64) -> DesiredState {
    let component = ComponentRecord {
        version: "1.0.0".into(),
        digest: "0".repeat(64),
        bytes: 100,
        deployed_at_ms: 0,
        allow_grants: String::new(),
    };
    let undeployed = |revision| DesiredFunction {
        revisions: vec![RevisionRecord { revision, component: component.clone(), withdrawn: None, replaced: None }],
        next_revision: revision + 1,
        ..DesiredFunction::default()
    };
    let mut functions = BTreeMap::from([("typing".to_owned(), undeployed(1))]);
    functions.insert(name.to_owned(), undeployed(revision));
    DesiredState { version, change: format!("change {version} of {name}"), functions }
}

/// A host that has followed nothing yet.
async fn host(cluster: &Arc<RacedCluster>, folder: &Path) -> Deployments {
    let world = HostWorld::for_tests().await;
    let store = world.store.clone();
    let options = Options::of_config(&Sources::default().load().unwrap());
    let functions = Functions::new(Engine::new().unwrap(), world, options).unwrap();
    let options = DeploymentOptions {
        folder: folder.to_owned(),
        functions_dir: folder.to_owned(),
        bytes_max: 1 << 20,
        canary: CanaryLimits { calls_min: 50, margin_percent: 5 },
        host: "host".to_owned(),
    };
    let cluster: Arc<dyn ClusterDeployments> = cluster.clone();
    let shared = DeploymentsShared {
        functions,
        archive: Archive::new(folder.to_owned()),
        cluster: Some(cluster),
        store,
        options,
        changing: Mutex::default(),
        followed: SyncMutex::default(),
    };
    Deployments { shared: Arc::new(shared) }
}

/// Undeploys `typing`, which is undeployed already: a change that needs no component. Returns the outcome, and the
/// version of the shared state afterwards.
async fn undeploy_during(races: Vec<DesiredState>) -> (Result<DeploymentOutcome, DeploymentError>, u64) {
    let folder = tempfile::tempdir().unwrap();
    let cluster = RacedCluster::new(state(1, "typing", 1));
    *cluster.races.lock().unwrap() = races;
    let outcome = host(&cluster, folder.path()).await.undeploy("typing", false).await;
    let version = cluster.state.lock().unwrap().version;
    (outcome, version)
}

#[tokio::test]
async fn a_change_of_another_function_is_followed_and_the_own_change_is_made_after_it() {
    let (outcome, version) = undeploy_during(vec![state(2, "presence", 1)]).await;
    let outcome = outcome.unwrap();
    assert_eq!((version, outcome.revision, outcome.hosts.len()), (3, None, 1), "{outcome:?}");
    assert!(outcome.hosts[0].done, "{outcome:?}");
}

#[tokio::test]
async fn a_change_is_superseded_by_one_of_the_same_function() {
    let (outcome, version) = undeploy_during(vec![state(2, "typing", 2)]).await;
    let error = outcome.unwrap_err();
    assert!(matches!(&error, DeploymentError::Superseded(name) if name == "typing"), "{error}");
    assert_eq!(version, 2, "the other change stays");
}

#[tokio::test]
async fn a_change_that_is_always_too_late_is_superseded_in_the_end() {
    // The last one is the first to come.
    let races = (2..2 + TRIES as u64).rev().map(|version| state(version, "presence", version)).collect();
    let (outcome, version) = undeploy_during(races).await;
    assert!(matches!(outcome, Err(DeploymentError::Superseded(_))), "{outcome:?}");
    assert_eq!(version, 1 + TRIES as u64);
}

#[tokio::test]
async fn a_change_without_the_store_is_refused_and_a_store_that_lost_the_state_is_given_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = RacedCluster::new(state(1, "typing", 1));
    let host = host(&cluster, folder.path()).await;
    host.undeploy("typing", false).await.unwrap();
    cluster.is_away.store(true, Ordering::Relaxed);
    let error = host.undeploy("typing", false).await.unwrap_err();
    assert!(matches!(error, DeploymentError::StoreUnavailable(_)), "{error}");
    assert_eq!(host.version(), 2, "the host goes on with what it follows");
    cluster.is_away.store(false, Ordering::Relaxed);
    *cluster.state.lock().unwrap() = DesiredState::default();
    host.undeploy("typing", false).await.unwrap();
    assert_eq!(cluster.state.lock().unwrap().version, 3);
}
