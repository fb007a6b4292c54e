//! Takes users offline whose deadline has passed, page by page, and repeats announcements that a crash prevented. After
//! an outage of the store it takes nobody offline for a while, and while a host is cut off from the store nobody who
//! may be connected there.
//!
//! The entry of a deadline is removed only after the announcement. Several hosts may sweep the same shard.

use super::announce::announce;
use super::cut_off;
use super::disconnect::online_ttl_ms;
use crate::error::{Error, FirstFailure};
use crate::ids::UserId;
use crate::key::{Key, Owner, Space};
use crate::limits::{PRESENCE_SHARDS, PRESENCE_TTL_MS, SWEEP_PAGE, SWEEP_PAGES_MAX};
use crate::port::{Outcome, Query, StoreError, Transaction, Value, World};
use crate::presence::rules::cut_off::{hold, may_be_connected};
use crate::presence::rules::outage::{Departures, SweepNote};
use crate::presence::rules::record::{PresenceAnnouncement, PresenceRecord};
use crate::presence::rules::sweep::{self as rule, DueEntry, SweepDecision};
use crate::store_answers::unexpected;
use crate::store_calls::{commit_all, is_committed, read_all, read_each};
use crate::time::Timestamp;

/// The numbers of users that a sweep handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepSummary {
    /// Users who went offline.
    pub offline: usize,
    /// Announcements of earlier transitions that were repeated.
    pub repeated: usize,
    /// Users who are still connected, or still in the grace period.
    pub kept: usize,
    /// Users who would have gone offline, if every host had reached the store until now.
    pub held: usize,
}

/// What a sweep has done so far.
#[derive(Default)]
struct SweepProgress {
    summary: SweepSummary,
    /// The number of users whose record cannot be read. They are looked at again after [`PRESENCE_TTL_MS`].
    unreadable: usize,
    failures: FirstFailure,
}

/// Due entries, and whether their users may depart.
struct DuePage {
    entries: Vec<DueEntry>,
    departures: Departures,
}

/// A user whose deadline has passed, with the record and the `online` key read at one instant.
struct DueUser {
    entry: DueEntry,
    user: UserId,
    record: PresenceRecord,
    online_ms: Option<u64>,
}

/// A user who goes offline unless the departure is held.
struct Departure {
    entry: DueEntry,
    record: PresenceRecord,
    transaction: Transaction,
    announcement: PresenceAnnouncement,
}

/// The users of a page, and the entries of those who cannot be read.
struct ReadPage {
    users: Vec<DueUser>,
    unreadable: Vec<DueEntry>,
}

/// Handles the users of one shard whose deadline has passed; at most [`SWEEP_PAGES_MAX`] pages of [`SWEEP_PAGE`] users.
/// The next tick continues.
///
/// # Errors
/// The first failure. That of one user, such as a record of another type, stops no other user.
pub async fn sweep<W: World>(world: &W, shard: u32) -> Result<SweepSummary, Error> {
    if shard >= PRESENCE_SHARDS {
        return Err(Error::Invalid(format!("the shard is 0 to {}, not {shard}", PRESENCE_SHARDS - 1)));
    }
    let mut progress = SweepProgress::default();
    for _ in 0..SWEEP_PAGES_MAX {
        let page = due_page(world, shard).await?;
        let last = page.entries.len() < SWEEP_PAGE as usize;
        if !page.entries.is_empty() {
            sweep_page(world, page, &mut progress).await?;
        }
        if last {
            break;
        }
    }
    count(world, &progress);
    progress.failures.report()?;
    Ok(progress.summary)
}

async fn sweep_page<W: World>(world: &W, page: DuePage, progress: &mut SweepProgress) -> Result<(), Error> {
    let SweepProgress { summary: swept, unreadable: unreadable_users, failures } = progress;
    let (entries, invalid): (Vec<DueEntry>, Vec<DueEntry>) =
        page.entries.into_iter().partition(|entry| entry.member.parse::<UserId>().is_ok());
    let ReadPage { users, unreadable } = read_users(world, entries, failures).await?;
    let now = world.now();
    let held_until = page.departures.held_until(now);
    swept.repeated += repeat_announcements(world, &users).await?;

    let mut entry_changes: Vec<Transaction> = invalid.into_iter().map(DueEntry::remove).collect();
    *unreadable_users += unreadable.len();
    // Entries that stayed where they are would be read by every sweep, and enough of them would fill all of its pages.
    let again = now.plus(PRESENCE_TTL_MS);
    entry_changes.extend(unreadable.into_iter().map(|entry| entry.postpone(again)));
    let mut leaving = Vec::new();
    for DueUser { entry, user, record, online_ms } in users {
        match rule::decide(user, &record.after_announcement(), online_ms, now) {
            SweepDecision::Keep(until) => {
                swept.kept += 1;
                entry_changes.push(entry.postpone(until));
            }
            SweepDecision::RemoveEntry => entry_changes.push(entry.remove()),
            SweepDecision::GoOffline(transaction, announcement) => match held_until {
                None => leaving.push(Departure { entry, record, transaction, announcement }),
                Some(until) => {
                    swept.held += 1;
                    entry_changes.push(entry.postpone(until));
                }
            },
        }
    }
    let (leaving, held) = hold_connected(world, leaving, now).await;
    swept.held += held.users;
    entry_changes.extend(held.transactions);
    let offline = take_offline(world, leaving, failures).await?;
    swept.offline += offline.len();
    entry_changes.extend(offline.into_iter().map(DueEntry::remove));
    failures.keep_all(commit_all(world, entry_changes).await?);
    Ok(())
}

/// Users whose departure is held, and what is written about them.
#[derive(Default)]
struct HeldUsers {
    users: usize,
    transactions: Vec<Transaction>,
}

/// Separates the users who may be connected to a host that is cut off from those who depart. The records are asked only
/// if somebody may be.
async fn hold_connected<W: World>(world: &W, leaving: Vec<Departure>, now: Timestamp) -> (Vec<Departure>, HeldUsers) {
    let (unclear, mut departing): (Vec<Departure>, Vec<Departure>) =
        leaving.into_iter().partition(|departure| may_be_connected(&departure.entry, &departure.record, now));
    let held_until = if unclear.is_empty() { None } else { cut_off::held_until(world, now).await };
    let Some(until) = held_until else {
        departing.extend(unclear);
        return (departing, HeldUsers::default());
    };
    let users = unclear.len();
    let held = unclear.into_iter().flat_map(|departure| {
        let Departure { entry, record, announcement, .. } = departure;
        hold((announcement.user, entry, &record), until, now)
    });
    (departing, HeldUsers { users, transactions: held.collect() })
}

/// Repeats the announcements that a crash prevented. Returns their number.
async fn repeat_announcements<W: World>(world: &W, users: &[DueUser]) -> Result<usize, Error> {
    let overdue: Vec<PresenceAnnouncement> = users.iter().filter_map(|due| due.record.unannounced(due.user)).collect();
    let amount = overdue.len();
    announce(world, overdue).await?;
    Ok(amount)
}

/// Makes the transitions and announces them. Returns the entries of the users who went offline; a user with a heartbeat
/// in the meantime is not among them.
async fn take_offline<W: World>(
    world: &W,
    leaving: Vec<Departure>,
    failures: &mut FirstFailure,
) -> Result<Vec<DueEntry>, Error> {
    let mut transactions = Vec::with_capacity(leaving.len());
    let mut pending = Vec::with_capacity(leaving.len());
    for Departure { entry, transaction, announcement, .. } in leaving {
        transactions.push(transaction);
        pending.push((entry, announcement));
    }
    let mut offline = Vec::new();
    let mut announcements = Vec::new();
    for ((entry, announcement), outcome) in pending.into_iter().zip(commit_all(world, transactions).await?) {
        match outcome {
            Outcome::Committed(_) => {
                offline.push(entry);
                announcements.push(announcement);
            }
            Outcome::Refused(_) => {}
            Outcome::Failed(error) => failures.keep(error),
        }
    }
    announce(world, announcements).await?;
    Ok(offline)
}

/// Reads the next due entries, and notes that the shard is swept.
async fn due_page<W: World>(world: &W, shard: u32) -> Result<DuePage, Error> {
    let key = Key::new(Space::PresenceDue, Owner::Shard(shard));
    let now = world.now();
    let range = Query::OrderedRange { key, minimum: i64::MIN, maximum: now.score(), limit: SWEEP_PAGE };
    let mut values = read_all(world, vec![range, SweepNote::query(shard)], 2).await?.into_iter();
    let Some(Value::Ordered(entries)) = values.next() else { return Err(unexpected("an ordered range").into()) };
    let (departures, noted) = SweepNote::parse(shard, values.next())?.decide(!entries.is_empty(), now);
    if let Some(noted) = noted {
        // Refused if another sweep has noted it meanwhile, which comes to the same.
        is_committed(world, noted).await?;
    }
    let entries = entries.into_iter().map(|(member, score)| DueEntry { shard, member, score }).collect();
    Ok(DuePage { entries, departures })
}

/// Reads the users of these entries. A record that cannot be read is the failure of its user alone.
async fn read_users<W: World>(world: &W, page: Vec<DueEntry>, failures: &mut FirstFailure) -> Result<ReadPage, Error> {
    let page: Vec<(DueEntry, UserId)> =
        page.into_iter().filter_map(|entry| entry.member.parse().ok().map(|user| (entry, user))).collect();
    let queries = page
        .iter()
        .flat_map(|(_, user)| [PresenceRecord::query(*user), Query::TimeToLive(Key::of_user(Space::Online, *user))]);
    let answers = read_each(world, queries.collect(), 2).await?;
    let mut read = ReadPage { users: Vec::with_capacity(page.len()), unreadable: Vec::new() };
    for ((entry, user), answer) in page.into_iter().zip(answers) {
        match answer.and_then(|values| parse_user(&values)) {
            Ok((record, online_ms)) => read.users.push(DueUser { entry, user, record, online_ms }),
            Err(error) => {
                failures.keep(error);
                read.unreadable.push(entry);
            }
        }
    }
    Ok(read)
}

/// The record and the remaining time to live of the `online` key.
fn parse_user(values: &[Value]) -> Result<(PresenceRecord, Option<u64>), StoreError> {
    let record = values.first().ok_or_else(|| unexpected("a presence hash"))?;
    Ok((PresenceRecord::parse(record)?, online_ttl_ms(values.get(1))?))
}

fn count<W: World>(world: &W, progress: &SweepProgress) {
    let SweepSummary { offline, repeated, kept, held } = progress.summary;
    let failed = progress.unreadable;
    let results = [("offline", offline), ("repeated", repeated), ("kept", kept), ("held", held), ("failed", failed)];
    for (result, amount) in results {
        if amount > 0 {
            world.count("presence_swept", &[("result", result)], amount as u64);
        }
    }
}
