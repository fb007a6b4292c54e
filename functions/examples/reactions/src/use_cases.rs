//! What the routes do, on any world: on the imports of the function, or on the fakes of the tests.

use roost_core::error::Error;
use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::key::Owner;
use roost_core::port::{DocumentKey, MessagesQuery, Outcome, Query, RecordsError, Transaction, World};
use roost_core::{documents, live_state};

use crate::rules::{self, Fields, Reaction, Summary};

/// Adds a reaction and tells the members.
pub(crate) async fn add<W: World>(world: &W, reaction: &Reaction) -> Result<Summary, Error> {
    let allowed = documents::read(world, settings(reaction.conversation)).await?;
    reaction.check(&rules::allowed(allowed.as_ref().map(|document| document.json.as_str())))?;
    change(world, reaction, true).await
}

/// Takes a reaction back and tells the members. It need not be allowed any more.
pub(crate) async fn remove<W: World>(world: &W, reaction: &Reaction) -> Result<Summary, Error> {
    change(world, reaction, false).await
}

/// The reactions to a message that the user may see.
pub(crate) async fn list<W: World>(
    world: &W,
    user: UserId,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Summary, Error> {
    require_message(world, user, conversation, message).await?;
    Ok(rules::summary(&read(world, conversation, message).await?, user))
}

/// Chooses the reactions that a conversation allows. They must not be lost with the store, so they are a document.
pub(crate) async fn allow<W: World>(
    world: &W,
    conversation: ConversationId,
    allowed: Vec<String>,
) -> Result<(), Error> {
    let json = rules::document(&allowed)?;
    documents::update(world, settings(conversation), |_| Ok(json.clone())).await?;
    Ok(())
}

async fn change<W: World>(world: &W, reaction: &Reaction, added: bool) -> Result<Summary, Error> {
    let Reaction { conversation, message, user, .. } = *reaction;
    require_message(world, user, conversation, message).await?;
    let membership = world.membership(conversation, user).await?;
    if membership.blocked {
        return Err(RecordsError::Blocked.into());
    }
    let transaction = if added { rules::add(reaction) } else { rules::remove(reaction) };
    if let Outcome::Refused(check) = commit(world, transaction).await? {
        rules::refusal(added, check)?;
    }
    // Counting and telling are two steps. A caller whose first attempt failed between them repeats the request: then
    // nothing is left to count, and the members are told.
    let fields = read(world, conversation, message).await?;
    world.publish(rules::publications(reaction, added, &fields, membership.members)?).await?;
    Ok(rules::summary(&fields, user))
}

/// Commits one transaction. A failure of the store is an error, and a check that did not hold is not.
async fn commit<W: World>(world: &W, transaction: Transaction) -> Result<Outcome, Error> {
    match world.commit(vec![transaction]).await?.pop() {
        Some(Outcome::Failed(error)) => Err(error.into()),
        Some(outcome) => Ok(outcome),
        None => Err(Error::Contended),
    }
}

async fn require_message<W: World>(
    world: &W,
    user: UserId,
    conversation: ConversationId,
    message: MessageId,
) -> Result<(), Error> {
    let found = world.messages(MessagesQuery { user, conversation, messages: vec![message] }).await?;
    match found.as_slice() {
        [Some(_)] => Ok(()),
        _ => Err(RecordsError::NotFound("no such message".into()).into()),
    }
}

async fn read<W: World>(world: &W, conversation: ConversationId, message: MessageId) -> Result<Fields, Error> {
    let fields = live_state::read(world, Query::Fields(rules::key(conversation, message))).await?.into_fields()?;
    Ok(fields.into_iter().collect())
}

fn settings(conversation: ConversationId) -> DocumentKey {
    DocumentKey::new(Owner::Conversation(conversation), "allowed")
}
