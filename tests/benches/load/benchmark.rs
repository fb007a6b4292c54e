//! The servers of a run, each with the same users in its records, and the rounds in which they alternate.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use roost::config::{Flag, Sources};
use roost::records::RecordStore;
use roost_core::port::{Confirmation, Pending, PendingQuery, Records};
use roost_core::time::Timestamp;
use roost_tests::components;
use roost_tests::scenario::{ApiRequest, Scenario, ScenarioOperation};
use roost_tests::server::Server;
use tempfile::TempDir;

use crate::Arguments;
use crate::client::{Connection, render, token};
use crate::drive::{self, FixedRate, Outcome, Requests};
use roost_tests::metrics::Metrics;

use crate::meter::{Meter, Reading};
use crate::native::Native;

/// The number of different requests of an operation; after that, they repeat.
const REQUESTS: u32 = 10_000;
/// The functions whose instances are reused unless the configuration says otherwise.
const BUILT_IN: [&str; 6] = ["contacts", "last-message", "messaging", "presence", "typing", "unread"];

/// The caches whose hit rates are printed.
const CACHES: [&str; 2] = ["unread", "last_message"];

/// All servers, running and warm.
pub struct Benchmark<'a> {
    arguments: &'a Arguments,
    scenario: Scenario,
    servers: Vec<ServerUnderTest>,
}

/// One measured server.
struct ServerUnderTest {
    name: String,
    address: SocketAddr,
    meter: Meter,
    native: bool,
    /// The server's metrics when it was warm.
    warm: Metrics,
    /// The process of the server and its folder, which end with this value.
    _processes: Processes,
}

type Processes = (Option<Server>, Option<(Native, TempDir)>);

/// The results of all rounds of one server and one operation.
pub struct Measurements {
    pub server: String,
    pub outcome: Outcome,
    pub cost: Reading,
    /// Requests per second, by round.
    pub rounds: Vec<f64>,
}

impl<'a> Benchmark<'a> {
    /// Writes the records, starts the servers and warms them up.
    pub async fn prepare(arguments: &'a Arguments, scenario: Scenario) -> anyhow::Result<Self> {
        let template = tempfile::tempdir()?;
        write_records(&scenario, template.path(), &arguments.records_url).await?;
        let mut servers = Vec::new();
        for name in &arguments.servers {
            let mut contestant = ServerUnderTest::start(name, template.path(), arguments).await?;
            contestant.warm_up(&scenario).await.with_context(|| format!("the server {name} cannot be warmed"))?;
            servers.push(contestant);
        }
        Ok(Self { arguments, scenario, servers })
    }

    /// Measures all rounds of one operation; the servers alternate.
    pub async fn measure(&self, operation: ScenarioOperation, with_native: bool) -> Vec<Measurements> {
        let api_requests: Vec<ApiRequest> =
            (0..REQUESTS).map(|number| self.scenario.request(operation, number)).collect();
        let rendered = rendered(&api_requests);
        let participants = self.servers.iter().filter(|server| with_native || !server.native);
        let mut all_measurements: Vec<_> = participants
            .map(|server| (server, Requests::new(rendered.clone()), Measurements::new(&server.name)))
            .collect();
        for _ in 0..self.arguments.rounds {
            for (server, requests, measurements) in &mut all_measurements {
                server.round(self.arguments, requests, measurements).await;
            }
        }
        all_measurements.into_iter().map(|(_, _, measurements)| measurements).collect()
    }

    /// The hit rates of the hosts' caches since they were warm, by server and cache.
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

impl ServerUnderTest {
    async fn start(name: &str, template: &Path, arguments: &Arguments) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        copy(template, &folder.path().join("data"))?;
        let mut set = vec![
            ("store_url".to_owned(), arguments.store_url.clone()),
            ("records_url".to_owned(), arguments.records_url.clone()),
        ];
        if name == "native" {
            let native = Native::start(folder.path(), &as_str_pairs(&set)).await;
            let meter = Meter::new(native.id(), None, &arguments.store_url);
            let (address, name) = (native.listen, name.to_owned());
            return Ok(Self {
                name,
                address,
                meter,
                native: true,
                warm: Metrics::none(),
                _processes: (None, Some((native, folder))),
            });
        }
        let reuse = name == "reused";
        set.extend(BUILT_IN.map(|function| (format!("function.{function}.reuse"), reuse.to_string())));
        set.extend(arguments.set.iter().cloned());
        let server = Server::serve_in(folder, &components(), &as_str_pairs(&set)).await;
        let meter = Meter::new(server.id(), Some(server.operator()), &arguments.store_url);
        let (address, name) = (server.listen, name.to_owned());
        Ok(Self { name, address, meter, native: false, warm: Metrics::none(), _processes: (Some(server), None) })
    }

    async fn warm_up(&mut self, scenario: &Scenario) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.address).await?;
        for request in rendered(&scenario.warm_up_requests()) {
            connection.ask(&request).await?;
        }
        self.warm = self.meter.metrics().await;
        Ok(())
    }

    async fn round(&self, arguments: &Arguments, requests: &Arc<Requests>, measurements: &mut Measurements) {
        let before = self.meter.read().await;
        let connections = arguments.connections;
        let outcome = match arguments.rate {
            None => drive::closed(self.address, requests, connections, arguments.span()).await,
            Some(per_second) => {
                let rate = FixedRate { per_second, span: arguments.span() };
                drive::open(self.address, requests, connections, rate).await
            }
        };
        measurements.cost.add(self.meter.read().await - before);
        measurements.rounds.push(outcome.per_second());
        measurements.outcome.add(&outcome);
    }
}

impl Measurements {
    fn new(server: &str) -> Self {
        Self { server: server.to_owned(), outcome: Outcome::new(), cost: Reading::default(), rounds: Vec::new() }
    }
}

/// The requests as bytes; each caller's token is signed once.
pub fn rendered(api_requests: &[ApiRequest]) -> Vec<Vec<u8>> {
    let mut tokens = HashMap::new();
    let requests = api_requests.iter().map(|ask| {
        let token = tokens.entry(format!("{:?}", ask.caller)).or_insert_with(|| token(ask.caller));
        render(ask, token)
    });
    requests.collect()
}

pub async fn write_records(scenario: &Scenario, data: &Path, url: &str) -> anyhow::Result<()> {
    let flag = |key: &str, value: String| Flag { flag: "--records-url".to_owned(), key: key.to_owned(), value };
    let flags = vec![flag("records_url", url.to_owned()), flag("data_dir", data.display().to_string())];
    let config = Sources { flags, ..Sources::default() }.load()?;
    let records = RecordStore::open(&config.records).await?;
    scenario.write(&records).await;
    confirm_all(&records).await?;
    records.close().await;
    Ok(())
}

/// Confirms everything that was written, as if it had been announced: the recovery of tens of thousands of changes is
/// not what is measured.
async fn confirm_all(records: &RecordStore) -> anyhow::Result<()> {
    let mut query = PendingQuery::untried(Timestamp(u64::MAX));
    loop {
        let page = records.pending(query.clone()).await?;
        let confirmed = page.items.into_iter().map(|item| match item.pending {
            Pending::Change(changed) => Confirmation::Change(changed.change.message.conversation, changed.change.seq),
            Pending::Member(conversation, user, moves) => Confirmation::Member(conversation, user, moves),
            Pending::Membership(conversation, user, moves) => Confirmation::Membership(conversation, user, moves),
            Pending::Creation(conversation, moves) => Confirmation::Creation(conversation, moves),
            Pending::Contact(user, other, moves) => Confirmation::Contact(user, other, moves),
        });
        records.announced(confirmed.collect()).await?;
        // Beyond a bound, confirmations that are not written yet would be dropped.
        records.flush().await;
        if page.next.is_none() {
            return Ok(());
        }
        query.cursor = page.next;
    }
}

/// Copies all files of a folder that has no subfolders.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let file: PathBuf = entry?.path();
        std::fs::copy(&file, to.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// Keys and values of the host's configuration, borrowed.
pub fn as_str_pairs(set: &[(String, String)]) -> Vec<(&str, &str)> {
    set.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}
