//! The live functions: deploying, replacing and removing them while calls are in flight.
//!
//! Readers see one immutable table behind an atomic pointer. A deployment that is refused leaves the table as it was.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::sync::{Mutex, watch};

use super::call::{CallError, Invocation, Reply};
use super::engine::Engine;
use super::grants::Grants;
use super::loader::{DeployError, DeployFailure, Loader, digest};
use super::manifest::{Access, Hook, Method, Schedule};
use super::options::Options;
use super::revision::Revision;
use super::routes::{Conflict, RouteLookup, Table};
use super::state::HostWorld;

/// One revision of one function, to be called. Holding it keeps the revision alive.
#[derive(Clone)]
pub struct Target(Arc<Revision>);

impl Target {
    /// The function's name.
    pub fn name(&self) -> &str {
        &self.0.manifest.name
    }

    /// The first letters of the component's digest.
    pub fn revision(&self) -> &str {
        &self.0.identity.revision
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Target {}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name(), self.revision())
    }
}

/// What a deployment came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deployed {
    /// The function.
    pub name: String,
    /// Its version, as it says.
    pub version: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// The digest that served before; `None`: the function is new.
    pub replaced: Option<String>,
    /// `false`: exactly this component served already.
    pub changed: bool,
    /// Until it served.
    #[serde(skip)]
    pub took: Duration,
}

/// A live function, for operators.
#[derive(Clone, Debug, Serialize)]
pub struct FunctionInfo {
    /// Its name.
    pub name: String,
    /// Its version, as it says.
    pub version: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// Such as `GET /v1/presence/{user}`.
    pub routes: Vec<String>,
    /// Socket frame types.
    pub messages: Vec<String>,
    /// Life-cycle hooks.
    pub hooks: Vec<Hook>,
    /// Ticks.
    pub schedules: Vec<Schedule>,
    /// What it may do.
    pub grants: Grants,
    /// What it may use.
    pub limits: LimitsInfo,
    /// Calls that have not ended.
    pub in_flight: usize,
    /// Calls of this revision since it was deployed.
    pub calls: u64,
}

/// What a function may use, for operators.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "as in `FunctionConfig`")]
pub struct LimitsInfo {
    pub memory_bytes_max: usize,
    pub deadline_ms: u128,
    pub concurrency_max: usize,
    pub queue_max: usize,
    pub reply_bytes_max: usize,
    pub reuse: bool,
}

/// A route and its description, for the OpenAPI document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documented {
    /// Whose it is.
    pub function: String,
    /// The method.
    pub method: Method,
    /// The path template.
    pub path: String,
    /// Who may call it.
    pub access: Access,
    /// An OpenAPI operation object.
    pub operation: serde_json::Value,
}

/// The live functions of a host. Cheap to clone.
#[derive(Clone)]
pub struct Functions {
    inner: Arc<Inner>,
}

struct Inner {
    loader: Loader,
    table: ArcSwap<Table<Target>>,
    /// One deployment at a time looks at the table and replaces it.
    deploying: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl Functions {
    /// None yet. Fails only if the contract cannot be linked, which no input causes.
    pub fn new(engine: Engine, world: HostWorld, options: Options) -> Result<Self, DeployError> {
        let loader = Loader::new(engine, world, options).map_err(|error| DeployError {
            source_name: "the contract".to_owned(),
            fault: DeployFailure::Link(format!("{error:#}")),
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                loader,
                table: ArcSwap::from_pointee(Table::empty()),
                deploying: Mutex::default(),
                changed: watch::Sender::new(0),
            }),
        })
    }

    /// Deploys every `*.wasm` of a folder, by name. Those without a fault serve even if others have one.
    pub async fn load_dir(&self, folder: &Path) -> Result<Vec<Deployed>, Vec<DeployError>> {
        let paths = components(folder).await.map_err(|error| vec![error])?;
        let (mut deployed, mut faults) = (Vec::new(), Vec::new());
        for path in paths {
            match self.deploy_file(&path).await {
                Ok(done) => deployed.push(done),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(deployed) } else { Err(faults) }
    }

    /// Deploys one file.
    pub async fn deploy_file(&self, path: &Path) -> Result<Deployed, DeployError> {
        let source = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = tokio::fs::read(path).await.map_err(|error| unreadable(&source, &error))?;
        self.deploy(&source, bytes).await
    }

    /// Deploys a component, in place of the function of the same name if there is one. `source` names it in errors.
    /// Calls in flight finish on the revision they started on.
    pub async fn deploy(&self, source: &str, bytes: Vec<u8>) -> Result<Deployed, DeployError> {
        let began = Instant::now();
        let refused = |fault| DeployError { source_name: source.to_owned(), fault };
        let _alone = self.inner.deploying.lock().await;
        if let Some(live) = self.live(&digest(&bytes)) {
            return Ok(deployed(&live, Some(&live), began));
        }
        let revision = self.inner.loader.load(source, bytes).await.map_err(refused)?;
        let target = Target(Arc::new(revision));
        let replaced = self.swap(target.clone()).map_err(|conflict| refused(conflict.into()))?;
        let done = deployed(&target, replaced.as_ref(), began);
        tracing::info!(
            function = done.name,
            version = done.version,
            revision = target.revision(),
            replaced = replaced.as_ref().map(Target::revision),
            took_ms = done.took.as_millis(),
            "function deployed"
        );
        Ok(done)
    }

    fn live(&self, digest: &str) -> Option<Target> {
        let table = self.inner.table.load();
        let found = table.functions().find(|(_, target)| target.0.digest == digest);
        found.map(|(_, target)| target.clone())
    }

    fn swap(&self, target: Target) -> Result<Option<Target>, Conflict> {
        let table = self.inner.table.load_full();
        let next = table.with(Arc::clone(&target.0.manifest), target.clone())?;
        let replaced = table.get(target.name()).cloned();
        self.publish(next, replaced.as_ref());
        Ok(replaced)
    }

    fn publish(&self, next: Table<Target>, retired: Option<&Target>) {
        self.inner.table.store(Arc::new(next));
        if let Some(retired) = retired {
            retired.0.retire();
        }
        self.inner.changed.send_modify(|version| *version += 1);
    }

    /// Takes a function out of service; `false`: there is none of that name.
    pub async fn remove(&self, name: &str) -> bool {
        let _alone = self.inner.deploying.lock().await;
        let table = self.inner.table.load_full();
        // What lived together without one more lives together without it.
        let Ok(Some(next)) = table.without(name) else {
            return false;
        };
        self.publish(next, table.get(name));
        tracing::info!(function = name, "function removed");
        true
    }

    /// What a path leads to. `path` is as it stands in the request line, without a query.
    pub fn route(&self, method: &str, path: &str) -> RouteLookup<Target> {
        self.inner.table.load().route(method, path)
    }

    /// Who answers a socket frame of this type.
    pub fn message(&self, name: &str) -> Option<Target> {
        self.inner.table.load().message(name)
    }

    /// Who is told of this moment in a connection's life, by name.
    pub fn hooks(&self, hook: Hook) -> Vec<Target> {
        self.inner.table.load().hooks(hook)
    }

    /// Every schedule of every function.
    pub fn schedules(&self) -> Vec<(Target, Schedule)> {
        self.inner.table.load().schedules()
    }

    /// Told after every change of the live functions.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// The live functions, by name.
    pub fn list(&self) -> Vec<FunctionInfo> {
        let table = self.inner.table.load();
        table.functions().map(|(_, target)| info(target)).collect()
    }

    /// Every route with its description, by function.
    pub fn openapi(&self) -> Vec<Documented> {
        let table = self.inner.table.load();
        let routes = table.functions().flat_map(|(manifest, _)| {
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

    /// Makes one call, within the function's limits.
    pub async fn call(&self, target: &Target, invocation: Invocation) -> Result<Reply, CallError> {
        target.0.call(invocation).await
    }
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
    DeployError { source_name: source.to_owned(), fault: DeployFailure::Unreadable(error.to_string()) }
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

fn info(target: &Target) -> FunctionInfo {
    let Target(revision) = target;
    let (manifest, config) = (&revision.manifest, &revision.config);
    FunctionInfo {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        digest: revision.digest.clone(),
        routes: manifest.routes.iter().map(|route| format!("{} {}", route.method, route.path)).collect(),
        messages: manifest.messages.clone(),
        hooks: manifest.hooks.clone(),
        schedules: manifest.schedules.clone(),
        grants: revision.identity.grants,
        limits: LimitsInfo {
            memory_bytes_max: config.memory_bytes_max,
            deadline_ms: config.deadline.as_millis(),
            concurrency_max: config.concurrency_max,
            queue_max: config.queue_max,
            reply_bytes_max: config.reply_bytes_max,
            reuse: config.reuse,
        },
        in_flight: revision.metrics.in_flight(),
        calls: revision.metrics.calls(),
    }
}
