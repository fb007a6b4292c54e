//! Tells the members of a conversation what changed, each exactly once and in order, and confirms it to the records.

use super::announcement_queue::{Line, Place, Turn};
use crate::error::Error;
use crate::event;
use crate::ids::UserId;
use crate::last_message;
use crate::limits::{LIST_MAX, TRIES_MAX};
use crate::port::{Change, ChangeKind, Changed, Confirmation, LastMessage, Outcome, Transaction, World};
use crate::store_calls;
use crate::unread::{Cold, Target, rules, settle};

/// Announces a stored change. `true`: not now; it stays pending and [`super::recover`] announces it.
pub(crate) async fn announce_or_delay<W: World>(world: &W, changed: &Changed) -> Result<bool, Error> {
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
    let Rest { behind, overtaken } = match change.kind {
        ChangeKind::Sent => announce_in_turn(world, changed).await?,
        ChangeKind::Edited | ChangeKind::Deleted => Rest { behind: changed.members.clone(), overtaken: true },
    };
    let targets = behind.into_iter().map(|user| Target::counted(user, conversation, change.seq)).collect();
    settle(world, targets, Cold::Fill).await?;
    if overtaken || change.message.deleted {
        last_message::refresh(world, vec![conversation]).await?;
    }
    confirm(world, vec![Confirmation::Change(conversation, change.seq)]).await;
    Ok(())
}

/// What telling members one after the other leaves to do.
#[derive(Default)]
struct Rest {
    /// For these only a snapshot helps.
    behind: Vec<UserId>,
    /// Somebody knew of it already, or was cold: a newer change may have been announced, and its cached message lost.
    overtaken: bool,
}

/// Tells everybody who can be told without a snapshot, in as many rounds as other senders make necessary.
async fn announce_in_turn<W: World>(world: &W, changed: &Changed) -> Result<Rest, Error> {
    let change = &changed.change;
    let mut rest = Rest::default();
    let mut refused = announce_at_once(world, changed, &changed.members).await?;
    if refused.is_empty() {
        return Ok(rest);
    }
    let place = Place::new(world, change.message.conversation, change.seq);
    let mut retried = false;
    for _ in 0..TRIES_MAX {
        if refused.is_empty() {
            return Ok(rest);
        }
        let Line { told, mut ready, early, lost } = place.look(world, &refused).await?;
        rest.overtaken |= told > 0 || !lost.is_empty();
        rest.behind.extend(lost);
        if ready.is_empty() && early.is_empty() {
            return Ok(rest);
        }
        let turn = match early.last() {
            Some(last) => place.wait(world, *last).await?,
            // What held them up is over, or they lack a counter, which a look does not tell apart.
            None if retried => Turn::Stalled,
            None => {
                retried = true;
                Turn::Come
            }
        };
        ready.extend(early);
        refused = match turn {
            Turn::Come => announce_at_once(world, changed, &ready).await?,
            Turn::Passed => ready,
            Turn::Stalled => {
                rest.overtaken |= !ready.is_empty();
                rest.behind.extend(ready);
                return Ok(rest);
            }
        };
    }
    Err(Error::Contended)
}

/// One round trip for these members and the last message. Answers those whom it could not tell.
async fn announce_at_once<W: World>(world: &W, changed: &Changed, members: &[UserId]) -> Result<Vec<UserId>, Error> {
    let change = &changed.change;
    let told = event::change(change);
    let mut transactions: Vec<Transaction> =
        members.iter().filter_map(|member| rules::announce(change, told.as_ref(), *member)).collect();
    if told.is_some() {
        transactions.push(last_message::put(&newest(change)));
    }
    let outcomes = store_calls::commit_all(world, transactions).await?;
    if let Some(error) = store_calls::failure(&outcomes) {
        return Err(error);
    }
    let behind = members.iter().zip(&outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Refused(_)));
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
