//! Transactions as commands, and what became of them.
//!
//! One unchecked mutation is one plain command; every other transaction is one call of `commit.lua`.

use redis::{Cmd, Value as Reply, cmd};
use roost_core::key::{Key, Owner};
use roost_core::limits::{FEED_EVENTS_MAX, FEED_TTL_MS};
use roost_core::port::{Check, Event, Mutation, Outcome, Publication, StoreError, Transaction};

use super::client::{Client, Unit};
use super::names::Names;
use super::read::number;
use super::{fault, read, script};

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
            None => Outcome::Failed(fault::unavailable()),
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
        _ => Ok(Plan::Send(Unit { slot, commands: vec![call(transaction, names)], is_signed: true })),
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

fn channel(owner: Owner, names: &Names) -> String {
    match owner {
        Owner::User(user) => names.channel(user),
        // What publishes is a user's; everything else was refused before.
        Owner::Conversation(_) | Owner::Shard(_) => String::new(),
    }
}

/// The script's call, without the serving process's name.
fn call(transaction: &Transaction, names: &Names) -> Cmd {
    let Transaction { checks, mutations, publications, .. } = transaction;
    let mut keys = Keys { names, spelt: Vec::new(), known: Vec::new() };
    let mut arguments: Vec<Argument<'_>> =
        [checks.len(), mutations.len(), publications.len()].map(|count| Argument::Number(count as i64)).into();
    checks.iter().for_each(|check| write_check(check, &mut keys, &mut arguments));
    mutations.iter().for_each(|mutation| write_mutation(mutation, &mut keys, &mut arguments));
    if !publications.is_empty() {
        arguments
            .extend([Argument::Bytes(names.publish().as_bytes()), Argument::Text(channel(transaction.owner, names))]);
        arguments.extend([Argument::Number(FEED_EVENTS_MAX as i64), Argument::Number(FEED_TTL_MS as i64)]);
    }
    for event in publications {
        let word = if event.durable { "durable" } else { "ephemeral" };
        arguments.extend([word, &event.name, &event.payload].map(|text| Argument::Bytes(text.as_bytes())));
    }
    if let (Owner::User(user), true) = (transaction.owner, publications.iter().any(|event| event.durable)) {
        keys.spelt.push(names.feed(user));
    }
    let mut call = script::commit().call(keys.spelt.iter());
    for argument in arguments {
        match argument {
            Argument::Bytes(bytes) => call.arg(bytes),
            Argument::Number(number) => call.arg(number),
            Argument::Text(text) => call.arg(text),
        };
    }
    call
}

enum Argument<'t> {
    Bytes(&'t [u8]),
    Number(i64),
    Text(String),
}

/// The keys of a transaction, each once.
struct Keys<'t, 'n> {
    names: &'n Names,
    spelt: Vec<String>,
    known: Vec<&'t Key>,
}

impl<'t> Keys<'t, '_> {
    /// The key's place, from 1.
    fn place(&mut self, key: &'t Key) -> i64 {
        let place = self.known.iter().position(|known| *known == key).unwrap_or_else(|| {
            self.known.push(key);
            self.spelt.push(self.names.key(key));
            self.known.len() - 1
        });
        place as i64 + 1
    }
}

fn write_check<'t>(check: &'t Check, keys: &mut Keys<'t, '_>, arguments: &mut Vec<Argument<'t>>) {
    use Argument::{Bytes, Number};
    let word = match check {
        Check::Absent(_) => "absent",
        Check::Present(_) => "present",
        Check::Equals(..) => "equals",
        Check::FieldEquals(_, _, Some(_)) => "field-equals",
        Check::FieldEquals(_, _, None) => "field-missing",
        Check::FieldBelow(..) => "field-below",
        Check::ScoreEquals(_, _, Some(_)) => "score-equals",
        Check::ScoreEquals(_, _, None) => "score-missing",
    };
    arguments.extend([Bytes(word.as_bytes()), Number(keys.place(check.key()))]);
    match check {
        Check::Absent(_) | Check::Present(_) => {}
        Check::Equals(_, bytes) => arguments.push(Bytes(bytes)),
        Check::FieldEquals(_, field, text) => {
            arguments.push(Bytes(field.as_bytes()));
            arguments.extend(text.as_ref().map(|text| Bytes(text.as_bytes())));
        }
        Check::FieldBelow(_, field, limit) => arguments.extend([Bytes(field.as_bytes()), Number(*limit)]),
        Check::ScoreEquals(_, member, score) => {
            arguments.push(Bytes(member.as_bytes()));
            arguments.extend(score.map(Number));
        }
    }
}

fn write_mutation<'t>(mutation: &'t Mutation, keys: &mut Keys<'t, '_>, arguments: &mut Vec<Argument<'t>>) {
    use Argument::{Bytes, Number};
    let word = match mutation {
        Mutation::Set(_, _, None) => "set",
        Mutation::Set(_, _, Some(_)) => "set-for",
        Mutation::Delete(_) => "delete",
        Mutation::Add { floor: None, .. } => "add",
        Mutation::Add { floor: Some(_), .. } => "add-floor",
        Mutation::SetFields(..) => "set-fields",
        Mutation::DeleteFields(..) => "delete-fields",
        Mutation::AddField(..) => "add-field",
        Mutation::Expire(..) => "expire",
        Mutation::Persist(_) => "persist",
        Mutation::OrderedPut(..) => "ordered-put",
        Mutation::OrderedRemove(..) => "ordered-remove",
    };
    arguments.extend([Bytes(word.as_bytes()), Number(keys.place(mutation.key()))]);
    let life = |life_ms: u64| Argument::Text(life_ms.to_string());
    match mutation {
        Mutation::Delete(_) | Mutation::Persist(_) => {}
        Mutation::Set(_, value, life_ms) => {
            arguments.push(Bytes(value));
            arguments.extend(life_ms.map(life));
        }
        Mutation::Add { delta, floor, .. } => {
            arguments.push(Number(*delta));
            arguments.extend(floor.map(Number));
        }
        Mutation::SetFields(_, fields) => {
            arguments.push(Number(fields.len() as i64));
            arguments.extend(fields.iter().flat_map(|(name, text)| [Bytes(name.as_bytes()), Bytes(text.as_bytes())]));
        }
        Mutation::DeleteFields(_, fields) => {
            arguments.push(Number(fields.len() as i64));
            arguments.extend(fields.iter().map(|field| Bytes(field.as_bytes())));
        }
        Mutation::AddField(_, field, delta) => arguments.extend([Bytes(field.as_bytes()), Number(*delta)]),
        Mutation::Expire(_, life_ms) => arguments.push(life(*life_ms)),
        Mutation::OrderedPut(_, member, score) => arguments.extend([Bytes(member.as_bytes()), Number(*score)]),
        Mutation::OrderedRemove(_, member) => arguments.push(Bytes(member.as_bytes())),
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
        (_, other) => Outcome::Failed(fault::unexpected(&key(), &other)),
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
        _ => Outcome::Failed(fault::unexpected(key, &Reply::Nil)),
    }
}
