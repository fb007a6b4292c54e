//! Turns the bytes of a component into a revision that is ready to serve: checked against the contract, compiled,
//! linked, described, and with its grants.
//!
//! Every refusal says what is wrong, what is allowed, and what to do next. The registry decides whether the revision
//! fits together with the other functions.

mod cache;
mod cache_key;
mod component;
mod contract;
mod prepared;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::component::Linker;

use self::cache::Cache;
pub(crate) use self::cache::{replace_file, write_atomically};
#[cfg(test)]
pub(super) use self::cache_key::CacheError;
pub(crate) use self::contract::{COMPONENT_BYTES_MAX, check_kind};
use self::contract::{CONTRACT, CONTRACT_VERSION, INTERFACES, check_contract, check_imports};
pub(super) use self::prepared::{CheckedComponent, ComponentBytes, PreparedComponent};
use super::allowance::{Allowance, GrantDecision, RefusedGrants, effective};
use super::bindings::{Function, FunctionPre};
use super::call_log::{CallRecorder, FunctionLog, FunctionLogs};
use super::engine::compiler::{self, Priority};
use super::engine::{Engine, MEMORY_BYTES_MAX};
use super::grants::Grants;
use super::instance::{self, Blueprint, DeadlinePassed};
use super::manifest::{Manifest, RawManifest};
use super::metrics::FunctionCounters;
use super::options::Options;
use super::quota::{CallBounds, CallRate};
use super::revision::{Revision, RevisionParts};
use super::routes::Conflict;
use super::state::{FunctionIdentity, HostWorld, ImportInDescribe, InstanceState};
use crate::ops::log::milliseconds;

/// How long `describe` may take; a function that needs longer is refused.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(2);
/// How many letters a digest has.
const DIGEST_LETTERS: usize = 64;
/// How many letters of the digest name a revision.
const REVISION_LETTERS: usize = 12;

/// A deployment that was refused. The revision that served before continues to serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}: {failure}")]
pub struct DeployError {
    /// The name of the file, or the name that the deployer gave.
    pub source_name: String,
    /// Why it was refused.
    pub failure: DeployFailure,
}

/// The reasons why a component is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeployFailure {
    /// The file or the folder cannot be read.
    #[error("it cannot be read: {0}; check the path and its permissions")]
    Unreadable(String),
    /// The component is larger than allowed.
    #[error(
        "it has {0} bytes, but a component may have at most {COMPONENT_BYTES_MAX}; build it with `roost build`, which strips it"
    )]
    TooLarge(usize),
    /// The bytes are not WebAssembly.
    #[error(
        "it is no WebAssembly component: it does not begin with the WebAssembly magic number; build it with `roost build`"
    )]
    NotWasm,
    /// The bytes are a core module that was not made into a component.
    #[error("it is a core module, not a component: build it with `roost build`")]
    CoreModule,
    /// The component has no signature, and the host requires one.
    #[error(
        "it is not signed, but signing_keys is set, so that every component must be; sign it with `roost sign FILE --key FILE`"
    )]
    SignatureMissing,
    /// No configured key has signed the component as it is.
    #[error(
        "none of the keys in signing_keys has signed it as it is now; sign it with `roost sign FILE --key FILE`, or add the public key of whoever signed it to signing_keys"
    )]
    SignatureInvalid,
    /// Wasmtime cannot compile the component.
    #[error("it does not compile: {0}; build it again with `roost build`")]
    Compile(String),
    /// The component imports an interface that functions may not import.
    #[error("it imports {import}, but a function may import only {CONTRACT}/{{{}}}@{CONTRACT_VERSION}; remove what needs this import", INTERFACES.join(","))]
    ForeignImport {
        /// The name of the import.
        import: String,
    },
    /// The component was built for another version of the contract.
    #[error(
        "it was built for {found}, but this host supports {CONTRACT}@{CONTRACT_VERSION}; build it with the sdk of this version"
    )]
    OtherContract {
        /// The interface with its version.
        found: String,
    },
    /// The component does not export the interface that the host calls.
    #[error(
        "it does not export {CONTRACT}/handler@{CONTRACT_VERSION}; declare it with the macro `roost_function::function!`"
    )]
    NoHandler,
    /// The types of an import or an export differ from those of the contract.
    #[error("it has imports or exports of other types than the contract: {0}; build it with the sdk of this version")]
    Link(String),
    /// `describe` used an import that it may not use.
    #[error("its {0}")]
    ImportInDescribe(String),
    /// `describe` took too long.
    #[error("its describe did not end within {} ms; it should return a constant manifest", DESCRIBE_DEADLINE.as_millis())]
    DescribeTimeout,
    /// `describe` trapped, with this reason.
    #[error("its describe failed: {0}; correct describe so that it returns a constant manifest")]
    DescribeFailed(String),
    /// The manifest breaks a rule.
    #[error("its manifest is refused: {0}")]
    Manifest(String),
    /// An instance of the function has more memory from the start than the function may have.
    #[error(
        "an instance of {name} has {needed} bytes of memory already in its describe, but function.{name}.memory_bytes_max is {allowed}; raise it, at most to {MEMORY_BYTES_MAX}"
    )]
    NeedsMemory {
        /// The name in the manifest.
        name: String,
        /// The bytes of memory that it has.
        needed: usize,
        /// The bytes of memory that it may have.
        allowed: usize,
    },
    /// The function asks for grants that it is not allowed.
    #[error("{0}")]
    GrantsRefused(RefusedGrants),
    /// Another component of the folder has a function of the same name.
    #[error("another component of the folder is the function {name}, too; delete one of the two files")]
    NameTaken {
        /// The name in both manifests.
        name: String,
    },
    /// A route or a message type belongs to another function.
    #[error("{0}")]
    Conflict(#[from] Conflict),
}

impl DeployFailure {
    /// The stable code of the refusal, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::TooLarge(_) => "too_large",
            Self::NotWasm | Self::CoreModule | Self::Compile(_) => "not_a_component",
            Self::SignatureMissing => "signature_missing",
            Self::SignatureInvalid => "signature_invalid",
            Self::ForeignImport { .. } => "import_not_in_contract",
            Self::OtherContract { .. } | Self::NoHandler | Self::Link(_) => "contract_version",
            Self::ImportInDescribe(_) | Self::DescribeTimeout | Self::DescribeFailed(_) | Self::Manifest(_) => {
                "describe_failed"
            }
            Self::NeedsMemory { .. } => "memory_too_small",
            Self::GrantsRefused(_) => "grant_refused",
            Self::NameTaken { .. } => "name_taken",
            Self::Conflict(_) => "route_taken",
        }
    }
}

/// Turns bytes into revisions.
pub(super) struct Loader {
    engine: Engine,
    linker: Linker<InstanceState>,
    cache: Option<Cache>,
    world: HostWorld,
    options: Options,
    /// Whether the host serves, so that compiling must leave time for requests.
    serving: AtomicBool,
    logs: FunctionLogs,
    /// The rate of calls of each function. All revisions of a function share one.
    rates: Mutex<HashMap<String, Arc<CallRate>>>,
}

impl Loader {
    pub(super) fn new(engine: Engine, world: HostWorld, options: Options) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine.wasm());
        Function::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |state| state)?;
        Ok(Self {
            cache: open_cache(&engine, &options),
            engine,
            linker,
            world,
            options,
            serving: AtomicBool::new(false),
            rates: Mutex::default(),
            logs: FunctionLogs::new(),
        })
    }

    /// The logs of all functions.
    pub(super) const fn logs(&self) -> &FunctionLogs {
        &self.logs
    }

    /// From now on, compiling leaves time for requests.
    pub(super) fn serving(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }

    /// Checks a component before any work goes into it: its size, its kind, and its signature if there are signing
    /// keys. `component` is called on a thread that may compute for long.
    pub(super) async fn check(
        &self,
        component: impl FnOnce() -> ComponentBytes + Send + 'static,
    ) -> Result<CheckedComponent, DeployFailure> {
        let keys = self.options.signing_keys.clone();
        let checking = move || CheckedComponent::check(component(), &keys);
        let checked = tokio::task::spawn_blocking(checking).await;
        checked.map_err(|_| DeployFailure::Compile("its check panicked; see the log".to_owned()))?
    }

    /// Compiles, links and describes a component, which takes long. What its deployment decides is added by
    /// [`Loader::revision`].
    pub(super) async fn prepare(
        &self,
        source: &str,
        component: &CheckedComponent,
    ) -> Result<PreparedComponent, DeployFailure> {
        let (began, digest) = (Instant::now(), component.digest());
        let pre = self.compile(component.clone()).await?;
        let DescribedComponent { manifest, memory_bytes } = self.describe(&pre, source, digest).await?;
        let allowed = self.options.of(&manifest.name).memory_bytes_max;
        if memory_bytes > allowed {
            return Err(DeployFailure::NeedsMemory { name: manifest.name, needed: memory_bytes, allowed });
        }
        let handler = format!("{CONTRACT}/handler@{CONTRACT_VERSION}");
        let blueprint = Blueprint::new(pre.instance_pre().clone(), &handler).ok_or(DeployFailure::NoHandler)?;
        tracing::debug!(digest, source, took_ms = milliseconds(began.elapsed()), "component prepared");
        Ok(PreparedComponent { manifest: Arc::new(manifest), digest: digest.to_owned(), blueprint })
    }

    /// Makes a revision, which is allowed what the configuration and the deployer allow. Conflicts with other functions
    /// are not checked here.
    pub(super) fn revision(
        &self,
        component: &PreparedComponent,
        by_deployer: Allowance,
    ) -> Result<Revision, DeployFailure> {
        let (manifest, digest) = (&component.manifest, &component.digest);
        let grants = self.grants(manifest, by_deployer)?;
        Ok(Revision::new(RevisionParts {
            identity: self.identity((&manifest.name, digest), grants, self.logs.of(&manifest.name)),
            rate: self.rate(&manifest.name),
            engine: self.engine.clone(),
            config: self.options.of(&manifest.name).clone(),
            manifest: Arc::clone(manifest),
            digest: digest.clone(),
            blueprint: component.blueprint.clone(),
        }))
    }

    /// What the function may do: everything that it asks for, or it is refused.
    pub(super) fn grants(&self, manifest: &Manifest, by_deployer: Allowance) -> Result<Grants, DeployFailure> {
        let (allowed, is_own) = self.options.allowance(&manifest.name);
        let GrantDecision { given, refused } = effective(manifest.asks, allowed.or(by_deployer));
        if !refused.is_empty() {
            let (function, asked) = (manifest.name.clone(), manifest.asks);
            return Err(DeployFailure::GrantsRefused(RefusedGrants { function, asked, refused }));
        }
        if is_own && !given.is_empty() {
            tracing::info!(
                function = manifest.name,
                grants = given.names().join(","),
                "the function is built from your sources, so it is allowed what it asks for; `roost serve` allows only what \
                 the configuration names"
            );
        }
        Ok(given)
    }

    async fn compile(&self, component: CheckedComponent) -> Result<FunctionPre<InstanceState>, DeployFailure> {
        let (size, engine, cache) = (component.bytes().len(), self.engine.clone(), self.cache.clone());
        let compiling = move || {
            // Before the cache is asked, and before any code of the component runs.
            check_imports(component.bytes())?;
            component::compile(&engine, cache.as_ref(), component.bytes(), component.digest())
        };
        let priority = if self.serving.load(Ordering::Relaxed) { Priority::Low } else { Priority::Usual };
        let compiled = compiler::run(priority, size, compiling).await;
        let component =
            compiled.ok_or_else(|| DeployFailure::Compile("the compiler panicked; see the log".to_owned()))??;
        check_contract(&self.engine, &component)?;
        let link = |error: wasmtime::Error| DeployFailure::Link(format!("{error:#}"));
        let pre = self.linker.instantiate_pre(&component).map_err(link)?;
        FunctionPre::new(pre).map_err(link)
    }

    async fn describe(
        &self,
        pre: &FunctionPre<InstanceState>,
        source: &str,
        digest: &str,
    ) -> Result<DescribedComponent, DeployFailure> {
        let identity = Arc::new(self.identity((source, digest), Grants::default(), self.logs.unnamed()));
        // Which function it is, and how much memory it may have, is known only afterwards.
        let call = ("describe".into(), Instant::now() + DESCRIBE_DEADLINE);
        let mut state = InstanceState::new(identity, MEMORY_BYTES_MAX, call);
        state.describing = true;
        let described = call_describe(&self.engine, pre, state);
        match tokio::time::timeout(DESCRIBE_DEADLINE, described).await {
            Ok(described) => described,
            Err(_) => Err(DeployFailure::DescribeTimeout),
        }
    }

    fn rate(&self, name: &str) -> Arc<CallRate> {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = || Arc::new(CallRate::new(self.options.of(name).calls_per_second_max));
        Arc::clone(rates.entry(name.to_owned()).or_insert_with(rate))
    }

    fn identity(&self, (name, digest): (&str, &str), grants: Grants, log: Arc<FunctionLog>) -> FunctionIdentity {
        let config = self.options.of(name);
        let revision = revision_of(digest);
        let counters = FunctionCounters::new(name, &revision);
        FunctionIdentity {
            name: name.into(),
            recorder: CallRecorder::new(log, &revision, config.recorded_calls_per_second_max),
            revision,
            world: self.world.clone(),
            grants,
            bounds: CallBounds::of(config),
            app_bytes_max: config.app_bytes_max,
            documents_bytes_max: config.documents_bytes_max,
            counters,
        }
    }
}

/// The cache of the options, unless its folder cannot be trusted.
fn open_cache(engine: &Engine, options: &Options) -> Option<Cache> {
    let opened = Cache::open(options.cache_dir.clone()?, engine.wasm());
    let warn = |error| {
        tracing::warn!("the compilation cache is not used, so every start compiles all functions: {error}");
    };
    opened.map_err(warn).ok()
}

/// What a component says about itself, and the memory that its instance had then.
struct DescribedComponent {
    manifest: Manifest,
    memory_bytes: usize,
}

async fn call_describe(
    engine: &Engine,
    pre: &FunctionPre<InstanceState>,
    state: InstanceState,
) -> Result<DescribedComponent, DeployFailure> {
    let slot = engine.slot().await;
    // Returned after the store is dropped.
    let _slot = slot.ok_or_else(|| DeployFailure::DescribeFailed("the engine has stopped".to_owned()))?;
    let mut store = instance::store(engine, state);
    let function = pre.instantiate_async(&mut store).await.map_err(|error| describe_failure(&error, None))?;
    match function.roost_edge_handler().call_describe(&mut store).await {
        Ok(manifest) => {
            let manifest = RawManifest::from(manifest).validate().map_err(DeployFailure::Manifest)?;
            Ok(DescribedComponent { manifest, memory_bytes: store.data().memory.used() })
        }
        Err(error) => Err(describe_failure(&error, store.data_mut().take_last_error())),
    }
}

fn describe_failure(error: &wasmtime::Error, panic: Option<String>) -> DeployFailure {
    if let Some(refused) = error.downcast_ref::<ImportInDescribe>() {
        return DeployFailure::ImportInDescribe(refused.to_string());
    }
    if error.is::<DeadlinePassed>() {
        return DeployFailure::DescribeTimeout;
    }
    DeployFailure::DescribeFailed(panic.unwrap_or_else(|| error.root_cause().to_string()))
}

/// SHA-256 in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text has the form of a digest.
pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == DIGEST_LETTERS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The letters of a digest that name a revision in metrics, log lines and records.
pub(crate) fn revision_of(digest: &str) -> String {
    digest.chars().take(REVISION_LETTERS).collect()
}
