//! Several hosts over one store and one system of record, each with a folder of its own; any of them can crash and
//! come back at its address.

use std::net::SocketAddr;

use tempfile::TempDir;

use crate::components;
use crate::redis::free_port;
use crate::server::Server;

/// What one host is told: keys of the configuration and their values.
pub type Settings = Vec<(String, String)>;

/// Hosts of one cluster.
pub struct Fleet {
    members: Vec<Member>,
}

/// One host, whether it runs or not.
struct Member {
    settings: Settings,
    address: SocketAddr,
    state: State,
}

enum State {
    Up(Box<Server>),
    Down(TempDir),
    /// On its way from one to the other.
    Moving,
}

impl Fleet {
    /// Starts one host for each of these settings.
    pub async fn start(all: Vec<Settings>) -> Self {
        let mut members = Vec::with_capacity(all.len());
        for mut settings in all {
            let folder = tempfile::tempdir().expect("a folder");
            // Whoever lost it finds it again at the same address.
            settings.push(("listen".to_owned(), format!("127.0.0.1:{}", free_port())));
            let server = serve(folder, &settings).await;
            let address = server.listen;
            members.push(Member { settings, address, state: State::Up(Box::new(server)) });
        }
        Self { members }
    }

    /// Starts so many hosts with the same settings.
    pub async fn alike(count: usize, settings: &Settings) -> Self {
        Self::start(vec![settings.clone(); count]).await
    }

    /// Where the hosts listen, those that are down too.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.address).collect()
    }

    /// A host that runs.
    ///
    /// # Panics
    /// When it is down.
    pub fn host(&self, index: usize) -> &Server {
        match &self.members[index].state {
            State::Up(server) => server,
            State::Down(_) | State::Moving => panic!("host {index} is down"),
        }
    }

    /// Ends a host as a crash does: without a word.
    pub async fn kill(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.state = match std::mem::replace(&mut member.state, State::Moving) {
            State::Up(server) => State::Down(server.kill().await),
            down => down,
        };
    }

    /// Starts a host that is down, at its address and in its folder.
    pub async fn revive(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.state = match std::mem::replace(&mut member.state, State::Moving) {
            State::Down(folder) => State::Up(Box::new(serve(folder, &member.settings).await)),
            up => up,
        };
    }
}

/// Over this store and these records.
pub fn over(store: &str, records: &str) -> Settings {
    vec![("store_url".to_owned(), store.to_owned()), ("records_url".to_owned(), records.to_owned())]
}

async fn serve(folder: TempDir, settings: &Settings) -> Server {
    let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    Server::serve_in(folder, &components(), &settings).await
}
