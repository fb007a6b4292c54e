//! The composition root: the one place where the configuration turns into parts. Nobody else makes parts.
//!
//! [`start`] returns a host that serves; [`Running`] stops it again, gracefully.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{Config, HttpConfig, RecordsUrl, SqliteLocation, StoreUrl};
use crate::delivery::hub::Hub;
use crate::ops::admin::{self, AdminState};
use crate::ops::consistency::World;
use crate::ops::shutdown::Signals;
use crate::records::RecordStore;
use crate::runtime::{DeployError, Engine, Functions, HostWorld, Options};
use crate::server::auth::Authenticator;
use crate::server::http;
use crate::server::state::AppState;
use crate::store::Store;
use crate::{ops::metrics, ops::reconcile, runtime::schedule};

/// Compiled functions, in the data directory.
const COMPILED: &str = "compiled";

/// What becomes of a start when some function cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDeployFailure {
    /// There is no start: what is deployed wrongly must not serve in part.
    Refuse,
    /// The others serve; for development, where the next save mends it.
    GoOn,
}

/// A host that serves. Dropping it ends it at once, without a word to its clients.
pub struct Running {
    /// Where the public listener listens.
    pub listen: SocketAddr,
    /// Where the admin listener listens.
    pub admin_listen: SocketAddr,
    /// The live functions.
    pub functions: Functions,
    /// The system of record.
    pub records: RecordStore,
    hub: Arc<Hub<Store>>,
    admin: Arc<AdminState>,
    /// Dropped: no new requests, no new ticks.
    serving: DropGuard,
    /// The public listener and the schedules: they end when they have finished what they began.
    work: JoinSet<()>,
    /// The admin listener, the store's upkeep and figures: they never end by themselves.
    background: JoinSet<()>,
    shutdown_timeout: Duration,
    drain_spread: Duration,
}

/// A host with every function of its directory. Its listeners' addresses are real ones even where port 0 was asked for.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    start_with(config, OnDeployFailure::Refuse).await
}

/// As [`start`], with a choice.
pub async fn start_with(config: Config, on_fault: OnDeployFailure) -> anyhow::Result<Running> {
    // Before anything counts.
    let recorder = metrics::install();
    let auth = Authenticator::new(&config.auth)?;
    prepare_data_dir(&config.data_dir)?;
    // Bound first, so that a port that is taken is told before anything takes time.
    let (listener, admin_listener) =
        (bind(config.listen, "listen").await?, bind(config.admin_listen, "admin_listen").await?);
    let (listen, admin_listen) = (listener.local_addr()?, admin_listener.local_addr()?);

    install_tls();
    let store = Store::open(config.store.clone()).await?;
    let records = RecordStore::open(&config.records).await.context("the records cannot be opened")?;
    let functions = functions(&config, HostWorld { store: store.clone(), records: records.clone() })?;
    let admin = Arc::new(AdminState {
        store: store.clone(),
        records: records.clone(),
        functions: list(functions.clone()),
        metrics: recorder,
        key: config.auth.admin_key.clone(),
        started: AtomicBool::new(false),
        draining: AtomicBool::new(false),
    });

    let serving = CancellationToken::new();
    let background = background(admin_listener, &admin, &config.http);

    load(&functions, &config.functions_dir, on_fault).await?;
    let deployed = functions.list().into_iter().map(|function| function.name).collect();
    warnings_of_undeployed(&config, &deployed).iter().for_each(|warning| tracing::warn!("{warning}"));
    let hub = Hub::start(Arc::new(store), &config.socket);
    let state = AppState::start(Arc::new(functions.clone()), hub.clone(), auth, &config);
    let mut work = JoinSet::new();
    work.spawn(serve(listener, http::HttpService::new(state), config.http.clone(), serving.clone()));
    work.spawn(schedule::run(functions.clone(), serving.clone()));
    admin.started.store(true, Ordering::Release);
    tracing::info!(%listen, %admin_listen, functions = functions.list().len(), "serving");

    let (shutdown_timeout, drain_spread) = (config.shutdown_timeout, config.drain_spread);
    Ok(Running {
        listen,
        admin_listen,
        functions,
        records,
        hub,
        admin,
        serving: serving.drop_guard(),
        work,
        background,
        shutdown_timeout,
        drain_spread,
    })
}

/// Chooses who encrypts, for the whole process. Again changes nothing.
pub fn install_tls() {
    // It fails only if somebody chose before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Running {
    /// Serves until the first signal, then stops; a second one ends the stop. `false`: it was ended.
    pub async fn wait(self, signals: &mut Signals) -> bool {
        let signal = signals.next().await;
        tracing::info!(signal, "stopping; a second signal ends at once");
        tokio::select! {
            () = self.shutdown() => true,
            signal = signals.next() => {
                tracing::warn!(signal, "ended before the stop was complete");
                false
            }
        }
    }

    /// Takes no more clients, tells those there are, spreads their closing, finishes calls, writes what waits. Takes at
    /// most the configured time; whatever is not done by then is cut off.
    pub async fn shutdown(mut self) {
        self.admin.draining.store(true, Ordering::Release);
        ::metrics::gauge!("roost_draining").set(1.0);
        self.hub.drain(self.drain_spread);
        drop(self.serving);
        let finished = async {
            self.hub.drained().await;
            while self.work.join_next().await.is_some() {}
        };
        if timeout(self.shutdown_timeout, finished).await.is_err() {
            tracing::warn!(connections = self.hub.connections(), "the stop took too long; the rest is cut off");
        }
        self.records.close().await;
        self.background.shutdown().await;
        tracing::info!("stopped");
    }
}

/// What runs beside the clients' work, from before the functions are loaded until after the last client is gone.
fn background(listener: TcpListener, admin: &Arc<AdminState>, bounds: &HttpConfig) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, admin::router(admin.clone()), bounds.clone(), CancellationToken::new()));
    tasks.spawn(keep_house(admin.store.clone()));
    tasks.spawn(metrics::watch(admin.store.clone()));
    if let Some(replaced) = admin.store.replaced() {
        let world = World { store: admin.store.clone(), records: admin.records.clone() };
        tasks.spawn(reconcile::run(world, replaced));
    }
    tasks
}

fn functions(config: &Config, world: HostWorld) -> anyhow::Result<Functions> {
    let options = Options {
        defaults: config.function_defaults.clone(),
        named: config.functions.clone(),
        cache_dir: Some(config.data_dir.join(COMPILED)),
    };
    Ok(Functions::new(Engine::new()?, world, options)?)
}

/// As `/functions` shows them.
fn list(functions: Functions) -> admin::List {
    Box::new(move || functions.list().into_iter().filter_map(|info| serde_json::to_value(info).ok()).collect())
}

async fn load(functions: &Functions, folder: &Path, on_fault: OnDeployFailure) -> anyhow::Result<()> {
    let faults = functions.load_dir(folder).await.err().unwrap_or_default();
    if on_fault == OnDeployFailure::GoOn {
        faults.iter().for_each(|fault| tracing::error!(%fault, "a function is not served"));
        return Ok(());
    }
    if !faults.is_empty() {
        bail!("functions in {} cannot be served:{}", folder.display(), lines(&faults));
    }
    if functions.list().is_empty() {
        bail!(
            "no *.wasm in {}: build functions with `roost build`, or name their folder with --functions-dir",
            folder.display()
        );
    }
    Ok(())
}

/// One sentence for each function that the configuration names although no function of this name is deployed.
pub(crate) fn warnings_of_undeployed(config: &Config, deployed: &BTreeSet<String>) -> Vec<String> {
    let names = deployed.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let warning = |name: &String| {
        format!(
            "the configuration has settings for `function.{name}`, but no function of this name is deployed; deployed \
             are: {names}"
        )
    };
    config.named_functions.difference(deployed).map(warning).collect()
}

/// The names of the functions in these components, as their manifests state them; components that cannot be loaded are
/// left out. The functions are not called, and nothing is written.
pub(crate) async fn function_names(config: &Config, components: &[PathBuf]) -> anyhow::Result<BTreeSet<String>> {
    let store = Store::open(StoreUrl::Memory { bytes_max: u64::MAX }).await?;
    let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await?;
    let options =
        Options { defaults: config.function_defaults.clone(), named: config.functions.clone(), cache_dir: None };
    let functions = Functions::new(Engine::new()?, HostWorld { store, records }, options)?;
    for path in components {
        if let Err(fault) = functions.deploy_file(path).await {
            tracing::debug!(%fault, "the name of a function is not known");
        }
    }
    Ok(functions.list().into_iter().map(|function| function.name).collect())
}

fn lines(faults: &[DeployError]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

async fn serve(listener: TcpListener, face: impl http::Answerer, bounds: HttpConfig, stop: CancellationToken) {
    http::serve(listener, face, &bounds, stop.cancelled()).await;
}

async fn keep_house(store: Store) {
    store.run(std::future::pending()).await;
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    let flag = key.replace('_', "-");
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is taken by another program; choose another address with --{flag} (port 0 takes a free one)"
        ),
        _ => anyhow::anyhow!("cannot listen on {address}: {error}; choose another address with --{flag}"),
    })
}

/// Messages and secrets live there: for the host's own user only.
fn prepare_data_dir(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("the data directory {} cannot be made", folder.display()))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::config::Sources;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn config(folder: &TempDir) -> Config {
        let within = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir_all(within("functions")).unwrap();
        let defaults = vec![
            ("listen", "127.0.0.1:0".to_owned()),
            ("admin_listen", "127.0.0.1:0".to_owned()),
            ("data_dir", within("data")),
            ("functions_dir", within("functions")),
            ("token_secret", SECRET.to_owned()),
            ("drain_spread_ms", "10".to_owned()),
        ];
        Sources { defaults, ..Sources::default() }.load().unwrap()
    }

    async fn get(address: SocketAddr, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    fn told(started: anyhow::Result<Running>) -> String {
        format!("{:#}", started.err().expect("it started"))
    }

    #[tokio::test]
    async fn a_host_serves_on_free_ports_until_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let running = start_with(config(&folder), OnDeployFailure::GoOn).await.unwrap();
        let (listen, admin) = (running.listen, running.admin_listen);
        assert!(get(admin, "/healthz").await.unwrap().starts_with("HTTP/1.0 200"));
        let readiness = get(admin, "/readyz").await.unwrap();
        assert!(readiness.contains("503") && readiness.contains("none is loaded"), "{readiness}");
        assert!(get(listen, "/v1/nothing").await.unwrap().contains("\"code\":\"route_not_found\""));
        assert!(get(admin, "/metrics").await.unwrap().contains("roost_http_requests_total"));
        running.shutdown().await;
        assert!(get(listen, "/v1/nothing").await.is_err() && get(admin, "/healthz").await.is_err());
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_told_with_the_flag_that_changes_it() {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = config(&folder);
        config.admin_listen = taken.local_addr().unwrap();
        let told = told(start(config).await);
        assert!(told.contains("is taken by another program") && told.contains("--admin-listen"), "{told}");
    }

    #[tokio::test]
    async fn a_folder_without_functions_or_with_a_broken_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let told_of_none = told(start(config(&folder)).await);
        assert!(told_of_none.contains("no *.wasm in") && told_of_none.contains("roost build"), "{told_of_none}");
        std::fs::write(folder.path().join("functions/broken.wasm"), b"no module").unwrap();
        let told_of_broken = told(start(config(&folder)).await);
        assert!(told_of_broken.contains("broken.wasm: it is no WebAssembly component"), "{told_of_broken}");
    }
}
