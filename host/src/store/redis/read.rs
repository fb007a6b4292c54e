//! Turns queries into commands, and replies into values.
//!
//! The only query of a partition is one plain command. Several queries of one partition are one transaction of Redis,
//! so that they are answered from the same instant.

use redis::{Cmd, Value as Reply, cmd};
use roost_core::key::Owner;
use roost_core::port::{Item, Query, StoreError, Value, parse_number};

use super::connections::requests::{RequestSender, RequestUnit};
use super::names::RedisNames;
use super::{errors, scripts};

/// Answers valid queries, in the order given.
pub(super) async fn read(
    requests: &RequestSender,
    names: &RedisNames,
    queries: &[Query],
) -> Result<Vec<Value>, StoreError> {
    let groups = group_by_owner(queries);
    let units: Vec<RequestUnit> = groups.iter().map(|group| group.unit(names)).collect();
    let mut values = vec![Value::Missing; queries.len()];
    for (group, result) in groups.iter().zip(requests.send(&units).await?) {
        let last = result?.last();
        let replies = match (group.queries.len(), last) {
            (1, reply) => vec![reply],
            (_, Reply::Array(replies)) => replies,
            (_, other) => return Err(errors::unexpected(&group.owner.to_string(), &other)),
        };
        for ((index, query), reply) in group.queries.iter().zip(replies) {
            if let Some(value) = values.get_mut(*index) {
                *value = interpret(query, reply)?;
            }
        }
    }
    Ok(values)
}

/// The queries about one partition, each with its index.
struct OwnerQueries<'q> {
    owner: Owner,
    queries: Vec<(usize, &'q Query)>,
}

fn group_by_owner(queries: &[Query]) -> Vec<OwnerQueries<'_>> {
    let mut order: Vec<(Owner, usize)> =
        queries.iter().enumerate().map(|(index, query)| (query.key().owner.partition(), index)).collect();
    order.sort_unstable();
    let groups = order.chunk_by(|one, other| one.0 == other.0).filter_map(|group| {
        let (owner, _) = group.first()?;
        let queries = group.iter().filter_map(|(_, index)| Some((*index, queries.get(*index)?)));
        Some(OwnerQueries { owner: *owner, queries: queries.collect() })
    });
    groups.collect()
}

impl OwnerQueries<'_> {
    fn unit(&self, names: &RedisNames) -> RequestUnit {
        let slot = names.slot(self.owner);
        let mut commands: Vec<Cmd> = self.queries.iter().map(|(_, query)| command(query, names)).collect();
        match (commands.len(), commands.pop()) {
            (1, Some(only)) => RequestUnit::single(slot, only),
            (_, last) => {
                commands.extend(last);
                RequestUnit::atomic(slot, commands)
            }
        }
    }
}

fn command(query: &Query, names: &RedisNames) -> Cmd {
    let key = names.key(query.key());
    let plain = |name: &str| {
        let mut command = cmd(name);
        command.arg(&key);
        command
    };
    match query {
        Query::Bytes(_) | Query::Counter(_) => plain("GET"),
        Query::Fields(_) => plain("HGETALL"),
        // `HMGET` needs a field; `HLEN` finds out whether the key is a hash as well.
        Query::NamedFields(_, fields) if fields.is_empty() => plain("HLEN"),
        Query::NamedFields(_, fields) => {
            let mut command = plain("HMGET");
            command.arg(fields);
            command
        }
        Query::TimeToLive(_) => plain("PTTL"),
        Query::Presence(_) => plain("EXISTS"),
        Query::OrderedRange { minimum, maximum, limit, .. } => {
            let mut command = plain("ZRANGE");
            command.arg(minimum).arg(maximum).arg("BYSCORE").arg("LIMIT").arg(0).arg(limit).arg("WITHSCORES");
            command
        }
        Query::IndexedCounters { index, space } => {
            let mut command = scripts::indexed_counters().call(std::iter::once(&key));
            command.arg(names.counters_up_to_item(index, *space));
            command
        }
    }
}

pub(super) fn interpret(query: &Query, reply: Reply) -> Result<Value, StoreError> {
    let key = query.key().physical();
    match (query, reply) {
        (Query::Bytes(_) | Query::Counter(_) | Query::Presence(_), Reply::Nil) => Ok(Value::Missing),
        (Query::Bytes(_), Reply::BulkString(bytes)) => Ok(Value::Bytes(bytes)),
        (Query::Counter(_), Reply::BulkString(text)) => Ok(Value::Counter(number(&key, &text)?)),
        (Query::Fields(_), Reply::Map(fields)) => fields_of(fields),
        (Query::NamedFields(..), Reply::Int(_)) => Ok(Value::NamedFields(Vec::new())),
        (Query::NamedFields(..), Reply::Array(fields)) => {
            Ok(Value::NamedFields(fields.into_iter().map(text).collect()))
        }
        (Query::TimeToLive(_), Reply::Int(-2)) => Ok(Value::Missing),
        (Query::TimeToLive(_), Reply::Int(-1)) => Ok(Value::TimeToLive(None)),
        // A key in its last millisecond has 0 ms left and still exists.
        (Query::TimeToLive(_), Reply::Int(left)) => {
            Ok(Value::TimeToLive(Some(u64::try_from(left).unwrap_or(0).max(1))))
        }
        (Query::Presence(_), Reply::Int(count)) => Ok(Value::Presence(count > 0)),
        (Query::OrderedRange { .. }, Reply::Array(members)) => {
            Ok(Value::Ordered(members.into_iter().filter_map(member).collect()))
        }
        (Query::IndexedCounters { .. }, Reply::Array(pairs)) => counters(&key, pairs),
        (_, other) => Err(errors::unexpected(&key, &other)),
    }
}

/// Reads a counter.
pub(super) fn number(key: &str, text: &[u8]) -> Result<i64, StoreError> {
    parse_number(text).ok_or_else(|| StoreError::WrongType(format!("{key} does not hold a number")))
}

/// The text of a reply, if it has one. Bytes that are not UTF-8, which only another program writes, are replaced.
pub(super) fn text(reply: Reply) -> Option<String> {
    match reply {
        Reply::BulkString(bytes) => Some(
            String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        ),
        Reply::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn fields_of(fields: Vec<(Reply, Reply)>) -> Result<Value, StoreError> {
    if fields.is_empty() {
        return Ok(Value::Missing);
    }
    let pairs = fields.into_iter().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
    let mut fields: Vec<(String, String)> = pairs.collect();
    fields.sort_unstable();
    Ok(Value::Fields(fields))
}

fn member(pair: Reply) -> Option<(String, i64)> {
    let Reply::Array(pair) = pair else { return None };
    let mut parts = pair.into_iter();
    match (parts.next().and_then(text), parts.next()) {
        // A double holds every score exactly, because larger ones were refused when they were written.
        (Some(member), Some(Reply::Double(score))) => Some((member, score as i64)),
        _ => None,
    }
}

fn counters(key: &str, pairs: Vec<Reply>) -> Result<Value, StoreError> {
    let mut counters = Vec::with_capacity(pairs.len() / 2);
    let mut texts = pairs.into_iter().filter_map(text);
    while let (Some(item), Some(counter)) = (texts.next(), texts.next()) {
        counters.push((Item::from(item), number(key, counter.as_bytes())?));
    }
    counters.sort_unstable();
    Ok(Value::Counters(counters))
}
