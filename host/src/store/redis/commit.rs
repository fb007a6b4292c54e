//! Transactions as commands, and what became of them.
//!
//! One unchecked mutation is one plain command; every other transaction is one call of `commit.lua`.

use redis::{Cmd, Value as Reply, cmd};
use roost_core::key::Owner;
use roost_core::port::{Event, Mutation, Outcome, Publication, StoreError, Transaction};

use super::connections::requests::{Client, Unit};
use super::names::Names;
use super::read::number;
use super::{errors, invocation, read};

/// Scores are doubles in Redis, which hold whole numbers exactly up to here.
const SCORE_MAX: u64 = 1 << 53;

/// Tries valid transactions; outcomes in the order given.
pub(super) async fn commit(
    client: &Client,
    names: &Names,
    transactions: &[Transaction],
) -> Result<Vec<Outcome>, StoreError> {
    let planned: Vec<Result<Plan, StoreError>> = transactions.iter().map(|each| plan(each, names)).collect();
    let (mut units, mut kept) = (Vec::new(), Vec::with_capacity(planned.len()));
    for planned in planned {
        kept.push(match planned {
            Ok(Plan::Nothing) => Kept::Outcome(Outcome::Committed(Vec::new())),
            Ok(Plan::Send(unit)) => {
                units.push(unit);
                Kept::Sent
            }
            Err(error) => Kept::Outcome(Outcome::Failed(error)),
        });
    }
    let mut replies = client.ask(&units).await?.into_iter();
    let outcomes = kept.into_iter().zip(transactions).map(|(kept, transaction)| match kept {
        Kept::Outcome(outcome) => outcome,
        Kept::Sent => match replies.next() {
            Some(Ok(reply)) => outcome(transaction, reply.last()),
            Some(Err(error)) => Outcome::Failed(error),
            None => Outcome::Failed(errors::unavailable()),
        },
    });
    Ok(outcomes.collect())
}

/// Publishes in order for each user; the first error, if there is one.
pub(super) async fn publish(client: &Client, names: &Names, publications: Vec<Publication>) -> Result<(), StoreError> {
    let mut transactions: Vec<Transaction> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for Publication { user, event } in publications {
        let place = *places.entry(user).or_insert_with(|| {
            transactions.push(Transaction::new(Owner::User(user)));
            transactions.len() - 1
        });
        if let Some(transaction) = transactions.get_mut(place) {
            transaction.publications.push(event);
        }
    }
    let outcomes = commit(client, names, &transactions).await?;
    outcomes
        .into_iter()
        .find_map(|outcome| match outcome {
            Outcome::Failed(error) => Some(Err(error)),
            Outcome::Committed(_) | Outcome::Refused(_) => None,
        })
        .unwrap_or(Ok(()))
}

enum Plan {
    Nothing,
    Send(Unit),
}

enum Kept {
    Outcome(Outcome),
    Sent,
}

fn plan(transaction: &Transaction, names: &Names) -> Result<Plan, StoreError> {
    transaction.mutations.iter().try_for_each(fits)?;
    let slot = names.slot(transaction.owner);
    let Transaction { checks, mutations, publications, .. } = transaction;
    match (checks.as_slice(), mutations.as_slice(), publications.as_slice()) {
        ([], [], []) => Ok(Plan::Nothing),
        ([], [only], []) if is_plain(only) => Ok(Plan::Send(Unit::one(slot, plain(only, names)))),
        ([], [], [only]) if !only.durable => Ok(Plan::Send(Unit::one(slot, tell(transaction.owner, only, names)))),
        _ => Ok(Plan::Send(Unit { slot, commands: vec![invocation::of(transaction, names)], is_signed: true })),
    }
}

/// Refuses a score that Redis would round.
fn fits(mutation: &Mutation) -> Result<(), StoreError> {
    match mutation {
        Mutation::OrderedPut(key, _, score) if score.unsigned_abs() > SCORE_MAX => Err(StoreError::TooLarge(format!(
            "{}: a score of {score}; Redis keeps whole scores exactly from -{SCORE_MAX} to {SCORE_MAX}",
            key.physical()
        ))),
        _ => Ok(()),
    }
}

/// A Redis command does exactly this.
fn is_plain(mutation: &Mutation) -> bool {
    match mutation {
        Mutation::Add { floor, .. } => floor.is_none(),
        Mutation::DeleteFields(_, fields) => !fields.is_empty(),
        _ => true,
    }
}

fn plain(mutation: &Mutation, names: &Names) -> Cmd {
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

/// An event that only those hear who listen now.
fn tell(owner: Owner, event: &Event, names: &Names) -> Cmd {
    let mut command = cmd(names.publish());
    let message = format!(r#"{{"type":"{}","payload":{}}}"#, event.name, event.payload);
    command.arg(channel(owner, names)).arg(message);
    command
}

/// The channel of whoever publishes.
pub(super) fn channel(owner: Owner, names: &Names) -> String {
    match owner {
        Owner::User(user) => names.channel(user),
        // What publishes is a user's; everything else was refused before.
        Owner::Conversation(_) | Owner::Shard(_) => String::new(),
    }
}

fn outcome(transaction: &Transaction, reply: Reply) -> Outcome {
    let key = || match (transaction.mutations.first(), transaction.checks.first()) {
        (Some(mutation), _) => mutation.key().physical(),
        (None, Some(check)) => check.key().physical(),
        (None, None) => transaction.owner.to_string(),
    };
    match (transaction.mutations.first(), reply) {
        (_, Reply::Array(parts)) => script_outcome(&key(), parts),
        (Some(Mutation::Add { .. } | Mutation::AddField(..)), Reply::Int(sum)) => Outcome::Committed(vec![sum]),
        (_, Reply::Int(_) | Reply::Okay) => Outcome::Committed(Vec::new()),
        (_, other) => Outcome::Failed(errors::unexpected(&key(), &other)),
    }
}

fn script_outcome(key: &str, parts: Vec<Reply>) -> Outcome {
    let mut parts = parts.into_iter();
    match (parts.next().and_then(read::text).as_deref(), parts.as_slice()) {
        (Some("ok"), _) => {
            let sums = parts.filter_map(read::text).map(|sum| number(key, sum.as_bytes()));
            sums.collect::<Result<Vec<i64>, StoreError>>().map_or_else(Outcome::Failed, Outcome::Committed)
        }
        (Some("refused"), [Reply::Int(index)]) => Outcome::Refused(u32::try_from(*index).unwrap_or_default()),
        (Some("wrong"), [Reply::Int(_), Reply::BulkString(what)]) => {
            Outcome::Failed(StoreError::WrongType(format!("{key} {}", String::from_utf8_lossy(what))))
        }
        _ => Outcome::Failed(errors::unexpected(key, &Reply::Nil)),
    }
}
