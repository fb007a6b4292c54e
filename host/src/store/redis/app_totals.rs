//! The bytes of functions' items on a Cluster, where no server can count them all with a transaction.
//!
//! Each slot has a ledger, which is exact. A host notes the ledger after each of its transactions, in a hash that all
//! hosts share, and learns the sum over all slots from the answer. So the bound of a function can be exceeded by what
//! all hosts write until their notes have arrived: usually a few milliseconds, and never more than a queue of notes.
//! When a bound is reached, the ledgers are asked to give back what has expired in slots that nobody uses any more.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{Value as Reply, cmd};
use roost_core::port::{AppBound, ITEM_BYTES, SCORE_BYTES};
use tokio::sync::mpsc;

use super::connections::requests::{RequestSender, RequestUnit};
use super::ledger::{KnownLedgers, LedgerState};
use super::names::RedisNames;
use super::read::text;
use super::scripts;

/// Notes that wait to be sent. Further ones are dropped: the next transaction in the slot notes its newer state.
const NOTES_MAX: usize = 16_384;
/// Notes that are sent together.
const NOTES_AT_ONCE: usize = 1_024;
/// The ledgers of a function are asked to give back at most this often.
const GIVE_BACK_INTERVAL: Duration = Duration::from_secs(5);
/// Ledgers that are asked together.
const LEDGERS_AT_ONCE: usize = 512;

/// Something for the task that exchanges notes.
enum LedgerNote {
    Ledger { function: Arc<str>, slot: u16, state: LedgerState },
    Full { function: Arc<str> },
}

/// What this host knows about the ledgers of all functions.
pub(super) struct AppTotals {
    known: Mutex<HashMap<Arc<str>, KnownLedgers>>,
    notes: mpsc::Sender<LedgerNote>,
    /// Taken by the task while it runs.
    received: tokio::sync::Mutex<mpsc::Receiver<LedgerNote>>,
}

impl AppTotals {
    pub(super) fn new() -> Self {
        let (notes, received) = mpsc::channel(NOTES_MAX);
        Self { known: Mutex::default(), notes, received: tokio::sync::Mutex::new(received) }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, KnownLedgers>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bound on the ledger of a slot, and whether this host knows the slot.
    pub(super) fn bound_of(&self, function: &str, slot: u16, bound: AppBound) -> (AppBound, bool) {
        self.known().get(function).map_or((bound, false), |known| known.bound_of(slot, bound))
    }

    /// Notes the state of a ledger after a transaction.
    pub(super) fn note(&self, function: &str, slot: u16, state: LedgerState) {
        let mut known = self.known();
        let function = match known.get_key_value(function) {
            Some((function, _)) => Arc::clone(function),
            None => function.into(),
        };
        known.entry(Arc::clone(&function)).or_default().note(slot, state);
        drop(known);
        let _ = self.notes.try_send(LedgerNote::Ledger { function, slot, state });
    }

    /// Notes that a function has reached its bound.
    pub(super) fn note_full(&self, function: &str) {
        let _ = self.notes.try_send(LedgerNote::Full { function: function.into() });
    }

    /// Exchanges notes with the other hosts; never returns.
    pub(super) async fn run(&self, requests: &RequestSender, names: &RedisNames) {
        let mut received = self.received.lock().await;
        let mut given_back: HashMap<Arc<str>, Instant> = HashMap::new();
        let mut notes = Vec::new();
        while received.recv_many(&mut notes, NOTES_AT_ONCE).await > 0 {
            let (mut ledgers, mut full) = (Ledgers::new(), Vec::new());
            for note in notes.drain(..) {
                match note {
                    LedgerNote::Ledger { function, slot, state } => insert_newer(&mut ledgers, function, (slot, state)),
                    LedgerNote::Full { function } if !full.contains(&function) => full.push(function),
                    LedgerNote::Full { .. } => {}
                }
            }
            self.exchange(requests, names, ledgers).await;
            full.retain(|function| given_back.get(function).is_none_or(|at| at.elapsed() >= GIVE_BACK_INTERVAL));
            for function in full {
                given_back.insert(Arc::clone(&function), Instant::now());
                let ledgers = give_back(requests, names, &function).await;
                self.exchange(requests, names, BTreeMap::from([(function, ledgers)])).await;
            }
        }
    }

    /// Adds the states of ledgers to the shared totals, and notes the sums. Without an answer the next exchange does
    /// so.
    async fn exchange(&self, requests: &RequestSender, names: &RedisNames, ledgers: Ledgers) {
        let ledgers: Vec<_> = ledgers.into_iter().filter(|(_, slots)| !slots.is_empty()).collect();
        let units: Vec<RequestUnit> = ledgers.iter().map(|(function, slots)| add_up(names, function, slots)).collect();
        let Ok(replies) = requests.send(&units).await else { return };
        for ((function, slots), reply) in ledgers.into_iter().zip(replies) {
            let sum = reply.ok().and_then(|reply| text(reply.last())?.parse().ok());
            let mut known = self.known();
            let known = known.entry(function).or_default();
            match sum {
                Some(sum) => known.note_sum(sum, &slots),
                None => slots.into_iter().for_each(|(slot, state)| known.note(slot, state)),
            }
        }
    }
}

/// The states of ledgers, by function and slot.
type Ledgers = BTreeMap<Arc<str>, BTreeMap<u16, LedgerState>>;

fn insert_newer(ledgers: &mut Ledgers, function: Arc<str>, (slot, state): (u16, LedgerState)) {
    let known = ledgers.entry(function).or_default().entry(slot).or_default();
    if state.at_us >= known.at_us {
        *known = state;
    }
}

fn add_up(names: &RedisNames, function: &str, slots: &BTreeMap<u16, LedgerState>) -> RequestUnit {
    let totals = names.app_total(function);
    let mut call = scripts::app_total().call(std::iter::once(&totals));
    for (slot, state) in slots {
        call.arg(slot).arg(state.bytes).arg(state.at_us);
    }
    RequestUnit::single(names.slot_of(&totals), call)
}

/// Lets the ledgers of a function give back what has expired; returns their states.
async fn give_back(requests: &RequestSender, names: &RedisNames, function: &str) -> BTreeMap<u16, LedgerState> {
    let slots = used_slots(requests, names, function).await;
    let mut states = BTreeMap::new();
    for slots in slots.chunks(LEDGERS_AT_ONCE) {
        let units: Vec<RequestUnit> = slots.iter().map(|slot| give_back_in(names, function, *slot)).collect();
        let Ok(replies) = requests.send(&units).await else { return states };
        for (slot, reply) in slots.iter().zip(replies) {
            let Ok(Reply::Array(transactions)) = reply.map(|reply| reply.last()) else { continue };
            let Some(Reply::Array(parts)) = transactions.into_iter().next() else { continue };
            let state = parts.into_iter().filter_map(text).find_map(|part| LedgerState::parse(&part));
            states.extend(state.map(|state| (*slot, state)));
        }
    }
    states
}

/// A call of `commit.lua` that changes nothing but the ledger.
fn give_back_in(names: &RedisNames, function: &str, slot: u16) -> RequestUnit {
    let mut call = scripts::commit().call(names.ledger_of(function, slot).iter());
    // One transaction with two keys and eight arguments.
    call.arg(1).arg(2).arg(8);
    // No checks, no mutations, no publications; the ledger begins at the first key, and there is no bound.
    call.arg(0).arg(0).arg(0).arg(1).arg(names.items_of(function)).arg("").arg(ITEM_BYTES).arg(SCORE_BYTES);
    RequestUnit { slot, commands: vec![call], is_signed: true }
}

/// The slots in which the function has items, as far as the shared totals know.
async fn used_slots(requests: &RequestSender, names: &RedisNames, function: &str) -> Vec<u16> {
    let totals = names.app_total(function);
    let mut command = cmd("HGETALL");
    command.arg(&totals);
    let unit = RequestUnit::single(names.slot_of(&totals), command);
    let reply = requests.send(&[unit]).await.ok().and_then(|mut replies| replies.pop()?.ok());
    let Some(Reply::Map(fields)) = reply.map(|reply| reply.last()) else { return Vec::new() };
    let states = fields.into_iter().filter_map(|(slot, state)| Some((text(slot)?.parse().ok()?, text(state)?)));
    let used = states.filter(|(_, state)| LedgerState::parse(state).is_some_and(|state| state.bytes > 0));
    used.map(|(slot, _)| slot).collect()
}
