//! The ledger: several users with several devices on several hosts send numbered messages while a test injects faults.
//! Afterwards every acknowledged message must be in the records, must have reached every device of every member exactly
//! once and in order (or the device received `resync` and then fetched the right state), and every counter must equal
//! the records.
//!
//! The ledger knows only the addresses of the hosts. The faults are up to the test.

mod connection;
mod device;
mod observations;
mod outbox;
mod recovery;
mod redis_counters;
mod tally;
mod verification;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

pub use recovery::history;
pub use redis_counters::RedisCounters;
pub use tally::Tally;
pub use verification::Counters;

use crate::client::Client;
use crate::eventually::retry_until_ok;
use crate::token::Token;
use device::{Activity, Device, Role};
use verification::Verification;

/// The users of a run: enough for pairs and groups, and for users with a device on every host.
const USER_NAMES: [&str; 4] = ["Ann", "Bob", "Cid", "Dan"];
/// The members of each conversation, as indices of users. The first conversation is the one that the reader reads.
const CONVERSATIONS: [&[usize]; 4] = [&[0, 1, 2, 3], &[0, 1], &[2, 3], &[0, 2, 3]];
/// Ann and Cid have a device on every host; these two users have one device each.
const ONE_DEVICE: [usize; 2] = [1, 3];
/// The user who reads the first conversation.
const READER: usize = 1;
/// Messages flow when every writer has this many more acknowledgements, and every device has received this many more
/// messages.
const ACKNOWLEDGED: usize = 12;
const DELIVERED: usize = 20;
/// How long that may take, also while other tests saturate the machine.
const FLOW_WITHIN: Duration = Duration::from_secs(90);
/// How long the system may take to recover completely after the last fault, on such a machine, too.
const IDLE_WITHIN: Duration = Duration::from_secs(90);

/// A conversation of a run with its members.
#[derive(Clone, Debug)]
struct Conversation {
    id: Uuid,
    members: Vec<Uuid>,
}

/// A running ledger.
pub struct Ledger {
    name: &'static str,
    hosts: Vec<SocketAddr>,
    users: Vec<Uuid>,
    conversations: Vec<Conversation>,
    devices: Vec<Device>,
    activity: watch::Sender<Activity>,
}

impl Ledger {
    /// Connects all devices; when all are connected, they start to send messages.
    pub async fn open(name: &'static str, hosts: Vec<SocketAddr>) -> Self {
        let users: Vec<Uuid> = USER_NAMES.iter().map(|_| Uuid::new_v4()).collect();
        let mut conversations = Vec::new();
        for members in CONVERSATIONS {
            let members: Vec<Uuid> = members.iter().map(|member| users[*member]).collect();
            let id = client(hosts[0], members[0]).conversation(&members).await;
            conversations.push(Conversation { id: id.parse().expect("an id"), members });
        }
        let activity = watch::Sender::new(Activity::Connecting);
        let devices = roles(&users, &conversations, hosts.len());
        let devices = devices.map(|role| Device::start(role, hosts.clone(), activity.subscribe())).collect();
        let ledger = Self { name, hosts, users, conversations, devices, activity };
        ledger
            .wait_for("every device is connected", || ledger.devices.iter().all(|d| d.observations().connected))
            .await;
        ledger.activity.send_replace(Activity::Writing);
        ledger.wait_for_flow().await;
        ledger
    }

    /// The counts of all devices so far.
    pub fn tally(&self) -> Tally {
        self.devices.iter().map(|device| device.observations().tally).sum()
    }

    /// Waits until every writer's messages are acknowledged again, and every device receives new ones.
    pub async fn wait_for_flow(&self) {
        let before: Vec<Tally> = self.devices.iter().map(|device| device.observations().tally).collect();
        let progressed = |device: &Device, before: &Tally| {
            let now = device.observations().tally;
            let delivered = now.delivered + now.recovered >= before.delivered + before.recovered + DELIVERED;
            delivered && (!device.role.writes || now.acknowledged >= before.acknowledged + ACKNOWLEDGED)
        };
        self.wait_for("messages flow", || self.devices.iter().zip(&before).all(|(d, b)| progressed(d, b))).await;
    }

    /// Waits until this many more messages are acknowledged, whether or not they reach any device.
    pub async fn wait_for_acknowledgements(&self, more: usize) {
        let target = self.tally().acknowledged + more;
        self.wait_for("messages are acknowledged", || self.tally().acknowledged >= target).await;
    }

    /// Waits until this holds for the counts of all devices.
    pub async fn wait_for_tally(&self, what: &str, holds: impl Fn(&Tally) -> bool) {
        self.wait_for(what, || holds(&self.tally())).await;
    }

    /// Stops the writers, waits until all devices are idle, and verifies every guarantee. `counters` gives access to
    /// the counters in the store.
    ///
    /// # Panics
    /// If a guarantee is violated.
    pub async fn finish(self, counters: &mut impl Counters) -> Tally {
        self.activity.send_replace(Activity::Finishing);
        let idle = retry_until_ok(IDLE_WITHIN, async || self.busy_devices()).await;
        idle.unwrap_or_else(|busy_devices| {
            panic!("{}: devices do not become idle: {busy_devices:?}; {}", self.name, self.tally())
        });
        let verification = Verification::read_records(&self).await;
        let verified = retry_until_ok(IDLE_WITHIN, async || verification.differences(&self, counters).await).await;
        verified.unwrap_or_else(|differences| {
            panic!("{}: {}\n{}", self.name, self.tally(), differences.join("\n"));
        });
        verification.finish(&self).await;
        let tally = self.tally();
        eprintln!("ledger of {}: {tally}; refused and retried: {:?}", self.name, self.refusals());
        tally
    }

    /// How often frames were refused that can be sent again, by the code of the error.
    fn refusals(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for device in &self.devices {
            for (code, count) in &device.observations().refusals {
                *all.entry(code.clone()).or_default() += count;
            }
        }
        all
    }

    /// The devices that still have something to do.
    fn busy_devices(&self) -> Result<(), Vec<String>> {
        let busy_devices: Vec<_> = self.devices.iter().filter(|device| !device.observations().is_idle()).collect();
        if busy_devices.is_empty() {
            return Ok(());
        }
        Err(busy_devices.into_iter().map(|device| device.observations().describe()).collect())
    }

    async fn wait_for(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let reached = retry_until_ok(FLOW_WITHIN, async || {
            self.assert_no_violations();
            if holds() { Ok(()) } else { Err(()) }
        });
        assert!(
            reached.await.is_ok(),
            "{}: {what}: not within {FLOW_WITHIN:?}; {}; refused and retried: {:?}; {:#?}",
            self.name,
            self.tally(),
            self.refusals(),
            self.devices.iter().map(|device| device.observations().describe()).collect::<Vec<_>>()
        );
    }

    /// # Panics
    /// If a device has observed something that must never happen.
    fn assert_no_violations(&self) {
        let violations: Vec<String> =
            self.devices.iter().flat_map(|device| device.observations().violations.clone()).collect();
        assert!(violations.is_empty(), "{}: {}\n{}", self.name, self.tally(), violations.join("\n"));
    }

    fn of(&self, user: Uuid) -> impl Iterator<Item = &Conversation> {
        self.conversations.iter().filter(move |conversation| conversation.members.contains(&user))
    }
}

/// The devices of all users; the first device of each user writes.
fn roles(users: &[Uuid], conversations: &[Conversation], hosts: usize) -> impl Iterator<Item = Role> {
    users.iter().enumerate().flat_map(move |(user_index, user)| {
        let devices = if ONE_DEVICE.contains(&user_index) { 1 } else { hosts.max(2) };
        (0..devices).map(move |device| Role {
            name: format!("{}'s device {device}", USER_NAMES[user_index]),
            user: *user,
            home: (user_index + device) % hosts,
            conversations: conversations.iter().filter(|c| c.members.contains(user)).map(|c| c.id).collect(),
            writes: device == 0,
            reads: (user_index == READER && device == 0).then(|| conversations[0].id),
        })
    })
}

fn client(host: SocketAddr, user: Uuid) -> Client {
    Client::new(host, Some(&Token::of(user).sign()))
}
