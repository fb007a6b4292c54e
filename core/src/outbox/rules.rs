//! The transactions of the outbox, and when an entry is tried again.

use super::entry::OutboxEntry;
use super::mark::{self, OutboxMark};
use crate::ids::UserId;
use crate::key::{Key, Owner};
use crate::limits::{
    OUTBOX_ATTEMPTS_MAX, OUTBOX_BYTES_MAX, OUTBOX_ENTRIES_MAX, OUTBOX_ENTRY_TTL_MS, OUTBOX_RETRY_MS,
    OUTBOX_RETRY_MS_MAX, OUTBOX_VOID_TTL_MS, RECEIPT_TTL_MS,
};
use crate::port::{Check, Event, Mutation, Transaction};
use crate::stored_text::{self, signed};
use crate::time::Timestamp;

/// The field of an entry that counts the attempts of recovery, and the fields of a shard's size.
pub(super) const ATTEMPTS: &str = "attempts";
const ENTRIES: &str = "entries";
const BYTES: &str = "bytes";

/// The pause before recovery takes care of an entry again, after so many attempts; `None` if it is given up.
pub(super) const fn retry_after_ms(attempts: u64) -> Option<u64> {
    if attempts >= OUTBOX_ATTEMPTS_MAX {
        return None;
    }
    // Beyond this many attempts the doubled pause is longer than the longest one.
    let doubled = OUTBOX_RETRY_MS << (if attempts < 16 { attempts } else { 16 });
    Some(if doubled < OUTBOX_RETRY_MS_MAX { doubled } else { OUTBOX_RETRY_MS_MAX })
}

fn resize(shard: Owner, entries: i64, bytes: i64) -> [Mutation; 2] {
    [
        Mutation::AddField(mark::size(shard), ENTRIES.into(), entries),
        Mutation::AddField(mark::size(shard), BYTES.into(), bytes),
    ]
}

/// Writes a mark. It is refused if the shard is full.
pub(super) fn put_mark(mark: OutboxMark, due: Timestamp) -> Transaction {
    let shard = mark.shard();
    let [more_entries, more_bytes] = resize(shard, 1, signed(mark.bytes));
    Transaction::new(shard)
        .check(Check::FieldBelow(mark::size(shard), ENTRIES.into(), OUTBOX_ENTRIES_MAX))
        .check(Check::FieldBelow(mark::size(shard), BYTES.into(), OUTBOX_BYTES_MAX))
        .mutate(Mutation::OrderedPut(mark::marks(shard), mark.to_text().into(), due.score()))
        .mutate(more_entries)
        .mutate(more_bytes)
}

/// Removes a mark. It is refused if somebody else has removed or postponed it.
pub(super) fn remove_mark(mark: OutboxMark, due: i64) -> Transaction {
    let shard = mark.shard();
    let [fewer_entries, fewer_bytes] = resize(shard, -1, -signed(mark.bytes));
    Transaction::new(shard)
        .check(Check::ScoreEquals(mark::marks(shard), mark.to_text().into(), Some(due)))
        .mutate(Mutation::OrderedRemove(mark::marks(shard), mark.to_text().into()))
        .mutate(fewer_entries)
        .mutate(fewer_bytes)
}

/// Removes a member of the marks that is no mark, as only another program writes it.
pub(super) fn remove_unreadable_mark(shard: Owner, text: &str) -> Transaction {
    Transaction::new(shard).mutate(Mutation::OrderedRemove(mark::marks(shard), text.to_owned().into()))
}

/// Lets recovery take care of the mark again at `at`. It is refused if somebody else has removed or postponed it, so
/// that this is also how recovery claims a mark.
pub(super) fn postpone_mark(mark: OutboxMark, due: i64, at: Timestamp) -> Transaction {
    let shard = mark.shard();
    Transaction::new(shard)
        .check(Check::ScoreEquals(mark::marks(shard), mark.to_text().into(), Some(due)))
        .mutate(Mutation::OrderedPut(mark::marks(shard), mark.to_text().into(), at.score()))
}

/// Lets a transaction write an entry. The new check is the last one, so that the others keep their indices.
pub(super) fn with_entry(mut transaction: Transaction, mark: OutboxMark, text: &str) -> Transaction {
    transaction.addressed.clear();
    transaction
        .check(Check::Absent(mark.void()))
        .mutate(Mutation::SetFields(mark.entry(), stored_text::split(text)))
        .mutate(Mutation::Expire(mark.entry(), OUTBOX_ENTRY_TTL_MS))
}

/// Makes sure that the entry is not written any more. It is refused if the entry is there.
pub(super) fn void(mark: OutboxMark) -> Transaction {
    Transaction::new(mark.owner).check(Check::Absent(mark.entry())).mutate(Mutation::Set(
        mark.void(),
        Vec::new(),
        Some(OUTBOX_VOID_TTL_MS),
    ))
}

pub(super) fn remove_entry(mark: OutboxMark) -> Transaction {
    Transaction::new(mark.owner).mutate(Mutation::Delete(mark.entry()))
}

/// Counts an attempt. It is refused if the entry is gone.
pub(super) fn count_attempt(mark: OutboxMark) -> Transaction {
    Transaction::new(mark.owner).check(Check::Present(mark.entry())).mutate(Mutation::AddField(
        mark.entry(),
        ATTEMPTS.into(),
        1,
    ))
}

fn receipt(mark: OutboxMark, user: UserId) -> Key {
    Key::of_host(Owner::User(user), format!("receipt.{}", mark.id))
}

/// Delivers the entry to a user, once. It is refused if that has happened before.
fn deliver(mark: OutboxMark, user: UserId, events: Vec<Event>) -> Transaction {
    let receipt = receipt(mark, user);
    Transaction {
        publications: events,
        ..Transaction::new(Owner::User(user)).check(Check::Absent(receipt.clone())).mutate(Mutation::Set(
            receipt,
            Vec::new(),
            Some(RECEIPT_TTL_MS),
        ))
    }
}

/// Delivers the entry to all users.
pub(super) fn deliver_all(mark: OutboxMark, entry: &OutboxEntry, is_late: bool) -> Vec<(UserId, Transaction)> {
    let by_user = entry.by_user(is_late).into_iter();
    by_user.map(|(user, events)| (user, deliver(mark, user, events))).collect()
}

/// Removes the receipts of an entry that is gone.
pub(super) fn remove_receipts(mark: OutboxMark, entry: &OutboxEntry) -> Vec<Transaction> {
    let remove = |user: UserId| Transaction::new(Owner::User(user)).mutate(Mutation::Delete(receipt(mark, user)));
    entry.by_user(false).into_keys().map(remove).collect()
}
