//! Slots of repeated work: time is divided into slots of equal length, and in each slot at most one host does the work.
//!
//! A host claims the slot in the store before it begins, and releases it when it is done. A claim is a lease: it ends
//! by itself if its host dies. While a lease holds, no other host begins, also not in a later slot, so that the work
//! never overlaps itself.

use crate::error::Error;
use crate::key::Key;
use crate::limits::{SLOT_RECORD_TTL_MS, SLOT_SHARDS};
use crate::port::{Check, KeyValue, Mutation, Query, StoreError, Text, Transaction, Value};
use crate::spread;
use crate::store_answers::unexpected;
use crate::store_calls;
use crate::time::Timestamp;

const SLOT: &str = "slot";
const UNTIL: &str = "until";
const HOLDER: &str = "holder";

/// Work that is repeated at an interval, by one host at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatedWork {
    /// Identifies the work in the cluster: an item of a key, so 1 to 128 bytes of `a-z`, `0-9`, `.`, `_` and `-`.
    pub name: String,
    /// The length of a slot; at least 1.
    pub every_ms: u64,
    /// The longest time that the work takes in one slot. A host that dies blocks the work for this long at most.
    pub lease_ms: u64,
}

/// A slot that a host has claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedSlot {
    start: Timestamp,
    until: Timestamp,
}

impl ClaimedSlot {
    /// When the lease ends. Work that may last longer must not begin.
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

/// What the store holds about the latest claim, as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SlotRecord {
    slot: Option<String>,
    until: Option<String>,
    holder: Option<String>,
}

impl RepeatedWork {
    /// The start of the slot at this time. Slots of different work begin at different times.
    pub fn slot_start(&self, now: Timestamp) -> Timestamp {
        now.minus(self.since_start(now))
    }

    /// The milliseconds until the next slot begins, at least 1.
    pub fn next_slot_in_ms(&self, now: Timestamp) -> u64 {
        self.length_ms() - self.since_start(now)
    }

    fn length_ms(&self) -> u64 {
        self.every_ms.max(1)
    }

    fn since_start(&self, now: Timestamp) -> u64 {
        let phase = spread::hash(&self.name) % self.length_ms();
        now.plus(self.length_ms() - phase).0 % self.length_ms()
    }

    fn key(&self) -> Key {
        Key::of_host(spread::shard(&self.name, SLOT_SHARDS), format!("slot.{}", self.name))
    }

    /// Whether `holder` may do the work of the slot that starts at `start`.
    ///
    /// A record of a slot in the future is from a time before the clock was set back, and says nothing. The holder of a
    /// lease that has not ended may claim again: one host never does the work twice at the same time, so its earlier
    /// claim was never used.
    fn is_free(&self, record: &SlotRecord, (start, now): (Timestamp, Timestamp), holder: &str) -> bool {
        let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok()).map(Timestamp);
        let (Some(slot), Some(until)) = (number(&record.slot), number(&record.until)) else { return true };
        if slot > now.plus(self.length_ms()) {
            return true;
        }
        slot < start && (until <= now || record.holder.as_deref() == Some(holder))
    }
}

/// Claims the present slot for the host `holder`, which must not be doing this work now; `None` if another host has
/// claimed it, or still does the work of an earlier one. After an error the slot may be claimed or not.
pub async fn claim<S: KeyValue>(
    store: &S,
    work: &RepeatedWork,
    holder: &str,
    now: Timestamp,
) -> Result<Option<ClaimedSlot>, Error> {
    let key = work.key();
    let record = read(store, &key).await?;
    let start = work.slot_start(now);
    if !work.is_free(&record, (start, now), holder) {
        return Ok(None);
    }
    let until = now.plus(work.lease_ms);
    let fields = [(SLOT, start.0.to_string()), (UNTIL, until.0.to_string()), (HOLDER, holder.to_owned())];
    let transaction = Transaction::new(key.owner)
        .check(Check::FieldEquals(key.clone(), SLOT.into(), record.slot.map(Text::from)))
        .check(Check::FieldEquals(key.clone(), UNTIL.into(), record.until.map(Text::from)))
        .mutate(Mutation::SetFields(key.clone(), fields.map(|(name, text)| (name.into(), text.into())).into()))
        .mutate(Mutation::Expire(key, SLOT_RECORD_TTL_MS.max(work.lease_ms).max(work.length_ms().saturating_mul(2))));
    Ok(store_calls::is_committed(store, transaction).await?.then_some(ClaimedSlot { start, until }))
}

/// Ends the lease of a slot whose work is done, so that the next slot can begin. Nothing happens if the lease has ended
/// and another host has claimed a slot since.
pub async fn release<S: KeyValue>(
    store: &S,
    work: &RepeatedWork,
    slot: &ClaimedSlot,
    holder: &str,
) -> Result<(), Error> {
    let key = work.key();
    let same = |name: &'static str, text: String| Check::FieldEquals(key.clone(), name.into(), Some(text.into()));
    let transaction = Transaction::new(key.owner)
        .check(same(SLOT, slot.start.0.to_string()))
        .check(same(UNTIL, slot.until.0.to_string()))
        .check(same(HOLDER, holder.to_owned()))
        .mutate(Mutation::SetFields(key.clone(), vec![(UNTIL.into(), "0".into())]));
    store_calls::is_committed(store, transaction).await.map(drop)
}

async fn read<S: KeyValue>(store: &S, key: &Key) -> Result<SlotRecord, StoreError> {
    let names = [SLOT, UNTIL, HOLDER].map(str::to_owned).into();
    let values = store.read(vec![Query::NamedFields(key.clone(), names)]).await?;
    let Some(Value::NamedFields(fields)) = values.into_iter().next() else {
        return Err(unexpected("named fields"));
    };
    let mut fields = fields.into_iter();
    let mut next = || fields.next().flatten();
    Ok(SlotRecord { slot: next(), until: next(), holder: next() })
}

#[cfg(test)]
mod tests;
