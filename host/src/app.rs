//! The composition root: the only place that makes the parts of a host from its configuration and connects them.
//!
//! [`start`] returns a host that serves; [`Running`] stops it gracefully.

mod functions;
mod offline;

pub(crate) use functions::{function_names, warnings_of_undeployed};
pub(crate) use offline::{OfflineAnswer, OfflineCaller, OfflineEvent, OfflineHook, OfflineHost, offline_config};

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{Config, HttpConfig};
use crate::delivery::hub::Hub;
use crate::ops::admin::{self, AdminState};
use crate::ops::log::log_own_action;
use crate::ops::shutdown::Signals;
use crate::ops::supervisor::{Supervisor, TaskHealth};
use crate::ops::{idle, metrics, outbox, reconcile};
use crate::records::RecordStore;
use crate::runtime::deployments::Deployments;
use crate::runtime::slots::StoreSlots;
use crate::runtime::{ActivityLog, Functions, HostWorld, OwnSources, Subscriptions};
use crate::runtime::{schedule, triggers};
use crate::server::auth::{Authenticator, TokenKeys, crypto};
use crate::server::http::{self, HttpListener, tls};
use crate::server::state::AppState;
use crate::store::Store;

/// What a start does when a function cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDeployFailure {
    /// The start fails, so that a host never serves only some of its functions.
    Refuse,
    /// The other functions serve. For development, where the next save may repair the function.
    GoOn,
}

/// What differs between a start for production and one for development.
#[derive(Clone, Debug)]
pub struct StartPolicy {
    /// What happens when a function cannot be loaded.
    pub on_deploy_failure: OnDeployFailure,
    /// The functions that are allowed what they ask for without being named in the configuration.
    pub own_sources: Option<OwnSources>,
}

impl StartPolicy {
    /// Everything must be right, and every grant must be allowed by the configuration.
    pub const STRICT: Self = Self { on_deploy_failure: OnDeployFailure::Refuse, own_sources: None };

    /// For a developer, whose next save may repair a function, and who trusts the functions of these sources.
    pub const fn development(own_sources: OwnSources) -> Self {
        Self { on_deploy_failure: OnDeployFailure::GoOn, own_sources: Some(own_sources) }
    }
}

/// A host that serves. Dropping it ends it at once, without informing its clients.
pub struct Running {
    /// The address of the public listener.
    pub listen: SocketAddr,
    /// The address of the admin listener.
    pub admin_listen: SocketAddr,
    /// The live functions.
    pub functions: Functions,
    /// The system of record.
    pub records: RecordStore,
    hub: Arc<Hub<Store>>,
    admin: Arc<AdminState>,
    /// Set when the host is about to stop: every answer then says that its connection closes.
    stopping: Arc<AtomicBool>,
    /// When it is dropped, no new requests are accepted and no new ticks begin.
    serving: DropGuard,
    /// The public listener, the schedules and the calls for publications. After the stop they end when they have
    /// finished what they began.
    work: Supervisor,
    /// The admin listener and the maintenance of the store. They run until the end.
    background: Supervisor,
    shutdown_timeout: Duration,
    drain_spread: Duration,
    drain_delay: Duration,
}

/// Starts a host with all functions of its directory. The addresses in [`Running`] are the real ones even if the
/// configuration asks for port 0.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    start_with(config, StartPolicy::STRICT).await
}

/// As [`start`], with another policy.
pub async fn start_with(config: Config, policy: StartPolicy) -> anyhow::Result<Running> {
    install_crypto();
    let auth = Authenticator::new(&config.auth)?;
    let token_keys = auth.keys().clone();
    prepare_data_dir(&config.data_dir)?;
    // The listeners are bound first, so that a port in use is reported before anything takes time.
    let (listener, admin_listener) = (bind(config.listen, "listen")?, bind(config.admin_listen, "admin_listen")?);
    let (listen, admin_listen) = (listener.local_addr()?, admin_listener.local_addr()?);
    let admin_listener = with_admin_tls(admin_listener, &config)?;
    config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));

    token_keys.read_url().await;
    let store = Store::open(config.store.clone()).await?;
    let records = RecordStore::open(&config.records).await.context("the records cannot be opened")?;
    let activity = ActivityLog::after_days(config.store_idle_days);
    let world =
        HostWorld::new(store.clone(), records.clone()).with_activity(activity).with_additions(config.conversations.add);
    let functions = functions::open(&config, world.clone(), policy.own_sources)?;
    let deployments = functions::open_deployments(&config, &functions, (&store, listen)).await?;
    let tasks = TaskHealth::of_process();
    let admin = admin_state(&config, world, (&functions, &deployments), (&tasks, &token_keys));

    let serving = CancellationToken::new();
    let slots = Arc::new(StoreSlots::new(store.clone()));
    let mut background = background(Arc::new(admin_listener), (&admin, slots.clone()), &config.http);

    functions::load(&functions, &config.functions_dir, policy.on_deploy_failure).await?;
    deployments.restore().await;
    if policy.on_deploy_failure == OnDeployFailure::Refuse {
        functions::check_any_serves(&functions, &config.functions_dir)?;
    }
    let deployed = functions.list().into_iter().map(|function| function.name).collect();
    warnings_of_undeployed(&config, &deployed).iter().for_each(|warning| tracing::warn!("{warning}"));
    let queues = (store.clone(), admin.world.subscriptions.clone());
    let hub = Hub::start(Arc::new(store), &config.socket, tasks.clone());
    let dispatcher = Arc::new(functions.clone());
    let state = AppState::start(dispatcher.clone(), hub.clone(), auth, (&config, tasks.clone()));
    let mut work = Supervisor::new(tasks);
    let listener = Arc::new(HttpListener::from(listener));
    let service = http::HttpService::new(state);
    let stopping = service.stopping();
    serve(&mut work, "public_listener", listener, service, &config.http, &serving);
    keep_up_to_date(&mut background, deployments, token_keys);
    call_functions(&mut work, dispatcher, (slots, queues), &serving);
    functions.serving();
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
        stopping,
        serving: serving.drop_guard(),
        work,
        background,
        shutdown_timeout,
        drain_spread,
        drain_delay: config.drain_delay,
    })
}

/// Chooses the library of the process for TLS and for the signatures of tokens. Further calls have no effect.
pub fn install_crypto() {
    // It fails only if the library was chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    crypto::install();
}

impl Running {
    /// Serves until the first signal, then stops. Returns `false` if a second signal ended the stop before it was
    /// complete.
    pub async fn wait(self, signals: &mut Signals) -> bool {
        let signal = signals.next().await;
        tracing::info!(signal, "stopping; a second signal ends the process at once");
        tokio::select! {
            () = self.shutdown() => true,
            signal = signals.next() => {
                tracing::warn!(signal, "the process ends before the stop is complete");
                false
            }
        }
    }

    /// Says that the host is not ready and goes on for a while, until load balancers have noticed. Then refuses new
    /// clients, informs the connected ones, closes their connections one after the other, lets calls finish and writes
    /// what is queued. Takes at most the configured times; what is not finished by then is ended.
    pub async fn shutdown(mut self) {
        self.admin.draining.store(true, Ordering::Release);
        self.stopping.store(true, Ordering::Relaxed);
        self.admin.logs.wake();
        metrics::DRAINING.set(1);
        sleep(self.drain_delay).await;
        self.hub.drain(self.drain_spread);
        drop(self.serving);
        let finished = async {
            self.hub.drained().await;
            self.work.ended().await;
        };
        if timeout(self.shutdown_timeout, finished).await.is_err() {
            tracing::warn!(
                connections = self.hub.connections(),
                "the stop took longer than shutdown_timeout_ms; the remaining connections are closed now"
            );
        }
        self.records.close().await;
        self.background.shutdown().await;
        tracing::info!("stopped");
    }
}

/// What the admin listener uses, before the functions are loaded.
fn admin_state(
    config: &Config,
    world: HostWorld,
    (functions, deployments): (&Functions, &Deployments),
    (tasks, token_keys): (&TaskHealth, &Arc<TokenKeys>),
) -> Arc<AdminState> {
    Arc::new(AdminState {
        world,
        functions: count(functions.clone()),
        deployments: deployments.clone(),
        logs: functions.logs(),
        uploads: Arc::new(Semaphore::new(admin::UPLOADS_MAX)),
        tasks: tasks.clone(),
        token_keys: token_keys.clone(),
        key: config.auth.admin_key.clone(),
        metrics_key: config.auth.metrics_key.clone(),
        started: AtomicBool::new(false),
        draining: AtomicBool::new(false),
    })
}

/// Starts the tasks that follow what changes outside of this host: deployments, components, and keys for tokens.
fn keep_up_to_date(background: &mut Supervisor, deployments: Deployments, token_keys: Arc<TokenKeys>) {
    let [followed, announced, watched] = std::array::from_fn(|_| deployments.clone());
    background.spawn("deployments", move || followed.clone().follow_cluster());
    background.spawn("deployment_candidates", move || announced.clone().prepare_candidates());
    background.spawn("token_keys", move || {
        let keys = token_keys.clone();
        async move { keys.run().await }
    });
    background.spawn("canaries", move || watched.clone().watch_canaries());
    background.spawn("reload", move || reload_on_hangup(deployments.clone()));
}

/// Starts the tasks that call functions without a client: on their schedules, and for publications. They end when
/// `serving` is cancelled.
fn call_functions(
    work: &mut Supervisor,
    functions: Arc<Functions>,
    (slots, queues): (Arc<StoreSlots>, (Store, Subscriptions)),
    serving: &CancellationToken,
) {
    let (stop, scheduled) = (serving.clone(), functions.clone());
    let schedules = move || schedule::run(scheduled.clone(), slots.clone(), stop.clone());
    work.spawn_until(serving.clone(), "schedules", schedules);
    let stop = serving.clone();
    let triggers = move || triggers::run(functions.clone(), queues.clone(), stop.clone());
    work.spawn_until(serving.clone(), "triggers", triggers);
}

/// Starts the tasks that run from before the functions are loaded until after the last client is gone.
fn background(
    listener: Arc<HttpListener>,
    (admin, slots): (&Arc<AdminState>, Arc<StoreSlots>),
    bounds: &HttpConfig,
) -> Supervisor {
    let mut tasks = Supervisor::new(admin.tasks.clone());
    let never = CancellationToken::new();
    serve(&mut tasks, "admin_listener", listener, admin::router(admin.clone()), bounds, &never);
    let store = admin.world.store.clone();
    tasks.spawn("store_maintenance", move || maintain(store.clone()));
    if let Some(idle_after) = admin.world.activity.idle() {
        let (world, slots) = (admin.world.clone(), slots.clone());
        tasks.spawn("idle_users", move || idle::run(world.clone(), slots.clone(), idle_after));
    }
    let world = admin.world.clone();
    tasks.spawn("outbox", move || outbox::run(world.clone(), slots.clone()));
    let store = admin.world.store.clone();
    tasks.spawn("metrics_watch", move || metrics::watch(store.clone()));
    if let Some(replaced) = admin.world.store.replaced() {
        let world = admin.world.clone();
        tasks.spawn("reconcile", move || reconcile::run(world.clone(), replaced.clone()));
    }
    tasks
}

fn count(functions: Functions) -> admin::CountFunctions {
    Box::new(move || functions.list().len())
}

/// Reads the folder with the components again at every SIGHUP.
async fn reload_on_hangup(deployments: Deployments) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be received; use `roost reload`");
            return std::future::pending().await;
        }
    };
    while hangup.recv().await.is_some() {
        match deployments.reload().await {
            Ok(_) => log_own_action("SIGHUP", "ok", "the folder was read again"),
            Err(errors) => {
                for error in errors {
                    log_own_action("SIGHUP", error.failure.code(), &error.to_string());
                    tracing::error!(%error, code = error.failure.code(), "the folder was not read again; what serves is unchanged");
                }
            }
        }
    }
}

/// Serves a listener until `stop`. A restart uses the same listener, so that no client is refused meanwhile.
fn serve(
    tasks: &mut Supervisor,
    task: &'static str,
    listener: Arc<HttpListener>,
    answerer: impl http::Answerer,
    bounds: &HttpConfig,
    stop: &CancellationToken,
) {
    let (bounds, until) = (bounds.clone(), stop.clone());
    tasks.spawn_until(stop.clone(), task, move || {
        let (listener, answerer) = (listener.clone(), answerer.clone());
        let (bounds, stop) = (bounds.clone(), until.clone());
        async move { http::serve(listener, answerer, &bounds, stop.cancelled()).await }
    });
}

/// The admin listener, with TLS if the configuration names a certificate.
fn with_admin_tls(listener: TcpListener, config: &Config) -> anyhow::Result<HttpListener> {
    match (&config.admin_tls_cert, &config.admin_tls_key) {
        (Some(certificate), Some(key)) => {
            let tls = tls::acceptor(certificate, key);
            let tls = tls.context("the admin listener cannot use admin_tls_cert and admin_tls_key")?;
            Ok(HttpListener::encrypted(listener, tls))
        }
        _ => Ok(listener.into()),
    }
}

async fn maintain(store: Store) {
    store.run(std::future::pending()).await;
}

fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let bound = HttpListener::bind(address);
    let flag = key.replace('_', "-");
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is in use by another program; choose another address with --{flag} (port 0 takes a free port)"
        ),
        _ => anyhow::anyhow!("cannot listen on {address}: {error}; choose another address with --{flag}"),
    })
}

/// Creates the data directory, which only the user of the host may read because it holds messages and secrets.
fn prepare_data_dir(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("the data directory {} cannot be created; check its path and permissions, or name another one with --data-dir", folder.display()))
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
            ("drain_delay_ms", "0".to_owned()),
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

    fn lenient() -> StartPolicy {
        StartPolicy { on_deploy_failure: OnDeployFailure::GoOn, ..StartPolicy::STRICT }
    }

    fn error_of(started: anyhow::Result<Running>) -> String {
        format!("{:#}", started.err().expect("it started"))
    }

    #[tokio::test]
    async fn a_host_serves_on_free_ports_until_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let running = start_with(config(&folder), lenient()).await.unwrap();
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
    async fn a_port_in_use_is_reported_with_the_flag_that_changes_it() {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = config(&folder);
        config.admin_listen = taken.local_addr().unwrap();
        let error = error_of(start(config).await);
        assert!(error.contains("is in use by another program") && error.contains("--admin-listen"), "{error}");
    }

    #[tokio::test]
    async fn a_folder_without_functions_or_with_a_broken_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error_of_none = error_of(start(config(&folder)).await);
        assert!(error_of_none.contains("no *.wasm in") && error_of_none.contains("roost build"), "{error_of_none}");
        std::fs::write(folder.path().join("functions/broken.wasm"), b"no module").unwrap();
        let error_of_broken = error_of(start(config(&folder)).await);
        assert!(error_of_broken.contains("broken.wasm: it is no WebAssembly component"), "{error_of_broken}");
    }

    #[tokio::test]
    async fn a_background_task_that_panics_makes_the_host_unready_until_it_runs_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut running = start_with(config(&folder), lenient()).await.unwrap();
        let mut runs = 0;
        running.background.spawn("composed-test", move || {
            runs += 1;
            let fails = runs == 1;
            async move {
                assert!(!fails, "the first run fails");
                std::future::pending().await
            }
        });
        let readiness = async || get(running.admin_listen, "/readyz").await.unwrap();
        while !readiness().await.contains("composed-test") {
            tokio::task::yield_now().await;
        }
        while readiness().await.contains("composed-test") {
            tokio::task::yield_now().await;
        }
        let metrics = get(running.admin_listen, "/metrics").await.unwrap();
        assert!(metrics.contains(r#"roost_task_restarts_total{task="composed-test"} 1"#), "{metrics}");
        running.shutdown().await;
    }
}
