//! Turns users offline whose deadline has passed, page by page, and repeats what a crash left unannounced.
//!
//! An entry goes out of the deadlines only after the announcement. Several hosts may sweep the same shard.

use super::Failures;
use super::announce::announce;
use super::disconnect::life_ms;
use crate::error::Error;
use crate::ids::UserId;
use crate::key::{Key, Owner, Space};
use crate::limits::{PRESENCE_SHARDS, SWEEP_PAGE, SWEEP_PAGES_MAX};
use crate::port::{Outcome, Query, Transaction, Value, World};
use crate::presence::rules::record::{Announcement, PresenceRecord};
use crate::presence::rules::sweep::{self as rule, Due, Verdict};
use crate::store_answers::unexpected;
use crate::store_calls::{commit_all, read_all};

/// What a sweep came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Users turned offline.
    pub offline: usize,
    /// Announcements of earlier transitions, repeated.
    pub repeated: usize,
    /// Users whose life or grace goes on.
    pub kept: usize,
}

/// A user whose deadline has passed, as read from one moment.
struct Candidate {
    due: Due,
    user: UserId,
    record: PresenceRecord,
    online_ms: Option<u64>,
}

/// Looks after the users of one shard whose deadline has passed; at most [`SWEEP_PAGES_MAX`] pages of
/// [`SWEEP_PAGE`], the next tick goes on.
pub async fn sweep<W: World>(world: &W, shard: u32) -> Result<Swept, Error> {
    if shard >= PRESENCE_SHARDS {
        return Err(Error::Invalid(format!("shard {shard} of {PRESENCE_SHARDS}: they count from 0")));
    }
    let mut swept = Swept::default();
    let mut failures = Failures::default();
    for _ in 0..SWEEP_PAGES_MAX {
        let page = due(world, shard).await?;
        let last = page.len() < SWEEP_PAGE as usize;
        if !page.is_empty() {
            sweep_page(world, page, &mut swept, &mut failures).await?;
        }
        if last {
            break;
        }
    }
    count(world, swept);
    failures.report()?;
    Ok(swept)
}

async fn sweep_page<W: World>(
    world: &W,
    page: Vec<Due>,
    swept: &mut Swept,
    failures: &mut Failures,
) -> Result<(), Error> {
    let (users, strangers): (Vec<Due>, Vec<Due>) =
        page.into_iter().partition(|due| due.member.parse::<UserId>().is_ok());
    let candidates = look_at(world, users).await?;
    let now = world.now();
    swept.repeated += repeat(world, &candidates).await?;

    let mut moves: Vec<Transaction> = strangers.into_iter().map(Due::remove).collect();
    let mut departures = Vec::new();
    for Candidate { due, user, record, online_ms } in candidates {
        match rule::decide(user, &record.settled(), online_ms, now) {
            Verdict::Keep(until) => {
                swept.kept += 1;
                moves.push(due.postpone(until));
            }
            Verdict::Forget => moves.push(due.remove()),
            Verdict::Depart(transaction, announcement) => departures.push((due, transaction, announcement)),
        }
    }
    let gone = depart(world, departures, failures).await?;
    swept.offline += gone.len();
    moves.extend(gone.into_iter().map(Due::remove));
    failures.keep_all(commit_all(world, moves).await?);
    Ok(())
}

/// Announces what a crash left unannounced. Answers how many that were.
async fn repeat<W: World>(world: &W, candidates: &[Candidate]) -> Result<usize, Error> {
    let overdue: Vec<Announcement> =
        candidates.iter().filter_map(|candidate| candidate.record.unannounced(candidate.user)).collect();
    let amount = overdue.len();
    announce(world, overdue).await?;
    Ok(amount)
}

/// Makes the transitions and tells contacts. Answers those who are gone; whoever heartbeat meanwhile is not.
async fn depart<W: World>(
    world: &W,
    departures: Vec<(Due, Transaction, Announcement)>,
    failures: &mut Failures,
) -> Result<Vec<Due>, Error> {
    let mut transactions = Vec::with_capacity(departures.len());
    let mut plans = Vec::with_capacity(departures.len());
    for (due, transaction, announcement) in departures {
        transactions.push(transaction);
        plans.push((due, announcement));
    }
    let mut gone = Vec::new();
    let mut announcements = Vec::new();
    for ((due, announcement), outcome) in plans.into_iter().zip(commit_all(world, transactions).await?) {
        match outcome {
            Outcome::Committed(_) => {
                gone.push(due);
                announcements.push(announcement);
            }
            Outcome::Refused(_) => {}
            Outcome::Failed(error) => failures.keep(error),
        }
    }
    announce(world, announcements).await?;
    Ok(gone)
}

async fn due<W: World>(world: &W, shard: u32) -> Result<Vec<Due>, Error> {
    let key = Key::new(Space::PresenceDue, Owner::Shard(shard));
    let maximum = world.now().score();
    let range = Query::OrderedRange { key, minimum: i64::MIN, maximum, limit: SWEEP_PAGE };
    match read_all(world, vec![range], 1).await?.into_iter().next() {
        Some(Value::Ordered(entries)) => {
            Ok(entries.into_iter().map(|(member, score)| Due { shard, member, score }).collect())
        }
        _ => Err(unexpected("an ordered range").into()),
    }
}

async fn look_at<W: World>(world: &W, page: Vec<Due>) -> Result<Vec<Candidate>, Error> {
    let page: Vec<(Due, UserId)> =
        page.into_iter().filter_map(|due| due.member.parse().ok().map(|user| (due, user))).collect();
    let queries = page
        .iter()
        .flat_map(|(_, user)| [PresenceRecord::query(*user), Query::TimeToLive(Key::of_user(Space::Online, *user))]);
    let values = read_all(world, queries.collect(), 2).await?;
    let candidates = page.into_iter().zip(values.chunks(2)).map(|((due, user), answer)| {
        let record = answer.first().ok_or_else(|| unexpected("a presence hash"))?;
        let record = PresenceRecord::answered(record)?;
        Ok(Candidate { due, user, record, online_ms: life_ms(answer.get(1))? })
    });
    candidates.collect()
}

fn count<W: World>(world: &W, swept: Swept) {
    for (result, amount) in [("offline", swept.offline), ("repeated", swept.repeated), ("kept", swept.kept)] {
        if amount > 0 {
            world.count("presence_swept", &[("result", result)], amount as u64);
        }
    }
}
