//! What a client needs that begins to count: the counters, and up to where each of them is counted, read at one
//! instant.

use super::answer::{count_lookup, fill_or_wait, parse_totals, recorded, totals_queries};
use crate::error::Error;
use crate::ids::UserId;
use crate::key::{Key, Space};
use crate::limits::TRIES_MAX;
use crate::port::{Query, World};
use crate::source::{Sourced, or_from_records};
use crate::unread::{Overview, Totals};
use crate::{store_answers, store_calls};

/// All unread counters of the user with their positions; one round trip to the store if the user is cached.
pub async fn overview<W: World>(world: &W, user: UserId) -> Result<Sourced<Overview>, Error> {
    let answer = stored(world, user).await;
    count_lookup(world, &answer);
    or_from_records(world, "unread", answer.map(|(overview, _)| overview), from_records(world, user)).await
}

/// The overview from the store, and whether the first read found it.
async fn stored<W: World>(world: &W, user: UserId) -> Result<(Overview, bool), Error> {
    for attempt in 0..TRIES_MAX {
        let mut queries = totals_queries(user).to_vec();
        queries.push(Query::Fields(Key::of_user(Space::UnreadSequence, user)));
        queries.push(Query::Fields(Key::of_user(Space::UnreadRead, user)));
        let group = queries.len();
        let mut values = store_calls::read_all(world, queries, group).await?.into_iter();
        if let Some(totals) = parse_totals(world, user, &mut values).await? {
            let seqs = store_answers::positions(values.next())?;
            let reads = store_answers::positions(values.next())?;
            return Ok((Overview { totals, seqs, reads }, attempt == 0));
        }
        fill_or_wait(world, user, attempt).await?;
    }
    Err(Error::Contended)
}

async fn from_records<W: World>(world: &W, user: UserId) -> Result<Overview, Error> {
    let mut overview = Overview::default();
    for counter in recorded(world, user, None).await? {
        let Totals { total, conversations } = &mut overview.totals;
        *total += counter.count;
        conversations.insert(counter.conversation, counter.count);
        overview.seqs.insert(counter.conversation, counter.seq);
        overview.reads.insert(counter.conversation, counter.read);
    }
    Ok(overview)
}
