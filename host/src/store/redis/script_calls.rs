//! The calls of `commit.lua`, whose header describes its keys and arguments. Transactions of one slot that differ in
//! nothing but their keys, and have no key in common, share a call: what they have in common otherwise is sent, read
//! and encoded once.

use std::borrow::Cow;
use std::collections::HashMap;

use redis::Cmd;
use roost_core::key::{Key, Owner};
use roost_core::limits::{FEED_BYTES_MAX, FEED_EVENTS_MAX, FEED_TTL_MS};
use roost_core::port::{Check, Event, ITEM_BYTES, Mutation, PublishedResult, SCORE_BYTES, Transaction, app_function};

use super::commit::channel;
use super::connections::requests::RequestUnit;
use super::feed::{self, PayloadField};
use super::names::RedisNames;
use super::scripts;

/// The number of transactions that share a call. Redis does nothing else while it carries them out.
const TRANSACTIONS_MAX: usize = 32;
/// A new transaction is compared with the newest so many calls. Those of a message are of two kinds, for the sender and
/// for the others.
const OPEN_CALLS_MAX: usize = 4;
/// Beyond this number of checks and mutations, keys are found by a map.
const FEW_KEYS: usize = 24;

/// The calls for the transactions of one commit.
pub(super) struct ScriptCalls<'t, 'n> {
    names: &'n RedisNames,
    calls: Vec<ScriptCall<'t>>,
    /// The fields of payloads, which many transactions often share, by their address.
    fields: HashMap<usize, Vec<PayloadField<'t>>>,
}

/// One call of the script.
struct ScriptCall<'t> {
    slot: u16,
    key_count: usize,
    shared: Vec<ScriptArgument<'t>>,
    keys: Vec<String>,
    channels: Vec<String>,
    /// The partition of each transaction.
    partitions: Vec<PartitionId>,
}

/// What keys have in common with those of the same partition, and with no others: a user and a conversation with the
/// same id could have a key in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartitionId {
    Uuid(u128),
    Shard(u32),
}

impl PartitionId {
    fn of(owner: Owner) -> Self {
        match owner {
            Owner::User(user) => Self::Uuid(user.as_u128()),
            Owner::Conversation(conversation) | Owner::Message { conversation, .. } => {
                Self::Uuid(conversation.as_u128())
            }
            Owner::Shard(shard) => Self::Shard(shard),
        }
    }
}

/// An argument that all transactions of a call share.
#[derive(Clone, Debug)]
enum ScriptArgument<'t> {
    Bytes(&'t [u8]),
    Number(i64),
    Text(String),
}

impl PartialEq for ScriptArgument<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // The same payload is usually the same text in memory.
            (Self::Bytes(one), Self::Bytes(other)) => std::ptr::eq(*one, *other) || one == other,
            (Self::Number(one), Self::Number(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            _ => false,
        }
    }
}

impl<'t, 'n> ScriptCalls<'t, 'n> {
    pub(super) fn new(names: &'n RedisNames) -> Self {
        Self { names, calls: Vec::new(), fields: HashMap::new() }
    }

    /// Adds a transaction. Returns the number of its call and its place in it.
    pub(super) fn add(&mut self, transaction: &'t Transaction) -> (usize, usize) {
        let names = self.names;
        let mut keys = TransactionKeys::of(transaction, names);
        let shared = self.write(transaction, &mut keys);
        let (slot, partition) = (names.slot(transaction.owner), PartitionId::of(transaction.owner));
        // The script carries out those with a ledger, which they share, one after the other.
        let has_ledger = app_function(transaction).is_some();
        let fits = |call: &ScriptCall<'t>| {
            call.slot == slot
                && call.partitions.len() < TRANSACTIONS_MAX
                && call.key_count == keys.physical.len()
                && call.shared == shared
                && (has_ledger || !call.has_key_of(partition, &keys.physical))
        };
        let first_open = self.calls.len().saturating_sub(OPEN_CALLS_MAX);
        let open =
            self.calls.iter().enumerate().skip(first_open).find(|(_, call)| fits(call)).map(|(number, _)| number);
        let number = open.unwrap_or_else(|| {
            let key_count = keys.physical.len();
            let (keys, channels, partitions) = (Vec::new(), Vec::new(), Vec::new());
            self.calls.push(ScriptCall { slot, key_count, shared, keys, channels, partitions });
            self.calls.len() - 1
        });
        let Some(call) = self.calls.get_mut(number) else { return (number, 0) };
        call.keys.append(&mut keys.physical);
        if !transaction.publications.is_empty() {
            call.channels.push(channel(transaction.owner, names));
        }
        call.partitions.push(partition);
        (number, call.partitions.len() - 1)
    }

    /// The units that carry out the calls, in the order of their numbers.
    pub(super) fn into_units(self) -> impl Iterator<Item = RequestUnit> {
        self.calls.into_iter().map(|call| RequestUnit {
            slot: call.slot,
            commands: vec![call.command()],
            is_signed: true,
        })
    }

    fn write(&mut self, transaction: &'t Transaction, keys: &mut TransactionKeys<'t, 'n>) -> Vec<ScriptArgument<'t>> {
        let Transaction { checks, mutations, publications, published_results, .. } = transaction;
        let mut arguments = Vec::with_capacity(40);
        arguments.extend(
            [checks.len(), mutations.len(), publications.len()].map(|count| ScriptArgument::Number(count as i64)),
        );
        checks.iter().for_each(|check| write_check((check, mutations), keys, &mut arguments));
        mutations.iter().for_each(|mutation| write_mutation(mutation, keys, &mut arguments));
        write_ledger(transaction, keys, &mut arguments);
        if !publications.is_empty() {
            arguments.push(ScriptArgument::Bytes(self.names.publish_command().as_bytes()));
            let bounds = [FEED_EVENTS_MAX as i64, FEED_BYTES_MAX as i64, FEED_TTL_MS as i64];
            arguments.extend(bounds.map(ScriptArgument::Number));
        }
        for (publication, event) in (0..).zip(publications) {
            let added = published_results.iter().filter(|published| published.publication == publication).count();
            self.write_publication((event, added), &mut arguments);
        }
        if !publications.is_empty() {
            write_published_results(published_results, &mut arguments);
        }
        if let (Owner::User(user), true) = (transaction.owner, publications.iter().any(|event| event.durable)) {
            let followed = self.names.key(&Key::followed(user));
            if keys.physical.last() != Some(&followed) {
                keys.physical.push(followed);
            }
            keys.physical.push(self.names.feed(user));
        }
        arguments
    }

    /// Writes an event, to whose payload so many results are added.
    fn write_publication(&mut self, (event, added): (&'t Event, usize), arguments: &mut Vec<ScriptArgument<'t>>) {
        use ScriptArgument::{Bytes, Number};
        if !event.durable {
            arguments.extend(["ephemeral", &event.name, &event.payload].map(|text| Bytes(text.as_bytes())));
            return;
        }
        let payload: &'t str = &event.payload;
        let fields = self.fields.entry(payload.as_ptr().addr()).or_insert_with(|| feed::payload_fields(payload));
        let whole = [feed::whole_payload(payload)];
        let fields = if fields.len() + added > feed::MEMBERS_MAX { whole.as_slice() } else { fields.as_slice() };
        arguments.extend([Bytes(b"durable"), Bytes(event.name.as_bytes()), Number(fields.len() as i64)]);
        for (name, text) in fields {
            arguments.extend([ScriptArgument::of(name), Bytes(text.as_bytes())]);
        }
    }
}

impl ScriptCall<'_> {
    /// Whether a transaction of this partition with these keys would have one in common with another transaction. Keys
    /// of different partitions are different.
    fn has_key_of(&self, partition: PartitionId, keys: &[String]) -> bool {
        self.partitions.contains(&partition) && keys.iter().any(|key| self.keys.contains(key))
    }

    /// The command. The id of the serving process is appended when it is sent.
    fn command(self) -> Cmd {
        let mut command = scripts::commit().call(self.keys.iter());
        command.arg(self.partitions.len()).arg(self.key_count).arg(self.shared.len());
        for argument in self.shared {
            match argument {
                ScriptArgument::Bytes(bytes) => command.arg(bytes),
                ScriptArgument::Number(number) => command.arg(number),
                ScriptArgument::Text(text) => command.arg(text),
            };
        }
        for channel in self.channels {
            command.arg(channel);
        }
        command
    }
}

impl<'t> ScriptArgument<'t> {
    fn of(text: &Cow<'t, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::Bytes(text.as_bytes()),
            Cow::Owned(text) => Self::Text(text.clone()),
        }
    }
}

/// The keys of a transaction, each once, in the order in which checks and mutations name them.
struct TransactionKeys<'t, 'n> {
    names: &'n RedisNames,
    physical: Vec<String>,
    few: Vec<&'t Key>,
    many: HashMap<&'t Key, i64>,
}

impl<'t, 'n> TransactionKeys<'t, 'n> {
    fn of(transaction: &'t Transaction, names: &'n RedisNames) -> Self {
        let count = transaction.checks.len() + transaction.mutations.len();
        let mut keys = Self {
            names,
            physical: Vec::with_capacity(count.min(FEW_KEYS) + 2),
            few: Vec::new(),
            many: HashMap::new(),
        };
        let checked = transaction.checks.iter().map(Check::key);
        for key in checked.chain(transaction.mutations.iter().map(Mutation::key)) {
            if keys.place(key).is_none() {
                keys.physical.push(names.key(key));
                if count <= FEW_KEYS {
                    keys.few.push(key);
                } else {
                    keys.many.insert(key, keys.physical.len() as i64);
                }
            }
        }
        keys
    }

    /// The place of the key, counted from 1.
    fn place(&self, key: &Key) -> Option<i64> {
        let few = self.few.iter().position(|known| *known == key).map(|index| index as i64 + 1);
        few.or_else(|| self.many.get(key).copied())
    }

    fn argument(&self, key: &Key) -> ScriptArgument<'t> {
        ScriptArgument::Number(self.place(key).unwrap_or_default())
    }

    /// Appends a key that is only looked at. Returns its place.
    fn append(&mut self, key: &Key) -> ScriptArgument<'t> {
        self.physical.push(self.names.key(key));
        ScriptArgument::Number(self.physical.len() as i64)
    }
}

fn write_check<'t>(
    (check, mutations): (&'t Check, &[Mutation]),
    keys: &mut TransactionKeys<'t, '_>,
    arguments: &mut Vec<ScriptArgument<'t>>,
) {
    use ScriptArgument::{Bytes, Number};
    arguments.extend([Bytes(check_word(check, mutations).as_bytes()), keys.argument(check.key())]);
    match check {
        Check::Absent(_) | Check::Present(_) => {}
        Check::PresentEither(key, other) => arguments.push(keys.append(&Key::new(*other, key.owner))),
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

fn write_mutation<'t>(mutation: &'t Mutation, keys: &TransactionKeys<'t, '_>, arguments: &mut Vec<ScriptArgument<'t>>) {
    use ScriptArgument::{Bytes, Number};
    arguments.extend([Bytes(mutation_word(mutation).as_bytes()), keys.argument(mutation.key())]);
    let lifetime = |life_ms: u64| Number(life_ms as i64);
    match mutation {
        Mutation::Delete(_) | Mutation::Persist(_) => {}
        Mutation::Set(_, value, life_ms) => {
            arguments.push(Bytes(value));
            arguments.extend(life_ms.map(lifetime));
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
        Mutation::Expire(_, life_ms) => arguments.push(lifetime(*life_ms)),
        Mutation::OrderedPut(_, member, score) => arguments.extend([Bytes(member.as_bytes()), Number(*score)]),
        Mutation::OrderedRemove(_, member) => arguments.push(Bytes(member.as_bytes())),
    }
}

/// Writes which publications carry which results.
fn write_published_results<'t>(published: &'t [PublishedResult], arguments: &mut Vec<ScriptArgument<'t>>) {
    use ScriptArgument::{Bytes, Number};
    arguments.push(Number(published.len() as i64));
    for PublishedResult { publication, name, result } in published {
        let place = |index: u32| Number(i64::from(index) + 1);
        arguments.extend([place(*publication), Bytes(name.as_bytes()), place(*result)]);
    }
}

/// Writes where the bytes of the function's items are counted, and the bound on them.
fn write_ledger<'t>(
    transaction: &'t Transaction,
    keys: &mut TransactionKeys<'t, '_>,
    arguments: &mut Vec<ScriptArgument<'t>>,
) {
    use ScriptArgument::{Number, Text};
    let Some(function) = app_function(transaction) else { return arguments.push(Number(0)) };
    arguments.push(Number(keys.physical.len() as i64 + 1));
    keys.physical.extend(keys.names.ledger(function, transaction.owner));
    let bound = transaction.app_bound.map(|bound| bound.0.to_string()).unwrap_or_default();
    arguments.extend([Text(keys.names.items_of(function)), Text(bound)]);
    arguments.extend([ITEM_BYTES, SCORE_BYTES].map(|bytes| Number(bytes as i64)));
}

/// The word by which `commit.lua` knows a check.
fn check_word(check: &Check, mutations: &[Mutation]) -> &'static str {
    let is_counted = |of: &Key| mutations.iter().any(|each| matches!(each, Mutation::Add { key, .. } if key == of));
    match check {
        Check::Absent(_) => "absent",
        Check::Present(key) if mutations.len() <= FEW_KEYS && is_counted(key) => "present-counter",
        Check::Present(_) => "present",
        Check::PresentEither(..) => "present-either",
        Check::Equals(..) => "equals",
        Check::FieldEquals(_, _, Some(_)) => "field-equals",
        Check::FieldEquals(_, _, None) => "field-missing",
        Check::FieldBelow(..) => "field-below",
        Check::ScoreEquals(_, _, Some(_)) => "score-equals",
        Check::ScoreEquals(_, _, None) => "score-missing",
    }
}

/// The word by which `commit.lua` knows a mutation.
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
