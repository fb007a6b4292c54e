//! Results of a transaction that its own publications carry: members that the store adds to their payloads when the
//! transaction is carried out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Event, Mutation, StoreError, Text, Transaction, limit};
use crate::limits::{PAYLOAD_BYTES_MAX, RESULT_NAME_BYTES_MAX};

/// The longest number of 64 bits, with its sign.
const NUMBER_TEXT_BYTES: usize = 20;
/// The quotes and the colon of a member, and the comma before it.
const PUNCTUATION_BYTES: usize = 4;

/// A result that becomes the last member of the payload of a publication. The payload is a JSON object. Several members
/// are added in the order in which the transaction lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedResult {
    /// The place of the publication among those of the transaction, from zero.
    pub publication: u32,
    /// The name of the member: 1 to [`RESULT_NAME_BYTES_MAX`] bytes of `a-z`, `0-9` and `_`. The payload has no such
    /// member yet.
    pub name: Text,
    /// The place of the result among those of the transaction's `Add` and `AddField`, from zero.
    pub result: u32,
}

impl PublishedResult {
    /// The most bytes by which the payload becomes longer.
    pub(super) fn bytes(&self) -> usize {
        self.name.len() + NUMBER_TEXT_BYTES + PUNCTUATION_BYTES
    }

    fn has_valid_name(&self) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        (1..=RESULT_NAME_BYTES_MAX).contains(&self.name.len()) && self.name.bytes().all(is_plain)
    }
}

impl Transaction {
    /// Adds a result of this transaction to the payload of the newest publication.
    #[must_use]
    pub fn with_result(mut self, name: impl Into<Text>, result: u32) -> Self {
        let publication = self.publications.len().saturating_sub(1) as u32;
        self.published_results.push(PublishedResult { publication, name: name.into(), result });
        self
    }

    /// The publications as they are published after the transaction had these results.
    pub fn completed_publications(&self, results: &[i64]) -> Cow<'_, [Event]> {
        if self.published_results.is_empty() {
            return Cow::Borrowed(&self.publications);
        }
        let mut members: BTreeMap<u32, Vec<&PublishedResult>> = BTreeMap::new();
        for published in &self.published_results {
            members.entry(published.publication).or_default().push(published);
        }
        let mut completed = self.publications.clone();
        for (publication, members) in members {
            if let Some(event) = completed.get_mut(publication as usize) {
                *event = event.with_results(members, results);
            }
        }
        Cow::Owned(completed)
    }
}

impl Event {
    /// The event with these members at the end of its payload, after the transaction had these results.
    pub(crate) fn with_results<'p>(
        &self,
        members: impl IntoIterator<Item = &'p PublishedResult>,
        results: &[i64],
    ) -> Self {
        let mut payload = self.payload.strip_suffix('}').unwrap_or(&self.payload).to_owned();
        for PublishedResult { name, result, .. } in members {
            let Some(number) = results.get(*result as usize) else { continue };
            let separator = if payload.trim_ascii_end().ends_with('{') { "" } else { "," };
            // Writing to a text cannot fail.
            let _ = write!(payload, "{separator}\"{name}\":{number}");
        }
        payload.push('}');
        Self { payload: payload.into(), ..self.clone() }
    }
}

/// Validates the results that publications carry. Returns the most bytes that they add to all payloads.
pub(super) fn validate(transaction: &Transaction) -> Result<usize, StoreError> {
    if transaction.published_results.is_empty() {
        return Ok(0);
    }
    let results = transaction.mutations.iter().filter(|mutation| mutation.has_result()).count();
    let mut added = vec![0_usize; transaction.publications.len()];
    for published in &transaction.published_results {
        let place = published.publication as usize;
        let (Some(event), Some(bytes)) = (transaction.publications.get(place), added.get_mut(place)) else {
            let count = transaction.publications.len();
            return Err(StoreError::Invalid(format!("a published result names publication {place} of {count}")));
        };
        if published.result as usize >= results {
            let (name, result) = (&event.name, published.result);
            return Err(StoreError::Invalid(format!("the event {name} carries result {result} of {results}")));
        }
        if !published.has_valid_name() {
            return Err(StoreError::Invalid(format!(
                "the name of a published result is 1 to {RESULT_NAME_BYTES_MAX} bytes of 'a-z', '0-9' and '_'"
            )));
        }
        if !event.payload.starts_with('{') || !event.payload.ends_with('}') {
            let name = &event.name;
            return Err(StoreError::Invalid(format!(
                "the event {name} carries a result; its payload is no JSON object"
            )));
        }
        *bytes = bytes.saturating_add(published.bytes());
    }
    for (event, bytes) in transaction.publications.iter().zip(&added) {
        limit("bytes of an event's payload with its results", event.payload.len() + bytes, PAYLOAD_BYTES_MAX)?;
    }
    Ok(added.into_iter().sum())
}

impl Mutation {
    /// Whether the outcome of the transaction has a result of this mutation.
    const fn has_result(&self) -> bool {
        matches!(self, Self::Add { .. } | Self::AddField(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use crate::key::Owner;

    fn completed(payload: &str, names: &[(&'static str, u32)], results: &[i64]) -> String {
        let event = Event { name: "n".into(), payload: payload.into(), durable: true };
        let transaction = Transaction::new(Owner::User(UserId::from_u128(1))).publish(event);
        let transaction = names.iter().fold(transaction, |all, (name, result)| all.with_result(*name, *result));
        transaction.completed_publications(results)[0].payload.to_string()
    }

    #[test]
    fn results_are_the_last_members_in_the_order_of_the_list() {
        assert_eq!(completed(r#"{"a":"}"}"#, &[("b", 1), ("c", 0)], &[5, -6]), r#"{"a":"}","b":-6,"c":5}"#);
        assert_eq!(completed("{}", &[("a", 0), ("b", 0)], &[i64::MIN]), format!(r#"{{"a":{0},"b":{0}}}"#, i64::MIN));
        assert_eq!(completed("{ \n}", &[("a", 0)], &[1]), "{ \n\"a\":1}");
        assert_eq!(completed(r#"{"a":{}}"#, &[("b", 0)], &[1]), r#"{"a":{},"b":1}"#);
        assert_eq!(completed("[1]", &[], &[1]), "[1]");
    }

    #[test]
    fn a_result_is_added_to_the_publication_that_was_the_newest() {
        let event = |name: &str| Event { name: name.into(), payload: "{}".into(), durable: true };
        let transaction = Transaction::new(Owner::User(UserId::from_u128(1)));
        let transaction = transaction.publish(event("a")).publish(event("b")).with_result("n", 0).publish(event("c"));
        let payloads: Vec<_> =
            transaction.completed_publications(&[7]).iter().map(|event| event.payload.to_string()).collect();
        assert_eq!(payloads, ["{}", r#"{"n":7}"#, "{}"]);
    }

    #[test]
    fn a_member_is_never_longer_than_what_is_counted() {
        let name = "n".repeat(RESULT_NAME_BYTES_MAX);
        let published = PublishedResult { publication: 0, name: name.into(), result: 0 };
        let event = Event { name: "n".into(), payload: "{\"a\":1}".into(), durable: true };
        let longest = event.with_results([&published], &[i64::MIN]);
        assert_eq!(longest.payload.len(), event.payload.len() + published.bytes());
    }
}
