//! Turns transactions into commands, and replies into outcomes.
//!
//! A single mutation without a check, except of an item of the space `app`, and a single ephemeral event are one plain
//! command. All other transactions are carried out by `commit.lua`: `script_calls` writes its arguments, and puts
//! transactions of one slot that differ in nothing but their keys into one call.

use std::collections::HashMap;

use redis::{Cmd, Value as Reply, cmd};
use roost_core::key::{Key, Owner, Space, feed_physical};
use roost_core::port::{Check, Event, Mutation, Outcome, Publication, StoreError, Transaction, app_function};

use super::connections::requests::{RequestSender, RequestUnit};
use super::errors;
use super::ledger::LedgerState;
use super::names::RedisNames;
use super::read::{number, text};
use super::script_calls::ScriptCalls;

/// Redis keeps scores as doubles, which hold whole numbers exactly up to this one.
const SCORE_MAX: u64 = 1 << 53;

/// The outcome of a transaction.
#[derive(Clone, Debug)]
pub(super) struct CommitAnswer {
    pub(super) outcome: Outcome,
    /// The state of the ledger, if the transaction has one.
    pub(super) ledger: Option<LedgerState>,
    /// What the items of the function in this ledger would take, if that is more than they may.
    pub(super) exceeding_bytes: Option<u64>,
}

impl From<Outcome> for CommitAnswer {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, ledger: None, exceeding_bytes: None }
    }
}

pub(super) fn outcomes_of(answers: Vec<CommitAnswer>) -> Vec<Outcome> {
    answers.into_iter().map(|answer| answer.outcome).collect()
}

/// Where the reply to a transaction is found.
enum Planned {
    /// Nothing is sent for it.
    Known(CommitAnswer),
    /// It is the reply to this unit.
    Unit(usize),
    /// It is a part of the reply to this call of the script: the number of the call, and the place in it.
    Call(usize, usize),
}

/// Carries out valid transactions; returns their answers in the order given.
pub(super) async fn commit(
    requests: &RequestSender,
    names: &RedisNames,
    transactions: &[Transaction],
) -> Result<Vec<CommitAnswer>, StoreError> {
    let (mut units, mut calls) = (Vec::new(), ScriptCalls::new(names));
    let mut planned = Vec::with_capacity(transactions.len());
    for transaction in transactions {
        planned.push(match plan(transaction, names) {
            Ok(CommitPlan::Nothing) => Planned::Known(Outcome::Committed(Vec::new()).into()),
            Ok(CommitPlan::Command(command)) => {
                units.push(RequestUnit::single(names.slot(transaction.owner), command));
                Planned::Unit(units.len() - 1)
            }
            Ok(CommitPlan::Script) => {
                let (call, place) = calls.add(transaction);
                Planned::Call(call, place)
            }
            Err(error) => Planned::Known(Outcome::Failed(error).into()),
        });
    }
    let commands = units.len();
    units.extend(calls.into_units());
    let mut replies: Vec<Result<Reply, StoreError>> =
        requests.send(&units).await?.into_iter().map(|result| result.map(|reply| reply.last())).collect();
    let answers = planned.into_iter().zip(transactions).map(|(planned, transaction)| {
        let (unit, place) = match planned {
            Planned::Known(answer) => return answer,
            Planned::Unit(unit) => (unit, None),
            Planned::Call(call, place) => (commands + call, Some(place)),
        };
        match replies.get_mut(unit).map(|reply| take(reply, place)) {
            Some(Ok(reply)) => answer(transaction, reply),
            Some(Err(error)) => Outcome::Failed(error).into(),
            None => Outcome::Failed(errors::unavailable()).into(),
        }
    });
    Ok(answers.collect())
}

/// Takes the whole reply of a unit, or the one at this place in the reply of the script. A reply that is not a list,
/// such as an error, is the reply to every transaction of the call.
fn take(reply: &mut Result<Reply, StoreError>, place: Option<usize>) -> Result<Reply, StoreError> {
    match (reply, place) {
        (Err(error), _) => Err(error.clone()),
        (Ok(Reply::Array(replies)), Some(place)) => {
            replies.get_mut(place).map(std::mem::take).ok_or_else(errors::unavailable)
        }
        (Ok(reply), Some(_)) => Ok(reply.clone()),
        (Ok(reply), None) => Ok(std::mem::take(reply)),
    }
}

/// Publishes events, for each user in the order given; returns the first error.
pub(super) async fn publish(
    requests: &RequestSender,
    names: &RedisNames,
    publications: Vec<Publication>,
) -> Result<(), StoreError> {
    let mut transactions: Vec<Transaction> = Vec::new();
    let mut indices = HashMap::new();
    for Publication { user, event } in publications {
        let index = *indices.entry(user).or_insert_with(|| {
            transactions.push(Transaction::new(Owner::User(user)));
            transactions.len() - 1
        });
        if let Some(transaction) = transactions.get_mut(index) {
            transaction.publications.push(event);
        }
    }
    let outcomes = outcomes_of(commit(requests, names, &transactions).await?);
    let failure = outcomes.into_iter().find_map(|outcome| match outcome {
        Outcome::Failed(error) => Some(error),
        Outcome::Committed(_) | Outcome::Refused(_) => None,
    });
    failure.map_or(Ok(()), Err)
}

/// What must be sent for a transaction.
enum CommitPlan {
    Nothing,
    Command(Cmd),
    Script,
}

fn plan(transaction: &Transaction, names: &RedisNames) -> Result<CommitPlan, StoreError> {
    transaction.mutations.iter().try_for_each(check_score)?;
    let Transaction { checks, mutations, publications, .. } = transaction;
    Ok(match (checks.as_slice(), mutations.as_slice(), publications.as_slice()) {
        ([], [], []) => CommitPlan::Nothing,
        ([], [only], []) if is_plain(only) && only.key().space != Space::App => {
            CommitPlan::Command(plain_command(only, names))
        }
        ([], [], [only]) if !only.durable => CommitPlan::Command(publish_ephemeral(transaction.owner, only, names)),
        _ => CommitPlan::Script,
    })
}

/// Refuses a score that Redis would round.
pub(super) fn check_score(mutation: &Mutation) -> Result<(), StoreError> {
    match mutation {
        Mutation::OrderedPut(key, _, score) if score.unsigned_abs() > SCORE_MAX => Err(StoreError::TooLarge(format!(
            "{}: a score of {score}; Redis keeps whole scores exactly from -{SCORE_MAX} to {SCORE_MAX}",
            key.physical()
        ))),
        _ => Ok(()),
    }
}

/// Whether one command of Redis does exactly the same as this mutation.
fn is_plain(mutation: &Mutation) -> bool {
    match mutation {
        Mutation::Add { floor, .. } => floor.is_none(),
        Mutation::DeleteFields(_, fields) => !fields.is_empty(),
        _ => true,
    }
}

fn plain_command(mutation: &Mutation, names: &RedisNames) -> Cmd {
    let start = |name: &str| {
        let mut command = cmd(name);
        command.arg(names.key(mutation.key()));
        command
    };
    let mut command = match mutation {
        Mutation::Set(..) => start("SET"),
        Mutation::Delete(_) => start("DEL"),
        Mutation::Add { .. } => start("INCRBY"),
        Mutation::SetFields(..) => start("HSET"),
        Mutation::DeleteFields(..) => start("HDEL"),
        Mutation::AddField(..) => start("HINCRBY"),
        Mutation::Expire(..) => start("PEXPIRE"),
        Mutation::Persist(_) => start("PERSIST"),
        Mutation::OrderedPut(..) => start("ZADD"),
        Mutation::OrderedRemove(..) => start("ZREM"),
    };
    match mutation {
        Mutation::Set(_, value, None) => command.arg(value),
        Mutation::Set(_, value, Some(life_ms)) => command.arg(value).arg("PX").arg(life_ms),
        Mutation::Delete(_) | Mutation::Persist(_) => &mut command,
        Mutation::Add { delta, .. } => command.arg(delta),
        Mutation::SetFields(_, fields) => {
            fields.iter().fold(&mut command, |command, (name, text)| command.arg(name).arg(text))
        }
        Mutation::DeleteFields(_, fields) => command.arg(fields),
        Mutation::AddField(_, field, delta) => command.arg(field).arg(delta),
        Mutation::Expire(_, life_ms) => command.arg(life_ms),
        Mutation::OrderedPut(_, member, score) => command.arg(score).arg(member),
        Mutation::OrderedRemove(_, member) => command.arg(member),
    };
    command
}

/// Publishes an event that only present subscribers receive.
fn publish_ephemeral(owner: Owner, event: &Event, names: &RedisNames) -> Cmd {
    let mut command = cmd(names.publish_command());
    let message = format!(r#"{{"type":"{}","payload":{}}}"#, event.name, event.payload);
    command.arg(channel(owner, names)).arg(message);
    command
}

/// The channel of the owner.
pub(super) fn channel(owner: Owner, names: &RedisNames) -> String {
    match owner {
        Owner::User(user) => names.channel(user),
        // Only users' transactions publish; validation has refused all others.
        Owner::Conversation(_) | Owner::Message { .. } | Owner::Shard(_) => String::new(),
    }
}

/// The answer to a transaction, from the last reply to its unit.
pub(super) fn answer(transaction: &Transaction, mut reply: Reply) -> CommitAnswer {
    let mut ledger = None;
    if let (Some(_), Reply::Array(parts)) = (app_function(transaction), &mut reply)
        && let Some(Reply::BulkString(last)) = parts.last()
    {
        ledger = std::str::from_utf8(last).ok().and_then(LedgerState::parse);
        if ledger.is_some() {
            parts.pop();
        }
    }
    let exceeding_bytes = exceeding_bytes(&reply);
    let outcome = match (app_function(transaction), transaction.app_bound, exceeding_bytes) {
        (Some(function), Some(bound), Some(after)) => Outcome::Failed(bound.exceeded(function, after)),
        _ => outcome(transaction, reply),
    };
    CommitAnswer { outcome, ledger, exceeding_bytes }
}

/// What the items of a function would take, if the script has refused a transaction because of it.
fn exceeding_bytes(reply: &Reply) -> Option<u64> {
    let Reply::Array(parts) = reply else { return None };
    match parts.as_slice() {
        [Reply::BulkString(word), Reply::BulkString(bytes)] if word == b"full" => {
            std::str::from_utf8(bytes).ok()?.parse().ok()
        }
        _ => None,
    }
}

fn outcome(transaction: &Transaction, reply: Reply) -> Outcome {
    match (transaction.mutations.first(), reply) {
        (_, Reply::Array(parts)) => script_outcome(transaction, parts),
        (Some(Mutation::Add { .. } | Mutation::AddField(..)), Reply::Int(sum)) => Outcome::Committed(vec![sum]),
        (_, Reply::Int(_) | Reply::Okay) => Outcome::Committed(Vec::new()),
        (_, other) => Outcome::Failed(errors::unexpected(&key_at(transaction, 1), &other)),
    }
}

fn script_outcome(transaction: &Transaction, parts: Vec<Reply>) -> Outcome {
    let mut parts = parts.into_iter();
    match (parts.next().and_then(text).as_deref(), parts.as_slice()) {
        (Some("ok"), _) => {
            let sums = parts.filter_map(|sum| result(transaction, sum));
            sums.collect::<Result<Vec<i64>, StoreError>>().map_or_else(Outcome::Failed, Outcome::Committed)
        }
        (Some("refused"), [Reply::Int(index)]) => Outcome::Refused(u32::try_from(*index).unwrap_or_default()),
        (Some("wrong"), [Reply::Int(place), Reply::BulkString(problem)]) => {
            let (key, problem) = (key_at(transaction, *place), String::from_utf8_lossy(problem));
            Outcome::Failed(StoreError::WrongType(format!("{key} {problem}")))
        }
        _ => Outcome::Failed(errors::unexpected(&key_at(transaction, 1), &Reply::Nil)),
    }
}

/// A result of the script: a number, or the text of one that is too long for the numbers of Lua.
fn result(transaction: &Transaction, reply: Reply) -> Option<Result<i64, StoreError>> {
    match reply {
        Reply::Int(sum) => Some(Ok(sum)),
        other => text(other).map(|sum| number(&key_at(transaction, 1), sum.as_bytes())),
    }
}

/// The key at a place among the keys of the transaction, as messages show it. Any other place is that of the owner's
/// feed.
fn key_at(transaction: &Transaction, place: i64) -> String {
    let keys = transaction.checks.iter().map(Check::key).chain(transaction.mutations.iter().map(Mutation::key));
    let mut places: Vec<&Key> = Vec::new();
    for key in keys {
        if !places.contains(&key) {
            places.push(key);
        }
    }
    let key = usize::try_from(place).ok().and_then(|place| places.get(place.checked_sub(1)?));
    match (key, transaction.owner) {
        (Some(key), _) => key.physical(),
        (None, Owner::User(user)) => feed_physical(user),
        (None, owner) => owner.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use roost_core::ids::UserId;
    use roost_core::port::AppBound;

    use super::*;

    #[test]
    fn an_error_names_the_key_that_has_the_problem() {
        let user = UserId::from_u128(1);
        let (total, status) = (Key::of_user(Space::UnreadTotal, user), Key::of_user(Space::Presence, user));
        let transaction = Transaction::new(Owner::User(user))
            .check(Check::Present(total.clone()))
            .mutate(Mutation::Delete(total.clone()))
            .mutate(Mutation::Delete(status.clone()));
        let wrong = |place| {
            let parts = [
                Reply::BulkString(b"wrong".to_vec()),
                Reply::Int(place),
                Reply::BulkString(b"does not hold a hash".to_vec()),
            ];
            outcome(&transaction, Reply::Array(parts.into()))
        };
        for (place, key) in [(1, total.physical()), (2, status.physical()), (3, feed_physical(user))] {
            let message = format!("{key} does not hold a hash");
            assert_eq!(wrong(place), Outcome::Failed(StoreError::WrongType(message)));
        }
    }

    fn reply(parts: &[&str]) -> Reply {
        Reply::Array(parts.iter().map(|part| Reply::BulkString(part.as_bytes().to_vec())).collect())
    }

    #[test]
    fn the_state_of_the_ledger_follows_the_results() {
        let owner = Owner::User(UserId::from_u128(1));
        let item = Key { function: Some("polls".into()), ..Key::app(owner, "count") };
        let add = Mutation::Add { key: item, delta: 1, floor: None };
        let transaction = Transaction { app_bound: Some(AppBound(1_000)), ..Transaction::new(owner).mutate(add) };
        let state = Some(LedgerState { bytes: 514, at_us: 7 });
        let committed = answer(&transaction, reply(&["ok", "12", "514@7"]));
        assert_eq!((committed.outcome, committed.ledger), (Outcome::Committed(vec![12]), state));
        let short = vec![Reply::BulkString(b"ok".to_vec()), Reply::Int(12), Reply::BulkString(b"514@7".to_vec())];
        let committed = answer(&transaction, Reply::Array(short));
        assert_eq!((committed.outcome, committed.ledger), (Outcome::Committed(vec![12]), state));
        let full = answer(&transaction, reply(&["full", "1027", "514@7"]));
        let expected = Outcome::Failed(AppBound(1_000).exceeded("polls", 1_027));
        assert_eq!((full.outcome, full.ledger, full.exceeding_bytes), (expected, state, Some(1_027)));
        let total =
            Mutation::Add { key: Key::of_user(Space::UnreadTotal, UserId::from_u128(1)), delta: 1, floor: None };
        let other = answer(&Transaction::new(owner).mutate(total), reply(&["ok", "12"]));
        assert_eq!((other.outcome, other.ledger), (Outcome::Committed(vec![12]), None));
    }
}
