//! A transaction as the keys and arguments of `commit.lua`, whose header says what stands where.

use std::borrow::Cow;
use std::collections::HashMap;

use redis::Cmd;
use roost_core::key::{Key, Owner};
use roost_core::limits::{FEED_EVENTS_MAX, FEED_TTL_MS};
use roost_core::port::{Check, Event, Mutation, Transaction};

use super::commit::channel;
use super::names::Names;
use super::{entry, scripts};

/// The script's call, without the serving process's name.
pub(super) fn of(transaction: &Transaction, names: &Names) -> Cmd {
    let Transaction { checks, mutations, publications, .. } = transaction;
    let mut keys = Keys { names, spelt: Vec::new(), places: HashMap::new() };
    let mut arguments: Vec<Argument<'_>> =
        [checks.len(), mutations.len(), publications.len()].map(|count| Argument::Number(count as i64)).into();
    checks.iter().for_each(|check| write_check(check, &mut keys, &mut arguments));
    mutations.iter().for_each(|mutation| write_mutation(mutation, &mut keys, &mut arguments));
    if !publications.is_empty() {
        arguments
            .extend([Argument::Bytes(names.publish().as_bytes()), Argument::Text(channel(transaction.owner, names))]);
        arguments.extend([Argument::Number(FEED_EVENTS_MAX as i64), Argument::Number(FEED_TTL_MS as i64)]);
    }
    publications.iter().for_each(|event| write_publication(event, &mut arguments));
    if let (Owner::User(user), true) = (transaction.owner, publications.iter().any(|event| event.durable)) {
        keys.spelt.push(names.feed(user));
    }
    let mut call = scripts::commit().call(keys.spelt.iter());
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

impl<'t> Argument<'t> {
    fn of(text: Cow<'t, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::Bytes(text.as_bytes()),
            Cow::Owned(text) => Self::Text(text),
        }
    }
}

/// The keys of a transaction, each once.
struct Keys<'t, 'n> {
    names: &'n Names,
    spelt: Vec<String>,
    places: HashMap<&'t Key, i64>,
}

impl<'t> Keys<'t, '_> {
    /// The key's place, from 1.
    fn place(&mut self, key: &'t Key) -> i64 {
        let Self { names, spelt, places } = self;
        *places.entry(key).or_insert_with(|| {
            spelt.push(names.key(key));
            spelt.len() as i64
        })
    }
}

fn write_check<'t>(check: &'t Check, keys: &mut Keys<'t, '_>, arguments: &mut Vec<Argument<'t>>) {
    use Argument::{Bytes, Number};
    arguments.extend([Bytes(check_word(check).as_bytes()), Number(keys.place(check.key()))]);
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
    arguments.extend([Bytes(mutation_word(mutation).as_bytes()), Number(keys.place(mutation.key()))]);
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

fn write_publication<'t>(event: &'t Event, arguments: &mut Vec<Argument<'t>>) {
    use Argument::{Bytes, Number};
    if !event.durable {
        arguments.extend(["ephemeral", &event.name, &event.payload].map(|text| Bytes(text.as_bytes())));
        return;
    }
    let fields = entry::fields(&event.payload);
    arguments.extend([Bytes(b"durable"), Bytes(event.name.as_bytes()), Number(fields.len() as i64)]);
    for (name, text) in fields {
        arguments.extend([Argument::of(name), Bytes(text.as_bytes())]);
    }
}

const fn check_word(check: &Check) -> &'static str {
    match check {
        Check::Absent(_) => "absent",
        Check::Present(_) => "present",
        Check::Equals(..) => "equals",
        Check::FieldEquals(_, _, Some(_)) => "field-equals",
        Check::FieldEquals(_, _, None) => "field-missing",
        Check::FieldBelow(..) => "field-below",
        Check::ScoreEquals(_, _, Some(_)) => "score-equals",
        Check::ScoreEquals(_, _, None) => "score-missing",
    }
}

const fn mutation_word(mutation: &Mutation) -> &'static str {
    match mutation {
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
    }
}
