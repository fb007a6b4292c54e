//! The rules of reactions: what is kept for a message, how it changes, and which event the members receive. Nothing here
//! reads or writes, so every rule can be tested with plain values.
//!
//! Each message has one hash in the space `app`. A member's reaction is the field `by <user> <reaction>`; `count <reaction>`
//! is how many members chose it, `all` the sum of the counts, and `changes` grows with every change.

use std::collections::{BTreeMap, BTreeSet};

use roost_core::error::Error;
use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::key::{Key, Owner};
use roost_core::live_state::Decision;
use roost_core::port::{Check, Event, Mutation, Transaction};
use schemars::JsonSchema;
use serde::Serialize;

/// What a conversation allows that no backend has chosen anything for.
const ALLOWED_BY_DEFAULT: [&str; 5] = ["👍", "❤️", "😂", "😮", "😢"];
/// The reactions that a conversation can allow.
const ALLOWED_MAX: usize = 20;
/// The length of a reaction. An emoji of several parts takes up to 28 bytes.
const REACTION_BYTES_MAX: usize = 32;
/// The reactions to one message, so that its hash has a bound.
const REACTIONS_MAX: i64 = 1_000;
/// The life of the reactions to a message after the last change.
const KEPT_MS: u64 = 30 * 86_400_000;

/// A message's hash, by the names of its fields.
pub(crate) type Fields = BTreeMap<String, String>;

/// One member's reaction to a message.
#[derive(Clone, Debug)]
pub(crate) struct Reaction {
    pub(crate) conversation: ConversationId,
    pub(crate) message: MessageId,
    pub(crate) user: UserId,
    /// An emoji, or any other short text.
    pub(crate) name: String,
}

/// The reactions to a message, as one member sees them.
#[derive(Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub(crate) struct Summary {
    /// How many members chose each reaction.
    pub(crate) counts: BTreeMap<String, i64>,
    /// The caller's own reactions.
    pub(crate) mine: BTreeSet<String>,
}

/// The key of a message's hash. Another layout of the hash would get another name than `v1`.
pub(crate) fn key(conversation: ConversationId, message: MessageId) -> Key {
    Key::app(Owner::Message { conversation, message }, "v1")
}

/// Adds a reaction or takes it back: from the hash that was read to what is committed, with the event for the members, and
/// the reply. If another caller changes the hash in between, the transaction is refused and the rule is asked again.
pub(crate) fn change(
    reaction: &Reaction,
    added: bool,
    before: &Fields,
    members: &[UserId],
) -> Result<Decision<Summary>, Error> {
    if before.contains_key(&reaction.by()) == added {
        let transaction = Transaction::new(reaction.key().owner);
        return Ok(Decision { transaction, reply: summary(before, reaction.user) });
    }
    if added && number(before, "all") >= REACTIONS_MAX {
        return Err(Error::Invalid(format!("a message has at most {REACTIONS_MAX} reactions; take one back first")));
    }
    let after = after(reaction, added, before);
    let event = event(reaction, added, &after)?;
    let transaction = write(reaction, added, before).address(members.to_vec(), event);
    Ok(Decision { transaction, reply: summary(&after, reaction.user) })
}

/// The hash after the change.
fn after(reaction: &Reaction, added: bool, before: &Fields) -> Fields {
    let mut fields = before.clone();
    let numbers = [(reaction.count(), difference(added)), ("changes".into(), 1), ("all".into(), difference(added))];
    for (name, difference) in numbers {
        let number = number(before, &name).saturating_add(difference);
        fields.insert(name, number.to_string());
    }
    if added {
        fields.insert(reaction.by(), "1".to_owned());
    } else {
        fields.remove(&reaction.by());
    }
    fields
}

/// Writes the change, on the condition that the hash is the one that was read: `changes` grows with every change.
fn write(reaction: &Reaction, added: bool, before: &Fields) -> Transaction {
    let (key, by) = (reaction.key(), reaction.by());
    let changes = before.get("changes").cloned().map(Into::into);
    let own = if added {
        Mutation::SetFields(key.clone(), vec![(by.into(), "1".into())])
    } else {
        Mutation::DeleteFields(key.clone(), vec![by.into()])
    };
    Transaction::new(key.owner)
        .check(Check::FieldEquals(key.clone(), "changes".into(), changes))
        .mutate(Mutation::AddField(key.clone(), reaction.count().into(), difference(added)))
        .mutate(Mutation::AddField(key.clone(), "changes".into(), 1))
        .mutate(Mutation::AddField(key.clone(), "all".into(), difference(added)))
        .mutate(own)
        .mutate(Mutation::Expire(key, KEPT_MS))
}

/// By how much a change changes the counts.
const fn difference(added: bool) -> i64 {
    if added { 1 } else { -1 }
}

/// What a member sees of a message's hash.
pub(crate) fn summary(fields: &Fields, user: UserId) -> Summary {
    let own = format!("by {user} ");
    let counts = fields.keys().filter_map(|name| {
        let count = number(fields, name);
        Some((name.strip_prefix("count ")?.to_owned(), count)).filter(|_| count > 0)
    });
    let mine = fields.keys().filter_map(|name| name.strip_prefix(own.as_str()).map(str::to_owned));
    Summary { counts: counts.collect(), mine: mine.collect() }
}

/// A number of the hash; zero if it is missing.
fn number(fields: &Fields, name: &str) -> i64 {
    fields.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The payload of `reaction.changed`.
#[derive(JsonSchema, Serialize)]
pub(crate) struct ChangedPayload<'a> {
    /// The conversation of the message.
    conversation: ConversationId,
    /// The message that somebody has reacted to.
    message: MessageId,
    /// Who has reacted, or has taken a reaction back.
    user: UserId,
    /// The reaction, as in the path of the request.
    reaction: &'a str,
    /// Whether the reaction was added; otherwise it was taken back.
    added: bool,
    /// How many users have reacted so now.
    count: i64,
    /// The number of this change of the message's reactions. The event with the greatest one is the newest.
    change: i64,
}

/// The event for every member. It has the count after the change and not the difference, so that a client which misses one
/// shows the right number after the next one; of two events, the one with the greater `change` is newer.
fn event(reaction: &Reaction, added: bool, after: &Fields) -> Result<Event, Error> {
    let Reaction { conversation, message, user, ref name } = *reaction;
    let (count, change) = (number(after, &reaction.count()), number(after, "changes"));
    let payload = ChangedPayload { conversation, message, user, reaction: name, added, count, change };
    Event::durable("reaction.changed", &payload)
}

/// The reactions that a conversation allows, from the document that a backend has put.
pub(crate) fn allowed(document: Option<&str>) -> Vec<String> {
    let chosen = document.and_then(|json| serde_json::from_str(json).ok());
    chosen.unwrap_or_else(|| ALLOWED_BY_DEFAULT.map(str::to_owned).into())
}

/// Checks the reactions that a backend wants to allow, and answers the document.
pub(crate) fn document(allowed: &[String]) -> Result<String, Error> {
    if allowed.is_empty() || allowed.len() > ALLOWED_MAX {
        return Err(Error::Invalid(format!(
            "a conversation allows 1 to {ALLOWED_MAX} reactions, not {}",
            allowed.len()
        )));
    }
    let fits = |name: &String| {
        (1..=REACTION_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control) && name.trim() == name
    };
    if let Some(name) = allowed.iter().find(|name| !fits(name)) {
        return Err(Error::Invalid(format!(
            "{name:?} is no reaction: it has 1 to {REACTION_BYTES_MAX} bytes without control characters and no space \
             around them"
        )));
    }
    serde_json::to_string(allowed).map_err(|error| Error::Encoding(error.to_string()))
}

impl Reaction {
    /// Refuses a reaction that the conversation does not allow.
    pub(crate) fn check(&self, allowed: &[String]) -> Result<(), Error> {
        if allowed.contains(&self.name) {
            return Ok(());
        }
        Err(Error::Invalid(format!("this conversation allows only {}", allowed.join(" "))))
    }

    pub(crate) fn key(&self) -> Key {
        key(self.conversation, self.message)
    }

    fn by(&self) -> String {
        format!("by {} {}", self.user, self.name)
    }

    fn count(&self) -> String {
        format!("count {}", self.name)
    }
}
