//! The live functions: deploys, replaces and removes them while calls are in flight.
//!
//! Readers use one immutable table behind an atomic pointer. A deployment that is refused leaves the table unchanged.

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
use crate::ops::log::milliseconds;

/// One revision of one function, which can be called. A target keeps its revision alive.
#[derive(Clone)]
pub struct Target(Arc<Revision>);

impl Target {
    /// The name of the function.
    pub fn name(&self) -> &str {
        &self.0.manifest.name
    }

    /// The first letters of the digest of the component.
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

/// A live function, as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct FunctionInfo {
    /// The name of the function.
    pub name: String,
    /// The version in the manifest.
    pub version: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// The routes, such as `GET /v1/presence/{user}`.
    pub routes: Vec<String>,
    /// The socket frame types that the function answers.
    pub messages: Vec<String>,
    /// The life-cycle hooks.
    pub hooks: Vec<Hook>,
    /// The ticks that the function asked for.
    pub schedules: Vec<Schedule>,
    /// What the function may do.
    pub grants: Grants,
    /// What the function may use.
    pub limits: LimitsInfo,
    /// How many calls have not ended.
    pub in_flight: usize,
    /// How many calls this revision had since it was deployed.
    pub calls: u64,
}

/// What a function may use, as operators see it.
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

/// The live functions of a host. Clones share them.
#[derive(Clone)]
pub struct Functions {
    shared: Arc<Registry>,
}

struct Registry {
    loader: Loader,
    table: ArcSwap<Table<Target>>,
    /// Held while a deployment reads the table and replaces it, so that there is one at a time.
    deploying: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl Functions {
    /// A registry without functions. It fails only if the host cannot link its own imports, which no input causes.
    pub fn new(engine: Engine, world: HostWorld, options: Options) -> Result<Self, DeployError> {
        let loader = Loader::new(engine, world, options).map_err(|error| DeployError {
            source_name: "the contract".to_owned(),
            failure: DeployFailure::Link(format!("{error:#}")),
        })?;
        Ok(Self {
            shared: Arc::new(Registry {
                loader,
                table: ArcSwap::from_pointee(Table::empty()),
                deploying: Mutex::default(),
                changed: watch::Sender::new(0),
            }),
        })
    }

    /// Deploys every `*.wasm` file of a folder, in the order of their names. Functions that can be deployed serve even if
    /// others are refused.
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

    /// Deploys one file.
    pub async fn deploy_file(&self, path: &Path) -> Result<Deployed, DeployError> {
        let source = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = tokio::fs::read(path).await.map_err(|error| unreadable(&source, &error))?;
        self.deploy(&source, bytes).await
    }

    /// Deploys a component. It replaces the function of the same name, if there is one. Errors name it `source`.
    /// Calls in flight finish on the revision that they started on.
    pub async fn deploy(&self, source: &str, bytes: Vec<u8>) -> Result<Deployed, DeployError> {
        let began = Instant::now();
        let refused = |failure| DeployError { source_name: source.to_owned(), failure };
        let _deploying = self.shared.deploying.lock().await;
        if let Some(live) = self.live(&digest(&bytes)) {
            return Ok(deployed(&live, Some(&live), began));
        }
        let revision = self.shared.loader.load(source, bytes).await.map_err(refused)?;
        let target = Target(Arc::new(revision));
        let replaced = self.swap(target.clone()).map_err(|conflict| refused(conflict.into()))?;
        let done = deployed(&target, replaced.as_ref(), began);
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

    fn live(&self, digest: &str) -> Option<Target> {
        let table = self.shared.table.load();
        let found = table.functions().find(|(_, target)| target.0.digest == digest);
        found.map(|(_, target)| target.clone())
    }

    fn swap(&self, target: Target) -> Result<Option<Target>, Conflict> {
        let table = self.shared.table.load_full();
        let next = table.with(Arc::clone(&target.0.manifest), target.clone())?;
        let replaced = table.get(target.name()).cloned();
        self.publish(next, replaced.as_ref());
        Ok(replaced)
    }

    fn publish(&self, next: Table<Target>, retired: Option<&Target>) {
        self.shared.table.store(Arc::new(next));
        if let Some(retired) = retired {
            retired.0.retire();
        }
        self.shared.changed.send_modify(|version| *version += 1);
    }

    /// Removes a function; `false` if none has this name.
    pub async fn remove(&self, name: &str) -> bool {
        let _deploying = self.shared.deploying.lock().await;
        let table = self.shared.table.load_full();
        // Without one of them, the other functions cannot conflict.
        let Ok(Some(next)) = table.without(name) else {
            return false;
        };
        self.publish(next, table.get(name));
        tracing::info!(function = name, "function removed");
        true
    }

    /// Looks up a path, given as it is in the request line, without its query.
    pub fn route(&self, method: &str, path: &str) -> RouteLookup<Target> {
        self.shared.table.load().route(method, path)
    }

    /// The function that answers socket frames of this type.
    pub fn message(&self, name: &str) -> Option<Target> {
        self.shared.table.load().message(name)
    }

    /// The functions that declare this hook, in the order of their names.
    pub fn hooks(&self, hook: Hook) -> Vec<Target> {
        self.shared.table.load().hooks(hook)
    }

    /// The schedules of all functions.
    pub fn schedules(&self) -> Vec<(Target, Schedule)> {
        self.shared.table.load().schedules()
    }

    /// A counter that grows with every change of the live functions.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// The live functions, in the order of their names.
    pub fn list(&self) -> Vec<FunctionInfo> {
        let table = self.shared.table.load();
        table.functions().map(|(_, target)| info(target)).collect()
    }

    /// All routes with their descriptions, in the order of the functions.
    pub fn openapi(&self) -> Vec<Documented> {
        let table = self.shared.table.load();
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

    /// Makes one call within the limits of the function.
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
    DeployError { source_name: source.to_owned(), failure: DeployFailure::Unreadable(error.to_string()) }
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
