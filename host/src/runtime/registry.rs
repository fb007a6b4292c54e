//! The live functions: replaces and removes them while calls are in flight.
//!
//! Readers use immutable tables behind one atomic pointer. A change that is refused leaves the tables unchanged. Which
//! revisions are deployed, and whether they survive a restart, is decided in `deployments`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::sync::{Mutex, watch};

use super::allowance::Allowance;
use super::call::{CallError, Invocation, Reply};
use super::call_log::FunctionLogs;
use super::cohort::Cohort;
use super::engine::Engine;
use super::info::FunctionInfo;
use super::loader::{CheckedComponent, ComponentBytes, DeployError, DeployFailure, Loader, PreparedComponent};
use super::manifest::{Access, Hook, Method, Schedule};
use super::options::Options;
use super::routes::{Conflict, RouteLookup};
use super::serving::{Serving, Slots, remove_empty};
use super::socket_description::SocketDescription;
use super::state::HostWorld;
use super::subscriptions::Subscriptions;
use super::target::Target;
use crate::config::BUILT_IN;
use crate::ops::log::milliseconds;

/// The result of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deployed {
    /// The name of the function.
    pub name: String,
    /// The version in the manifest.
    pub version: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// The digest of the revision that served before; `None` if the function is new.
    pub replaced: Option<String>,
    /// Whether anything changed; `false` if exactly this component served already.
    pub changed: bool,
    /// The time until the revision served.
    #[serde(skip)]
    pub took: Duration,
}

/// A route and its description, for the OpenAPI document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documented {
    /// The name of the function.
    pub function: String,
    /// The HTTP method.
    pub method: Method,
    /// The path template.
    pub path: String,
    /// Who may call the route.
    pub access: Access,
    /// An OpenAPI operation object.
    pub operation: serde_json::Value,
}

/// A deployment of one function: the revisions that take precedence over the component of the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The deployed revision; `None`: the component of the folder serves, if there is one.
    pub live: Option<Target>,
    /// The canary, and the share of the users that it serves, in percent.
    pub canary: Option<(Target, u8)>,
}

/// What differs between the old and the new components of the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BaseChange {
    /// The functions that were not in the folder before.
    pub added: Vec<String>,
    /// The functions with another component than before.
    pub changed: Vec<String>,
    /// The functions that are no longer in the folder.
    pub removed: Vec<String>,
}

/// The live functions of a host. Clones share them.
#[derive(Clone)]
pub struct Functions {
    shared: Arc<Registry>,
}

struct Registry {
    loader: Loader,
    subscriptions: Subscriptions,
    serving: ArcSwap<Serving<Target>>,
    slots: SyncMutex<Slots<Target>>,
    /// Held while a component of the folder is prepared and placed, so that there is one at a time.
    deploying: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl Functions {
    /// A registry without functions. It fails only if the host cannot link its own imports, which no input causes.
    pub fn new(engine: Engine, world: HostWorld, options: Options) -> Result<Self, DeployError> {
        let subscriptions = world.subscriptions.clone();
        let loader = Loader::new(engine, world, options).map_err(|error| DeployError {
            source_name: "the contract".to_owned(),
            failure: DeployFailure::Link(format!("{error:#}")),
        })?;
        Ok(Self {
            shared: Arc::new(Registry {
                loader,
                subscriptions,
                serving: ArcSwap::from_pointee(Serving::empty()),
                slots: SyncMutex::default(),
                deploying: Mutex::default(),
                changed: watch::Sender::new(0),
            }),
        })
    }

    /// The logs of all functions.
    pub(crate) fn logs(&self) -> FunctionLogs {
        self.shared.loader.logs().clone()
    }

    /// To be called when the host begins to serve: from now on, compiling leaves time for requests.
    pub fn serving(&self) {
        self.shared.loader.serving();
    }

    /// Deploys every `*.wasm` file of a folder, in the order of their names. Functions that can be deployed serve even
    /// if others are refused.
    pub async fn load_dir(&self, folder: &Path) -> Result<Vec<Deployed>, Vec<DeployError>> {
        let paths = components(folder).await.map_err(|error| vec![error])?;
        let (mut deployed, mut errors) = (Vec::new(), Vec::new());
        for path in paths {
            match self.deploy_file(&path).await {
                Ok(done) => deployed.push(done),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(deployed) } else { Err(errors) }
    }

    /// Makes the functions of the folder equal to its `*.wasm` files: changed ones are replaced, new ones added,
    /// missing ones removed. If any file is refused, nothing changes.
    pub(crate) async fn reload_dir(&self, folder: &Path) -> Result<BaseChange, Vec<DeployError>> {
        let _deploying = self.shared.deploying.lock().await;
        let paths = components(folder).await.map_err(|error| vec![error])?;
        let (mut base, mut errors) = (BTreeMap::new(), Vec::new());
        for path in paths {
            let (source, bytes) = read(&path).await;
            let prepared = match bytes {
                Ok(bytes) => self.prepare(&source, bytes, Allowance::NOTHING).await,
                Err(error) => Err(error),
            };
            match prepared {
                Ok(target) => match base.entry(target.name().to_owned()) {
                    Entry::Vacant(entry) => drop(entry.insert(target)),
                    Entry::Occupied(entry) => {
                        let failure = DeployFailure::NameTaken { name: entry.key().clone() };
                        errors.push(DeployError { source_name: source, failure });
                    }
                },
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        self.replace_base(&base).map_err(|conflict| {
            let source_name = folder.display().to_string();
            vec![DeployError { source_name, failure: conflict.into() }]
        })
    }

    fn replace_base(&self, base: &BTreeMap<String, Target>) -> Result<BaseChange, Conflict> {
        let mut change = BaseChange::default();
        self.update(None, |slots| {
            for name in base.keys().filter(|name| slots.get(*name).is_none_or(|slot| slot.base.is_none())) {
                change.added.push(name.clone());
            }
            for (name, slot) in slots.iter_mut() {
                match (&slot.base, base.get(name)) {
                    (Some(old), Some(new)) if old.target != *new => change.changed.push(name.clone()),
                    (Some(_), None) => change.removed.push(name.clone()),
                    _ => {}
                }
                slot.base = None;
            }
            for (name, target) in base {
                slots.entry(name.clone()).or_default().base = Some(target.described());
            }
        })?;
        tracing::info!(?change, "the functions of the folder were read again");
        Ok(change)
    }

    /// Deploys one file of the folder.
    pub async fn deploy_file(&self, path: &Path) -> Result<Deployed, DeployError> {
        let (source, bytes) = read(path).await;
        self.deploy(&source, bytes?).await
    }

    /// Deploys a component of the folder. It replaces the function of the same name, if there is one. Errors name it
    /// `source`. Calls in flight finish on the revision that they started on.
    pub async fn deploy(&self, source: &str, bytes: Vec<u8>) -> Result<Deployed, DeployError> {
        let began = Instant::now();
        let _deploying = self.shared.deploying.lock().await;
        let target = self.prepare(source, bytes, Allowance::NOTHING).await?;
        let replaced = self.slots().get(target.name()).and_then(|slot| Some(slot.base.as_ref()?.target.clone()));
        let done = deployed(&target, replaced.as_ref(), began);
        if !done.changed {
            return Ok(done);
        }
        let name = target.name().to_owned();
        let placed = self.update(Some(&name), |slots| {
            slots.entry(name.clone()).or_default().base = Some(target.described());
        });
        placed.map_err(|conflict| refused(source, conflict.into()))?;
        tracing::info!(
            function = done.name,
            version = done.version,
            revision = target.revision(),
            replaced = replaced.as_ref().map(Target::revision),
            took_ms = milliseconds(done.took),
            "function deployed"
        );
        Ok(done)
    }

    /// Makes a revision that is ready to serve, and does not let it serve yet. If a revision of exactly this component
    /// is kept already, that one is returned. Besides what the configuration allows, it is allowed `by_deployer`.
    pub async fn prepare(&self, source: &str, bytes: Vec<u8>, by_deployer: Allowance) -> Result<Target, DeployError> {
        let component = self.check_component(source, move || ComponentBytes::of(bytes)).await?;
        if let Some(kept) = self.kept_with(source, component.digest(), by_deployer)? {
            return Ok(kept);
        }
        let prepared = self.prepare_component(source, &component).await?;
        self.new_revision(source, &prepared, by_deployer)
    }

    /// Checks a component before any work goes into it. `component` is called on a thread that may compute for long.
    pub(super) async fn check_component(
        &self,
        source: &str,
        component: impl FnOnce() -> ComponentBytes + Send + 'static,
    ) -> Result<CheckedComponent, DeployError> {
        self.shared.loader.check(component).await.map_err(|failure| refused(source, failure))
    }

    /// Does what takes long before a component can become a revision, and does not depend on its deployment.
    pub(super) async fn prepare_component(
        &self,
        source: &str,
        component: &CheckedComponent,
    ) -> Result<PreparedComponent, DeployError> {
        self.shared.loader.prepare(source, component).await.map_err(|failure| refused(source, failure))
    }

    /// Makes a revision of a prepared component. Besides what the configuration allows, it is allowed `by_deployer`.
    pub(super) fn new_revision(
        &self,
        source: &str,
        component: &PreparedComponent,
        by_deployer: Allowance,
    ) -> Result<Target, DeployError> {
        let revision = self.shared.loader.revision(component, by_deployer);
        revision.map(|revision| Target(Arc::new(revision))).map_err(|failure| refused(source, failure))
    }

    /// The kept revision of exactly this component, if it is allowed what it asks for.
    pub(super) fn kept_with(
        &self,
        source: &str,
        digest: &str,
        by_deployer: Allowance,
    ) -> Result<Option<Target>, DeployError> {
        let Some(kept) = self.kept(digest) else { return Ok(None) };
        // An earlier deployment may have allowed more than this one, which is what counts at the next start.
        self.shared.loader.grants(kept.manifest(), by_deployer).map_err(|failure| refused(source, failure))?;
        Ok(Some(kept))
    }

    /// The kept revision of exactly this component; `None` if there is none.
    pub(super) fn kept(&self, digest: &str) -> Option<Target> {
        let slots = self.slots();
        let found = slots.values().flat_map(|slot| slot.revisions()).find(|kept| kept.target.0.digest == digest);
        found.map(|kept| kept.target.clone())
    }

    /// Checks whether these deployments fit together with each other and with the other functions.
    pub fn check(&self, placements: &BTreeMap<String, Placement>) -> Result<(), Conflict> {
        let mut slots = self.slots().clone();
        place(&mut slots, placements);
        Serving::of(&slots, newest(placements)).map(drop)
    }

    /// Lets these deployments serve, in one step. A function without an entry is left as it is.
    pub fn place(&self, placements: &BTreeMap<String, Placement>) -> Result<(), Conflict> {
        self.update(newest(placements), |slots| place(slots, placements))
    }

    /// Changes the slots, unless the result has a conflict. Revisions that no slot keeps any more are retired.
    fn update(&self, newest: Option<&str>, change: impl FnOnce(&mut Slots<Target>)) -> Result<(), Conflict> {
        let mut slots = self.slots();
        let mut next = slots.clone();
        change(&mut next);
        remove_empty(&mut next);
        let serving = Serving::of(&next, newest)?;
        self.shared.subscriptions.replace(serving.stable().functions().map(|(manifest, _)| manifest.as_ref()));
        self.shared.serving.store(Arc::new(serving));
        let before = std::mem::replace(&mut *slots, next);
        let is_kept =
            |target: &Target| slots.values().flat_map(|slot| slot.revisions()).any(|kept| kept.target == *target);
        let retired = before.values().flat_map(|slot| slot.revisions()).filter(|old| !is_kept(&old.target));
        retired.for_each(|old| old.target.0.retire());
        drop(slots);
        self.shared.changed.send_modify(|version| *version += 1);
        Ok(())
    }

    fn slots(&self) -> MutexGuard<'_, Slots<Target>> {
        self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a function of the folder; `false` if none has this name. A deployment of the same name stays.
    pub async fn remove(&self, name: &str) -> bool {
        let _deploying = self.shared.deploying.lock().await;
        if self.slots().get(name).is_none_or(|slot| slot.base.is_none()) {
            return false;
        }
        let removed = self.update(None, |slots| {
            if let Some(slot) = slots.get_mut(name) {
                slot.base = None;
            }
        });
        // Without one of them, the other functions cannot conflict.
        if removed.is_ok() {
            tracing::info!(function = name, "function removed");
        }
        removed.is_ok()
    }

    /// The revision of a function that serves everybody whom its canary does not serve.
    pub fn stable(&self, name: &str) -> Option<Target> {
        self.slots().get(name).and_then(|slot| Some(slot.stable()?.target.clone()))
    }

    /// The component of the folder that has this function.
    pub fn base(&self, name: &str) -> Option<Target> {
        self.slots().get(name).and_then(|slot| Some(slot.base.as_ref()?.target.clone()))
    }

    /// The deployment of a function; empty if it has none.
    pub(crate) fn placement(&self, name: &str) -> Placement {
        let slots = self.slots();
        let Some(slot) = slots.get(name) else { return Placement::default() };
        Placement {
            live: slot.deployed.as_ref().map(|live| live.target.clone()),
            canary: slot.canary.as_ref().map(|(canary, percent)| (canary.target.clone(), *percent)),
        }
    }

    /// Whether some users see other revisions than the others.
    pub(crate) fn has_canaries(&self) -> bool {
        self.shared.serving.load().has_canaries()
    }

    /// Looks up a path, given as it is in the request line, without its query.
    pub fn route(&self, method: &str, path: &str, cohort: Cohort) -> RouteLookup<Target> {
        self.shared.serving.load().table(cohort).route(method, path)
    }

    /// The function that answers socket frames of this type.
    pub fn message(&self, name: &str, cohort: Cohort) -> Option<Target> {
        self.shared.serving.load().table(cohort).message(name)
    }

    /// The functions that declare this hook, in the order of their names. Canaries take no part in hooks.
    pub fn hooks(&self, hook: Hook) -> Vec<Target> {
        self.shared.serving.load().stable().hooks(hook)
    }

    /// The schedules of all functions. Canaries have no ticks.
    pub fn schedules(&self) -> Vec<(Target, Schedule)> {
        self.shared.serving.load().stable().schedules()
    }

    /// The functions that are called for publications, in the order of their names. Canaries are not.
    pub fn subscribers(&self) -> Vec<Target> {
        self.shared.serving.load().stable().subscribers()
    }

    /// A counter that grows with every change of the live functions.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// The live functions, in the order of their names.
    pub fn list(&self) -> Vec<FunctionInfo> {
        let serving = self.shared.serving.load();
        serving.stable().functions().map(|(_, target)| target.info()).collect()
    }

    /// All routes with their descriptions, in the order of the functions.
    pub fn openapi(&self) -> Vec<Documented> {
        let serving = self.shared.serving.load();
        let routes = serving.stable().functions().flat_map(|(manifest, _)| {
            manifest.routes.iter().map(|route| Documented {
                function: manifest.name.clone(),
                method: route.method,
                path: route.path.clone(),
                access: route.access,
                operation: route.operation.clone(),
            })
        });
        routes.collect()
    }

    /// What the functions say of their frames and events, those that come with Roost first.
    pub(crate) fn socket_descriptions(&self) -> Vec<SocketDescription> {
        let serving = self.shared.serving.load();
        let mut functions: Vec<_> = serving.stable().functions().map(|(manifest, _)| manifest).collect();
        functions.sort_by_key(|manifest| !BUILT_IN.contains(&manifest.name.as_str()));
        functions.into_iter().map(|manifest| manifest.socket.clone()).collect()
    }

    /// Makes one call within the limits of the function.
    pub async fn call(&self, target: &Target, invocation: Invocation) -> Result<Reply, CallError> {
        target.0.call(invocation).await
    }
}

fn place(slots: &mut Slots<Target>, placements: &BTreeMap<String, Placement>) {
    for (name, placement) in placements {
        let slot = slots.entry(name.clone()).or_default();
        slot.deployed = placement.live.as_ref().map(Target::described);
        slot.canary = placement.canary.as_ref().map(|(canary, percent)| (canary.described(), *percent));
    }
}

/// The function that a conflict is reported for, if only one is placed.
fn newest(placements: &BTreeMap<String, Placement>) -> Option<&str> {
    placements.keys().next().map(String::as_str).filter(|_| placements.len() == 1)
}

/// The name of a file, which errors use, and its bytes.
async fn read(path: &Path) -> (String, Result<Vec<u8>, DeployError>) {
    let source = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = tokio::fs::read(path).await.map_err(|error| unreadable(&source, &error));
    (source, bytes)
}

async fn components(folder: &Path) -> Result<Vec<PathBuf>, DeployError> {
    let name = folder.display().to_string();
    let failed = |error: std::io::Error| unreadable(&name, &error);
    let mut listing = tokio::fs::read_dir(folder).await.map_err(failed)?;
    let mut paths = Vec::new();
    while let Some(entry) = listing.next_entry().await.map_err(failed)? {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn unreadable(source: &str, error: &std::io::Error) -> DeployError {
    refused(source, DeployFailure::Unreadable(error.to_string()))
}

fn refused(source: &str, failure: DeployFailure) -> DeployError {
    DeployError { source_name: source.to_owned(), failure }
}

fn deployed(target: &Target, replaced: Option<&Target>, began: Instant) -> Deployed {
    let revision = &target.0;
    Deployed {
        name: revision.manifest.name.clone(),
        version: revision.manifest.version.clone(),
        digest: revision.digest.clone(),
        replaced: replaced.map(|target| target.0.digest.clone()),
        changed: replaced != Some(target),
        took: began.elapsed(),
    }
}
