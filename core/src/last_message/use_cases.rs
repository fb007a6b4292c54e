//! Reads the cache, fills it from the records, and refreshes it.

use std::collections::BTreeMap;

use super::rules::{VERSION, parse, placeholder, put, query};
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Owner};
use crate::port::{Check, LastMessage, Message, Mutation, Outcome, Query, Telemetry, Transaction, World};
use crate::source::{Sourced, or_from_records};
use crate::store_calls::GroupAnswer;
use crate::{store_answers, store_calls};

/// The newest message that the member may see; one round trip to the store if it is cached.
///
/// # Errors
/// [`Error::NoMessage`] if there is none; `not_a_member` if the user is not a member.
pub async fn get<W: World>(world: &W, user: UserId, conversation: ConversationId) -> Result<Sourced<Message>, Error> {
    let membership = world.membership(conversation, user).await?;
    let recorded = async { Ok(world.last_messages(vec![conversation]).await?) };
    let last = or_from_records(world, "last_message", cached(world, &[conversation]).await, recorded).await?;
    let message = last.value.into_iter().next().and_then(|last| last.message);
    let visible = message.filter(|message| message.seq > membership.joined).ok_or(Error::NoMessage)?;
    Ok(Sourced { value: visible, source: last.source })
}

/// The newest message of each conversation, in the order of `conversations`. Missing ones are filled together.
async fn cached<W: World>(world: &W, conversations: &[ConversationId]) -> Result<Vec<LastMessage>, Error> {
    let queries = conversations.iter().map(|conversation| query(*conversation)).collect();
    match store_calls::read_each(world, queries, 1).await {
        Ok(answers) => complete(world, conversations, answers).await,
        Err(error) => {
            if error.is_store_unavailable() {
                count_lookups(world, "away", conversations.len());
            }
            Err(error)
        }
    }
}

/// Counts lookups in the cache by their outcome: `hit`, `miss`, `unreadable` if the key holds a value of another type,
/// or `away` if the store was unavailable.
pub(crate) fn count_lookups(world: &impl Telemetry, outcome: &'static str, lookups: usize) {
    if lookups > 0 {
        world.count("cache", &[("cache", "last_message"), ("outcome", outcome)], lookups as u64);
    }
}

/// Parses the answers to [`query`], and fills the conversations that were not cached. Those whose key holds a value of
/// another type are answered from the records and not cached. In the order of `conversations`.
pub(crate) async fn complete<W: World>(
    world: &W,
    conversations: &[ConversationId],
    answers: Vec<GroupAnswer>,
) -> Result<Vec<LastMessage>, Error> {
    let mut found = BTreeMap::new();
    let (mut missing, mut unreadable) = (Vec::new(), Vec::new());
    for (conversation, answer) in conversations.iter().zip(answers) {
        match answer.and_then(|values| store_answers::fields(values.into_iter().next())) {
            Ok(fields) => match parse(*conversation, &fields) {
                Some(last) => drop(found.insert(*conversation, last)),
                None => missing.push(*conversation),
            },
            Err(_) => unreadable.push(*conversation),
        }
    }
    count_lookups(world, "hit", conversations.len() - missing.len() - unreadable.len());
    count_lookups(world, "miss", missing.len());
    count_lookups(world, "unreadable", unreadable.len());
    let mut others = Vec::new();
    if !missing.is_empty() {
        others.extend(fill(world, missing).await?);
    }
    if !unreadable.is_empty() {
        others.extend(world.last_messages(unreadable).await?);
    }
    found.extend(others.into_iter().map(|last| (last.conversation, last)));
    Ok(conversations.iter().filter_map(|conversation| found.remove(conversation)).collect())
}

/// Caches the state of the records wherever it is newer than the cached one; at most [`crate::limits::LIST_MAX`]
/// conversations.
pub(crate) async fn refresh<W: World>(world: &W, conversations: Vec<ConversationId>) -> Result<(), Error> {
    fill(world, conversations).await.map(|_| ())
}

/// Deletes the cached state, unless it changes in the meantime, and caches the state of the records.
pub(crate) async fn renew<W: World>(world: &W, conversation: ConversationId) -> Result<(), Error> {
    let key = Key::last_message(conversation);
    let version = Query::NamedFields(key.clone(), [VERSION.to_owned()].into());
    let found = store_answers::seq_field(world.read(vec![version]).await?.into_iter().next())?;
    let found = found.map(|version| version.to_string().into());
    let deletion = Transaction::new(Owner::Conversation(conversation))
        .check(Check::FieldEquals(key.clone(), VERSION.into(), found))
        .mutate(Mutation::Delete(key));
    match store_calls::commit_one(world, deletion).await? {
        Outcome::Failed(error) => Err(error.into()),
        Outcome::Committed(_) | Outcome::Refused(_) => refresh(world, vec![conversation]).await,
    }
}

/// Caches the state of the records and returns it.
///
/// A placeholder is written first, and the state is written only if the key still exists. A change that is announced
/// after the placeholder replaces it and wins; a store that restarts in between has lost the placeholder. So a slow
/// caller never leaves an old state in the cache.
async fn fill<W: World>(world: &W, conversations: Vec<ConversationId>) -> Result<Vec<LastMessage>, Error> {
    let placeholders = conversations.iter().map(|conversation| placeholder(*conversation)).collect();
    let outcomes = store_calls::commit_all(world, placeholders).await?;
    store_calls::failure(&outcomes).map_or(Ok(()), Err)?;
    let found = world.last_messages(conversations).await?;
    let states = found.iter().filter(|last| last.version > Seq::ZERO);
    let states = states.map(|last| put(last).check(Check::Present(Key::last_message(last.conversation))));
    // A newer version may be cached by now. Then this one is refused, and is still a true answer of its time.
    let outcomes = store_calls::commit_all(world, states.collect()).await?;
    store_calls::failure(&outcomes).map_or(Ok(found), Err)
}
