//! Reads counter states from the store.

use std::sync::Arc;

use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::key::{Key, Space};
use crate::port::{KeyValue, Query, StoreError, Value};
use crate::unread::rules::CounterState;
use crate::{store_answers, store_calls};

/// The number of queries for one counter state.
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

fn parse(values: Vec<Value>) -> Result<CounterState, StoreError> {
    let mut values = values.into_iter();
    Ok(CounterState {
        total: store_answers::counter(values.next())?,
        seq: store_answers::seq_field(values.next())?,
        read: store_answers::seq_field(values.next())?,
        count: store_answers::counter(values.next())?,
    })
}

/// Reads one state; one round trip.
pub(crate) async fn read_one<S: KeyValue>(
    store: &S,
    user: UserId,
    conversation: ConversationId,
) -> Result<CounterState, Error> {
    Ok(parse(store.read(queries(user, conversation).into()).await?)?)
}

/// Reads many states, in the order of `keys`; one round trip for each 256. A state that cannot be read, because a key
/// holds a value of another type, stops no other.
pub(crate) async fn read_states<S: KeyValue>(
    store: &S,
    keys: impl Iterator<Item = (UserId, ConversationId)>,
) -> Result<Vec<Result<CounterState, StoreError>>, Error> {
    let queries = keys.flat_map(|(user, conversation)| queries(user, conversation)).collect();
    let answers = store_calls::read_each(store, queries, QUERIES).await?;
    Ok(answers.into_iter().map(|answer| answer.and_then(parse)).collect())
}
