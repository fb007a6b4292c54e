//! Everything that the tasks of one run share: kernel, store, records, hosts and the ground truth.
//!
//! Faults stop when `faults_stopped` is set; from then on every port call answers at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{KeyValue, Query, Value};
use roost_core::testing::{FakeRecords, FakeStore, ManualClock};
use roost_core::time::Timestamp;

use super::deletions::DeletionOutcomes;
use super::executor::{Kernel, complete_now};
use super::ground_truth::GroundTruth;
use super::plan::Plan;
use super::planted_bug::PlantedBug;
use super::sessions::Host;

/// The world of one run.
pub(crate) struct World {
    pub(crate) kernel: Kernel,
    pub(crate) plan: Plan,
    pub(crate) planted_bug: Option<PlantedBug>,
    pub(crate) store: FakeStore,
    pub(crate) records: FakeRecords,
    pub(crate) users: Vec<UserId>,
    /// A user without devices, who is a member of groups and has written something there, until a service erases the
    /// user.
    pub(crate) passive: UserId,
    hosts: Vec<Mutex<Host>>,
    ground_truth: Mutex<GroundTruth>,
    faults_stopped: AtomicBool,
    store_away_since_ms: AtomicU64,
    swept_before_outage: AtomicBool,
    store_back_ms: AtomicU64,
    records_back_ms: AtomicU64,
    names: AtomicU64,
    devices_finished: AtomicU64,
    records_asked: AtomicU64,
    degraded: Mutex<Degraded>,
    mixed_commits: AtomicU64,
    deletions: Mutex<DeletionOutcomes>,
}

/// Work that was done while the store was unavailable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Degraded {
    /// Reads that were answered by the records instead.
    pub reads: u64,
    /// Read positions that were stored and announced later.
    pub marks: u64,
    /// Messages, edits and deletions that were stored and announced later.
    pub sends: u64,
}

impl World {
    /// An empty world with this plan.
    pub(crate) fn new(kernel: Kernel, clock: ManualClock, plan: Plan, planted_bug: Option<PlantedBug>) -> Self {
        let users = (1..=plan.users).map(|n| UserId::from_u128(user_bits(n as u128))).collect();
        let hosts = (0..plan.hosts).map(|_| Mutex::default()).collect();
        Self {
            kernel,
            plan,
            planted_bug,
            store: FakeStore::new(clock),
            records: FakeRecords::new(1),
            users,
            passive: UserId::from_u128(0xFA55_17E0),
            hosts,
            ground_truth: Mutex::default(),
            faults_stopped: AtomicBool::new(false),
            store_away_since_ms: AtomicU64::new(0),
            swept_before_outage: AtomicBool::new(false),
            store_back_ms: AtomicU64::new(0),
            records_back_ms: AtomicU64::new(0),
            names: AtomicU64::new(0),
            devices_finished: AtomicU64::new(0),
            records_asked: AtomicU64::new(0),
            degraded: Mutex::default(),
            mixed_commits: AtomicU64::new(0),
            deletions: Mutex::default(),
        }
    }

    /// The memory of one host.
    pub(crate) fn host(&self, index: usize) -> MutexGuard<'_, Host> {
        self.hosts[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The running hosts.
    pub(crate) fn hosts_up(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|index| self.host(*index).up).collect()
    }

    /// The number of hosts, running or not.
    pub(crate) fn hosts_count(&self) -> usize {
        self.hosts.len()
    }

    /// The work done without the store so far.
    pub(crate) fn degraded(&self) -> MutexGuard<'_, Degraded> {
        self.degraded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How deletions reached the counters so far.
    pub(crate) fn deletions(&self) -> MutexGuard<'_, DeletionOutcomes> {
        self.deletions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a commit of the next version of the functions, if another running host has the present one.
    pub(crate) fn next_version_commits(&self) {
        if self.hosts_up().into_iter().any(|index| !self.host(index).runs_next_version) {
            self.mixed_commits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of commits that [`World::next_version_commits`] counted.
    pub(crate) fn mixed_commits(&self) -> u64 {
        self.mixed_commits.load(Ordering::Relaxed)
    }

    /// The ground truth so far.
    pub(crate) fn ground_truth(&self) -> MutexGuard<'_, GroundTruth> {
        self.ground_truth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of the store's clock.
    pub(crate) fn now(&self) -> Timestamp {
        ManualClock::START.plus(self.kernel.now_ms())
    }

    /// Whether this run has this planted bug.
    pub(crate) fn has_bug(&self, planted_bug: PlantedBug) -> bool {
        self.planted_bug == Some(planted_bug)
    }

    /// Stops all faults.
    pub(crate) fn stop_faults(&self) {
        self.faults_stopped.store(true, Ordering::SeqCst);
        self.store_back_ms.fetch_min(self.kernel.now_ms(), Ordering::SeqCst);
        for index in 0..self.hosts.len() {
            self.host(index).cut_off_until_ms = 0;
        }
        self.records_back_ms.store(0, Ordering::SeqCst);
    }

    /// Whether faults have stopped.
    pub(crate) fn faults_stopped(&self) -> bool {
        self.faults_stopped.load(Ordering::SeqCst)
    }

    /// Makes the store unavailable for this time.
    pub(crate) fn take_store_away(&self, span_ms: u64) {
        if !self.store_is_away() {
            self.store_away_since_ms.store(self.kernel.now_ms(), Ordering::SeqCst);
            self.swept_before_outage.store(self.is_every_shard_swept(), Ordering::SeqCst);
        }
        self.store_back_ms.store(self.kernel.now_ms() + span_ms, Ordering::SeqCst);
    }

    /// Makes the store unavailable for one host alone.
    pub(crate) fn cut_off(&self, index: usize, span_ms: u64) {
        let now_ms = self.kernel.now_ms();
        let mut host = self.host(index);
        if host.cut_off_until_ms <= now_ms {
            host.cut_off_since_ms = now_ms;
        }
        host.cut_off_until_ms = now_ms + span_ms;
    }

    /// Whether every shard had been swept when the last outage of the store began. Otherwise no sweep can notice it.
    pub(crate) fn was_swept_before_outage(&self) -> bool {
        self.swept_before_outage.load(Ordering::SeqCst)
    }

    fn is_every_shard_swept(&self) -> bool {
        let note = |user: &UserId| Query::Presence(Key::new(Space::PresenceSweep, Owner::presence_shard(*user)));
        let notes = complete_now(self.store.read(self.users.iter().map(note).collect()));
        notes.is_ok_and(|notes| notes.iter().all(|note| *note == Value::Presence(true)))
    }

    /// When the last outage of the store began and ended; for all hosts, that is.
    pub(crate) fn last_store_outage_ms(&self) -> (u64, u64) {
        (self.store_away_since_ms.load(Ordering::SeqCst), self.store_back_ms.load(Ordering::SeqCst))
    }

    /// Makes the records unavailable for this time.
    pub(crate) fn take_records_away(&self, span_ms: u64) {
        self.records_back_ms.store(self.kernel.now_ms() + span_ms, Ordering::SeqCst);
    }

    /// Whether the store is unavailable now.
    pub(crate) fn store_is_away(&self) -> bool {
        self.kernel.now_ms() < self.store_back_ms.load(Ordering::SeqCst)
    }

    /// Whether this host alone cannot reach the store now.
    pub(crate) fn is_cut_off(&self, index: usize) -> bool {
        self.kernel.now_ms() < self.host(index).cut_off_until_ms
    }

    /// Whether the records are unavailable now.
    pub(crate) fn records_are_away(&self) -> bool {
        self.kernel.now_ms() < self.records_back_ms.load(Ordering::SeqCst)
    }

    /// A number that is unique in this run.
    pub(crate) fn name(&self) -> u64 {
        self.names.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Counts a device that has finished its actions.
    pub(crate) fn device_finished(&self) {
        self.devices_finished.fetch_add(1, Ordering::SeqCst);
    }

    /// The number of devices that have finished their actions.
    pub(crate) fn devices_finished(&self) -> usize {
        self.devices_finished.load(Ordering::SeqCst) as usize
    }

    /// Counts a query to the records.
    pub(crate) fn ask_records(&self) {
        self.records_asked.fetch_add(1, Ordering::SeqCst);
    }

    /// The number of queries to the records so far.
    pub(crate) fn records_asked(&self) -> u64 {
        self.records_asked.load(Ordering::SeqCst)
    }

    /// Whether a conversation has two members.
    pub(crate) fn is_pair(&self, conversation: ConversationId) -> bool {
        self.records.members_of(conversation).len() == 2
    }

    /// A new message id.
    pub(crate) fn message_id(&self) -> MessageId {
        MessageId::from_u128((0x3E55 << 64) | u128::from(self.name()))
    }

    /// A new conversation id.
    pub(crate) fn conversation_id(&self) -> ConversationId {
        ConversationId::from_u128((0xC0 << 64) | u128::from(self.name()))
    }

    /// A short name of a user, for messages.
    pub(crate) fn label(&self, user: UserId) -> String {
        match self.users.iter().position(|other| *other == user) {
            Some(index) => format!("u{}", index + 1),
            None => user.to_string(),
        }
    }
}

/// The users share two presence shards, so that one sweep meets several of them.
fn user_bits(number: u128) -> u128 {
    let shard = |bits: u128| roost_core::key::Owner::presence_shard(UserId::from_u128(bits));
    let shards = [shard(1), shard(2)];
    let mut candidates = (1..).filter(|bits| shards.contains(&shard(*bits)));
    candidates.nth(number as usize - 1).unwrap_or(number)
}
