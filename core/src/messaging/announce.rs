//! Tells the members of a conversation what changed, each exactly once and in order, and confirms it to the records.

use crate::drive;
use crate::error::Error;
use crate::event;
use crate::ids::UserId;
use crate::last_message;
use crate::limits::LIST_MAX;
use crate::port::{Change, ChangeKind, Changed, Confirmation, LastMessage, Outcome, Transaction, World};
use crate::unread::{Cold, Target, rule, settle};

/// Announces a stored change. `true`: not now; it stays pending and [`super::recover`] announces it.
pub(super) async fn announce_or_delay<W: World>(world: &W, changed: &Changed) -> Result<bool, Error> {
    match announce(world, changed).await {
        Ok(()) => Ok(false),
        Err(error) if error.retry() => {
            world.count("announcements", &[("outcome", "delayed")], 1);
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// Tells the records what need not be announced again. Only a hint: a failure makes a repetition, nothing worse.
pub(super) async fn confirm<W: World>(world: &W, confirmations: Vec<Confirmation>) {
    for chunk in confirmations.chunks(LIST_MAX) {
        if world.announced(chunk.to_vec()).await.is_err() {
            world.count("announcements", &[("outcome", "unconfirmed")], 1);
        }
    }
}

async fn announce<W: World>(world: &W, changed: &Changed) -> Result<(), Error> {
    let change = &changed.change;
    let conversation = change.message.conversation;
    let behind = match change.kind {
        ChangeKind::Sent => announce_at_once(world, changed).await?,
        ChangeKind::Edited | ChangeKind::Deleted => changed.members.clone(),
    };
    // Somebody knew of it already, or was cold: a newer change may have been announced, and its cached message lost.
    let overtaken = !behind.is_empty();
    let targets = behind.into_iter().map(|user| Target::counted(user, conversation, change.seq)).collect();
    settle(world, targets, Cold::Fill).await?;
    if overtaken || change.message.deleted {
        last_message::refresh(world, vec![conversation]).await?;
    }
    confirm(world, vec![Confirmation::Change(conversation, change.seq)]).await;
    Ok(())
}

/// One round trip for all members and the last message. Answers those for whom more is to do.
async fn announce_at_once<W: World>(world: &W, changed: &Changed) -> Result<Vec<UserId>, Error> {
    let change = &changed.change;
    let told = event::change(change);
    let mut transactions: Vec<Transaction> =
        changed.members.iter().filter_map(|member| rule::announce(change, told.as_ref(), *member)).collect();
    if told.is_some() {
        transactions.push(last_message::put(&newest(change)));
    }
    let outcomes = drive::commit_all(world, transactions).await?;
    if let Some(error) = drive::failure(&outcomes) {
        return Err(error);
    }
    let behind = changed.members.iter().zip(&outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Refused(_)));
    Ok(behind.map(|(member, _)| *member).collect())
}

/// The conversation's state that a new message makes; later changes have higher versions.
fn newest(change: &Change) -> LastMessage {
    LastMessage {
        conversation: change.message.conversation,
        version: change.seq,
        message: Some(change.message.clone()),
    }
}
