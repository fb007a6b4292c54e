//! Which side answered a question: the store, or the records while the store is unavailable.
//!
//! A use case asks the store first and gives up after the first failed attempt; the records then answer what they can
//! answer. This is for reads only: whatever changes the state waits for the store.

use std::future::Future;

use schemars::JsonSchema;
use serde::Serialize;

use crate::error::Error;
use crate::port::Telemetry;

/// The side that answered a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The live state, filled from the records where something was missing.
    #[default]
    #[serde(skip_serializing)]
    Store,
    /// The system of record, because the store was unavailable.
    Records,
}

impl Source {
    /// Whether the store answered. The wire form names the source only if it did not.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    const fn is_store(&self) -> bool {
        matches!(self, Self::Store)
    }
}

/// An answer and its source. Serialised as the answer, which must be an object, with an additional field
/// `"source":"records"` if the records answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Sourced<T> {
    /// The answer itself, whose members stand beside `source`.
    #[serde(flatten)]
    pub value: T,
    /// `records` if the store could not be asked and the system of record answered. Absent otherwise.
    #[serde(skip_serializing_if = "Source::is_store")]
    pub source: Source,
}

impl<T> Sourced<T> {
    /// Converts the answer and keeps its source.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: form(self.value), source: self.source }
    }
}

/// The store's answer. If the store is unavailable, the answer of the records instead, which is counted as `degraded`
/// with the label `what`.
pub(crate) async fn or_from_records<W: Telemetry, T: Send>(
    world: &W,
    what: &'static str,
    answer: Result<T, Error>,
    records: impl Future<Output = Result<T, Error>> + Send,
) -> Result<Sourced<T>, Error> {
    match answer {
        Err(error) if error.is_store_unavailable() => {
            let value = records.await?;
            world.count("degraded", &[("what", what)], 1);
            Ok(Sourced { value, source: Source::Records })
        }
        answer => answer.map(|value| Sourced { value, source: Source::Store }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_names_the_source_only_if_it_is_the_records() {
        #[derive(Serialize)]
        struct UnreadAnswer {
            unread: u64,
        }
        let json = |source| serde_json::to_string(&Sourced { value: UnreadAnswer { unread: 2 }, source }).unwrap();
        assert_eq!(json(Source::Store), r#"{"unread":2}"#);
        assert_eq!(json(Source::Records), r#"{"unread":2,"source":"records"}"#);
    }
}
