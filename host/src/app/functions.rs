//! The functions of a host: which ones a start loads, the deployments that its data directory keeps, and the names that
//! the configuration may mention.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::OnDeployFailure;
use crate::config::{Config, RecordsUrl, SqliteLocation, StoreUrl};
use crate::records::RecordStore;
use crate::runtime::deployments::{CanaryLimits, DeploymentOptions, Deployments};
use crate::runtime::{DeployError, Engine, Functions, HostWorld, Options, OwnSources};
use crate::store::Store;

/// The folder of the deployments in the data directory.
const DEPLOYMENTS_DIR: &str = "deployments";
/// The folder of the compilation cache in the data directory.
const COMPILED_DIR: &str = "compiled";

/// The functions, of which none is loaded yet.
pub(super) fn open(config: &Config, world: HostWorld, own_sources: Option<OwnSources>) -> anyhow::Result<Functions> {
    let cache_dir = Some(config.data_dir.join(COMPILED_DIR));
    let options = Options { cache_dir, own_sources, ..Options::of_config(config) };
    Ok(Functions::new(Engine::new()?, world, options)?)
}

/// Loads the components of the folder.
pub(super) async fn load(functions: &Functions, folder: &Path, on_failure: OnDeployFailure) -> anyhow::Result<()> {
    let errors = functions.load_dir(folder).await.err().unwrap_or_default();
    if on_failure == OnDeployFailure::GoOn {
        for error in &errors {
            tracing::error!(%error, code = error.failure.code(), "a function is not served; the others are");
        }
        return Ok(());
    }
    if !errors.is_empty() {
        bail!("functions in {} cannot be served:{}", folder.display(), lines(&errors));
    }
    Ok(())
}

pub(super) fn check_any_serves(functions: &Functions, folder: &Path) -> anyhow::Result<()> {
    if functions.list().is_empty() {
        bail!(
            "no *.wasm in {}: build functions with `roost build`, or name their folder with --functions-dir",
            folder.display()
        );
    }
    Ok(())
}

/// Opens the deployments that the data directory keeps.
pub(super) async fn open_deployments(
    config: &Config,
    functions: &Functions,
    (store, listen): (&Store, SocketAddr),
) -> anyhow::Result<Deployments> {
    let limits = &config.deployments;
    let options = DeploymentOptions {
        folder: config.data_dir.join(DEPLOYMENTS_DIR),
        functions_dir: config.functions_dir.clone(),
        bytes_max: limits.bytes_max,
        canary: CanaryLimits { calls_min: limits.canary_calls_min, margin_percent: limits.canary_margin_percent },
        host: limits.host_name.clone().unwrap_or_else(|| host_name(listen)),
    };
    let opened = Deployments::open(functions.clone(), store.clone(), options).await;
    opened.context("the deployments in the data directory cannot be used")
}

/// The name of the machine with the port of the public listener.
fn host_name(listen: SocketAddr) -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine = if machine.trim().is_empty() { listen.ip().to_string() } else { machine.trim().to_owned() };
    format!("{machine}:{}", listen.port())
}

/// One sentence for each function that the configuration names although no function of this name is deployed.
pub(crate) fn warnings_of_undeployed(config: &Config, deployed: &BTreeSet<String>) -> Vec<String> {
    let names = deployed.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let warning = |name: &String| {
        format!(
            "the configuration has settings for `function.{name}`, but no function of this name is deployed; correct \
             the name, or deploy the function; deployed are: {names}"
        )
    };
    config.named_functions.difference(deployed).map(warning).collect()
}

/// The names of the functions in these components, as their manifests state them; components that cannot be loaded are
/// left out. The functions are not called, whatever they ask to be allowed, and nothing is written.
pub(crate) async fn function_names(config: &Config, components: &[PathBuf]) -> anyhow::Result<BTreeSet<String>> {
    let store = Store::open(StoreUrl::Memory { bytes_max: u64::MAX }).await?;
    let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await?;
    let mut options = Options { own_sources: Some(OwnSources::new(|_| true)), ..Options::of_config(config) };
    options.named.values_mut().for_each(|function| function.grants = None);
    let functions = Functions::new(Engine::new()?, HostWorld::new(store, records), options)?;
    for path in components {
        if let Err(error) = functions.deploy_file(path).await {
            tracing::debug!(%error, "the name of a function is not known");
        }
    }
    Ok(functions.list().into_iter().map(|function| function.name).collect())
}

fn lines(errors: &[DeployError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}
