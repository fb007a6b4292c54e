//! Compares keys and documents with what a step of a scenario expects.

use anyhow::{anyhow, bail};
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{DocumentKey, DocumentScope, KeyValue, Query, Records, StoreError, Value as Stored};
use serde_json::{Value, json};

use super::file::{ExpectedDocument, ExpectedKey};
use super::pattern::Mismatch;
use super::runner::CaseRun;

/// The number of members of an ordered set that are read.
const MEMBERS_MAX: u32 = roost_core::limits::RANGE_MAX;

/// Compares a key.
pub(super) async fn compare_key(
    run: &CaseRun,
    expected: &ExpectedKey,
    mismatches: &mut Vec<Mismatch>,
) -> anyhow::Result<()> {
    let key = key(run, expected)?;
    let place = match &key.item {
        Some(item) => format!("state {} {} {item}", key.space, expected.owner),
        None => format!("state {} {}", key.space, expected.owner),
    };
    let found = match run.host.store.read(vec![query(expected, key)]).await {
        Ok(found) => found.into_iter().next().unwrap_or(Stored::Missing),
        Err(StoreError::WrongType(_)) => {
            mismatches.push(Mismatch::new(place, "the key holds a value of another type"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let (value, found) = values(expected, found);
    match found {
        None if expected.missing => {}
        None => mismatches.push(Mismatch::new(place, "the key is missing")),
        Some(_) if expected.missing => mismatches.push(Mismatch::new(place, "expected no such key, and there is one")),
        Some(found) => {
            let pattern = run.names.pattern(&value).map_err(anyhow::Error::msg)?;
            pattern.compare(&place, &found, mismatches);
        }
    }
    Ok(())
}

fn query(expected: &ExpectedKey, key: Key) -> Query {
    if expected.fields.is_some() {
        Query::Fields(key)
    } else if expected.counter.is_some() {
        Query::Counter(key)
    } else if expected.text.is_some() {
        Query::Bytes(key)
    } else if expected.members.is_some() {
        Query::OrderedRange { key, minimum: i64::MIN, maximum: i64::MAX, limit: MEMBERS_MAX }
    } else {
        Query::Presence(key)
    }
}

/// What is expected and what was found, both as JSON. Nothing was found if the key is missing.
fn values(expected: &ExpectedKey, found: Stored) -> (Value, Option<Value>) {
    let value = [&expected.fields, &expected.members].into_iter().flatten().next().cloned();
    let value = value.or_else(|| expected.counter.map(|number| json!(number)));
    let value = value.or_else(|| expected.text.clone().map(Value::String)).unwrap_or_default();
    let found = match found {
        Stored::Missing | Stored::Presence(false) => None,
        Stored::Bytes(bytes) => Some(Value::String(String::from_utf8_lossy(&bytes).into_owned())),
        Stored::Counter(number) => Some(json!(number)),
        Stored::Fields(fields) => {
            Some(Value::Object(fields.into_iter().map(|(name, text)| (name, json!(text))).collect()))
        }
        Stored::Ordered(members) if members.is_empty() => None,
        Stored::Ordered(members) => {
            Some(Value::Object(members.into_iter().map(|(member, score)| (member, json!(score))).collect()))
        }
        _ => Some(json!("a value")),
    };
    (value, found)
}

fn key(run: &CaseRun, expected: &ExpectedKey) -> anyhow::Result<Key> {
    let name = expected.space.as_deref().unwrap_or(Space::App.name());
    let space = Space::ALL.into_iter().find(|space| space.name() == name);
    let space = space.ok_or_else(|| {
        anyhow!("state: there is no space {name:?}; the spaces are {}", Space::ALL.map(Space::name).join(", "))
    })?;
    let item = expected.item.as_deref().map(|item| run.text(item)).transpose()?;
    let function = (space == Space::App).then(|| run.function.as_str().into());
    let key = Key { space, owner: owner(run, &expected.owner)?, function, item };
    key.validate()?;
    Ok(key)
}

/// Compares a document of the function under test.
pub(super) async fn compare_document(
    run: &CaseRun,
    expected: &ExpectedDocument,
    mismatches: &mut Vec<Mismatch>,
) -> anyhow::Result<()> {
    let scope = DocumentScope { function: run.function.clone(), owner: owner(run, &expected.owner)? };
    let key = DocumentKey { scope, name: run.text(&expected.name)? };
    let place = format!("document {} {}", expected.owner, Value::from(key.name.as_str()));
    let found = run.host.records.read_documents(vec![key]).await?.into_iter().next().flatten();
    match found {
        None if expected.missing => {}
        None => mismatches.push(Mismatch::new(place, "there is no such document")),
        Some(found) if expected.missing => {
            mismatches.push(Mismatch::new(place, format!("expected no such document, found {}", found.json)));
        }
        Some(found) => {
            if let Some(json) = &expected.json {
                let pattern = run.names.pattern(json).map_err(anyhow::Error::msg)?;
                pattern.compare(&place, &serde_json::from_str(&found.json)?, mismatches);
            }
            if let Some(version) = expected.version
                && version != found.version
            {
                mismatches.push(Mismatch::of(format!("{place} version"), version, &json!(found.version)));
            }
        }
    }
    Ok(())
}

/// An owner as a scenario names it: `user <name>`, `conversation <name>`, `message <conversation> <name>` or
/// `shard <number>`.
fn owner(run: &CaseRun, text: &str) -> anyhow::Result<Owner> {
    let unknown = || {
        anyhow!(
            "{text:?} is no owner: write `user NAME`, `conversation NAME`, `message CONVERSATION NAME` or \
             `shard NUMBER`"
        )
    };
    let Some((kind, name)) = text.split_once(' ') else { bail!(unknown()) };
    Ok(match kind {
        "user" => Owner::User(run.id(name)?.parse()?),
        "conversation" => Owner::Conversation(run.id(name)?.parse()?),
        "message" => {
            let (conversation, message) = name.split_once(' ').ok_or_else(unknown)?;
            Owner::Message { conversation: run.id(conversation)?.parse()?, message: run.id(message)?.parse()? }
        }
        "shard" => Owner::Shard(run.text(name)?.parse().map_err(|_| unknown())?),
        _ => bail!(unknown()),
    })
}
