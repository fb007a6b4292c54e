//! Changes while other hosts make some, too: the fence of the desired state, and components that are announced before
//! they are deployed, on a store that the tests play.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use roost_core::port::StoreError;
use tokio::sync::{broadcast, watch};

use super::desired::{ComponentRecord, RevisionRecord};
use super::*;
use crate::config::{SigningKeys, Sources};
use crate::runtime::loader::digest;
use crate::runtime::{Allowance, DeployFailure, Engine, HostWorld, Options, signature};

/// A component that compiles, and is refused then because it has no handler.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// What the hosts share. Before each change that is tried, another host makes one of `races`.
struct RacedCluster {
    state: SyncMutex<DesiredState>,
    races: SyncMutex<Vec<DesiredState>>,
    components: SyncMutex<BTreeMap<String, SharedComponent>>,
    is_away: AtomicBool,
    announced: watch::Sender<u64>,
    candidates: broadcast::Sender<String>,
}

#[derive(Default)]
struct SharedComponent {
    bytes: Vec<u8>,
    is_kept: bool,
    /// How often a host has read it.
    reads: usize,
}

impl RacedCluster {
    fn new(state: DesiredState) -> Arc<Self> {
        Arc::new(Self {
            state: SyncMutex::new(state),
            races: SyncMutex::default(),
            components: SyncMutex::default(),
            is_away: AtomicBool::new(false),
            announced: watch::Sender::new(0),
            candidates: broadcast::Sender::new(CANDIDATES_MAX),
        })
    }

    /// Another host has written [`COMPONENT`]. Returns its digest.
    fn with_component(&self) -> String {
        let digest = digest(COMPONENT);
        let shared = SharedComponent { bytes: COMPONENT.to_vec(), ..SharedComponent::default() };
        self.components.lock().unwrap().insert(digest.clone(), shared);
        digest
    }

    /// How often hosts have read the component with this digest.
    fn reads(&self, digest: &str) -> usize {
        self.components.lock().unwrap()[digest].reads
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

    fn component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<Option<Vec<u8>>>> {
        self.answer(|| {
            let mut components = self.components.lock().unwrap();
            components.get_mut(digest).map(|shared| {
                shared.reads += 1;
                shared.bytes.clone()
            })
        })
    }

    fn put_component<'s>(&'s self, digest: &'s str, bytes: &'s [u8]) -> BoxFuture<'s, ClusterResult<()>> {
        self.answer(|| {
            let mut components = self.components.lock().unwrap();
            components.entry(digest.to_owned()).or_default().bytes = bytes.to_vec();
        })
    }

    fn discard_component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<()>> {
        self.answer(|| self.components.lock().unwrap().retain(|known, shared| known != digest || shared.is_kept))
    }

    fn announce_candidate<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<()>> {
        self.answer(|| {
            assert!(self.components.lock().unwrap().contains_key(digest), "it is announced once it is there");
            let _ = self.candidates.send(digest.to_owned());
        })
    }

    fn keep_component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<bool>> {
        self.answer(|| {
            let mut components = self.components.lock().unwrap();
            components.get_mut(digest).map(|shared| shared.is_kept = true).is_some()
        })
    }

    fn remove_component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<()>> {
        self.answer(|| drop(self.components.lock().unwrap().remove(digest)))
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

    fn candidates(&self) -> broadcast::Receiver<String> {
        self.candidates.subscribe()
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

/// What is recorded of a component with these bytes.
pub(super) fn component_record(bytes: &[u8]) -> ComponentRecord {
    ComponentRecord {
        version: "1.0.0".into(),
        digest: digest(bytes),
        bytes: bytes.len() as u64,
        deployed_at_ms: 0,
        allow_grants: String::new(),
    }
}

/// A state that desires [`COMPONENT`] as the first revision of `typing`.
fn state_with_component(version: u64) -> DesiredState {
    let change = DeploymentChange::Deploy(component_record(COMPONENT), None);
    let state = DesiredState { version: version - 1, ..DesiredState::default() };
    state.after("typing", &change, format!("change {version}")).unwrap()
}

/// A host that has followed nothing yet.
async fn host(cluster: &Arc<RacedCluster>, folder: &Path) -> Deployments {
    host_with(cluster, folder, SigningKeys::default()).await
}

/// As [`host`], with keys of which one must have signed each component.
async fn host_with(cluster: &Arc<RacedCluster>, folder: &Path, signing_keys: SigningKeys) -> Deployments {
    let world = HostWorld::for_tests().await;
    let store = world.store.clone();
    let options = Options { signing_keys, ..Options::of_config(&Sources::default().load().unwrap()) };
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
        candidates: Candidates::default(),
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

/// What a host is sent to deploy.
fn upload() -> DeployRequest {
    DeployRequest {
        source: "typing.wasm".to_owned(),
        bytes: COMPONENT.to_vec(),
        canary: None,
        allow_removals: false,
        allow_grants: (Allowance::NOTHING, String::new()),
        probe: None,
    }
}

/// The number of components in the folder of a host.
fn archived(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "wasm")).count()
}

/// Why a deployment was refused because of its component.
fn failure(error: DeploymentError) -> DeployFailure {
    match error {
        DeploymentError::Component(error) => error.failure,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_component_is_announced_before_it_is_prepared_and_leaves_nothing_when_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = RacedCluster::new(DesiredState::default());
    let host = host(&cluster, folder.path()).await;
    let mut announced = cluster.candidates();
    let error = host.deploy(upload(), &|_| {}).await.unwrap_err();
    assert_eq!(failure(error), DeployFailure::NoHandler);
    assert_eq!(announced.try_recv().unwrap(), digest(COMPONENT));
    assert!(cluster.components.lock().unwrap().is_empty(), "the shared store has it no more");
    assert_eq!((archived(folder.path()), host.version()), (0, 0));

    host.prepare_candidate(&digest(COMPONENT)).await;
    assert_eq!(archived(folder.path()), 0, "the host does not follow its own announcement");
}

#[tokio::test]
async fn a_refused_component_that_a_deployment_names_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = RacedCluster::new(state_with_component(1));
    cluster.with_component();
    let host = host(&cluster, folder.path()).await;
    host.latest().await.unwrap();
    assert_eq!(archived(folder.path()), 1);
    host.deploy(upload(), &|_| {}).await.unwrap_err();
    assert_eq!((archived(folder.path()), cluster.components.lock().unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_component_without_a_valid_signature_is_not_announced() {
    let folder = tempfile::tempdir().unwrap();
    let (_, public) = signature::generate_keys();
    let mut keys = SigningKeys::default();
    assert!(keys.add(public.as_bytes()));
    let cluster = RacedCluster::new(DesiredState::default());
    let host = host_with(&cluster, folder.path(), keys).await;
    let mut announced = cluster.candidates();
    let error = host.deploy(upload(), &|_| {}).await.unwrap_err();
    assert_eq!(failure(error), DeployFailure::SignatureMissing);
    assert!(announced.try_recv().is_err() && cluster.components.lock().unwrap().is_empty());

    // Another host needs no signatures, and announces it.
    let digest = cluster.with_component();
    host.prepare_candidate(&digest).await;
    assert!(host.shared.candidates.prepared(&digest).await.is_none(), "each host decides with its own keys");
    assert_eq!(archived(folder.path()), 0);
}

#[tokio::test]
async fn an_announced_component_that_cannot_be_prepared_is_tried_again_when_it_is_deployed() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = RacedCluster::new(DesiredState::default());
    let host = host(&cluster, folder.path()).await;
    let digest = cluster.with_component();
    for _ in 0..2 {
        host.prepare_candidate(&digest).await;
        assert_eq!(cluster.reads(&digest), 1, "it is announced again, and not tried again");
    }
    assert!(host.followed().problems.is_empty(), "nobody has deployed it");
    *cluster.state.lock().unwrap() = state_with_component(1);
    host.latest().await.unwrap();
    let problem = host.followed().problems["typing"].clone();
    assert!(problem.is_permanent && problem.reason.contains("does not export"), "{problem:?}");
    assert_eq!(host.version(), 1);
}

#[tokio::test]
async fn what_is_announced_and_is_no_digest_or_not_in_the_store_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = RacedCluster::new(DesiredState::default());
    let host = host(&cluster, folder.path()).await;
    for announced in &[String::new(), "../state".to_owned(), "A".repeat(64), "0".repeat(64)] {
        host.prepare_candidate(announced).await;
        assert!(host.shared.candidates.prepared(announced).await.is_none(), "{announced}");
    }
    cluster.is_away.store(true, Ordering::Relaxed);
    host.prepare_candidate(&digest(COMPONENT)).await;
    assert!(host.followed().problems.is_empty());
}
