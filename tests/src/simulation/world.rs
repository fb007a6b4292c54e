//! Everything that the tasks of one run share: kernel, store, records, hosts and the ledger of what happened.
//!
//! Faults stop when `calm` is set; from then on every port call answers at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::testing::{FakeRecords, FakeStore, ManualClock};
use roost_core::time::Timestamp;

use super::executor::Kernel;
use super::hub::Host;
use super::ledger::Ledger;
use super::mistake::Mistake;
use super::plan::Plan;

/// One run's world.
pub(crate) struct World {
    pub(crate) kernel: Kernel,
    pub(crate) plan: Plan,
    pub(crate) mistake: Option<Mistake>,
    pub(crate) store: FakeStore,
    pub(crate) records: FakeRecords,
    pub(crate) users: Vec<UserId>,
    hosts: Vec<Mutex<Host>>,
    ledger: Mutex<Ledger>,
    calm: AtomicBool,
    store_back_ms: AtomicU64,
    records_back_ms: AtomicU64,
    names: AtomicU64,
    at_rest: AtomicU64,
    records_asked: AtomicU64,
    degraded: Mutex<Degraded>,
}

/// What was done without the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Degraded {
    /// Answers that the records gave instead.
    pub reads: u64,
    /// Read positions that moved and were announced later.
    pub marks: u64,
    /// Messages, edits and deletions that were announced later.
    pub sends: u64,
}

impl World {
    /// An empty world of this plan.
    pub(crate) fn new(kernel: Kernel, clock: ManualClock, plan: Plan, mistake: Option<Mistake>) -> Self {
        let users = (1..=plan.users).map(|n| UserId::from_u128(user_bits(n as u128))).collect();
        let hosts = (0..plan.hosts).map(|_| Mutex::default()).collect();
        Self {
            kernel,
            plan,
            mistake,
            store: FakeStore::new(clock),
            records: FakeRecords::new(1),
            users,
            hosts,
            ledger: Mutex::default(),
            calm: AtomicBool::new(false),
            store_back_ms: AtomicU64::new(0),
            records_back_ms: AtomicU64::new(0),
            names: AtomicU64::new(0),
            at_rest: AtomicU64::new(0),
            records_asked: AtomicU64::new(0),
            degraded: Mutex::default(),
        }
    }

    /// One host's memory.
    pub(crate) fn host(&self, index: usize) -> MutexGuard<'_, Host> {
        self.hosts[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hosts that are up.
    pub(crate) fn hosts_up(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|index| self.host(*index).up).collect()
    }

    /// How many hosts there are, up or not.
    pub(crate) fn hosts_count(&self) -> usize {
        self.hosts.len()
    }

    /// What was done without the store so far.
    pub(crate) fn degraded(&self) -> MutexGuard<'_, Degraded> {
        self.degraded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happened so far.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store's time.
    pub(crate) fn now(&self) -> Timestamp {
        ManualClock::START.plus(self.kernel.now_ms())
    }

    /// Whether this seed plants this mistake.
    pub(crate) fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// No further faults.
    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::SeqCst);
        self.store_back_ms.store(0, Ordering::SeqCst);
        self.records_back_ms.store(0, Ordering::SeqCst);
    }

    /// Faults are over.
    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::SeqCst)
    }

    /// The store answers nobody for so long.
    pub(crate) fn take_store_away(&self, span_ms: u64) {
        self.store_back_ms.store(self.kernel.now_ms() + span_ms, Ordering::SeqCst);
    }

    /// The records answer nobody for so long.
    pub(crate) fn take_records_away(&self, span_ms: u64) {
        self.records_back_ms.store(self.kernel.now_ms() + span_ms, Ordering::SeqCst);
    }

    /// The store answers nobody now.
    pub(crate) fn store_is_away(&self) -> bool {
        self.kernel.now_ms() < self.store_back_ms.load(Ordering::SeqCst)
    }

    /// The records answer nobody now.
    pub(crate) fn records_are_away(&self) -> bool {
        self.kernel.now_ms() < self.records_back_ms.load(Ordering::SeqCst)
    }

    /// A number that nothing else in this run is named by.
    pub(crate) fn name(&self) -> u64 {
        self.names.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Another device has nothing left to do.
    pub(crate) fn came_to_rest(&self) {
        self.at_rest.fetch_add(1, Ordering::SeqCst);
    }

    /// Devices that have nothing left to do.
    pub(crate) fn at_rest(&self) -> usize {
        self.at_rest.load(Ordering::SeqCst) as usize
    }

    /// Somebody asks the records.
    pub(crate) fn ask_records(&self) {
        self.records_asked.fetch_add(1, Ordering::SeqCst);
    }

    /// How often somebody did.
    pub(crate) fn records_asked(&self) -> u64 {
        self.records_asked.load(Ordering::SeqCst)
    }

    /// A conversation of two.
    pub(crate) fn is_pair(&self, conversation: ConversationId) -> bool {
        self.records.members_of(conversation).len() == 2
    }

    /// A fresh id.
    pub(crate) fn message_id(&self) -> MessageId {
        MessageId::from_u128((0x3E55 << 64) | u128::from(self.name()))
    }

    /// A fresh id.
    pub(crate) fn conversation_id(&self) -> ConversationId {
        ConversationId::from_u128((0xC0 << 64) | u128::from(self.name()))
    }

    /// A user's place in the list, for people to read.
    pub(crate) fn short(&self, user: UserId) -> String {
        match self.users.iter().position(|other| *other == user) {
            Some(index) => format!("u{}", index + 1),
            None => user.to_string(),
        }
    }
}

/// Users share two presence shards, so that sweeps of one shard meet several of them.
fn user_bits(number: u128) -> u128 {
    let shard = |bits: u128| roost_core::key::Owner::presence_shard(UserId::from_u128(bits));
    let wanted = [shard(1), shard(2)];
    let mut found = (1..).filter(|bits| wanted.contains(&shard(*bits)));
    found.nth(number as usize - 1).unwrap_or(number)
}
