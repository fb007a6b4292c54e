//! How long a failed call waits, how often it is tried, and the transactions that change a queue.

use super::Trigger;
use crate::key::{Key, Owner};
use crate::limits::{
    TRIGGER_ATTEMPTS_MAX, TRIGGER_DONE_MAX, TRIGGER_DONE_TTL_MS, TRIGGER_ENTRY_TTL_MS, TRIGGER_QUEUE_BYTES_MAX,
    TRIGGER_QUEUE_MAX, TRIGGER_QUEUE_SHARDS, TRIGGER_QUEUE_TTL_MS, TRIGGER_RETRY_MS, TRIGGER_RETRY_MS_MAX,
};
use crate::port::{Check, Mutation, Text, Transaction};
use crate::spread;
use crate::stored_text::{self, signed};
use crate::time::Timestamp;

/// The fields of an entry besides the parts of its text, and the fields of the size of a queue.
pub(super) const ATTEMPTS: &str = "attempts";
pub(super) const BYTES: &str = "bytes";
pub(super) const ENTRIES: &str = "entries";

/// The index of the check of [`QueueKeys::finish`] that there is room for a note.
pub(super) const NOTES_CHECK: u32 = 1;

/// The pause before the next attempt, after so many failed ones; `None` if there shall be no further one.
pub const fn retry_after_ms(attempts: u32) -> Option<u64> {
    if attempts >= TRIGGER_ATTEMPTS_MAX {
        return None;
    }
    let doubled = TRIGGER_RETRY_MS << (if attempts == 0 { 0 } else { attempts - 1 });
    Some(if doubled < TRIGGER_RETRY_MS_MAX { doubled } else { TRIGGER_RETRY_MS_MAX })
}

/// The keys of one function's queue. All of them are in one partition.
pub(super) struct QueueKeys<'f> {
    function: &'f str,
    owner: Owner,
}

impl<'f> QueueKeys<'f> {
    pub(super) fn of(function: &'f str) -> Self {
        Self { function, owner: spread::shard(function, TRIGGER_QUEUE_SHARDS) }
    }

    /// The ids of the queued calls, scored by the time at which each is due.
    pub(super) fn due(&self) -> Key {
        self.key("due", "")
    }

    /// The number of entries and of bytes.
    pub(super) fn size(&self) -> Key {
        self.key("size", "")
    }

    pub(super) fn entry(&self, id: &str) -> Key {
        self.key("call", id)
    }

    /// Exists for a while after a call was made, so that the same publication is not queued again.
    fn done(&self, id: &str) -> Key {
        self.key("done", id)
    }

    /// The number of calls that were noted as made, in the span of time in which this lease ends. Each span is as long
    /// as a note exists, so the notes of two spans at most exist at a time.
    pub(super) fn notes(&self, due: i64) -> Key {
        self.key("notes", &(due / signed(TRIGGER_DONE_TTL_MS)).to_string())
    }

    fn key(&self, what: &str, id: &str) -> Key {
        let separator = if id.is_empty() { "" } else { "." };
        Key::of_host(self.owner, format!("{what}.{}{separator}{id}", self.function))
    }

    fn resize(&self, entries: i64, bytes: i64) -> [Mutation; 2] {
        [Mutation::AddField(self.size(), ENTRIES.into(), entries), Mutation::AddField(self.size(), BYTES.into(), bytes)]
    }

    /// Adds a call. The checks in their order: not queued, not made a short time ago, entries left, bytes left.
    pub(super) fn enqueue(&self, trigger: &Trigger, text: &str, now: Timestamp) -> Transaction {
        let (entry, size) = (self.entry(&trigger.id), self.size());
        let mut fields: Vec<(Text, Text)> = stored_text::split(text);
        fields.push((ATTEMPTS.into(), "0".into()));
        fields.push((BYTES.into(), text.len().to_string().into()));
        let [more_entries, more_bytes] = self.resize(1, signed(text.len() as u64));
        Transaction::new(self.owner)
            .check(Check::Absent(entry.clone()))
            .check(Check::Absent(self.done(&trigger.id)))
            .check(Check::FieldBelow(size.clone(), ENTRIES.into(), TRIGGER_QUEUE_MAX))
            .check(Check::FieldBelow(size.clone(), BYTES.into(), TRIGGER_QUEUE_BYTES_MAX))
            .mutate(Mutation::SetFields(entry.clone(), fields))
            .mutate(Mutation::Expire(entry, TRIGGER_ENTRY_TTL_MS))
            .mutate(Mutation::OrderedPut(self.due(), trigger.id.clone().into(), now.score()))
            .mutate(Mutation::Expire(self.due(), TRIGGER_QUEUE_TTL_MS))
            .mutate(more_entries)
            .mutate(more_bytes)
            .mutate(Mutation::Expire(size, TRIGGER_QUEUE_TTL_MS))
    }

    /// Whether the call is still due at this time, so that nobody else has claimed it.
    fn is_due(&self, id: &str, due: i64) -> Transaction {
        Transaction::new(self.owner).check(Check::ScoreEquals(self.due(), id.to_owned().into(), Some(due)))
    }

    /// Makes the call due at `until` and counts an attempt, whose number is the result.
    pub(super) fn claim(&self, id: &str, due: i64, until: Timestamp) -> Transaction {
        self.is_due(id, due)
            .check(Check::Present(self.entry(id)))
            .mutate(Mutation::OrderedPut(self.due(), id.to_owned().into(), until.score()))
            .mutate(Mutation::AddField(self.entry(id), ATTEMPTS.into(), 1))
    }

    /// Makes a claimed call due at `at`.
    pub(super) fn postpone(&self, id: &str, due: i64, (at, is_attempt): (Timestamp, bool)) -> Transaction {
        let postponed = self.is_due(id, due).mutate(Mutation::OrderedPut(self.due(), id.to_owned().into(), at.score()));
        if is_attempt {
            return postponed;
        }
        postponed.check(Check::Present(self.entry(id))).mutate(Mutation::AddField(self.entry(id), ATTEMPTS.into(), -1))
    }

    /// Removes a call that was made, and notes that. The check with the index [`NOTES_CHECK`] bounds the number of
    /// notes.
    pub(super) fn finish(&self, id: &str, due: i64, bytes: u64) -> Transaction {
        let notes = self.notes(due);
        self.remove(id, due, bytes)
            .check(Check::FieldBelow(notes.clone(), ENTRIES.into(), TRIGGER_DONE_MAX))
            .mutate(Mutation::Set(self.done(id), Vec::new(), Some(TRIGGER_DONE_TTL_MS)))
            .mutate(Mutation::AddField(notes.clone(), ENTRIES.into(), 1))
            .mutate(Mutation::Expire(notes, 2 * TRIGGER_DONE_TTL_MS))
    }

    /// Removes a call.
    pub(super) fn remove(&self, id: &str, due: i64, bytes: u64) -> Transaction {
        let [fewer_entries, fewer_bytes] = self.resize(-1, -signed(bytes));
        self.is_due(id, due)
            .mutate(Mutation::OrderedRemove(self.due(), id.to_owned().into()))
            .mutate(Mutation::Delete(self.entry(id)))
            .mutate(fewer_entries)
            .mutate(fewer_bytes)
    }
}
