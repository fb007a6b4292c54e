//! What the store holds of a user in one conversation, read from one moment.

use std::sync::Arc;

use crate::drive::{self, unexpected};
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Space};
use crate::port::{KeyValue, Query, Value};

/// The stored counters and positions; `None` is missing, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CounterState {
    /// Over all conversations; missing: the user is cold.
    pub(crate) total: Option<i64>,
    /// Counted and announced up to here.
    pub(crate) seq: Option<Seq>,
    /// Read up to here.
    pub(crate) read: Option<Seq>,
    /// Unread in this conversation.
    pub(crate) count: Option<i64>,
}

const QUERIES: usize = 4;

fn queries(user: UserId, conversation: ConversationId) -> [Query; QUERIES] {
    let names: Arc<[String]> = [conversation.to_string()].into();
    let named = |space| Query::NamedFields(Key::of_user(space, user), Arc::clone(&names));
    [
        Query::Counter(Key::of_user(Space::UnreadTotal, user)),
        named(Space::UnreadSequence),
        named(Space::UnreadRead),
        Query::Counter(Key::unread_conversation(user, conversation)),
    ]
}

fn parse(values: &mut impl Iterator<Item = Value>) -> Result<CounterState, Error> {
    Ok(CounterState {
        total: drive::counter(values.next())?,
        seq: drive::seq_field(values.next())?,
        read: drive::seq_field(values.next())?,
        count: drive::counter(values.next())?,
    })
}

/// One state; one round trip.
pub(crate) async fn read_one<S: KeyValue>(
    store: &S,
    user: UserId,
    conversation: ConversationId,
) -> Result<CounterState, Error> {
    parse(&mut store.read(queries(user, conversation).into()).await?.into_iter())
}

/// Many states, in the order asked; one round trip for up to 256.
pub(crate) async fn read_states<S: KeyValue>(
    store: &S,
    wanted: impl Iterator<Item = (UserId, ConversationId)>,
) -> Result<Vec<CounterState>, Error> {
    let queries: Vec<_> = wanted.flat_map(|(user, conversation)| queries(user, conversation)).collect();
    let count = queries.len() / QUERIES;
    let mut values = drive::read_all(store, queries, QUERIES).await?.into_iter();
    let states = (0..count).map(|_| parse(&mut values)).collect::<Result<Vec<_>, _>>()?;
    if values.next().is_some() { Err(unexpected("no further value").into()) } else { Ok(states) }
}
