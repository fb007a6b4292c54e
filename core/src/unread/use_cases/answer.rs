//! Answers questions about unread messages: from the store alone if the user is cached, after filling the counters if
//! the user is uncached, and from the records if the store is unavailable.

use super::counter_state::read_one;
use super::fill::{FillOutcome, fill};
use super::forget::repair;
use super::reconcile::{Target, Uncached, reconcile};
use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::insertion::CollectByInsertion as _;
use crate::key::{Key, Space};
use crate::limits::TRIES_MAX;
use crate::port::{Counter, Query, RecordsError, Telemetry, UnreadRequest, Value, World};
use crate::source::{Sourced, or_from_records};
use crate::store_answers;
use crate::unread::Totals;
use crate::unread::rules::lease_wait_ms;

/// All unread counters of the user; one round trip to the store if the user is cached.
///
/// Counters whose sum is not the total (a store that evicts keys can lose one) are deleted and rebuilt.
pub async fn totals<W: World>(world: &W, user: UserId) -> Result<Sourced<Totals>, Error> {
    let answer = stored_totals(world, user).await;
    count_lookup(world, &answer);
    or_from_records(world, "unread", answer.map(|(totals, _)| totals), recorded_totals(world, user)).await
}

/// The user's unread counter of one conversation; one round trip to the store if the user is cached.
pub async fn of_conversation<W: World>(
    world: &W,
    user: UserId,
    conversation: ConversationId,
) -> Result<Sourced<u64>, Error> {
    let answer = stored_count(world, user, conversation).await;
    count_lookup(world, &answer);
    or_from_records(world, "unread", answer.map(|(count, _)| count), recorded_count(world, user, conversation)).await
}

/// Counts a lookup in the cache. It is a hit only if the first read found the answer; a caller that filled the
/// counters, or waited until another caller had filled them, counts as a miss.
pub(crate) fn count_lookup<T>(world: &impl Telemetry, answer: &Result<(T, bool), Error>) {
    let outcome = match answer {
        Ok((_, true)) => "hit",
        Ok((_, false)) => "miss",
        Err(error) if error.is_store_unavailable() => "away",
        Err(_) => return,
    };
    world.count("cache", &[("cache", "unread"), ("outcome", outcome)], 1);
}

/// The counters in the store, filled first if necessary; and whether the first read found them.
pub(crate) async fn stored_totals<W: World>(world: &W, user: UserId) -> Result<(Totals, bool), Error> {
    for attempt in 0..TRIES_MAX {
        match read_totals(world, user).await? {
            Some(totals) => return Ok((totals, attempt == 0)),
            None => fill_or_wait(world, user, attempt).await?,
        }
    }
    Err(Error::Contended)
}

async fn stored_count<W: World>(world: &W, user: UserId, conversation: ConversationId) -> Result<(u64, bool), Error> {
    let mut reconciled = false;
    for attempt in 0..TRIES_MAX {
        let state = read_one(world, user, conversation).await?;
        if let (Some(_), Some(_), Some(count)) = (state.total, state.seq, state.count) {
            return Ok((count.unsigned_abs(), attempt == 0));
        }
        match state.total {
            None => fill_or_wait(world, user, attempt).await?,
            Some(_) if reconciled => return Err(RecordsError::NotAMember.into()),
            Some(_) => {
                reconcile(world, vec![Target::latest(user, conversation)], Uncached::Fill).await?;
                reconciled = true;
            }
        }
    }
    Err(Error::Contended)
}

/// Fills an uncached user's counters, or waits for a short time if another caller is filling them.
pub(crate) async fn fill_or_wait<W: World>(world: &W, user: UserId, attempt: u32) -> Result<(), Error> {
    let FillOutcome { waiting, failure, .. } = fill(world, &[user]).await?;
    failure.report()?;
    if !waiting.is_empty() {
        world.wait(lease_wait_ms(attempt)).await;
    }
    Ok(())
}

async fn read_totals<W: World>(world: &W, user: UserId) -> Result<Option<Totals>, Error> {
    let mut values = world.read(totals_queries(user).into()).await?.into_iter();
    parse_totals(world, user, &mut values).await
}

/// The queries for all counters of a user.
pub(super) fn totals_queries(user: UserId) -> [Query; 2] {
    let index = Key::of_user(Space::UnreadSequence, user);
    [
        Query::Counter(Key::of_user(Space::UnreadTotal, user)),
        Query::IndexedCounters { index, space: Space::UnreadConversation },
    ]
}

/// The counters; `None` if the user is uncached, also because the counters were wrong and have been deleted now.
pub(super) async fn parse_totals<W: World>(
    world: &W,
    user: UserId,
    values: &mut (impl Iterator<Item = Value> + Send),
) -> Result<Option<Totals>, Error> {
    let Some(total) = store_answers::counter(values.next())? else { return Ok(None) };
    let Some(Value::Counters(counters)) = values.next() else {
        return Err(store_answers::unexpected("counters").into());
    };
    let sum: i64 = counters.iter().map(|(_, count)| *count).sum();
    if sum != total || counters.iter().any(|(_, count)| *count < 0) {
        world.count("repair", &[("what", "unread")], 1);
        repair(world, user).await?;
        return Ok(None);
    }
    let named = counters.iter().filter_map(|(item, count)| Some((item.id()?, count.unsigned_abs())));
    let conversations = named.collect_by_insertion();
    Ok(Some(Totals { total: total.unsigned_abs(), conversations }))
}

/// The user's counters as the records hold them; of all conversations if `conversations` is `None`.
pub(crate) async fn recorded<W: World>(
    world: &W,
    user: UserId,
    conversations: Option<Vec<ConversationId>>,
) -> Result<Vec<Counter>, Error> {
    let mut counters: Vec<Counter> = Vec::new();
    loop {
        let after = counters.last().map(|counter| counter.conversation);
        let request = UnreadRequest { user, conversations: conversations.clone(), after };
        let Some(page) = world.unread(vec![request]).await?.into_iter().next() else { return Ok(counters) };
        let is_last = !page.more || page.counters.is_empty();
        counters.extend(page.counters);
        if is_last {
            return Ok(counters);
        }
    }
}

async fn recorded_totals<W: World>(world: &W, user: UserId) -> Result<Totals, Error> {
    let counters = recorded(world, user, None).await?;
    let conversations = counters.iter().map(|counter| (counter.conversation, counter.count)).collect_by_insertion();
    Ok(Totals { total: counters.iter().map(|counter| counter.count).sum(), conversations })
}

async fn recorded_count<W: World>(world: &W, user: UserId, conversation: ConversationId) -> Result<u64, Error> {
    let counters = recorded(world, user, Some(vec![conversation])).await?;
    counters.first().map(|counter| counter.count).ok_or_else(|| RecordsError::NotAMember.into())
}
