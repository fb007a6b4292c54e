//! The ledger: several people with several devices on several hosts write numbered messages while something breaks.
//! Afterwards every message that was acknowledged is in the records, came to every device of every member exactly once
//! and in order (or the device was told `resync` and then has the right state), and every counter equals the records.
//!
//! The ledger knows hosts by their addresses alone. What breaks, and how, is the test's business.

mod audit;
mod device;
mod line;
mod outbox;
mod recovery;
mod sheet;
mod stored;
mod tally;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

pub use audit::Counters;
pub use stored::Stored;
pub use tally::Tally;

use crate::client::Client;
use crate::patience::{look, until};
use crate::token::Token;
use audit::Audit;
use device::{Device, Mood, Role};

/// People of a run: enough for pairs and groups, and for somebody with a device on every host.
const PEOPLE: [&str; 4] = ["Ann", "Bob", "Cid", "Dan"];
/// Who is in which conversation. The first one is the one that readers read.
const CONVERSATIONS: [&[usize]; 4] = [&[0, 1, 2, 3], &[0, 1], &[2, 3], &[0, 2, 3]];
/// Ann and Cid have a device on every host; these two have one each.
const ONE_DEVICE: [usize; 2] = [1, 3];
/// The reader, of the first conversation.
const READER: usize = 1;
/// Messages flow when every writer got so many acknowledgements and every device heard so many more.
const ACKNOWLEDGED: usize = 12;
const HEARD: usize = 20;
/// How long they may take to.
const FLOW_WITHIN: Duration = Duration::from_secs(30);
/// How long everything may take to come right after the last fault.
const SETTLED_WITHIN: Duration = Duration::from_secs(45);

/// A conversation of a run.
#[derive(Clone, Debug)]
struct Conversation {
    id: Uuid,
    members: Vec<Uuid>,
}

/// A run under way.
pub struct Ledger {
    name: &'static str,
    hosts: Vec<SocketAddr>,
    people: Vec<Uuid>,
    conversations: Vec<Conversation>,
    devices: Vec<Device>,
    mood: watch::Sender<Mood>,
}

impl Ledger {
    /// Connects every device; when all are connected, they begin to write.
    pub async fn open(name: &'static str, hosts: Vec<SocketAddr>) -> Self {
        let people: Vec<Uuid> = PEOPLE.iter().map(|_| Uuid::new_v4()).collect();
        let mut conversations = Vec::new();
        for members in CONVERSATIONS {
            let members: Vec<Uuid> = members.iter().map(|member| people[*member]).collect();
            let id = client(hosts[0], members[0]).conversation(&members).await;
            conversations.push(Conversation { id: id.parse().expect("an id"), members });
        }
        let mood = watch::Sender::new(Mood::Connecting);
        let devices = roles(&people, &conversations, hosts.len());
        let devices = devices.map(|role| Device::start(role, hosts.clone(), mood.subscribe())).collect();
        let ledger = Self { name, hosts, people, conversations, devices, mood };
        ledger.until("every device is connected", || ledger.devices.iter().all(|d| d.sheet().connected)).await;
        ledger.mood.send_replace(Mood::Busy);
        ledger.flows().await;
        ledger
    }

    /// What happened so far.
    pub fn tally(&self) -> Tally {
        self.devices.iter().map(|device| device.sheet().tally).sum()
    }

    /// Waits until every writer's messages are acknowledged again, and every device hears of new ones.
    pub async fn flows(&self) {
        let before: Vec<Tally> = self.devices.iter().map(|device| device.sheet().tally).collect();
        let grown = |device: &Device, before: &Tally| {
            let now = device.sheet().tally;
            let heard = now.delivered + now.recovered >= before.delivered + before.recovered + HEARD;
            heard && (!device.role.writes || now.acknowledged >= before.acknowledged + ACKNOWLEDGED)
        };
        self.until("messages flow", || self.devices.iter().zip(&before).all(|(d, b)| grown(d, b))).await;
    }

    /// Waits until this many more messages are acknowledged, whether or not anybody hears of them.
    pub async fn acknowledges(&self, more: usize) {
        let wanted = self.tally().acknowledged + more;
        self.until("messages are acknowledged", || self.tally().acknowledged >= wanted).await;
    }

    /// Waits until this holds of what happened so far.
    pub async fn shows(&self, what: &str, holds: impl Fn(&Tally) -> bool) {
        self.until(what, || holds(&self.tally())).await;
    }

    /// Nobody writes any more; holds everything against the promises, and what `counters` sees in the store too.
    ///
    /// # Panics
    /// When a promise was broken.
    pub async fn settle(self, counters: &mut impl Counters) -> Tally {
        self.mood.send_replace(Mood::Finishing);
        let calm = look(SETTLED_WITHIN, async || self.restless()).await;
        calm.unwrap_or_else(|restless| panic!("{}: never calm: {restless:?}; {}", self.name, self.tally()));
        let audit = Audit::begin(&self).await;
        let right = look(SETTLED_WITHIN, async || audit.differences(&self, counters).await).await;
        right.unwrap_or_else(|differences| {
            panic!("{}: {}\n{}", self.name, self.tally(), differences.join("\n"));
        });
        audit.close(&self).await;
        let tally = self.tally();
        eprintln!("ledger of {}: {tally}", self.name);
        tally
    }

    /// Devices with something under way.
    fn restless(&self) -> Result<(), Vec<String>> {
        let restless: Vec<_> = self.devices.iter().filter(|device| !device.sheet().is_settled()).collect();
        if restless.is_empty() {
            return Ok(());
        }
        Err(restless.into_iter().map(|device| device.sheet().standing()).collect())
    }

    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let what = format!("{}: {what}", self.name);
        until(&what, FLOW_WITHIN, async || {
            self.no_faults();
            holds()
        })
        .await;
    }

    /// # Panics
    /// When a device saw something that must never be.
    fn no_faults(&self) {
        let faults: Vec<String> = self.devices.iter().flat_map(|device| device.sheet().faults.clone()).collect();
        assert!(faults.is_empty(), "{}: {}\n{}", self.name, self.tally(), faults.join("\n"));
    }

    fn of(&self, user: Uuid) -> impl Iterator<Item = &Conversation> {
        self.conversations.iter().filter(move |conversation| conversation.members.contains(&user))
    }
}

/// Devices of everybody: the first of each person writes.
fn roles(people: &[Uuid], conversations: &[Conversation], hosts: usize) -> impl Iterator<Item = Role> {
    people.iter().enumerate().flat_map(move |(person, user)| {
        let devices = if ONE_DEVICE.contains(&person) { 1 } else { hosts.max(2) };
        (0..devices).map(move |device| Role {
            name: format!("{}'s device {device}", PEOPLE[person]),
            user: *user,
            home: (person + device) % hosts,
            conversations: conversations.iter().filter(|c| c.members.contains(user)).map(|c| c.id).collect(),
            writes: device == 0,
            reads: (person == READER && device == 0).then(|| conversations[0].id),
        })
    })
}

fn client(host: SocketAddr, user: Uuid) -> Client {
    Client::new(host, Some(&Token::of(user).sign()))
}
