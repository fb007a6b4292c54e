//! What a user is answered about unread messages: from the store alone when warm, after filling it when cold, and from
//! the records when the store is away.

use super::counter_state::read_one;
use super::fill::fill;
use super::forget::forget;
use super::reconcile::{Cold, Target, settle};
use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::key::{Key, Space};
use crate::limits::{LEASE_WAIT_MS, TRIES_MAX};
use crate::port::{Counter, Query, RecordsError, Telemetry, UnreadRequest, Value, World};
use crate::source::{Sourced, or_records};
use crate::store_answers;
use crate::unread::Totals;

/// The user's counters, from the store alone when it is warm; one round trip.
///
/// Counters that do not add up (a store that evicts can lose one) are dropped and rebuilt.
pub async fn totals<W: World>(world: &W, user: UserId) -> Result<Sourced<Totals>, Error> {
    let answer = warm_totals(world, user).await;
    count_look(world, &answer);
    or_records(world, "unread", answer.map(|(totals, _)| totals), recorded_totals(world, user)).await
}

/// The user's counter of one conversation; one round trip when warm.
pub async fn of_conversation<W: World>(
    world: &W,
    user: UserId,
    conversation: ConversationId,
) -> Result<Sourced<u64>, Error> {
    let answer = warm_count(world, user, conversation).await;
    count_look(world, &answer);
    or_records(world, "unread", answer.map(|(count, _)| count), recorded_count(world, user, conversation)).await
}

/// Counts a question to the cache: a hit only if the first look found the answer. Whoever had to fill, or to wait
/// for another who did, missed it.
pub(crate) fn count_look<T>(world: &impl Telemetry, answer: &Result<(T, bool), Error>) {
    let outcome = match answer {
        Ok((_, true)) => "hit",
        Ok((_, false)) => "miss",
        Err(error) if error.store_is_away() => "away",
        Err(_) => return,
    };
    world.count("cache", &[("cache", "unread"), ("outcome", outcome)], 1);
}

/// The counters in the store, filled first if need be; and whether the first look found them.
pub(crate) async fn warm_totals<W: World>(world: &W, user: UserId) -> Result<(Totals, bool), Error> {
    for attempt in 0..TRIES_MAX {
        match read_totals(world, user).await? {
            Some(totals) => return Ok((totals, attempt == 0)),
            None => warm_up(world, user).await?,
        }
    }
    Err(Error::Contended)
}

async fn warm_count<W: World>(world: &W, user: UserId, conversation: ConversationId) -> Result<(u64, bool), Error> {
    let mut settled = false;
    for attempt in 0..TRIES_MAX {
        let state = read_one(world, user, conversation).await?;
        if let (Some(_), Some(_), Some(count)) = (state.total, state.seq, state.count) {
            return Ok((count.unsigned_abs(), attempt == 0));
        }
        match state.total {
            None => warm_up(world, user).await?,
            Some(_) if settled => return Err(RecordsError::NotAMember.into()),
            Some(_) => {
                settle(world, vec![Target::any(user, conversation)], Cold::Fill).await?;
                settled = true;
            }
        }
    }
    Err(Error::Contended)
}

/// Fills a cold user, or lets some time pass while another does.
pub(crate) async fn warm_up<W: World>(world: &W, user: UserId) -> Result<(), Error> {
    if !fill(world, &[user]).await?.is_empty() {
        world.wait(LEASE_WAIT_MS).await;
    }
    Ok(())
}

async fn read_totals<W: World>(world: &W, user: UserId) -> Result<Option<Totals>, Error> {
    let queries = vec![
        Query::Counter(Key::of_user(Space::UnreadTotal, user)),
        Query::IndexedCounters { index: Key::of_user(Space::UnreadSequence, user), space: Space::UnreadConversation },
    ];
    let mut values = world.read(queries).await?.into_iter();
    let Some(total) = store_answers::counter(values.next())? else { return Ok(None) };
    let Some(Value::Counters(counters)) = values.next() else {
        return Err(store_answers::unexpected("counters").into());
    };
    let sum: i64 = counters.iter().map(|(_, count)| *count).sum();
    if sum != total || counters.iter().any(|(_, count)| *count < 0) {
        world.count("repair", &[("what", "unread")], 1);
        forget(world, user).await?;
        return Ok(None);
    }
    let conversations = counters.iter().filter_map(|(item, count)| Some((item.id()?, count.unsigned_abs()))).collect();
    Ok(Some(Totals { total: total.unsigned_abs(), conversations }))
}

/// The user's states as the records have them, from one moment; `None`: everywhere.
pub(crate) async fn recorded<W: World>(
    world: &W,
    user: UserId,
    conversations: Option<Vec<ConversationId>>,
) -> Result<Vec<Counter>, Error> {
    let snapshots = world.unread(vec![UnreadRequest { user, conversations }]).await?;
    Ok(snapshots.into_iter().next().map(|snapshot| snapshot.counters).unwrap_or_default())
}

async fn recorded_totals<W: World>(world: &W, user: UserId) -> Result<Totals, Error> {
    let counters = recorded(world, user, None).await?;
    let conversations = counters.iter().map(|counter| (counter.conversation, counter.count)).collect();
    Ok(Totals { total: counters.iter().map(|counter| counter.count).sum(), conversations })
}

async fn recorded_count<W: World>(world: &W, user: UserId, conversation: ConversationId) -> Result<u64, Error> {
    let counters = recorded(world, user, Some(vec![conversation])).await?;
    counters.first().map(|counter| counter.count).ok_or_else(|| RecordsError::NotAMember.into())
}
