//! Several hosts over one store and one system of record, each with its own data directory. A test can crash any of
//! them and start it again at the same address.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;

use tempfile::TempDir;

use crate::components;
use crate::port::free_port;
use crate::server::Server;

/// The configuration of one host: keys and their values.
pub type Settings = Vec<(String, String)>;

/// The hosts of one cluster.
pub struct Fleet {
    hosts: Vec<FleetHost>,
}

/// One host, running or stopped.
struct FleetHost {
    settings: Settings,
    address: SocketAddr,
    state: HostState,
}

enum HostState {
    Up(Box<Server>),
    Down(TempDir),
    /// Between the two, while the host is being stopped or started.
    Moving,
}

impl Fleet {
    /// Starts one host for each of these settings.
    pub async fn start(all: Vec<Settings>) -> Self {
        let with_folder = |settings| (tempfile::tempdir().expect("a folder"), settings);
        Self::start_in(all.into_iter().map(with_folder).collect()).await
    }

    /// As [`Fleet::start_identical`], but no host shares its compiled functions, as if each ran on a machine of its
    /// own.
    pub async fn start_with_own_caches(count: usize, settings: &Settings) -> Self {
        let all = (0..count).map(|_| (folder_with_own_cache(), settings.clone()));
        Self::start_in(all.collect()).await
    }

    async fn start_in(all: Vec<(TempDir, Settings)>) -> Self {
        let mut hosts = Vec::with_capacity(all.len());
        for (folder, mut settings) in all {
            // Clients find a restarted host at the same address.
            settings.push(("listen".to_owned(), format!("127.0.0.1:{}", free_port())));
            let server = serve(folder, &settings).await;
            let address = server.listen;
            hosts.push(FleetHost { settings, address, state: HostState::Up(Box::new(server)) });
        }
        Self { hosts }
    }

    /// Starts `count` hosts with the same settings.
    pub async fn start_identical(count: usize, settings: &Settings) -> Self {
        Self::start(vec![settings.clone(); count]).await
    }

    /// The addresses of all hosts, including those that are stopped.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.hosts.iter().map(|host| host.address).collect()
    }

    /// A running host.
    ///
    /// # Panics
    /// If the host is stopped.
    pub fn host(&self, index: usize) -> &Server {
        match &self.hosts[index].state {
            HostState::Up(server) => server,
            HostState::Down(_) | HostState::Moving => panic!("host {index} is down"),
        }
    }

    /// Stops a host as a crash would: without a shutdown.
    pub async fn kill(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.state = match std::mem::replace(&mut host.state, HostState::Moving) {
            HostState::Up(server) => HostState::Down(server.kill().await),
            down => down,
        };
    }

    /// Starts a stopped host at its old address and in its old folder.
    pub async fn revive(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.state = match std::mem::replace(&mut host.state, HostState::Moving) {
            HostState::Down(folder) => HostState::Up(Box::new(serve(folder, &host.settings).await)),
            up => up,
        };
    }
}

/// The settings of a host on this store and these records.
pub fn settings_for(store: &str, records: &str) -> Settings {
    vec![("store_url".to_owned(), store.to_owned()), ("records_url".to_owned(), records.to_owned())]
}

/// As [`settings_for`], for tests whose only faults are their own. A slow answer of a busy machine is not one of them:
/// with the default bounds, clients would be told to fetch their state again, or to repeat a call.
pub fn patient_settings_for(store: &str, records: &str) -> Settings {
    let mut settings = settings_for(store, records);
    // The most that a function's deadline allows.
    let patient = ["store_response_timeout_ms", "postgres.acquire_timeout_ms"];
    settings.extend(patient.map(|key| (key.to_owned(), "5000".to_owned())));
    settings
}

/// A folder for a host with an empty cache, which is therefore not linked to the one that tests share.
fn folder_with_own_cache() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("data/compiled");
    // Hosts use only a folder that no other user can write to.
    DirBuilder::new().recursive(true).mode(0o700).create(cache).expect("a folder for compiled functions");
    folder
}

async fn serve(folder: TempDir, settings: &Settings) -> Server {
    let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    Server::serve_in(folder, &components(), &settings).await
}
