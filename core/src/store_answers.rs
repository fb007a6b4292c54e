//! Reads the answers of the key-value port: each function takes the answer to one query and returns the value of the
//! expected shape. An answer of any other shape is a [`StoreError::WrongType`].

use crate::ids::Seq;
use crate::port::{StoreError, Value};

/// The error of an answer that breaks the port's contract.
pub(crate) fn unexpected(wanted: &str) -> StoreError {
    StoreError::WrongType(format!("the answer was expected to be {wanted}"))
}

/// A counter, or `None` when it is missing.
pub(crate) fn counter(value: Option<Value>) -> Result<Option<i64>, StoreError> {
    match value {
        Some(Value::Counter(number)) => Ok(Some(number)),
        Some(Value::Missing) => Ok(None),
        _ => Err(unexpected("a counter")),
    }
}

/// All fields of a hash; none when it is missing.
pub(crate) fn fields(value: Option<Value>) -> Result<Vec<(String, String)>, StoreError> {
    match value {
        Some(Value::Fields(fields)) => Ok(fields),
        Some(Value::Missing) => Ok(Vec::new()),
        _ => Err(unexpected("fields")),
    }
}

/// The one field that was asked for, as a sequence.
pub(crate) fn seq_field(value: Option<Value>) -> Result<Option<Seq>, StoreError> {
    match value {
        Some(Value::NamedFields(fields)) => fields.into_iter().next().flatten().map(|text| seq(&text)).transpose(),
        _ => Err(unexpected("a named field")),
    }
}

/// A sequence from its decimal text.
pub(crate) fn seq(text: &str) -> Result<Seq, StoreError> {
    text.parse().map(Seq).map_err(|_| StoreError::WrongType(format!("expected a sequence number, found {text:?}")))
}
