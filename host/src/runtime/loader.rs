//! From bytes to a revision that could serve: a component of this contract, compiled, linked, described and granted.
//!
//! Every refusal is one sentence that says what is wrong and what is allowed. Whether it gets on
//! with the other functions is the registry's question.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, Linker};

use super::bindings::{Function, FunctionPre};
use super::cache::Cache;
use super::engine::Engine;
use super::grants::Grants;
use super::instance::{self, Blueprint, DeadlinePassed};
use super::manifest::{Manifest, RawManifest};
use super::metrics::OwnCounters;
use super::options::Options;
use super::revision::{Parts, Revision};
use super::routes::Conflict;
use super::state::{HostWorld, Identity, OutOfPlace, State};

/// The contract of this host.
const CONTRACT: &str = "roost:edge";
const CONTRACT_VERSION: &str = "0.1.0";
/// What a function may import.
const INTERFACES: [&str; 6] = ["clock", "key-value", "pub-sub", "records", "telemetry", "types"];
/// A component's size.
const COMPONENT_BYTES_MAX: usize = 32 << 20;
/// A function that cannot say in this time what it is, is refused.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(2);
/// Letters of the digest that name a revision.
const REVISION_LETTERS: usize = 12;

/// A deployment that was refused; whatever served before serves on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}: {fault}")]
pub struct DeployError {
    /// The file, or what the deployer called it.
    pub source_name: String,
    /// What is wrong.
    pub fault: DeployFailure,
}

/// Why a component is not deployed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeployFailure {
    /// No file, no folder.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// Beyond the bound.
    #[error("it has {0} bytes, allowed are {COMPONENT_BYTES_MAX}")]
    TooLarge(usize),
    /// Something else.
    #[error("it is no WebAssembly component: it does not begin with the WebAssembly magic number")]
    NotWasm,
    /// Not wrapped.
    #[error("it is a core module, not a component: build it with `roost build`")]
    CoreModule,
    /// Wasmtime refuses it.
    #[error("it does not compile: {0}")]
    Compile(String),
    /// It wants what no function gets.
    #[error("it imports {import}, but a function may import only {CONTRACT}/{{{}}}@{CONTRACT_VERSION}", INTERFACES.join(","))]
    ForeignImport {
        /// What it wants.
        import: String,
    },
    /// Built against another contract.
    #[error("it was built for {found}, but this host speaks {CONTRACT}@{CONTRACT_VERSION}")]
    OtherContract {
        /// The interface with its version.
        found: String,
    },
    /// It cannot be called.
    #[error("it does not export {CONTRACT}/handler@{CONTRACT_VERSION}")]
    NoHandler,
    /// The types do not fit.
    #[error("it does not fit the contract: {0}")]
    Link(String),
    /// Describe called what it may not.
    #[error("{0}")]
    DescribeOutOfPlace(String),
    /// Describe never ended.
    #[error("its describe did not end within {} ms", DESCRIBE_DEADLINE.as_millis())]
    DescribeTimeout,
    /// Describe trapped.
    #[error("its describe failed: {0}")]
    DescribeFailed(String),
    /// Describe said what cannot be.
    #[error("its manifest is refused: {0}")]
    Manifest(String),
    /// Another function stands in its place.
    #[error("{0}")]
    Conflict(#[from] Conflict),
}

/// Turns bytes into revisions.
pub(super) struct Loader {
    engine: Engine,
    linker: Linker<State>,
    cache: Option<Cache>,
    world: HostWorld,
    options: Options,
}

impl Loader {
    pub(super) fn new(engine: Engine, world: HostWorld, options: Options) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine.wasm());
        Function::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |state| state)?;
        let cache = |folder: PathBuf| Cache::new(folder, engine.wasm());
        Ok(Self { cache: options.cache_dir.clone().map(cache), engine, linker, world, options })
    }

    /// Everything but the question whether it gets on with the others.
    pub(super) async fn load(&self, source: &str, bytes: Vec<u8>) -> Result<Revision, DeployFailure> {
        let digest = digest(&bytes);
        let pre = self.prepare(bytes, digest.clone()).await?;
        let manifest = self.describe(&pre, source, &digest).await?;
        let config = self.options.of(&manifest.name).clone();
        let handler = format!("{CONTRACT}/handler@{CONTRACT_VERSION}");
        let blueprint = Blueprint::new(pre.instance_pre().clone(), &handler).ok_or(DeployFailure::NoHandler)?;
        let grants = match &config.grants {
            Some(allowed) => manifest.asks.intersection(Grants::allowed(allowed)),
            None => manifest.asks,
        };
        Ok(Revision::new(Parts {
            identity: self.identity(&manifest.name, &digest, grants),
            engine: self.engine.clone(),
            manifest,
            digest,
            config,
            blueprint,
        }))
    }

    async fn prepare(&self, bytes: Vec<u8>, digest: String) -> Result<FunctionPre<State>, DeployFailure> {
        check_kind(&bytes)?;
        let (engine, cache) = (self.engine.clone(), self.cache.clone());
        let compiling = move || compile(&engine, cache.as_ref(), &bytes, &digest);
        let component = match tokio::task::spawn_blocking(compiling).await {
            Ok(component) => component?,
            Err(error) => return Err(DeployFailure::Compile(error.to_string())),
        };
        check_contract(&self.engine, &component)?;
        let link = |error: wasmtime::Error| DeployFailure::Link(format!("{error:#}"));
        let pre = self.linker.instantiate_pre(&component).map_err(link)?;
        FunctionPre::new(pre).map_err(link)
    }

    async fn describe(&self, pre: &FunctionPre<State>, source: &str, digest: &str) -> Result<Manifest, DeployFailure> {
        let identity = Arc::new(self.identity(source, digest, Grants::default()));
        let memory = self.options.defaults.memory_bytes_max;
        let mut state = State::new(identity, memory, ("describe".into(), Instant::now() + DESCRIBE_DEADLINE));
        state.describing = true;
        let asking = ask(&self.engine, pre, state);
        match tokio::time::timeout(DESCRIBE_DEADLINE, asking).await {
            Ok(manifest) => manifest,
            Err(_) => Err(DeployFailure::DescribeTimeout),
        }
    }

    fn identity(&self, name: &str, digest: &str, grants: Grants) -> Identity {
        Identity {
            name: name.to_owned(),
            revision: digest.chars().take(REVISION_LETTERS).collect(),
            world: self.world.clone(),
            grants,
            counters: OwnCounters::new(name),
        }
    }
}

async fn ask(engine: &Engine, pre: &FunctionPre<State>, state: State) -> Result<Manifest, DeployFailure> {
    let slot = engine.slot().await;
    // Given back after the store is gone.
    let _slot = slot.ok_or_else(|| DeployFailure::DescribeFailed("the engine has stopped".to_owned()))?;
    let mut store = instance::store(engine, state);
    let function = pre.instantiate_async(&mut store).await.map_err(|error| describe_fault(&error, None))?;
    match function.roost_edge_handler().call_describe(&mut store).await {
        Ok(manifest) => RawManifest::from(manifest).validate().map_err(DeployFailure::Manifest),
        Err(error) => Err(describe_fault(&error, store.data_mut().last_error.take())),
    }
}

fn describe_fault(error: &wasmtime::Error, panic: Option<String>) -> DeployFailure {
    if let Some(out_of_place) = error.downcast_ref::<OutOfPlace>() {
        return DeployFailure::DescribeOutOfPlace(format!("its {out_of_place}"));
    }
    if error.is::<DeadlinePassed>() {
        return DeployFailure::DescribeTimeout;
    }
    DeployFailure::DescribeFailed(panic.unwrap_or_else(|| error.root_cause().to_string()))
}

/// SHA-256 in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Magic number, version and layer, before any work is done.
fn check_kind(bytes: &[u8]) -> Result<(), DeployFailure> {
    const MAGIC: &[u8] = b"\0asm";
    const CORE_LAYER: [u8; 2] = [0, 0];
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(DeployFailure::TooLarge(bytes.len()));
    }
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(DeployFailure::NotWasm);
    };
    match rest.get(2..4) {
        Some(layer) if layer == CORE_LAYER => Err(DeployFailure::CoreModule),
        _ => Ok(()),
    }
}

fn compile(engine: &Engine, cache: Option<&Cache>, bytes: &[u8], digest: &str) -> Result<Component, DeployFailure> {
    if let Some(component) = cache.and_then(|cache| load_cached(engine, cache, digest)) {
        return Ok(component);
    }
    let failed = |error: wasmtime::Error| DeployFailure::Compile(format!("{error:#}"));
    let began = Instant::now();
    let component = Component::from_binary(engine.wasm(), bytes).map_err(failed)?;
    let took_ms = began.elapsed().as_millis();
    tracing::debug!(digest, took_ms, "component compiled");
    if let Some(cache) = cache {
        cache.store(digest, &component.serialize().map_err(failed)?);
    }
    Ok(component)
}

fn load_cached(engine: &Engine, cache: &Cache, digest: &str) -> Option<Component> {
    let compiled = cache.load(digest)?;
    // SAFETY: the bytes are what `Component::serialize` gave us for this digest and this engine's compatibility
    // hash; the entry's own checksum held. Whoever can write the data directory can replace the host itself.
    #[allow(unsafe_code, reason = "wasmtime cannot check that the bytes are its own")]
    let component = unsafe { Component::deserialize(engine.wasm(), &compiled) };
    match component {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::warn!(digest, "unusable cache entry ignored: {error:#}");
            None
        }
    }
}

/// Its imports and its export, against the contract's names.
fn check_contract(engine: &Engine, component: &Component) -> Result<(), DeployFailure> {
    let ty = component.component_type();
    for (import, _) in ty.imports(engine.wasm()) {
        check_import(import)?;
    }
    let mut exports = ty.exports(engine.wasm()).map(|(name, _)| name);
    let handler = exports.find(|name| name.starts_with("roost:edge/handler"));
    match handler.and_then(interface) {
        Some(("handler", CONTRACT_VERSION)) => Ok(()),
        Some((_, version)) => Err(DeployFailure::OtherContract { found: format!("{CONTRACT}@{version}") }),
        None => Err(DeployFailure::NoHandler),
    }
}

fn check_import(import: &str) -> Result<(), DeployFailure> {
    match interface(import) {
        Some((name, CONTRACT_VERSION)) if INTERFACES.contains(&name) => Ok(()),
        Some((_, version)) if version != CONTRACT_VERSION => {
            Err(DeployFailure::OtherContract { found: format!("{CONTRACT}@{version}") })
        }
        _ => Err(DeployFailure::ForeignImport { import: import.to_owned() }),
    }
}

/// An interface of the contract's package, and its version.
fn interface(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(CONTRACT)?.strip_prefix('/')?.split_once('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_refused_before_any_work() {
        assert_eq!(check_kind(b""), Err(DeployFailure::NotWasm));
        assert_eq!(check_kind(b"(component)"), Err(DeployFailure::NotWasm));
        assert_eq!(check_kind(b"\0asm\x01\0\0\0"), Err(DeployFailure::CoreModule));
        assert_eq!(check_kind(b"\0asm\x0d\0\x01\0"), Ok(()));
        let giant = vec![0; COMPONENT_BYTES_MAX + 1];
        assert_eq!(check_kind(&giant), Err(DeployFailure::TooLarge(giant.len())));
    }

    #[test]
    fn only_this_contract_in_this_version_may_be_imported() {
        for name in INTERFACES {
            assert_eq!(check_import(&format!("roost:edge/{name}@0.1.0")), Ok(()));
        }
        for import in ["wasi:clocks/wall-clock@0.2.0", "roost:edge/handler@0.1.0", "env", "roost:edge/clock"] {
            let fault = check_import(import).unwrap_err();
            assert!(fault.to_string().starts_with(&format!("it imports {import}, ")), "{fault}");
        }
        assert_eq!(
            check_import("roost:edge/clock@0.2.0").unwrap_err().to_string(),
            "it was built for roost:edge@0.2.0, but this host speaks roost:edge@0.1.0"
        );
    }
}
