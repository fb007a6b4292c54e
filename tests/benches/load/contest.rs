//! The servers of a run, each with the same people in its records, and the rounds in which they take turns.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use roost::config::{Flag, Sources};
use roost::records::RecordStore;
use roost_tests::components;
use roost_tests::scene::{Ask, Operation, Scene};
use roost_tests::server::Server;
use tempfile::TempDir;

use crate::Arguments;
use crate::client::{Connection, render, token};
use crate::drive::{self, Outcome, Plan, Requests};
use crate::meter::{Meter, Metrics, Reading};
use crate::native::Native;

/// Different requests of an operation; then they come round again.
const REQUESTS: u32 = 10_000;
/// Functions whose instances are reused unless told otherwise.
const BUILT_IN: [&str; 6] = ["contacts", "last-message", "messaging", "presence", "typing", "unread"];

/// Caches whose hits are told.
const CACHES: [&str; 2] = ["unread", "last_message"];

/// All servers, ready and warm.
pub struct Contest<'a> {
    arguments: &'a Arguments,
    scene: Scene,
    servers: Vec<Contestant>,
}

/// One server.
struct Contestant {
    name: String,
    address: SocketAddr,
    meter: Meter,
    native: bool,
    /// What it had counted when it was warm.
    warm: Metrics,
    /// Its process and its folder, which end with it.
    _kept: Kept,
}

type Kept = (Option<Server>, Option<(Native, TempDir)>);

/// What all rounds of one server and one operation came to.
pub struct Standing {
    pub server: String,
    pub outcome: Outcome,
    pub cost: Reading,
    /// Requests a second, round by round.
    pub rounds: Vec<f64>,
}

impl<'a> Contest<'a> {
    /// Writes the records, starts the servers and warms them.
    pub async fn prepare(arguments: &'a Arguments, scene: Scene) -> anyhow::Result<Self> {
        let template = tempfile::tempdir()?;
        write_records(&scene, template.path(), &arguments.records_url).await?;
        let mut servers = Vec::new();
        for name in &arguments.servers {
            let mut contestant = Contestant::start(name, template.path(), arguments).await?;
            contestant.awake(&scene).await.with_context(|| format!("the server {name} cannot be warmed"))?;
            servers.push(contestant);
        }
        Ok(Self { arguments, scene, servers })
    }

    /// All rounds of one operation; the servers take turns.
    pub async fn hold(&self, operation: Operation, with_native: bool) -> Vec<Standing> {
        let asks: Vec<Ask> = (0..REQUESTS).map(|number| self.scene.ask(operation, number)).collect();
        let rendered = rendered(&asks);
        let taking_part = self.servers.iter().filter(|server| with_native || !server.native);
        let mut standings: Vec<_> =
            taking_part.map(|server| (server, Requests::new(rendered.clone()), Standing::new(&server.name))).collect();
        for _ in 0..self.arguments.rounds {
            for (server, requests, standing) in &mut standings {
                server.round(self.arguments, requests, standing).await;
            }
        }
        standings.into_iter().map(|(_, _, standing)| standing).collect()
    }

    /// How often the hosts' caches knew the answer since they were warm, by server and cache.
    pub async fn hit_rates(&self) -> Vec<(&str, &'static str, f64)> {
        let mut rates = Vec::new();
        for server in self.servers.iter().filter(|server| !server.native) {
            let now = server.meter.metrics().await;
            let known = CACHES.iter().filter_map(|cache| Some((*cache, now.hit_rate(cache, &server.warm)?)));
            rates.extend(known.map(|(cache, rate)| (server.name.as_str(), cache, rate)));
        }
        rates
    }
}

impl Contestant {
    async fn start(name: &str, template: &Path, arguments: &Arguments) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        copy(template, &folder.path().join("data"))?;
        let mut set = vec![
            ("store_url".to_owned(), arguments.store_url.clone()),
            ("records_url".to_owned(), arguments.records_url.clone()),
        ];
        if name == "native" {
            let native = Native::start(folder.path(), &lent(&set)).await;
            let meter = Meter::new(native.id(), None, &arguments.store_url);
            let (address, name) = (native.listen, name.to_owned());
            return Ok(Self {
                name,
                address,
                meter,
                native: true,
                warm: Metrics::none(),
                _kept: (None, Some((native, folder))),
            });
        }
        let reuse = name == "reused";
        set.extend(BUILT_IN.map(|function| (format!("function.{function}.reuse"), reuse.to_string())));
        for pair in &arguments.set {
            let (key, value) = pair.split_once('=').context("--set takes KEY=VALUE")?;
            set.push((key.to_owned(), value.to_owned()));
        }
        let server = Server::serve_in(folder, &components(), &lent(&set)).await;
        let meter = Meter::new(server.id(), Some(server.operator()), &arguments.store_url);
        let (address, name) = (server.listen, name.to_owned());
        Ok(Self { name, address, meter, native: false, warm: Metrics::none(), _kept: (Some(server), None) })
    }

    async fn awake(&mut self, scene: &Scene) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.address).await?;
        for request in rendered(&scene.awakening()) {
            connection.ask(&request).await?;
        }
        self.warm = self.meter.metrics().await;
        Ok(())
    }

    async fn round(&self, arguments: &Arguments, requests: &Arc<Requests>, standing: &mut Standing) {
        let before = self.meter.read().await;
        let connections = arguments.connections;
        let outcome = match arguments.rate {
            None => drive::closed(self.address, requests, connections, arguments.span()).await,
            Some(per_second) => {
                let plan = Plan { per_second, span: arguments.span() };
                drive::open(self.address, requests, connections, plan).await
            }
        };
        standing.cost.add(self.meter.read().await - before);
        standing.rounds.push(outcome.per_second());
        standing.outcome.add(&outcome);
    }
}

impl Standing {
    fn new(server: &str) -> Self {
        Self { server: server.to_owned(), outcome: Outcome::new(), cost: Reading::default(), rounds: Vec::new() }
    }
}

/// As bytes; each caller's token is signed once.
fn rendered(asks: &[Ask]) -> Vec<Vec<u8>> {
    let mut tokens = HashMap::new();
    let requests = asks.iter().map(|ask| {
        let token = tokens.entry(format!("{:?}", ask.caller)).or_insert_with(|| token(ask.caller));
        render(ask, token)
    });
    requests.collect()
}

async fn write_records(scene: &Scene, data: &Path, url: &str) -> anyhow::Result<()> {
    let flag = |key: &str, value: String| Flag { flag: "--records-url".to_owned(), key: key.to_owned(), value };
    let flags = vec![flag("records_url", url.to_owned()), flag("data_dir", data.display().to_string())];
    let config = Sources { flags, ..Sources::default() }.load()?;
    let records = RecordStore::open(&config.records).await?;
    scene.write(&records).await;
    records.close().await;
    Ok(())
}

/// Every file of a folder without folders.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let file: PathBuf = entry?.path();
        std::fs::copy(&file, to.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

fn lent(set: &[(String, String)]) -> Vec<(&str, &str)> {
    set.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}
