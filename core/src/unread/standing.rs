//! What the store holds of a user in one conversation, read from one moment.

use std::sync::Arc;

use crate::drive::{self, unexpected};
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Space};
use crate::port::{KeyValue, Query, Value};

/// The stored counters and positions; `None` is missing, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
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

fn parse(values: &mut impl Iterator<Item = Value>) -> Result<Standing, Error> {
    Ok(Standing {
        total: drive::counter(values.next())?,
        seq: drive::seq_field(values.next())?,
        read: drive::seq_field(values.next())?,
        count: drive::counter(values.next())?,
    })
}

/// One standing; one round trip.
pub(crate) async fn read_one<S: KeyValue>(
    store: &S,
    user: UserId,
    conversation: ConversationId,
) -> Result<Standing, Error> {
    parse(&mut store.read(queries(user, conversation).into()).await?.into_iter())
}

/// Many standings, in the order asked; one round trip for up to 256.
pub(crate) async fn read_standings<S: KeyValue>(
    store: &S,
    wanted: impl Iterator<Item = (UserId, ConversationId)>,
) -> Result<Vec<Standing>, Error> {
    let queries: Vec<_> = wanted.flat_map(|(user, conversation)| queries(user, conversation)).collect();
    let count = queries.len() / QUERIES;
    let mut values = drive::read_all(store, queries, QUERIES).await?.into_iter();
    let standings = (0..count).map(|_| parse(&mut values)).collect::<Result<Vec<_>, _>>()?;
    if values.next().is_some() { Err(unexpected("no further value").into()) } else { Ok(standings) }
}
