//! What the routes do, on any world: on the imports of the function, or on the fakes of the tests.

use roost_core::error::Error;
use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::key::Owner;
use roost_core::port::{DocumentKey, MessagesQuery, Query, RecordsError, Value, World};
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
    // The members are read before the hash, so that a lost race does not read them again.
    let hash = vec![Query::Fields(reaction.key())];
    let updated = live_state::update(world, hash, |mut values| {
        let before = values.pop().unwrap_or(Value::Missing).into_fields()?;
        rules::change(reaction, added, &before.into_iter().collect(), &membership.members)
    });
    Ok(updated.await?.reply)
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
